"""Sounds and pictures small enough to lie inside a page."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Callable

import numpy as np

from earmark.audio.picture import PictureSpec, clip_log_mel
from earmark.errors import AudioError

WaveformOf = Callable[[str], np.ndarray]
"""A clip's name to its (n_samples,) float32 at the front end's rate; `EarmarkError` where it cannot be had."""

MOST_SECONDS = 6.0
MOST_BYTES = 4_000_000
"""Of all sounds of a page together, before base64 makes them a third longer."""

SHOWN_DB = 80.0
MOST_COLUMNS = 400


def sound_uri(waveform: np.ndarray, sample_rate: int) -> str:
    """A sound as a data URI, its first `MOST_SECONDS`: MP3, which browsers on every phone play, or 16-bit WAV.

    WAV where no encoder is installed, or none for this rate.
    """
    part = np.clip(waveform[: round(MOST_SECONDS * sample_rate)], -1, 1)
    try:
        return _uri("audio/mpeg", _mp3(part, sample_rate))
    except (ModuleNotFoundError, OSError, RuntimeError, ValueError):
        return _uri("audio/wav", _wav(part, sample_rate))


def _mp3(part: np.ndarray, sample_rate: int) -> bytes:
    import soundfile

    with io.BytesIO() as file:
        soundfile.write(file, part, sample_rate, format="MP3", subtype="MPEG_LAYER_III")
        return file.getvalue()


def _wav(part: np.ndarray, sample_rate: int) -> bytes:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(sample_rate)
            sound.writeframes((part * 32767).astype("<i2").tobytes())
        return file.getvalue()


def spectrogram_uri(waveform: np.ndarray, front_end: PictureSpec) -> str:
    """A clip's log-mel spectrogram as a PNG in a data URI, `SHOWN_DB` below its loudest, low bands at the bottom."""
    from matplotlib.image import imsave

    if not len(waveform):
        raise AudioError("a clip holds no samples, of which no spectrogram can be drawn; expected at least one")
    seconds = waveform[: round(MOST_SECONDS * front_end.log_mel.sample_rate)]
    spectrogram = clip_log_mel(seconds, front_end)
    step = -(-spectrogram.shape[1] // MOST_COLUMNS)
    highest = float(spectrogram.max())
    with io.BytesIO() as file:
        imsave(
            file,
            spectrogram[::-1, ::step],
            vmin=highest - SHOWN_DB / front_end.log_mel.db_per_unit,
            vmax=highest + 1e-6,
            cmap="magma",
            format="png",
        )
        return _uri("image/png", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
