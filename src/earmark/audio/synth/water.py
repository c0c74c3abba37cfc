"""Water: single bubbles, and rain, streams and surf made of many."""

from __future__ import annotations

import numpy as np

from earmark.audio.synth.resonators import noise_burst
from earmark.audio.synth.rhythm import onsets, pick, scatter
from earmark.audio.synth.sources import band_noise, drift, log_uniform


def bubble(radius_m: float, rise: float, sample_rate: int) -> np.ndarray:
    """The ring of one air bubble in water.

    Pitch ``f = 3 / r`` (Minnaert, "On musical air-bubbles and the sounds of running water", 1933), decay rate
    ``d = 0.13 / r + 0.0072 r^(-3/2)``, and a pitch that rises as the bubble nears the surface,
    ``f (1 + rise d t)`` (van den Doel, "Physically based models for liquid sounds", ACM TAP 2005).

    Parameters
    ----------
    radius_m
        In metres: 0.0003 (10 kHz) to 0.01 (300 Hz).
    rise
        0 for a bubble deep down; about 0.1 for one that bursts.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (n,) float64 within [-1, 1], until it has fallen by 60 dB.
    """
    frequency_hz = 3.0 / radius_m
    damping = 0.13 / radius_m + 0.0072 * radius_m**-1.5
    times = np.arange(int(np.log(1000.0) / damping * sample_rate)) / sample_rate
    cycles = frequency_hz * times * (1.0 + 0.5 * rise * damping * times)
    return np.sin(2.0 * np.pi * cycles) * np.exp(-damping * times)


def _bubbles(rng: np.random.Generator, n_kinds: int, low_m: float, high_m: float, sample_rate: int) -> list[np.ndarray]:
    """Bubbles of radii between two bounds; larger ones are louder."""
    radii = [log_uniform(rng, low_m, high_m) for _ in range(n_kinds)]
    rises = rng.uniform(0.0, 0.15, n_kinds) * (rng.random(n_kinds) < 0.5)
    return [
        (radius / high_m) ** 0.7 * bubble(radius, rise, sample_rate) for radius, rise in zip(radii, rises, strict=True)
    ]


def _drip(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A leaking tap: now and then a small splash, then a bubble or two whose pitch rises."""
    radius_m = log_uniform(rng, 0.0015, 0.006)
    starts = onsets(n_samples, rng, log_uniform(rng, 0.8, 5.0), rng.uniform(0.02, 0.5), sample_rate)
    drops = []
    for _ in range(4):
        splash = noise_burst(rng, 1500.0, 8000.0, 0.012, sample_rate)
        bubbles = [
            bubble(radius_m * rng.uniform(0.7, 1.3), rng.uniform(0.03, 0.2), sample_rate)
            for _ in range(rng.integers(1, 4))
        ]
        lags = np.concatenate(([0], np.sort(rng.uniform(0.003, 0.06, len(bubbles))) * sample_rate)).astype(np.int64)
        gains = np.concatenate(([rng.uniform(0.05, 0.3)], rng.uniform(0.4, 1.0, len(bubbles))))
        drops.append(scatter(int(0.2 * sample_rate), lags, [splash, *bubbles], gains))
    return scatter(n_samples, starts, pick(drops, len(starts), rng), rng.uniform(0.5, 1.0, len(starts)))


def _raindrop(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Drops that meet a roof, leaves or a puddle, at random times, over the hiss of those further away."""
    low_hz = log_uniform(rng, 500.0, 3000.0)
    taps = [
        noise_burst(rng, low_hz, low_hz * rng.uniform(2.0, 6.0), log_uniform(rng, 0.004, 0.03), sample_rate)
        for _ in range(8)
    ]
    drops = [tap * rng.uniform(0.3, 1.0) for tap in taps]
    if rng.random() < 0.6:
        drops += _bubbles(rng, 8, 0.0004, 0.002, sample_rate)
    starts = onsets(n_samples, rng, log_uniform(rng, 8.0, 90.0), 1.0, sample_rate)
    gains = rng.gamma(1.0, 0.5, len(starts)) + 0.05
    far = band_noise(n_samples, rng, 1000.0, 9000.0, sample_rate)
    return scatter(n_samples, starts, pick(drops, len(starts), rng), gains) + log_uniform(rng, 0.003, 0.08) * far


def _stream(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Hundreds of bubbles a second, a Poisson process that swells and ebbs, over the rush of the water."""
    smallest_m = log_uniform(rng, 0.0005, 0.0012)
    bubbles = _bubbles(rng, 48, smallest_m, smallest_m * rng.uniform(4.0, 9.0), sample_rate)
    starts = onsets(n_samples, rng, log_uniform(rng, 120.0, 700.0), 1.0, sample_rate)
    swell = 1.0 + 0.5 * drift(n_samples, rng, 3.0, sample_rate)
    gains = rng.gamma(1.0, 1.0, len(starts)) * swell[starts]
    rush = band_noise(n_samples, rng, 300.0, log_uniform(rng, 2000.0, 8000.0), sample_rate) * swell
    return scatter(n_samples, starts, pick(bubbles, len(starts), rng), gains) + log_uniform(rng, 0.05, 0.6) * rush


def _waves_and_surf(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A low roar that swells and, as the wave breaks, a brighter wash that comes later and fades slowly."""
    times = np.arange(n_samples) / sample_rate
    period_s, start = log_uniform(rng, 1.6, 6.0), rng.random()
    phase = (times / period_s + start) % 1.0
    # Rises over 40 % of a wave and falls over the rest, smoothly at both ends.
    roar_swell = np.sin(np.pi * np.where(phase < 0.4, phase / 0.8, 0.5 + (phase - 0.4) / 1.2)) ** 2
    later = (phase - rng.uniform(0.15, 0.3)) % 1.0
    wash_swell = np.minimum(later / 0.2, 1.0) * np.exp(-3.0 * later)
    roar = band_noise(n_samples, rng, 60.0, log_uniform(rng, 500.0, 1200.0), sample_rate)
    wash = band_noise(n_samples, rng, 500.0, log_uniform(rng, 2500.0, 7000.0), sample_rate)
    floor = rng.uniform(0.02, 0.2)
    return roar * (floor + roar_swell) + rng.uniform(0.3, 1.2) * wash * (floor + wash_swell)


WATER = {"Drip": _drip, "Raindrop": _raindrop, "Stream": _stream, "Waves_and_surf": _waves_and_surf}
