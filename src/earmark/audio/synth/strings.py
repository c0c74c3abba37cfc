"""Plucked strings: guitar, strummed chords, bass."""

from __future__ import annotations

import numpy as np
from scipy.signal import iirpeak, lfilter

from earmark.audio.synth.rhythm import onsets
from earmark.audio.synth.sources import log_uniform

_GUITAR_OPEN_HZ = (82.41, 110.0, 146.83, 196.0, 246.94, 329.63)
_BASS_OPEN_HZ = (41.20, 55.0, 73.42, 98.0)
# Frets of E, A, D, G, C, Am, Em, Dm and F from the lowest string up; None is a string left out.
_CHORDS: tuple[tuple[int | None, ...], ...] = (
    (0, 2, 2, 1, 0, 0),
    (None, 0, 2, 2, 2, 0),
    (None, None, 0, 2, 3, 2),
    (3, 2, 0, 0, 0, 3),
    (None, 3, 2, 0, 1, 0),
    (None, 0, 2, 2, 1, 0),
    (0, 2, 2, 0, 0, 0),
    (None, None, 0, 2, 3, 1),
    (1, 3, 3, 2, 1, 1),
)


def string(excitation: np.ndarray, frequency_hz: float, t60_s: float, damping: float, sample_rate: int) -> np.ndarray:
    """A string, driven by an excitation: a comb whose loop low-passes and delays by one period.

    ``y[n] = x[n] + g (h * y)[n - period]`` (Karplus and Strong, "Digital synthesis of plucked-string and
    drum timbres", Computer Music Journal 1983), where h is a three-tap low-pass and a linear interpolation
    for the fraction of a sample, so that the pitch is exact (Jaffe and Smith, "Extensions of the
    Karplus-Strong plucked-string algorithm", same issue).

    Parameters
    ----------
    excitation
        (n_samples,) what drives the string: a burst an onset.
    frequency_hz
        Fundamental, below a quarter of the sample rate.
    t60_s
        Time in which the fundamental falls by 60 dB.
    damping
        In [0, 0.25]: how much faster high harmonics die; 0.25 is Karplus and Strong's kind of average.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (n_samples,) float64.
    """
    period = sample_rate / frequency_hz
    # The low-pass is symmetric about its second tap: one sample of the period is its own.
    delay = int(period - 1.0)
    fraction = period - 1.0 - delay
    gain = 10.0 ** (-3.0 / (frequency_hz * t60_s))
    loop = gain * np.convolve((damping, 1.0 - 2.0 * damping, damping), (1.0 - fraction, fraction))
    reach = delay + len(loop) - 1
    # A block of one delay depends on finished samples only, so the loop runs a period, not a sample, at a time.
    line = np.concatenate((np.zeros(reach), excitation))
    for start in range(reach, len(line), delay):
        stop = min(start + delay, len(line))
        line[start:stop] += np.convolve(line[start - reach : stop - delay], loop, mode="valid")
    return line[reach:]


def pluck_burst(
    rng: np.random.Generator, frequency_hz: float, hardness: float, position: float, sample_rate: int
) -> np.ndarray:
    """What a finger or pick puts into a string: one period of noise, softened, with the nodes of its place.

    The displacement travels both ways from the plucking point, so harmonics with a node there are missing:
    a comb of `position` of a period (Jaffe and Smith 1983).

    Parameters
    ----------
    rng
        Source of the noise.
    frequency_hz
        Of the string.
    hardness
        In (0, 1]: 1 leaves the noise white, 0.1 is a thumb.
    position
        Where on the string, in (0, 0.5].
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (about (1 + position) periods,) float64.
    """
    n_period = int(sample_rate / frequency_hz)
    n_apart = max(1, int(position * n_period))
    burst = np.zeros(n_period + n_apart)
    burst[:n_period] = lfilter([hardness], [1.0, hardness - 1.0], rng.uniform(-1.0, 1.0, n_period))
    burst[n_apart:] -= burst[:n_period].copy()
    return burst / (np.sqrt(np.mean(burst**2)) + 1e-12)


def _guitar_body(sound: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Air resonance of the hole near 100 Hz and two of the top plate (Fletcher and Rossing 1998, section 9.4)."""
    sound = sound * rng.uniform(0.4, 1.0)
    body = np.zeros_like(sound)
    for low_hz, high_hz in ((90.0, 120.0), (180.0, 230.0), (350.0, 480.0)):
        numerator, denominator = iirpeak(rng.uniform(low_hz, high_hz), rng.uniform(4.0, 12.0), fs=sample_rate)
        body += rng.uniform(0.3, 1.5) * lfilter(numerator, denominator, sound)
    return sound + body


def _acoustic_guitar(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Single notes or an arpeggio over one chord, each string left to ring."""
    chord = _chord(rng)
    hardness, position = rng.uniform(0.2, 0.9), rng.uniform(0.08, 0.35)
    damping, t60_s = rng.uniform(0.02, 0.15), log_uniform(rng, 1.2, 5.0)
    clip = np.zeros(n_samples)
    for onset in onsets(n_samples, rng, log_uniform(rng, 0.8, 5.0), 0.08, sample_rate):
        frequency_hz = chord[rng.integers(len(chord))] * 2.0 ** (rng.integers(0, 8) / 12.0)
        excitation = np.zeros(n_samples - onset)
        burst = pluck_burst(rng, frequency_hz, hardness, position, sample_rate) * rng.uniform(0.5, 1.0)
        excitation[: len(burst)] = burst[: len(excitation)]
        clip[onset:] += string(excitation, frequency_hz, t60_s, damping, sample_rate)
    return _guitar_body(clip, rng, sample_rate)


def _strum(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """All strings of a chord, one shortly after the other, down and up."""
    chord = _chord(rng)
    hardness, position = rng.uniform(0.3, 1.0), rng.uniform(0.06, 0.25)
    damping, t60_s = rng.uniform(0.02, 0.15), log_uniform(rng, 0.4, 4.0)
    strokes = onsets(n_samples, rng, log_uniform(rng, 0.6, 5.0), 0.12, sample_rate)
    gaps = rng.uniform(0.006, 0.04, len(strokes)) * sample_rate
    upward = rng.random(len(strokes)) < 0.35
    clip = np.zeros(n_samples)
    for rank, frequency_hz in enumerate(chord):
        excitation = np.zeros(n_samples)
        for stroke, gap, is_up in zip(strokes, gaps, upward, strict=True):
            start = int(stroke + gap * (len(chord) - 1 - rank if is_up else rank))
            burst = pluck_burst(rng, frequency_hz, hardness, position, sample_rate) * rng.uniform(0.5, 1.0)
            stretch = excitation[start : start + len(burst)]
            stretch += burst[: len(stretch)]
        clip += string(excitation, frequency_hz, t60_s, damping, sample_rate)
    return _guitar_body(clip, rng, sample_rate)


def _bass_guitar(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A line of low notes; each stops when the next begins. A pick-up takes the place of a body."""
    root_hz = _BASS_OPEN_HZ[rng.integers(4)] * 2.0 ** (rng.integers(0, 6) / 12.0)
    hardness, position = log_uniform(rng, 0.02, 0.25), rng.uniform(0.1, 0.4)
    damping, t60_s = rng.uniform(0.1, 0.25), log_uniform(rng, 1.0, 6.0)
    starts = onsets(n_samples, rng, log_uniform(rng, 0.8, 6.0), 0.05, sample_rate)
    clip = np.zeros(n_samples)
    for start, stop in zip(starts, (*starts[1:], n_samples), strict=True):
        frequency_hz = root_hz * 2.0 ** (rng.choice((0, 0, 0, 3, 5, 7, 10, 12)) / 12.0)
        excitation = np.zeros(stop - start)
        burst = pluck_burst(rng, frequency_hz, hardness, position, sample_rate) * rng.uniform(0.7, 1.0)
        excitation[: len(burst)] = burst[: len(excitation)]
        clip[start:stop] = string(excitation, frequency_hz, t60_s, damping, sample_rate)
    return clip


def _chord(rng: np.random.Generator) -> list[float]:
    """Frequencies of an open chord, with a capo now and then and a guitar slightly out of tune."""
    frets = _CHORDS[rng.integers(len(_CHORDS))]
    shift = rng.choice((0, 0, 2, 4)) + rng.uniform(-0.3, 0.3)
    return [
        open_hz * 2.0 ** ((fret + shift) / 12.0)
        for open_hz, fret in zip(_GUITAR_OPEN_HZ, frets, strict=True)
        if fret is not None
    ]


STRINGS = {"Acoustic_guitar": _acoustic_guitar, "Bass_guitar": _bass_guitar, "Strum": _strum}
