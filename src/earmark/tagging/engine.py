"""Files through taggers, on all cores: each file is read once for all of them, a long one in memory that is bounded.

A recording of up to `WHOLE_S` is heard at once. A longer one is streamed: the thread that reads it decodes and
resamples, and hands chunks of windows to the pool, so that one long file keeps every core as busy as many files do.
What has to be known of the whole of it first (a clip's own mean and deviation or range, where its silence ends, which
window is the middle one) is found by going over the file before, with nothing kept. Members of a combination that
have test-time augmentation draw their views from the whole clip: those alone keep it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from earmark.audio.clip import lengthen, loud_span
from earmark.audio.decode import Stream, Waveform, decode, stream
from earmark.audio.picture import clip_waveform
from earmark.audio.views import TtaSpec
from earmark.parallel import workers
from earmark.tagging.listener import Heard, Listener, survey, within
from earmark.tagging.tagger import NetworkTimeline, Tagger, Timeline

R = TypeVar("R")

WHOLE_S = 120.0
"""Recordings up to this long are heard at once, in seconds."""


class Engine:
    """Taggers that hear files together.

    Used with `with`, it has a pool of threads for the chunks of long recordings, and keeps the matrix products of all
    threads from being divided among cores once more; without, all is done in the calling thread. Its methods may be
    called from several threads at a time.

    Parameters
    ----------
    taggers
        At least one, whose networks are best loaded with one thread each.
    n_workers
        Threads of the pool; None for one a core.

    Attributes
    ----------
    whole_s
        Recordings up to this long, in seconds, are heard at once.

    Examples
    --------
    >>> with Engine([load(n_threads=1)]) as engine:  # doctest: +SKIP
    ...     [timeline] = engine.timelines("night.flac")
    """

    def __init__(self, taggers: Sequence[Tagger], n_workers: int | None = None) -> None:
        self.taggers = tuple(taggers)
        self.n_workers = n_workers or os.cpu_count() or 1
        longest_s = [_longest_window_s(network) for tagger in taggers for network in tagger.networks]
        self.whole_s = max([WHOLE_S, *longest_s])
        self._pool: ThreadPoolExecutor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._pool = self._stack.enter_context(workers(self.n_workers))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool = None
        self._stack.close()

    def scores(self, path: str | Path) -> tuple[list[np.ndarray], float]:
        """Score a file as one clip.

        Parameters
        ----------
        path
            Any recording that `earmark.audio.decode.decode` reads.

        Returns
        -------
        scores
            Of each tagger, (n_labels,) float32 in [0, 1]: what `Tagger.scores` gives of the whole.
        duration_s
            Of the recording, in seconds.

        Raises
        ------
        AudioError
            When the file cannot be read.
        """
        heard, duration_s = self.heard(path)
        return [t.finished(own)[0] for t, own in zip(self.taggers, heard, strict=True)], duration_s

    def heard(self, path: str | Path) -> tuple[list[list[np.ndarray]], float]:
        """Hear a file as one clip; parameters and errors as of `scores`.

        Returns
        -------
        heard
            Of each tagger, what `Tagger.finished` and `Tagger.embedded` take.
        duration_s
            Of the recording, in seconds.
        """
        path = Path(path)
        with stream(path, block_s=None) as blocks:
            head, waveform = _beginning(blocks, self.whole_s)
            if waveform is not None:
                heard = [t.heard(waveform.samples, waveform.sample_rate, key=path.name) for t in self.taggers]
                return heard, waveform.duration_s
            pairs = [pair for t in self.taggers for pair in zip(t.networks, t.own_tta, strict=True)]
            heard_whole = [_whole_scores(network, path, tta, self.whole_s) for network, tta in pairs]
            means = [
                _ClipMean(Listener(network, blocks.sample_rate, survey(network, path, as_clip=True), as_clip=True))
                for (network, _), whole in zip(pairs, heard_whole, strict=True)
                if whole is None
            ]
            duration_s = self._listen(chain(head, blocks), means, blocks.sample_rate)
        streamed = iter(means)
        parts = iter([next(streamed).scores() if whole is None else whole for whole in heard_whole])
        return [[next(parts) for _ in t.networks] for t in self.taggers], duration_s

    def timelines(self, path: str | Path) -> list[Timeline]:
        """Score a file's windows, for each tagger; see `Tagger.timeline`. `AudioError` when it cannot be read."""
        path = Path(path)
        networks = [network for t in self.taggers for network in t.networks]
        with stream(path, block_s=None) as blocks:
            head, waveform = _beginning(blocks, self.whole_s)
            if waveform is not None:
                parts = iter([network.network_timeline(waveform) for network in networks])
            else:
                lists = [
                    _Windows(Listener(network, blocks.sample_rate, survey(network, path, as_clip=False), as_clip=False))
                    for network in networks
                ]
                duration_s = self._listen(chain(head, blocks), lists, blocks.sample_rate)
                parts = iter([windows.timeline(duration_s) for windows in lists])
        return [t.joined([next(parts) for _ in t.networks]) for t in self.taggers]

    def _listen(
        self, blocks: Iterator[np.ndarray], sinks: Sequence[_ClipMean] | Sequence[_Windows], sample_rate: int
    ) -> float:
        """Give blocks to listeners, what they hear to their sinks; gives the recording's length in seconds."""
        waiting: deque[tuple[Callable[[Heard], None], Future[Heard]]] = deque()
        n_samples = 0

        def submit(sink: _ClipMean | _Windows, ready: list[Callable[[], Heard]]) -> None:
            waiting.extend((sink.add, (self.submit if self._overlaps else _now)(work)) for work in ready)

        def settle(n_left: int) -> None:
            while len(waiting) > n_left:
                add, future = waiting.popleft()
                add(future.result())

        try:
            for block in blocks:
                n_samples += len(block)
                for sink in sinks:
                    submit(sink, sink.listener.push(block))
                    settle(2 * self.n_workers)
            for sink in sinks:
                submit(sink, sink.listener.finish())
                settle(2 * self.n_workers)
            settle(0)
        finally:
            for _, future in waiting:
                future.cancel()
        return n_samples / sample_rate

    def submit(self, work: Callable[[], R]) -> Future[R]:
        """Have the pool call something, after what it was given before; without a pool, it is called here."""
        return self._pool.submit(work) if self._pool is not None else _now(work)

    @property
    def _overlaps(self) -> bool:
        """Whether a recording is read on while it is heard; two threads that share one core only hinder each other."""
        return self.n_workers > 1 or any(network.bundle.on_gpu for t in self.taggers for network in t.networks)


def _now(work: Callable[[], R]) -> Future[R]:
    """Call something; gives its result as a pool would."""
    done: Future[R] = Future()
    done.set_result(work())
    return done


@dataclass
class _ClipMean:
    """Mean of window scores, as `Tagger.scores` weighs them, in float64."""

    listener: Listener
    _sum: np.ndarray | float = 0.0
    _n: int = 0
    _middle: np.ndarray | float = 0.0

    def add(self, heard: Heard) -> None:
        starts, scores = heard
        middle = starts == self.listener.middle
        if middle.any():
            self._middle = scores[middle][0].astype(np.float64)
        # the middle window counts among the others only where it is one of them
        others = ~middle | (starts % self.listener.hop_frames == 0)
        self._sum = self._sum + scores[others].sum(axis=0, dtype=np.float64)
        self._n += int(others.sum())

    def scores(self) -> np.ndarray:
        """(1, n_labels) float32, and what else the network gives of each window."""
        weight = self.listener.tagger.bundle.spec.windows_weight
        mean = weight * np.asarray(self._sum) / self._n + (1 - weight) * np.asarray(self._middle)
        return self.listener.tagger.bounded(mean.astype(np.float32))[None]


@dataclass
class _Windows:
    """All that is heard, in order."""

    listener: Listener
    _parts: list[Heard] = field(default_factory=list)

    def add(self, heard: Heard) -> None:
        self._parts.append(heard)

    def timeline(self, duration_s: float) -> NetworkTimeline:
        """Put into time."""
        starts = np.concatenate([starts for starts, _ in self._parts])
        scores = np.concatenate([scores for _, scores in self._parts])
        return self.listener.tagger.timed(starts, scores, duration_s)


def _longest_window_s(network: Tagger) -> float:
    """How short a clip may be that is filled up, in seconds."""
    window_s = network.bundle.spec.window_frames / network.picture_spec.log_mel.frame_rate
    return max(window_s, network.picture_spec.min_duration_s)


def _beginning(blocks: Stream, whole_s: float) -> tuple[list[np.ndarray], Waveform | None]:
    """The first blocks of a recording; or all of it, where that is not too long to be heard at once."""
    head, n_samples = [], 0
    for block in blocks:
        head.append(block)
        n_samples += len(block)
        if n_samples > whole_s * blocks.sample_rate:
            return head, None
    return [], Waveform(head[0] if len(head) == 1 else np.concatenate(head), blocks.sample_rate)


def _whole_scores(network: Tagger, path: Path, tta: TtaSpec | None, whole_s: float) -> np.ndarray | None:
    """What a network says of a long recording that it has to hear at once; None where it has not."""
    spec, sample_rate = network.picture_spec, network.sample_rate
    if tta is not None and tta.n:
        clip = clip_waveform(decode(path, sample_rate).samples, spec)
        return network.network_scores(clip, tta, path.name)
    if not spec.trim_top_db:
        return None
    with stream(path, sample_rate) as blocks:
        first, stop = loud_span(blocks, top_db=spec.trim_top_db)
    if stop - first > whole_s * sample_rate:
        return None
    with stream(path, sample_rate) as blocks:
        clip = np.concatenate(list(within(blocks, first, stop)))
    return network.network_scores(lengthen(clip, round(spec.min_duration_s * sample_rate), "centre"))
