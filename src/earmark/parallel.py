"""Work spread over threads whose results come back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def workers(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads do their own sums: matrix products in it are not divided among threads once more.

    Threads of BLAS and of the pool otherwise wait for each other.
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        yield pool


def map_in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    ahead: float,
    weigh: Callable[[T], float] = lambda _: 1,
) -> Iterator[R]:
    """Apply a function to items on a pool, with results in the items' order and bounded memory.

    Calls that have not begun are cancelled when the results are no longer wanted.

    Parameters
    ----------
    pool
        Where the calls run.
    function
        What is called; an exception of it is raised here, at its item's turn.
    items
        Taken one by one, as places become free.
    ahead
        How much may be in flight or finished and waiting, at the most: items, or what they weigh; at least 1.
    weigh
        Weight of an item. One that is heavier than `ahead` goes alone.

    Yields
    ------
    R
        A result an item.
    """
    if ahead < 1:
        raise ValueError(f"ahead={ahead}; expected at least 1")
    waiting: deque[tuple[float, Future[R]]] = deque()
    in_flight = 0.0
    try:
        for item in items:
            weight = weigh(item)
            while waiting and in_flight + weight > ahead:
                in_flight -= waiting[0][0]
                yield waiting.popleft()[1].result()
            waiting.append((weight, pool.submit(function, item)))
            in_flight += weight
            while in_flight >= ahead:  # full: no item is taken before there is a place
                in_flight -= waiting[0][0]
                yield waiting.popleft()[1].result()
        while waiting:
            yield waiting.popleft()[1].result()
    finally:
        for _, future in waiting:
            future.cancel()
