"""The page on serving names every option, address, problem and limit, and its commands are ones that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from earmark.cli.serve import serve
from earmark.serving.app import Service, Settings
from earmark.serving.limits import Limits
from earmark.serving.problems import KINDS
from earmark.tagging.tagger import load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text("utf-8")
QUOTED = set(re.findall(r"`([^`\n]*)`", PAGE))
COMMANDS = re.findall(r"^(earmark serve.*)$", PAGE, flags=re.MULTILINE)


def test_every_option_is_named() -> None:
    options = [parameter.opts[0] for parameter in serve.params if isinstance(parameter, click.Option)]
    assert [option for option in options if option not in PAGE] == []


def test_every_problem_is_named_with_its_status() -> None:
    for kind, (status, _) in KINDS.items():
        row = next(line for line in PAGE.splitlines() if line.startswith("|") and f"`{kind}`" in line)
        assert str(status) in row.split("|")[1]


def test_every_address_is_named(tiny_bundle: Path) -> None:
    said = Service(load(tiny_bundle), Settings()).api.openapi()["paths"]
    for path, operations in said.items():
        for method in operations:
            assert f"{method.upper()} {path}" in QUOTED


def test_limits_are_as_the_page_and_the_help_say() -> None:
    limits = Limits()
    values = {
        "--max-body": round(limits.max_body_bytes / 1e6),
        "--max-duration": round(limits.max_duration_s),
        "--max-channels": limits.max_channels,
        "--max-files": limits.max_files,
        "--max-labels": limits.max_labels,
        "--max-pending": limits.max_pending,
        "--max-connections": limits.max_connections,
        "--timeout": round(limits.timeout_s),
    }
    helps = {parameter.opts[0]: parameter.help for parameter in serve.params if isinstance(parameter, click.Option)}
    for option, value in values.items():
        assert re.search(rf"^\| `{option}` \| {value}\b", PAGE, flags=re.MULTILINE)
        assert f"[default: {value}]" in helps[option]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    serve.make_parser(click.Context(serve)).parse_args(shlex.split(command, comments=True)[2:])


def test_what_the_image_and_the_unit_run_is_understood() -> None:
    image, unit = ((ROOT / "deploy" / name).read_text() for name in ("Dockerfile", "earmark.service"))
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])$", image, flags=re.MULTILINE)
    (start,) = re.findall(r"^ExecStart=\S+/(earmark .*)$", unit, flags=re.MULTILINE)
    for words in (re.findall(r'"([^"]*)"', entry), start.split()):
        assert words[:2] == ["earmark", "serve"]
        serve.make_parser(click.Context(serve)).parse_args(words[2:])
