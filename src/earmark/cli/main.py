"""The command `earmark`."""

from __future__ import annotations

import sys

import click

from earmark import __version__
from earmark.cli.group import LazyGroup
from earmark.errors import (
    ArchiveError,
    AudioError,
    CollectionError,
    EarmarkError,
    FetchError,
    LabelError,
    PredictionsError,
)

VERBS = {
    "tag": "Name what is heard in recordings.",
    "search": "Find recordings that sound like one.",
    "listen": "Name what the microphone hears.",
    "train": "Learn a tagger from labelled recordings, cross-validated.",
    "compare": "Put runs in order, and say what differs between them.",
    "predict": "Score every clip of a collection for every label.",
    "export": "Make a model smaller, faster, or able to take waveforms.",
    "combine": "Make one model of several runs.",
    "calibrate": "Make scores probabilities, with a threshold a label.",
    "report": "A page about a run: figures, confusions, clips to listen to.",
    "evaluate": "Judge a table of scores by known labels.",
    "audit": "Find labels that are wrong or missing, and listen to them.",
    "import": "Make a bundle of a peer's checkpoint.",
    "serve": "Tag over HTTP, with a page to drop sounds on.",
    "show": "Draw spectrograms as a network sees them, grey or colour.",
    "data": "Collections: fetch, check, count, divide, pack.",
    "demo": "The whole way on synthesised sounds, in minutes.",
}
"""Each command with its one line of help; its code is imported when it is called."""

INPUT_ERRORS = (ArchiveError, AudioError, CollectionError, FetchError, LabelError, PredictionsError)
"""Errors of what was read, exit status 1; all others are of the call itself, exit status 2."""


@click.group(
    cls=LazyGroup, verbs=VERBS, package="earmark.cli", context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="earmark")
def cli() -> None:
    """Put names to sounds.

    \b
    Example:
      earmark tag dog.wav
    """


def main() -> None:
    """Run the command line; errors that users can meet end in one message and an exit status, never in a traceback."""
    try:
        cli()
    except EarmarkError as error:
        click.echo(f"earmark: {error}", err=True)
        sys.exit(1 if isinstance(error, INPUT_ERRORS) else 2)
    except OSError as error:  # a full disk, a folder that may not be written to
        click.echo(f"earmark: {error.filename or 'output'}: {error.strerror or error}", err=True)
        sys.exit(2)
