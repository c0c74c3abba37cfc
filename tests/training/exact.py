"""The front end anew: float64, from the published formulas, without a line of earmark's own mathematics.

Sources: M. Slaney, *Auditory Toolbox*, 1998 (mel scale, triangles of unit area); S. Young et al., *The HTK Book* 3.4,
equation 5.13 (HTK's scale) and 5.16 (deltas); `MelBanks` in Kaldi's `src/feat/mel-computations.cc` (D. Povey et al.,
ASRU 2011): 1127 ln(1 + f / 700), triangles straight over mels, bins 0 to n_fft / 2 - 1.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec


def to_mel(hz: float, scale: str) -> float:
    if scale == "slaney":
        return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)
    return 2595 * math.log10(1 + hz / 700) if scale == "htk" else 1127 * math.log(1 + hz / 700)


def to_hz(mel: float, scale: str) -> float:
    if scale == "slaney":
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)
    return 700 * (10 ** (mel / 2595) - 1) if scale == "htk" else 700 * (math.exp(mel / 1127) - 1)


@lru_cache(maxsize=16)
def exact_filters(spec: LogMelSpec) -> np.ndarray:
    """(n_mels, n_fft // 2 + 1), one weight at a time."""
    scale, filters = spec.mel_scale, np.zeros((spec.n_mels, spec.n_fft // 2 + 1))
    n_bins = spec.n_fft // 2 + (0 if scale == "kaldi" else 1)
    lowest = to_mel(spec.fmin, scale)
    step = (to_mel(spec.fmax, scale) - lowest) / (spec.n_mels + 1)
    for band in range(spec.n_mels):
        corners = [lowest + (band + i) * step for i in range(3)]
        area = 2 / (to_hz(corners[2], scale) - to_hz(corners[0], scale)) if spec.mel_norm == "area" else 1
        if scale != "kaldi":
            corners = [to_hz(mel, scale) for mel in corners]
        left, peak, right = corners
        for k in range(n_bins):
            hz = k * spec.sample_rate / spec.n_fft
            at = to_mel(hz, scale) if scale == "kaldi" else hz
            if left < at < right:
                filters[band, k] = area * ((at - left) / (peak - left) if at <= peak else (right - at) / (right - peak))
    return filters


def exact_window(spec: LogMelSpec) -> np.ndarray:
    length = spec.win_length or spec.n_fft
    period = length if spec.window == "hann" else length - 1
    window, first = np.zeros(spec.n_fft), (spec.n_fft - length) // 2
    for i in range(length):
        window[first + i] = math.sin(math.pi * i / period) ** 2
    return window


def sample_at(position: np.ndarray, waveform: np.ndarray, padding: str) -> np.ndarray:
    """The clip at any positions, also before its start and after its end."""
    last = len(waveform) - 1
    if padding == "zeros":
        inside = (position >= 0) & (position <= last)
        return np.where(inside, waveform[np.clip(position, 0, last)], 0)
    position = np.abs(position) % (2 * last) if last else np.zeros_like(position)
    return waveform[np.where(position > last, 2 * last - position, position)]


def exact_log_mel(waveform: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """(n_mels, n_frames) float64 in the specification's unit, of what float32 samples the waveform has."""
    samples = np.asarray(waveform, dtype=np.float32).astype(np.float64)
    if spec.pre_emphasis and len(samples) > 1:
        samples = samples[1:] - spec.pre_emphasis * samples[:-1]
    starts = np.arange(0, len(samples) + 1, spec.hop_length) - spec.n_fft // 2
    frames = sample_at(starts[:, None] + np.arange(spec.n_fft), samples, spec.padding)
    spectrum = np.abs(np.fft.rfft(frames * exact_window(spec)))
    bands = exact_filters(spec) @ (spectrum**2 if spec.spectrum == "power" else spectrum).T
    floor = 10 ** (spec.floor_db / (10 if spec.spectrum == "power" else 20))
    bands = np.maximum(bands, floor) if spec.floor == "clip" else bands + floor
    if spec.scale == "ln":
        return np.log(bands)
    return (10 if spec.spectrum == "power" else 20) * np.log10(bands)


def db_per_unit(spec: LogMelSpec) -> float:
    """Decibels to one unit of the spectrogram: of power e is 4.343 dB, of magnitude twice as much."""
    if spec.scale == "db":
        return 1.0
    return (10 if spec.spectrum == "power" else 20) * math.log10(math.e)


def exact_normalized(log_mel: np.ndarray, spec: PictureSpec) -> tuple[np.ndarray, np.ndarray]:
    """(n_mels, n_frames) normalised values, and how many decibels their unit is: (n_mels, 1), or (1, 1)."""
    unit_db = db_per_unit(spec.log_mel)
    if spec.normalization in {"affine", "band"}:
        shift, spread = (np.reshape(value, (-1, 1)) for value in (spec.mean, spec.std))
    elif spec.normalization == "clip":
        shift, spread = log_mel.mean(), max(math.sqrt(np.mean((log_mel - log_mel.mean()) ** 2)), 1e-3)
    else:
        shift = max(log_mel.min(), log_mel.max() - spec.top_db / unit_db)
        spread = log_mel.max() - shift or np.inf
    normalized = (log_mel - shift) / spread
    if spec.normalization == "minmax":
        normalized = np.clip(normalized, 0, 1)
    return normalized, np.reshape(spread, (-1, 1)) * unit_db


def exact_delta(values: np.ndarray) -> np.ndarray:
    """Slope of (n_mels, n_frames) over four frames on either side, one frame after the other."""
    n_frames, slopes = values.shape[1], np.empty_like(values)
    for t in range(n_frames):
        ahead = [values[:, min(t + i, n_frames - 1)] - values[:, max(t - i, 0)] for i in range(1, 5)]
        slopes[:, t] = sum(i * difference for i, difference in enumerate(ahead, start=1)) / 60
    return slopes


def exact_channels(normalized: np.ndarray, spec: PictureSpec) -> np.ndarray:
    """(n_channels, height, n_frames)."""
    if spec.channels == "colour":
        third = len(normalized) // 3
        return np.stack([normalized[:third], normalized[third : 2 * third], normalized[2 * third :]])
    if spec.channels == "delta":
        return np.stack([normalized, exact_delta(normalized), exact_delta(exact_delta(normalized))])
    if spec.channels == "frequency-map":
        rows = [2 * band / (len(normalized) - 1) - 1 for band in range(len(normalized))]
        return np.stack([normalized, np.repeat(np.reshape(rows, (-1, 1)), normalized.shape[1], axis=1)])
    return normalized[None]
