"""`earmark data`: one file a verb."""

from __future__ import annotations

import click

from earmark.cli.group import LazyGroup

VERBS = {
    "fetch": "Download public collections and weights by name, verified.",
    "check": "Find what is wrong with a collection.",
    "stats": "Count what a collection holds.",
    "folds": "Divide a collection into folds, and say how even they are.",
    "pack": "Decode a collection once, into a store to train from.",
    "synth": "Make a collection of synthesised sounds.",
}
"""Each command of `earmark data` with its one line of help; its code is imported when it is called."""


@click.group(cls=LazyGroup, verbs=VERBS, package="earmark.cli.data")
def data() -> None:
    """Work on collections of labelled recordings.

    \b
    Example:
      earmark data check recordings/
    """
