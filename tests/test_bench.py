"""What the benches take from the package is there, although only people run them."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
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


def test_the_page_on_scaling_has_the_figures_that_were_measured() -> None:
    specification = importlib.util.spec_from_file_location("scaling_page", BENCH[0].parent / "scaling_page.py")
    assert specification is not None
    assert specification.loader is not None
    page = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(page)
    kept = json.loads((BENCH[0].parent / "results" / "scaling.json").read_text("utf-8"))
    docs = (BENCH[0].parents[1] / "docs" / "scaling.md").read_text("utf-8")
    assert page.as_page(kept) in docs[docs.index(page.BEGIN) : docs.index(page.END)]
