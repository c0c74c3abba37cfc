"""The page on bundles names every field, input, output and version, and what it shows runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from earmark import bundle
from earmark.bundle import BundleSpec, Calibration, Combination, Thresholds

PAGE = (Path(__file__).parents[2] / "docs" / "bundles.md").read_text(encoding="utf-8")


def test_every_field_is_named() -> None:
    names = [name for kind in (BundleSpec, Combination, Calibration, Thresholds) for name in kind.__struct_fields__]
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_every_input_and_output_is_named() -> None:
    for name in (bundle.INPUT_NAME, bundle.WAVEFORMS_NAME, bundle.OUTPUT_NAME, bundle.FRAMES_NAME):
        assert f"`{name}`" in PAGE
    assert f"`{bundle.MEMBER_NAME}0`" in PAGE
    assert f"the key `{bundle.METADATA_KEY}`" in PAGE


def test_every_version_is_named() -> None:
    versions = re.findall(r"^\| (\d) \|", PAGE, flags=re.MULTILINE)
    assert versions == [str(i) for i in range(bundle.FIRST_VERSION, bundle.FORMAT_VERSION + 1)]
    assert f"this release reads up to {bundle.FORMAT_VERSION}; upgrade earmark" in PAGE


def test_onnx_runtime_alone_reads_it(tiny_bundle: Path, tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    shutil.copy(tiny_bundle, tmp_path / "model.onnx")
    said = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == "1 ['low', 'mid', 'high']\n"
