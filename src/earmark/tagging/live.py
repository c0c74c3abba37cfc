"""Tags of sound as it comes: the last window is heard again and again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from earmark.audio.decode import check_samples
from earmark.audio.resample import StreamResampler
from earmark.tagging.tagger import Tag, Tagger


@dataclass(frozen=True)
class Moment:
    """What is heard at a moment.

    Attributes
    ----------
    time_s
        Since the beginning: the end of the window that was heard.
    tags
        Labels that are on, best first, each with the time from when it was on to now.
    changed
        Whether a label came or went.
    behind_s
        How long it took from the moment when the last sample was there.
    """

    time_s: float
    tags: list[Tag]
    changed: bool
    behind_s: float


class LiveTagger:
    """Hears what comes, in blocks of any length, in memory of a window.

    A label is on from a score of its threshold, until its score falls below `release` times that. Front ends that
    normalise by the clip go by the window alone, and nothing is trimmed.

    Parameters
    ----------
    tagger
        What hears it.
    sample_rate
        Of what comes, in Hz.
    thresholds
        (n_labels,), from `Tagger.thresholds`.
    every_s
        How often the last window is heard, in seconds.
    release
        Above 0 and at most 1.

    Raises
    ------
    ValueError
        When a number is out of its range.
    """

    def __init__(
        self,
        tagger: Tagger,
        sample_rate: int,
        thresholds: np.ndarray,
        *,
        every_s: float = 1.0,
        release: float = 0.5,
    ) -> None:
        if not 1 / sample_rate <= every_s < np.inf:
            raise ValueError(f"every_s={every_s}; expected a number of seconds, at least a sample of {sample_rate} Hz")
        if not 0 < release <= 1:
            raise ValueError(f"release={release}; expected a share above 0 and at most 1")
        self.tagger, self.sample_rate = tagger, sample_rate
        self._on, self._off = thresholds, release * thresholds
        self._n_every = round(every_s * sample_rate)
        self._ears = [_Ear(network, sample_rate) for network in tagger.networks]
        self._n_samples = 0
        self._since = np.full(len(tagger.labels), np.nan)  # seconds; NaN for labels that are off

    def hear(self, blocks: Iterable[np.ndarray]) -> Iterator[Moment]:
        """Give a moment for each `every_s` of sound.

        Parameters
        ----------
        blocks
            (n_samples,) float32 at `sample_rate`, full scale at ±1.

        Raises
        ------
        AudioError
            When a sample is not finite.
        """
        for block in blocks:
            begun = time.perf_counter()
            if len(block):
                check_samples(block, self.sample_rate, "the sound", first=self._n_samples)
            while len(block):
                n_taken = self._n_every - self._n_samples % self._n_every
                taken, block = block[:n_taken], block[n_taken:]
                for ear in self._ears:
                    ear.push(taken)
                self._n_samples += len(taken)
                if self._n_samples % self._n_every == 0:
                    yield self._moment(begun)
                    begun = time.perf_counter()

    def _moment(self, begun: float) -> Moment:
        now_s = self._n_samples / self.sample_rate
        scores = self.tagger.finished([ear.scores() for ear in self._ears])[0]
        was_on = ~np.isnan(self._since)
        is_on = np.where(was_on, scores >= self._off, scores >= self._on)
        came = is_on & ~was_on
        self._since[came] = now_s - self._n_every / self.sample_rate
        self._since[~is_on] = np.nan
        best = [i for i in np.argsort(-scores, kind="stable") if is_on[i]]
        tags = [Tag(self.tagger.labels[i], float(scores[i]), float(self._since[i]), now_s) for i in best]
        return Moment(now_s, tags, bool((is_on != was_on).any()), time.perf_counter() - begun)


class _Ear:
    """The last window of one network."""

    def __init__(self, network: Tagger, sample_rate: int) -> None:
        self._network = network
        self._resampler = StreamResampler(sample_rate, network.sample_rate)
        log_mel = network.picture_spec.log_mel
        emphasis = int(log_mel.pre_emphasis > 0)
        self._n_window = max(1, (network.bundle.spec.window_frames - 1) * log_mel.hop_length + emphasis)
        self._held = np.zeros(0, dtype=np.float32)

    def push(self, samples: np.ndarray) -> None:
        held = np.concatenate([self._held, self._resampler.push(samples)])
        self._held = held[-self._n_window :]

    def scores(self) -> np.ndarray:
        """(1, n_labels) float32; of silence, as long as the resampler has given nothing."""
        clip = self._held if len(self._held) else np.zeros(1, dtype=np.float32)
        return self._network.score_windows(self._network.cut(clip))[-1:]
