"""What threads are given to do, and in which order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from earmark.serving.schedule import Schedule
from earmark.serving.scoring import Cut, Prepared


def prepared(n_windows: int = 2) -> Prepared:
    windows = np.zeros((n_windows, 1, 1, 1), dtype=np.float32)
    return Prepared([Cut(windows, np.ones(n_windows), None, None, np.arange(n_windows))], 1.0)


def schedule(n_jobs: int, *, max_decodes: int = 4, max_calls: int = 4) -> Schedule[int]:
    made: Schedule[int] = Schedule(max_decodes, max_calls, windows_per_call=8)
    for job in range(n_jobs):
        made.add(job)
    return made


def jobs(taken: object) -> list[int]:
    assert isinstance(taken, list)
    return [job for job, _ in taken]


def test_one_that_is_alone_is_scored_at_once() -> None:
    one = schedule(1)
    assert one.take() == 0
    one.decoded(0, prepared())
    assert jobs(one.take()) == [0]


def test_recordings_are_decoded_until_they_fill_a_call() -> None:
    many = schedule(6)
    for job in range(4):
        assert many.take() == job
        many.decoded(job, prepared())
    assert jobs(many.take()) == [0, 1, 2, 3]
    assert many.take() == 4


def test_a_call_holds_no_more_than_fits_and_one_recording_at_the_least() -> None:
    few = schedule(3)
    for job, n_windows in enumerate((5, 20, 3)):
        assert few.take() == job
        few.decoded(job, prepared(n_windows))
        if job == 1:
            assert jobs(few.take()) == [0]
            assert jobs(few.take()) == [1]
    assert jobs(few.take()) == [2]


def test_what_is_ready_is_scored_where_no_more_may_be_decoded() -> None:
    busy = schedule(3, max_decodes=1)
    assert busy.take() == 0
    busy.decoded(0, prepared())
    assert busy.take() == 1
    assert jobs(busy.take()) == [0]


def test_no_more_calls_than_are_allowed() -> None:
    busy = schedule(5, max_calls=1)
    for job in range(4):
        assert busy.take() == job
        busy.decoded(job, prepared())
    assert jobs(busy.take()) == [0, 1, 2, 3]
    assert busy.take() == 4
    busy.decoded(4, prepared())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(busy.take)
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        busy.add(5)
        assert waiting.result(30) == 5
        busy.scored()
    assert jobs(busy.take()) == [4]


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_all_is_done_before_threads_end(n_threads: int) -> None:
    work, done, lock, go = schedule(0, max_decodes=2, max_calls=1), [], threading.Lock(), threading.Event()

    def run() -> None:
        while (taken := work.take()) is not None:
            if isinstance(taken, list):
                with lock:
                    done.extend(jobs(taken))
                work.scored()
            else:
                go.wait(30)
                work.decoded(taken, prepared() if taken % 3 else None)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for job in range(50):
        work.add(job)
    work.close()
    go.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert sorted(done) == [job for job in range(50) if job % 3]
