"""A store in the making: what a killed process leaves of it, the next one goes on with.

It is a hidden folder beside the store's place, with the values so far and a journal, a line a clip, that is written
when the clip's values are on the disk. Values behind the last line are cut off when it is taken up again, so the
finished file is the same whatever happened between. One process at a time works on it, which a lock sees to.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from earmark.atomic import remove_leftovers, write_text_atomically
from earmark.data.encoding import Encoding
from earmark.data.intake import Taken, read_whole, write_whole
from earmark.data.store import VERSION, Store
from earmark.locking import sibling

COMMIT_S = 1.0
COMMIT_BYTES = 64 << 20
"""How much may be lost when the process is killed: so much time, or so many bytes."""

COPIED_BYTES = 4 << 20
"""Copied at a time."""


class Key(NamedTuple):
    """One state of a recording: its path within the collection, its size, and when it was changed."""

    path: str
    n_bytes: int
    mtime_ns: int


class Entry(NamedTuple):
    """A clip whose values are in a file: what it was made from, and what its values mean."""

    key: Key
    length: int
    scale: float
    shift: float

    def line(self) -> str:
        """Its line in a journal."""
        return json.dumps([*self.key, self.length, self.scale, self.shift]) + "\n"

    @classmethod
    def of_line(cls, line: bytes) -> Entry:
        """Read a line; `ValueError` when it is not whole."""
        cells = json.loads(line)
        if not line.endswith(b"\n") or not isinstance(cells, list) or len(cells) != 6:
            raise ValueError("a line that is not whole")
        path, *numbers = cells
        if not isinstance(path, str) or not all(type(n) is int for n in numbers[:3]) or numbers[2] < 1:
            raise ValueError("a line of other types")
        return cls(Key(path, numbers[0], numbers[1]), numbers[2], float(numbers[3]), float(numbers[4]))


class Donor(NamedTuple):
    """A file that holds clips which need not be decoded again."""

    path: Path
    places: dict[Key, tuple[int, Entry]]
    """First byte of each clip, and what it is."""


class Partial:
    """A store in the making, taken up where it was left by `with`; only while its target is locked.

    Parameters
    ----------
    target
        Where the store will be.
    encoding
        Of its values; what is there of another encoding, or another collection, is thrown away.
    root
        The collection's folder, absolute.

    Attributes
    ----------
    entries
        The clips that are in it, in order.
    """

    def __init__(self, target: Path, encoding: Encoding, root: str) -> None:
        self.target, self.encoding = target, encoding
        self.folder = sibling(target, "partial")
        self.data_path, self.journal_path = self.folder / encoding.file_name, self.folder / "journal"
        self._head = json.dumps({"version": VERSION, "root": root} | encoding.tables())
        self._data_start = len(header_of(encoding, 0))
        self._data: Any = None
        self._journal: Any = None
        self._pending: list[str] = []
        self._n_pending_bytes, self._committed_at = 0, time.monotonic()
        self.entries: list[Entry] = []
        self._n_rows = 0

    @property
    def n_bytes(self) -> int:
        """Size of the clips that are in it."""
        return self._n_rows * self.encoding.row_bytes

    def _open(self) -> None:
        if _text(self.folder / "pack.json") != self._head:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            (self.folder / "pack.json").write_text(self._head, encoding="utf-8")
        _remove_scratch(self.folder)
        remove_leftovers(self.journal_path)
        self._data = self.data_path.open("a+b", buffering=0)
        size = os.fstat(self._data.fileno()).st_size
        self.entries = _journalled(self.journal_path, (size - self._data_start) // self.encoding.row_bytes)
        self._rewind()
        if not self.entries:
            self._data.truncate(0)
            write_whole(self._data, memoryview(header_of(self.encoding, 0)))

    def _rewind(self) -> None:
        """Cut values and journal behind the entries."""
        lines = "".join(entry.line() for entry in self.entries)
        if _text(self.journal_path) != lines:
            write_text_atomically(self.journal_path, lines)
        self._journal = self.journal_path.open("ab", buffering=0)
        self._n_rows = sum(entry.length for entry in self.entries)
        self._data.truncate(self._data_start + self.n_bytes)

    def keep(self, n_kept: int, wanted: set[Key]) -> list[Donor]:
        """Go on behind the first entries; give where those of the others that are wanted can be copied from."""
        rest = self.entries[n_kept:]
        if any(entry.key in wanted for entry in rest):
            self._close()
            self.data_path.rename(self.folder / "earlier.npy")
            self.journal_path.rename(self.folder / "earlier.journal")
            self._open()
        elif rest:
            del self.entries[n_kept:]
            self._journal.close()
            self._rewind()
        earlier = self.folder / "earlier.npy"
        if not earlier.exists():
            return []
        n_rows = (earlier.stat().st_size - self._data_start) // self.encoding.row_bytes
        entries = _journalled(self.folder / "earlier.journal", n_rows)
        return [_donor(earlier, self._data_start, self.encoding.row_bytes, entries)]

    def append(self, key: Key, taken: Taken) -> None:
        """Write a clip; `OSError` when the disk is full, which leaves the clips before it."""
        for block in taken.blocks:
            write_whole(self._data, block.data.cast("B"))
        self._note(Entry(key, taken.length, float(taken.scale), float(taken.shift)))

    def copy(self, key: Key, donor: Donor) -> None:
        """Write a clip that another file holds; `OSError` as `append`."""
        place, entry = donor.places[key]
        left = entry.length * self.encoding.row_bytes
        with donor.path.open("rb", buffering=0) as file:
            file.seek(place)
            while left:
                block = memoryview(bytearray(min(left, COPIED_BYTES)))
                read_whole(file, block)
                write_whole(self._data, block)
                left -= len(block)
        self._note(entry)

    def _note(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._pending.append(entry.line())
        self._n_rows += entry.length
        self._n_pending_bytes += entry.length * self.encoding.row_bytes
        if self._n_pending_bytes >= COMMIT_BYTES or time.monotonic() - self._committed_at >= COMMIT_S:
            self.commit()

    def commit(self) -> None:
        """Make sure that the clips so far survive whatever comes."""
        os.fsync(self._data.fileno())
        write_whole(self._journal, memoryview("".join(self._pending).encode()))
        self._pending, self._n_pending_bytes, self._committed_at = [], 0, time.monotonic()

    def finish(self, write_index: Callable[[Path, Sequence[Entry]], None]) -> None:
        """Make a whole store of it and put it in its place; another that stands there is replaced.

        Parameters
        ----------
        write_index
            Writes what belongs into the folder beside the values, of these entries.
        """
        self.commit()
        self._close()
        n_rows = self._n_rows
        with self.data_path.open("r+b") as file:
            file.write(header_of(self.encoding, n_rows))
        write_index(self.folder, self.entries)
        put_in_place(self.folder, self.target)

    def discard(self) -> None:
        """Throw it away."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _close(self) -> None:
        for file in (self._data, self._journal):
            if file is not None:
                file.close()
        self._data = self._journal = None

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Keep what there is for the next try; nothing is left of nothing."""
        if self._data is None:
            return
        with suppress(OSError):  # on a full disk the journal may have no room either
            self._data.truncate(self._data_start + self.n_bytes)
            self.commit()
        self._leave()

    def _leave(self) -> None:
        if self.n_safe:
            self._close()
            _remove_scratch(self.folder)
        else:
            self.discard()

    @property
    def n_safe(self) -> int:
        """How many of the clips are committed."""
        return len(self.entries) - len(self._pending)


def _remove_scratch(folder: Path) -> None:
    for scratch in folder.glob("scratch-*"):
        scratch.unlink()


def header_of(encoding: Encoding, n_rows: int) -> bytes:
    """Header of an .npy file, of the same length for any number of rows, so that it can be written over at the end."""
    header = io.BytesIO()
    shape = (n_rows, *encoding.row_shape)
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.dtype(encoding.dtype).str, "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


def entries_of(store: Store, root: str) -> list[Entry]:
    """The clips of a store, as a journal would have them; `root` is its collection's folder, absolute."""
    return [
        Entry(Key(inside(clip.path, root), int(n_bytes), int(mtime_ns)), int(length), float(scale), float(shift))
        for clip, n_bytes, mtime_ns, length, scale, shift in zip(
            store.manifest.clips,
            store.n_bytes,
            store.mtimes_ns,
            store.lengths,
            store.scales,
            store.shifts,
            strict=True,
        )
    ]


def donor_of(folder: Path, store: Store, root: str) -> Donor:
    """A whole store as a source of clips."""
    encoding = store.encoding
    start = len(header_of(encoding, 0))
    return _donor(folder / encoding.file_name, start, encoding.row_bytes, entries_of(store, root))


def _donor(path: Path, start: int, row_bytes: int, entries: Sequence[Entry]) -> Donor:
    places = {}
    for entry in entries:
        places[entry.key] = (start, entry)
        start += entry.length * row_bytes
    return Donor(path, places)


def inside(path: Path, root: str) -> str:
    """A path as a store keeps it: within the collection's folder, or absolute when it lies elsewhere."""
    whole = os.path.abspath(path)
    within = whole[len(root) :].lstrip(os.sep) if whole.startswith(os.path.join(root, "")) else whole
    return within.replace(os.sep, "/")


def recover(target: Path) -> None:
    """Bring back the store that was being replaced when the process was killed, or remove what is left of it."""
    replaced = sibling(target, "replaced")
    if replaced.exists() and not target.exists():
        replaced.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)
    shutil.rmtree(sibling(target, "relabelled"), ignore_errors=True)


def put_in_place(folder: Path, target: Path) -> None:
    """Rename a whole store to its place, once all of it is on the disk; another that stands there is replaced."""
    for path in [*folder.iterdir(), folder]:
        _sync(path)
    replaced = sibling(target, "replaced")
    if target.exists():
        target.rename(replaced)
    folder.rename(target)
    _sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)
    clean(target)


def clean(folder: Path) -> None:
    """Remove from a whole store what it was made with."""
    for name in ("journal", "pack.json", "earlier.npy", "earlier.journal"):
        (folder / name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _journalled(path: Path, n_rows: int) -> list[Entry]:
    """The whole lines of a journal whose values are among so many rows."""
    entries: list[Entry] = []
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            entry = Entry.of_line(line)
        except ValueError:
            break  # the process was killed while it wrote
        n_rows -= entry.length
        if n_rows < 0:
            break
        entries.append(entry)
    return entries


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
