"""What windows of one kind say of windows of another, by the time that they share."""

from __future__ import annotations

import numpy as np

WINDOWS_SHARED = 256
"""Windows that another network's values are spread over at a time."""


def shared(
    starts: np.ndarray, ends: np.ndarray, own_starts: np.ndarray, own_ends: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Values of own windows, (n_own, n), averaged for each window by the time that they share with it.

    Some windows at a time, with the own windows near them, so that memory does not grow with the square of the
    recording's length.
    """
    parts = []
    for i in range(0, len(starts), WINDOWS_SHARED):
        begin, end = starts[i : i + WINDOWS_SHARED], ends[i : i + WINDOWS_SHARED]
        first = max(0, int(np.searchsorted(own_ends, begin[0])) - 1)
        near = slice(first, int(np.searchsorted(own_starts, end[-1])) + 1)
        parts.append(_shares(begin, end, own_starts[near], own_ends[near]) @ values[near])
    return np.concatenate(parts)


def _shares(starts: np.ndarray, ends: np.ndarray, own_starts: np.ndarray, own_ends: np.ndarray) -> np.ndarray:
    """How much each own window counts for each window, (n_windows, n_own) float32."""
    seconds = np.minimum(ends[:, None], own_ends) - np.maximum(starts[:, None], own_starts)
    seconds = seconds.clip(0)
    nearest = np.abs((starts + ends)[:, None] - (own_starts + own_ends)).argmin(axis=1)
    none = seconds.sum(axis=1) <= 0
    seconds[none, nearest[none]] = 1
    shares: np.ndarray = (seconds / seconds.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
