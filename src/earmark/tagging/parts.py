"""A folder of Parquet files, here or behind an address, each whole or not there, which say what they were made of.

A part's name follows from what is in it, so that one that is made twice replaces itself. Its footer names the
recordings, the states in which they were heard, and the maker; by that a later call knows what is done.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from earmark.atomic import atomic_path, is_temporary
from earmark.errors import EarmarkError, RunError
from earmark.tagging.addresses import file_system, is_address
from earmark.tagging.index import Maker, locked

FOOTER = b"earmark_part"
MANIFEST = "_manifest.json"
LOCK = ".lock"
N_READERS = 16


class Source(msgspec.Struct, frozen=True, array_like=True):
    """A recording that is asked for: its path or address, and what its list says of it."""

    name: str
    cells: tuple[str, ...] = ()


class Part(msgspec.Struct, frozen=True):
    """What a part is made of.

    Attributes
    ----------
    maker
        Model and options.
    columns
        Those of lists.
    heard
        The recordings that it has tags of, with the state of each one's file.
    """

    maker: Maker
    columns: tuple[str, ...]
    heard: list[tuple[Source, str]]


class Manifest(msgspec.Struct, frozen=True):
    """What a whole folder holds; it is written last.

    Attributes
    ----------
    maker
        Model and options.
    columns
        Those of lists.
    n_recordings
        That have tags.
    failures
        Why others have none.
    parts
        Names of the files.
    """

    maker: Maker
    columns: tuple[str, ...]
    n_recordings: int
    failures: list[str]
    parts: list[str]


class Found(NamedTuple):
    """A part that lies in the folder."""

    name: str
    part: Part


def next_number(names: Iterable[str]) -> int:
    """The number after those of the parts that are there."""
    return max((int(name.split("-")[1]) for name in names), default=-1) + 1


def part_name(number: int, sources: Sequence[Source], maker: Maker) -> str:
    """Name of the part of some recordings: a place in the order, and a digest of what it is made of."""
    digest = hashlib.sha256(msgspec.json.encode((maker, sources))).hexdigest()[:12]
    return f"part-{number:06}-{digest}.parquet"


class PartsFolder:
    """The folder.

    Parameters
    ----------
    where
        A path or an address.

    Raises
    ------
    EarmarkError
        When there is no folder for it, it is a file, or nothing here writes to such an address.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.path = None if is_address(where) else Path(where)
        self._system: Any = None
        if self.path is None:
            self._system, self._root = file_system(where)
        elif self.path.exists() and not self.path.is_dir():
            raise EarmarkError(f"{where}: is a file; the tags of a cluster are many files: name a folder")
        elif not self.path.parent.is_dir():
            raise EarmarkError(f"{where}: cannot be made, there is no folder {self.path.parent}; make it first")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other calls on this machine from the folder, and remove what killed ones left half-written.

        Raises
        ------
        EarmarkError
            When another process is at it.
        """
        if self.path is None:
            yield
            return
        self.path.mkdir(exist_ok=True)
        with (self.path / LOCK).open("ab") as file:
            if not locked(file):
                raise EarmarkError(f"{self.path}: another process writes to it; wait for it to end, or name another")
            for left in filter(is_temporary, self.path.iterdir()):
                left.unlink(missing_ok=True)
            yield

    def found(self) -> list[Found]:
        """The parts that are there, by name.

        Raises
        ------
        RunError
            When one is damaged, or another program's.
        """
        if self.path is not None:
            names = [path.name for path in self.path.glob("*.parquet") if not path.name.startswith(".")]
        else:
            names = []
            with suppress(FileNotFoundError):
                below = self._system.ls(self._root, detail=False)
                names = [name.rsplit("/", 1)[-1] for name in below if name.endswith(".parquet")]
        with ThreadPoolExecutor(N_READERS) as pool:
            return list(pool.map(self._read, sorted(names)))

    def _read(self, name: str) -> Found:
        from pyarrow.lib import ArrowInvalid
        from pyarrow.parquet import read_schema

        try:
            with self._open(name) as file:
                said = (read_schema(file).metadata or {})[FOOTER]
            return Found(name, msgspec.json.decode(said, type=Part))
        except (ArrowInvalid, KeyError, msgspec.MsgspecError, OSError) as error:
            raise RunError(
                f"{self.where}: {name} is damaged, or not of earmark ({type(error).__name__}); remove it, or name "
                "another folder"
            ) from error

    def _open(self, name: str) -> Any:
        return self._system.open(f"{self._root}/{name}") if self.path is None else (self.path / name).open("rb")

    def write_part(self, name: str, table: Any, part: Part) -> None:
        """Write a part, whole or not at all; `OSError` when it cannot be written."""
        from pyarrow.parquet import write_table

        labelled = table.replace_schema_metadata({FOOTER: msgspec.json.encode(part)})
        self._write(name, lambda file: write_table(labelled, file))

    def write_manifest(self, manifest: Manifest) -> None:
        """Say that the folder is whole."""
        self._write(MANIFEST, lambda file: file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"))

    def _write(self, name: str, write: Callable[[Any], object]) -> None:
        if self.path is not None:
            with atomic_path(self.path / name) as temporary, temporary.open("wb") as file:
                write(file)
            return
        content = io.BytesIO()
        write(content)
        self._system.pipe_file(f"{self._root}/{name}", content.getvalue())  # an object is there once it is whole

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            if self.path is None:
                self._system.rm_file(f"{self._root}/{name}")
            else:
                (self.path / name).unlink()
