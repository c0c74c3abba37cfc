"""Another rate keeps what is heard; block by block it gives the same samples as at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.decode import decode
from earmark.audio.resample import StreamResampler, resample, resampled_length
from earmark.errors import AudioError

RATE = 44_100
RATES = (8000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)


def sine(frequency_hz: float = 440.0, duration_s: float = 1.0, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate)) / rate)


def peak_hz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(AudioError) as caught:
        call()
    return str(caught.value)


def in_blocks(samples: np.ndarray, lengths: list[int], rate: int, target: int) -> np.ndarray:
    resampler = StreamResampler(rate, target)
    blocks = np.split(samples, np.cumsum(lengths))
    return np.concatenate([*(resampler.push(block) for block in blocks[:-1]), resampler.push(blocks[-1], last=True)])


class TestResample:
    @pytest.mark.parametrize("target", [8000, 16_000, 22_050, 32_000, 48_000])
    def test_a_tone_keeps_its_frequency_and_level(self, tmp_path: Path, target: int) -> None:
        soundfile.write(tmp_path / "a.wav", sine(1000), RATE, subtype="FLOAT")
        waveform = decode(tmp_path / "a.wav", target)
        assert waveform.sample_rate == target
        assert waveform.samples.shape == (target,)
        assert waveform.samples.dtype == np.float32
        assert waveform.duration_s == 1.0
        assert peak_hz(waveform.samples, target) == pytest.approx(1000, abs=1)
        assert np.abs(waveform.samples[500:-500]).max() == pytest.approx(0.5, abs=1e-3)

    def test_nothing_above_half_the_rate_comes_through(self) -> None:
        low = resample(sine(5000).astype(np.float32), RATE, 8000)
        assert np.abs(low[200:-200]).max() < 1e-4

    def test_the_same_rate_changes_nothing(self) -> None:
        samples = sine().astype(np.float32)
        np.testing.assert_array_equal(resample(samples, RATE, RATE), samples)

    @pytest.mark.parametrize(("rate", "target"), [(44_100, 32_000), (8000, 32_000), (48_000, 44_100), (32_000, 1000)])
    def test_the_length_is_rounded_up(self, rate: int, target: int) -> None:
        for n_samples in (1, 2, 3, 31, 32, 33, 441, 1000):
            resampled = resample(np.ones(n_samples, dtype=np.float32), rate, target)
            assert len(resampled) == -(-n_samples * target // rate)
            assert resampled.dtype == np.float32

    def test_it_is_soxr(self) -> None:
        samples = np.random.default_rng(0).standard_normal(4410).astype(np.float32)
        np.testing.assert_array_equal(resample(samples, RATE, 32_000), soxr.resample(samples, RATE, 32_000, "HQ"))

    @pytest.mark.parametrize("bad", [0, -8000, 44_100.0, None, "44100"])
    def test_a_rate_that_is_none(self, bad: object) -> None:
        text = f"the sample rate is {bad!r} Hz; expected a whole number above 0, such as 44100"
        samples = np.zeros(10, dtype=np.float32)
        assert error_of(lambda: resample(samples, bad, RATE)) == text  # type: ignore[arg-type]
        assert error_of(lambda: resample(samples, RATE, bad)) == text  # type: ignore[arg-type]

    def test_a_rate_of_0_is_not_taken_for_the_files_own(self, write_tone: Callable[..., Path]) -> None:
        assert "the sample rate is 0 Hz" in error_of(lambda: decode(write_tone(), 0))


class TestStreamResampler:
    @pytest.mark.parametrize("target", RATES)
    @pytest.mark.parametrize("rate", RATES)
    def test_blocks_end_to_end_are_the_whole(self, rate: int, target: int, rng: np.random.Generator) -> None:
        samples = rng.uniform(-1, 1, rate // 2 + 7).astype(np.float32)
        whole = resample(samples, rate, target)
        made = in_blocks(samples, [1, rate // 7, 0, rate // 5], rate, target)
        assert made.shape == whole.shape
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, whole, rtol=0, atol=1e-6)

    @settings(deadline=None)
    @given(
        st.lists(st.integers(0, 3000), max_size=8),
        st.integers(0, 3000),
        st.sampled_from(RATES),
        st.sampled_from(RATES),
    )
    def test_however_it_is_cut(self, lengths: list[int], n_rest: int, rate: int, target: int) -> None:
        samples = np.random.default_rng(0).uniform(-1, 1, sum(lengths) + n_rest).astype(np.float32)
        made = in_blocks(samples, lengths, rate, target)
        assert len(made) == resampled_length(len(samples), rate, target)
        if len(samples):
            np.testing.assert_allclose(made, resample(samples, rate, target), rtol=0, atol=1e-6)

    def test_nothing_gives_nothing(self) -> None:
        none = np.zeros(0, dtype=np.float32)
        for target in (RATE, 32_000):
            assert len(StreamResampler(RATE, target).push(none, last=True)) == 0

    @pytest.mark.parametrize("bad", [0, -8000, 44_100.0, None, "44100"])
    def test_a_rate_that_is_none(self, bad: object) -> None:
        text = f"the sample rate is {bad!r} Hz; expected a whole number above 0, such as 44100"
        assert error_of(lambda: StreamResampler(bad, RATE)) == text  # type: ignore[arg-type]
        assert error_of(lambda: StreamResampler(RATE, bad)) == text  # type: ignore[arg-type]
