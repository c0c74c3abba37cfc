"""`earmark tag --timeline`: events in every format, and what does not go with them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

Run = Callable[..., tuple[int, str, str]]
RATE = 16_000


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A low tone from 3 to 6 s, a high one from 9 s to the end at 12 s."""
    time_s = np.arange(12 * RATE) / RATE
    low = np.sin(2 * np.pi * 300 * time_s) * ((time_s > 3) & (time_s < 6))
    high = np.sin(2 * np.pi * 5000 * time_s) * (time_s > 9)
    path = tmp_path / "night.wav"
    soundfile.write(path, 0.5 * (low + high), RATE)
    return path


@pytest.fixture
def events(run_earmark: Run, tiny_bundle: Path, night: Path) -> Run:
    return lambda *more: run_earmark("tag", night, "--model", tiny_bundle, "--timeline", "--threshold", "0.9", *more)


def test_csv_has_a_row_an_event(events: Run) -> None:
    status, out, err = events("--release", "1", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (status, err) == (0, "")
    assert [row["tag"] for row in rows] == ["low", "high"]
    assert [float(row["start_s"]) for row in rows] == pytest.approx([3, 9], abs=0.6)
    assert [float(row["end_s"]) for row in rows] == pytest.approx([6, 12], abs=0.6)


def test_table_has_a_line_an_event(events: Run, night: Path) -> None:
    _, out, _ = events("--release", "1")
    lines = out.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(rf"{re.escape(str(night))}  0:00:0[23]\.\d to 0:00:0[56]\.\d  low 0\.9\d", lines[0])


def test_nothing_is_heard(events: Run, night: Path, run_earmark: Run, tiny_bundle: Path) -> None:
    status, out, _ = run_earmark("tag", night, "-m", tiny_bundle, "--timeline", "--threshold", "1")
    assert (status, out) == (0, f"{night}  (none)\n")


def test_audacity_and_parquet(events: Run, tmp_path: Path) -> None:
    assert events("--release", "1", "--format", "audacity", "-o", tmp_path / "labels.txt")[0] == 0
    labels = [line.split("\t") for line in (tmp_path / "labels.txt").read_text().splitlines()]
    assert [label[2].split()[0] for label in labels] == ["low", "high"]
    assert float(labels[1][0]) == pytest.approx(9, abs=0.6)


def test_gaps_and_durations(events: Run) -> None:
    _, out, _ = events("--release", "1", "--min-duration", "5", "--format", "jsonl")
    assert json.loads(out)["tags"] == []


def test_an_interrupted_call_with_other_options_is_not_taken_up(events: Run, tmp_path: Path, night: Path) -> None:
    index = tmp_path / "tags.index"
    assert "1 new or changed" in events("--index", index)[2]
    assert "1 unchanged" in events("--index", index)[2]
    assert "1 new or changed" in events("--index", index, "--smooth", "5")[2]


def test_windows_further_apart(events: Run) -> None:
    _, out, _ = events("--release", "1", "--smooth", "1", "--hop", "1", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["tag"], row["start_s"], row["end_s"]) for row in rows] == [
        ("low", "3.000", "6.000"),
        ("high", "9.000", "12.000"),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--timeline", "--top", "2"], "--top is of whole files; with --timeline, give a --threshold"),
        (["--timeline", "--write-tags"], "leave out --timeline"),
        (["--smooth", "5"], "--smooth: of events; give --timeline as well"),
        (["--hop", "4.5"], "4.5; expected a number of seconds above 0, up to a window of 4 s"),
        (["--timeline", "--smooth", "4"], "4 is even; a median is taken over an odd number of windows"),
        (["--timeline", "--release", "0"], "0.0 is not in the range 0<x<=1"),
        (["--timeline", "--max-gap", "-1"], "-1.0 is not in the range x>=0"),
    ],
)
def test_what_does_not_go_together(run_earmark: Run, night: Path, options: list[str], said: str) -> None:
    status, out, err = run_earmark("tag", night, *options)
    assert (status, out) == (2, "")
    assert said in " ".join(err.replace("│", " ").split())


def test_two_models(run_earmark: Run, night: Path, tiny_bundle: Path) -> None:
    _, out, _ = run_earmark("tag", night, "-m", tiny_bundle, "-m", "embedded", "--top", "1", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["tag"].split(":")[0] for row in rows] == ["tiny", "embedded"]
