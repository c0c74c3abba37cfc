"""Silence is cut where librosa cuts it; short clips become long enough."""

from __future__ import annotations

from itertools import product

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.clip import Lengthening, lengthen, loud_span, trim_silence
from earmark.errors import AudioError

RATE = 44_100


def burst(rng: np.random.Generator, n_before: int, n_loud: int, n_behind: int, floor: float = 0.0) -> np.ndarray:
    """Noise that fades in and out between two stretches that are nearly or wholly silent."""
    envelope = np.concatenate([np.zeros(n_before), np.hanning(n_loud), np.zeros(n_behind)])
    return ((envelope + floor) * rng.uniform(-1, 1, len(envelope))).astype(np.float32)


class TestTrimSilence:
    @pytest.mark.parametrize("top_db", [6, 20, 40, 60, 80])
    @pytest.mark.parametrize("floor", [0.0, 1e-4, 1e-2])
    def test_it_is_librosas(self, rng: np.random.Generator, top_db: float, floor: float) -> None:
        lengths = product([0, 100, 9000], [1, 700, 20_000], [0, 3000])
        for n_before, n_loud, n_behind in lengths:
            samples = burst(rng, n_before, n_loud, n_behind, floor)
            for frame_length, hop_length in ((2048, 512), (400, 160), (255, 100)):
                expected, _ = librosa.effects.trim(
                    samples, top_db=top_db, frame_length=frame_length, hop_length=hop_length
                )
                trimmed = trim_silence(samples, top_db=top_db, frame_length=frame_length, hop_length=hop_length)
                np.testing.assert_array_equal(trimmed, expected)

    @settings(deadline=None)
    @given(st.integers(1, 5000), st.integers(0, 2**32 - 1), st.integers(0, 100))
    def test_it_is_librosas_for_any_clip(self, n_samples: int, seed: int, whole_db: int) -> None:
        rng = np.random.default_rng(seed)
        # levels are multiples of 20 dB apart: at the threshold itself, rounding would decide
        top_db = whole_db + 0.37
        levels = 10.0 ** rng.integers(-6, 1, 1 + n_samples // 500)
        samples = (np.repeat(levels, 500)[:n_samples] * rng.choice([-1, 1], n_samples)).astype(np.float32)
        expected, _ = librosa.effects.trim(samples, top_db=top_db)
        np.testing.assert_array_equal(trim_silence(samples, top_db=top_db), expected)

    def test_a_hand_worked_case(self) -> None:
        samples = np.zeros(100, dtype=np.float32)
        samples[40:60] = 0.5
        # frames of 10 around multiples of 10: those around 40 and 60 are half full, 3 dB below the loudest
        for top_db, length in ((1, 10), (4, 30)):
            trimmed = trim_silence(samples, top_db=top_db, frame_length=10, hop_length=10)
            assert len(trimmed) == length
        assert trimmed.tolist() == [0.5] * 20 + [0.0] * 10

    def test_a_clip_that_is_silent_stays_whole(self) -> None:
        samples = np.zeros(RATE, dtype=np.float32)
        np.testing.assert_array_equal(trim_silence(samples, top_db=60), samples)

    def test_a_clip_that_is_loud_throughout_stays_whole(self) -> None:
        samples = np.full(RATE, 0.3, dtype=np.float32)
        assert len(trim_silence(samples, top_db=20)) == RATE

    @pytest.mark.parametrize("n_samples", [0, 1, 2])
    def test_the_shortest(self, n_samples: int) -> None:
        samples = np.ones(n_samples, dtype=np.float32)
        np.testing.assert_array_equal(trim_silence(samples, top_db=60), samples)

    def test_nothing_is_changed_or_copied(self, rng: np.random.Generator) -> None:
        samples = burst(rng, 5000, 5000, 5000)
        before = samples.copy()
        assert np.shares_memory(trim_silence(samples, top_db=60), samples)
        np.testing.assert_array_equal(samples, before)

    @pytest.mark.parametrize("top_db", [0, -1, np.nan, np.inf])
    def test_a_threshold_that_is_none(self, top_db: float) -> None:
        with pytest.raises(ValueError, match=rf"^top_db={top_db}; expected a number above 0, such as 60$"):
            trim_silence(np.ones(10, dtype=np.float32), top_db=top_db)

    @pytest.mark.parametrize(("frame_length", "hop_length"), [(0, 512), (2048, 0), (-1, -1)])
    def test_frames_of_no_length(self, frame_length: int, hop_length: int) -> None:
        text = f"^frame_length={frame_length}, hop_length={hop_length}; expected at least 1 sample each$"
        with pytest.raises(ValueError, match=text):
            trim_silence(np.ones(10), top_db=60, frame_length=frame_length, hop_length=hop_length)

    def test_channels(self) -> None:
        with pytest.raises(AudioError) as caught:
            trim_silence(np.ones((10, 2)), top_db=60)
        assert str(caught.value) == "a clip has shape (10, 2); expected (n_samples,); average its channels first"


class TestLoudSpan:
    @pytest.mark.parametrize(("frame_length", "hop_length"), [(2048, 512), (255, 100), (10, 33)])
    def test_blocks_of_any_length_make_no_difference(
        self, rng: np.random.Generator, frame_length: int, hop_length: int
    ) -> None:
        samples = burst(rng, 5000, 7001, 3000, 1e-4)
        cuts = np.sort(rng.integers(0, len(samples), 40))  # some blocks are empty
        in_blocks = loud_span(np.split(samples, cuts), top_db=40, frame_length=frame_length, hop_length=hop_length)
        at_once = loud_span([samples], top_db=40, frame_length=frame_length, hop_length=hop_length)
        assert in_blocks == at_once
        assert 4000 < at_once[0] < 7000
        assert 10_000 < at_once[1] < 13_000

    def test_no_samples(self) -> None:
        assert loud_span([], top_db=60) == (0, 0)


class TestLengthen:
    @pytest.mark.parametrize(
        ("how", "expected"),
        [
            ("constant", [1, 2, 3, 0, 0, 0, 0, 0]),
            ("centre", [0, 0, 1, 2, 3, 0, 0, 0]),
            ("wrap", [1, 2, 3, 1, 2, 3, 1, 2]),
        ],
    )
    def test_a_short_clip(self, how: Lengthening, expected: list[int]) -> None:
        longer = lengthen(np.array([1, 2, 3], dtype=np.float32), 8, how)
        assert longer.tolist() == expected
        assert longer.dtype == np.float32

    @pytest.mark.parametrize("how", ["constant", "centre", "wrap"])
    @settings(deadline=None)
    @given(st.integers(1, 50), st.integers(0, 200))
    def test_length_and_content(self, how: Lengthening, n: int, n_samples: int) -> None:
        samples = np.arange(1, n + 1, dtype=np.float32)
        longer = lengthen(samples, n_samples, how)
        assert len(longer) == max(n, n_samples)
        if n >= n_samples:
            assert longer is samples
        start = (n_samples - n) // 2 if how == "centre" and n < n_samples else 0
        np.testing.assert_array_equal(longer[start : start + n], samples)

    def test_no_samples(self) -> None:
        none = np.zeros(0, dtype=np.float32)
        assert lengthen(none, 3, "constant").tolist() == [0, 0, 0]
        with pytest.raises(AudioError) as caught:
            lengthen(none, 3, "wrap")
        assert str(caught.value) == "a clip holds no samples, which cannot be repeated; expected at least one"

    def test_another_way(self) -> None:
        with pytest.raises(ValueError, match=r"^how='center'; expected one of 'constant', 'centre', 'wrap'; did you "):
            lengthen(np.ones(3), 8, "center")  # type: ignore[arg-type]

    def test_channels(self) -> None:
        with pytest.raises(AudioError) as caught:
            lengthen(np.ones((2, 10)), 20, "wrap")
        assert str(caught.value) == "a clip has shape (2, 10); expected (n_samples,); average its channels first"
