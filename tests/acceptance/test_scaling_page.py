"""The page on scaling: its commands are ones that there are, and what it says of parts and actors is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from earmark.cli.tag import tag
from earmark.cli.train import train
from earmark.tagging.addresses import N_ATTEMPTS
from earmark.tagging.index import Maker
from earmark.tagging.parts import MANIFEST, Source
from earmark.tagging.scale import N_DEATHS, PART_BYTES, PART_FILES, jobs_of

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text("utf-8")
COMMANDS = re.findall(r"^\s*(?:-m )?(?:earmark )?((?:tag|train) .*)$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    words = shlex.split(command, comments=True)
    verb = {"tag": tag, "train": train}[words[0]]
    with click.Context(verb) as context:
        verb.parse_args(context, words[1:])
    assert context.params


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 3


def test_numbers() -> None:
    assert f"up to {PART_FILES}, or of {PART_BYTES >> 20} MB" in PAGE
    assert f"`{MANIFEST}`" in PAGE
    words = {2: "two", 3: "three"}
    assert f"over which {words[N_DEATHS]} actors die" in PAGE
    assert f"is tried {words[N_ATTEMPTS]} times" in PAGE
    jobs = jobs_of([Source(f"{i}.wav") for i in range(20_000)], Maker("digest", {}), 8, first=0)
    assert sum(len(job.sources) < PART_FILES for job in jobs) / 8 == pytest.approx(12, abs=2)
    assert "about a dozen smaller ones an actor" in PAGE
