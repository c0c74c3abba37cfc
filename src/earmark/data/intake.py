"""Recordings on their way into a store: read, made into what it holds, measured, rounded.

A recording of ordinary length goes this way in memory. One that is longer is laid down in a scratch file between the
steps, so that hours of sound need no more memory than minutes. Which way it is depends on its length alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np

from earmark.audio.clip import loud_span
from earmark.audio.decode import stream
from earmark.audio.logmel import log_mel_blocks
from earmark.audio.picture import PictureSpec, clip_log_mel
from earmark.data.encoding import Encoding
from earmark.data.spectrograms import front_end_of

HELD_BYTES = 32 << 20
"""Of float32 that a clip may take up in memory: 4.4 minutes at 32 kHz."""

BLOCK_BYTES = 4 << 20
"""Read back from a scratch file at a time."""


@dataclass
class Taken:
    """A clip as a store will hold it; to be closed.

    Attributes
    ----------
    length
        Samples or frames.
    scale, shift
        See `Encoding.scaling`.
    blocks
        What is stored, of the encoding's type, in one or more parts.
    """

    length: int
    scale: np.float32
    shift: np.float32
    blocks: Iterable[np.ndarray]
    tape: Tape | None = None

    def close(self) -> None:
        """Remove the scratch file, if any."""
        if self.tape is not None:
            self.tape.close()


def take_in(path: Path, encoding: Encoding, scratch: Path) -> Taken:
    """Read one recording as a store will hold it.

    Parameters
    ----------
    path
        The recording.
    encoding
        The store's.
    scratch
        Folder for what does not fit into memory.

    Returns
    -------
    Taken
        The clip; the caller closes it.

    Raises
    ------
    AudioError
        When the recording cannot be read.
    OSError
        When a scratch file cannot be written.
    """
    tape = _waveform(path, encoding.sample_rate, scratch)
    try:
        if encoding.kind == "log-mel":
            with tape as waveform:
                tape = Tape(scratch, encoding.row_shape)
                _transform(waveform, front_end_of(encoding), tape)
        scale, shift = encoding.scaling(tape.low, tape.high)
        if tape.is_spilled:
            blocks = (encoding.encode(block, scale, shift) for block in tape.blocks())
            return Taken(len(tape), scale, shift, blocks, tape)
        return Taken(len(tape), scale, shift, [encoding.encode(block, scale, shift) for block in tape.blocks()])
    except BaseException:
        tape.close()
        raise


class Tape:
    """Rows of float32 in order: in memory while they are few, in a scratch file when they are many.

    Parameters
    ----------
    scratch
        Folder of the file, should it be needed.
    row_shape
        Shape of one row.

    Attributes
    ----------
    low, high
        The lowest and highest value so far.
    """

    def __init__(self, scratch: Path, row_shape: tuple[int, ...] = ()) -> None:
        self.row_shape = row_shape
        self.low, self.high = np.inf, -np.inf
        self._path = scratch / f"scratch-{secrets.token_hex(8)}.f32"
        self._file: Any = None
        self._held: list[np.ndarray] = []
        self._n_held_bytes = self._n_rows = 0

    def __len__(self) -> int:
        return self._n_rows

    @property
    def is_spilled(self) -> bool:
        """Whether the rows are in the scratch file."""
        return self._file is not None

    def append(self, rows: np.ndarray) -> None:
        """Add rows, (n, ...) float32; `OSError` when the scratch file cannot take them."""
        if not len(rows):
            return
        self.low, self.high = min(self.low, float(rows.min())), max(self.high, float(rows.max()))
        self._n_rows += len(rows)
        self._held.append(rows)
        self._n_held_bytes += rows.nbytes
        if self._n_held_bytes > HELD_BYTES or self.is_spilled:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = self._path.open("w+b", buffering=0)
        for rows in self._held:
            write_whole(self._file, np.ascontiguousarray(rows).data.cast("B"))
        self._held, self._n_held_bytes = [], 0

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Give the rows from one to another, in parts; all at once while they are in memory."""
        stop = self._n_rows if stop is None else stop
        if self._file is None:
            self._held = [np.concatenate(self._held)] if len(self._held) > 1 else self._held
            yield self._held[0][start:stop]
            return
        row_bytes = int(4 * np.prod(self.row_shape, dtype=np.int64))
        n_at_once = max(1, BLOCK_BYTES // row_bytes)
        for first in range(start, stop, n_at_once):
            n_rows = min(n_at_once, stop - first)
            block = np.empty((n_rows, *self.row_shape), dtype=np.float32)
            self._file.seek(first * row_bytes)
            read_whole(self._file, block.data.cast("B"))
            yield block

    def close(self) -> None:
        """Forget the rows, and remove the scratch file."""
        self._held = []
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def write_whole(file: Any, data: memoryview) -> None:
    """Write all of (n_bytes,) to an unbuffered file, which may take a part at a time; `OSError` when it cannot."""
    while data:
        data = data[file.write(data) :]


def read_whole(file: Any, into: memoryview) -> None:
    """Fill (n_bytes,) from an unbuffered file; `EOFError` when that ends before."""
    while into:
        n_read = file.readinto(into)
        if not n_read:
            raise EOFError(f"{file.name}: {len(into)} bytes are missing at its end")
        into = into[n_read:]


def _waveform(path: Path, sample_rate: int, scratch: Path) -> Tape:
    tape = Tape(scratch)
    try:
        with stream(path, sample_rate) as blocks:
            for block in blocks:
                tape.append(block)
    except BaseException:
        tape.close()
        raise
    return tape


def _transform(waveform: Tape, spec: PictureSpec, into: Tape) -> None:
    """Do what `clip_log_mel` does, in memory that does not grow with the clip."""
    if not waveform.is_spilled:
        (samples,) = waveform.blocks()
        into.append(np.ascontiguousarray(clip_log_mel(samples, spec).T))
        return
    start, stop = 0, len(waveform)
    if spec.trim_top_db:
        start, stop = loud_span(waveform.blocks(), top_db=spec.trim_top_db)
    n_least = round(spec.min_duration_s * spec.log_mel.sample_rate)
    if stop - start < n_least:
        pieces = waveform.blocks(start, stop)
        into.append(np.ascontiguousarray(clip_log_mel(np.concatenate(list(pieces)), _untrimmed(spec)).T))
        return
    for block in log_mel_blocks(waveform.blocks(start, stop), spec.log_mel):
        into.append(np.ascontiguousarray(block.T))


def _untrimmed(spec: PictureSpec) -> PictureSpec:
    return msgspec.structs.replace(spec, trim_top_db=0.0)
