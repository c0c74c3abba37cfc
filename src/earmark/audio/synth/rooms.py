"""Where a sound is recorded: a room, a background, a level; well, or badly."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from earmark.audio.synth.sources import HIGHEST_SHARE_OF_RATE, log_uniform

# The tail is cut where it has fallen by 45 dB, below the background of every clip.
_TAIL_SHARE_OF_T60 = 0.75


def impulse_response(
    rng: np.random.Generator, t60_s: float, direct_to_reverberant_db: float, sample_rate: int
) -> np.ndarray:
    """A room as the direct sound and a tail of noise that decays exponentially.

    Late reverberation is Gaussian noise under an exponential (Schroeder, "Statistical parameters of the
    frequency response curves of large rooms", 1954; Moorer, "About this reverberation business", Computer
    Music Journal 1979); air and walls take its highs.

    Parameters
    ----------
    rng
        Source of the tail.
    t60_s
        Time in which the tail falls by 60 dB.
    direct_to_reverberant_db
        Energy of the direct sound over that of the tail.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (1 + 0.75 x t60_s x sample_rate,) float32; the direct sound is the first sample, 1.
    """
    n_tail = int(_TAIL_SHARE_OF_T60 * t60_s * sample_rate)
    tail = lfilter([0.4], [1.0, -0.6], rng.standard_normal(n_tail))
    tail *= 1000.0 ** (-np.arange(n_tail) / (t60_s * sample_rate))
    tail *= 10.0 ** (-direct_to_reverberant_db / 20.0) / (np.sqrt(np.sum(tail**2)) + 1e-12)
    return np.concatenate(([1.0], tail)).astype(np.float32)


def background(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Stationary noise between white and brown, of unit root mean square.

    Parameters
    ----------
    n_samples
        Length.
    rng
        Source of the noise and of its colour.

    Returns
    -------
    np.ndarray
        (n_samples,) float32.
    """
    pole = 1.0 - log_uniform(rng, 0.01, 1.0)
    # A share of the unfiltered noise keeps the highs of the darkest background above digital silence.
    floor = 0.03 / np.sqrt(1.0 - pole**2)
    noise = lfilter([1.0 + floor, -floor * pole], [1.0, -pole], rng.standard_normal(n_samples, dtype=np.float32))
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


def record(
    sound: np.ndarray, rng: np.random.Generator, sample_rate: int, snr_db: tuple[float, float] = (14.0, 45.0)
) -> np.ndarray:
    """The sound in a small room, over a background, at some level.

    Parameters
    ----------
    sound
        (n_samples,) as it leaves its source, at any level.
    rng
        Source of the room, the background and the level.
    sample_rate
        In Hz.
    snr_db
        Range of the ratio of sound to background, both as root mean squares over the clip.

    Returns
    -------
    np.ndarray
        (n_samples,) float32; its peak lies between -26 and -1 dB of full scale.
    """
    room = impulse_response(rng, log_uniform(rng, 0.08, 0.7), rng.uniform(1.0, 16.0), sample_rate)
    heard = fftconvolve(sound.astype(np.float32), room)[: len(sound)]
    level = np.sqrt(np.mean(heard**2)) + 1e-12
    heard += background(len(sound), rng) * (level * 10.0 ** (-rng.uniform(*snr_db) / 20.0))
    return to_peak(heard, rng.uniform(-26.0, -1.0))


def record_badly(sound: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A clip as a telephone or a cheap camera gives it back: more background, a narrow band, overdriven.

    Parameters
    ----------
    sound
        (n_samples,) a clip.
    rng
        Source of the faults.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (n_samples,) float32; its peak lies between -12 and -1 dB of full scale.
    """
    level = np.sqrt(np.mean(sound**2)) + 1e-12
    noisy = sound / level + background(len(sound), rng) * 10.0 ** (-rng.uniform(3.0, 20.0) / 20.0)
    high_hz = min(log_uniform(rng, 3000.0, 9000.0), HIGHEST_SHARE_OF_RATE * sample_rate)
    band_hz = (log_uniform(rng, 60.0, 350.0), high_hz)
    narrow = sosfilt(butter(2, band_hz, btype="bandpass", output="sos", fs=sample_rate), noisy)
    drive = log_uniform(rng, 0.1, 1.0)
    return to_peak(np.tanh(drive * narrow), rng.uniform(-12.0, -1.0))


def to_peak(sound: np.ndarray, peak_db: float) -> np.ndarray:
    """The sound at a level.

    Parameters
    ----------
    sound
        (n_samples,) not silent.
    peak_db
        Largest absolute sample, in dB of full scale; 0 or less.

    Returns
    -------
    np.ndarray
        (n_samples,) float32 in [-1, 1].
    """
    return (sound * (10.0 ** (peak_db / 20.0) / (np.max(np.abs(sound)) + 1e-12))).astype(np.float32)
