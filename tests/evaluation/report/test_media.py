from __future__ import annotations

import base64
import io
import sys

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.errors import AudioError
from earmark.evaluation.report.media import MOST_SECONDS, sound_uri, spectrogram_uri

RATE = 16_000
FRONT_END = PictureSpec(log_mel=LogMelSpec(sample_rate=RATE, n_fft=512, hop_length=160, n_mels=24, fmax=8000.0))


def tone(duration_s: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(duration_s * RATE)) / RATE)).astype(np.float32)


def content(uri: str) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(uri.partition(",")[2]))


def test_a_sound_is_small_and_plays() -> None:
    uri = sound_uri(tone(2.0), RATE)
    assert uri.startswith("data:audio/mpeg;base64,")
    samples, rate = soundfile.read(content(uri))
    assert rate == RATE
    assert abs(len(samples) - 2 * RATE) < 0.1 * RATE
    assert len(uri) < 2 * 2 * RATE


def test_a_long_sound_is_cut() -> None:
    samples, rate = soundfile.read(content(sound_uri(tone(20.0), RATE)))
    assert abs(len(samples) / rate - MOST_SECONDS) < 0.1


def test_without_an_encoder_it_is_wav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    uri = sound_uri(tone(0.5), RATE)
    assert uri.startswith("data:audio/wav;base64,")
    samples, rate = soundfile.read(content(uri))
    assert rate == RATE
    np.testing.assert_allclose(samples, tone(0.5), atol=1e-4)


def test_a_spectrogram_has_low_bands_at_the_bottom() -> None:
    image = imread(content(spectrogram_uri(tone(1.0), FRONT_END)), format="png")[:, :, :3].sum(axis=2)
    assert image.shape == (24, 101)
    assert image.mean(axis=1).argmax() > 12


def test_a_clip_without_samples_is_named() -> None:
    with pytest.raises(AudioError, match="holds no samples"):
        spectrogram_uri(np.zeros(0, dtype=np.float32), FRONT_END)
