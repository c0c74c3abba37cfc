"""The options by which commands are told how a collection is to be read, and which of its clips count."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from earmark.data.layouts import LAYOUTS, packed_audio, read_collection
from earmark.data.layouts.table import parse_columns
from earmark.data.manifest import Manifest
from earmark.data.problem import Problem
from earmark.data.selection import read_corrections, read_exclusions, select
from earmark.errors import CollectionError

SELECTING = {"exclude", "corrections", "keep_known_wrong"}
"""Options that choose from what was read; the others say how to read it, which a packed store knows."""


@dataclass(frozen=True)
class CollectionOptions:
    """What a user said about a collection; see `collection_options`.

    Parameters
    ----------
    layout
        Name of its layout; None to find out.
    columns
        How its table calls the columns of a manifest.
    label_separator
        What joins labels in its table.
    audio_folder
        What its table's paths are relative to; None for the table's folder.
    vocabulary
        A file with its labels; see `read_vocabulary`.
    exclude
        A file with the clips to leave out; see `read_exclusions`.
    corrections
        A table of corrections; see `read_corrections`.
    keep_known_wrong
        Whether clips stay whose labels the collection's makers say are wrong.
    """

    layout: str | None = None
    columns: Mapping[str, str] | None = None
    label_separator: str = ","
    audio_folder: Path | None = None
    vocabulary: Path | None = None
    exclude: Path | None = None
    corrections: Path | None = None
    keep_known_wrong: bool = False

    def read(self, data: Path) -> Manifest:
        """Read a collection and select from it, as the user said; standard error tells what was left out.

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
        manifest = self.read_unselected(data)
        for archive, n_clips in packed_audio(manifest).items():
            _say(f"the audio of {n_clips} clips is still packed, in {archive}; unpack it there to use them")
        return self.select(manifest)

    def read_unselected(self, data: Path, problems: list[Problem] | None = None) -> Manifest:
        """Read a collection as the user said, all clips of it; see `read_collection`.

        Parameters
        ----------
        data
            A collection's folder, or a table.
        problems
            Where to put what is wrong with single clips, instead of raising it.

        Returns
        -------
        Manifest
            Every clip, with the labels that the collection gives it.

        Raises
        ------
        CollectionError, LabelError
            As `read_collection` does.
        """
        return read_collection(
            data,
            layout=self.layout,
            problems=problems,
            vocabulary=self.vocabulary,
            columns=self.columns,
            label_separator=self.label_separator,
            audio_folder=self.audio_folder,
        )

    def refuse_reading(self, store: Path) -> None:
        """Raise `click.UsageError` where the user said how a packed store is to be read, which it knows itself."""
        for field in fields(self):
            if field.name not in SELECTING and getattr(self, field.name) != field.default:
                option = f"--{field.name.replace('_', '-')}"
                raise click.UsageError(
                    f"{option} says how a collection is read, and {store} is a packed store, which knows; leave it "
                    "out, or give it to 'earmark data pack'"
                )

    def select(self, manifest: Manifest) -> Manifest:
        """Leave clips out and put labels right, as the user said, and tell so on standard error.

        Parameters
        ----------
        manifest
            Any collection, read from its folder or from a packed store.

        Returns
        -------
        Manifest
            The clips that count, with the labels that count.

        Raises
        ------
        CollectionError, LabelError
            As `select` does.
        """
        selection = select(
            manifest,
            exclude=read_exclusions(self.exclude) if self.exclude else (),
            corrections=read_corrections(self.corrections) if self.corrections else (),
            keep_known_wrong=self.keep_known_wrong,
        )
        for line in selection.summary().splitlines():
            _say(line)
        return selection.manifest


def collection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as its argument `how`.

    Parameters
    ----------
    command
        A function with the parameter `how`, a `CollectionOptions`.

    Returns
    -------
    Callable
        The function with click's options, for `click.command` to take.
    """
    names = CollectionOptions.__dataclass_fields__

    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> None:
        how = CollectionOptions(**{name: kwargs.pop(name) for name in names})
        command(*args, how=how, **kwargs)

    wrapped: Callable[..., None] = with_options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _say(line: str) -> None:
    click.echo(f"earmark: {line}", err=True)


def _columns(context: click.Context, parameter: click.Parameter, text: str | None) -> dict[str, str] | None:
    try:
        return None if text is None else parse_columns(text)
    except CollectionError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def _separator(context: click.Context, parameter: click.Parameter, text: str) -> str:
    if not text.strip():
        raise click.BadParameter("a blank joins no labels; expected one such as ';'", context, parameter)
    return text


_PATH = click.Path(path_type=Path)

_OPTIONS = (
    click.option("--layout", metavar="NAME", help=f"How DATA lies: {', '.join(LAYOUTS)}.  [default: found out]"),
    click.option(
        "--columns",
        metavar="OURS=THEIRS,…",
        callback=_columns,
        help="A table's own names of columns, as path=filename,labels=category.",
    ),
    click.option(
        "--label-separator",
        metavar="TEXT",
        default=",",
        show_default=True,
        callback=_separator,
        help="What joins labels in a table.",
    ),
    click.option(
        "--audio-folder", metavar="DIR", type=_PATH, help="What a table's paths start from.  [default: its own folder]"
    ),
    click.option(
        "--vocabulary", metavar="FILE", type=_PATH, help="The labels in order, one a row.  [default: DATA's own]"
    ),
    click.option(
        "--exclude", metavar="FILE", type=_PATH, help="Clips to leave out: a name a line, or a CSV with fname."
    ),
    click.option(
        "--corrections",
        metavar="FILE",
        type=_PATH,
        help="Labels put right: a CSV, fname,action,labels,why; actions are keep, drop, relabel.",
    ),
    click.option("--keep-known-wrong", is_flag=True, help="Keep clips that their makers say are labelled wrongly."),
)
