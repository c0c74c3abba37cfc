"""A recording read block by block is the same as read at once, in memory that does not grow with it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.audio.decode import decode, stream
from earmark.errors import AudioError

RATES = (8000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(AudioError) as caught:
        call()
    return str(caught.value)


def write_noise(path: Path, rate: int, duration_s: float, n_channels: int = 1) -> Path:
    rng = np.random.default_rng(0)
    n_samples = round(duration_s * rate)
    with soundfile.SoundFile(path, "w", rate, n_channels) as file:
        for start in range(0, n_samples, 1 << 18):
            file.write(rng.uniform(-0.5, 0.5, (min(1 << 18, n_samples - start), n_channels)))
    return path


class TestBlocks:
    @pytest.mark.parametrize("target", RATES)
    @pytest.mark.parametrize("rate", RATES)
    def test_end_to_end_they_are_the_whole(self, tmp_path: Path, rate: int, target: int) -> None:
        path = write_noise(tmp_path / "a.wav", rate, 1.003)
        whole = decode(path, target).samples
        blocks = list(stream(path, target, block_s=0.25))
        assert [len(block) for block in blocks[:-1]] == [target // 4] * 4
        joined = np.concatenate(blocks)
        assert joined.dtype == np.float32
        assert joined.shape == whole.shape
        np.testing.assert_allclose(joined, whole, rtol=0, atol=1e-6)

    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.floats(0.0002, 2.0), st.floats(0.0, 0.9), st.sampled_from([None, 8000, 32_000]))
    def test_blocks_of_any_length(self, tmp_path: Path, block_s: float, start_s: float, target: int | None) -> None:
        path = tmp_path / "a.flac"
        if not path.exists():
            write_noise(path, 22_050, 1.0, n_channels=2)
        with stream(path, target, block_s=block_s, start_s=start_s) as opened:
            blocks = list(opened)
            n_block = round(block_s * opened.sample_rate)
        assert all(len(block) == n_block for block in blocks[:-1])
        assert 0 < len(blocks[-1]) <= n_block
        np.testing.assert_array_equal(np.concatenate(blocks), decode(path, target, start_s=start_s).samples)

    @pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
    def test_any_format(self, tmp_path: Path, name: str) -> None:
        if name.endswith("mp3") and "MP3" not in soundfile.available_formats():
            pytest.skip("this libsndfile writes no MP3")
        path = write_noise(tmp_path / name, 44_100, 14.0, n_channels=2)
        blocks = list(stream(path, block_s=3.0))
        assert len(blocks) == 5
        np.testing.assert_array_equal(np.concatenate(blocks), decode(path).samples)
        as_decoded = list(stream(path, block_s=None))
        assert max(map(len, as_decoded)) < 14.0 * 44_100 / 2
        np.testing.assert_array_equal(np.concatenate(as_decoded), np.concatenate(blocks))

    def test_a_part(self, tmp_path: Path) -> None:
        path = write_noise(tmp_path / "a.wav", 44_100, 2.0)
        part = decode(path, 32_000, start_s=0.5, end_s=1.7).samples
        with stream(path, 32_000, block_s=0.5, start_s=0.5, end_s=1.7) as blocks:
            assert blocks.duration_s == pytest.approx(1.2)
            assert [len(block) for block in blocks] == [16_000, 16_000, 6400]
        joined = np.concatenate(list(stream(path, 32_000, block_s=0.5, start_s=0.5, end_s=1.7)))
        np.testing.assert_array_equal(joined, part)

    def test_blocks_are_the_callers_own(self, tmp_path: Path) -> None:
        path = write_noise(tmp_path / "a.wav", 8000, 1.0)
        first, second = stream(path, block_s=0.5)
        first[:] = 7
        assert np.abs(second).max() < 1


class TestStream:
    def test_what_it_says_of_itself(self, tmp_path: Path) -> None:
        path = write_noise(tmp_path / "a.wav", 44_100, 1.5)
        with stream(path) as blocks:
            assert (blocks.sample_rate, blocks.duration_s) == (44_100, 1.5)
        with stream(path, 8000, start_s=1.0) as blocks:
            assert (blocks.sample_rate, blocks.duration_s) == (8000, 0.5)

    def test_a_file_that_does_not_say_how_long_it_is(self, tmp_path: Path) -> None:
        path = write_noise(tmp_path / "a.flac", 44_100, 1.0)
        whole = decode(path).samples
        content = bytearray(path.read_bytes())
        # the number of samples is the last 36 bits before the checksum in STREAMINFO
        content[21] &= 0xF0
        content[22:26] = bytes(4)
        path.write_bytes(content)
        with stream(path, block_s=0.1) as blocks:
            assert blocks.duration_s is None
            np.testing.assert_array_equal(np.concatenate(list(blocks)), whole)

    def test_the_file_is_closed_at_the_end_and_before(self, tmp_path: Path) -> None:
        path = write_noise(tmp_path / "a.wav", 8000, 1.0)
        whole, begun, untouched = stream(path), stream(path, block_s=0.1), stream(path)
        list(whole)
        next(begun)
        begun.close()
        untouched.close()
        for opened in (whole, begun, untouched):
            assert opened._source._file.closed  # type: ignore[attr-defined]
            assert list(opened) == []

    def test_it_is_closed_at_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, np.array([0.0, np.nan]), 1000, subtype="FLOAT")
        opened = stream(path)
        assert error_of(lambda: next(opened)).startswith(f"{path}: sample 1 (0.001 s) is nan; ")
        assert opened._source._file.closed  # type: ignore[attr-defined]


class TestErrors:
    def test_what_the_header_shows_is_raised_at_once(self, tmp_path: Path) -> None:
        none, text = tmp_path / "none.wav", tmp_path / "text.wav"
        text.write_text("This is no recording.\n" * 100)
        cut = write_noise(tmp_path / "cut.wav", 8000, 1.0)
        cut.write_bytes(cut.read_bytes()[:-1000])
        whole = write_noise(tmp_path / "whole.wav", 8000, 1.0)
        empty = tmp_path / "empty.wav"
        soundfile.write(empty, np.zeros(0), 8000)
        assert error_of(lambda: stream(none)) == f"{none}: no such file; check the spelling and the folder"
        assert error_of(lambda: stream(text)).startswith(f"{text}: cannot be read as audio (")
        assert error_of(lambda: stream(cut)).startswith(f"{cut}: cut short: its header promises 16000 bytes")
        assert error_of(lambda: stream(whole, start_s=1.5)).startswith(f"{whole}: start_s=1.5 is not before the end")
        assert error_of(lambda: stream(empty)).startswith(f"{empty}: holds no samples; ")
        assert error_of(lambda: stream(whole, 0)).startswith("the sample rate is 0 Hz; ")

    def test_what_the_samples_show_is_raised_where_it_is_reached(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        samples = np.zeros(3_000_000, dtype=np.float32)
        samples[2_500_000] = np.inf
        soundfile.write(path, samples, 1_000_000, subtype="FLOAT")
        blocks = stream(path, block_s=1.0)
        assert len(next(blocks)) == 1_000_000
        text = error_of(lambda: list(blocks))
        assert text.startswith(f"{path}: sample 2500000 (2.500 s) is inf; expected finite numbers")

    def test_an_end_that_is_missing_and_only_found_there(self, tmp_path: Path) -> None:
        if "MP3" not in soundfile.available_formats():
            pytest.skip("this libsndfile writes no MP3")
        path = write_noise(tmp_path / "a.mp3", 44_100, 20.0)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        blocks = stream(path, block_s=1.0)
        assert len(next(blocks)) == 44_100
        assert error_of(lambda: list(blocks)).startswith(f"{path}: cut short: its header promises 882000 samples, ")

    @pytest.mark.parametrize("block_s", [0, -1, 1e-5, np.nan, np.inf])
    def test_blocks_without_a_length(self, tmp_path: Path, block_s: float) -> None:
        path = write_noise(tmp_path / "a.wav", 8000, 1.0)
        text = f"^block_s={block_s}; expected a number of seconds, at least a sample of 8000 Hz$"
        with pytest.raises(ValueError, match=text):
            stream(path, block_s=block_s)


class TestMemory:
    def peak_bytes(self, path: Path) -> int:
        tracemalloc.start()
        try:
            n_samples = sum(len(block) for block in stream(path, 16_000, block_s=10.0))
            assert n_samples > 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("suffix", ["wav", "flac"])
    def test_it_does_not_grow_with_the_file(self, tmp_path: Path, suffix: str) -> None:
        short, long = (self.peak_bytes(write_noise(tmp_path / f"{s}.{suffix}", 8000, s, 2)) for s in (120, 600))
        assert long < 1.1 * short
        assert long < 2 * 600 * 8000 * 4 / 2  # half of what the samples would take
