"""Pictures of sound: a log-mel spectrogram, cut into windows, normalised, as the channels that a network sees.

A clip goes through four steps, each a choice in `PictureSpec`: silence at its ends is trimmed and a short clip
lengthened; its spectrogram is cut into windows; their values are normalised; and each window becomes one channel or
three. Training does the same to whole batches on its device, and tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np

from earmark.audio.clip import lengthen, trim_silence
from earmark.audio.logmel import LogMelSpec, checked, log_mel

N_CHANNELS = {"grey": 1, "colour": 3, "delta": 3, "frequency-map": 2}
"""Every name that `PictureSpec.channels` takes, with how many channels it makes."""

DELTA_REACH = 4
"""Frames on either side that a slope is measured over, as librosa's default of nine in all."""

SMALLEST_DEVIATION = 1e-3
"""A clip of one level throughout is not divided by its deviation of 0."""


class PictureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From a waveform to what a network sees.

    Attributes
    ----------
    log_mel
        The spectrogram, with all its bands (for colour, three times those of a channel).
    channels
        ``"grey"``: the spectrogram. ``"colour"``: its low third of bands as red, middle third as green, high third as
        blue. ``"delta"``: the spectrogram, its slope over time, and the slope of that. ``"frequency-map"``: the
        spectrogram, and where each row lies, from -1 for the lowest band to 1 for the highest, so that a network that
        moves over bands as it does over time can tell them apart.
    normalization
        ``"affine"``: subtract `mean` and divide by `std`, the same for all clips. ``"band"``: the same with a mean and
        a deviation for each band, which training measures over its clips. ``"clip"``: with each clip's own mean and
        deviation. ``"minmax"``: each clip's range, from its maximum down to `top_db` below or its minimum, becomes 0
        to 1; the contest entry's way.
    mean, std
        For ``"affine"`` one number each, for ``"band"`` one a band, in the spectrogram's unit.
    top_db
        For ``"minmax"``, in dB.
    n_levels
        For ``"minmax"``: values are rounded to so many equal steps, 256 for an 8-bit image; 0 for no rounding.
    trim_top_db
        Silence before and after a clip, more than this below its loudest frame, is cut off; in dB, 0 for no trimming.
    min_duration_s
        Clips shorter than this are centred in zeros, in seconds; 0 for no such lengthening.
    short
        What fills a window that is longer than its clip: ``"constant"`` silence, ``"wrap"`` the clip again and again,
        ``"either"`` one or the other by chance in training, and silence in use.
    """

    log_mel: LogMelSpec = LogMelSpec()
    channels: Literal["grey", "colour", "delta", "frequency-map"] = "grey"
    normalization: Literal["affine", "band", "clip", "minmax"] = "affine"
    mean: float | tuple[float, ...] = -40.0
    std: Annotated[float, msgspec.Meta(gt=0)] | tuple[Annotated[float, msgspec.Meta(gt=0)], ...] = 28.0
    top_db: Annotated[float, msgspec.Meta(gt=0)] = 80.0
    n_levels: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 0
    trim_top_db: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    min_duration_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    short: Literal["constant", "wrap", "either"] = "constant"

    def __post_init__(self) -> None:
        if self.channels == "colour" and self.log_mel.n_mels % 3:
            raise ValueError(f"colour needs a multiple of 3 bands; got {self.log_mel.n_mels}")
        if self.n_levels == 1:
            raise ValueError("n_levels is 1, which leaves nothing to see; make it 2 or more, or 0 for no rounding")
        if self.n_levels and self.normalization != "minmax":
            raise ValueError(f"n_levels goes with normalization 'minmax' alone; got '{self.normalization}'")
        sizes = {len(part) for part in (self.mean, self.std) if isinstance(part, tuple)}
        if sizes and (self.normalization != "band" or sizes != {self.log_mel.n_mels}):
            raise ValueError(
                f"mean and std hold {sorted(sizes)} numbers; expected one each, or for normalization 'band' one for "
                f"each of the {self.log_mel.n_mels} bands"
            )

    @property
    def n_channels(self) -> int:
        """Channels of a picture."""
        return N_CHANNELS[self.channels]

    @property
    def height(self) -> int:
        """Rows of one channel."""
        return self.log_mel.n_mels // 3 if self.channels == "colour" else self.log_mel.n_mels


def clip_log_mel(waveform: np.ndarray, spec: PictureSpec) -> np.ndarray:
    """Trim and lengthen a clip as its front end says, and make its spectrogram.

    Parameters
    ----------
    waveform
        (n_samples,) at ``spec.log_mel.sample_rate``.
    spec
        The front end.

    Returns
    -------
    np.ndarray
        (n_mels, n_frames) float32, as `earmark.audio.logmel.log_mel` gives it.

    Raises
    ------
    AudioError
        When the waveform is not one-dimensional or has no sample.
    """
    return log_mel(clip_waveform(waveform, spec), spec.log_mel)


def clip_waveform(waveform: np.ndarray, spec: PictureSpec) -> np.ndarray:
    """Trim and lengthen a clip as its front end says; parameters and errors as in `clip_log_mel`.

    Returns
    -------
    np.ndarray
        (n_samples,) float32, at least one.
    """
    waveform = checked(waveform)
    if spec.trim_top_db:
        waveform = trim_silence(waveform, top_db=spec.trim_top_db)
    n_least = round(spec.min_duration_s * spec.log_mel.sample_rate)
    if len(waveform) < n_least:
        waveform = lengthen(waveform, n_least, "centre")
    return waveform


def clip_front_end(spec: PictureSpec) -> PictureSpec:
    """The part of a front end that `clip_log_mel` depends on, with everything after it as by default.

    Two front ends that are equal in this make the same spectrograms, whatever pictures they make of them.
    """
    return PictureSpec(log_mel=spec.log_mel, trim_top_db=spec.trim_top_db, min_duration_s=spec.min_duration_s)


def normalizer(spectrogram: np.ndarray, spec: PictureSpec) -> tuple[np.ndarray, np.ndarray]:
    """Measure what normalises a clip: ``(spectrogram - shift) * factor``.

    Parameters
    ----------
    spectrogram
        (n_mels, n_frames), the whole clip's.
    spec
        The front end.

    Returns
    -------
    shift, factor
        (n_mels,) or (1,) float32 each, in the spectrogram's unit and in one over it.
    """
    levels = Levels()
    if spec.normalization in {"clip", "minmax"}:  # the others need not be measured
        levels.add(spectrogram)
    return levels.normalizer(spec)


class Levels:
    """Mean, deviation and range of a spectrogram that comes in parts, for `normalizer`.

    Examples
    --------
    >>> levels = Levels()
    >>> levels.add(np.array([[-60.0, -20.0]]))
    >>> levels.add(np.array([[-40.0]]))
    >>> shift, factor = levels.normalizer(PictureSpec(normalization="minmax"))
    >>> float(shift[0]), float(1 / factor[0])
    (-60.0, 40.0)
    """

    def __init__(self) -> None:
        self._n, self._mean, self._squares = 0, 0.0, 0.0
        self._lowest, self._highest = np.inf, -np.inf

    def add(self, spectrogram: np.ndarray) -> None:
        """Take the next part, (n_mels, n_frames), not empty.

        T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
        variances", COMPSTAT 1982: what parts come to together.
        """
        n, mean = spectrogram.size, float(spectrogram.mean(dtype=np.float64))
        apart, n_all = mean - self._mean, self._n + n
        self._squares += n * float(spectrogram.var(dtype=np.float64)) + apart**2 * self._n * n / n_all
        self._mean += apart * n / n_all
        self._n = n_all
        self._lowest = min(self._lowest, float(spectrogram.min()))
        self._highest = max(self._highest, float(spectrogram.max()))

    def normalizer(self, spec: PictureSpec) -> tuple[np.ndarray, np.ndarray]:
        """What normalises the whole; see `normalizer`."""
        if spec.normalization in {"affine", "band"}:
            shift, scale = np.atleast_1d(spec.mean), np.atleast_1d(spec.std)
        elif spec.normalization == "clip":
            deviation = float(np.sqrt(self._squares / self._n))
            shift, scale = np.atleast_1d(self._mean), np.atleast_1d(max(deviation, SMALLEST_DEVIATION))
        else:
            lowest = max(self._lowest, self._highest - spec.top_db / spec.log_mel.db_per_unit)
            spread = self._highest - lowest  # a clip of one level throughout, silence for one, is 0 everywhere
            shift, scale = np.atleast_1d(lowest), np.atleast_1d(spread if spread > SMALLEST_DEVIATION else np.inf)
        return shift.astype(np.float32), (1.0 / scale).astype(np.float32)


def band_statistics(spectrograms: list[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each band over all frames of some (n_mels, n_frames) spectrograms."""
    n_frames = sum(s.shape[1] for s in spectrograms)
    mean = sum(s.sum(axis=1, dtype=np.float64) for s in spectrograms) / n_frames
    squares = sum(np.square(s - mean[:, None], dtype=np.float64).sum(axis=1) for s in spectrograms)
    std = np.maximum(np.sqrt(squares / n_frames), SMALLEST_DEVIATION)
    return tuple(mean.tolist()), tuple(std.tolist())


def window_starts(n_frames: int, window_frames: int, hop_frames: int) -> list[int]:
    """First frames of the windows that cover a clip: one each hop, the last one ending with the clip.

    A clip no longer than a window has one, at 0.
    """
    if n_frames <= window_frames:
        return [0]
    starts = list(range(0, n_frames - window_frames, hop_frames))
    return [*starts, n_frames - window_frames]


def scored_windows(
    n_frames: int, window_frames: int, hop_frames: int, windows_weight: float = 1.0
) -> tuple[list[int], list[float]]:
    """Windows that a clip is scored by, and what each one's scores count for.

    Parameters
    ----------
    n_frames
        Of the clip.
    window_frames, hop_frames
        Length of a window and step from one to the next.
    windows_weight
        Share of the mean over the windows of `window_starts`; the rest is the share of the window in the clip's
        middle.

    Returns
    -------
    starts, weights
        First frames, and weights whose sum is 1.

    Examples
    --------
    >>> scored_windows(10, 4, 3, 0.5)
    ([0, 3, 6, 3], [0.16666666666666666, 0.16666666666666666, 0.16666666666666666, 0.5])
    """
    starts = window_starts(n_frames, window_frames, hop_frames)
    if windows_weight == 1 or len(starts) == 1:
        return starts, [1 / len(starts)] * len(starts)
    weights = [windows_weight / len(starts)] * len(starts)
    return [*starts, (n_frames - window_frames) // 2], [*weights, 1 - windows_weight]


def windows(
    spectrogram: np.ndarray, spec: PictureSpec, window_frames: int, hop_frames: int, windows_weight: float = 1.0
) -> np.ndarray:
    """Cut a clip's spectrogram into the pictures that a network sees.

    Parameters
    ----------
    spectrogram
        (n_mels, n_frames), from `clip_log_mel`.
    spec
        The front end.
    window_frames, hop_frames
        Length of a window and step from one to the next.
    windows_weight
        Below 1, the window in the middle is cut as well; see `scored_windows`.

    Returns
    -------
    np.ndarray
        (n_windows, n_channels, height, window_frames) float32.
    """
    starts, _ = scored_windows(spectrogram.shape[1], window_frames, hop_frames, windows_weight)
    return windows_at(spectrogram, spec, window_frames, starts, normalizer(spectrogram, spec))


def windows_at(
    spectrogram: np.ndarray,
    spec: PictureSpec,
    window_frames: int,
    starts: Sequence[int],
    normal: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Cut pictures from a clip's spectrogram where they are wanted.

    Parameters
    ----------
    spectrogram
        (n_mels, n_frames), from `clip_log_mel`.
    spec
        The front end.
    window_frames
        Length of a window.
    starts
        First frames; what a window has before the clip's first and behind its last is filled as the front end says.
    normal
        From `normalizer`.

    Returns
    -------
    np.ndarray
        (n_windows, n_channels, height, window_frames) float32.
    """
    n_before = max(0, -min(starts))
    n_behind = max(0, max(starts) + window_frames - spectrogram.shape[1])
    if n_before or n_behind:
        filled = {"mode": "wrap"} if spec.short == "wrap" else {"constant_values": spec.log_mel.silence}
        spectrogram = np.pad(spectrogram, [(0, 0), (n_before, n_behind)], **filled)
    cut = np.stack([spectrogram[:, start + n_before :][:, :window_frames] for start in starts])
    shift, factor = normal
    cut -= shift[:, None]
    cut *= factor[:, None]
    return to_channels(_bounded(cut, spec), spec)


def picture(waveform: np.ndarray, spec: PictureSpec) -> np.ndarray:
    """Make one picture of a whole clip.

    Parameters
    ----------
    waveform
        (n_samples,) at ``spec.log_mel.sample_rate``.
    spec
        The front end.

    Returns
    -------
    np.ndarray
        (n_channels, height, n_frames) float32.
    """
    spectrogram = clip_log_mel(waveform, spec)
    return windows(spectrogram, spec, spectrogram.shape[1], 1)[0]


def _bounded(normalized: np.ndarray, spec: PictureSpec) -> np.ndarray:
    if spec.normalization != "minmax":
        return normalized
    np.clip(normalized, 0, 1, out=normalized)
    if spec.n_levels:
        np.rint(normalized * (spec.n_levels - 1), out=normalized)
        normalized /= spec.n_levels - 1
    return normalized


def to_channels(normalized: np.ndarray, spec: PictureSpec) -> np.ndarray:
    """Make channels of (n_windows, n_mels, n_frames): (n_windows, n_channels, height, n_frames) float32."""
    n, n_mels, n_frames = normalized.shape
    if spec.channels == "colour":
        return normalized.reshape(n, 3, n_mels // 3, n_frames)
    if spec.channels == "delta":
        first = delta(normalized)
        return np.stack([normalized, first, delta(first)], axis=1)
    if spec.channels == "frequency-map":
        rows = np.linspace(-1, 1, n_mels, dtype=np.float32)[:, None]
        return np.stack([normalized, np.broadcast_to(rows, normalized.shape)], axis=1)
    return normalized[:, None]


def delta(values: np.ndarray) -> np.ndarray:
    """Slope over time, by least squares over `DELTA_REACH` frames on either side.

    S. Young et al., *The HTK Book*, version 3.4, equation 5.16; the first and last frames are repeated beyond the ends.

    Parameters
    ----------
    values
        (..., n_frames) float32.

    Returns
    -------
    np.ndarray
        The same shape, in the values' unit per frame.
    """
    from scipy.ndimage import correlate1d  # only where it is needed, for a quick start

    return correlate1d(values, delta_weights(), axis=-1, mode="nearest")


def delta_weights() -> np.ndarray:
    """(2 `DELTA_REACH` + 1,) float32 weights whose correlation with a signal is its slope."""
    steps = np.arange(-DELTA_REACH, DELTA_REACH + 1, dtype=np.float32)
    return steps / np.square(steps).sum()
