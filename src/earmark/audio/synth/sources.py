"""What sounds are made from: noise, periodic waves, slow drifts."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfilt

# Filters and partials stop here, so that a model keeps its shape at low sample rates instead of aliasing.
HIGHEST_SHARE_OF_RATE = 0.45
_TABLE_SIZE = 4096


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A draw from [low, high) whose logarithm is uniform, as pitches and decay times are heard.

    Parameters
    ----------
    rng
        Source of variety.
    low, high
        Positive bounds.

    Returns
    -------
    float
        The draw.
    """
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def band_noise(n_samples: int, rng: np.random.Generator, low_hz: float, high_hz: float, sample_rate: int) -> np.ndarray:
    """White Gaussian noise through a second-order Butterworth band-pass.

    Parameters
    ----------
    n_samples
        Length.
    rng
        Source of the noise.
    low_hz, high_hz
        Band edges (-3 dB). Where 0.45 of the sample rate is lower than the band, the band moves down to it.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (n_samples,) float64 of unit root mean square.
    """
    high_hz = min(high_hz, HIGHEST_SHARE_OF_RATE * sample_rate)
    low_hz = min(low_hz, 0.7 * high_hz)
    sections = butter(2, (low_hz, high_hz), btype="bandpass", output="sos", fs=sample_rate)
    noise = sosfilt(sections, rng.standard_normal(n_samples))
    return noise / (np.sqrt(np.mean(noise**2)) + 1e-12)


def oscillate(
    frequency_hz: float | np.ndarray, amplitudes: np.ndarray, n_samples: int, sample_rate: int, phase: float = 0.0
) -> np.ndarray:
    """A periodic wave of given harmonics, read from a table of one cycle.

    Parameters
    ----------
    frequency_hz
        Fundamental: one number, or (n_samples,) of them for a pitch that moves.
    amplitudes
        (n_harmonics,) amplitude of each harmonic, the fundamental first. Those that would pass 0.45 of
        the sample rate at the highest fundamental are left out.
    n_samples
        Length.
    sample_rate
        In Hz.
    phase
        Where in the cycle the wave starts, in cycles.

    Returns
    -------
    np.ndarray
        (n_samples,) float64.
    """
    n_harmonics = int(HIGHEST_SHARE_OF_RATE * sample_rate / np.max(frequency_hz))
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, dtype=complex)
    kept = np.asarray(amplitudes)[:n_harmonics]
    spectrum[1 : len(kept) + 1] = -0.5j * _TABLE_SIZE * kept
    cycle = np.fft.irfft(spectrum)
    if np.ndim(frequency_hz) == 0:
        cycles = np.arange(n_samples) * (float(frequency_hz) / sample_rate)
    else:
        cycles = np.cumsum(frequency_hz) / sample_rate
    return cycle[((cycles + phase) * _TABLE_SIZE).astype(np.int64) & (_TABLE_SIZE - 1)]


def drift(n_samples: int, rng: np.random.Generator, rate_hz: float, sample_rate: int) -> np.ndarray:
    """A slow random curve: uniform random points at `rate_hz`, joined by straight lines.

    Parameters
    ----------
    n_samples
        Length.
    rng
        Source of the points.
    rate_hz
        Points a second.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (n_samples,) float64 in [-1, 1].
    """
    spacing = sample_rate / rate_hz
    points = rng.uniform(-1.0, 1.0, int(n_samples / spacing) + 2)
    return np.interp(np.arange(n_samples), np.arange(len(points)) * spacing, points)


def fade(sound: np.ndarray, attack_s: float, release_s: float, sample_rate: int) -> np.ndarray:
    """The sound with a raised-cosine start and end, in place.

    Parameters
    ----------
    sound
        (n_samples,) float64; it is changed.
    attack_s, release_s
        Lengths of the ramps; each is held to half of the sound.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        The same array.
    """
    n_attack = min(int(attack_s * sample_rate), len(sound) // 2)
    n_release = min(int(release_s * sample_rate), len(sound) // 2)
    if n_attack:
        sound[:n_attack] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(n_attack) / n_attack)
    if n_release:
        sound[-n_release:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, n_release + 1) / n_release)
    return sound
