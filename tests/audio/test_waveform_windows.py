"""Windows of a waveform hold what the frames of a clip's spectrogram hear, and no more."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from earmark.audio.logmel import LogMelSpec, log_mel
from earmark.audio.waveform_windows import padding_samples, waveform_windows, window_samples
from earmark.errors import AudioError

SPEC = LogMelSpec(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=24, fmax=8000.0)


def test_lengths_by_hand() -> None:
    spec = LogMelSpec(sample_rate=1000, n_fft=16, hop_length=5, n_mels=2, fmax=500.0)
    assert padding_samples(spec) == (8, 8)
    assert window_samples(spec, 1) == 16
    assert window_samples(spec, 4) == 31
    assert window_samples(msgspec.structs.replace(spec, pre_emphasis=0.97), 4) == 32
    assert padding_samples(msgspec.structs.replace(spec, n_fft=17)) == (8, 9)


def test_by_hand() -> None:
    spec = LogMelSpec(sample_rate=1000, n_fft=16, hop_length=10, n_mels=2, fmax=500.0)
    cut = waveform_windows(np.arange(1, 31), spec, 2)
    assert cut.shape == (3, 26)
    assert cut.dtype == np.float32
    np.testing.assert_array_equal(cut[0], [0] * 8 + list(range(1, 19)))
    np.testing.assert_array_equal(cut[1], range(3, 29))
    np.testing.assert_array_equal(cut[2], list(range(13, 31)) + [0] * 8)


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("n_samples", [1, 159, 160, 1439, 1440, 1600, 5000, 5119])
def test_frames_of_a_window_are_those_of_the_clip(rng: np.random.Generator, n_samples: int, padding: str) -> None:
    spec = msgspec.structs.replace(SPEC, padding=padding)
    clip = rng.standard_normal(n_samples).astype(np.float32)
    whole, cut = log_mel(clip, spec), waveform_windows(clip, spec, 10)
    assert len(cut) == max(1, whole.shape[1] - 9)
    for start, window in enumerate(cut):
        # without what its ends hear, a window is a clip; frames that hear beyond it are left out
        frames = log_mel(window[256:-256], spec)[:, 2:-2] if len(window) > 512 else np.zeros((24, 0))
        np.testing.assert_allclose(frames, whole[:, start + 2 : start + 2 + frames.shape[1]], atol=1e-3)


def test_windows_share_the_clips_memory() -> None:
    cut = waveform_windows(np.zeros(160_000, dtype=np.float32), SPEC, 10)
    assert cut.strides == (160 * 4, 4)


@pytest.mark.parametrize("shape", [(0,), (2, 100)])
def test_what_is_no_clip(shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match="a waveform has shape"):
        waveform_windows(np.zeros(shape), SPEC, 10)
