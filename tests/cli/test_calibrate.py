"""`earmark calibrate`: scores become probabilities, and each label gets a threshold, both in the bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.bundle import Bundle
from earmark.evaluation.calibration import calibrated
from earmark.tagging.tagger import load

Earmark = Callable[..., tuple[int, str, str]]
WriteTone = Callable[..., Path]
N = 120


@pytest.fixture
def run(make_tiny_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """A run of the tiny bundle, whose out-of-fold scores are far too high; the label `high` is never there."""
    rng, folder = np.random.default_rng(3), tmp_path / "run"
    folder.mkdir()
    make_tiny_bundle(folder / "model.onnx")
    scores = rng.random((N, 3))
    there = rng.random((N, 3)) < scores**3
    there[:, 2] = False
    names = np.array(["low", "mid", "high"])
    clips = [f'{i}.wav,"{",".join(names[row])}",s{i // 3}' for i, row in enumerate(there)]
    table = [f"{i}.wav,{','.join(f'{score:.6f}' for score in row)}" for i, row in enumerate(scores)]
    folds = [f"{i}.wav,{i // 3 % 4}" for i in range(N)]
    for name, header, rows in (
        ("clips.csv", "fname,labels,group", clips),
        ("predictions.csv", "fname,low,mid,high", table),
        ("folds.csv", "fname,fold", folds),
    ):
        (folder / name).write_text("\n".join([header, *rows]) + "\n")
    return folder


def row(out: str, name: str) -> list[float]:
    line = next(line for line in out.splitlines() if line.startswith(f"{name}  "))
    return [float(cell) for cell in line.removeprefix(name).split()]


def test_a_run_is_calibrated_in_place(run_earmark: Earmark, run: Path, write_tone: WriteTone) -> None:
    before = load(run / "model.onnx")
    waveform = np.sin(np.arange(16_000) / 5).astype(np.float32)
    plain = before.scores(waveform, 16_000)
    status, out, err = run_earmark("calibrate", run)
    assert status == 0
    assert row(out, "platt")[0] < 0.6 * row(out, "before")[0]  # a label that is never there stays as it is
    assert row(out, "platt")[2] < row(out, "before")[2]
    after = load(run)
    assert after.bundle.spec.calibration is not None
    np.testing.assert_array_equal(
        after.scores(waveform, 16_000), calibrated(after.bundle.spec.calibration, plain[None])[0]
    )
    assert np.abs(after.scores(waveform, 16_000) - plain).max() > 0.01
    assert (run / "reliability.png").is_file()
    assert "1 labels have no threshold and are never given with '--threshold auto': high;" in err
    thresholds = after.bundle.spec.thresholds
    assert thresholds is not None
    assert thresholds.rule == "f1"
    assert [value is None for value in thresholds.values] == [False, False, True]
    assert run_earmark("tag", write_tone(), "-m", run, "--threshold", "auto")[0] == 0


def test_calibrating_again_begins_anew(run_earmark: Earmark, run: Path) -> None:
    assert run_earmark("calibrate", run)[0] == 0
    first = (run / "model.onnx").read_bytes()
    assert run_earmark("calibrate", run)[0] == 0
    assert (run / "model.onnx").read_bytes() == first


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_another_bundle_of_a_run(run_earmark: Earmark, run: Path, tmp_path: Path, method: str) -> None:
    (run / "model.onnx").rename(tmp_path / "small.onnx")
    options = ("--run", run, "-o", tmp_path / "a.onnx", "--picture", tmp_path / "a.png", "--method", method)
    status, out, _ = run_earmark("calibrate", tmp_path / "small.onnx", *options)
    assert status == 0
    assert method == "temperature" or row(out, method)[0] < row(out, "before")[0]  # a temperature has no offset
    assert Bundle(tmp_path / "small.onnx").spec.calibration is None
    spec = Bundle(tmp_path / "a.onnx").spec
    assert spec.calibration is not None
    assert spec.calibration.method == method
    assert (tmp_path / "a.png").is_file()


def test_a_wanted_precision(run_earmark: Earmark, run: Path) -> None:
    status, out, _ = run_earmark("calibrate", run, "--precision", "0.8")
    assert status == 0
    thresholds = Bundle(run / "model.onnx").spec.thresholds
    assert thresholds is not None
    assert thresholds.rule == "precision 0.8"
    assert row(out, "platt, precision 0.8")[1] > row(out, "before, 0.5")[1]


def test_a_bundle_without_out_of_fold_scores(run_earmark: Earmark, run: Path, tmp_path: Path) -> None:
    (run / "model.onnx").rename(tmp_path / "small.onnx")
    status, _, err = run_earmark("calibrate", tmp_path / "small.onnx")
    assert status == 2
    assert err == (
        f"earmark: {tmp_path / 'small.onnx'}: there are no out-of-fold scores beside it, in small-run; name the run "
        "that it was made of with --run\n"
    )


def test_the_scores_of_another_run(run_earmark: Earmark, run: Path, make_tiny_bundle: Callable[..., Path]) -> None:
    make_tiny_bundle(run / "model.onnx", labels=("low", "high", "mid"))
    status, _, err = run_earmark("calibrate", run)
    assert status == 2
    assert f"{run}: its labels are not those of {run / 'model.onnx'}" in err


def test_scores_that_are_logits(run_earmark: Earmark, run: Path) -> None:
    table = (run / "predictions.csv").read_text().splitlines()
    table[1] = "0.wav,-3,1,2"
    (run / "predictions.csv").write_text("\n".join(table) + "\n")
    status, _, err = run_earmark("calibrate", run)
    assert status == 2
    assert err == f"earmark: {run}: its scores are from -3 to 2; expected 0 to 1; are they logits?\n"
