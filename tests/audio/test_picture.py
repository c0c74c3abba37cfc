"""Pictures: spectrograms of trimmed and lengthened clips, cut into windows, normalised, in channels."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earmark.audio import picture as picture_module
from earmark.audio.logmel import LogMelSpec, log_mel
from earmark.audio.picture import (
    N_CHANNELS,
    PictureSpec,
    band_statistics,
    clip_log_mel,
    delta,
    normalizer,
    picture,
    to_channels,
    window_starts,
    windows,
)
from earmark.errors import AudioError

SMALL = LogMelSpec(sample_rate=8000, n_fft=512, hop_length=100, n_mels=30, fmin=50.0, fmax=4000.0)
TWO_BANDS = LogMelSpec(sample_rate=8000, n_fft=512, hop_length=100, n_mels=2, fmin=50.0, fmax=4000.0)
GREY = PictureSpec(log_mel=SMALL)
COLOUR = PictureSpec(log_mel=SMALL, channels="colour")
MINMAX = PictureSpec(log_mel=SMALL, normalization="minmax")
PER_CLIP = PictureSpec(log_mel=SMALL, normalization="clip")


def changed(spec: PictureSpec, **options: Any) -> PictureSpec:
    return msgspec.structs.replace(spec, **options)


def sine(frequency_hz: float, n_samples: int = 8000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(n_samples) / 8000)).astype(np.float32)


def noise(n_samples: int = 8000, seed: int = 0) -> np.ndarray:
    return 0.3 * np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)


def whole(spectrogram: list[list[float]], **options: Any) -> np.ndarray:
    """The grey picture, (n_mels, n_frames), of a spectrogram."""
    values = np.array(spectrogram, dtype=np.float32)
    spec = PictureSpec(log_mel=msgspec.structs.replace(TWO_BANDS, n_mels=len(values)), **options)
    made = windows(values, spec, values.shape[1], 1)
    assert made.dtype == np.float32
    return made[0, 0]


class TestNormalization:
    def test_affine_by_hand(self) -> None:
        made = whole([[-100.0, -40.0, 0.0, 20.0]], mean=-40.0, std=20.0)
        np.testing.assert_allclose(made, [[-3.0, 0.0, 2.0, 3.0]], rtol=1e-6)

    def test_band_by_hand(self) -> None:
        made = whole([[-100.0, -40.0], [0.0, 20.0]], normalization="band", mean=(-60.0, 10.0), std=(20.0, 5.0))
        np.testing.assert_allclose(made, [[-2.0, 1.0], [-2.0, 2.0]], rtol=1e-6)

    def test_band_with_one_number_for_all_is_affine(self) -> None:
        spectrogram = [[-100.0, -40.0], [0.0, 20.0]]
        np.testing.assert_array_equal(whole(spectrogram, normalization="band"), whole(spectrogram))

    def test_clip_by_hand(self) -> None:
        # mean -40, deviation 20
        made = whole([[-60.0, -20.0], [-20.0, -60.0]], normalization="clip")
        np.testing.assert_allclose(made, [[-1.0, 1.0], [1.0, -1.0]], rtol=1e-6)

    def test_clip_of_one_level_is_0(self) -> None:
        np.testing.assert_array_equal(whole([[-17.0] * 5], normalization="clip"), np.zeros((1, 5)))

    def test_minmax_by_hand(self) -> None:
        # 80 dB below the maximum of 20 is -60
        made = whole([[-100.0, -40.0, -20.0, 20.0]], normalization="minmax")
        np.testing.assert_allclose(made, [[0.0, 0.25, 0.5, 1.0]], rtol=1e-6)

    def test_minmax_of_a_smaller_range_is_stretched(self) -> None:
        np.testing.assert_allclose(whole([[-30.0, -20.0, -10.0]], normalization="minmax"), [[0.0, 0.5, 1.0]], rtol=1e-6)

    def test_minmax_of_one_level_is_0(self) -> None:
        np.testing.assert_array_equal(whole([[-17.0] * 5], normalization="minmax"), np.zeros((1, 5)))

    def test_minmax_in_levels_by_hand(self) -> None:
        made = whole([[0.0, 1.0, 4.0, 5.0, 9.0, 10.0]], normalization="minmax", n_levels=3)
        np.testing.assert_allclose(made, [[0.0, 0.0, 0.5, 0.5, 1.0, 1.0]], rtol=1e-6)

    def test_minmax_counts_decibels_whatever_the_unit(self) -> None:
        natural = changed(MINMAX, log_mel=msgspec.structs.replace(SMALL, scale="ln"))
        half_silent = np.pad(noise(), (0, 8000))  # its floor is more than 80 dB below its maximum
        np.testing.assert_allclose(picture(half_silent, natural), picture(half_silent, MINMAX), atol=1e-4)

    @pytest.mark.parametrize("spec", [MINMAX, PER_CLIP])
    def test_of_a_clip_does_not_hear_the_volume(self, spec: PictureSpec) -> None:
        np.testing.assert_allclose(picture(noise(), spec), picture(0.1 * noise(), spec), atol=1e-3)

    def test_affine_hears_the_volume(self) -> None:
        difference = picture(noise(), GREY) - picture(0.1 * noise(), GREY)
        np.testing.assert_allclose(difference, 20 / 28, atol=1e-4)

    @pytest.mark.parametrize("spec", [GREY, COLOUR, MINMAX, PER_CLIP])
    def test_is_what_the_normalizer_says(self, spec: PictureSpec) -> None:
        spectrogram = log_mel(noise(), SMALL)
        shift, factor = normalizer(spectrogram, spec)
        assert shift.dtype == factor.dtype == np.float32
        expected = (spectrogram - shift[:, None]) * factor[:, None]
        if spec.normalization == "minmax":
            expected = expected.clip(0, 1)
        np.testing.assert_array_equal(picture(noise(), spec).reshape(30, -1), expected)

    @pytest.mark.parametrize("channels", ["grey", "colour"])
    @settings(max_examples=50, deadline=None)
    @given(
        spectrogram=hnp.arrays(np.float32, (30, 7), elements=st.floats(-100, 60, width=32)),
        top_db=st.floats(1, 120),
        window_frames=st.integers(1, 20),
    )
    def test_minmax_lies_between_0_and_1_in_levels(
        self, channels: Any, spectrogram: np.ndarray, top_db: float, window_frames: int
    ) -> None:
        spec = changed(MINMAX, channels=channels, top_db=top_db, n_levels=256)
        made = windows(spectrogram, spec, window_frames, 3)
        assert made.min() >= 0
        assert made.max() <= 1
        np.testing.assert_allclose(made * 255, np.rint(made * 255), atol=1e-4)
        smooth = windows(spectrogram, changed(spec, n_levels=0), window_frames, 3)
        assert smooth.min() >= 0
        assert smooth.max() <= 1
        np.testing.assert_allclose(made, smooth, atol=0.5001 / 255)


class TestBandStatistics:
    def test_by_hand(self) -> None:
        spectrograms = [np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([[5.0, 5.0], [4.0, 4.0]])]
        mean, std = band_statistics([s.astype(np.float32) for s in spectrograms])
        assert mean == (3.5, 2.0)
        assert std == (math.sqrt(11 / 4), 2.0)
        assert {type(value) for value in (*mean, *std)} == {float}

    def test_each_frame_counts_once_and_all_bands_become_standard(self) -> None:
        rng = np.random.default_rng(3)
        levels = rng.uniform(-80, 0, (30, 1))
        spectrograms = [(levels + rng.normal(0, 12, (30, n))).astype(np.float32) for n in (1, 40, 999)]
        mean, std = band_statistics(spectrograms)
        joined = np.concatenate(spectrograms, axis=1).astype(np.float64)
        np.testing.assert_allclose(mean, joined.mean(axis=1), rtol=1e-9)
        np.testing.assert_allclose(std, joined.std(axis=1), rtol=1e-9)
        spec = changed(GREY, normalization="band", mean=mean, std=std)
        made = np.concatenate([windows(s, spec, s.shape[1], 1)[0, 0] for s in spectrograms], axis=1)
        np.testing.assert_allclose(made.mean(axis=1), 0, atol=1e-4)
        np.testing.assert_allclose(made.std(axis=1), 1, atol=1e-4)

    def test_a_band_of_one_level_has_a_deviation_to_divide_by(self) -> None:
        assert band_statistics([np.full((2, 9), -100.0, dtype=np.float32)]) == ((-100.0, -100.0), (1e-3, 1e-3))


class TestChannels:
    def test_grey_is_one_spectrogram(self) -> None:
        made = picture(sine(500), GREY)
        assert made.shape == (1, 30, 81)
        assert made.dtype == np.float32
        np.testing.assert_allclose(made[0], (log_mel(sine(500), SMALL) + 40) / 28, atol=1e-5)

    @pytest.mark.parametrize(("frequency_hz", "channel"), [(200.0, 0), (900.0, 1), (3000.0, 2)])
    def test_colour_is_low_middle_high(self, frequency_hz: float, channel: int) -> None:
        made = picture(sine(frequency_hz), COLOUR)
        assert made.shape == (3, 10, 81)
        assert np.argmax(made.max(axis=(1, 2))) == channel

    def test_colour_by_hand(self) -> None:
        spec = PictureSpec(log_mel=msgspec.structs.replace(SMALL, n_mels=6), channels="colour")
        bands = np.arange(12.0).reshape(1, 6, 2)
        expected = [[[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]]
        np.testing.assert_array_equal(to_channels(bands, spec), expected)

    @settings(max_examples=30, deadline=None)
    @given(
        st.integers(1, 12),
        st.sampled_from(["affine", "clip", "minmax"]),
        st.integers(1, 5000),
        st.integers(0, 99),
    )
    def test_colour_put_together_is_grey_of_three_times_the_bands(
        self, height: int, normalization: Any, n_samples: int, seed: int
    ) -> None:
        bands = msgspec.structs.replace(SMALL, n_mels=3 * height)
        colour = picture(
            noise(n_samples, seed), PictureSpec(log_mel=bands, normalization=normalization, channels="colour")
        )
        grey = picture(noise(n_samples, seed), PictureSpec(log_mel=bands, normalization=normalization))
        assert colour.shape[:2] == (3, height)
        np.testing.assert_array_equal(np.concatenate(colour), grey[0])

    def test_frequency_map_by_hand(self) -> None:
        spec = PictureSpec(log_mel=msgspec.structs.replace(SMALL, n_mels=5), channels="frequency-map")
        made = to_channels(np.full((2, 5, 3), 7, dtype=np.float32), spec)
        assert made.shape == (2, 2, 5, 3)
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made[:, 0], 7)
        np.testing.assert_array_equal(made[:, 1], np.broadcast_to([[-1], [-0.5], [0], [0.5], [1]], (2, 5, 3)))

    def test_delta_by_hand(self) -> None:
        # a step of 1: the slope is (1 + 2 + 3 + 4) / 60 next to it, and less the farther away
        step = np.array([[0] * 5 + [1] * 5], dtype=np.float32)
        slope = np.array([[0, 4, 7, 9, 10, 10, 9, 7, 4, 0]]) / 60
        np.testing.assert_allclose(delta(step), slope, atol=1e-7)

    def test_delta_of_a_straight_line_is_its_slope(self) -> None:
        line = np.arange(40, dtype=np.float32) * 0.25
        np.testing.assert_allclose(delta(line)[4:-4], 0.25, rtol=1e-6)
        assert delta(line).dtype == np.float32

    def test_delta_of_a_level_is_0(self) -> None:
        np.testing.assert_allclose(delta(np.full((3, 8), -50, dtype=np.float32)), 0, atol=1e-6)

    @settings(max_examples=50, deadline=None)
    @given(
        hnp.arrays(
            np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=30), elements=st.floats(-9, 9, width=32)
        )
    )
    def test_delta_is_librosas(self, values: np.ndarray) -> None:
        librosa = pytest.importorskip("librosa")
        expected = librosa.feature.delta(values.astype(np.float64), width=9, order=1, mode="nearest")
        np.testing.assert_allclose(delta(values), expected, atol=1e-5)

    def test_delta_is_spectrogram_slope_and_slope_of_slope(self) -> None:
        made = picture(noise(), changed(GREY, channels="delta"))
        assert made.shape == (3, 30, 81)
        np.testing.assert_array_equal(made[0], picture(noise(), GREY)[0])
        np.testing.assert_array_equal(made[1], delta(made[0]))
        np.testing.assert_array_equal(made[2], delta(made[1]))

    @pytest.mark.parametrize(("channels", "n", "height"), [("grey", 1, 30), ("colour", 3, 10), ("delta", 3, 30)])
    def test_counts(self, channels: Any, n: int, height: int) -> None:
        spec = changed(GREY, channels=channels)
        assert (spec.n_channels, spec.height) == (n, height)

    @pytest.mark.parametrize("channels", N_CHANNELS)
    @pytest.mark.parametrize("normalization", ["affine", "band", "clip", "minmax"])
    @pytest.mark.parametrize("n_samples", [1, 2, 99, 100, 4000])
    def test_any_clip_has_a_picture_of_the_shape_that_is_promised(
        self, channels: Any, normalization: Any, n_samples: int
    ) -> None:
        spec = changed(GREY, channels=channels, normalization=normalization)
        for made in (picture(noise(n_samples), spec), picture(np.zeros(n_samples), spec)):
            assert made.shape == (spec.n_channels, spec.height, 1 + n_samples // 100)
            assert made.dtype == np.float32
            assert np.isfinite(made).all()

    def test_no_sample(self) -> None:
        for spec in (GREY, changed(GREY, min_duration_s=1.0), changed(GREY, trim_top_db=60.0)):
            with pytest.raises(AudioError, match=r"a waveform has shape \(0,\); expected .* at least one"):
                picture(np.zeros(0), spec)


class TestLength:
    """What trimming and lengthening do is tested where they are; here, when they are asked for."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        """Calls of both, which are made to halve a clip, and to fill it up with ones."""
        made: list[tuple[Any, ...]] = []

        def trim_silence(samples: np.ndarray, *, top_db: float) -> np.ndarray:
            made.append(("trim", len(samples), top_db))
            return samples[: len(samples) // 2]

        def lengthen(samples: np.ndarray, n_samples: int, how: str) -> np.ndarray:
            made.append(("lengthen", len(samples), n_samples, how))
            return np.pad(samples, (0, n_samples - len(samples)), constant_values=1)

        monkeypatch.setattr(picture_module, "trim_silence", trim_silence)
        monkeypatch.setattr(picture_module, "lengthen", lengthen)
        return made

    def test_is_the_clips_own(self, calls: list[tuple[Any, ...]]) -> None:
        np.testing.assert_array_equal(clip_log_mel(noise(), GREY), log_mel(noise(), SMALL))
        assert calls == []

    def test_is_trimmed_then_lengthened(self, calls: list[tuple[Any, ...]]) -> None:
        made = clip_log_mel(noise(1000), changed(GREY, trim_top_db=60.0, min_duration_s=0.1))
        assert calls == [("trim", 1000, 60.0), ("lengthen", 500, 800, "centre")]
        expected = np.pad(noise(1000)[:500], (0, 300), constant_values=1)
        np.testing.assert_array_equal(made, log_mel(expected, SMALL))

    @pytest.mark.parametrize("n_samples", [800, 801])
    def test_is_enough(self, calls: list[tuple[Any, ...]], n_samples: int) -> None:
        clip_log_mel(noise(n_samples), changed(GREY, min_duration_s=0.1))
        assert calls == []


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

    @pytest.mark.parametrize("short", ["constant", "either"])
    def test_a_short_clip_is_filled_up_with_silence(self, short: Any) -> None:
        spec = PictureSpec(log_mel=TWO_BANDS, mean=-40.0, std=20.0, short=short)
        spectrogram = np.array([[0, -20, -40], [-60, -80, -100]], dtype=np.float32)
        expected = [[[[2, 1, 0, -3, -3], [-1, -2, -3, -3, -3]]]]
        np.testing.assert_allclose(windows(spectrogram, spec, 5, 2), expected, atol=1e-6)

    def test_silence_is_what_a_silent_clip_is(self) -> None:
        spec = changed(GREY, log_mel=msgspec.structs.replace(SMALL, scale="ln", floor_db=-50.0, floor="add"))
        filled = windows(log_mel(noise(500), spec.log_mel), spec, 50, 1)[0, 0]
        silent = picture(np.zeros(500), spec)[0]
        np.testing.assert_allclose(filled[:, 6:], np.broadcast_to(silent[:, :1], (30, 44)), atol=1e-6)

    @pytest.mark.parametrize("normalization", ["clip", "minmax"])
    def test_silence_that_is_filled_up_is_not_measured(self, normalization: Any) -> None:
        spec = changed(GREY, normalization=normalization)
        spectrogram = log_mel(noise(), SMALL)
        alone, filled = windows(spectrogram, spec, 81, 1), windows(spectrogram, spec, 100, 1)
        np.testing.assert_array_equal(filled[..., :81], alone)
        assert filled[..., 81:].max() <= 0

    @settings(max_examples=50, deadline=None)
    @given(st.integers(1, 12), st.integers(1, 40))
    def test_a_short_clip_is_repeated(self, n_frames: int, window_frames: int) -> None:
        spec = PictureSpec(log_mel=TWO_BANDS, mean=0.0, std=1.0, short="wrap")
        spectrogram = np.arange(2.0 * n_frames, dtype=np.float32).reshape(2, n_frames)
        made = windows(spectrogram, spec, window_frames, 1)[0, 0]
        np.testing.assert_array_equal(made, spectrogram[:, np.arange(window_frames) % n_frames])

    def test_a_long_clip_is_cut(self) -> None:
        spec = PictureSpec(log_mel=msgspec.structs.replace(TWO_BANDS, n_mels=1), mean=0.0, std=1.0)
        cut = windows(np.arange(7, dtype=np.float32).reshape(1, 7), spec, 4, 2)
        np.testing.assert_array_equal(cut[:, 0, 0], [[0, 1, 2, 3], [2, 3, 4, 5], [3, 4, 5, 6]])
        assert cut.dtype == np.float32

    def test_the_spectrogram_stays_as_it_is(self) -> None:
        spectrogram = log_mel(noise(), SMALL)
        spectrogram.setflags(write=False)
        for spec in (GREY, changed(MINMAX, n_levels=256)):
            for window_frames in (40, 81, 100):
                windows(spectrogram, spec, window_frames, 20)

    def test_each_is_normalised_by_the_whole_clip(self) -> None:
        spectrogram = np.array([[0, -10, -40, -20]], dtype=np.float32)
        spec = PictureSpec(log_mel=msgspec.structs.replace(TWO_BANDS, n_mels=1), normalization="minmax")
        made = windows(spectrogram, spec, 2, 2)[:, 0, 0]
        np.testing.assert_allclose(made, [[1, 0.75], [0, 0.5]], atol=1e-6)


class TestErrors:
    @pytest.mark.parametrize(
        ("said", "text"),
        [
            ({"channels": "blue"}, "Invalid enum value 'blue' - at `$.channels`"),
            ({"normalization": "none"}, "Invalid enum value 'none' - at `$.normalization`"),
            ({"short": "loop"}, "Invalid enum value 'loop' - at `$.short`"),
            ({"std": 0.0}, "Expected `float` > 0.0 - at `$.std`"),
            ({"top_db": -1.0}, "Expected `float` > 0.0 - at `$.top_db`"),
            ({"trim_top_db": -1.0}, "Expected `float` >= 0.0 - at `$.trim_top_db`"),
            ({"min_duration_s": -1.0}, "Expected `float` >= 0.0 - at `$.min_duration_s`"),
            ({"colour": True}, "Object contains unknown field `colour`"),
            ({"channels": "colour"}, "colour needs a multiple of 3 bands; got 64"),
            ({"log_mel": {"n_fft": 1}}, "Expected `int` >= 16 - at `$.log_mel.n_fft`"),
            ({"n_levels": 256}, "n_levels goes with normalization 'minmax' alone; got 'affine'"),
            (
                {"normalization": "clip", "n_levels": 2},
                "n_levels goes with normalization 'minmax' alone; got 'clip'",
            ),
            (
                {"normalization": "minmax", "n_levels": 1},
                "n_levels is 1, which leaves nothing to see; make it 2 or more, or 0 for no rounding",
            ),
            (
                {"mean": [1.0, 2.0]},
                "mean and std hold [2] numbers; expected one each, or for normalization 'band' one for each of the 64 "
                "bands",
            ),
            (
                {"mean": [0.0] * 64, "std": [1.0] * 64},
                "mean and std hold [64] numbers; expected one each, or for normalization 'band' one for each of the 64 "
                "bands",
            ),
            (
                {"normalization": "band", "mean": [0.0] * 64, "std": [1.0] * 63},
                "mean and std hold [63, 64] numbers; expected one each, or for normalization 'band' one for each of "
                "the 64 bands",
            ),
        ],
    )
    def test_specifications_that_make_no_sense(self, said: dict[str, object], text: str) -> None:
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.convert(said, PictureSpec)
        assert str(caught.value) == text

    def test_a_deviation_of_0_in_one_band(self) -> None:
        with pytest.raises(msgspec.ValidationError, match=r"Expected `float` > 0\.0"):
            msgspec.convert({"normalization": "band", "mean": 0.0, "std": [1.0] * 63 + [0.0]}, PictureSpec)

    @pytest.mark.parametrize(
        "options",
        [
            {"channels": "colour", "normalization": "minmax", "top_db": 60.0, "n_levels": 256},
            {"normalization": "band", "mean": tuple(np.linspace(-70, -30, 30).tolist()), "std": (0.1 + 0.2,) * 30},
            {"channels": "delta", "trim_top_db": 60.0, "min_duration_s": 0.5, "short": "either"},
        ],
    )
    def test_a_specification_survives_json(self, options: dict[str, Any]) -> None:
        spec = changed(GREY, **options)
        assert msgspec.json.decode(msgspec.json.encode(spec), type=PictureSpec) == spec
        assert msgspec.convert(msgspec.to_builtins(spec), PictureSpec) == spec

    def test_whole_numbers_are_taken(self) -> None:
        said = {"normalization": "band", "mean": [-40] * 64, "std": [20] * 64}
        assert msgspec.convert(said, PictureSpec) == PictureSpec(
            normalization="band", mean=(-40.0,) * 64, std=(20.0,) * 64
        )
        assert msgspec.convert({"mean": -40, "std": 20}, PictureSpec) == PictureSpec(mean=-40.0, std=20.0)
