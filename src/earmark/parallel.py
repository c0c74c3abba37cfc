"""Work spread over threads whose results come back in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], *, ahead: int
) -> Iterator[R]:
    """Apply a function to items on a pool, with results in the items' order and bounded memory.

    Parameters
    ----------
    pool
        Where the calls run.
    function
        What is called; an exception of it is raised here, at its item's turn.
    items
        Taken one by one, as places become free.
    ahead
        How many items may be in flight or finished and waiting, at the most; at least 1.

    Yields
    ------
    R
        A result an item.
    """
    if ahead < 1:
        raise ValueError(f"ahead={ahead}; expected at least 1")
    items = iter(items)
    waiting: deque[Future[R]] = deque(pool.submit(function, item) for item in itertools.islice(items, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in itertools.islice(items, 1))
