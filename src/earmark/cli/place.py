"""The option by which commands are told to spread their work over a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from earmark.cluster import LOCAL, check_place
from earmark.errors import EarmarkError


def _read_place(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    try:
        return None if text is None else check_place(text)
    except EarmarkError as error:
        raise click.BadParameter(str(error), context, parameter) from error


on_option: Callable[[Any], Any] = click.option(
    "--on",
    "place",
    metavar="ray|ray://HOST:PORT",
    callback=_read_place,
    help=f"Spread the work with Ray: '{LOCAL}' for this machine, or the address of a cluster.",
)
