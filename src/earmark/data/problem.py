"""A problem of a collection, as it is told to the person who keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """Something in a collection that is wrong, or looks wrong.

    Parameters
    ----------
    kind
        What sort of problem in a few words, the same for all of its sort, such as ``"unknown label"``; reports group
        by it.
    clips
        Names of the clips that have it, as in the manifest; none when it is not of single clips.
    message
        What, got, expected, remedy, in one sentence or two.
    severity
        ``"error"`` when learning would go wrong or fail, ``"warning"`` when it merely deserves a look.
    """

    kind: str
    clips: tuple[str, ...]
    message: str
    severity: Literal["error", "warning"] = "error"
