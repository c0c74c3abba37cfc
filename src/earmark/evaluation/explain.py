"""Which part of a spectrogram made a tag, by occlusion: a patch is turned down, and the label's logit falls or not.

M. D. Zeiler, R. Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014, section 4.2, on sound: a
patch of bands and frames is not painted over but made quieter, which is something that a network has heard before. What
a point of the map is worth is the mean, over the patches that cover it, of what the logit of the clip's score lost,

    m(b, t) = mean over patches P with (b, t) in P of max(0, logit s(x) - logit s(x with P turned down)).

Nothing is asked of a model but scores, so this is done with any bundle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import ShortTimeFFT

from earmark.audio.logmel import log_mel
from earmark.audio.mel import band_edges_hz
from earmark.audio.picture import PictureSpec, clip_waveform, normalizer, scored_windows, windows_at
from earmark.audio.waveform_windows import waveform_windows
from earmark.bundle import INPUT_NAME, Bundle
from earmark.errors import AudioError

LONGEST_S = 60.0
"""Longer recordings are to be cut, since each patch is a scoring of its own."""

PATCH_S, PATCH_SHARE_OF_BANDS = 0.3, 1 / 8
MOST_PATCHES_OVER_TIME = 60
ATTENUATION_DB = 40.0
WINDOWS_PER_CALL = 8
SMALLEST_SCORE = 1e-7
"""Scores nearer to 0 or 1 are taken as this near, since float32 has no finer ones near 1."""


@dataclass(frozen=True)
class Explanation:
    """What made a label's score.

    Parameters
    ----------
    label
        Its name.
    score
        Of the whole clip, in [0, 1].
    method
        ``"occlusion"`` or ``"Grad-CAM"``.
    spectrogram
        (n_mels, n_frames) float32 of the clip, in the front end's unit.
    importance
        (n_mels, n_frames) float32, 0 or more, in logits; all 0 where nothing in the clip speaks for the label.
    """

    label: str
    score: float
    method: str
    spectrogram: np.ndarray
    importance: np.ndarray


@dataclass(frozen=True)
class Patch:
    """Bands and frames that are turned down together: from the first up to the one behind the last."""

    first_band: int
    last_band: int
    first_frame: int
    last_frame: int


def occlude(
    bundle: Bundle,
    front_end: PictureSpec,
    waveform: np.ndarray,
    label: str,
    *,
    patch_s: float = PATCH_S,
    patch_share: float = PATCH_SHARE_OF_BANDS,
) -> Explanation:
    """Explain a label's score by turning down one patch of the clip after the other.

    Parameters
    ----------
    bundle
        Of either input.
    front_end
        The bundle's.
    waveform
        (n_samples,) floating point at the front end's rate, `LONGEST_S` at the most.
    label
        One of the bundle's.
    patch_s
        Length of a patch in seconds, above 0; longer where there would be more than `MOST_PATCHES_OVER_TIME`. Patches
        lie half of it apart.
    patch_share
        Height of a patch as a share of all bands, above 0 and at most 1.

    Returns
    -------
    Explanation
        Of the clip as the front end trims and lengthens it.

    Raises
    ------
    AudioError
        When the waveform has no sample, or is too long.
    LabelError
        When the bundle does not know the label.
    """
    column = bundle.vocabulary.index(label)
    clip = clip_waveform(waveform, front_end)
    check_duration(len(clip) / front_end.log_mel.sample_rate)
    scorer = (_PictureScorer if bundle.spec.input == INPUT_NAME else _WaveformScorer)(bundle, front_end, clip, column)
    spectrogram = scorer.spectrogram
    whole = scorer.score(None)
    lost, times = np.zeros(spectrogram.shape), np.zeros(spectrogram.shape)
    for patch in patches(spectrogram.shape, front_end.log_mel.frame_rate, patch_s, patch_share):
        place = np.s_[patch.first_band : patch.last_band, patch.first_frame : patch.last_frame]
        lost[place] += max(0.0, _logit(whole) - _logit(scorer.score(patch)))
        times[place] += 1
    return Explanation(label, whole, "occlusion", spectrogram, (lost / times).astype(np.float32))


def check_duration(duration_s: float) -> None:
    """Raise an `AudioError` where a clip is longer than `LONGEST_S`."""
    if duration_s > LONGEST_S:
        raise AudioError(
            f"the recording lasts {duration_s:.1f} s; what made a tag is shown in {LONGEST_S:g} s at the most; name a "
            "part with --start and --end"
        )


def patches(shape: tuple[int, ...], frame_rate: float, patch_s: float, patch_share: float) -> Iterator[Patch]:
    """Cover an (n_mels, n_frames) spectrogram with patches that lie half their size apart; sizes as in `occlude`."""
    n_mels, n_frames = shape
    height = max(2, round(patch_share * n_mels))
    width = max(2, round(patch_s * frame_rate), 2 * -(-n_frames // MOST_PATCHES_OVER_TIME))
    for frame in _starts(n_frames, width):
        for band in _starts(n_mels, height):
            yield Patch(band, min(n_mels, band + height), frame, min(n_frames, frame + width))


def _starts(n: int, size: int) -> list[int]:
    """Where pieces begin that lie half a size apart and cover n places; all places but those at the ends twice."""
    return list(range(0, max(1, n - size), (size + 1) // 2)) + ([n - size] if n > size else [])


def turned_down(levels: np.ndarray, attenuation: float) -> np.ndarray:
    """Lower levels, but to no less than the clip's median, or than so much below its loudest where that is lower.

    A recording has a background, and no holes of digital silence in it.
    """
    quiet = min(float(np.median(levels)), float(levels.max()) - attenuation)
    return np.minimum(levels, np.maximum(levels - attenuation, quiet))


def _logit(score: float) -> float:
    bounded = min(max(score, SMALLEST_SCORE), 1 - SMALLEST_SCORE)
    return float(np.log(bounded) - np.log1p(-bounded))


class _Scorer:
    """Scores a clip for one label, whole or with a patch turned down; windows that a patch is not in are kept."""

    def __init__(self, bundle: Bundle, front_end: PictureSpec, clip: np.ndarray, column: int) -> None:
        self.bundle, self.front_end, self.clip, self.column = bundle, front_end, clip, column
        self.spectrogram = log_mel(clip, front_end.log_mel)
        spec, n_frames = bundle.spec, self.spectrogram.shape[1]
        starts, weights = scored_windows(n_frames, spec.window_frames, spec.hop_frames, spec.windows_weight)
        self.starts, self.weights = np.array(starts), np.array(weights)
        self.whole = self._window_scores(self.cut(None))

    def cut(self, patch: Patch | None) -> np.ndarray:
        """All windows of the clip, as the network takes them."""
        raise NotImplementedError

    def score(self, patch: Patch | None) -> float:
        """The clip's score in [0, 1]."""
        scores = self.whole.copy()
        if patch is not None:
            reach = self._reach()
            ends = self.starts + self.bundle.spec.window_frames + reach
            touched = (self.starts - reach < patch.last_frame) & (patch.first_frame < ends)
            scores[touched] = self._window_scores(self.cut(patch)[touched])
        return float(np.clip(self.weights @ scores, 0, 1))

    def _reach(self) -> int:
        """Frames beyond a window that it hears."""
        return 0

    def _window_scores(self, cut: np.ndarray) -> np.ndarray:
        calls = range(0, len(cut), WINDOWS_PER_CALL)
        return np.concatenate([self.bundle.scores(cut[i : i + WINDOWS_PER_CALL])[:, self.column] for i in calls])


class _PictureScorer(_Scorer):
    """For networks that take pictures: the patch is turned down in the spectrogram, normalised as the whole is."""

    def __init__(self, bundle: Bundle, front_end: PictureSpec, clip: np.ndarray, column: int) -> None:
        spectrogram = log_mel(clip, front_end.log_mel)
        self.normal = normalizer(spectrogram, front_end)
        self.turned_down = turned_down(spectrogram, ATTENUATION_DB / front_end.log_mel.db_per_unit)
        super().__init__(bundle, front_end, clip, column)

    def cut(self, patch: Patch | None) -> np.ndarray:
        spectrogram, spec = self.spectrogram, self.bundle.spec
        if patch is not None:
            place = np.s_[patch.first_band : patch.last_band, patch.first_frame : patch.last_frame]
            spectrogram = spectrogram.copy()
            spectrogram[place] = self.turned_down[place]
        starts = self.starts.tolist()
        return windows_at(spectrogram, self.front_end, spec.window_frames, starts, self.normal)


class _WaveformScorer(_Scorer):
    """For networks that take waveforms: the patch is turned down in a short-time Fourier transform, and played back."""

    def __init__(self, bundle: Bundle, front_end: PictureSpec, clip: np.ndarray, column: int) -> None:
        spec = front_end.log_mel
        self.edges_hz = band_edges_hz(spec.n_mels, spec.fmin, spec.fmax, spec.mel_scale)
        n_segment = min(spec.n_fft, len(clip))
        self.transform = ShortTimeFFT.from_window("hann", spec.sample_rate, n_segment, n_segment - -(-n_segment // 4))
        self.transformed = self.transform.stft(clip)
        levels = 20 * np.log10(np.abs(self.transformed) + np.finfo(np.float32).tiny)
        self.gains = 10 ** ((turned_down(levels, ATTENUATION_DB) - levels) / 20)
        super().__init__(bundle, front_end, clip, column)

    def cut(self, patch: Patch | None) -> np.ndarray:
        clip, spec = self.clip, self.front_end.log_mel
        if patch is not None:
            # half-way between the peaks of the outer bands and their neighbours
            lowest, highest = (np.mean(self.edges_hz[i : i + 2]) for i in (patch.first_band, patch.last_band))
            bins = (self.transform.f >= lowest) & (self.transform.f <= highest)
            times = self.transform.t(len(clip)) * spec.frame_rate
            frames = (times >= patch.first_frame - 0.5) & (times < patch.last_frame - 0.5)
            changed, place = self.transformed.copy(), np.ix_(bins, frames)
            changed[place] *= self.gains[place]
            clip = self.transform.istft(changed, k1=len(clip)).astype(np.float32)
        return waveform_windows(clip, spec, self.bundle.spec.window_frames)[self.starts]

    def _reach(self) -> int:
        spec = self.front_end.log_mel
        return -(-spec.n_fft // spec.hop_length)
