"""`earmark data`: its help, wrong calls, and `synth`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from earmark.cli.data import VERBS, data
from earmark.data.layouts import read_collection

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("verb", VERBS)
def test_every_commands_help_has_an_example(verb: str) -> None:
    command = [sys.executable, "-m", "earmark", "data", verb, "-h"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Example" in said.stdout
    assert f"\n    earmark data {verb} " in said.stdout
    assert said.stderr == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb: str) -> None:
    command = data.get_command(click.Context(data), verb)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not isinstance(parameter.type, click.Choice):
            assert parameter.help, f"data {verb} {parameter.name}"


def test_help_lists_every_command(run_earmark: Run) -> None:
    status, out, err = run_earmark("data", "-h")
    assert (status, err) == (0, "")
    for verb, said in VERBS.items():
        assert verb in out
        assert said in out
    assert "\n    earmark data " in out


def test_a_command_that_is_none(run_earmark: Run) -> None:
    status, out, err = run_earmark("data", "snyth", "a")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == "Error: no command 'snyth'; did you mean 'synth'?; see 'earmark data -h'"


def test_synth_makes_a_collection(run_earmark: Run, tmp_path: Path) -> None:
    call = ("data", "synth", tmp_path / "sounds", "--curated", 6, "--noisy", 3, "--test", 2, "--sample-rate", 16_000)
    status, out, _ = run_earmark(*call)
    assert (status, out) == (0, "")
    manifest = read_collection(tmp_path / "sounds")
    assert [len(manifest.subset(name)) for name in ("curated", "noisy", "test")] == [6, 3, 2]
    status, _, err = run_earmark(*call)
    assert status == 1
    assert "is a folder that holds files" in err
