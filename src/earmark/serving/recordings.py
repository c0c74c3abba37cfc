"""From the bytes that somebody sent to samples, within limits that hold while decoding."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from earmark.audio.decode import Waveform, stream
from earmark.audio.resample import StreamResampler
from earmark.errors import AudioError
from earmark.serving.limits import HIGHEST_RATE, LOWEST_RATE, MIB, Limits
from earmark.serving.problems import Problem

BLOCK_S = 10.0
"""Decoded at a time, in seconds: how far beyond the limit a recording may get."""

HIGHEST_KEPT_RATE = 96_000
"""In Hz. Recordings of higher rates are resampled as they come, so that a header cannot multiply what is kept."""

NAMELESS = "the recording"
"""What messages call a recording, in the place of a temporary file."""


class Abandoned(Exception):  # noqa: N818  # nobody's error
    """Nobody waits for this recording any more."""


class Scratch:
    """Recordings as files that have names, one at a time, for a thread of its own; to be closed.

    Short ones are written into one file in memory, over and over: its pages are there already, while those of a new
    file would have to be found, cleared and given back each time. Where there are no such files (they are Linux's), and
    for longer recordings, it is a temporary file.

    Parameters
    ----------
    folder
        For temporary files; None for the system's.
    is_readable
        Asked once, whether whoever decodes can read the file in memory: not in a sandbox without /proc.
    """

    def __init__(self, folder: Path | None = None, is_readable: Callable[[Path], bool] = Path.exists) -> None:
        self._folder = folder
        self._kept: int | None = None
        if hasattr(os, "memfd_create"):
            self._kept = os.memfd_create("earmark-recording")
            if not is_readable(self._kept_path):
                self.close()

    def close(self) -> None:
        """Give the memory back."""
        if self._kept is not None:
            os.close(self._kept)
            self._kept = None

    @property
    def _kept_path(self) -> Path:
        return Path(f"/proc/{os.getpid()}/fd/{self._kept}")  # which other processes understand as well

    @contextmanager
    def named(self, spool: IO[bytes]) -> Iterator[Path]:
        """The content of `spool` as a file, which is only to be read until the context ends; it closes the spool."""
        with spool:
            n_bytes = spool.seek(0, os.SEEK_END)
            spool.seek(0)
            if self._kept is not None and n_bytes <= MIB:
                os.pwrite(self._kept, spool.read(), 0)
                os.truncate(self._kept, n_bytes)
                yield self._kept_path
                return
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix="earmark-recording-") as file:
                shutil.copyfileobj(spool, file)
                file.flush()
                yield Path(file.name)


def read(path: Path, limits: Limits, whole_s: float, is_abandoned: Callable[[], bool]) -> tuple[Waveform | None, float]:
    """Decode a recording, no further than is allowed.

    Parameters
    ----------
    path
        The file.
    limits
        Its length and channels.
    whole_s
        In seconds; samples of longer recordings are decoded, and not kept.
    is_abandoned
        Asked between blocks.

    Returns
    -------
    waveform
        Mono, at the file's own rate or, where that is lower, `HIGHEST_KEPT_RATE`; None for a longer one.
    duration_s
        Of the recording, in seconds.

    Raises
    ------
    Problem
        When it cannot be read, or is beyond a limit.
    Abandoned
        When nobody waits for it.
    """
    try:
        with stream(path, block_s=BLOCK_S) as blocks:
            rate = blocks.sample_rate
            _check(rate, blocks.n_channels, limits)
            resampler = StreamResampler(rate, min(rate, HIGHEST_KEPT_RATE))
            pieces: list[np.ndarray] = []
            n_samples = 0
            for block in blocks:
                n_samples += len(block)
                _check_duration(n_samples / rate, limits)
                if is_abandoned():
                    raise Abandoned
                if n_samples / rate <= whole_s:
                    pieces.append(resampler.push(block))
                else:
                    pieces.clear()
    except AudioError as error:
        raise unreadable(error, path) from error
    if n_samples / rate > whole_s:
        return None, n_samples / rate
    if rate > HIGHEST_KEPT_RATE:
        pieces.append(resampler.push(np.empty(0, dtype=np.float32), last=True))
    samples = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return Waveform(samples, resampler.target_rate), n_samples / rate


def unreadable(error: AudioError, path: Path) -> Problem:
    """What is said of a recording that cannot be read, without the name of its temporary file."""
    return Problem("unreadable-recording", str(error).replace(str(path), NAMELESS))


def _check(rate: int, n_channels: int, limits: Limits) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise Problem(
            "unreadable-recording",
            f"{NAMELESS}: its sample rate is {rate} Hz; expected {LOWEST_RATE} to {HIGHEST_RATE}; export it again",
        )
    if n_channels > limits.max_channels:
        raise Problem(
            "unreadable-recording",
            f"{NAMELESS}: has {n_channels} channels; expected at most {limits.max_channels}; mix it down first",
        )


def _check_duration(duration_s: float, limits: Limits) -> None:
    if duration_s > limits.max_duration_s:
        raise Problem(
            "recording-too-long",
            f"{NAMELESS}: is longer than {limits.max_duration_s:g} s, which is the limit here; cut it, or tag it with "
            "'earmark tag' on your own machine",
        )
