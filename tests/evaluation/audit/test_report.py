"""The audit's list as a table, as CSV and as JSON, and the page's files."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from earmark.audio.picture import PictureSpec
from earmark.data.check.collection import check_contents
from earmark.evaluation.audit.findings import Audit, audit, located, read_run
from earmark.evaluation.audit.page import MAX_COLUMNS, spectrogram_png, write_page
from earmark.evaluation.audit.report import to_csv, to_json, to_table

from .conftest import GIVEN


@pytest.fixture
def found(run_folder: Path) -> Audit:
    """b is wrong, and a sounds the same as f, which is labelled otherwise."""
    sounds = run_folder.parent / "sounds"
    shutil.copy(sounds / "a.wav", sounds / "f.wav")
    run = located(read_run(run_folder), None)
    _, twins = check_contents(run.clips, 1, progress=False)
    return replace(audit(run, twins), n_suspected=1)


def test_the_table_says_what_is_wrong(found: Audit) -> None:
    text = to_table(found, 2)
    assert text.startswith("run: of 6 clips, 1 probably have a wrong or missing label\n")
    assert [line.split()[:4] for line in text.splitlines()[4:6]] == [
        ["1", "b.wav", f"{found.findings[0].quality:.3f}", "low"],
        ["2", found.findings[1].clip.name, f"{found.findings[1].quality:.3f}", found.findings[1].given[0].label],
    ]
    assert "low that sounds like mid        1" in text
    assert text.endswith("labelled differently:\n  a.wav (low) and f.wav (high), sharing 1.00 s\n")


def test_a_row_of_the_csv_has_it_all(found: Audit) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert len(rows) == 6
    assert rows[0] == {
        "rank": "1",
        "fname": "b.wav",
        "quality": f"{found.findings[0].quality:.4f}",
        "labels": "low",
        "label_scores": "0.1000",
        "suggested": "mid,high",
        "suggested_scores": "0.8000,0.1000",
        "suspicion": "low that sounds like mid",
        "twins": "",
    }
    assert {row["fname"]: row["twins"] for row in rows if row["twins"]} == {"a.wav": "f.wav", "f.wav": "a.wav"}


def test_json_has_clips_groups_and_pairs(found: Audit) -> None:
    said = json.loads(to_json(found))
    assert [clip["fname"] for clip in said["clips"]] == [each.clip.name for each in found.findings]
    assert said["groups"] == [{"suspicion": "low that sounds like mid", "clips": ["b.wav"]}]
    assert said["same_sound_labelled_differently"] == [
        {"clips": ["a.wav", "f.wav"], "labels": [["low"], ["high"]], "overlap_s": 1.0, "exact": True}
    ]


def test_json_tells_not_looked_for_from_not_found(run_folder: Path) -> None:
    assert json.loads(to_json(audit(read_run(run_folder))))["same_sound_labelled_differently"] is None
    assert json.loads(to_json(audit(read_run(run_folder), [])))["same_sound_labelled_differently"] == []


def test_a_page_has_a_picture_and_a_sound_a_clip(found: Audit, tmp_path: Path) -> None:
    assert write_page(tmp_path / "page", found, PictureSpec(), progress=False) == []
    names = {path.relative_to(tmp_path / "page").as_posix() for path in (tmp_path / "page").rglob("*.*")}
    numbers = range(len(GIVEN))
    assert names == {"index.html", *(f"sounds/{i}.wav" for i in numbers), *(f"pictures/{i}.png" for i in numbers)}
    assert (tmp_path / "page" / "sounds" / "0.wav").read_bytes() == found.findings[0].clip.path.read_bytes()


def test_a_page_that_is_written_again_keeps_nothing_of_the_old_one(found: Audit, tmp_path: Path) -> None:
    write_page(tmp_path / "page", found, PictureSpec(), progress=False)
    write_page(tmp_path / "page", replace(found, findings=found.findings[:1]), PictureSpec(), progress=False)
    assert [path.name for path in (tmp_path / "page" / "sounds").iterdir()] == ["0.wav"]


def test_a_recording_that_cannot_be_read_is_named_and_the_rest_is_done(found: Audit, tmp_path: Path) -> None:
    found.findings[0].clip.path.write_bytes(b"no sound")
    errors = write_page(tmp_path / "page", found, PictureSpec(), progress=False)
    assert [found.findings[0].clip.name in str(error) for error in errors] == [True]
    assert (tmp_path / "page" / "pictures" / "1.png").is_file()


def test_a_picture_shows_low_tones_at_the_bottom_and_long_recordings_whole(tmp_path: Path) -> None:
    time_s = np.arange(60 * 8000) / 8000
    soundfile.write(tmp_path / "long.wav", np.where(time_s < 30, 0, np.sin(2 * np.pi * 200 * time_s)) / 2, 8000)
    levels = np.asarray(Image.open(io.BytesIO(spectrogram_png(tmp_path / "long.wav", PictureSpec()))).convert("L"))
    height, width = levels.shape
    assert MAX_COLUMNS / 2 < width <= MAX_COLUMNS
    assert levels[-height // 4 :, -width // 4 :].mean() > 5 * levels[: height // 4, -width // 4 :].mean() + 5
    assert levels[:, : width // 4].max() < levels[:, -width // 4 :].max()
