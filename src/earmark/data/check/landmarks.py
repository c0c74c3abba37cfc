"""Fingerprints of sound: constellations of spectral peaks, after Wang (2003), three peaks to a landmark.

A recording keeps its strongest spectral peaks when it is cut, made louder, resampled or encoded with loss. How three
neighbouring peaks lie to each other says nothing of level and of where a clip begins, so two clips of one recording
share such landmarks, all of them at one distance in time.

Source: A. Wang, "An industrial-strength audio search algorithm", ISMIR 2003. There, two peaks make a landmark; with
three, one landmark in a billion fits by chance instead of one in a million, which every clip against every clip needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft

SAMPLE_RATE = 16_000
"""Of what fingerprints are made from, in Hz."""

N_FFT, HOP_LENGTH = 1024, 64
"""64 ms and 4 ms: the hop is short so that it hardly matters between which samples a clip was cut."""

FRAME_S = HOP_LENGTH / SAMPLE_RATE
"""From one frame to the next, in seconds."""

BINS = slice(3, 480)
"""47 Hz to 7.5 kHz: no hum of the mains, no edge of a resampler's filter."""

PEAK_FRAMES, PEAK_BINS = 12, 8
"""A peak is the largest value within so many frames and bins to each side: 48 ms and 125 Hz."""

LOCAL_FRAMES, LOCAL_POWER = 250, 1e-6
"""A peak is at most 60 dB below the largest value within a second to each side; what is weaker, codecs leave out."""

SMALLEST_POWER = 1e-6
"""Of a peak: that of a sine 108 dB below full scale, less than 16-bit samples hold."""

N_TARGETS = 4
"""Peaks that follow an anchor and make landmarks with it, two at a time."""

TARGET_FRAMES, TARGET_BINS = 127, 60
"""How far they may lie from the anchor: half a second, and 940 Hz to each side."""

COARSE_FRAMES = 16
"""Distances in time are told in steps of 64 ms, as peaks move by some frames when a clip is encoded again."""

N_NEIGHBOURS = 40
"""Peaks after the anchor among which targets are looked for."""

N_REPEATS = 4
"""Times that a clip's fingerprint holds the same landmark, at the most: a steady tone says the same again and again."""

CODE_BITS = 31
"""9 for the anchor's bin, 7 for the bin of each target, 4 for the time of each."""

BLOCK_FRAMES = 7500
"""Frames looked at together: half a minute, so that memory does not grow with the recording."""


def fingerprint(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Make the fingerprint of a recording.

    Parameters
    ----------
    blocks
        The samples at `SAMPLE_RATE`, (n,) float32 each, in pieces of any length.

    Returns
    -------
    codes, frames
        (n_landmarks,) uint32 below 2 ** `CODE_BITS`, sorted, and (n_landmarks,) int64: which landmark, and in which
        frame of `FRAME_S` its first peak lies. There are none in silence, and some 700 a second in most sounds.
    """
    found = [_peaks(samples, first, last) for samples, first, last in _windows(blocks)]
    frames = np.concatenate([frames for frames, _ in found])
    bins = np.concatenate([bins for _, bins in found])
    return _landmarks(frames, bins)


def _windows(blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int, bool]]:
    """Samples of `BLOCK_FRAMES` frames and what their peaks depend on, the first of these frames, and if it is the end.

    Frame i is centred on sample i x `HOP_LENGTH`; half a window of zeros lies before the recording and behind it.
    """
    margin = LOCAL_FRAMES + PEAK_FRAMES
    step, reach = BLOCK_FRAMES * HOP_LENGTH, (BLOCK_FRAMES + 2 * margin) * HOP_LENGTH + N_FFT
    held = np.zeros(margin * HOP_LENGTH + N_FFT // 2, dtype=np.float32)
    first = 0
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > reach:
            yield held[:reach], first, False
            held, first = held[step:], first + BLOCK_FRAMES
    yield np.concatenate([held, np.zeros(N_FFT // 2, dtype=np.float32)]), first, True


def _peaks(samples: np.ndarray, first: int, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Frame and bin of each peak, in order of frames."""
    window = np.hanning(N_FFT).astype(np.float32)
    spectrum = rfft(sliding_window_view(samples, N_FFT)[::HOP_LENGTH] * window, axis=1)[:, BINS]
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    largest = _largest_around(_largest_around(power, PEAK_FRAMES).T, PEAK_BINS).T
    floor = LOCAL_POWER * _largest_around(power.max(axis=1, keepdims=True), LOCAL_FRAMES)
    is_peak = (power == largest) & (power > np.maximum(floor, SMALLEST_POWER))
    margin = LOCAL_FRAMES + PEAK_FRAMES
    is_peak = is_peak[margin:] if last else is_peak[margin : margin + BLOCK_FRAMES]
    frames, bins = np.nonzero(is_peak)
    return frames + first, bins + BINS.start


def _largest_around(values: np.ndarray, n_around: int) -> np.ndarray:
    """Maximum over the first axis within `n_around` to each side, by doubling the width that is covered."""
    width, covered = 2 * n_around + 1, 1
    border = np.full((n_around, *values.shape[1:]), -np.inf, dtype=values.dtype)
    largest = np.concatenate([border, values, border])
    while 2 * covered <= width:
        largest = np.maximum(largest[:-covered], largest[covered:])
        covered *= 2
    missing = width - covered
    return np.maximum(largest[:-missing], largest[missing:]) if missing else largest


def _landmarks(frames: np.ndarray, bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    targets = _targets(frames, bins)
    codes, anchors = [], []
    for one, other in combinations(range(N_TARGETS), 2):
        anchor = np.flatnonzero(targets[:, other] >= 0)
        code = bins[anchor]
        for target in (targets[anchor, one], targets[anchor, other]):
            code = code << 7 | (bins[target] - bins[anchor] + TARGET_BINS)
            code = code << 4 | (frames[target] - frames[anchor]) // COARSE_FRAMES
        codes.append(code)
        anchors.append(anchor)
    return _without_repeats(np.concatenate(codes).astype(np.uint32), frames[np.concatenate(anchors)])


def _targets(frames: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """(n_peaks, N_TARGETS) positions of the next peaks that lie near enough, -1 where there are no more."""
    targets = np.full((len(frames), N_TARGETS), -1)
    n_found = np.zeros(len(frames), dtype=np.int64)
    for ahead in range(1, min(N_NEIGHBOURS + 1, len(frames))):
        distance = frames[ahead:] - frames[:-ahead]
        near = (distance > 0) & (distance <= TARGET_FRAMES) & (np.abs(bins[ahead:] - bins[:-ahead]) <= TARGET_BINS)
        anchor = np.flatnonzero(near & (n_found[:-ahead] < N_TARGETS))
        targets[anchor, n_found[anchor]] = anchor + ahead
        n_found[anchor] += 1
    return targets


def _without_repeats(codes: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort by code, then frame, and keep the first `N_REPEATS` of each code."""
    order = np.lexsort((frames, codes))
    codes, frames = codes[order], frames[order]
    kept = np.ones(len(codes), dtype=bool)
    kept[N_REPEATS:] = codes[N_REPEATS:] != codes[:-N_REPEATS]
    return codes[kept], frames[kept]
