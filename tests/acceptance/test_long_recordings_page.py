"""The page on long recordings names every option of events and of listening, with its default."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from earmark.cli import timeline
from earmark.cli.listen import listen
from earmark.cli.tag import tag

PAGE = (Path(__file__).parents[2] / "docs" / "long-recordings.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^earmark (tag|listen)(.*)$", PAGE, flags=re.MULTILINE)


def test_every_option_is_named() -> None:
    options = [p.opts[0] for p in (*tag.params, *listen.params) if isinstance(p, click.Option)]
    of_events = [p.opts[0] for p in tag.params if p.name in timeline.NAMES]
    assert len(of_events) == len(timeline.NAMES)
    of_listening = [p.opts[0] for p in listen.params if p.name not in {"model", "threshold"}]
    assert set(of_listening) <= set(options)
    assert [option for option in (*of_events, *of_listening) if f"`{option}" not in PAGE] == []


def test_defaults_are_those_of_the_command() -> None:
    said = {"--smooth": r"odd number \((\d+)\)", "--release": r"times the threshold \(([\d.]+)\)"}
    for parameter in tag.params:
        if parameter.opts[0] in said:
            (default,) = re.findall(said[parameter.opts[0]], PAGE.replace("\n", " "))
            assert float(default) == parameter.default


@pytest.mark.parametrize(("verb", "words"), COMMANDS)
def test_commands_are_understood(verb: str, words: str) -> None:
    command = {"tag": tag, "listen": listen}[verb]
    with click.Context(command) as context:
        command.parse_args(context, shlex.split(words, comments=True))


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 4
