"""Views of a clip that a network has not seen: another window, a little louder or earlier.

Scores of several views, averaged, are steadier than those of one; this is test-time augmentation. A view changes what
training changes too: where a window lies, the gain, and, within a fraction of a second, when things happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np

from earmark.audio.picture import PictureSpec, normalizer, windows_at
from earmark.audio.waveform_windows import waveform_windows


class TtaSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Test-time augmentation.

    Attributes
    ----------
    n
        Views of each clip; 0 for none.
    weight
        Share of the views' mean in a clip's scores; the rest is the share of what the clip scores as it is.
    windows
        What is scored of a view: ``"random"``, one window of it; ``"all"``, all overlapping windows, as of the clip
        itself, which takes as many times as long.
    gain_db
        Each view is up to so much louder or quieter, in dB.
    shift_s
        Each view is turned by up to so much, in seconds: what leaves at one end enters at the other.
    seed
        Of the draws; each clip has its own.
    """

    n: Annotated[int, msgspec.Meta(ge=0)] = 0
    weight: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    windows: Literal["random", "all"] = "random"
    gain_db: Annotated[float, msgspec.Meta(ge=0)] = 3.0
    shift_s: Annotated[float, msgspec.Meta(ge=0)] = 0.1
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0


@dataclass(frozen=True)
class View:
    """One view.

    Attributes
    ----------
    start
        First frame of its one window; negative where the clip is shorter than the window and begins later in it.
    n_turned
        Frames that the clip is turned by, to the right.
    gain_db
        In dB.
    """

    start: int
    n_turned: int
    gain_db: float


def draw_views(
    n_frames: int, window_frames: int, frame_rate: float, spec: TtaSpec, rng: np.random.Generator
) -> list[View]:
    """Draw a clip's views: windows spread over it, one at random in each of `n` equal parts of where they may begin.

    Parameters
    ----------
    n_frames
        Of the clip.
    window_frames
        Length of a window.
    frame_rate
        In Hz.
    spec
        How many, and how different.
    rng
        Draws.

    Returns
    -------
    list of View
        `n` of them.
    """
    room = n_frames - window_frames
    begin = np.floor((np.arange(spec.n) + rng.random(spec.n)) / max(spec.n, 1) * (abs(room) + 1)).astype(int)
    longest = round(spec.shift_s * frame_rate)
    turned = rng.integers(-longest, longest + 1, size=spec.n)
    gains_db = rng.uniform(-spec.gain_db, spec.gain_db, size=spec.n)
    sign = 1 if room >= 0 else -1
    return [View(*drawn) for drawn in zip((sign * begin).tolist(), turned.tolist(), gains_db.tolist(), strict=True)]


def view_pictures(
    spectrogram: np.ndarray, spec: PictureSpec, window_frames: int, starts: list[int], view: View
) -> np.ndarray:
    """Cut windows from a view of a spectrogram; it is normalised as the clip is, so that its gain shows.

    Parameters
    ----------
    spectrogram
        (n_mels, n_frames), from `earmark.audio.picture.clip_log_mel`.
    spec
        The front end.
    window_frames
        Length of a window.
    starts
        First frames of the windows.
    view
        Its gain and turn; `start` is not looked at.

    Returns
    -------
    np.ndarray
        (n_windows, n_channels, height, window_frames) float32.
    """
    log_mel = spec.log_mel
    louder = np.roll(spectrogram, view.n_turned, axis=1) + np.float32(view.gain_db / log_mel.db_per_unit)
    np.maximum(louder, np.float32(log_mel.silence), out=louder)
    return windows_at(louder, spec, window_frames, starts, normalizer(spectrogram, spec))


def view_waveforms(
    waveform: np.ndarray, spec: PictureSpec, window_frames: int, starts: list[int], view: View
) -> np.ndarray:
    """Cut windows from a view of a waveform, for networks that take those.

    Parameters
    ----------
    waveform
        (n_samples,) at the front end's rate.
    spec
        The front end.
    window_frames
        Length of a window.
    starts
        First frames of the windows; or one that is negative, for a clip that is shorter than a window.
    view
        Its gain and turn; `start` is not looked at.

    Returns
    -------
    np.ndarray
        (n_windows, n_samples) float32.
    """
    hop_length = spec.log_mel.hop_length
    louder = np.roll(waveform, view.n_turned * hop_length) * np.float32(10 ** (view.gain_db / 20))
    if starts[0] < 0:
        n_before = -starts[0] * hop_length
        louder = np.pad(louder, (n_before, 0), mode="wrap" if spec.short == "wrap" else "constant")
        starts = [0]
    return waveform_windows(louder, spec.log_mel, window_frames)[starts]
