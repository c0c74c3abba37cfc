"""Two clips laid over each other: whether they hold the same sound, from when to when, and how loud.

Cut, louder, resampled or encoded with loss, a recording keeps the phases of all that is loud in it. Another take of the
same thing does not: where two notes of one pitch agree, their other partials disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import irfft, next_fast_len, rfft

from earmark.data.check.landmarks import BINS, N_FFT, SAMPLE_RATE

SEARCH = 480
"""How far the right offset may be from the one that is looked for, to each side: 30 ms, in samples."""

SHORTEST_S = 0.15
"""What two clips must share, in seconds, to be compared at all."""

N_AROUND, STEPS = 32, 32
"""Samples to each side from which a correlation between samples is made, and places looked at between two of them."""

N_REFINED = 4
"""Samples to each side of the largest value among which the maximum is: for the highest sounds, it may be some away."""

EMPHASIS = 0.95
"""Of the filter y[n] = x[n] - 0.95 x[n - 1], which makes most sounds about as strong in high bands as in low ones."""

HOP_LENGTH = N_FFT // 4
FAINT = 10 ** (-55 / 20)
"""Magnitudes below this share of a clip's largest do not count: 55 dB, about as much as codecs keep."""

LEAST_CORRELATION = 0.05
"""Below this, by both filters, waveforms have nothing in common; the coherence, which costs more, is not asked for."""

TINY = 1e-12


@dataclass(frozen=True)
class Alignment:
    """How two clips lie to each other.

    Attributes
    ----------
    shift_s
        By how much the second clip begins later than was thought, in seconds.
    gain_db
        How much louder the second clip is where they overlap, in dB.
    correlation
        Normalised correlation of the waveforms, from -1 to 1; what is loudest decides, mostly low frequencies.
    coherence
        The same over the time and frequency bins of the spectrograms, with magnitudes compressed to the power of
        0.25, so that all that is heard counts: 1 for a copy, 0.4 to 0.95 for one encoded at low bit rates, below 0.35
        for two takes of the same thing.
    """

    shift_s: float
    gain_db: float
    correlation: float
    coherence: float


def align(first: np.ndarray, second: np.ndarray) -> Alignment | None:
    """Lay two clips over each other.

    Parameters
    ----------
    first
        (n_samples,) float32 at `SAMPLE_RATE`: what the first clip holds where the two are thought to overlap.
    second
        (n_samples + 2 x `SEARCH`,) float32: what the second clip holds there, and `SEARCH` samples before and behind,
        zeros outside the clip.

    Returns
    -------
    Alignment or None
        The better one of two: by the waveforms as they are, and by their higher frequencies. None when the waveforms
        have nothing in common, one of the clips is silent, or less than `SHORTEST_S` is given.
    """
    if len(first) < SHORTEST_S * SAMPLE_RATE or not first.any() or not second.any():
        return None
    emphasised = (samples[1:] - EMPHASIS * samples[:-1] for samples in (first, second))
    fits = [_best_fit(*emphasised), _best_fit(first, second)]
    if max(correlation for _, correlation in fits) < LEAST_CORRELATION:
        return None
    return max((_compare(first, second, lag) for lag, _ in fits), key=lambda alignment: alignment.coherence)


def _best_fit(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Where in `second` the first clip fits best, in samples and fractions of them, and their correlation there."""
    n_fft = next_fast_len(len(second), real=True)
    correlation = irfft(rfft(second, n_fft) * np.conj(rfft(first, n_fft)), n_fft)[: 2 * SEARCH + 1]
    best = int(correlation.argmax())
    around = np.arange(-N_AROUND, N_AROUND + 1)
    between = np.arange(-N_REFINED * STEPS, N_REFINED * STEPS + 1) / STEPS
    # what lies between samples of a band-limited correlation (Shannon), with a window in place of an endless sum
    interpolator = np.sinc(between[:, None] - around) * np.hanning(2 * N_AROUND + 3)[1:-1]
    values = interpolator @ np.pad(correlation, N_AROUND)[best : best + 2 * N_AROUND + 1]
    lag = float(np.clip(best + between[values.argmax()], 0, 2 * SEARCH))
    norm = np.linalg.norm(first) * np.linalg.norm(second[best : best + len(first)])
    return lag, float(values.max() / (norm + TINY))


def _compare(first: np.ndarray, second: np.ndarray, lag: float) -> Alignment:
    whole = min(int(lag), 2 * SEARCH - 1)
    shifted = _delayed(second[whole : whole + len(first) + 1], whole - lag)[: len(first)]
    norms = float(np.linalg.norm(first)), float(np.linalg.norm(shifted))
    return Alignment(
        shift_s=(SEARCH - lag) / SAMPLE_RATE,
        gain_db=20 * float(np.log10((norms[1] + TINY) / (norms[0] + TINY))),
        correlation=float(np.dot(first, shifted)) / (norms[0] * norms[1] + TINY),
        coherence=_coherence(_spectrogram(first), _spectrogram(shifted)),
    )


def _delayed(samples: np.ndarray, delay: float) -> np.ndarray:
    """Delay by a part of a sample, by turning phases; zeros behind keep the end from the beginning."""
    n_fft = next_fast_len(len(samples) + N_AROUND, real=True)
    turn = np.exp(-2j * np.pi * np.arange(n_fft // 2 + 1) / n_fft * delay).astype(np.complex64)
    delayed: np.ndarray = irfft(rfft(samples, n_fft) * turn, n_fft)[: len(samples)]
    return delayed


def _spectrogram(samples: np.ndarray) -> np.ndarray:
    frames = sliding_window_view(np.pad(samples, N_FFT // 2), N_FFT)[::HOP_LENGTH]
    spectrogram: np.ndarray = rfft(frames * np.hanning(N_FFT).astype(np.float32), axis=1)[:, BINS]
    return spectrogram


def _coherence(first: np.ndarray, second: np.ndarray) -> float:
    weights = [_compressed(np.abs(spectrogram)) for spectrogram in (first, second)]
    cross = first * second.conj()
    agreement = cross.real / np.maximum(np.abs(cross), TINY)
    norm = np.sqrt(float(np.square(weights[0]).sum()) * float(np.square(weights[1]).sum()))
    return float((agreement * weights[0] * weights[1]).sum()) / (norm + TINY)


def _compressed(magnitudes: np.ndarray) -> np.ndarray:
    """Magnitudes to the power of 0.25, so that all that is heard in a sound counts, and not the loudest alone."""
    compressed: np.ndarray = np.sqrt(np.sqrt(magnitudes))
    compressed[magnitudes < FAINT * magnitudes.max()] = 0
    return compressed
