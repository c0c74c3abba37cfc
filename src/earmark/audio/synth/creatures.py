"""Small animals, and what sounds like them: birds, crickets, buzzing wings and wires."""

from __future__ import annotations

import numpy as np

from earmark.audio.synth.rhythm import onsets, scatter
from earmark.audio.synth.sources import band_noise, drift, fade, log_uniform, oscillate


def chirp(start_hz: float, middle_hz: float, end_hz: float, duration_s: float, sample_rate: int) -> np.ndarray:
    """A whistled syllable whose pitch passes through three points.

    A syrinx whistles nearly a pure tone; song is its pitch and loudness over time (Greenewalt, Bird Song:
    Acoustics and Physiology, 1968). The contour is the parabola through the three.

    Parameters
    ----------
    start_hz, middle_hz, end_hz
        Pitch at the beginning, in the middle and at the end.
    duration_s
        Length.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (duration_s x sample_rate,) float64 within [-1.1, 1.1], with soft edges.
    """
    n_samples = int(duration_s * sample_rate)
    x = np.linspace(0.0, 1.0, n_samples)
    rise, curve = -3.0 * start_hz + 4.0 * middle_hz - end_hz, 2.0 * (start_hz - 2.0 * middle_hz + end_hz)
    phase = 2.0 * np.pi * np.cumsum(start_hz + x * (rise + x * curve)) / sample_rate
    return np.sin(np.pi * x) ** 0.7 * (np.sin(phase) + 0.1 * np.sin(2.0 * phase))


def _chirp_and_tweet(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A bird repeats a motif of one to four syllables; another may answer from further away."""
    clip = np.zeros(n_samples)
    for distance in range(rng.integers(1, 3)):
        centre_hz, spread = log_uniform(rng, 2000.0, 6500.0), rng.uniform(0.05, 0.5)
        syllables, lags, lag = [], [], 0
        for _ in range(rng.integers(1, 5)):
            start_hz, middle_hz, end_hz = centre_hz * np.exp(spread * rng.uniform(-1.0, 1.0, 3))
            duration_s = log_uniform(rng, 0.03, 0.25)
            for _ in range(rng.choice((1, 1, 2, 5))):
                syllables.append(chirp(start_hz, middle_hz, end_hz, duration_s, sample_rate) * rng.uniform(0.4, 1.0))
                lags.append(lag)
                lag += int((duration_s + rng.uniform(0.01, 0.08)) * sample_rate)
        motif = scatter(lag, lags, syllables)
        starts = onsets(n_samples, rng, min(rng.uniform(0.5, 2.5), sample_rate / lag), 0.2, sample_rate)
        clip += scatter(n_samples, starts, [motif] * len(starts)) * 0.3**distance
    return clip


def cricket_pulses(n_pulses: int, carrier_hz: float, rate_hz: float, sample_rate: int) -> np.ndarray:
    """One chirp of a cricket: a few pulses of a nearly pure tone, growing louder.

    Each closing of the wings draws the scraper over the file, tooth by tooth, and makes one pulse at the wings'
    own resonance, 4 to 5 kHz; three to five pulses at some 25 to 40 a second make a chirp (Huber, Moore and
    Loher, Cricket Behavior and Neurobiology, 1989, chapter 8).

    Parameters
    ----------
    n_pulses
        Closings of the wings.
    carrier_hz
        Resonance of the wings.
    rate_hz
        Pulses a second.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (n_pulses / rate_hz x sample_rate,) float64 within [-1, 1].
    """
    times = np.arange(int(n_pulses / rate_hz * sample_rate)) / sample_rate
    pulse, within = np.divmod(times * rate_hz, 1.0)
    envelope = np.sin(np.pi * np.minimum(within / 0.6, 1.0)) ** 2 * (0.5 + 0.5 * (pulse + 1.0) / n_pulses)
    # The tone of each pulse falls by a few per cent as the wing closes.
    return envelope * np.sin(2.0 * np.pi * carrier_hz * (times - 0.015 * within**2 / rate_hz))


def _cricket(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Field crickets, which chirp, or tree crickets, which trill without a pause; sometimes several."""
    clip = np.zeros(n_samples)
    carrier_hz, is_trill = log_uniform(rng, 3700.0, 5400.0), rng.random() < 0.35
    for distance in range(rng.integers(1, 4)):
        own_hz = carrier_hz * rng.uniform(0.94, 1.06)
        if is_trill:
            n_pulses, pulse_rate_hz, rate_hz = 12, rng.uniform(35.0, 70.0), 1.0
            rate_hz = pulse_rate_hz / n_pulses
        else:
            n_pulses, pulse_rate_hz = int(rng.integers(2, 6)), rng.uniform(22.0, 42.0)
            rate_hz = min(rng.uniform(1.5, 4.5), 0.8 * pulse_rate_hz / n_pulses)
        call = cricket_pulses(n_pulses, own_hz, pulse_rate_hz, sample_rate)
        starts = onsets(n_samples, rng, rate_hz, 0.0 if is_trill else 0.08, sample_rate)
        clip += scatter(n_samples, starts, [call] * len(starts)) * 0.45**distance
    return clip


def _buzz(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Wings of a fly or bee, which wander in pitch and distance, or mains hum with its odd harmonics, steady."""
    ranks = np.arange(1, 61)
    if rng.random() < 0.6:
        wander = 1.0 + rng.uniform(0.02, 0.12) * drift(n_samples, rng, log_uniform(rng, 2.0, 9.0), sample_rate)
        pitch_hz: float | np.ndarray = log_uniform(rng, 110.0, 320.0) * wander
        nearness: np.ndarray = 1.0 + rng.uniform(0.3, 0.9) * drift(
            n_samples, rng, log_uniform(rng, 1.0, 4.0), sample_rate
        )
        amplitudes: np.ndarray = ranks ** -rng.uniform(0.5, 1.2) * rng.uniform(0.5, 1.0, len(ranks))
    else:
        pitch_hz = float(rng.choice((50.0, 60.0, 100.0, 120.0)))
        nearness = np.ones(n_samples)
        amplitudes = ranks ** -rng.uniform(0.3, 1.0) * np.where(ranks % 2 == 1, 1.0, rng.uniform(0.1, 0.7))
    wave = oscillate(pitch_hz, amplitudes, n_samples, sample_rate, rng.random()) * nearness
    rustle = band_noise(n_samples, rng, 1000.0, 5000.0, sample_rate) * np.abs(wave)
    return fade(wave + rng.uniform(0.05, 0.3) * rustle, rng.uniform(0.01, 0.3), 0.05, sample_rate)


CREATURES = {"Buzz": _buzz, "Chirp_and_tweet": _chirp_and_tweet, "Cricket": _cricket}
