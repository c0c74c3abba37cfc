"""A tagger as a server uses it: recordings are prepared one by one, and scored some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.audio.decode import resample
from earmark.audio.picture import clip_waveform, scored_windows
from earmark.errors import BundleError
from earmark.evaluation.calibration import calibrated
from earmark.serving.recordings import Recording
from earmark.tagging.tagger import Tagger, Timeline


@dataclass(frozen=True)
class Scored:
    """What a network says of a recording.

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
class Prepared:
    """A recording as a network takes it.

    Attributes
    ----------
    clip, weights
        Windows of the clip, and what each counts in its mean, (n_windows,) float32.
    timed, starts_s
        Windows of the timeline, the clip's own where they are the same, and where they begin, (n_windows,) float64 in
        seconds; None where no timeline is asked for.
    duration_s
        Of the recording, in seconds.
    """

    clip: np.ndarray
    weights: np.ndarray
    timed: np.ndarray | None
    starts_s: np.ndarray
    duration_s: float

    @property
    def parts(self) -> list[np.ndarray]:
        """Windows to be scored."""
        return [self.clip] if self.timed is None or self.timed is self.clip else [self.clip, self.timed]

    @property
    def n_windows(self) -> int:
        """How many they are."""
        return sum(map(len, self.parts))


class Scorer:
    """Scores recordings with a tagger.

    Several recordings share a call of the network where the tagger has one network; those of a combination are heard
    one by one.

    Parameters
    ----------
    tagger
        Best loaded with one thread, as several scorings go on at a time.

    Attributes
    ----------
    highest_rate
        In Hz: what lies above half of it is not heard.
    """

    def __init__(self, tagger: Tagger) -> None:
        self.tagger = tagger
        self.highest_rate = max(network.sample_rate for network in tagger.members or (tagger,))

    def prepare(self, recording: Recording, path: Path, *, timeline: bool) -> Prepared | Scored:
        """Cut a recording into windows; of a combination, score it at once.

        Parameters
        ----------
        recording
            What was decoded.
        path
            Its file.
        timeline
            Whether scores over time are wanted.
        """
        if self.tagger.members:
            scores = self.tagger.scores(recording.samples, recording.sample_rate)
            return Scored(scores, recording.duration_s, self.tagger.timeline(path) if timeline else None)
        waveform = resample(recording.samples, recording.sample_rate, self.tagger.sample_rate)
        clip, weight = clip_waveform(waveform, self.tagger.picture_spec), self.tagger.bundle.spec.windows_weight
        windows, weights = self.tagger.cut(clip, weight), np.array(self._windows(clip, weight)[1], dtype=np.float32)
        timed = None
        if timeline:
            is_same = weight == 1 and len(clip) == len(waveform)
            timed = windows if is_same else self.tagger.cut(waveform, 1.0)
        starts_s = np.array(self._windows(waveform, 1.0)[0]) / self.tagger.picture_spec.log_mel.frame_rate
        return Prepared(windows, weights, timed, starts_s, recording.duration_s)

    def _windows(self, waveform: np.ndarray, weight: float) -> tuple[list[int], list[float]]:
        """First frames and weights of the windows that `Tagger.cut` gives."""
        spec = self.tagger.bundle.spec
        n_frames = self.tagger.picture_spec.log_mel.n_frames(len(waveform))
        return scored_windows(n_frames, spec.window_frames, spec.hop_frames, weight)

    def score(self, batch: Sequence[Prepared]) -> list[Scored | BundleError]:
        """Score recordings together; where the network fails, each by itself, so that one does not harm the others."""
        try:
            return list(self._together(batch))
        except BundleError as error:
            return [error] if len(batch) == 1 else [self.score([one])[0] for one in batch]

    def _together(self, batch: Sequence[Prepared]) -> list[Scored]:
        windows = [part for prepared in batch for part in prepared.parts]
        scores = self.tagger.score_windows(windows[0] if len(windows) == 1 else np.concatenate(windows))
        parts = iter(np.split(scores, np.cumsum([len(part) for part in windows])[:-1]))
        scored = []
        for prepared in batch:
            own = [next(parts) for _ in prepared.parts]
            whole = self._finished((prepared.weights @ own[0]).clip(0, 1)[None])[0]
            timeline = None if prepared.timed is None else self._timeline(prepared, own[-1])
            scored.append(Scored(whole, prepared.duration_s, timeline))
        return scored

    def _timeline(self, prepared: Prepared, scores: np.ndarray) -> Timeline:
        window_s = self.tagger.bundle.spec.window_frames / self.tagger.picture_spec.log_mel.frame_rate
        ends_s = np.minimum(prepared.starts_s + window_s, prepared.duration_s)
        return Timeline(self.tagger.labels, prepared.starts_s, ends_s, self._finished(scores))

    def _finished(self, scores: np.ndarray) -> np.ndarray:
        calibration = self.tagger.bundle.spec.calibration
        return scores if calibration is None else calibrated(calibration, scores)
