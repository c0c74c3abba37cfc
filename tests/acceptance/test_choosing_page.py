"""The page on choosing: its commands are ones that there are, its recipe is the default, its Python runs."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import click
import msgspec
import numpy as np
import pytest

from earmark.audio.views import TtaSpec
from earmark.tagging.tagger import load

PAGE = (Path(__file__).parents[2] / "docs" / "choosing.md").read_text("utf-8")
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("earmark ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    verb, *words = shlex.split(command, comments=True)[1:]
    parsed = getattr(import_module(f"earmark.cli.{verb}"), verb)
    options, _, _ = parsed.make_parser(click.Context(parsed)).parse_args(words)
    assert options


def test_the_table_of_a_recipe_is_what_eight_views_are_by_default() -> None:
    (table,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert msgspec.convert(tomllib.loads(table)["tta"], TtaSpec) == TtaSpec(n=8)


def test_the_python_runs(tiny_bundle: Path) -> None:
    rng = np.random.default_rng(0)
    names = {
        "targets": np.eye(3)[rng.integers(3, size=20)],
        "scores": rng.random((20, 3)),
        "a": rng.random((20, 3)),
        "b": rng.random((20, 3)),
        "sources": np.arange(20) // 2,
        "tagger": load(tiny_bundle),
        "waveform": rng.standard_normal(44_100) / 10,
    }
    snippets = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        exec(snippet, names)
