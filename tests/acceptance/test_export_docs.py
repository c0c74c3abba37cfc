"""What docs/export.md shows runs, with ONNX Runtime and nothing of ours."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.tagging.tagger import load

DOCS = Path(__file__).parents[2] / "docs" / "export.md"
Run = Callable[..., tuple[int, str, str]]
WriteTone = Callable[..., Path]


@pytest.fixture
def snippet() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    return found


def test_ten_lines_of_onnx_runtime(
    run_earmark: Run, tiny_bundle: Path, write_tone: WriteTone, snippet: str, tmp_path: Path
) -> None:
    assert len([line for line in snippet.splitlines() if line]) <= 10
    assert "earmark." not in snippet.replace('"earmark"', "")
    assert run_earmark("export", tiny_bundle, "-o", tmp_path / "waveform.onnx", "--input", "waveform")[0] == 0
    shutil.move(write_tone("tone.wav", 5000.0, 1.0 - 160 / 16_000, 16_000), tmp_path / "dog.wav")
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stderr == ""
    scores = eval(said.stdout, {"__builtins__": {}})
    expected = {tag.label: tag.score for tag in load(tiny_bundle).tag(tmp_path / "dog.wav")}
    assert list(scores) == list(expected)
    np.testing.assert_allclose(list(scores.values()), list(expected.values()), atol=0.006)


def test_every_precision_and_figure_is_explained() -> None:
    from earmark.bundle import PRECISIONS
    from earmark.tagging.parity import Parity

    text = DOCS.read_text(encoding="utf-8")
    for name in (*PRECISIONS, *Parity.__dataclass_fields__):
        assert f"`{name}`" in text
