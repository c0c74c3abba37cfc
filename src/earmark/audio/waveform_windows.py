"""Windows cut from a clip before its spectrogram is made, for networks that take waveforms.

A frame of a spectrogram hears half a transform to either side of its centre. So a clip is padded by that much at its
ends, once, and a window of W frames is cut with what its first and last frame hear beyond it,

    n = (W - 1) hop_length + n_fft samples,

one more where there is pre-emphasis, which takes one. The network makes a frame wherever a whole transform fits: the
frames of a window are then those of the clip's own spectrogram. A clip shorter than a window is given whole, and the
network fills the rest of its spectrogram.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from earmark.audio.logmel import LogMelSpec, checked


def window_samples(spec: LogMelSpec, window_frames: int) -> int:
    """Samples of a window of so many frames, with what its ends hear."""
    return (window_frames - 1) * spec.hop_length + spec.n_fft + int(spec.pre_emphasis > 0)


def padding_samples(spec: LogMelSpec) -> tuple[int, int]:
    """Samples that are put before and behind a clip."""
    return spec.n_fft // 2, spec.n_fft - spec.n_fft // 2


def waveform_windows(waveform: np.ndarray, spec: LogMelSpec, window_frames: int) -> np.ndarray:
    """Every window that can be cut from a clip, by the frame it begins with.

    Parameters
    ----------
    waveform
        (n_samples,) at `spec.sample_rate`; at least one sample.
    spec
        The front end, which says what lies outside the clip.
    window_frames
        Length of a window in frames.

    Returns
    -------
    np.ndarray
        (n_starts, window_samples) float32, a view, row i for the window that begins with frame i; (1, n_samples and
        padding) for a clip of no more frames than a window.

    Raises
    ------
    AudioError
        When the waveform is not one-dimensional or has no sample.

    Examples
    --------
    >>> waveform_windows(np.zeros(32000), LogMelSpec(), 50).shape
    (52, 16704)
    >>> waveform_windows(np.zeros(8000), LogMelSpec(), 50).shape
    (1, 9024)
    """
    waveform = checked(waveform)
    padded = np.pad(waveform, padding_samples(spec), mode="reflect" if spec.padding == "reflect" else "constant")
    n_frames = spec.n_frames(len(waveform))
    if n_frames <= window_frames:
        return padded[None]
    view = sliding_window_view(padded, window_samples(spec, window_frames))
    return view[:: spec.hop_length][: n_frames - window_frames + 1]
