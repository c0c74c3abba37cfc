"""`earmark import`: one file a peer."""

from __future__ import annotations

import click

from earmark.cli.group import LazyGroup

VERBS = {"efficientat": "A mobile network of EfficientAT, learned on AudioSet."}
"""Each peer with its one line of help; its code is imported when it is called."""


@click.group("import", cls=LazyGroup, verbs=VERBS, package="earmark.cli.import_")
def import_() -> None:
    """Make a bundle of a peer's checkpoint.

    \b
    Example:
      earmark import efficientat mn04_as_mAP_432.pt -o mn04.onnx
    """
