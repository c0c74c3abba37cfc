"""A part of a recording is the slice of the whole, whatever the rate and the format."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.audio.decode import decode
from earmark.errors import AudioError

RATE = 44_100
DURATION_S = 3.0


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(AudioError) as caught:
        call()
    return str(caught.value)


@pytest.fixture
def noise(tmp_path: Path, rng: np.random.Generator) -> Callable[..., Path]:
    """Write three seconds of noise in two channels: `noise("a.flac")`, `noise("a.wav", rate=8000)`."""

    def write(name: str, rate: int = RATE) -> Path:
        samples = rng.uniform(-0.5, 0.5, (round(DURATION_S * rate), 2))
        container = "OGG" if name.endswith("opus") else None
        subtype = "OPUS" if name.endswith("opus") else None
        soundfile.write(tmp_path / name, samples, rate, format=container, subtype=subtype)
        return tmp_path / name

    return write


class TestSlices:
    @pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.au", "a.caf", "a.w64", "a.ogg", "a.mp3"])
    def test_any_format(self, noise: Callable[..., Path], name: str) -> None:
        if name.endswith("mp3") and "MP3" not in soundfile.available_formats():
            pytest.skip("this libsndfile writes no MP3")
        path = noise(name)
        whole = decode(path).samples
        for start_s, end_s in ((0.0, 0.5), (0.1, 2.9), (1.5, 1.6), (2.5, 3.0), (2.99, 3.0)):
            part = decode(path, start_s=start_s, end_s=end_s).samples
            np.testing.assert_array_equal(part, whole[round(start_s * RATE) : round(end_s * RATE)])

    @pytest.mark.parametrize("target", [8000, 22_050, 32_000, 48_000, 192_000])
    @pytest.mark.parametrize("rate", [8000, 32_000, 44_100, 96_000])
    def test_any_rate(self, noise: Callable[..., Path], rate: int, target: int) -> None:
        path = noise("a.wav", rate)
        whole = decode(path, target).samples
        for start_s, end_s in ((0.0, 0.3), (0.0101, 0.1), (0.9, 1.0), (1.234_567, 2.345_678), (2.7, 3.0)):
            part = decode(path, target, start_s=start_s, end_s=end_s).samples
            expected = whole[round(start_s * target) : round(end_s * target)]
            assert part.shape == expected.shape
            np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5)

    def test_rates_without_a_common_measure(self, noise: Callable[..., Path]) -> None:
        path = noise("a.wav", 11_027)
        whole = decode(path, 8009).samples
        part = decode(path, 8009, start_s=2.2, end_s=2.6).samples
        np.testing.assert_allclose(part, whole[round(2.2 * 8009) : round(2.6 * 8009)], rtol=0, atol=1e-4)

    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
    @given(st.floats(0, 2.9), st.floats(0.01, 3.0))
    def test_parts_side_by_side_are_the_whole(
        self, noise: Callable[..., Path], start_s: float, duration_s: float
    ) -> None:
        path = noise("a.wav", 8000)
        end_s = min(start_s + duration_s, DURATION_S)
        bounds = sorted({round(s * 8000) / 8000 for s in (0.0, start_s, end_s, DURATION_S)})
        parts = [decode(path, start_s=a, end_s=b).samples for a, b in pairwise(bounds)]
        np.testing.assert_array_equal(np.concatenate(parts), decode(path).samples)

    def test_no_end_reads_to_the_end(self, noise: Callable[..., Path]) -> None:
        for name in ("a.wav", "a.ogg"):
            path = noise(name)
            np.testing.assert_array_equal(decode(path, start_s=2.0).samples, decode(path).samples[2 * RATE :])

    def test_an_end_rounded_to_milliseconds(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, np.full(10_001, 0.1), RATE)  # 0.22678 s
        assert len(decode(path, end_s=0.227).samples) == 10_001
        assert len(decode(path, 32_000, end_s=0.227).samples) == len(decode(path, 32_000).samples)

    def test_a_file_that_does_not_say_how_long_it_is(self, noise: Callable[..., Path]) -> None:
        path = noise("a.flac")
        whole = decode(path).samples
        content = bytearray(path.read_bytes())
        # the number of samples is the last 36 bits before the checksum in STREAMINFO
        content[21] &= 0xF0
        content[22:26] = bytes(4)
        path.write_bytes(content)
        np.testing.assert_array_equal(decode(path, start_s=1.0, end_s=2.0).samples, whole[RATE : 2 * RATE])
        assert error_of(lambda: decode(path, start_s=4.0)) == (
            f"{path}: start_s=4.0 is not before the end of the recording at 3.000 s; give an earlier start"
        )


class TestErrors:
    @pytest.mark.parametrize("name", ["a.wav", "a.ogg"])
    @pytest.mark.parametrize("rate", [None, 32_000])
    @pytest.mark.parametrize("start_s", [3.0, 3.5, 1e6])
    def test_a_start_behind_the_end(
        self, noise: Callable[..., Path], name: str, rate: int | None, start_s: float
    ) -> None:
        path = noise(name)
        assert error_of(lambda: decode(path, rate, start_s=start_s)) == (
            f"{path}: start_s={start_s} is not before the end of the recording at 3.000 s; give an earlier start"
        )

    @pytest.mark.parametrize("name", ["a.wav", "a.ogg"])
    @pytest.mark.parametrize("end_s", [3.002, 60])
    def test_an_end_behind_the_end(self, noise: Callable[..., Path], name: str, end_s: float) -> None:
        path = noise(name)
        assert error_of(lambda: decode(path, end_s=end_s)) == (
            f"{path}: end_s={end_s} is behind the end of the recording at 3.000 s; give an earlier end, or none"
        )

    def test_less_than_a_sample(self, noise: Callable[..., Path]) -> None:
        path = noise("a.wav")
        assert error_of(lambda: decode(path, 8000, start_s=1.0, end_s=1.00001)) == (
            f"{path}: from start_s=1.0 to end_s=1.00001 there is no sample at 8000 Hz; expected at least one; "
            "give a later end"
        )

    @pytest.mark.parametrize("start_s", [-0.1, np.nan, np.inf])
    def test_no_start(self, noise: Callable[..., Path], start_s: float) -> None:
        path = noise("a.wav")
        with pytest.raises(ValueError, match=rf"^start_s={start_s}; expected a number of seconds, 0 at the least$"):
            decode(path, start_s=start_s)

    @pytest.mark.parametrize("end_s", [1.0, 0.5, -1.0, np.nan, np.inf])
    def test_no_end(self, noise: Callable[..., Path], end_s: float) -> None:
        path = noise("a.wav")
        with pytest.raises(ValueError, match=rf"^end_s={end_s}; expected a number of seconds above start_s=1.0$"):
            decode(path, start_s=1.0, end_s=end_s)

    def test_what_is_wrong_in_the_part_is_placed_in_the_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        samples = np.zeros(3000, dtype=np.float32)
        samples[2500] = np.nan
        soundfile.write(path, samples, 1000, subtype="FLOAT")
        assert error_of(lambda: decode(path, start_s=2.0)).startswith(f"{path}: sample 2500 (2.500 s) is nan; ")
        assert len(decode(path, start_s=1.0, end_s=2.0).samples) == 1000

    def test_a_file_that_is_cut_short_has_no_parts(self, noise: Callable[..., Path]) -> None:
        path = noise("a.wav")
        path.write_bytes(path.read_bytes()[:-1000])
        assert error_of(lambda: decode(path, end_s=1.0)).startswith(f"{path}: cut short: ")

    def test_no_samples_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, np.zeros(0), RATE)
        assert error_of(lambda: decode(path, start_s=1.0)) == (
            f"{path}: holds no samples; expected at least one; record or export it again"
        )
