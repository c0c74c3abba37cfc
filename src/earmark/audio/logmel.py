"""Log-mel spectrograms in NumPy and SciPy: float32, in blocks that fit the cache.

The definition is librosa's: a centred short-time Fourier transform with a periodic Hann window and zeros outside the
clip, power, Slaney's mel scale with triangles of unit area, decibels.

    M[b, t] = 10 log10 max(floor, sum_k W[b, k] |sum_n w[n] x[t hop + n - n_fft/2] e^(-2 pi i k n / n_fft)|^2)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec
import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from earmark.errors import AudioError, RecipeError

FRAMES_PER_BLOCK = 64
"""Frames transformed at a time: a block of spectra then stays within a core's second-level cache."""

BANDS_PER_GROUP = 16
"""Bands filtered by one matrix product."""

LINEAR_HZ_PER_MEL = 200.0 / 3
LOG_START_HZ = 1000.0
LOG_START_MEL = LOG_START_HZ / LINEAR_HZ_PER_MEL
LOG_STEP = np.log(6.4) / 27.0


class LogMelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a log-mel spectrogram is made with.

    Attributes
    ----------
    sample_rate
        In Hz.
    n_fft
        Length of the transform and of its Hann window, in samples.
    hop_length
        Samples from one frame to the next.
    n_mels
        Number of bands.
    fmin, fmax
        Lowest and highest frequency of the bands, in Hz.
    floor_db
        Level below which everything is as good as silence, in dB of band power.
    """

    sample_rate: Annotated[int, msgspec.Meta(ge=1000, le=384_000)] = 32_000
    n_fft: Annotated[int, msgspec.Meta(ge=16, le=65_536)] = 1024
    hop_length: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 320
    n_mels: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64
    fmin: Annotated[float, msgspec.Meta(ge=0)] = 20.0
    fmax: Annotated[float, msgspec.Meta(gt=0)] = 16_000.0
    floor_db: Annotated[float, msgspec.Meta(ge=-200, le=0)] = -100.0

    def __post_init__(self) -> None:
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin {self.fmin:g} Hz and fmax {self.fmax:g} Hz do not fit: expected "
                f"fmin < fmax <= {self.sample_rate / 2:g} Hz, half the sample rate"
            )

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    def n_frames(self, n_samples: int) -> int:
        """Frames of a clip: one at its start, and one each hop after."""
        return 1 + n_samples // self.hop_length


def hz_to_mel(hz: float | np.ndarray) -> np.ndarray:
    """Slaney's mel scale: linear below 1 kHz, logarithmic above (Auditory Toolbox, Interval Research TR 1998-010)."""
    hz = np.asarray(hz, dtype=np.float64)
    log_part = LOG_START_MEL + np.log(np.maximum(hz, LOG_START_HZ) / LOG_START_HZ) / LOG_STEP
    return np.where(hz < LOG_START_HZ, hz / LINEAR_HZ_PER_MEL, log_part)


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Inverse of `hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    log_part = LOG_START_HZ * np.exp(LOG_STEP * (np.maximum(mel, LOG_START_MEL) - LOG_START_MEL))
    return np.where(mel < LOG_START_MEL, mel * LINEAR_HZ_PER_MEL, log_part)


@lru_cache(maxsize=16)
def mel_filters(spec: LogMelSpec) -> np.ndarray:
    """Triangular filters of unit area over the bins of the transform.

    Parameters
    ----------
    spec
        The front end.

    Returns
    -------
    np.ndarray
        (n_mels, n_fft // 2 + 1) float32, in 1/Hz.

    Raises
    ------
    RecipeError
        When a band is so narrow that no bin of the transform falls into it.
    """
    edges = mel_to_hz(np.linspace(hz_to_mel(spec.fmin), hz_to_mel(spec.fmax), spec.n_mels + 2))
    bins_hz = np.arange(spec.n_fft // 2 + 1) * spec.sample_rate / spec.n_fft
    rising = (bins_hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins_hz) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    empty = np.flatnonzero(weights.max(axis=1) == 0)
    if len(empty):
        raise RecipeError(
            f"{len(empty)} of {spec.n_mels} bands hold no bin of the transform (the first at "
            f"{edges[empty[0] + 1]:.0f} Hz); use fewer n_mels or a larger n_fft than {spec.n_fft}"
        )
    return weights.astype(np.float32)


@lru_cache(maxsize=16)
def _filter_groups(spec: LogMelSpec) -> list[tuple[slice, slice, np.ndarray]]:
    """Neighbouring bands, the bins that they share, and their weights there.

    The filter bank is nearly all zeros. A matrix product for each few bands over their own bins does a tenth of the
    whole product's work, in a tenth of the calls that one product a band would need.
    """
    filters, groups = mel_filters(spec), []
    for first in range(0, spec.n_mels, BANDS_PER_GROUP):
        bands = slice(first, min(first + BANDS_PER_GROUP, spec.n_mels))
        inside = np.flatnonzero(filters[bands].any(axis=0))
        bins = slice(int(inside[0]), int(inside[-1]) + 1)
        groups.append((bands, bins, np.ascontiguousarray(filters[bands, bins])))
    return groups


@lru_cache(maxsize=16)
def _window(n_fft: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def log_mel(waveform: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """Log-mel spectrogram of a clip.

    Parameters
    ----------
    waveform
        (n_samples,) at `spec.sample_rate`; at least one sample.
    spec
        The front end.

    Returns
    -------
    np.ndarray
        (n_mels, 1 + n_samples // hop_length) float32, in dB, at least `spec.floor_db`.

    Raises
    ------
    AudioError
        When the waveform is not one-dimensional or has no sample.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(32000) / 32000)
    >>> log_mel(tone, LogMelSpec()).shape
    (64, 101)
    """
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 1 or not len(waveform):
        raise AudioError(f"a waveform has shape {waveform.shape}; expected (n_samples,) with at least one; mix to mono")
    padded = np.pad(waveform, (spec.n_fft // 2, spec.n_fft - spec.n_fft // 2))
    frames = sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
    mel = np.empty((spec.n_mels, len(frames)), dtype=np.float32)
    for start in range(0, len(frames), FRAMES_PER_BLOCK):
        _mel_power(frames[start : start + FRAMES_PER_BLOCK], spec, mel[:, start : start + FRAMES_PER_BLOCK])
    np.maximum(mel, np.float32(10 ** (spec.floor_db / 10)), out=mel)
    np.log10(mel, out=mel)
    mel *= 10
    return mel


def _mel_power(frames: np.ndarray, spec: LogMelSpec, out: np.ndarray) -> None:
    spectrum = scipy.fft.rfft(frames * _window(spec.n_fft), axis=1, overwrite_x=True)
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    for bands, bins, weights in _filter_groups(spec):
        np.matmul(weights, power[:, bins].T, out=out[bands])
