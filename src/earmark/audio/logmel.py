"""Log-mel spectrograms in NumPy and SciPy: float32, in blocks that fit the cache; float64 where rounding would show.

The definition is librosa's: a centred short-time Fourier transform, power, a mel filter bank, decibels.

    M[b, t] = 10 log10 max(floor, sum_k W[b, k] |sum_n w[n] x[t hop + n - n_fft/2] e^(-2 pi i k n / n_fft)|^2)

What a front end may do otherwise stands in `LogMelSpec`; its defaults are this formula with a periodic Hann window,
Slaney's scale and triangles of unit area.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from earmark.audio.fft import rfft
from earmark.audio.mel import filter_bank
from earmark.errors import AudioError

FRAMES_PER_BLOCK = 256
"""Frames transformed at a time: few enough that a block of spectra stays within a core's caches, and enough that
threads seldom meet at the interpreter's lock, which each step of a block takes."""

BANDS_PER_GROUP = 16
"""Bands filtered by one matrix product."""

SHORTEST_WINDOW = 16
"""Samples; the window of one or two would be all zeros."""

EXACT_DB = 80.0
"""Bands this far below a frame's loudest are exact to 2e-3 dB."""

COARSE_BELOW = 1.5e-8
"""Times a frame's energy: power in a bin below which float32's rounding moves a level by more than some 1e-3 dB."""

DB_PER_POWER = 10.0
"""Decibels to a factor of ten in power; twice as many to one in magnitude."""


class LogMelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a log-mel spectrogram is made with.

    Attributes
    ----------
    sample_rate
        In Hz.
    n_fft
        Length of the transform, in samples.
    win_length
        Length of the window, centred in the transform, in samples; 0 for `n_fft`.
    hop_length
        Samples from one frame to the next.
    n_mels
        Number of bands.
    fmin, fmax
        Where the lowest band begins and the highest ends, in Hz.
    mel_scale
        ``"slaney"``, ``"htk"`` or ``"kaldi"``; see `earmark.audio.mel`.
    mel_norm
        ``"area"``: triangles of unit area over Hz. ``"peak"``: triangles whose peak is 1.
    window
        ``"hann"``, periodic as for analysis, or ``"hann-symmetric"``, whose last sample is its first.
    padding
        What lies outside the clip: ``"zeros"``, or ``"reflect"`` for the clip mirrored at its ends.
    pre_emphasis
        a in ``y[n] = x[n] - a x[n - 1]``; the first sample, which has no predecessor, is dropped. 0 for none.
    spectrum
        ``"power"`` or ``"magnitude"``, what the filters are applied to.
    scale
        ``"db"``: 10 log10 of power, 20 log10 of magnitude. ``"ln"``: the natural logarithm of either.
    floor_db
        Level below which everything is as good as silence, in dB.
    floor
        ``"clip"``: what is below the floor is raised to it. ``"add"``: the floor is added everywhere.
    """

    sample_rate: Annotated[int, msgspec.Meta(ge=1000, le=384_000)] = 32_000
    n_fft: Annotated[int, msgspec.Meta(ge=SHORTEST_WINDOW, le=65_536)] = 1024
    win_length: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 0
    hop_length: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 320
    n_mels: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64
    fmin: Annotated[float, msgspec.Meta(ge=0)] = 20.0
    fmax: Annotated[float, msgspec.Meta(gt=0)] = 16_000.0
    mel_scale: Literal["slaney", "htk", "kaldi"] = "slaney"
    mel_norm: Literal["area", "peak"] = "area"
    window: Literal["hann", "hann-symmetric"] = "hann"
    padding: Literal["zeros", "reflect"] = "zeros"
    pre_emphasis: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    spectrum: Literal["power", "magnitude"] = "power"
    scale: Literal["db", "ln"] = "db"
    floor_db: Annotated[float, msgspec.Meta(ge=-200, le=0)] = -100.0
    floor: Literal["clip", "add"] = "clip"

    def __post_init__(self) -> None:
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin {self.fmin:g} Hz and fmax {self.fmax:g} Hz do not fit: expected "
                f"fmin < fmax <= {self.sample_rate / 2:g} Hz, half the sample rate"
            )
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}; make it that or less")
        if 0 < self.win_length < SHORTEST_WINDOW:
            raise ValueError(
                f"win_length {self.win_length} is too short for a window; make it {SHORTEST_WINDOW} or more, or 0 for "
                f"n_fft {self.n_fft}"
            )

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def db_per_unit(self) -> float:
        """Decibels to one unit of the spectrogram: 1, or what a neper of power or of magnitude is."""
        if self.scale == "db":
            return 1.0
        return self.db_per_decade / np.log(10)

    @property
    def silence(self) -> float:
        """What digital silence is in the spectrogram, in its own unit."""
        return self.floor_db / self.db_per_unit

    @property
    def floor_value(self) -> float:
        """The floor before the logarithm, in power or magnitude."""
        return float(10 ** (self.floor_db / self.db_per_decade))

    @property
    def db_per_decade(self) -> float:
        """Decibels to a factor of ten: 10 of power, 20 of magnitude."""
        return DB_PER_POWER if self.spectrum == "power" else 2 * DB_PER_POWER

    def n_frames(self, n_samples: int) -> int:
        """Frames of a clip: one at its start, and one each hop after."""
        return 1 + (n_samples - int(self.pre_emphasis > 0 and n_samples > 1)) // self.hop_length


@lru_cache(maxsize=16)
def mel_filters(spec: LogMelSpec) -> np.ndarray:
    """The filter bank of a front end, (n_mels, n_fft // 2 + 1) float32; see `earmark.audio.mel.filter_bank`."""
    return filter_bank(
        sample_rate=spec.sample_rate,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
        scale=spec.mel_scale,
        norm=spec.mel_norm,
    ).astype(np.float32)


@lru_cache(maxsize=16)
def window_of(spec: LogMelSpec) -> np.ndarray:
    """The window of a front end, (n_fft,) float64, zero outside its `win_length`."""
    length = spec.win_length or spec.n_fft
    period = length if spec.window == "hann" else max(length - 1, 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / period)
    before = (spec.n_fft - length) // 2
    return np.pad(window, (before, spec.n_fft - length - before))


@lru_cache(maxsize=16)
def filter_groups(spec: LogMelSpec) -> list[tuple[slice, slice, np.ndarray]]:
    """Neighbouring bands, the bins that they share, and their weights there.

    The filter bank is nearly all zeros. A matrix product for each few bands over their own bins does a tenth of the
    whole product's work, in a tenth of the calls that one product a band would need.
    """
    filters, groups = mel_filters(spec), []
    for first in range(0, spec.n_mels, BANDS_PER_GROUP):
        bands = slice(first, min(first + BANDS_PER_GROUP, spec.n_mels))
        inside = np.flatnonzero(filters[bands].any(axis=0))
        bins = slice(int(inside[0]), int(inside[-1]) + 1)
        groups.append((bands, bins, np.ascontiguousarray(filters[bands, bins])))
    return groups


@lru_cache(maxsize=16)
def _window_in(spec: LogMelSpec, dtype: type) -> np.ndarray:
    """The window of a front end, (n_fft,) in a precision."""
    return window_of(spec).astype(dtype)


@lru_cache(maxsize=16)
def _peak_weights(spec: LogMelSpec) -> np.ndarray:
    """The largest weight of each band's filter, (n_mels, 1) float32."""
    return mel_filters(spec).max(axis=1)[:, None]


def log_mel(waveform: np.ndarray, spec: LogMelSpec, *, n_threads: int = 1) -> np.ndarray:
    """Log-mel spectrogram of a clip.

    Parameters
    ----------
    waveform
        (n_samples,) at `spec.sample_rate`; at least one sample.
    spec
        The front end.
    n_threads
        Threads that share the frames of a long clip.

    Returns
    -------
    np.ndarray
        (n_mels, spec.n_frames(n_samples)) float32, in dB or, for the scale ``"ln"``, nepers; at least `spec.silence`.

    Raises
    ------
    AudioError
        When the waveform is not one-dimensional or has no sample.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(32000) / 32000)
    >>> log_mel(tone, LogMelSpec()).shape
    (64, 101)
    """
    waveform = emphasize(checked(waveform), spec)
    padded = pad_ends(waveform, spec.n_fft // 2, spec.n_fft - spec.n_fft // 2, spec)
    frames = sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
    mel = np.empty((spec.n_mels, len(frames)), dtype=np.float32)
    if n_threads == 1:
        _fill(mel, frames, spec)
    else:
        cuts = np.linspace(0, len(frames), n_threads + 1).astype(int)
        with ThreadPoolExecutor(n_threads) as pool:
            parts = [slice(a, b) for a, b in pairwise(cuts) if a < b]
            list(pool.map(lambda part: _fill(mel[:, part], frames[part], spec), parts))
    return mel


def log_mel_blocks(blocks: Iterable[np.ndarray], spec: LogMelSpec) -> Iterator[np.ndarray]:
    """Log-mel spectrogram of a recording that comes in blocks, in memory that does not grow with it.

    Parameters
    ----------
    blocks
        (n_samples,) each, of any lengths, at `spec.sample_rate`; one after the other, the recording.
    spec
        The front end.

    Yields
    ------
    np.ndarray
        (n_mels, n_frames) float32; side by side, the spectrogram that `log_mel` gives of the whole recording.

    Raises
    ------
    AudioError
        When a block is not one-dimensional, or there is no sample at all.
    """
    before, after = spec.n_fft // 2, spec.n_fft - spec.n_fft // 2
    waiting = np.empty(0, dtype=np.float32)
    tail = np.empty(0, dtype=np.float32)
    begun = False
    for block in _emphasized_blocks(blocks, spec):
        waiting = np.concatenate([waiting, block])
        tail = np.concatenate([tail, block])[-after - 1 :]
        if not begun and len(waiting) > before:  # enough to mirror
            waiting, begun = pad_ends(waiting, before, 0, spec), True
        # a hop longer than the transform has to be there as well before it can be gone over
        n_frames = (len(waiting) - max(spec.n_fft, spec.hop_length)) // spec.hop_length + 1
        if begun and n_frames > 0:
            yield frames_log_mel(waiting, n_frames, spec)
            waiting = waiting[n_frames * spec.hop_length :]
    if not len(tail):
        raise AudioError("a recording has no sample; expected at least one")
    end = pad_ends(tail, 0 if begun else before, after, spec)
    waiting = np.concatenate([waiting, end[len(tail) :]]) if begun else end
    n_frames = (len(waiting) - spec.n_fft) // spec.hop_length + 1
    if n_frames > 0:
        yield frames_log_mel(waiting, n_frames, spec)


def frames_log_mel(samples: np.ndarray, n_frames: int, spec: LogMelSpec) -> np.ndarray:
    """Spectrogram of samples that reach half a transform beyond the first frame's and the last one's centre.

    Parameters
    ----------
    samples
        (n_samples,) float32, at least ``(n_frames - 1) * hop_length + n_fft``, padded and emphasised where they need
        to be; more than that is left alone.
    n_frames
        1 or more.
    spec
        The front end.

    Returns
    -------
    np.ndarray
        (n_mels, n_frames) float32, in the unit of `log_mel`.
    """
    frames = sliding_window_view(samples, spec.n_fft)[:: spec.hop_length][:n_frames]
    mel = np.empty((spec.n_mels, n_frames), dtype=np.float32)
    _fill(mel, frames, spec)
    return mel


def checked(waveform: np.ndarray) -> np.ndarray:
    """The waveform as float32; `AudioError` when it is not one-dimensional or has no sample."""
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 1 or not len(waveform):
        raise AudioError(f"a waveform has shape {waveform.shape}; expected (n_samples,) with at least one; mix to mono")
    return waveform


def emphasize(waveform: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """Apply a front end's pre-emphasis: (n_samples,) to one sample less, or the same where there is none to drop."""
    if not spec.pre_emphasis or len(waveform) < 2:
        return waveform
    return emphasized_after(waveform[0], waveform[1:], spec)


def emphasized_after(before: np.float32, samples: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """Apply a front end's pre-emphasis, which is not 0, to (n_samples,) that follow one sample; as many come out."""
    emphasized = np.empty_like(samples)
    np.multiply(samples[:-1], np.float32(-spec.pre_emphasis), out=emphasized[1:])
    emphasized[:1] = np.float32(-spec.pre_emphasis) * before
    emphasized += samples
    return emphasized


def _emphasized_blocks(blocks: Iterable[np.ndarray], spec: LogMelSpec) -> Iterator[np.ndarray]:
    last = np.empty(0, dtype=np.float32)
    alone = True  # a recording of one sample has nothing to be subtracted from it
    for block in blocks:
        if np.shape(block) == (0,):
            continue
        if not spec.pre_emphasis:
            yield checked(block)
            continue
        joined = np.concatenate([last, checked(block)])
        if len(joined) > 1:
            yield emphasize(joined, spec)
            alone = False
        last = joined[-1:]
    if alone and len(last):
        yield last


def pad_ends(samples: np.ndarray, before: int, after: int, spec: LogMelSpec) -> np.ndarray:
    """Put so many samples before and behind a clip, (n_samples,), as a front end says what lies there."""
    if spec.padding == "zeros":
        return np.pad(samples, (before, after))
    return np.pad(samples, (before, after), mode="reflect")


def _fill(mel: np.ndarray, frames: np.ndarray, spec: LogMelSpec) -> None:
    """Write the spectrogram of (n_frames, n_fft) frames into (n_mels, n_frames).

    In float32, and again in float64 where that is too coarse: beside a bare tone, quiet bands hold nothing but the
    window's side lobes and the rounding of the transform.
    """
    coarse = np.empty(len(frames), dtype=bool)
    for start in range(0, len(frames), FRAMES_PER_BLOCK):
        block = slice(start, start + FRAMES_PER_BLOCK)
        energy = _transformed(frames[block], spec, np.float32, mel[:, block])
        coarse[block] = _is_coarse(mel[:, block], energy, spec)
    again, n_at_once = np.flatnonzero(coarse), FRAMES_PER_BLOCK // 2  # they are twice as large
    for start in range(0, len(again), n_at_once):
        chosen = again[start : start + n_at_once]
        exact = np.empty((spec.n_mels, len(chosen)), dtype=np.float32)
        _transformed(frames[chosen], spec, np.float64, exact)
        mel[:, chosen] = exact
    _floored(mel, spec, out=mel)
    np.log10(mel, out=mel)
    mel *= np.float32(spec.db_per_decade / spec.db_per_unit)


def _floored(mel: np.ndarray, spec: LogMelSpec, out: np.ndarray | None = None) -> np.ndarray:
    """Raise filtered spectra, of any shape, to a front end's floor, or by it; into `out` where it is given."""
    floored: np.ndarray = (np.maximum if spec.floor == "clip" else np.add)(mel, np.float32(spec.floor_value), out=out)
    return floored


def _transformed(frames: np.ndarray, spec: LogMelSpec, dtype: type, out: np.ndarray) -> np.ndarray:
    """Filter the spectra of (n, n_fft) frames into (n_mels, n); gives the (n,) energies of the frames."""
    spectrum = rfft(frames * _window_in(spec, dtype))
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    energy: np.ndarray = power.sum(axis=1)
    if spec.spectrum == "magnitude":
        np.sqrt(power, out=power)
    for bands, bins, weights in filter_groups(spec):
        out[bands] = weights @ power[:, bins].T
    return energy


def _is_coarse(filtered: np.ndarray, energy: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """Which frames have a band, within `EXACT_DB` of their loudest, that the transform's rounding may have moved.

    What is done at the floor comes after and hides rounding that is small beside it.
    """
    coarse_below = energy * np.float32(COARSE_BELOW)
    if spec.spectrum == "magnitude":
        np.sqrt(coarse_below, out=coarse_below)
    peaks = _peak_weights(spec)
    if spec.floor_value >= peaks.max() * coarse_below.max():
        return np.zeros(len(energy), dtype=bool)
    quiet: np.ndarray = _floored(filtered, spec) < peaks * coarse_below
    quiet &= filtered > filtered.max(axis=0) * np.float32(10 ** (-EXACT_DB / spec.db_per_decade))
    return np.any(quiet, axis=0)
