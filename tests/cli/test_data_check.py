"""`earmark data check`: what it prints and writes, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.synth import synthesize

Run = Callable[..., tuple[int, str, str]]
RATE = 44_100


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Six clips of two labels; one stands there again, half as loud, in another group."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    labels = ["Knock", "Stream"] * 3
    rows = ["path,labels,group"]
    for number, label in enumerate(labels):
        samples = synthesize(label, np.random.default_rng(number), duration_s=1.0)
        soundfile.write(folder / f"{number}.wav", samples, RATE)
        rows.append(f"{number}.wav,{label},g{number}")
    soundfile.write(folder / "again.wav", samples / 2, RATE)
    rows.append("again.wav,Knock,g9")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_collection_with_an_error(run_earmark: Run, sounds: Path, tmp_path: Path) -> None:
    exclusions = tmp_path / "twice.csv"
    status, out, err = run_earmark("data", "check", sounds, "--write-exclusions", exclusions)
    assert status == 1
    assert out.startswith("sounds (table): 7 clips, 1 errors, ")
    assert "near-duplicates in different groups  error             1        2  leave all but one out, or regroup" in out
    assert "'5.wav' (curated, group g5), 'again.wav' (curated, group g9)" in out
    assert "near-duplicates with different labels: '5.wav' (Stream), 'again.wav' (Knock)" in out
    assert "decode" in err
    assert exclusions.read_text() == "fname,why\nagain.wav,the same sound as 5.wav\n"


def test_what_it_says_to_leave_out_is_left_out(run_earmark: Run, sounds: Path, tmp_path: Path) -> None:
    exclusions = tmp_path / "twice.csv"
    run_earmark("data", "check", sounds, "--write-exclusions", exclusions)
    status, out, _ = run_earmark("data", "check", sounds, "--exclude", exclusions)
    assert status == 0
    assert out.startswith("sounds (table): 6 clips, 0 errors, 2 warnings\n")
    assert "surplus" not in out


def test_json_into_a_file(run_earmark: Run, sounds: Path, tmp_path: Path) -> None:
    target = tmp_path / "check.json"
    status, out, _ = run_earmark("data", "check", sounds, "--format", "json", "-o", target, "--workers", 1)
    assert (status, out) == (1, "")
    said = json.loads(target.read_text())
    assert (said["collection"], said["layout"], said["n_clips"], said["n_errors"]) == ("sounds", "table", 7, 1)
    (pair,) = said["near_duplicates"]
    assert (pair["a"], pair["b"], pair["gain_db"], pair["labels_differ"]) == ("5.wav", "again.wav", -6.0, True)
    assert str(tmp_path) not in target.read_text()


def test_a_quick_look_and_all_of_a_kind(run_earmark: Run, sounds: Path) -> None:
    for number in range(8):
        (sounds / f"surplus-{number}.wav").touch()
    status, out, _ = run_earmark("data", "check", sounds, "--quick")
    assert status == 0
    assert "nothing was decoded" in out
    assert "  and 3 more (--all lists them)" in out
    _, out, _ = run_earmark("data", "check", sounds, "--quick", "--all")
    assert "'surplus-7.wav': is in no table; add a row, or move the file away" in out


def test_problems_of_tables_are_gathered(run_earmark: Run, sounds: Path) -> None:
    with (sounds / "clips.csv").open("a") as table:
        table.write("0.wav,Stream,g0\n")
    status, out, _ = run_earmark("data", "check", sounds, "--quick")
    assert status == 1
    assert "clips.csv line 9: path '0.wav' stands already on line 2; list it once" in out


def test_a_folder_that_is_no_collection(run_earmark: Run, tmp_path: Path) -> None:
    status, out, err = run_earmark("data", "check", tmp_path / "nowhere")
    assert (status, out) == (1, "")
    assert "no such folder" in err
