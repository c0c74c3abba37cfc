"""Sizes as people say them."""

from __future__ import annotations

import pytest

from earmark.data.sizes import in_words


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (4_066_513, "4.1 MB"),
        (23_040_000_000, "23.0 GB"),
        (2 * 10**12, "2.0 TB"),
    ],
)
def test_are_told_in_decimal_units(n_bytes: int, said: str) -> None:
    assert in_words(n_bytes) == said
