"""README's commands are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from earmark.cli.main import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
CODE = "\n".join(re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL))
COMMANDS = [line for line in CODE.replace("\\\n", " ").splitlines() if line.startswith("earmark ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_and_its_options_exist(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, name
        command = found
    command.make_parser(click.Context(command)).parse_args(words)


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 20


def test_links_lead_somewhere() -> None:
    linked = re.findall(r"\]\(((?!https?:)[^)#]+)", README)
    assert linked
    assert [path for path in linked if not (ROOT / path).exists()] == []
