"""Mel scales and filter banks are those of the papers and programs that they are named for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.mel import SCALES, band_edges_hz, filter_bank, hz_to_mel, mel_to_hz
from earmark.errors import RecipeError

ANY_SCALE = st.sampled_from(sorted(SCALES))


class TestScales:
    @pytest.mark.parametrize("htk", [False, True])
    def test_are_librosas(self, htk: bool) -> None:
        librosa, scale = pytest.importorskip("librosa"), "htk" if htk else "slaney"
        hz = np.array([0.0, 20.0, 999.0, 1000.0, 1001.0, 16_000.0])
        np.testing.assert_allclose(hz_to_mel(hz, scale), librosa.hz_to_mel(hz, htk=htk), rtol=1e-12)
        mel = np.array([0.0, 1.0, 14.9, 15.0, 15.1, 40.0])
        np.testing.assert_allclose(mel_to_hz(mel, scale), librosa.mel_to_hz(mel, htk=htk), rtol=1e-12)

    # 200/3 Hz a mel up to 1 kHz; 2595 log10(17/7); 1127 ln(17/7)
    @pytest.mark.parametrize(("scale", "mel"), [("slaney", 15.0), ("htk", 999.9855), ("kaldi", 999.9907)])
    def test_1000_hz_by_hand(self, scale: str, mel: float) -> None:
        assert float(hz_to_mel(1000.0, scale)) == pytest.approx(mel, abs=1e-4)
        assert float(mel_to_hz(mel, scale)) == pytest.approx(1000.0, abs=1e-3)

    @settings(deadline=None)
    @given(ANY_SCALE, st.floats(0, 192_000))
    def test_there_and_back(self, scale: str, hz: float) -> None:
        assert float(mel_to_hz(hz_to_mel(hz, scale), scale)) == pytest.approx(hz, rel=1e-9, abs=1e-9)

    @settings(deadline=None)
    @given(ANY_SCALE, st.integers(1, 256), st.floats(0, 1000), st.floats(2000, 20_000))
    def test_edges_are_equally_far_apart_in_mels(self, scale: str, n_mels: int, fmin: float, fmax: float) -> None:
        edges = band_edges_hz(n_mels, fmin, fmax, scale)
        assert edges.shape == (n_mels + 2,)
        np.testing.assert_allclose(edges[[0, -1]], [fmin, fmax], rtol=1e-9, atol=1e-9)
        steps = np.diff(hz_to_mel(edges, scale))
        np.testing.assert_allclose(steps, steps.mean(), rtol=1e-9)


class TestFilters:
    @pytest.mark.parametrize("htk", [False, True])
    @pytest.mark.parametrize(("norm", "librosas"), [("area", "slaney"), ("peak", None)])
    @pytest.mark.parametrize(
        ("sample_rate", "n_fft", "n_mels", "fmin", "fmax"),
        [(32_000, 1024, 64, 20.0, 16_000.0), (44_100, 4480, 224, 20.0, 22_050.0), (8000, 255, 20, 50.0, 3999.0)],
    )
    def test_are_librosas(
        self, sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float, norm: str, librosas: str, htk: bool
    ) -> None:
        librosa = pytest.importorskip("librosa")
        reference = librosa.filters.mel(
            sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk, norm=librosas, dtype=np.float64
        )
        scale = "htk" if htk else "slaney"
        filters = filter_bank(
            sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, scale=scale, norm=norm
        )
        np.testing.assert_allclose(filters, reference, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("scale", sorted(SCALES))
    def test_unit_area_or_unit_peak(self, scale: str) -> None:
        said = {"sample_rate": 32_000, "n_fft": 65_536, "n_mels": 40, "fmin": 20.0, "fmax": 16_000.0, "scale": scale}
        area = filter_bank(**said, norm="area").sum(axis=1) * 32_000 / 65_536
        # a triangle over mels is bent over Hz
        np.testing.assert_allclose(area, 1, atol=0.03 if scale == "kaldi" else 1e-3)
        np.testing.assert_allclose(filter_bank(**said, norm="peak").max(axis=1), 1, atol=0.02)

    def test_bands_narrower_than_a_bin(self) -> None:
        with pytest.raises(RecipeError) as caught:
            filter_bank(sample_rate=32_000, n_fft=256, n_mels=128, fmin=20.0, fmax=16_000.0)
        assert str(caught.value) == (
            "27 of 128 bands hold no bin of the transform (the first at 48 Hz); use fewer n_mels or a larger n_fft "
            "than 256"
        )


def kaldis_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """The loop of `MelBanks::MelBanks` in Kaldi's src/feat/mel-computations.cc, without its warping."""
    lowest = 1127 * math.log(1 + fmin / 700)
    step = (1127 * math.log(1 + fmax / 700) - lowest) / (n_mels + 1)
    filters = np.zeros((n_mels, n_fft // 2 + 1))
    for band in range(n_mels):
        left, centre, right = (lowest + (band + i) * step for i in range(3))
        for k in range(n_fft // 2):  # the bin at half the sample rate is left out
            mel = 1127 * math.log(1 + k * sample_rate / n_fft / 700)
            if left < mel < right:
                filters[band, k] = (mel - left) / (centre - left) if mel <= centre else (right - mel) / (right - centre)
    return filters


class TestKaldi:
    """D. Povey et al., *The Kaldi Speech Recognition Toolkit*, ASRU 2011."""

    @pytest.mark.parametrize(
        ("sample_rate", "n_fft", "n_mels", "fmin", "fmax"),
        [(32_000, 1024, 128, 0.0, 15_000.0), (16_000, 512, 23, 20.0, 8000.0), (8000, 256, 40, 100.0, 3800.0)],
    )
    def test_filters_are_those_of_its_loop(
        self, sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float
    ) -> None:
        filters = filter_bank(
            sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, scale="kaldi", norm="peak"
        )
        expected = kaldis_filters(sample_rate, n_fft, n_mels, fmin, fmax)
        np.testing.assert_allclose(filters, expected, rtol=1e-9, atol=1e-9)

    def test_filters_by_hand(self) -> None:
        filters = filter_bank(
            sample_rate=32_000, n_fft=1024, n_mels=128, fmin=0.0, fmax=15_000.0, scale="kaldi", norm="peak"
        )
        # corners lie 1127 ln(1 + 15000/700) / 129 = 27.17324 mel apart. Bin 1, 31.25 Hz, is at 1127 ln(1 + 31.25/700) =
        # 49.22180 mel, 1.81141 corners from the first: band 0 falls through it to corner 2, band 1 rises from corner 1.
        # Bin 2, 62.5 Hz, is at 96.38349 mel or 3.54700 corners; bin 32, 1 kHz, at 999.99070 mel or 36.80057 corners
        np.testing.assert_allclose(
            filters[:4, :3], [[0, 0.18859, 0], [0, 0.81141, 0], [0, 0, 0.453], [0, 0, 0.547]], atol=1e-5
        )
        assert np.flatnonzero(filters[:, 32]).tolist() == [35, 36]
        np.testing.assert_allclose(filters[35:37, 32], [0.19943, 0.80057], atol=1e-5)

    def test_the_highest_bin_is_left_out(self) -> None:
        filters = filter_bank(
            sample_rate=16_000, n_fft=512, n_mels=23, fmin=20.0, fmax=8000.0, scale="kaldi", norm="peak"
        )
        assert not filters[:, 256].any()
        assert filters[:, 255].any()
