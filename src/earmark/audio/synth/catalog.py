"""The labels that can be made, and one call that makes any of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from earmark.audio.synth.air import AIR
from earmark.audio.synth.bells import BELLS
from earmark.audio.synth.creatures import CREATURES
from earmark.audio.synth.percussion import PERCUSSION
from earmark.audio.synth.rooms import record, to_peak
from earmark.audio.synth.strings import STRINGS
from earmark.audio.synth.water import WATER
from earmark.errors import AudioError
from earmark.labels import Vocabulary

Generator = Callable[[int, np.random.Generator, int], np.ndarray]
"""``(n_samples, rng, sample_rate)`` to a dry (n_samples,) float64 waveform of any level, never silent."""

GENERATORS: dict[str, Generator] = dict(sorted({**AIR, **BELLS, **CREATURES, **PERCUSSION, **STRINGS, **WATER}.items()))
"""One a label. FSDKaggle2019's order is plain alphabetical."""

LABELS: tuple[str, ...] = tuple(GENERATORS)
_VOCABULARY = Vocabulary(LABELS)

DURATION_RANGE_S = (0.8, 4.0)
SHORTEST_S = 0.1
# A cricket at 5.4 kHz and the edge of a hi-hat's band must lie below half of the rate.
LOWEST_SAMPLE_RATE = 16000


def synthesize(
    label: str, rng: np.random.Generator, *, duration_s: float | None = None, sample_rate: int = 44100
) -> np.ndarray:
    """A new recording of something that has the label: another instrument, pattern and room at each call.

    Parameters
    ----------
    label
        One of `LABELS`.
    rng
        Source of all variety; the same state gives the same clip.
    duration_s
        Length, 0.1 s or more; drawn between 0.8 and 4 s without.
    sample_rate
        In Hz, 16000 or more.

    Returns
    -------
    np.ndarray
        (round(duration_s x sample_rate),) float32 in [-1, 1], with its peak at -26 to -1 dB of full scale.

    Raises
    ------
    LabelError
        If no sound is known for the label.
    AudioError
        If the duration or the sample rate is too low.

    Examples
    --------
    >>> clip = synthesize("Cricket", np.random.default_rng(0), duration_s=1.5)
    >>> clip.shape, clip.dtype
    ((66150,), dtype('float32'))
    """
    _VOCABULARY.index(label)
    if sample_rate < LOWEST_SAMPLE_RATE:
        raise AudioError(
            f"sample rate {sample_rate} Hz is too low to synthesise at: expected {LOWEST_SAMPLE_RATE} Hz or more; "
            "synthesise at a higher rate and resample"
        )
    if duration_s is None:
        duration_s = rng.uniform(*DURATION_RANGE_S)
    elif not (math.isfinite(duration_s) and duration_s >= SHORTEST_S):
        raise AudioError(
            f"duration {duration_s} s cannot be synthesised: expected a finite {SHORTEST_S} s or more; "
            "ask for a longer clip and cut it"
        )
    n_samples = round(duration_s * sample_rate)
    return record(GENERATORS[label](n_samples, rng, sample_rate), rng, sample_rate)


def mix(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two clips heard at once, up to 6 dB apart in level; the shorter one starts at random within the longer.

    Parameters
    ----------
    first, second
        (n_first,) and (n_second,) clips of one sample rate.
    rng
        Source of the levels and of the start.

    Returns
    -------
    np.ndarray
        (max(n_first, n_second),) float32 in [-1, 1], with its peak at -20 to -1 dB of full scale.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> mix(synthesize("Drip", rng, duration_s=1.0), synthesize("Knock", rng, duration_s=2.0), rng).shape
    (88200,)
    """
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    difference_db = rng.uniform(-6.0, 6.0)
    start = int(rng.integers(len(longer) - len(shorter) + 1))
    both = longer / (np.sqrt(np.mean(longer**2)) + 1e-12)
    gain = 10.0 ** (difference_db / 20.0) / (np.sqrt(np.mean(shorter**2)) + 1e-12)
    both[start : start + len(shorter)] += gain * shorter
    return to_peak(both, rng.uniform(-20.0, -1.0))
