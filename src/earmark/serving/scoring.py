"""A tagger as a server uses it: recordings are prepared one by one, and scored some at a time.

What scores become is the tagger's own doing: `networks`, `timed`, `joined`, `finished`. What is added here is that
windows of several recordings share a call of each network. A recording that is too long for that is heard by the
engine, block by block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.audio.decode import Waveform, resample
from earmark.audio.picture import clip_waveform
from earmark.audio.views import TtaSpec
from earmark.errors import BundleError
from earmark.tagging.engine import Engine
from earmark.tagging.tagger import Tagger, Timeline


@dataclass(frozen=True)
class Scored:
    """What a tagger says of a recording.

    Attributes
    ----------
    scores
        (n_labels,) float32 in [0, 1], of the whole.
    duration_s
        Of the recording, in seconds.
    timeline
        Scores over time, where they were asked for.
    """

    scores: np.ndarray
    duration_s: float
    timeline: Timeline | None


@dataclass(frozen=True)
class Cut:
    """A recording as one network takes it.

    Attributes
    ----------
    clip
        Windows of the clip, as `Tagger.cut` gives them; none where `known` says what they would.
    weights
        What each counts in the clip's mean, (n_windows,) float32.
    known
        (1, n_labels) float32 where the clip is scored already: test-time augmentation draws views of it alone.
    timed
        Windows of the timeline, the clip's own where they are the same; none where no timeline is asked for.
    starts
        First frames of those, (n_windows,).
    """

    clip: np.ndarray | None
    weights: np.ndarray
    known: np.ndarray | None
    timed: np.ndarray | None
    starts: np.ndarray

    @property
    def parts(self) -> list[np.ndarray]:
        """Windows to be scored."""
        parts = [self.clip] if self.timed is self.clip else [self.clip, self.timed]
        return [part for part in parts if part is not None]


@dataclass(frozen=True)
class Prepared:
    """A recording as each network of a tagger takes it, and its length in seconds."""

    cuts: list[Cut]
    duration_s: float

    @property
    def n_windows(self) -> int:
        """Windows to be scored, by the network that has most of them."""
        return max(sum(map(len, cut.parts)) for cut in self.cuts)


class Scorer:
    """Scores recordings with a tagger, a network or a combination of several.

    Parameters
    ----------
    engine
        Of one tagger; its pool is where networks run.

    Attributes
    ----------
    whole_s
        Recordings up to this long, in seconds, are for `prepare`, to be scored with others; longer ones for `listen`.
    windows_per_call
        How many windows are best scored at a time.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        (self.tagger,) = engine.taggers
        self.whole_s = engine.whole_s
        self.windows_per_call = min(network.windows_per_call for network in self.tagger.networks)

    def prepare(self, waveform: Waveform, *, timeline: bool) -> Prepared:
        """Cut a recording into windows; with scores over time, where they are asked for."""
        pairs = zip(self.tagger.networks, self.tagger.own_tta, strict=True)
        cuts = [_cut(network, tta, waveform, timeline=timeline) for network, tta in pairs]
        return Prepared(cuts, waveform.duration_s)

    def listen(self, path: Path, *, timeline: bool) -> Scored:
        """Score a recording that is long, in memory that does not grow with it; `AudioError` when it cannot be read."""
        [scores], duration_s = self.engine.scores(path)
        return Scored(scores, duration_s, self.engine.timelines(path)[0] if timeline else None)

    def score(self, batch: Sequence[Prepared]) -> list[Scored | BundleError]:
        """Score recordings together; where a network fails, each by itself, so that one does not harm the others."""
        try:
            return list(self._together(batch))
        except BundleError as error:
            return [error] if len(batch) == 1 else [self.score([one])[0] for one in batch]

    def _together(self, batch: Sequence[Prepared]) -> list[Scored]:
        heard = [
            _heard(network, [prepared.cuts[i] for prepared in batch]) for i, network in enumerate(self.tagger.networks)
        ]
        return [self._scored(prepared, [own[i] for own in heard]) for i, prepared in enumerate(batch)]

    def _scored(self, prepared: Prepared, heard: list[tuple[np.ndarray, np.ndarray | None]]) -> Scored:
        """Put together what each network says of a recording."""
        whole = self.tagger.finished([scores for scores, _ in heard])[0]
        parts = [
            network.timed(cut.starts, timed, prepared.duration_s)
            for network, cut, (_, timed) in zip(self.tagger.networks, prepared.cuts, heard, strict=True)
            if timed is not None
        ]
        return Scored(whole, prepared.duration_s, self.tagger.joined(parts) if parts else None)


def _cut(network: Tagger, tta: TtaSpec | None, waveform: Waveform, *, timeline: bool) -> Cut:
    samples = resample(waveform.samples, waveform.sample_rate, network.sample_rate)
    clip, weight = clip_waveform(samples, network.picture_spec), network.bundle.spec.windows_weight
    known = network.network_scores(clip, tta) if tta is not None and tta.n else None
    windows = network.cut(clip, weight) if known is None else None
    timed = None
    if timeline:
        is_same = windows is not None and weight == 1 and len(clip) == len(samples)
        timed = windows if is_same else network.cut(samples)
    weights = np.array(network.starts_and_weights(clip, weight)[1], dtype=np.float32)
    return Cut(windows, weights, known, timed, np.array(network.starts_and_weights(samples, 1.0)[0]))


def _heard(network: Tagger, cuts: Sequence[Cut]) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """What a network says of each recording, (1, n_labels), and of its timeline's windows, (n_windows, n_labels)."""
    parts = [part for cut in cuts for part in cut.parts]
    scores = network.score_windows(parts[0] if len(parts) == 1 else np.concatenate(parts)) if parts else np.empty(0)
    of_parts = iter(np.split(scores, np.cumsum([len(part) for part in parts])[:-1]) if parts else [])
    heard = []
    for cut in cuts:
        own = [next(of_parts) for _ in cut.parts]
        # rounded weights may sum to a little more than 1
        whole = cut.known if cut.known is not None else (cut.weights @ own[0]).clip(0, 1)[None]
        heard.append((whole, None if cut.timed is None else own[-1]))
    return heard
