"""Mel scales and their filter banks.

Three scales are in use, and two ways to draw a triangle:

- Slaney's, librosa's default: linear below 1 kHz, logarithmic above. M. Slaney, *Auditory Toolbox*, Interval Research
  Technical Report 1998-010.
- HTK's: 2595 log10(1 + f / 700). S. Young et al., *The HTK Book*, version 3.4, equation 5.13. Both of these have
  triangles that are straight over Hz, as librosa draws them.
- Kaldi's: 1127 ln(1 + f / 700), the same curve, with triangles that are straight over mels, and without the highest
  bin: `MelBanks` in Kaldi's `src/feat/mel-computations.cc` (D. Povey et al., *The Kaldi Speech Recognition Toolkit*,
  ASRU 2011). EfficientAT's checkpoints were learned with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from earmark.errors import RecipeError

SLANEY_HZ_PER_MEL = 200.0 / 3
SLANEY_LOG_FROM_HZ = 1000.0
SLANEY_LOG_FROM_MEL = SLANEY_LOG_FROM_HZ / SLANEY_HZ_PER_MEL
SLANEY_LOG_STEP = np.log(6.4) / 27.0
HTK_FACTOR = 2595.0
KALDI_FACTOR = 1127.0
BREAK_HZ = 700.0

Curve = Callable[[np.ndarray], np.ndarray]


def _hz_to_slaney(hz: np.ndarray) -> np.ndarray:
    above = SLANEY_LOG_FROM_MEL + np.log(np.maximum(hz, SLANEY_LOG_FROM_HZ) / SLANEY_LOG_FROM_HZ) / SLANEY_LOG_STEP
    return np.where(hz < SLANEY_LOG_FROM_HZ, hz / SLANEY_HZ_PER_MEL, above)


def _slaney_to_hz(mel: np.ndarray) -> np.ndarray:
    above = SLANEY_LOG_FROM_HZ * np.exp(SLANEY_LOG_STEP * (np.maximum(mel, SLANEY_LOG_FROM_MEL) - SLANEY_LOG_FROM_MEL))
    return np.where(mel < SLANEY_LOG_FROM_MEL, mel * SLANEY_HZ_PER_MEL, above)


@dataclass(frozen=True)
class MelScale:
    """A scale of pitch: both directions, and over which axis its triangles are straight."""

    from_hz: Curve
    to_hz: Curve
    straight_over_mels: bool = False
    has_highest_bin: bool = True


SCALES = {
    "slaney": MelScale(_hz_to_slaney, _slaney_to_hz),
    "htk": MelScale(
        lambda hz: HTK_FACTOR * np.log10(1 + hz / BREAK_HZ), lambda mel: BREAK_HZ * (10 ** (mel / HTK_FACTOR) - 1)
    ),
    "kaldi": MelScale(
        lambda hz: KALDI_FACTOR * np.log1p(hz / BREAK_HZ),
        lambda mel: BREAK_HZ * np.expm1(mel / KALDI_FACTOR),
        straight_over_mels=True,
        has_highest_bin=False,
    ),
}
"""Every scale that a front end may name."""


def hz_to_mel(hz: float | np.ndarray, scale: str = "slaney") -> np.ndarray:
    """Frequencies in Hz, 0 or above, on a mel scale; float64, same shape."""
    return SCALES[scale].from_hz(np.asarray(hz, dtype=np.float64))


def mel_to_hz(mel: float | np.ndarray, scale: str = "slaney") -> np.ndarray:
    """Inverse of `hz_to_mel`, in Hz."""
    return SCALES[scale].to_hz(np.asarray(mel, dtype=np.float64))


def band_edges_hz(n_mels: int, fmin: float, fmax: float, scale: str = "slaney") -> np.ndarray:
    """(n_mels + 2,) frequencies in Hz, equally far apart in mels: band b begins at b, peaks at b + 1, ends at b + 2."""
    return mel_to_hz(np.linspace(hz_to_mel(fmin, scale), hz_to_mel(fmax, scale), n_mels + 2), scale)


def filter_bank(
    *, sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float, scale: str = "slaney", norm: str = "area"
) -> np.ndarray:
    """Triangular filters over the bins of a transform.

    Parameters
    ----------
    sample_rate
        In Hz.
    n_fft
        Length of the transform, in samples.
    n_mels
        Number of bands.
    fmin, fmax
        Where the lowest band begins and the highest ends, in Hz.
    scale
        A name in `SCALES`.
    norm
        ``"area"``: every triangle has unit area over Hz. ``"peak"``: every triangle's peak is 1.

    Returns
    -------
    np.ndarray
        (n_mels, n_fft // 2 + 1) float64; in 1/Hz for ``"area"``, else without a unit.

    Raises
    ------
    RecipeError
        When a band is so narrow that no bin of the transform falls into it.
    """
    mel_scale = SCALES[scale]
    edges_hz = band_edges_hz(n_mels, fmin, fmax, scale)
    bins_hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    edges, bins = edges_hz, bins_hz
    if mel_scale.straight_over_mels:
        edges, bins = mel_scale.from_hz(edges_hz), mel_scale.from_hz(bins_hz)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(0, np.minimum(rising, falling))
    if not mel_scale.has_highest_bin:
        weights[:, -1] = 0
    if norm == "area":
        weights *= (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    empty = np.flatnonzero(weights.max(axis=1) == 0)
    if len(empty):
        raise RecipeError(
            f"{len(empty)} of {n_mels} bands hold no bin of the transform (the first at "
            f"{edges_hz[empty[0] + 1]:.0f} Hz); use fewer n_mels or a larger n_fft than {n_fft}"
        )
    return weights
