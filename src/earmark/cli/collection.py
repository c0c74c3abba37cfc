"""The options by which commands are told how a collection is to be read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest


@dataclass(frozen=True)
class CollectionOptions:
    """What a user said about a collection; see `collection_options`."""

    layout: str | None = None

    def read(self, data: Path) -> Manifest:
        """Read a collection as the user said; see `read_collection`."""
        return read_collection(data, layout=self.layout)


def collection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as its argument `how`."""

    @functools.wraps(command)
    def with_options(*args: Any, layout: str | None, **kwargs: Any) -> None:
        command(*args, how=CollectionOptions(layout), **kwargs)

    return click.option("--layout", help="The collection's layout.  [default: found out]")(with_options)
