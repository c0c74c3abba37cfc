"""Libraries of real recordings, as a user tags them: by the collection's own table, and into the files."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.audio.decode import decode

pytestmark = pytest.mark.real_data


def earmark(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "earmark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_collections_own_table_and_its_columns(real_data: Path, tmp_path: Path) -> None:
    esc10, output = real_data / "esc10", tmp_path / "tags.csv"
    result = earmark(
        *("tag", f"@{esc10 / 'meta' / 'esc50.csv'}", "--root", esc10 / "audio", "--include", "1-*"),
        *("--top", "1", "--format", "csv", "-o", output),
    )
    assert result.returncode == 0, result.stderr
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 20
    assert {Path(row["path"]).name for row in rows} == {row["filename"] for row in rows}
    dogs = [row for row in rows if row["category"] == "dog"]
    assert sum(row["tag"] == "Bark" for row in dogs) >= 0.7 * len(dogs) > 0


def test_tags_in_files_leave_the_sound_as_it_was(real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("mutagen")
    for path in sorted((real_data / "esc10" / "audio").iterdir())[:6]:
        shutil.copyfile(path, tmp_path / path.name)
    copies = sorted(tmp_path.iterdir())
    sounds = [decode(path).samples.tobytes() for path in copies]
    result = earmark("tag", tmp_path, "--write-tags")
    assert result.returncode == 0, result.stderr
    assert [decode(path).samples.tobytes() for path in copies] == sounds
    result = earmark("tag", tmp_path, "--write-tags", "--dry-run")
    assert result.stdout.count("EARMARK_TAG stays ") == len(copies)
    assert "0 of 6 files would be changed" in result.stderr
