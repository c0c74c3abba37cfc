"""Work that waits in a queue of bounded length: recordings are decoded one by one, and scored together.

    admitted → decoded and cut (`max_decodes` at a time) → scored with whatever else is ready (`n_workers` at a time)

One kind of thread does both; see `Schedule`. A recording that is too long to be scored at once is streamed by such a
thread, its chunks scored in the engine's pool.

No time is spent waiting for company: under load it is there, and without load nobody should wait.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Self

from earmark.parallel import workers
from earmark.serving.hearing import Asked, prepared, scored
from earmark.serving.limits import Limits
from earmark.serving.metrics import Metrics
from earmark.serving.problems import Problem
from earmark.serving.recordings import Abandoned, Scratch
from earmark.serving.schedule import Schedule
from earmark.serving.scoring import Prepared, Scored, Scorer
from earmark.tagging.engine import Engine
from earmark.tagging.tagger import Tagger


@dataclass(eq=False)
class Job:
    """A recording on its way.

    Attributes
    ----------
    spool
        Its bytes; closed when they are decoded.
    answer
        What the request waits for.
    """

    spool: IO[bytes]
    timeline: bool
    answer: asyncio.Future[Scored]
    abandoned: threading.Event = field(default_factory=threading.Event)


class Batcher(ABC):
    """Decodes and scores recordings for an event loop; to be used with `with`, in that loop.

    Parameters
    ----------
    limits
        How much of each.
    metrics
        What is counted.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits, self.metrics = limits, metrics
        self.n_pending = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            self._begin(self._stack)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @abstractmethod
    def _begin(self, stack: ExitStack) -> None:
        """Have threads wait for recordings; what ends them, when all is done, goes on the stack."""

    @abstractmethod
    def _add(self, job: Job) -> None:
        """Have a recording wait for one of them."""

    def check_room(self, n: int = 1) -> None:
        """Refuse `n` recordings, with a `Problem`, where there is no room for them."""
        if self.n_pending + n > self.limits.max_pending:
            self.metrics.refused.labels("busy").inc()
            raise Problem(
                "busy",
                f"{self.n_pending} recordings are in work or waiting, and at most {self.limits.max_pending} may be; "
                "try again in a second",
            )

    async def score(self, spools: list[IO[bytes]], *, timeline: bool) -> list[Scored | Problem]:
        """Score recordings; a place is free again when its work is done, not when nobody waits for it any more.

        Parameters
        ----------
        spools
            Their bytes. They are closed here, whatever happens.
        timeline
            Whether scores over time are wanted.

        Raises
        ------
        Problem
            When there is no room for all of them.
        """
        try:
            self.check_room(len(spools))
        except Problem:
            for spool in spools:
                spool.close()
            raise
        jobs = [Job(spool, timeline, self._loop.create_future()) for spool in spools]
        for job in jobs:
            self.n_pending += 1
            self._add(job)
        self.metrics.pending.set(self.n_pending)
        try:
            said = await asyncio.gather(*(job.answer for job in jobs), return_exceptions=True)
        except asyncio.CancelledError:
            for job in jobs:
                job.abandoned.set()
            raise
        return [self._checked(one) for one in said]

    def _checked(self, said: Scored | BaseException) -> Scored | Problem:
        if isinstance(said, Scored | Problem):
            return said
        raise said

    def _finish(self, said: list[tuple[Job, Scored | Exception]]) -> None:
        if said:
            self._loop.call_soon_threadsafe(self._settle, said)

    def _settle(self, said: list[tuple[Job, Scored | Exception]]) -> None:
        """In the loop: make room, and answer."""
        self.n_pending -= len(said)
        self.metrics.pending.set(self.n_pending)
        for job, one in said:
            if job.answer.done():
                continue
            if isinstance(one, Exception):
                job.answer.set_exception(one)
            else:
                job.answer.set_result(one)


class ThreadBatcher(Batcher):
    """Hears in threads of this process.

    Parameters
    ----------
    tagger
        Best loaded with one thread.
    limits, metrics
        See `Batcher`.
    """

    def __init__(self, tagger: Tagger, limits: Limits, metrics: Metrics) -> None:
        super().__init__(limits, metrics)
        self._engine = Engine([tagger], limits.n_workers)
        self._scorer = Scorer(self._engine)
        self._schedule = Schedule[Job](limits.max_decodes, limits.n_workers, self._scorer.windows_per_call)
        # on a processor, more threads than it has cores wait for each other; a GPU's call needs no core
        on_gpu = any(network.bundle.on_gpu for network in tagger.networks)
        both = (limits.max_decodes, limits.n_workers)
        self.n_threads = sum(both) if on_gpu else max(both)

    def _begin(self, stack: ExitStack) -> None:
        stack.enter_context(self._engine)
        pool = stack.enter_context(workers(self.n_threads))
        stack.callback(self._schedule.close)
        for _ in range(self.n_threads):
            pool.submit(self._work)

    def _add(self, job: Job) -> None:
        self._schedule.add(job)

    def _work(self) -> None:
        """In a thread of the pool, until the server stops."""
        with closing(Scratch()) as scratch:
            while (taken := self._schedule.take()) is not None:
                if isinstance(taken, list):
                    self._score(taken)
                    self._schedule.scored()
                else:
                    self._schedule.decoded(taken, self._decoded(taken, scratch))

    def _decoded(self, job: Job, scratch: Scratch) -> Prepared | None:
        """From bytes to windows; none where there is an answer already."""
        try:
            with scratch.named(job.spool) as path:
                started = time.perf_counter()
                said, duration_s = prepared(self._scorer, self.limits, Asked(path, job.timeline), job.abandoned.is_set)
                self.metrics.decoding_s.observe(time.perf_counter() - started)
                self.metrics.audio_s.inc(duration_s)
        except Exception as error:
            self._finish([(job, error)])
            return None
        if isinstance(said, Prepared):
            return said
        self._finish([(job, said)])
        return None

    def _score(self, batch: list[tuple[Job, Prepared]]) -> None:
        wanted = [(job, windows) for job, windows in batch if not job.abandoned.is_set()]
        self._finish([(job, Abandoned()) for job, _ in batch if job.abandoned.is_set()])
        if not wanted:
            return
        started = time.perf_counter()
        said = scored(self._scorer, [windows for _, windows in wanted])
        self.metrics.scoring_s.observe(time.perf_counter() - started)
        self.metrics.batch_size.observe(len(wanted))
        self._finish([(job, one) for (job, _), one in zip(wanted, said, strict=True)])
