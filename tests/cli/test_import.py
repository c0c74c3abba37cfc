"""`earmark import`: what it prints, and its errors in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from earmark.bundle import Bundle
from earmark.training.models import MobileNet

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(MobileNet(3, width=0.1).state_dict(), tmp_path / "mine.pt")
    (tmp_path / "labels.csv").write_text("label\nlow\nmid\nhigh\n")
    return tmp_path / "mine.pt"


def test_a_checkpoint_becomes_a_bundle_that_tags(
    run_earmark: Run, checkpoint: Path, write_tone: Callable[..., Path]
) -> None:
    bundle, labels = checkpoint.with_name("mine.onnx"), checkpoint.with_name("labels.csv")
    status, out, err = run_earmark("import", "efficientat", checkpoint, "--labels", labels, "-o", bundle)
    assert (status, err) == (0, "")
    assert out.startswith(f"{bundle}: 3 labels, ")
    assert "MobileNetV3 of width 0.1 (" in out
    assert "scores within " in out
    assert Bundle(bundle).spec.labels == ("low", "mid", "high")
    status, out, _ = run_earmark("tag", write_tone(), "--model", bundle, "--format", "csv")
    assert status == 0
    assert {line.split(",")[3] for line in out.splitlines()[1:]} == {"low", "mid", "high"}


def test_errors_end_in_one_line(run_earmark: Run, checkpoint: Path, tmp_path: Path) -> None:
    status, out, err = run_earmark("import", "efficientat", checkpoint, "-o", tmp_path / "m.onnx")
    assert (status, out) == (2, "")
    assert err == (
        f"earmark: {checkpoint}: gives 3 scores, but 527 labels are named; give its own labels, in its order, by "
        "--labels\n"
    )
    status, _, err = run_earmark("import", "efficientat", tmp_path / "none.pt", "-o", tmp_path / "m.onnx")
    assert status == 2
    assert err == f"earmark: {tmp_path / 'none.pt'}: no such file of weights; check the spelling\n"


def test_a_peer_that_is_none(run_earmark: Run) -> None:
    status, _, err = run_earmark("import", "eficientat", "a.pt")
    assert status == 2
    assert "no command 'eficientat'; did you mean 'efficientat'?; see 'earmark import -h'" in err


def test_help_has_examples() -> None:
    command = [sys.executable, "-m", "earmark", "import", "efficientat", "-h"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\n    earmark import efficientat mn04_as_mAP_432.pt -o mn04.onnx\n" in said.stdout


def test_without_torch_it_names_the_extra(run_earmark: Run, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "earmark.training.efficientat", None)
    status, out, err = run_earmark("import", "efficientat", checkpoint, "-o", checkpoint.with_suffix(".onnx"))
    assert (status, out) == (2, "")
    assert "needs libraries that are not installed: pip install 'earmark[train]'" in err
