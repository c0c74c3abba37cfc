"""An opened file of sound, whichever library reads it, and what is said when it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from earmark.errors import AudioError


class Source(Protocol):
    """An opened recording.

    Attributes
    ----------
    sample_rate
        In Hz.
    n_samples
        Length as the file states it and is held to; `None` where it states none, or an estimate.
    duration_s
        Length as the file states it, in seconds, if only as an estimate; `None` where it states none.
    n_channels
        As the file states it.
    format_name
        Of the container, as the library that reads it writes it: ``WAV``, ``FLAC``, ``OGG``, ``mov``.
    """

    sample_rate: int
    n_channels: int
    format_name: str
    n_samples: int | None
    duration_s: float | None

    def seek(self, sample: int) -> int:
        """Go to a sample of a file of stated length, or stay at the first where none is found exactly; give which."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Give (n, n_channels) float32 from there to the end; to be called once.

        `AudioError` where the file cannot be read on, or ends before its stated length.
        """

    def close(self) -> None:
        """Close the file."""


def unreadable(path: Path, reason: str) -> AudioError:
    """Say that a file cannot be read, and why."""
    return AudioError(f"{path}: cannot be read as audio ({reason}); is it a recording, and whole?")


def cut_short(path: Path, missing: str) -> AudioError:
    """Say that the end of a file is missing, and what shows it."""
    return AudioError(f"{path}: cut short: {missing}; fetch or export it again")
