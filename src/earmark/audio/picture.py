"""Pictures of sound: a log-mel spectrogram, normalised, as the channels that a network sees.

Grey is one channel. Colour is a spectrogram of three times the bands whose low third is the red channel, middle third
the green, high third the blue.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np

from earmark.audio.logmel import LogMelSpec, log_mel

N_CHANNELS = {"grey": 1, "colour": 3}


class PictureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From a waveform to what a network sees.

    Attributes
    ----------
    log_mel
        The spectrogram, with all its bands (for colour, three times those of a channel).
    channels
        ``"grey"`` or ``"colour"``.
    normalization
        ``"affine"``: subtract `mean` and divide by `std`, the same for all clips. ``"clip"``: map each
        clip's range, from its maximum down to `top_db` below or its minimum, to [0, 1].
    mean, std
        For ``"affine"``, in the unit of the spectrogram, dB.
    top_db
        For ``"clip"``, in dB.
    """

    log_mel: LogMelSpec = LogMelSpec()
    channels: Literal["grey", "colour"] = "grey"
    normalization: Literal["affine", "clip"] = "affine"
    mean: float = -30.0
    std: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    top_db: Annotated[float, msgspec.Meta(gt=0)] = 80.0

    def __post_init__(self) -> None:
        if self.log_mel.n_mels % self.n_channels:
            raise ValueError(f"{self.channels} needs a multiple of {self.n_channels} bands; got {self.log_mel.n_mels}")

    @property
    def n_channels(self) -> int:
        """Channels of a picture."""
        return N_CHANNELS[self.channels]

    @property
    def height(self) -> int:
        """Bands of one channel."""
        return self.log_mel.n_mels // self.n_channels

    @property
    def silence(self) -> float:
        """Value that a picture has where there is no sound; short clips are padded with it."""
        return 0.0 if self.normalization == "clip" else (self.log_mel.floor_db - self.mean) / self.std


def normalize(log_mel_db: np.ndarray, spec: PictureSpec) -> np.ndarray:
    """Normalise one clip's (n_mels, n_frames) spectrogram in dB; the same shape, float32, without a unit."""
    shift, scale = clip_affine(log_mel_db, spec)
    normalized = (log_mel_db - shift) * scale
    return np.maximum(normalized, np.float32(spec.silence), dtype=np.float32)


def clip_affine(log_mel_db: np.ndarray, spec: PictureSpec) -> tuple[np.float32, np.float32]:
    """Shift in dB and factor in 1/dB that normalise a clip: ``(log_mel_db - shift) * factor``."""
    if spec.normalization == "affine":
        return np.float32(spec.mean), np.float32(1.0 / spec.std)
    highest, lowest = float(log_mel_db.max()), float(log_mel_db.min())
    lowest = max(lowest, highest - spec.top_db)
    # a clip of one level throughout, silence for one, is 0 everywhere
    return np.float32(lowest), np.float32(1.0 / (highest - lowest) if highest > lowest else 0.0)


def to_channels(spectrogram: np.ndarray, spec: PictureSpec) -> np.ndarray:
    """Split (n_mels, n_frames) bands, low to high, into (n_channels, height, n_frames)."""
    return spectrogram.reshape(spec.n_channels, spec.height, -1)


def picture(waveform: np.ndarray, spec: PictureSpec) -> np.ndarray:
    """Make the picture that a network sees of a clip.

    Parameters
    ----------
    waveform
        (n_samples,) at ``spec.log_mel.sample_rate``.
    spec
        The front end.

    Returns
    -------
    np.ndarray
        (n_channels, height, n_frames) float32.
    """
    return to_channels(normalize(log_mel(waveform, spec.log_mel), spec), spec)


def window_starts(n_frames: int, window_frames: int, hop_frames: int) -> list[int]:
    """First frames of the windows that cover a clip: one each hop, the last one ending with the clip.

    A clip no longer than a window has one, at 0.
    """
    if n_frames <= window_frames:
        return [0]
    starts = list(range(0, n_frames - window_frames, hop_frames))
    return [*starts, n_frames - window_frames]


def windows(whole: np.ndarray, window_frames: int, hop_frames: int, silence: float) -> np.ndarray:
    """Cut a picture into windows.

    Parameters
    ----------
    whole
        (n_channels, height, n_frames).
    window_frames, hop_frames
        Length of a window and step from one to the next.
    silence
        What a clip shorter than a window is filled up with, at its end.

    Returns
    -------
    np.ndarray
        (n_windows, n_channels, height, window_frames) float32.
    """
    n_frames = whole.shape[-1]
    if n_frames < window_frames:
        missing = [(0, 0), (0, 0), (0, window_frames - n_frames)]
        return np.pad(whole, missing, constant_values=silence)[None]
    return np.stack([whole[..., s : s + window_frames] for s in window_starts(n_frames, window_frames, hop_frames)])
