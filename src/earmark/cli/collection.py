"""The options by which commands are told how a collection is to be read, and which of its clips count."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.data.problem import Problem
from earmark.data.selection import read_corrections, read_exclusions, select


@dataclass(frozen=True)
class CollectionOptions:
    """What a user said about a collection; see `collection_options`.

    Parameters
    ----------
    layout
        Name of its layout; None to find out.
    exclude
        A file with the clips to leave out, if any; see `read_exclusions`.
    corrections
        A table of corrections, if any; see `read_corrections`.
    keep_known_wrong
        Whether clips stay whose labels the collection's makers say are wrong.
    """

    layout: str | None = None
    exclude: Path | None = None
    corrections: Path | None = None
    keep_known_wrong: bool = False

    def read(self, data: Path) -> Manifest:
        """Read a collection and select from it, as the user said; standard error tells what was selected.

        Parameters
        ----------
        data
            A collection's folder, or a table.

        Returns
        -------
        Manifest
            The clips that count, with the labels that count.

        Raises
        ------
        CollectionError, LabelError
            As `read_collection` and `select` do.
        """
        return self.select(self.read_unselected(data))

    def read_unselected(self, data: Path, problems: list[Problem] | None = None) -> Manifest:
        """Read a collection as the user said, all clips of it; see `read_collection`."""
        return read_collection(data, layout=self.layout)

    def select(self, manifest: Manifest) -> Manifest:
        """Leave clips out and put labels right, as the user said, and tell so on standard error; see `select`."""
        selection = select(
            manifest,
            exclude=read_exclusions(self.exclude) if self.exclude else (),
            corrections=read_corrections(self.corrections) if self.corrections else (),
            keep_known_wrong=self.keep_known_wrong,
        )
        for line in selection.summary().splitlines():
            click.echo(f"earmark: {line}", err=True)
        return selection.manifest


_PATH = click.Path(path_type=Path)

_OPTIONS = (
    click.option("--layout", help="The collection's layout.  [default: found out]"),
    click.option(
        "--exclude", type=_PATH, metavar="FILE", help="Clips to leave out: a name a line, or a CSV (fname,why)."
    ),
    click.option(
        "--corrections", type=_PATH, metavar="FILE", help="Labels put right: a CSV (fname,action,labels,why)."
    ),
    click.option("--keep-known-wrong", is_flag=True, help="Keep clips whose labels their makers say are wrong."),
)


def collection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as its argument `how`."""
    names = CollectionOptions.__dataclass_fields__

    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> None:
        how = CollectionOptions(**{name: kwargs.pop(name) for name in names})
        command(*args, how=how, **kwargs)

    wrapped: Callable[..., None] = with_options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
