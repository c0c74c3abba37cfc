"""A library: the recordings that a call means, with what its lists say of them.

Paths come from the command line, from lists (`@list.txt`, `@list.csv`) and from standard input (`-`); patterns keep
some and leave out others.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple

from earmark.errors import AudioError, CollectionError, EarmarkError
from earmark.tagging.addresses import expand_address, is_address
from earmark.tagging.files import expand, matches

STANDARD_INPUT = "-"
LIST_MARK = "@"
TABLES = {".csv": ",", ".tsv": "\t"}
"""Suffixes of lists that are tables, and what stands between their cells."""

PATH_COLUMNS = ("path", "fname", "filename")
"""Which column of a list names the recordings: the first of these that it has."""

WRITTEN_COLUMNS = ("start_s", "end_s", "tag", "score", "tags")
"""Columns that outputs have beside the path, so that no list can add one of the same name."""


class Recording(NamedTuple):
    """A recording that is asked for.

    Attributes
    ----------
    path
        The file.
    place
        Where it lies below the folder that was searched, or as it was named; parts joined by ``/``.
    cells
        What its list says of it: a text for each of the library's columns.
    """

    path: Path
    place: str
    cells: tuple[str, ...] = ()


class RemoteRecording(NamedTuple):
    """A recording behind an address, with what its list says of it."""

    address: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Library:
    """What a call means.

    Attributes
    ----------
    recordings
        In the order they are named in; those of a folder or a pattern sorted.
    columns
        Names of what the lists say of them.
    errors
        What is wrong with paths that stand for no recording.
    n_left_out
        Recordings that the patterns leave out.
    remote
        Those behind addresses, in the same way.
    """

    recordings: list[Recording]
    columns: tuple[str, ...] = ()
    errors: list[AudioError] = field(default_factory=list)
    n_left_out: int = 0
    remote: list[RemoteRecording] = field(default_factory=list)


class _Named(NamedTuple):
    """A path as it was named, and as it is found."""

    name: str
    path: Path
    cells: Mapping[str, str] = {}


class Patterns:
    """Which recordings are wanted, by patterns as in .gitignore: a name at any depth, or a path if it has a slash.

    Parameters
    ----------
    include
        A recording must match one of these, if there are any.
    exclude
        It must match none of these.

    Raises
    ------
    EarmarkError
        When a pattern has no meaning.

    Examples
    --------
    >>> Patterns(["*.wav"], ["old/**"]).keep("new/dog.wav")
    True
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = _compiled(include)
        self._exclude = _compiled(exclude)

    def keep(self, place: str) -> bool:
        """Whether a recording at this place is wanted."""
        if self._include is not None and not self._include(place):
            return False
        return self._exclude is None or not self._exclude(place)


def _compiled(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    if not patterns:
        return None
    import pathspec  # only where it is needed, for a quick start

    for pattern in patterns:
        try:
            pathspec.GitIgnoreSpec.from_lines([pattern])
        except ValueError as error:
            raise EarmarkError(f"pattern '{pattern}': {error}; write it as in .gitignore, such as 'old/**'") from error
    return pathspec.GitIgnoreSpec.from_lines(patterns).match_file


def find_library(
    paths: Sequence[str | Path],
    *,
    patterns: Patterns | None = None,
    root: Path | None = None,
    read_input: Callable[[], bytes] = lambda: b"",
    remote: bool = False,
) -> Library:
    """Find the recordings that a call means.

    Parameters
    ----------
    paths
        Files, folders and patterns, as for `earmark.tagging.files.find_recordings`; lists, ``@list.txt`` with a path
        a line (or NUL between them), ``@list.csv`` and ``@list.tsv`` with a column `path`, `fname`
        or `filename`; ``-`` for a list
        on standard input.
    patterns
        Which of them are wanted; `None` for all.
    root
        Where the paths in lists begin. `None` for the current folder, or the list's own for those that are not there.
    read_input
        Gives what comes by standard input.
    remote
        Whether addresses may be named, such as ``s3://bucket/folder``; else each is an error.

    Returns
    -------
    Library
        A recording that is named twice is in it once, unless lists say different things of it.

    Raises
    ------
    CollectionError
        When a list cannot be read.
    EarmarkError
        When standard input is named twice, or an address cannot be listed.
    """
    if [str(path) for path in paths].count(STANDARD_INPUT) > 1:
        raise EarmarkError("'-' is named twice; standard input can be read once")
    patterns = patterns or Patterns()
    named = [entry for path in map(str, paths) for entry in _named(path, root, read_input)]
    columns = tuple(dict.fromkeys(column for entry in named for column in entry.cells))
    found: dict[Recording, None] = {}
    behind: dict[RemoteRecording, None] = {}
    errors: list[AudioError] = []
    n_left_out = 0
    for entry in named:
        cells = tuple(entry.cells.get(column, "") for column in columns)
        if is_address(entry.name):
            addresses, problem = _addresses(entry.name, remote)
            kept = [address for address in addresses if patterns.keep(address.partition("://")[2])]
            behind |= dict.fromkeys(RemoteRecording(address, cells) for address in kept)
            n_left_out += len(addresses) - len(kept)
            errors += [AudioError(f"{entry.name}: {problem}")] if not addresses else []
            continue
        below, folder, problem = expand(entry.path)
        if not below:
            errors.append(AudioError(f"{entry.path}: {problem}"))
        for file in below:
            place = _inside(file.relative_to(folder) if folder else PurePath(entry.name))
            if patterns.keep(place):
                found.setdefault(Recording(file, place, cells))
            else:
                n_left_out += 1
    if n_left_out and not found and not behind:
        errors.append(AudioError(f"all {n_left_out} recordings are left out by --include and --exclude; change these"))
    return Library(list(found), columns, errors, n_left_out, list(behind))


def _addresses(address: str, remote: bool) -> tuple[list[str], str]:
    """The recordings that an address means, and what is wrong when there are none."""
    if not remote:
        return [], "is an address, which only a cluster reads; give --on ray, or fetch it first"
    return expand_address(address)


def _inside(path: PurePath) -> str:
    """A path as one below some folder: without its drive or root, and without steps upwards."""
    parts = path.parts[1:] if path.anchor else path.parts
    return "/".join(part for part in parts if part != "..")


def _named(path: str, root: Path | None, read_input: Callable[[], bytes]) -> Iterator[_Named]:
    """What an argument names: itself, or the paths of a list."""
    if path == STANDARD_INPUT:
        yield from _listed(({"path": name} for name in _split(read_input())), root, None)
    elif path.startswith(LIST_MARK) and not os.path.lexists(path):
        file = Path(path[1:])
        yield from _listed(_entries(file), root, file.parent)
    elif Path(path).suffix.lower() in TABLES and Path(path).is_file():
        raise EarmarkError(f"{path}: is a table, no recording; to tag what it lists, write @{path}")
    else:
        yield _Named(path, Path(path))


def _entries(file: Path) -> Iterator[dict[str, str]]:
    if file.suffix.lower() in TABLES:
        yield from _rows(file)
        return
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CollectionError(f"{file}: the list cannot be read ({error.strerror}); check its name") from error
    for name in _split(content):
        yield {"path": name}


def _split(content: bytes) -> Iterator[str]:
    """Paths, one a line or with NUL between them."""
    content = content.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    return (os.fsdecode(name) for name in names if name.strip())


def _rows(file: Path) -> Iterator[dict[str, str]]:
    from earmark.data.rows import read_rows, records  # only where it is needed, for a quick start

    delimiter = TABLES[file.suffix.lower()]
    _, header = next(records(file, delimiter), (0, list[str]()))
    column = next((name for name in PATH_COLUMNS if name in header), PATH_COLUMNS[0])
    rows = read_rows(
        file, [column], delimiter=delimiter, remedy="; call the column of the recordings 'path', 'fname' or 'filename'"
    )
    for name in WRITTEN_COLUMNS:
        if name in header:
            raise CollectionError(f"{file.name}: column '{name}' is one that earmark writes itself; rename it")
    for row in rows:
        if not row[column].strip():
            raise row.error(f"{column} is empty; expected the path of a recording")
        yield {**row.cells, "path": row[column]}


def _listed(entries: Iterable[dict[str, str]], root: Path | None, beside: Path | None) -> Iterator[_Named]:
    for cells in entries:
        name = cells.pop("path")
        yield _Named(name, _resolved(name, root, beside), cells)


def _resolved(name: str, root: Path | None, beside: Path | None) -> Path:
    """Where a path of a list leads; see `find_library`."""
    path = Path(name)
    if root is not None:
        return root / path
    if beside is None or path.is_absolute() or os.path.lexists(path) or _matches(path):
        return path
    other = beside / path
    return other if os.path.lexists(other) or _matches(other) else path


def _matches(path: Path) -> bool:
    return glob.has_magic(str(path)) and next(matches(path), None) is not None
