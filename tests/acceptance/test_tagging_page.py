"""The page on tagging names every option and format, and its commands are ones that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from earmark.cli.tag import tag
from earmark.tagging.library import PATH_COLUMNS, TABLES
from earmark.tagging.mapping import read_label_names
from earmark.tagging.metadata import FIELD, ID3_FIELD, MP4_FIELD
from earmark.tagging.tagger import load
from earmark.tagging.writers import CSV_COLUMNS, WRITERS

PAGE = (Path(__file__).parents[2] / "docs" / "tagging.md").read_text("utf-8")
COMMANDS = re.findall(r"^(?:.*\| )?(earmark tag .*)$", PAGE, flags=re.MULTILINE)


def test_every_option_is_named() -> None:
    options = [parameter.opts[0] for parameter in tag.params if isinstance(parameter, click.Option)]
    assert [option for option in options if option not in PAGE] == []


def test_every_format_field_and_column_is_named() -> None:
    quoted = set(re.findall(r"`([^`]*)`", PAGE))
    assert set(WRITERS) <= quoted
    assert {FIELD, ID3_FIELD, MP4_FIELD} <= {re.sub(" .*", "", text) for text in quoted}
    assert set(PATH_COLUMNS) <= quoted
    assert {f"@list{suffix}" for suffix in TABLES} <= quoted
    assert ",".join(CSV_COLUMNS) in quoted


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    words = shlex.split(command, comments=True)[2:]
    with click.Context(tag) as context:
        tag.parse_args(context, [word for word in words if not re.match("--root|ESC-50/audio", word)])
    assert context.params["paths"]


def test_the_table_of_names_fits_the_embedded_model(tmp_path: Path) -> None:
    (table,) = re.findall(r"^```csv\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "names.csv").write_text(table)
    names = read_label_names(tmp_path / "names.csv", load().labels).names
    assert len(names) == 4
    assert set(names.values()) == {"drums", "dog"}


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8
