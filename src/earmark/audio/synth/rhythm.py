"""When things happen: onsets, and sounds laid on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def onsets(n_samples: int, rng: np.random.Generator, rate_hz: float, jitter: float, sample_rate: int) -> np.ndarray:
    """Positions of repeated events, regular or random; there is always one at least.

    Parameters
    ----------
    n_samples
        Length of the clip.
    rng
        Source of the intervals.
    rate_hz
        Events a second.
    jitter
        Standard deviation of the intervals over their mean: 0 for a clock, 1 for a Poisson process.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (n_events,) int64, ascending, in [0, n_samples). The first comes within one interval and within
        the first quarter of the clip.
    """
    interval = sample_rate / rate_hz
    first = rng.uniform(0.0, min(interval, 0.25 * n_samples))
    n_events = int(1.3 * n_samples / interval) + 8
    steps = rng.gamma(jitter**-2, interval * jitter**2, n_events) if jitter else np.full(n_events, interval)
    positions = (first + np.concatenate(([0.0], np.cumsum(steps)))).astype(np.int64)
    return positions[positions < n_samples]


def scatter(
    n_samples: int, positions: Sequence[int] | np.ndarray, sounds: Sequence[np.ndarray], gains: np.ndarray | None = None
) -> np.ndarray:
    """The sum of sounds, each from its own position on, cut at the end of the clip.

    Parameters
    ----------
    n_samples
        Length of the clip.
    positions
        (n_events,) samples in [0, n_samples).
    sounds
        One sound an event.
    gains
        (n_events,) amplitudes; 1 without.

    Returns
    -------
    np.ndarray
        (n_samples,) float64.
    """
    clip = np.zeros(n_samples)
    amplitudes = np.ones(len(positions)) if gains is None else gains
    for position, sound, gain in zip(positions, sounds, amplitudes, strict=True):
        stretch = clip[position : position + len(sound)]
        stretch += gain * sound[: len(stretch)]
    return clip


def pick(sounds: Sequence[np.ndarray], n_events: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`n_events` draws, with replacement, from a few variants of a sound.

    Parameters
    ----------
    sounds
        The variants.
    n_events
        How many are wanted.
    rng
        Source of the choice.

    Returns
    -------
    list of np.ndarray
        One an event.
    """
    return [sounds[i] for i in rng.integers(len(sounds), size=n_events)]
