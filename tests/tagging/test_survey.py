"""What a call would tag, before any is heard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from earmark.tagging.library import Recording
from earmark.tagging.survey import Kind, survey

WriteTone = Callable[..., Path]


def test_files_by_suffix(write_tone: WriteTone, tmp_path: Path) -> None:
    bad = tmp_path / "bad.flac"
    bad.write_text("no recording")
    paths = [
        *(write_tone("a.wav", duration_s=9.0), write_tone("b.WAV", duration_s=9.0), write_tone("c.flac")),
        *(bad, write_tone("d.wav", duration_s=18.0)),
    ]
    found = survey([Recording(path, path.name) for path in paths], [False, False, True, False, True])
    assert found.kinds == {
        ".flac": Kind(2, paths[2].stat().st_size, 1, 1, 1.0, 0),
        ".wav": Kind(3, sum(paths[i].stat().st_size for i in (0, 1, 4)), 1, 0, 36.0, 0),
    }
    assert [str(error) for error in found.errors] == [
        f"{bad}: cannot be read as audio (Format not recognised); is it a recording, and whole?"
    ]
    lines = [line.split() for line in str(found).splitlines()]
    assert lines[0] == ["suffix", "files", "hours", "MB", "to", "tag", "known", "bad"]
    assert lines[3][:3] == [".wav", "3", "0.010"]
    assert lines[4] == ["all", "5", "0.010", lines[4][3], "2", "2", "1"]


def test_lengths_that_headers_do_not_state(tmp_path: Path) -> None:
    assert Kind(2, 0, 0, 0, 3600.0, 1).cells()[1] == "1.000 + 1 unstated"


def test_nothing() -> None:
    assert str(survey([], [])).splitlines()[-1].split() == ["all", "0", "0.000", "0.0", "0", "0", "0"]
