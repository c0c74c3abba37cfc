"""Pictures: normalised spectrograms in channels, and windows cut from them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.logmel import LogMelSpec, log_mel
from earmark.audio.picture import PictureSpec, clip_affine, normalize, picture, to_channels, window_starts, windows
from earmark.errors import AudioError

SMALL = LogMelSpec(sample_rate=8000, n_fft=512, hop_length=100, n_mels=30, fmin=50.0, fmax=4000.0)
GREY = PictureSpec(log_mel=SMALL)
COLOUR = PictureSpec(log_mel=SMALL, channels="colour")
PER_CLIP = PictureSpec(log_mel=SMALL, normalization="clip")


def sine(frequency_hz: float, n_samples: int = 8000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(n_samples) / 8000)).astype(np.float32)


class TestNormalize:
    def test_affine_by_hand(self) -> None:
        spec = PictureSpec(log_mel=SMALL, mean=-40.0, std=20.0)
        decibels = np.array([[-100.0, -40.0, 0.0, 20.0]], dtype=np.float32)
        np.testing.assert_allclose(normalize(decibels, spec), [[-3.0, 0.0, 2.0, 3.0]], rtol=1e-6)
        assert normalize(decibels, spec).dtype == np.float32

    def test_clip_by_hand(self) -> None:
        decibels = np.array([[-100.0, -40.0, -20.0, 20.0]], dtype=np.float32)
        # 80 dB below the maximum of 20 is -60
        np.testing.assert_allclose(normalize(decibels, PER_CLIP), [[0.0, 0.25, 0.5, 1.0]], rtol=1e-6)
        assert normalize(decibels, PER_CLIP).dtype == np.float32

    def test_clip_of_a_smaller_range_is_stretched(self) -> None:
        decibels = np.array([[-30.0, -20.0, -10.0]], dtype=np.float32)
        np.testing.assert_allclose(normalize(decibels, PER_CLIP), [[0.0, 0.5, 1.0]], rtol=1e-6)

    def test_clip_of_one_level_is_0(self) -> None:
        np.testing.assert_array_equal(normalize(np.full((30, 5), -17.0, dtype=np.float32), PER_CLIP), np.zeros((30, 5)))

    def test_clip_does_not_hear_the_volume(self, rng: np.random.Generator) -> None:
        noise = 0.3 * rng.standard_normal(8000).astype(np.float32)
        np.testing.assert_allclose(picture(noise, PER_CLIP), picture(0.1 * noise, PER_CLIP), atol=1e-4)

    def test_affine_hears_the_volume(self, rng: np.random.Generator) -> None:
        noise = 0.3 * rng.standard_normal(8000).astype(np.float32)
        difference = picture(noise, GREY) - picture(0.1 * noise, GREY)
        np.testing.assert_allclose(difference, 20 / GREY.std, atol=1e-4)

    @pytest.mark.parametrize("spec", [GREY, COLOUR, PER_CLIP])
    def test_silence_is_the_value_of_padding(self, spec: PictureSpec) -> None:
        np.testing.assert_allclose(picture(np.zeros(8000), spec), spec.silence, atol=1e-5)
        assert picture(np.zeros(8000), spec).min() >= np.float32(spec.silence)

    def test_silence_values(self) -> None:
        assert PictureSpec(mean=-40.0, std=20.0).silence == -3.0
        assert PictureSpec(normalization="clip").silence == 0.0

    def test_clip_affine_is_what_normalize_does(self, rng: np.random.Generator) -> None:
        decibels = rng.uniform(-100, 10, (30, 7)).astype(np.float32)
        for spec in (GREY, PER_CLIP):
            shift, factor = clip_affine(decibels, spec)
            expected = np.maximum((decibels - shift) * factor, np.float32(spec.silence))
            np.testing.assert_array_equal(normalize(decibels, spec), expected)


class TestChannels:
    def test_grey_is_one_spectrogram(self) -> None:
        made = picture(sine(500), GREY)
        assert made.shape == (1, 30, 81)
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made[0], normalize(log_mel(sine(500), SMALL), GREY))

    @pytest.mark.parametrize(("frequency_hz", "channel"), [(200.0, 0), (900.0, 1), (3000.0, 2)])
    def test_colour_is_low_middle_high(self, frequency_hz: float, channel: int) -> None:
        made = picture(sine(frequency_hz), COLOUR)
        assert made.shape == (3, 10, 81)
        assert np.argmax(made.mean(axis=(1, 2))) == channel

    def test_colour_by_hand(self) -> None:
        spec = PictureSpec(log_mel=msgspec.structs.replace(SMALL, n_mels=6), channels="colour")
        bands = np.arange(12.0).reshape(6, 2)
        expected = [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]
        np.testing.assert_array_equal(to_channels(bands, spec), expected)

    def test_counts(self) -> None:
        assert (GREY.n_channels, GREY.height) == (1, 30)
        assert (COLOUR.n_channels, COLOUR.height) == (3, 10)

    def test_one_sample(self) -> None:
        assert picture(np.array([0.5]), GREY).shape == (1, 30, 1)

    def test_no_sample(self) -> None:
        with pytest.raises(AudioError, match="at least one"):
            picture(np.zeros(0), GREY)


class TestWindows:
    @pytest.mark.parametrize(
        ("n_frames", "starts"),
        [
            (1, [0]),
            (9, [0]),
            (10, [0]),
            (11, [0, 1]),
            (14, [0, 4]),
            (15, [0, 4, 5]),
            (18, [0, 4, 8]),
            (19, [0, 4, 8, 9]),
        ],
    )
    def test_starts_by_hand(self, n_frames: int, starts: list[int]) -> None:
        assert window_starts(n_frames, window_frames=10, hop_frames=4) == starts

    @settings(max_examples=100, deadline=None)
    @given(st.integers(1, 300), st.integers(1, 60), st.integers(1, 60))
    def test_the_last_window_ends_with_the_clip(self, n_frames: int, window: int, hop: int) -> None:
        starts = window_starts(n_frames, window, hop)
        assert starts[0] == 0
        assert starts[-1] == max(0, n_frames - window)
        steps = np.diff(starts)
        assert ((steps > 0) & (steps <= hop)).all()

    def test_a_short_clip_is_filled_up_at_its_end(self) -> None:
        whole = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
        cut = windows(whole, 5, 2, silence=-3.5)
        np.testing.assert_array_equal(cut, [[[[0, 1, 2, -3.5, -3.5], [3, 4, 5, -3.5, -3.5]]]])
        assert cut.dtype == np.float32

    def test_a_long_clip_is_cut(self) -> None:
        whole = np.arange(7, dtype=np.float32).reshape(1, 1, 7)
        cut = windows(whole, 4, 2, silence=0.0)
        np.testing.assert_array_equal(cut[:, 0, 0], [[0, 1, 2, 3], [2, 3, 4, 5], [3, 4, 5, 6]])
        assert cut.dtype == np.float32

    def test_a_clip_of_a_windows_length_is_taken_as_it_is(self) -> None:
        whole = np.ones((3, 2, 4), dtype=np.float32)
        np.testing.assert_array_equal(windows(whole, 4, 2, silence=0.0), whole[None])


class TestErrors:
    @pytest.mark.parametrize(
        ("said", "text"),
        [
            ({"channels": "blue"}, "Invalid enum value 'blue' - at `$.channels`"),
            ({"normalization": "none"}, "Invalid enum value 'none' - at `$.normalization`"),
            ({"std": 0.0}, "Expected `float` > 0.0 - at `$.std`"),
            ({"top_db": -1.0}, "Expected `float` > 0.0 - at `$.top_db`"),
            ({"colour": True}, "Object contains unknown field `colour`"),
            ({"channels": "colour"}, "colour needs a multiple of 3 bands; got 64"),
            ({"log_mel": {"n_fft": 1}}, "Expected `int` >= 16 - at `$.log_mel.n_fft`"),
        ],
    )
    def test_specifications_that_make_no_sense(self, said: dict[str, object], text: str) -> None:
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.convert(said, PictureSpec)
        assert str(caught.value) == text

    def test_a_specification_survives_json(self) -> None:
        spec = PictureSpec(log_mel=SMALL, channels="colour", normalization="clip", top_db=60.0)
        assert msgspec.json.decode(msgspec.json.encode(spec), type=PictureSpec) == spec
