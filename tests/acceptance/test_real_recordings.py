"""The README's commands on real recordings, in one process each, as a user runs them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real_data

QUICK = ("fit.epochs=1", "model.width=0.125", "fit.batch_size=32")


def earmark(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "earmark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_embedded_model_hears_what_is_in_clear_clips(real_data: Path, tmp_path: Path) -> None:
    with (real_data / "esc10" / "meta" / "esc50.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["category"] in {"dog", "rooster", "chainsaw", "rain"}]
    names = {"dog": "Bark", "rooster": "Chicken_and_rooster", "chainsaw": "Chainsaw", "rain": "Rain"}
    clips = [real_data / "esc10" / "audio" / row["filename"] for row in rows[::8]]
    result = earmark("tag", *clips, "--format", "csv", "--top", "1", "-o", tmp_path / "tags.csv")
    assert result.returncode == 0, result.stderr
    table = rows_of(tmp_path / "tags.csv")
    assert table[0] == ["path", "start_s", "end_s", "tag", "score"]
    assert [row[0] for row in table[1:]] == [str(clip) for clip in clips]
    heard = [row[3] == names[given["category"]] for row, given in zip(table[1:], rows[::8], strict=True)]
    assert sum(heard) >= 0.8 * len(heard)


def test_contest_folders_to_submission(real_data: Path, tmp_path: Path) -> None:
    settings = [part for setting in QUICK for part in ("--set", setting)]
    data = real_data / "everyday26"
    trained = earmark("train", data, "-o", tmp_path / "run", "--folds", "2", *settings)
    assert trained.returncode == 0, trained.stderr
    predicted = earmark("predict", tmp_path / "run", data, "-o", tmp_path / "submission.csv")
    assert predicted.returncode == 0, predicted.stderr
    submission, asked = rows_of(tmp_path / "submission.csv"), rows_of(data / "sample_submission.csv")
    assert submission[0] == asked[0]
    assert [row[0] for row in submission] == [row[0] for row in asked]
    assert (len(submission) - 1, len(submission[0]) - 1) == (369, 26)
    judged = earmark("evaluate", tmp_path / "run" / "predictions.csv", data / "train_curated.csv")
    assert judged.returncode == 0, judged.stderr
    assert "lwlrap" in judged.stdout
