"""Air through reeds and holes: accordion, harmonica, hiss."""

from __future__ import annotations

import numpy as np

from earmark.audio.synth.rhythm import onsets
from earmark.audio.synth.sources import band_noise, drift, fade, log_uniform, oscillate

_TRIADS = ((0, 4, 7), (0, 3, 7), (0, 5, 9), (0, 4, 9))


def reed_amplitudes(tilt: float, formant_hz: float, frequency_hz: float, n_harmonics: int = 60) -> np.ndarray:
    """Harmonics of a free reed: they fall as ``k^-tilt``, raised around the resonance of its chamber.

    A free reed chops the air into short puffs, so its spectrum is rich up to the tenth harmonic and beyond
    (Cottingham, "Acoustics of free-reed instruments", Physics Today 2011).

    Parameters
    ----------
    tilt
        About 0.6 (shrill) to 1.5 (mellow).
    formant_hz
        Centre of the resonance, one octave wide, 6 dB high.
    frequency_hz
        Fundamental.
    n_harmonics
        How many.

    Returns
    -------
    np.ndarray
        (n_harmonics,) amplitudes, float64, of unit root sum of squares.
    """
    ranks = np.arange(1, n_harmonics + 1)
    octaves = np.log2(ranks * frequency_hz / formant_hz)
    amplitudes = ranks**-tilt * (1.0 + np.exp(-2.0 * octaves**2))
    return amplitudes / np.sqrt(np.sum(amplitudes**2))


def _notes(n_samples: int, rng: np.random.Generator, rate_hz: float, sample_rate: int) -> list[tuple[int, int]]:
    """Spans of the notes of a line, each from its onset to the next; the first starts with the clip."""
    starts = onsets(n_samples, rng, rate_hz, 0.25, sample_rate)
    starts[0] = 0
    return list(zip(starts.tolist(), [*starts[1:].tolist(), n_samples], strict=True))


def _accordion(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Chords or notes; two reeds a note, a few cents apart so that they beat (musette), on one pair of bellows."""
    key_hz, cents = log_uniform(rng, 150.0, 480.0), rng.uniform(3.0, 25.0)
    tilt, formant_hz = rng.uniform(0.8, 1.3), log_uniform(rng, 900.0, 2200.0)
    has_chords, has_low_reed = rng.random() < 0.7, rng.random() < 0.5
    clip = np.zeros(n_samples)
    for start, stop in _notes(n_samples, rng, log_uniform(rng, 0.5, 3.5), sample_rate):
        root = rng.choice((-5, -3, 0, 2, 4, 5, 7))
        steps = rng.choice(_TRIADS) if has_chords else (0,)
        for step in steps:
            frequency_hz = float(key_hz * 2.0 ** ((root + step) / 12.0))
            amplitudes = reed_amplitudes(tilt, formant_hz, frequency_hz)
            reeds_hz = [frequency_hz, frequency_hz * 2.0 ** (cents / 1200.0)]
            reeds_hz += [0.5 * frequency_hz] if has_low_reed and step == 0 else []
            for reed_hz in reeds_hz:
                clip[start:stop] += oscillate(reed_hz, amplitudes, stop - start, sample_rate, rng.random())
        fade(clip[start:stop], rng.uniform(0.02, 0.12), 0.04, sample_rate)
    return clip * (1.0 + 0.3 * drift(n_samples, rng, 2.0, sample_rate))


def _harmonica(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """One or two neighbouring reeds, scooped into, with a tremolo of the hands and breath noise."""
    key_hz = log_uniform(rng, 250.0, 620.0)
    tilt, formant_hz = rng.uniform(0.6, 1.1), log_uniform(rng, 1200.0, 3200.0)
    has_pairs = rng.random() < 0.5
    clip = np.zeros(n_samples)
    for start, stop in _notes(n_samples, rng, log_uniform(rng, 0.8, 4.5), sample_rate):
        times = np.arange(stop - start) / sample_rate
        scoop = 1.0 - rng.uniform(0.0, 0.06) * np.exp(-times / 0.05)
        step = int(rng.choice((0, 2, 4, 5, 7, 9, 12)))
        for interval in (0, int(rng.choice((3, 4, 5)))) if has_pairs else (0,):
            frequency_hz = key_hz * 2.0 ** ((step + interval) / 12.0)
            amplitudes = reed_amplitudes(tilt, formant_hz, frequency_hz)
            clip[start:stop] += oscillate(frequency_hz * scoop, amplitudes, stop - start, sample_rate, rng.random())
        fade(clip[start:stop], rng.uniform(0.01, 0.08), 0.03, sample_rate)
    times = np.arange(n_samples) / sample_rate
    tremolo = 1.0 + rng.uniform(0.0, 0.5) * np.sin(2.0 * np.pi * (rng.uniform(4.0, 7.5) * times + rng.random()))
    breath = band_noise(n_samples, rng, 1500.0, 6000.0, sample_rate)
    return clip * tremolo + log_uniform(rng, 0.005, 0.06) * breath


def _hiss(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Gas or steam through a small hole: high noise, steady, in puffs, or dying away.

    A jet's noise peaks near a fifth of its speed over the hole's width, several kilohertz for a leak
    (Lighthill, "On sound generated aerodynamically", 1952; Strouhal number 0.2).
    """
    peak_hz = log_uniform(rng, 2500.0, 9000.0)
    noise = band_noise(n_samples, rng, 0.5 * peak_hz, 2.2 * peak_hz, sample_rate)
    noise *= 1.0 + rng.uniform(0.05, 0.4) * drift(n_samples, rng, log_uniform(rng, 2.0, 20.0), sample_rate)
    shape = rng.integers(3)
    if shape == 0:
        return fade(noise, rng.uniform(0.005, 0.3), rng.uniform(0.05, 0.5), sample_rate)
    if shape == 1:
        times = np.arange(n_samples) / sample_rate
        return fade(noise * np.exp(-times * rng.uniform(0.8, 4.0)), 0.01, 0.05, sample_rate)
    puffs = np.zeros(n_samples)
    for start in onsets(n_samples, rng, rng.uniform(0.7, 2.5), 0.3, sample_rate):
        stop = min(n_samples, start + int(rng.uniform(0.15, 0.6) * sample_rate))
        puffs[start:stop] = fade(noise[start:stop].copy(), 0.03, 0.12, sample_rate)
    return puffs


AIR = {"Accordion": _accordion, "Harmonica": _harmonica, "Hiss": _hiss}
