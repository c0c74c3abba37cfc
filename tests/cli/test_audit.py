"""`earmark audit`: lists, pages, and corrections that training takes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
from click.testing import CliRunner

from earmark.cli.train import train

Run = Callable[..., tuple[int, str, str]]
RATE = 8000
SETTINGS = (
    "picture.log_mel.sample_rate=8000",
    "picture.log_mel.fmax=4000.0",
    "picture.log_mel.n_fft=512",
    "picture.log_mel.n_mels=32",
    "model.width=0.125",
    "window_s=0.8",
    "fit.batch_size=4",
    "fit.epochs=1",
)
ARGUMENTS = ["--folds", "2", *(part for setting in SETTINGS for part in ("--set", setting))]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run and its collection of twelve tones, low and high."""
    folder = tmp_path_factory.mktemp("tones")
    rows = ["path,labels"]
    for i in range(12):
        label, frequency_hz = (("low", 300), ("high", 2000))[i % 2]
        time_s = np.arange(RATE) / RATE
        soundfile.write(folder / f"{i}.wav", 0.5 * np.sin(2 * np.pi * (frequency_hz + 10 * i) * time_s), RATE)
        rows.append(f"{i}.wav,{label}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    run = tmp_path_factory.mktemp("runs") / "run"
    done = CliRunner().invoke(train, [*ARGUMENTS, str(folder), "-o", str(run)], catch_exceptions=False)
    assert done.exit_code == 0
    return run, folder


def test_a_list_and_a_page(learned: tuple[Path, Path], run_earmark: Run, tmp_path: Path) -> None:
    status, out, err = run_earmark("audit", learned[0], "--page", tmp_path / "page")
    assert status == 0
    assert out.startswith("run: of 12 clips, ")
    assert f"earmark: the page: {tmp_path / 'page' / 'index.html'}" in err
    assert len(list((tmp_path / "page" / "sounds").iterdir())) == 12


def test_quick_lists_all_and_decodes_nothing(learned: tuple[Path, Path], run_earmark: Run, tmp_path: Path) -> None:
    target = tmp_path / "suspects.json"
    assert run_earmark("audit", learned[0], "--quick", "--format", "json", "-o", target) == (0, "", "")
    said = json.loads(target.read_text())
    assert len(said["clips"]) == 12
    assert said["same_sound_labelled_differently"] is None
    assert not (learned[0] / "audit").exists()


def test_the_first_of_the_list(learned: tuple[Path, Path], run_earmark: Run) -> None:
    status, out, _ = run_earmark("audit", learned[0], "--quick", "--format", "csv", "--top", "3")
    assert (status, len(out.splitlines())) == (0, 4)


def test_quick_has_no_page(learned: tuple[Path, Path], run_earmark: Run) -> None:
    status, _, err = run_earmark("audit", learned[0], "--quick", "--serve")
    assert status == 2
    assert "--quick decodes nothing, and the page is for listening; leave one of them out" in err


def test_a_folder_that_is_no_run(run_earmark: Run, tmp_path: Path) -> None:
    status, out, err = run_earmark("audit", tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith(f"earmark: {tmp_path}: has no predictions.csv (out-of-fold scores)")


def test_what_is_decided_at_the_served_page_is_what_training_takes(learned: tuple[Path, Path], tmp_path: Path) -> None:
    run, folder = learned
    table = tmp_path / "corrections.csv"
    command = [sys.executable, "-m", "earmark", "audit", run, "--serve", "--port", "0", "--corrections", table]
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True) as server:
        try:
            address = next(found[1] for line in server.stderr if (found := re.search(r"the page: (http://\S+)/", line)))
            said = {"fname": "1.wav", "seen": 0, "action": "drop"}
            assert requests.post(f"{address}/decisions", json=said, timeout=30).status_code == 200
            said = {"fname": "2.wav", "seen": 0, "action": "relabel", "labels": ["high"], "why": "heard"}
            assert requests.post(f"{address}/decisions", json=said, timeout=30).status_code == 200
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    assert table.read_text() == "fname,action,labels,why\n1.wav,drop,,\n2.wav,relabel,high,heard\n"
    better = tmp_path / "better"
    done = CliRunner().invoke(
        train, [*ARGUMENTS, str(folder), "--corrections", str(table), "-o", str(better)], catch_exceptions=False
    )
    assert done.exit_code == 0
    rows = dict(line.split(",")[:2] for line in (better / "clips.csv").read_text().splitlines()[1:])
    assert len(rows) == 11
    assert rows["2.wav"] == "high"
