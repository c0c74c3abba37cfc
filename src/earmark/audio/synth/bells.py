"""Struck bars, shells and plates: glockenspiel, marimba and xylophone, bells, gong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earmark.audio.synth.resonators import (
    CHURCH_BELL_RATIOS,
    FREE_BAR_RATIOS,
    HEMISPHERE_RATIOS,
    MARIMBA_RATIOS,
    XYLOPHONE_RATIOS,
    decays,
    noise_burst,
    strike,
)
from earmark.audio.synth.rhythm import onsets, scatter
from earmark.audio.synth.sources import log_uniform

_MAJOR_STEPS = (0, 2, 4, 5, 7, 9, 11, 12)


def bar(
    n_samples: int, frequency_hz: float, ratios: Sequence[float], t60_s: float, hardness: float, sample_rate: int
) -> np.ndarray:
    """One stroke on a bar: its modes, weighted by how hard the mallet is.

    A mallet that stays in contact for a time tau drives little above 1 / tau; the gains fall as
    ``1 / (1 + (f / (hardness f_1))^2)`` (after Chaigne and Doutaut, "Numerical simulations of xylophones",
    JASA 1997, where contact time sets the brightness).

    Parameters
    ----------
    n_samples
        Length, from the stroke on.
    frequency_hz
        Of the lowest mode.
    ratios
        Mode frequencies over the lowest: `FREE_BAR_RATIOS`, `MARIMBA_RATIOS`, `XYLOPHONE_RATIOS`.
    t60_s
        Of the lowest mode; higher ones decay faster.
    hardness
        In multiples of the lowest mode: 2 is yarn, 20 is brass.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (n_samples,) float64.
    """
    relative = np.asarray(ratios)
    gains = 1.0 / (1.0 + (relative / hardness) ** 2)
    frequencies = frequency_hz * relative
    return strike(n_samples, frequencies, decays(frequencies, t60_s, 0.8), gains, sample_rate)


def _melody(
    n_samples: int, rng: np.random.Generator, sample_rate: int, low_hz: float, high_hz: float
) -> list[tuple[int, float]]:
    """Onsets and pitches of a line in a major key that wanders within [low_hz, 2 high_hz]."""
    key_hz = log_uniform(rng, low_hz, high_hz)
    starts = onsets(n_samples, rng, log_uniform(rng, 0.8, 7.0), 0.1, sample_rate)
    steps = rng.choice(_MAJOR_STEPS, len(starts))
    return [(int(start), float(key_hz * 2.0 ** (step / 12.0))) for start, step in zip(starts, steps, strict=True)]


def _glockenspiel(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Steel bars, free and uniform, with hard beaters."""
    hardness, t60_at_1khz_s = log_uniform(rng, 4.0, 25.0), log_uniform(rng, 1.0, 5.0)
    clip = np.zeros(n_samples)
    for start, frequency_hz in _melody(n_samples, rng, sample_rate, 780.0, 2100.0):
        t60_s = t60_at_1khz_s * (1000.0 / frequency_hz) ** 0.5
        note = bar(n_samples - start, frequency_hz, FREE_BAR_RATIOS, t60_s, hardness, sample_rate)
        clip[start:] += rng.uniform(0.5, 1.0) * note
    return clip


def _marimba_and_xylophone(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Wooden bars, arched, with soft mallets (marimba) or hard ones (xylophone)."""
    is_marimba = rng.random() < 0.5
    ratios, low_hz, high_hz = (MARIMBA_RATIOS, 110.0, 700.0) if is_marimba else (XYLOPHONE_RATIOS, 350.0, 1400.0)
    hardness = log_uniform(rng, 1.5, 6.0) if is_marimba else log_uniform(rng, 3.0, 20.0)
    t60_at_1khz_s = log_uniform(rng, 0.25, 1.1)
    sounds, starts = [], []
    for start, frequency_hz in _melody(n_samples, rng, sample_rate, low_hz, high_hz):
        t60_s = t60_at_1khz_s * (1000.0 / frequency_hz) ** 0.7
        n_note = min(n_samples - start, int(1.2 * t60_s * sample_rate))
        note = bar(n_note, frequency_hz, ratios, t60_s, hardness, sample_rate)
        thud = noise_burst(rng, 150.0, 200.0 * hardness, 0.02, sample_rate) * 0.2
        sounds += [note * rng.uniform(0.5, 1.0), thud]
        starts += [start, start]
    return scatter(n_samples, starts, sounds)


def _church_bell(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Tuned bronze: the nine named partials, each split in two by small asymmetries, so that it warbles."""
    prime_hz, t60_s = log_uniform(rng, 130.0, 900.0), log_uniform(rng, 3.0, 12.0)
    partials = prime_hz * np.asarray(CHURCH_BELL_RATIOS) * rng.normal(1.0, 0.01, len(CHURCH_BELL_RATIOS))
    split = 1.0 + rng.uniform(0.0005, 0.006, len(partials))
    frequencies = np.concatenate((partials, partials * split))
    levels = np.array((0.4, 0.6, 0.9, 0.3, 1.0, 0.3, 0.3, 0.6, 0.5)) * rng.uniform(0.4, 1.4, len(partials))
    gains = np.concatenate((levels, levels * rng.uniform(0.2, 0.9, len(partials))))
    # The same clapper strikes the same bell: one stroke is laid on every onset.
    stroke = strike(n_samples, frequencies, decays(frequencies, t60_s, 0.8), gains, sample_rate)
    clang = noise_burst(rng, 2.0 * prime_hz, 12.0 * prime_hz, 0.06, sample_rate)[:n_samples]
    stroke[: len(clang)] += rng.uniform(0.2, 1.0) * clang
    starts = onsets(n_samples, rng, log_uniform(rng, 0.3, 1.6), 0.05, sample_rate)
    return scatter(n_samples, starts, [stroke] * len(starts), rng.uniform(0.5, 1.0, len(starts)))


def _gong(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A bronze plate whose energy climbs to higher modes after the stroke, which gives the bloom.

    Modes follow Chladni's law ``f ~ (m + 2 n)^p``; the climb is Legge and Fletcher's ("Nonlinearity, chaos,
    and the sound of shallow gongs", JASA 1989), drawn here as a rise time that grows with frequency.
    """
    lowest_hz, t60_s = log_uniform(rng, 65.0, 260.0), log_uniform(rng, 3.0, 10.0)
    power, bloom_s = rng.uniform(1.3, 1.8), log_uniform(rng, 0.03, 0.6)
    orders = np.arange(2, 22) / 2.0
    frequencies = lowest_hz * orders**power * rng.normal(1.0, 0.02, len(orders))
    lifetimes = decays(frequencies, t60_s, 0.6)
    gains = orders**-0.6 * rng.uniform(0.3, 1.0, len(orders))
    # A rise is a decay that starts at the opposite amplitude and dies sooner.
    rises = np.minimum(3.0 * bloom_s * (orders / orders.max()) + 0.02, 0.8 * lifetimes)
    stroke = strike(
        n_samples,
        np.concatenate((frequencies, frequencies)),
        np.concatenate((lifetimes, rises)),
        np.concatenate((gains, -gains * np.linspace(0.0, 0.95, len(gains)))),
        sample_rate,
    )
    starts = onsets(n_samples, rng, log_uniform(rng, 0.2, 1.0), 0.2, sample_rate)
    return scatter(n_samples, starts, [stroke] * len(starts), rng.uniform(0.5, 1.0, len(starts)))


def _bicycle_bell(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A steel hemisphere, struck many times in each turn of the thumb (ring-ring) or once (ding)."""
    lowest_hz, t60_s = log_uniform(rng, 800.0, 2200.0), log_uniform(rng, 0.5, 2.5)
    frequencies = lowest_hz * np.asarray(HEMISPHERE_RATIOS) * rng.normal(1.0, 0.015, len(HEMISPHERE_RATIOS))
    frequencies = np.concatenate((frequencies, frequencies * (1.0 + rng.uniform(0.001, 0.006, len(frequencies)))))
    gains = np.tile((0.5, 1.0, 0.7, 0.5, 0.3), 2) * rng.uniform(0.3, 1.0, len(frequencies))
    stroke = strike(n_samples, frequencies, decays(frequencies, t60_s, 0.5), gains, sample_rate)
    turns = onsets(n_samples, rng, log_uniform(rng, 0.6, 2.5), 0.15, sample_rate)
    n_hits = 1 if rng.random() < 0.3 else int(rng.integers(4, 12))
    spacing = sample_rate / rng.uniform(14.0, 32.0)
    starts = np.concatenate([turn + (np.arange(n_hits) * spacing).astype(np.int64) for turn in turns])
    starts = starts[starts < n_samples]
    return scatter(n_samples, starts, [stroke] * len(starts), rng.uniform(0.4, 1.0, len(starts)))


BELLS = {
    "Bicycle_bell": _bicycle_bell,
    "Church_bell": _church_bell,
    "Glockenspiel": _glockenspiel,
    "Gong": _gong,
    "Marimba_and_xylophone": _marimba_and_xylophone,
}
