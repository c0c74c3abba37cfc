"""Values are rounded by no more than an encoding says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.data.encoding import FULL_SCALE, VALUES_PER_BLOCK, Encoding
from earmark.data.spectrograms import front_end_of, largest_error_db, log_mel_encoding
from earmark.errors import CollectionError

from .storing import WAVEFORM, error_of

SPEC = PictureSpec(log_mel=LogMelSpec(n_mels=12), trim_top_db=40.0, channels="colour", mean=-3.0)


def round_trip(encoding: Encoding, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """What is stored of values, what is read again, and the scale."""
    scale, shift = encoding.scaling(float(values.min()), float(values.max()))
    stored = encoding.encode(values, scale, shift)
    assert stored.dtype == np.dtype(encoding.dtype)
    assert stored.shape == values.shape
    kept = encoding.decode(stored, scale, shift)
    assert kept.dtype == np.float32
    return stored, kept, float(scale)


class TestWaveform:
    def test_by_hand(self) -> None:
        stored, kept, scale = round_trip(WAVEFORM, np.array([0.5, -0.25, 0.0], dtype=np.float32))
        assert stored.tolist() == [32_767, -16_384, 0]  # 16383.5 goes to the even neighbour
        assert scale == np.float32(0.5 / 32_767)
        np.testing.assert_allclose(kept, [0.5, -0.25, 0.0], atol=0.5 / 65_000)

    @settings(max_examples=200, deadline=None)
    @given(hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-(2.0**40), 2.0**40, width=32)))
    def test_never_wraps_around(self, samples: np.ndarray) -> None:
        stored, _, scale = round_trip(WAVEFORM, samples)
        peak = float(np.abs(samples).max())
        bound = max(0.501 * peak / FULL_SCALE["int16"], 1e-38)
        assert np.abs(stored.astype(np.float64) * scale - samples).max() <= bound

    @pytest.mark.parametrize("peak", [0, 1e-45, 1e-40, 1e-35, 1e-30])
    def test_next_to_nothing(self, peak: float) -> None:
        stored, _, scale = round_trip(WAVEFORM, np.array([peak, -peak, 0.0], dtype=np.float32))
        assert scale > 0
        assert stored[0] == -stored[1] >= 0

    def test_blocks_make_no_difference(self, rng: np.random.Generator) -> None:
        samples = rng.standard_normal(2 * VALUES_PER_BLOCK + 77).astype(np.float32)
        stored, kept, scale = round_trip(WAVEFORM, samples)
        np.testing.assert_array_equal(stored, np.rint(samples / np.float32(scale)).astype(np.int16))
        assert np.abs(kept - samples).max() <= 0.503 * scale


class TestLogMel:
    @settings(max_examples=100, deadline=None)
    @given(hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(12)), elements=st.floats(-100, 60, width=32)))
    @pytest.mark.parametrize("dtype", ["float16", "uint8"])
    def test_levels_are_off_by_what_is_said(self, dtype: str, levels: np.ndarray) -> None:
        encoding = log_mel_encoding(SPEC, dtype)
        _, kept, scale = round_trip(encoding, levels)
        bound = largest_error_db(encoding, np.array([scale]))
        assert np.abs(kept - levels).max() <= bound + 2e-5  # float32 near 100 dB

    def test_the_largest_errors_that_are_documented(self) -> None:
        half = log_mel_encoding(SPEC)
        assert largest_error_db(half, np.ones(3)) == 1 / 32
        assert largest_error_db(log_mel_encoding(SPEC, "uint8"), np.array([0.1, 120 / 255])) == pytest.approx(60 / 255)
        nepers = log_mel_encoding(PictureSpec(log_mel=LogMelSpec(scale="ln")))
        assert largest_error_db(nepers, np.ones(3)) == pytest.approx(1 / 128 * 10 / np.log(10))

    def test_uint8_spans_the_clips_own_range(self) -> None:
        levels = np.array([[-80.0, -12.5], [-40.0, 22.0]], dtype=np.float32)
        stored, kept, _ = round_trip(log_mel_encoding(SPEC, "uint8"), levels)
        assert stored.tolist() == [[0, 169], [100, 255]]
        np.testing.assert_allclose(kept, [[-80, -12.4], [-40, 22]], atol=1e-5)

    def test_one_level_throughout(self) -> None:
        _, kept, _ = round_trip(log_mel_encoding(SPEC, "uint8"), np.full((3, 12), -100, dtype=np.float32))
        np.testing.assert_array_equal(kept, np.full((3, 12), -100))

    def test_front_end_is_what_spectrograms_depend_on(self) -> None:
        encoding = log_mel_encoding(SPEC)
        assert front_end_of(encoding) == PictureSpec(log_mel=LogMelSpec(n_mels=12), trim_top_db=40.0)
        assert encoding == log_mel_encoding(PictureSpec(log_mel=LogMelSpec(n_mels=12), trim_top_db=40.0, top_db=3.0))
        assert (encoding.sample_rate, encoding.row_shape, encoding.row_bytes) == (32_000, (12,), 24)
        assert encoding.file_name == "frames.npy"

    def test_a_front_end_of_another_release(self) -> None:
        encoding = Encoding("log-mel", "float16", 8000, {"log_mel": {"n_mels": 64, "n_chirps": 3}})
        assert error_of(lambda: front_end_of(encoding), CollectionError) == (
            "the store's front end cannot be used: Object contains unknown field `n_chirps` - at `$.log_mel`; pack the "
            "collection again"
        )


WITHOUT_BANDS = "a log-mel store says with how many bands; expected a front end with log_mel.n_mels"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("wavefrom", "int16", 8000),
            "kind 'wavefrom' is not known; expected 'waveform' or 'log-mel'; did you mean 'waveform'?",
        ),
        (
            ("waveform", "int8", 8000),
            "dtype 'int8' does not go with kind 'waveform'; expected 'int16'; did you mean 'int16'?",
        ),
        (
            ("log-mel", "float32", 8000),
            "dtype 'float32' does not go with kind 'log-mel'; expected 'float16' or 'uint8'; did you mean 'float16'?",
        ),
        (("waveform", "int16", 0), "sample rate 0 Hz; expected a whole number above 0, such as 32000"),
        (("waveform", "int16", 8e3), "sample rate 8000.0 Hz; expected a whole number above 0, such as 32000"),
        (("log-mel", "uint8", 8000), WITHOUT_BANDS),
        (("log-mel", "uint8", 8000, {"log_mel": 3}), WITHOUT_BANDS),
        (("log-mel", "uint8", 8000, {"log_mel": {"n_mels": 1e9}}), WITHOUT_BANDS),
    ],
)
def test_what_is_no_encoding(arguments: tuple, text: str) -> None:
    assert error_of(lambda: Encoding(*arguments), CollectionError) == text
