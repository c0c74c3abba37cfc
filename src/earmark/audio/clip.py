"""The length of a clip: silence at its ends cut off, a short one made longer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from earmark.errors import AudioError, did_you_mean

QUIETEST_POWER = 1e-10
"""Mean square of a frame below which all is equally silent: 100 dB below full scale."""

Lengthening = Literal["constant", "centre", "wrap"]


def trim_silence(samples: np.ndarray, *, top_db: float, frame_length: int = 2048, hop_length: int = 512) -> np.ndarray:
    """Cut off what is silent at both ends.

    A frame is silent when its mean square is `top_db` or more below that of the loudest frame. Frames are centred on
    multiples of `hop_length`, with zeros outside the clip; everything from the first loud frame's centre to one hop
    behind the last one's stays. This is the definition of `librosa.effects.trim`.

    Parameters
    ----------
    samples
        (n_samples,) floating point, full scale at ±1.
    top_db
        In dB, above 0.
    frame_length, hop_length
        In samples, 1 at the least.

    Returns
    -------
    np.ndarray
        A view of the samples. A clip that is silent from end to end comes back unchanged, as does one that is nowhere
        louder than `top_db` above `QUIETEST_POWER`.

    Raises
    ------
    ValueError
        When a parameter is out of its range.
    AudioError
        When the samples are not (n_samples,).
    """
    _check_mono(samples)
    start, stop = loud_span([samples], top_db=top_db, frame_length=frame_length, hop_length=hop_length)
    return samples[start:stop]


def loud_span(
    blocks: Iterable[np.ndarray], *, top_db: float, frame_length: int = 2048, hop_length: int = 512
) -> tuple[int, int]:
    """What `trim_silence` keeps of a clip that comes in blocks, in memory that grows by its frames alone.

    Parameters
    ----------
    blocks
        (n_samples,) floating point each, of any lengths; one after the other, the clip.
    top_db, frame_length, hop_length
        As in `trim_silence`.

    Returns
    -------
    start, stop
        First sample that stays, and the one behind the last.

    Raises
    ------
    ValueError
        When a parameter is out of its range.
    """
    if not 0 < top_db < np.inf:
        raise ValueError(f"top_db={top_db}; expected a number above 0, such as 60")
    if frame_length < 1 or hop_length < 1:
        raise ValueError(f"frame_length={frame_length}, hop_length={hop_length}; expected at least 1 sample each")
    n_samples, powers = 0, []
    held = beyond = np.zeros(frame_length // 2, dtype=np.float32)
    for block in blocks:
        n_samples += len(block)
        held = np.concatenate([held, block])
        # a hop longer than the frame has to be there as well before it can be gone over
        n_frames = max(0, (len(held) - max(frame_length, hop_length)) // hop_length + 1)
        powers.append(_frame_power(held, n_frames, frame_length, hop_length))
        held = held[n_frames * hop_length :]
    if not n_samples:
        return 0, 0
    held = np.concatenate([held, beyond])
    powers.append(_frame_power(held, (len(held) - frame_length) // hop_length + 1, frame_length, hop_length))
    power = np.maximum(np.concatenate(powers), QUIETEST_POWER)
    loud = np.flatnonzero(10 * np.log10(power / power.max()) > -top_db)
    return int(loud[0]) * hop_length, min(n_samples, (int(loud[-1]) + 1) * hop_length)


def lengthen(samples: np.ndarray, n_samples: int, how: Lengthening) -> np.ndarray:
    """Make a clip at least so long.

    Parameters
    ----------
    samples
        (n,) floating point.
    n_samples
        Shorter clips become this long; others stay as they are.
    how
        ``"constant"`` puts zeros behind the clip, ``"centre"`` half of them before it (the odd one behind), ``"wrap"``
        repeats the clip.

    Returns
    -------
    np.ndarray
        (max(n, n_samples),), of the same type.

    Raises
    ------
    ValueError
        When `how` is none of these.
    AudioError
        When the samples are not (n,), or there are none to repeat.
    """
    _check_mono(samples)
    if how not in get_args(Lengthening):
        known = ", ".join(map(repr, get_args(Lengthening)))
        raise ValueError(f"how={how!r}; expected one of {known}{did_you_mean(str(how), get_args(Lengthening))}")
    n_missing = n_samples - len(samples)
    if n_missing <= 0:
        return samples
    if how == "wrap":
        if not len(samples):
            raise AudioError("a clip holds no samples, which cannot be repeated; expected at least one")
        return np.resize(samples, n_samples)
    n_before = n_missing // 2 if how == "centre" else 0
    return np.pad(samples, (n_before, n_missing - n_before))


def _check_mono(samples: np.ndarray) -> None:
    if samples.ndim != 1:
        raise AudioError(f"a clip has shape {samples.shape}; expected (n_samples,); average its channels first")


def _frame_power(samples: np.ndarray, n_frames: int, frame_length: int, hop_length: int) -> np.ndarray:
    """Mean square of each of the first frames, (n_frames,)."""
    if n_frames < 1:
        return np.zeros(0, dtype=np.float32)
    frames = sliding_window_view(samples, frame_length)[::hop_length][:n_frames]
    power: np.ndarray = np.einsum("ij,ij->i", frames, frames) / frame_length
    return power
