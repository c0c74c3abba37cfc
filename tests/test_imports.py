"""Tagging loads nothing of training, and rooms import only from rooms before them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAINING = ("torch", "pytorch_lightning", "lightning", "onnx", "matplotlib", "pandas", "earmark.training")
SLOW = ("scipy.fft", "scipy.special", "numpy.f2py")
"""What the front end does without, since importing it takes a third of a cold start."""

RUN_AND_LIST = """
import json, sys
sys.argv = ["earmark", *sys.argv[1:]]
from earmark.cli.main import main
try:
    main()
except SystemExit as end:
    status = end.code or 0
print(json.dumps([status, sorted(sys.modules)]))
"""


def loaded_by(code: str, *arguments: object) -> list[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    status, modules = json.loads(said.splitlines()[-1])
    assert status == 0
    return modules


def assert_none_of(modules: list[str], unwanted: tuple[str, ...]) -> None:
    assert [name for name in modules if name.startswith(tuple(f"{one}." for one in unwanted)) or name in unwanted] == []


def test_the_package_alone_loads_next_to_nothing() -> None:
    modules = loaded_by("import json, sys, earmark; print(json.dumps([0, sorted(sys.modules)]))")
    assert [name for name in modules if name.startswith("earmark")] == ["earmark"]
    assert_none_of(modules, (*TRAINING, "numpy", "onnxruntime"))


def test_the_package_in_use_loads_nothing_of_training(tiny_bundle: Path, write_tone: Callable[..., Path]) -> None:
    code = (
        "import json, sys, earmark; model, clip = sys.argv[1:]; earmark.load(model).timeline(clip); "
        "earmark.load(model).tag(clip); print(json.dumps([0, sorted(sys.modules)]))"
    )
    modules = loaded_by(code, tiny_bundle, write_tone())
    assert "onnxruntime" in modules
    assert_none_of(modules, (*TRAINING, "sklearn", "earmark.data", "earmark.cli"))


def test_tag_loads_nothing_of_training(tiny_bundle: Path, write_tone: Callable[..., Path]) -> None:
    modules = loaded_by(RUN_AND_LIST, "tag", write_tone(), "--model", tiny_bundle)
    assert "earmark.tagging.tagger" in modules
    assert_none_of(modules, (*TRAINING, *SLOW, "sklearn", "earmark.data"))


def test_predict_loads_nothing_of_training(tiny_bundle: Path, write_tone: Callable[..., Path], tmp_path: Path) -> None:
    write_tone("a.wav")
    (tmp_path / "clips.csv").write_text("path,labels\na.wav,low\n")
    modules = loaded_by(RUN_AND_LIST, "predict", tiny_bundle, tmp_path, "-o", tmp_path / "scores.csv")
    assert_none_of(modules, (*TRAINING, "sklearn"))


@pytest.mark.parametrize("verb", ["", "tag", "evaluate"])
def test_help_is_quick_to_come(verb: str) -> None:
    code = RUN_AND_LIST.replace("print(json.dumps([status,", "print(); print(json.dumps([status,")
    assert_none_of(loaded_by(code, *([verb] if verb else []), "-h"), (*TRAINING, "sklearn"))


def test_rooms_import_only_from_rooms_before_them() -> None:
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", code, "--no-cache"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    assert "0 broken" in said.stdout
