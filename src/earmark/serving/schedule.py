"""What a thread of the server does next: decode what waits, or have the network score what is ready.

    waiting ─ a thread decodes and cuts it ─ ready ─ a thread scores it, together with what else is ready

One kind of thread does both, so that there are no more of them than cores, and none waits while there is work.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from earmark.serving.scoring import Prepared

J = TypeVar("J")


class Schedule(Generic[J]):
    """Recordings that wait for a thread, in the order in which they came; may be used from several threads.

    Recordings are decoded until there are enough of them for one call of the network, or no more may be decoded now.
    So they share calls under load, and nobody ever waits for company. A thread that has ended something takes the next
    itself: others are woken where there is more than that.

    Parameters
    ----------
    max_decodes
        Recordings that are decoded at a time.
    max_calls
        Calls of the network at a time.
    windows_per_call
        How many windows are best scored at a time.
    """

    def __init__(self, max_decodes: int, max_calls: int, windows_per_call: int) -> None:
        self._max_decodes, self._max_calls, self._windows_per_call = max_decodes, max_calls, windows_per_call
        self._waiting: deque[J] = deque()
        self._ready: deque[tuple[J, Prepared]] = deque()
        self._n_ready_windows = self._n_decodes = self._n_calls = 0
        self._is_closed = False
        self._changed = threading.Condition(threading.Lock())

    def add(self, job: J) -> None:
        """Have a recording wait to be decoded."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def take(self) -> J | list[tuple[J, Prepared]] | None:
        """Wait for something to do.

        Returns
        -------
        J or list or None
            A recording to be decoded, which `decoded` ends; a batch to be scored, which `scored` ends; or nothing,
            because the schedule is closed and all that was there is done, or in the hands of other threads.
        """
        with self._changed:
            while not (self._may_score or self._may_decode):
                if self._is_closed and not (self._waiting or self._ready or self._n_decodes):
                    self._changed.notify_all()
                    return None
                self._changed.wait()
            taken = self._batch() if self._may_score else self._first()
            if self._may_score or self._may_decode:
                self._changed.notify()
            return taken

    @property
    def _may_decode(self) -> bool:
        return bool(self._waiting) and self._n_decodes < self._max_decodes

    @property
    def _may_score(self) -> bool:
        is_enough = self._n_ready_windows >= self._windows_per_call or not self._may_decode
        return bool(self._ready) and is_enough and self._n_calls < self._max_calls

    def _first(self) -> J:
        self._n_decodes += 1
        return self._waiting.popleft()

    def _batch(self) -> list[tuple[J, Prepared]]:
        """What is ready, as much as fits one call, and one recording at the least."""
        batch = [self._ready.popleft()]
        n_windows = batch[0][1].n_windows
        while self._ready and n_windows + self._ready[0][1].n_windows <= self._windows_per_call:
            batch.append(self._ready.popleft())
            n_windows += batch[-1][1].n_windows
        self._n_ready_windows -= n_windows
        self._n_calls += 1
        return batch

    def decoded(self, job: J, prepared: Prepared | None) -> None:
        """Have a recording wait to be scored; without windows, it is done. The calling thread is to `take` again."""
        with self._changed:
            self._n_decodes -= 1
            if prepared is not None:
                self._ready.append((job, prepared))
                self._n_ready_windows += prepared.n_windows

    def scored(self) -> None:
        """Make room for another call of the network. The calling thread is to `take` again."""
        with self._changed:
            self._n_calls -= 1

    def close(self) -> None:
        """Have threads end when all is done."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
