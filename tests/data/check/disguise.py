"""Recordings made hard to recognise: cut, louder or quieter, at another rate, encoded at a low bit rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from earmark.audio.resample import resample

DISGUISES = ("mp3", "ogg", "trim", "gain-mp3", "trim-gain-mp3", "trim-16k-ogg", "trim-gain-22k-mp3", "16k-mp3")
"""What is done to a recording, in this order."""

ENCODINGS = {"mp3": ("MP3", "MPEG_LAYER_III", 0.9), "ogg": ("OGG", "VORBIS", 1.0)}
"""Format, codec and level of compression: MP3 at about 35 kbit/s, Ogg Vorbis at about 45."""

RATES = {"16k": 16_000, "22k": 22_050}


def disguise(samples: np.ndarray, rate: int, how: str, rng: np.random.Generator, target: Path) -> float:
    """Write a disguised recording.

    Parameters
    ----------
    samples, rate
        The recording; its sound reaches from the first sample to the last.
    how
        Parts of one of `DISGUISES`: ``trim`` cuts off 20 to 40 % at each end, ``gain`` makes 12 dB louder where that
        does not clip, else quieter.
    target
        Where to; its suffix is added.

    Returns
    -------
    float
        By how much it begins later, in seconds.
    """
    first = 0
    if "trim" in how:
        first, left_out = (int(len(samples) * rng.uniform(0.2, 0.4)) for _ in range(2))
        samples, first = samples[first : len(samples) - left_out], first
    if "gain" in how:
        samples = samples * (4 if np.abs(samples).max() < 0.25 else 0.25)
    offset_s = first / rate
    for name, other_rate in RATES.items():
        if name in how:
            samples, rate = resample(samples.astype(np.float32), rate, other_rate), other_rate
    for suffix, (container, codec, level) in ENCODINGS.items():
        if suffix in how:
            path = target.with_suffix(f".{suffix}")
            soundfile.write(path, samples, rate, format=container, subtype=codec, compression_level=level)
            return offset_s
    soundfile.write(target.with_suffix(".wav"), samples, rate)
    return offset_s


def active(samples: np.ndarray) -> np.ndarray:
    """A recording without the silence around it: what is below a thousandth of its peak."""
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() / 1000)
    return samples[loud[0] : loud[-1] + 1]
