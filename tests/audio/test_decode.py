"""Any file becomes a mono waveform, or an error that says what is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio import sndfile
from earmark.audio.decode import SUFFIXES, Waveform, check_samples, decode
from earmark.errors import AudioError

RATE = 44_100


def sine(frequency_hz: float = 440.0, duration_s: float = 1.0, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate)) / rate)


def peak_hz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(AudioError) as caught:
        call()
    return str(caught.value)


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "subtype", "step"),
        [
            ("a.wav", "PCM_U8", 2**-7),
            ("a.wav", "PCM_16", 2**-15),
            ("a.wav", "PCM_24", 2**-23),
            ("a.wav", "PCM_32", 2**-24),
            ("a.wav", "FLOAT", 2**-24),
            ("a.wav", "DOUBLE", 2**-24),
            ("a.flac", "PCM_16", 2**-15),
            ("a.flac", "PCM_24", 2**-23),
            ("a.aiff", "PCM_16", 2**-15),
            ("a.au", "PCM_16", 2**-15),
            ("a.caf", "PCM_16", 2**-15),
            ("a.w64", "PCM_16", 2**-15),
        ],
    )
    def test_lossless_ones_are_exact_to_a_step(self, tmp_path: Path, name: str, subtype: str, step: float) -> None:
        soundfile.write(tmp_path / name, sine(), RATE, subtype=subtype)
        waveform = decode(tmp_path / name)
        assert waveform.sample_rate == RATE
        assert waveform.duration_s == 1.0
        assert waveform.samples.dtype == np.float32
        assert waveform.samples.shape == (RATE,)
        np.testing.assert_allclose(waveform.samples, sine(), rtol=0, atol=step)

    @pytest.mark.parametrize(
        ("name", "subtype", "rate"),
        [("a.ogg", "VORBIS", RATE), ("a.opus", "OPUS", 48_000), ("a.mp3", "MPEG_LAYER_III", RATE)],
    )
    def test_lossy_ones_keep_length_and_frequency(self, tmp_path: Path, name: str, subtype: str, rate: int) -> None:
        container = "MP3" if name.endswith("mp3") else "OGG"
        if subtype not in soundfile.available_subtypes(container):
            pytest.skip(f"this libsndfile writes no {subtype}")
        soundfile.write(tmp_path / name, sine(1000, rate=rate), rate, subtype=subtype, format=container)
        waveform = decode(tmp_path / name)
        assert waveform.samples.shape == (rate,)
        assert waveform.samples.dtype == np.float32
        assert peak_hz(waveform.samples, rate) == pytest.approx(1000, abs=1)
        assert np.abs(waveform.samples[2000:-2000]).max() == pytest.approx(0.5, abs=0.05)

    def test_channels_are_averaged(self, tmp_path: Path) -> None:
        channels = np.column_stack([np.full(100, 0.5), np.full(100, -0.25), np.full(100, 0.125)])
        soundfile.write(tmp_path / "a.wav", channels, RATE, subtype="FLOAT")
        np.testing.assert_array_equal(decode(tmp_path / "a.wav").samples, np.full(100, 0.125, dtype=np.float32))

    def test_floats_beyond_full_scale_are_kept(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.array([1.5, -40.0]), RATE, subtype="FLOAT")
        assert decode(tmp_path / "a.wav").samples.tolist() == [1.5, -40.0]

    def test_any_suffix_will_do_for_a_file_that_is_named(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", sine(), RATE)
        (tmp_path / "a.wav").rename(tmp_path / "a.dat")
        assert len(decode(tmp_path / "a.dat").samples) == RATE

    @pytest.mark.parametrize("name", ["two words.wav", "größe ü.wav", "猫 🐈.wav", "-h.wav", "a'b\"c;$x.wav"])
    def test_any_name_will_do(self, tmp_path: Path, name: str) -> None:
        soundfile.write(tmp_path / name, sine(), RATE)
        assert len(decode(tmp_path / name).samples) == RATE
        assert len(decode(str(tmp_path / name)).samples) == RATE

    def test_a_long_file_is_read_in_blocks_without_a_seam(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("a.wav", "a.flac", "a.ogg"):
            soundfile.write(tmp_path / name, sine(), RATE)
            at_once = decode(tmp_path / name).samples
            for n_frames in (1000, RATE // 2, RATE):
                monkeypatch.setattr(sndfile, "FRAMES_PER_READ", n_frames)
                np.testing.assert_array_equal(decode(tmp_path / name).samples, at_once)
            monkeypatch.undo()

    def test_a_flac_from_a_pipe_does_not_say_how_long_it_is(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.flac", sine(), RATE)
        content = bytearray((tmp_path / "a.flac").read_bytes())
        # the number of samples is the last 36 bits before the checksum in STREAMINFO
        content[21] &= 0xF0
        content[22:26] = bytes(4)
        (tmp_path / "piped.flac").write_bytes(content)
        np.testing.assert_array_equal(decode(tmp_path / "piped.flac").samples, decode(tmp_path / "a.flac").samples)

    def test_folders_are_searched_for_what_can_be_decoded(self) -> None:
        assert {".wav", ".flac", ".ogg", ".mp3"} <= SUFFIXES
        assert all(suffix == suffix.lower() for suffix in SUFFIXES)


class TestShortest:
    def test_one_sample(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.array([0.5]), RATE)
        assert decode(tmp_path / "a.wav").samples.tolist() == [0.5]
        assert decode(tmp_path / "a.wav").duration_s == 1 / RATE
        for rate in (8000, 32_000):
            assert len(decode(tmp_path / "a.wav", rate).samples) == 1
        assert len(decode(tmp_path / "a.wav", 2 * RATE).samples) == 2

    def test_silence(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
        np.testing.assert_array_equal(decode(tmp_path / "a.wav", 32_000).samples, np.zeros(32_000, dtype=np.float32))

    def test_duration_is_in_seconds(self) -> None:
        assert Waveform(np.zeros(12_000, dtype=np.float32), 8000).duration_s == 1.5


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "none.wav"
        assert error_of(lambda: decode(path)) == f"{path}: no such file; check the spelling and the folder"

    def test_a_name_too_long_for_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / ("a" * 300 + ".wav")
        assert error_of(lambda: decode(path)).startswith(f"{path}: cannot be read as audio (")

    def test_a_folder(self, tmp_path: Path) -> None:
        assert error_of(lambda: decode(tmp_path)) == f"{tmp_path}: is a folder; a recording was expected"

    def test_no_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        path.touch()
        assert error_of(lambda: decode(path)) == f"{path}: is empty (0 bytes); fetch or export it again"

    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff", ".txt"])
    def test_text_under_any_suffix(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        path.write_text("This is no recording.\n" * 100)
        assert error_of(lambda: decode(path)) == (
            f"{path}: cannot be read as audio (Format not recognised); is it a recording, and whole?"
        )

    def test_samples_without_a_header(self, tmp_path: Path) -> None:
        path = tmp_path / "a.raw"
        path.write_bytes(bytes(1000))
        assert error_of(lambda: decode(path)) == (
            f"{path}: cannot be read as audio (samplerate must be specified); is it a recording, and whole?"
        )

    @pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.ogg"])
    def test_a_header_and_no_samples(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        soundfile.write(path, np.zeros(0), RATE)
        assert error_of(lambda: decode(path)) == (
            f"{path}: holds no samples; expected at least one; record or export it again"
        )

    @pytest.mark.parametrize(
        ("value", "said"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e30, "1e+30"), (-2e12, "-2e+12")]
    )
    def test_samples_that_are_no_numbers(self, tmp_path: Path, value: float, said: str) -> None:
        path = tmp_path / "a.wav"
        samples = sine()
        samples[[22_050, 30_000]] = value
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        text = (
            f"{path}: sample 22050 (0.500 s) is {said}; expected finite numbers with full scale at ±1; "
            "export it again, as integers"
        )
        assert error_of(lambda: decode(path)) == text
        assert error_of(lambda: decode(path, 8000)) == text

    def test_infinities_of_two_channels_do_not_cancel(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        channels = np.zeros((10, 2))
        channels[3] = np.inf, -np.inf
        soundfile.write(path, channels, 1000, subtype="FLOAT")
        assert error_of(lambda: decode(path)).startswith(f"{path}: sample 3 (0.003 s) is inf; expected finite")

    def test_doubles_beyond_single_precision(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, np.array([0.0, 1e300]), 1000, subtype="DOUBLE")
        assert error_of(lambda: decode(path)).startswith(f"{path}: sample 1 (0.001 s) is inf; expected finite")

    def test_the_loudest_samples_pass(self) -> None:
        check_samples(np.array([1e12, -1e12], dtype=np.float32), RATE, "a")

    @pytest.mark.skipif(os.name == "nt", reason="names are UTF-16 there")
    def test_a_name_that_is_not_utf8(self, tmp_path: Path, write_tone: Callable[..., Path]) -> None:
        path = Path(os.fsdecode(bytes(tmp_path) + b"/\xff.wav"))
        try:
            write_tone().rename(path)
        except OSError:
            pytest.skip("this file system takes no such name")
        assert error_of(lambda: decode(path)) == f"{str(path)!r}: its name is not UTF-8; rename the file"


class TestCutShort:
    @pytest.mark.parametrize(("name", "n_promised"), [("a.wav", 88_200), ("a.aiff", 88_208), ("a.au", 88_200)])
    def test_a_header_that_promises_more_bytes(self, tmp_path: Path, name: str, n_promised: int) -> None:
        path = tmp_path / name
        soundfile.write(path, sine(), RATE, subtype="PCM_16")
        path.write_bytes(path.read_bytes()[:-30_001])
        assert error_of(lambda: decode(path)) == (
            f"{path}: cut short: its header promises {n_promised} bytes of samples, {n_promised - 30_001} are there; "
            "fetch or export it again"
        )

    def test_a_wav_that_lost_all_its_samples(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, sine(), RATE)
        path.write_bytes(path.read_bytes()[:44])
        assert error_of(lambda: decode(path)) == (
            f"{path}: cut short: its header promises 88200 bytes of samples, 0 are there; fetch or export it again"
        )

    @pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.au", "a.caf", "a.w64"])
    def test_no_cut_goes_unseen(self, tmp_path: Path, name: str, rng: np.random.Generator) -> None:
        if name == "a.mp3" and "MP3" not in soundfile.available_formats():
            pytest.skip("this libsndfile writes no MP3")
        path = tmp_path / name
        soundfile.write(path, sine() + 0.01 * rng.standard_normal(RATE), RATE)
        content = path.read_bytes()
        for n_bytes in [*(len(content) * tenth // 10 for tenth in range(1, 10)), len(content) - 50, len(content) - 1]:
            path.write_bytes(content[:n_bytes])
            text = error_of(lambda: decode(path))
            assert text.startswith((f"{path}: cut short: ", f"{path}: cannot be read as audio (")), n_bytes

    def test_flac(self, tmp_path: Path) -> None:
        path = tmp_path / "a.flac"
        soundfile.write(path, sine(), RATE)
        path.write_bytes(path.read_bytes()[:-2000])
        assert error_of(lambda: decode(path)) == (
            f"{path}: cannot be read as audio (flac decoder lost sync); is it a recording, and whole?"
        )

    def test_ogg_even_between_two_pages(self, tmp_path: Path, rng: np.random.Generator) -> None:
        path = tmp_path / "a.ogg"
        soundfile.write(path, 0.3 * rng.standard_normal(RATE), RATE)
        content = path.read_bytes()
        last_page = content.rfind(b"OggS")
        text = f"{path}: cut short: its last page is broken off, or not marked as the end; fetch or export it again"
        for n_bytes in (last_page, last_page + 3, last_page + 10, last_page + 27, len(content) - 1):
            path.write_bytes(content[:n_bytes])
            assert error_of(lambda: decode(path)) == text

    def test_an_mp3_is_held_to_the_count_in_its_header(self, tmp_path: Path) -> None:
        path = write_mp3(tmp_path / "a.mp3")
        path.write_bytes(path.read_bytes()[:-1])
        text = error_of(lambda: decode(path))
        said = r": cut short: its header promises 88200 samples, 8[67]\d{3} are there; fetch or export it again"
        assert re.fullmatch(re.escape(str(path)) + said, text), text

    def test_an_mp3_without_a_count_is_read_to_its_last_whole_frame(self, tmp_path: Path) -> None:
        path = write_mp3(tmp_path / "a.mp3")
        content = path.read_bytes()
        frames = content[content.find(content[:2], 4) :]
        path.write_bytes(frames)
        n_whole = len(decode(path).samples)
        assert n_whole % 1152 == 0
        assert 0 <= n_whole - 2 * RATE <= 3 * 1152
        path.write_bytes(frames[: len(frames) // 2])
        n_half = len(decode(path).samples)
        assert n_half % 1152 == 0
        assert abs(n_half - n_whole / 2) <= 1152


def write_mp3(path: Path) -> Path:
    """Two seconds at a constant bit rate."""
    if "MP3" not in soundfile.available_formats():
        pytest.skip("this libsndfile writes no MP3")
    soundfile.write(path, sine(duration_s=2.0), RATE, bitrate_mode="CONSTANT", compression_level=0.5)
    return path
