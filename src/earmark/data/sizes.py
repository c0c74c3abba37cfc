"""Sizes as people say them."""

from __future__ import annotations

UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def in_words(n_bytes: int) -> str:
    """A number of bytes in decimal units, or as it is when it is small.

    Examples
    --------
    >>> in_words(24_678_734_449)
    '24.7 GB'
    """
    for unit, size in UNITS:
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"
