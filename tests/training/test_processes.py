"""Several processes share each batch, started as users start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from earmark.data.encoding import Encoding
from earmark.data.manifest import Manifest
from earmark.data.pack import pack
from earmark.errors import RunError
from earmark.predictions import Predictions
from earmark.tagging.tagger import load
from earmark.training import run as running
from earmark.training.run import is_first_process

from .conftest import TINY


@pytest.fixture(scope="module")
def packed(tiny_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "tiny"
    pack(tiny_manifest, folder, Encoding.waveform(8000), progress=False)
    return folder


def train(packed: Path, run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    settings = [part for setting in (*TINY, "fit.epochs=60") for part in ("--set", setting)]
    command = [sys.executable, "-m", "earmark", "train", str(packed), "-o", str(run), "--folds", "2", *settings]
    environment = {name: value for name, value in os.environ.items() if name not in {"LOCAL_RANK", "RANK"}}
    return subprocess.run([*command, *options], check=False, capture_output=True, text=True, env=environment)


def test_two_processes_learn_one_network_and_write_one_run(packed: Path, tmp_path: Path) -> None:
    done = train(packed, tmp_path / "run", "--devices", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("out of fold") == 1
    assert "Traceback" not in done.stderr
    assert "GLOBAL_RANK" not in done.stderr
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert figures["lwlrap"] > 0.75  # chance is 0.61
    table = Predictions.read(tmp_path / "run" / "fold-0" / "predictions.csv")
    assert len(table.fnames) + len(Predictions.read(tmp_path / "run" / "fold-1" / "predictions.csv").fnames) == 30
    assert np.isfinite(table.scores).all()
    assert load(tmp_path / "run").labels == ("high", "low", "noise")


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "RANK": "2"}, False),
        ({"LOCAL_RANK": "0", "RANK": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_one_process_writes(environment: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first


def test_a_process_that_waits_in_vain_says_for_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE_S", 0.0)
    with pytest.raises(RunError, match="the first process has not begun the run within 0 s; see its output"):
        running._wait_for(tmp_path / "recipe.toml")
