"""What a server takes at the most, so that no request can cost more than was planned for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields

from earmark.errors import ServingError

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
"""Sample rates that are taken, in Hz: a lie in a header must not turn seconds into hours, or into gigabytes."""

MIB = 1024 * 1024


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server; all of them at least 1, or above 0 where they are seconds.

    Attributes
    ----------
    max_body_bytes
        Of one request, whatever its header says.
    max_duration_s
        Of a recording, in seconds; counted while it is decoded.
    max_channels
        Of a recording.
    max_files
        In one batch; at most `max_pending`.
    max_labels
        That one answer may hold.
    max_decodes
        Recordings that are decoded at a time.
    max_pending
        Recordings that are in work or wait for it; whoever comes after them is told to come back later.
    max_connections
        That are open at a time.
    timeout_s
        From a request's first byte to its answer, in seconds.
    n_workers
        Processes, or threads, in which the network runs.

    Raises
    ------
    ServingError
        When one is out of its range.
    """

    max_body_bytes: int = 64 * MIB
    max_duration_s: float = 600.0
    max_channels: int = 16
    max_files: int = 32
    max_labels: int = 100
    max_decodes: int = field(default_factory=_n_cores)
    max_pending: int = 64
    max_connections: int = 512
    timeout_s: float = 60.0
    n_workers: int = field(default_factory=_n_cores)

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), 0 if each.name.endswith("_s") else 1
            if not (value > 0 and value >= least and value < float("inf")):
                raise ServingError(f"{each.name}={value}; expected {'more than 0' if not least else 'at least 1'}")
        if self.max_files > self.max_pending:
            raise ServingError(
                f"max_files={self.max_files} is more than max_pending={self.max_pending}, so that the largest batch "
                "could never be taken; raise the one or lower the other"
            )
