"""What a call would tag: how many files of each sort, how long and how large, before any is heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from earmark.audio.decode import stream
from earmark.errors import AudioError
from earmark.tagging.files import over_files
from earmark.tagging.library import Recording

HOUR_S = 3600.0
MEGABYTE = 1e6


class _File(NamedTuple):
    n_bytes: int
    duration_s: float | None


@dataclass
class Kind:
    """Recordings of one suffix.

    Attributes
    ----------
    n_files, n_bytes
        How many, and their size.
    n_known
        Those that need not be tagged again.
    n_bad
        Those whose header cannot be read.
    duration_s
        Length of those whose header states it, in seconds.
    n_unstated
        Those whose header does not.
    """

    n_files: int = 0
    n_bytes: int = 0
    n_known: int = 0
    n_bad: int = 0
    duration_s: float = 0.0
    n_unstated: int = 0

    def cells(self) -> tuple[object, ...]:
        """A row of the table."""
        hours = f"{self.duration_s / HOUR_S:.3f}" + (f" + {self.n_unstated} unstated" if self.n_unstated else "")
        to_tag = self.n_files - self.n_known - self.n_bad
        return (self.n_files, hours, f"{self.n_bytes / MEGABYTE:.1f}", to_tag, self.n_known, self.n_bad)

    def __add__(self, other: Kind) -> Kind:
        return Kind(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass
class Survey:
    """What is to come, by suffix.

    Attributes
    ----------
    kinds
        In the order of the suffixes' names.
    errors
        What is wrong with files whose header cannot be read.
    """

    kinds: dict[str, Kind] = field(default_factory=dict)
    errors: list[AudioError] = field(default_factory=list)

    def __str__(self) -> str:
        """As a table, with the sum of all below."""
        from tabulate import tabulate  # only where it is needed, for a quick start

        rows = [(suffix or "(none)", *kind.cells()) for suffix, kind in self.kinds.items()]
        total = sum(self.kinds.values(), Kind())
        headers = ("suffix", "files", "hours", "MB", "to tag", "known", "bad")
        return tabulate([*rows, ("all", *total.cells())], headers=headers, disable_numparse=True)


def survey(recordings: Sequence[Recording], known: Sequence[bool], *, n_workers: int | None = None) -> Survey:
    """Read the headers of recordings.

    Parameters
    ----------
    recordings
        All of a call.
    known
        Which of them need not be tagged again.
    n_workers
        Files at a time; `None` for one a core.
    """
    found = Survey({suffix: Kind() for suffix in sorted({_suffix(recording) for recording in recordings})})
    headers = over_files(_header, (recording.path for recording in recordings), n_workers=n_workers)
    for recording, is_known, (_, header) in zip(recordings, known, headers, strict=True):
        kind = found.kinds[_suffix(recording)]
        kind.n_files += 1
        if isinstance(header, AudioError):
            found.errors.append(header)
            kind.n_bad += 1
            continue
        kind.n_bytes += header.n_bytes
        kind.n_known += is_known
        kind.duration_s += header.duration_s or 0.0
        kind.n_unstated += header.duration_s is None
    return found


def _suffix(recording: Recording) -> str:
    return recording.path.suffix.lower()


def _header(path: Path) -> _File:
    with stream(path) as opened:
        return _File(path.stat().st_size, opened.duration_s)
