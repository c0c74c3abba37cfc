"""What the benches take from the package is there, although only people run them."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

BENCH = sorted((Path(__file__).parents[1] / "bench").glob("*.py"))


def resolves(module: str, name: str) -> bool:
    """Whether a module has a name, or a module in it."""
    if hasattr(importlib.import_module(module), name):
        return True
    return importlib.util.find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("script", BENCH, ids=lambda path: path.stem)
def test_imports_of_the_package_resolve(script: Path) -> None:
    nodes = ast.walk(ast.parse(script.read_text("utf-8")))
    wanted = [
        (node.module, name.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("earmark")
        for name in node.names
    ]
    missing = [f"{module}.{name}" for module, name in wanted if not resolves(module, name)]
    assert missing == []


def test_there_are_benches() -> None:
    assert len(BENCH) > 10
