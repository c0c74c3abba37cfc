"""Recordings that wait in a queue of bounded length, shared out among processes.

    admitted → handed to a process, with its share of what waits → decoded one by one and scored together there

A thread here stands for each process. It mostly waits, so that the one that talks to clients has the interpreter's
lock.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Generic, TypeVar

from earmark.parallel import workers
from earmark.serving.batching import Batcher, Job
from earmark.serving.hearing import MOST_AT_ONCE, Asked, Heard, Hearer
from earmark.serving.limits import Limits
from earmark.serving.metrics import Metrics
from earmark.serving.recordings import Scratch

J = TypeVar("J")


class Shares(Generic[J]):
    """A queue that is shared out in parts as large as there are takers for; may be used from several threads.

    Nobody waits for company: one that is alone is taken at once. Under load a taker gets its share of what waits, so
    that no other is left without work while it has much.

    Parameters
    ----------
    n_takers
        How many share it.
    most
        Taken at a time, at the most.
    """

    def __init__(self, n_takers: int, most: int) -> None:
        self._n_takers, self._most = n_takers, most
        self._waiting: deque[J] = deque()
        self._is_closed = False
        self._changed = threading.Condition(threading.Lock())

    def add(self, item: J) -> None:
        """Have something wait to be taken."""
        with self._changed:
            self._waiting.append(item)
            self._changed.notify()

    def take(self) -> list[J] | None:
        """Wait for a share, the first come first; None when the queue is closed and nothing is left in it."""
        with self._changed:
            while not self._waiting:
                if self._is_closed:
                    return None
                self._changed.wait()
            n_share = -(-len(self._waiting) // self._n_takers)
            return [self._waiting.popleft() for _ in range(min(n_share, self._most))]

    def close(self) -> None:
        """Have takers end when all is taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class ProcessBatcher(Batcher):
    """Hears in processes, as many as the limits allow to decode and to score.

    Parameters
    ----------
    model
        What they give to `earmark.tagging.tagger.load`.
    limits, metrics
        See `earmark.serving.batching.Batcher`.
    """

    def __init__(self, model: str | Path, limits: Limits, metrics: Metrics) -> None:
        super().__init__(limits, metrics)
        self._model = model
        self.n_processes = min(limits.max_decodes, limits.n_workers)
        self._shares = Shares[Job](self.n_processes, MOST_AT_ONCE)

    def _begin(self, stack: ExitStack) -> None:
        hearers = []
        for _ in range(self.n_processes):  # which start side by side
            hearers.append(Hearer(self._model, self.limits))
            stack.callback(hearers[-1].close)
        for hearer in hearers:
            hearer.wait()
        pool = stack.enter_context(workers(self.n_processes))
        stack.callback(self._shares.close)
        for hearer in hearers:
            pool.submit(self._work, hearer)

    def _add(self, job: Job) -> None:
        self._shares.add(job)

    def _work(self, hearer: Hearer) -> None:
        """In a thread of the pool, until the server stops."""
        with ExitStack() as stack:
            scratches = [stack.enter_context(closing(Scratch(is_readable=hearer.reads))) for _ in range(MOST_AT_ONCE)]
            while (jobs := self._shares.take()) is not None:
                try:
                    said = self._heard(jobs, scratches, hearer).said
                except Exception as error:
                    said = [error for _ in jobs]
                    for job in jobs:
                        job.spool.close()
                self._finish(list(zip(jobs, said, strict=True)))

    def _heard(self, jobs: list[Job], scratches: list[Scratch], hearer: Hearer) -> Heard:
        with ExitStack() as files:
            asked = [
                Asked(files.enter_context(scratch.named(job.spool)), job.timeline)
                for job, scratch in zip(jobs, scratches, strict=False)
            ]
            heard = hearer.hear(asked, lambda place: jobs[place].abandoned.is_set())
        for seconds in heard.decoding_s:
            self.metrics.decoding_s.observe(seconds)
        self.metrics.audio_s.inc(sum(heard.audio_s))
        if heard.n_together:
            self.metrics.scoring_s.observe(heard.scoring_s)
            self.metrics.batch_size.observe(heard.n_together)
        return heard
