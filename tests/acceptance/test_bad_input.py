"""Whatever a recording may be, tagging ends in tags or in a line that names the file and says what to do."""

from __future__ import annotations

import csv
import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.errors import AudioError
from earmark.tagging.tagger import load

Run = Callable[..., tuple[int, str, str]]
RATE = 44_100


def write_bad_files(folder: Path, rng: np.random.Generator) -> dict[str, str]:
    """One file of each kind that cannot be tagged, with what is said of it."""
    noise = 0.2 * rng.standard_normal(RATE)
    for name in ("whole.wav", "whole.flac", "whole.ogg", "whole.aiff"):
        soundfile.write(folder / name, noise, RATE)
    (folder / "cut ü.wav").write_bytes((folder / "whole.wav").read_bytes()[:-1000])
    (folder / "cut.aiff").write_bytes((folder / "whole.aiff").read_bytes()[:-1000])
    (folder / "cut.flac").write_bytes((folder / "whole.flac").read_bytes()[:-1000])
    (folder / "cut.ogg").write_bytes((folder / "whole.ogg").read_bytes()[:-1000])
    (folder / "no bytes.wav").touch()
    (folder / "header.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    (folder / "page.mp3").write_text("<html>404 Not Found</html>\n" * 40)
    (folder / "notes.wav").write_text("These are notes.\n" * 40)
    (folder / "random.ogg").write_bytes(rng.bytes(5000))
    (folder / "folder.wav").mkdir()
    soundfile.write(folder / "no samples.wav", np.zeros((0, 2)), RATE)
    for name, value in (("nan.wav", np.nan), ("infinite.wav", np.inf)):
        bad = noise.copy()
        bad[4410] = value
        soundfile.write(folder / name, bad, RATE, subtype="FLOAT")
    unreadable = "cannot be read as audio (Format not recognised); is it a recording, and whole?"
    return {
        "cut ü.wav": "cut short: its header promises 88200 bytes of samples, 87200 are there; fetch or export it again",
        "cut.aiff": "cut short: its header promises 88208 bytes of samples, 87208 are there; fetch or export it again",
        "cut.flac": "cannot be read as audio (flac decoder lost sync); is it a recording, and whole?",
        "cut.ogg": "cut short: its last page is broken off, or not marked as the end; fetch or export it again",
        "no bytes.wav": "is empty (0 bytes); fetch or export it again",
        "page.mp3": unreadable,
        "notes.wav": unreadable,
        "random.ogg": unreadable,
        "no samples.wav": "holds no samples; expected at least one; record or export it again",
        "nan.wav": "sample 4410 (0.100 s) is nan; expected finite numbers with full scale at ±1; "
        "export it again, as integers",
        "infinite.wav": "sample 4410 (0.100 s) is inf; expected finite numbers with full scale at ±1; "
        "export it again, as integers",
        "missing.wav": "no such file; check the spelling and the folder",
    }


def write_odd_files(folder: Path, rng: np.random.Generator) -> list[str]:
    """Files that are unusual, but can be tagged."""
    soundfile.write(folder / "one sample.wav", np.array([0.5]), RATE)
    soundfile.write(folder / "silence.flac", np.zeros(RATE), RATE)
    soundfile.write(folder / "eight channels.wav", 0.1 * rng.standard_normal((RATE, 8)), RATE)
    soundfile.write(folder / "slow.wav", 0.1 * rng.standard_normal(1000), 1000)
    soundfile.write(folder / "fast.wav", 0.1 * rng.standard_normal(19_200), 192_000)
    soundfile.write(folder / "loud.wav", 1e6 * rng.standard_normal(RATE), RATE, subtype="FLOAT")
    soundfile.write(folder / "direct current.wav", np.full(RATE, 0.9), RATE)
    soundfile.write(folder / "mit Lücke, 猫 & 'co'.ogg", 0.1 * rng.standard_normal(RATE), RATE)
    soundfile.write(folder / "SHOUTING.WAV", 0.1 * rng.standard_normal(RATE), RATE)
    content = (folder / "SHOUTING.WAV").read_bytes()
    piped = content[:4] + struct.pack("<I", 0xFFFFFFFF) + content[8:40] + struct.pack("<I", 0xFFFFFFFF) + content[44:]
    (folder / "piped.wav").write_bytes(piped)
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("format_", ["csv", "table", "jsonl"])
def test_bad_files_are_named_and_the_rest_is_tagged(
    run_earmark: Run, tmp_path: Path, tiny_bundle: Path, rng: np.random.Generator, format_: str
) -> None:
    for name in ("odd", "bad"):
        (tmp_path / name).mkdir()
    good = [tmp_path / "odd" / name for name in write_odd_files(tmp_path / "odd", rng)]
    said = write_bad_files(tmp_path / "bad", rng)
    bad = [tmp_path / "bad" / name for name in said]
    mixed = [path for pair in zip(good, bad, strict=False) for path in pair] + bad[len(good) :]
    status, out, err = run_earmark("tag", *mixed, "--model", tiny_bundle, "--format", format_, "--top", "1")
    assert status == 1
    lines = [line for line in re.split(r"[\r\n]+", err) if line.startswith("earmark: ")]
    assert lines[:-1] == [f"earmark: {path}: {said[path.name]}" for path in bad]
    assert lines[-1] == f"earmark: {len(bad)} of {len(mixed)} files could not be tagged"
    assert "Traceback" not in err
    for path in good:
        assert str(path) in out
    assert len(out.splitlines()) == len(good) + (format_ == "csv")


def test_a_folder_with_bad_files_in_it(
    run_earmark: Run, tmp_path: Path, tiny_bundle: Path, rng: np.random.Generator
) -> None:
    said = write_bad_files(tmp_path, rng)
    status, out, err = run_earmark("tag", tmp_path, "--model", tiny_bundle, "--format", "csv", "--top", "1")
    assert status == 1
    tagged = {Path(row["path"]).name for row in csv.DictReader(io.StringIO(out))}
    assert tagged == {"whole.wav", "whole.flac", "whole.ogg", "whole.aiff"}
    named = {name for name in [*said, "header.wav"] if f"earmark: {tmp_path / name}: " in err}
    assert named == {*said, "header.wav"} - {"missing.wav"}


def test_in_python_each_bad_file_raises(tmp_path: Path, tiny_bundle: Path, rng: np.random.Generator) -> None:
    tagger = load(tiny_bundle, n_threads=1)
    for name, text in write_bad_files(tmp_path, rng).items():
        for call in (tagger.tag, tagger.timeline):
            with pytest.raises(AudioError) as caught:
                call(tmp_path / name)
            assert str(caught.value) == f"{tmp_path / name}: {text}"
    with pytest.raises(AudioError) as caught:
        tagger.tag(tmp_path / "folder.wav")
    assert str(caught.value) == f"{tmp_path / 'folder.wav'}: is a folder; a recording was expected"


def test_odd_files_have_finite_scores(tmp_path: Path, tiny_bundle: Path, rng: np.random.Generator) -> None:
    tagger = load(tiny_bundle, n_threads=1)
    for name in write_odd_files(tmp_path, rng):
        tags = tagger.tag(tmp_path / name)
        assert [tag.label for tag in tags if not 0 <= tag.score <= 1] == []
        assert len(tags) == 3
        assert np.isfinite(tagger.timeline(tmp_path / name).scores).all()


def test_silence_and_one_sample_give_what_is_stated(tmp_path: Path, tiny_bundle: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "one.wav", np.array([0.5]), RATE)
    tagger = load(tiny_bundle, n_threads=1)
    silent = tagger.tag(tmp_path / "silence.wav")
    # equal scores stand in the order of the labels
    assert [(tag.label, round(tag.score, 4)) for tag in silent] == [("low", 0.5), ("mid", 0.5), ("high", 0.5)]
    assert {(tag.start_s, tag.end_s) for tag in silent} == {(0.0, 1.0)}
    assert {(tag.start_s, tag.end_s) for tag in tagger.tag(tmp_path / "one.wav")} == {(0.0, 1 / RATE)}
