"""Work on threads comes back in order, and only so much of it at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from threadpoolctl import threadpool_info

from earmark.parallel import map_in_order, workers


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_results_come_in_order_however_long_each_takes(pool: ThreadPoolExecutor) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(map_in_order(pool, slow_first, range(20), ahead=6)) == [item * item for item in range(20)]


def test_no_items_no_results(pool: ThreadPoolExecutor) -> None:
    assert list(map_in_order(pool, str, [], ahead=3)) == []


def test_one_ahead_is_one_after_the_other(pool: ThreadPoolExecutor) -> None:
    assert list(map_in_order(pool, str, [1, 2, 3], ahead=1)) == ["1", "2", "3"]


def test_items_are_taken_as_places_become_free(pool: ThreadPoolExecutor) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = map_in_order(pool, str, items(), ahead=5)
    assert next(results) == "0"
    assert len(taken) == 5
    assert next(results) == "1"
    assert len(taken) == 6
    results.close()  # type: ignore[attr-defined]


def test_weights_are_what_may_be_in_flight(pool: ThreadPoolExecutor) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in (3, 4, 2, 50, 1, 1):
            taken.append(item)
            yield item

    results = map_in_order(pool, str, items(), ahead=10, weigh=float)
    assert next(results) == "3"
    assert taken == [3, 4, 2, 50]  # 50 waits until it is alone
    assert list(results) == ["4", "2", "50", "1", "1"]


def test_what_is_no_longer_wanted_is_not_begun() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        results = map_in_order(pool, lambda item: (time.sleep(0.01), begun.append(item)), range(100), ahead=50)
        next(results)
        results.close()  # type: ignore[attr-defined]
    assert len(begun) < 10


def test_calls_run_at_the_same_time(pool: ThreadPoolExecutor) -> None:
    together = threading.Barrier(4, timeout=5)
    list(map_in_order(pool, lambda _: together.wait(), range(4), ahead=4))


def test_an_exception_is_raised_at_its_items_turn(pool: ThreadPoolExecutor) -> None:
    results = map_in_order(pool, lambda item: 1 / item, [2, 1, 0, 4], ahead=4)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_none_ahead_is_refused(pool: ThreadPoolExecutor) -> None:
    with pytest.raises(ValueError, match=r"^ahead=0; expected at least 1$"):
        next(map_in_order(pool, str, [1], ahead=0))


def test_workers_do_not_divide_their_matrix_products_once_more() -> None:
    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    before = threads()
    with workers(2) as pool:
        assert pool.submit(threads).result() <= {1}
    assert threads() == before
