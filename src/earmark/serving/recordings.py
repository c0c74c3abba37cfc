"""From the bytes that somebody sent to samples, within limits that hold while decoding."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from earmark.audio.decode import stream
from earmark.audio.resample import StreamResampler
from earmark.errors import AudioError
from earmark.serving.limits import HIGHEST_RATE, LOWEST_RATE, Limits
from earmark.serving.problems import Problem

BLOCK_S = 10.0
"""Decoded at a time, in seconds: how far beyond the limit a recording may get."""

NAMELESS = "the recording"
"""What messages call a recording, in the place of a temporary file."""


class Abandoned(Exception):  # noqa: N818  # nobody's error
    """Nobody waits for this recording any more."""


@dataclass(frozen=True)
class Recording:
    """A decoded recording.

    Attributes
    ----------
    samples
        (n_samples,) float32, mono.
    sample_rate
        Of the samples, in Hz: the file's own, or the highest that is of use, where that is lower.
    duration_s
        Of the file, in seconds.
    """

    samples: np.ndarray
    sample_rate: int
    duration_s: float


@contextmanager
def named(spool: IO[bytes], folder: Path) -> Iterator[Path]:
    """The content of `spool` as a file of a folder, which is gone when the context ends, as the spool is."""
    with spool, tempfile.NamedTemporaryFile(dir=folder, prefix="recording-") as file:
        spool.seek(0)
        shutil.copyfileobj(spool, file)
        file.flush()
        yield Path(file.name)


def read(path: Path, limits: Limits, highest_rate: int, is_abandoned: Callable[[], bool]) -> Recording:
    """Decode a recording, no further than is allowed.

    Parameters
    ----------
    path
        The file.
    limits
        Its length and channels.
    highest_rate
        In Hz; higher ones are resampled to it.
    is_abandoned
        Asked between blocks.

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
            resampler = StreamResampler(rate, min(rate, highest_rate))
            pieces, n_samples = [], 0
            for block in blocks:
                n_samples += len(block)
                _check_duration(n_samples / rate, limits)
                if is_abandoned():
                    raise Abandoned
                pieces.append(resampler.push(block))
            pieces.append(resampler.push(np.empty(0, dtype=np.float32), last=True))
    except AudioError as error:
        raise Problem("unreadable-recording", str(error).replace(str(path), NAMELESS)) from error
    return Recording(np.concatenate(pieces), resampler.target_rate, n_samples / rate)


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
