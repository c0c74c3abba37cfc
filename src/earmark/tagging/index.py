"""Tags that are already made: a file that survives a killed process, and serves the next call.

A line a recording is appended as it is tagged, so that nothing but a half line can be lost. The first line says which
model and which options made them; what another made is of no use.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np

from earmark.atomic import atomic_path
from earmark.errors import EarmarkError, RunError
from earmark.tagging.embedding import Embedding, Finding
from earmark.tagging.tagger import Tag

VERSION = 1
"""Of the file's format."""

SYNC_S = 1.0
"""How much time's work a power failure may cost; a killed process costs a recording."""


class Maker(msgspec.Struct, frozen=True):
    """What tags were made with.

    Attributes
    ----------
    model
        SHA-256 of the bundle's file.
    options
        All that the tags depend on, by name.
    """

    model: str
    options: dict[str, Any]

    def differences(self, other: Maker) -> str:
        """How another differs from this, in words; empty where it does not."""
        said = ["another model"] if self.model != other.model else []
        for name in sorted(self.options.keys() | other.options.keys()):
            mine, theirs = self.options.get(name), other.options.get(name)
            if mine != theirs:
                said.append(f"{name}={_shown(theirs)} instead of {_shown(mine)}")
        return ", ".join(said)


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


def maker_of(model: Path, options: Mapping[str, Any]) -> Maker:
    """What a model's file and options make."""
    with model.open("rb") as file:
        return Maker(hashlib.file_digest(file, "sha256").hexdigest(), dict(options))


class State(NamedTuple):
    """State of a recording's file, which changes with its content."""

    n_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> State | None:
        """State of a file, or None when there is none."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return None
        return cls(status.st_size, status.st_mtime_ns)


class _Head(msgspec.Struct, frozen=True):
    earmark_tags: int
    maker: Maker


class _Line(msgspec.Struct, frozen=True, array_like=True):
    path: str
    n_bytes: int
    mtime_ns: int
    tags: list[tuple[str, float, float, float]]
    embedding: tuple[bytes, bytes, bytes] | None = None  # starts, ends and vectors, as `_stored` writes them


class _Place(NamedTuple):
    state: State
    offset: int


_read_head, _read_line = msgspec.json.Decoder(_Head).decode, msgspec.json.Decoder(_Line).decode


class TagIndex:
    """Tags by recording, of one maker; opened by `with`.

    Parameters
    ----------
    path
        The file; made when there is none. What it holds by another maker is dropped.
    maker
        What tags are made with.
    anew
        Whether to drop what it holds in any case.

    Attributes
    ----------
    found
        Who made what was there; None when there was nothing.
    n_found
        Recordings that it had tags of.

    Raises
    ------
    EarmarkError
        When the file is something else, its folder is missing, or another process is at it.
    """

    def __init__(self, path: Path, maker: Maker, *, anew: bool = False) -> None:
        self.path, self.maker = path, maker
        self.found, self._places, self._end = _contents(path)
        self.n_found = len(self._places)
        if anew or self.found != maker:
            self._places, self._end = {}, 0
        self._n_dead = 0
        self._synced_at = time.monotonic()
        self._file: Any = None

    def __enter__(self) -> Self:
        if not self.path.parent.is_dir():
            raise EarmarkError(f"{self.path}: cannot be written, there is no folder {self.path.parent}; make it first")
        self._file = self.path.open("a+b", buffering=0)
        if not locked(self._file):
            self._file.close()
            raise EarmarkError(f"{self.path}: another process is at it; wait for it to end, or name another file")
        self._file.truncate(self._end)
        if not self._end:
            self._append(msgspec.json.encode(_Head(VERSION, self.maker)) + b"\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file, and remove it where it holds nothing."""
        self._file.close()
        if not self._places:
            self.path.unlink(missing_ok=True)

    def __contains__(self, path: Path) -> bool:
        """Whether there are tags of a recording, made of the file as it is now."""
        place = self._places.get(os.path.abspath(path))
        return place is not None and place.state == State.of(path)

    def finding(self, path: Path) -> Finding:
        """What was found in a recording that is in it."""
        self._file.seek(self._places[os.path.abspath(path)].offset)
        line = _read_line(_line_at(self._file))
        return Finding([Tag(*cells) for cells in line.tags], None if line.embedding is None else _restored(line))

    def add(self, path: Path, state: State, tags: Sequence[Tag], embedding: Embedding | None = None) -> None:
        """Keep what was found in a file in a state."""
        key = os.path.abspath(path)
        self._n_dead += key in self._places
        self._places[key] = _Place(state, self._end)
        cells = [(tag.label, tag.score, tag.start_s, tag.end_s) for tag in tags]
        self._append(msgspec.json.encode(_Line(key, *state, cells, _stored(embedding))) + b"\n")
        if time.monotonic() - self._synced_at >= SYNC_S:
            os.fsync(self._file.fileno())
            self._synced_at = time.monotonic()

    def _append(self, line: bytes) -> None:
        self._file.write(line)
        self._end += len(line)

    def tidy(self) -> int:
        """Drop recordings whose files have vanished, and what was replaced, as the last thing; give how many vanished.

        No more tags can be asked for after it.
        """
        vanished = [path for path in self._places if not os.path.exists(path)]
        for path in vanished:
            del self._places[path]
        if vanished or self._n_dead:
            with atomic_path(self.path) as temporary:
                with temporary.open("wb") as file:
                    file.write(msgspec.json.encode(_Head(VERSION, self.maker)) + b"\n")
                    for place in self._places.values():
                        self._file.seek(place.offset)
                        file.write(_line_at(self._file))
                self._file.close()  # Windows replaces no file that is open
        return len(vanished)

    def remove(self) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def _stored(embedding: Embedding | None) -> tuple[bytes, bytes, bytes] | None:
    if embedding is None:
        return None
    starts_s, ends_s, vectors = embedding
    return starts_s.astype("<f8").tobytes(), ends_s.astype("<f8").tobytes(), vectors.astype("<f4").tobytes()


def _restored(line: _Line) -> Embedding:
    assert line.embedding is not None
    starts_s, ends_s = (np.frombuffer(times, "<f8") for times in line.embedding[:2])
    return Embedding(starts_s, ends_s, np.frombuffer(line.embedding[2], "<f4").reshape(len(starts_s), -1))


def locked(file: Any) -> bool:
    """Keep other processes from a file until it is closed; whether none was at it. Not on Windows."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that knows no locks
        return True
    return True


def _line_at(file: Any) -> bytes:
    """The line that begins where an unbuffered file is, in large reads."""
    parts = []
    while block := file.read(1 << 16):
        end = block.find(b"\n")
        parts.append(block if end < 0 else block[: end + 1])
        if end >= 0:
            break
    return b"".join(parts)


def _contents(path: Path) -> tuple[Maker | None, dict[str, _Place], int]:
    """Who made what is there, where each recording's line begins, and where the last whole line ends."""
    places: dict[str, _Place] = {}
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None, places, 0
    with file:
        first = file.readline()
        if not first.endswith(b"\n") and (not first or b'{"earmark_tags":'.startswith(first[:16])):
            return None, places, 0  # killed while it was made
        try:
            head = _read_head(first)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EarmarkError(f"{path}: is no index of tags; give another name") from error
        end = len(first)
        for line in file:
            try:
                entry = _read_line(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                break
            if not line.endswith(b"\n"):
                break
            places[entry.path] = _Place(State(entry.n_bytes, entry.mtime_ns), end)
            end += len(line)
    return head.maker if head.earmark_tags == VERSION else None, places, end


def journal_path(output: Path) -> Path:
    """Where the tags of a call lie until its output is whole: hidden beside it."""
    return output.with_name(f".{output.name}.journal")


def open_journal(output: Path, maker: Maker, *, resume: bool, say: Callable[[str], None]) -> TagIndex:
    """Open the tags of a call that writes to `output`.

    Parameters
    ----------
    output
        The file or folder.
    maker
        What tags are made with.
    resume
        Whether to take up what an interrupted call left; else that is dropped.
    say
        Told what becomes of it.

    Raises
    ------
    RunError
        When the interrupted call had another model or other options.
    EarmarkError
        When there is no folder for the output.
    """
    if not output.parent.is_dir():
        raise EarmarkError(f"{output}: cannot be written, there is no folder {output.parent}; make it first")
    path = journal_path(output)
    journal = TagIndex(path, maker)
    if journal.found is None:
        if resume:
            say(f"{output}: no interrupted call to take up; all is tagged")
    elif not resume:
        say(f"{output}: drops {journal.n_found} recordings of an interrupted call; --resume would have kept them")
        return TagIndex(path, maker, anew=True)
    elif difference := journal.found.differences(maker):
        raise RunError(
            f"{output}: this call has {difference}; give the same model and options, or leave "
            "--resume out to begin anew"
        )
    else:
        say(f"{output}: {journal.n_found} recordings of the interrupted call are kept")
    return journal


def open_index(path: Path, maker: Maker, *, say: Callable[[str], None]) -> TagIndex:
    """Open the tags that one call leaves to the next; those of another model or other options are of no use.

    Parameters
    ----------
    path
        The file.
    maker
        What tags are made with.
    say
        Told when they are of no use.
    """
    index = TagIndex(path, maker)
    if index.found and (difference := index.found.differences(maker)):
        say(f"{path}: this call has {difference}; all is tagged again")
    return index
