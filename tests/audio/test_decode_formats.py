"""What libsndfile does not read goes to FFmpeg, by content; without it, the error says what to install."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from earmark.audio import pyav
from earmark.audio.decode import SUFFIXES, decode, stream
from earmark.audio.pyav import to_float
from earmark.errors import AudioError

DURATION_S = 2.0

CODECS = [
    # suffix, container, codec, rate, tolerated difference of length in samples
    ("m4a", "ipod", "aac", 44_100, 2048),
    ("m4a", "ipod", "alac", 44_100, 0),
    ("mp4", "mp4", "aac", 48_000, 2048),
    ("mov", "mov", "pcm_s24le", 44_100, 0),
    ("aac", "adts", "aac", 32_000, 3072),
    ("webm", "webm", "libopus", 48_000, 2048),
    ("webm", "webm", "libvorbis", 44_100, 2048),
    ("mka", "matroska", "flac", 96_000, 0),
    ("mkv", "matroska", "pcm_f32le", 22_050, 0),
    ("wma", "asf", "wmav2", 44_100, 8192),
    ("amr", "amr", "libopencore_amrnb", 8000, 400),
    ("ac3", "ac3", "ac3", 48_000, 2048),
    ("mp2", "mp2", "mp2", 44_100, 3456),
]


BIT_RATES = {"wmav2": 128_000, "libopencore_amrnb": 12_200}
"""In bits a second, where FFmpeg's own choice does not do."""


def tone(rate: int, n_channels: int = 1, frequency_hz: float = 1000.0) -> np.ndarray:
    """(n_channels, n_samples) float32; the second channel is half as loud."""
    sine = 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(DURATION_S * rate)) / rate)
    return np.stack([sine / (1 + channel) for channel in range(n_channels)]).astype(np.float32)


def peak_hz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(AudioError) as caught:
        call()
    return str(caught.value)


def write(
    path: Path,
    container: str = "ipod",
    codec: str = "aac",
    rate: int = 44_100,
    *,
    n_channels: int = 1,
    layout: str = "",
    pictures: bool = False,
    sound: bool = True,
    duration_s: float = DURATION_S,
    title: str = "",
    options: dict[str, str] | None = None,
) -> Path:
    """Write a tone, a video of two seconds, or both."""
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    layout = layout or ("stereo" if n_channels == 2 else "mono")
    with av.open(str(path), "w", format=container, options=options or {}) as out:
        out.metadata["title"] = title
        video = out.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p") if pictures else None
        audio = out.add_stream(codec, rate=rate, layout=layout) if sound else None
        if video is not None:
            for number in range(20):
                picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, dtype=np.uint8))
                picture.pts, picture.time_base = number, Fraction(1, 10)
                out.mux(video.encode(picture))
            out.mux(video.encode(None))
        if audio is not None:
            if codec in BIT_RATES:
                audio.bit_rate = BIT_RATES[codec]
            samples = tone(rate, n_channels)[:, : round(duration_s * rate)]
            for start in range(0, samples.shape[1], 1000):
                part = np.ascontiguousarray(samples[:, start : start + 1000])
                frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
    return path


@pytest.fixture
def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyAV be not installed."""
    monkeypatch.setitem(sys.modules, "av", None)


class TestLibsndfile:
    @pytest.mark.parametrize(
        ("container", "subtype"),
        [
            (container, subtype)
            for container in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "SVX", "NIST")
            if container in soundfile.available_formats()
            for subtype in soundfile.available_subtypes(container)
        ],
    )
    def test_every_encoding(self, tmp_path: Path, container: str, subtype: str) -> None:
        rate = 48_000 if subtype == "OPUS" else 44_100 if container == "MP3" else 16_000
        try:
            soundfile.write(tmp_path / "a.dat", tone(rate)[0], rate, format=container, subtype=subtype)
        except soundfile.LibsndfileError as error:
            pytest.skip(f"this libsndfile does not write it: {error}")
        waveform = decode(tmp_path / "a.dat")
        assert waveform.sample_rate == rate
        assert waveform.duration_s == pytest.approx(DURATION_S, abs=0.13)
        assert peak_hz(waveform.samples, rate) == pytest.approx(1000, abs=1)
        assert np.abs(waveform.samples[2000:-4000]).max() == pytest.approx(0.5, abs=0.1)

    @pytest.mark.parametrize("n_channels", [1, 2, 3, 6, 8, 16])
    @pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.caf"])
    def test_any_number_of_channels(self, tmp_path: Path, name: str, n_channels: int) -> None:
        if name == "a.flac" and n_channels > 8:
            pytest.skip("FLAC has eight channels at the most")
        channels = np.arange(1, n_channels + 1) / 32 * np.ones((100, 1))
        soundfile.write(tmp_path / name, channels, 1000, subtype="PCM_24")
        expected = (n_channels + 1) / 64
        np.testing.assert_allclose(decode(tmp_path / name).samples, expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("rate", [1, 1000, 7919, 11_025, 192_000, 384_000])
    def test_any_rate(self, tmp_path: Path, rate: int) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(rate), rate)
        waveform = decode(tmp_path / "a.wav")
        assert (waveform.sample_rate, waveform.duration_s) == (rate, 1.0)

    def test_pyav_is_not_asked(self, tmp_path: Path, without_av: None) -> None:
        soundfile.write(tmp_path / "a.m4a", tone(8000)[0], 8000, format="WAV")
        assert decode(tmp_path / "a.m4a").duration_s == DURATION_S


class TestPyav:
    @pytest.mark.parametrize(("suffix", "container", "codec", "rate", "tolerance"), CODECS)
    @pytest.mark.parametrize("n_channels", [1, 2])
    def test_a_tone_keeps_frequency_level_and_length(
        self, tmp_path: Path, suffix: str, container: str, codec: str, rate: int, tolerance: int, n_channels: int
    ) -> None:
        if codec == "libopencore_amrnb" and n_channels == 2:
            pytest.skip("AMR has one channel")
        path = write(tmp_path / f"a.{suffix}", container, codec, rate, n_channels=n_channels)
        waveform = decode(path)
        assert waveform.sample_rate == rate
        assert waveform.samples.dtype == np.float32
        assert abs(len(waveform.samples) - round(DURATION_S * rate)) <= tolerance
        assert peak_hz(waveform.samples, rate) == pytest.approx(1000, abs=1)
        expected = 0.5 if n_channels == 1 else 0.375
        middle = waveform.samples[rate // 2 : -rate // 2]
        tolerated = 0.25 if codec == "libopencore_amrnb" else 0.04  # made for speech alone
        assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(expected, abs=tolerated)

    @pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
    def test_lossless_ones_are_exact_to_a_step(self, tmp_path: Path, codec: str) -> None:
        path = write(tmp_path / "a.mkv", "matroska", codec, 8000)
        step = {"u8": 2.0**-7, "s16le": 2.0**-15}.get(codec[4:], 2.0**-22)
        np.testing.assert_allclose(decode(path).samples, tone(8000)[0], rtol=0, atol=step)

    @pytest.mark.parametrize("name", ["a.wav", "a.txt", "a", "größe ü 猫.mp3"])
    def test_the_suffix_does_not_matter(self, tmp_path: Path, name: str) -> None:
        path = write(tmp_path / name)
        assert decode(path).duration_s == pytest.approx(DURATION_S, abs=0.05)

    def test_it_is_resampled(self, tmp_path: Path) -> None:
        waveform = decode(write(tmp_path / "a.m4a"), 16_000)
        assert waveform.sample_rate == 16_000
        assert peak_hz(waveform.samples, 16_000) == pytest.approx(1000, abs=1)

    @pytest.mark.parametrize("target", [None, 16_000])
    def test_a_part_is_the_slice_of_the_whole(self, tmp_path: Path, target: int | None) -> None:
        path = write(tmp_path / "a.webm", "webm", "libopus", 48_000)
        whole = decode(path, target)
        rate = whole.sample_rate
        part = decode(path, target, start_s=0.5, end_s=1.25).samples
        np.testing.assert_array_equal(part, whole.samples[rate // 2 : rate * 5 // 4])
        assert error_of(lambda: decode(path, target, start_s=9.5)) == (
            f"{path}: start_s=9.5 is not before the end of the recording at {whole.duration_s:.3f} s; "
            "give an earlier start"
        )

    @pytest.mark.parametrize(("suffix", "container", "codec", "rate", "tolerance"), CODECS)
    def test_blocks_end_to_end_are_the_whole(
        self, tmp_path: Path, suffix: str, container: str, codec: str, rate: int, tolerance: int
    ) -> None:
        path = write(tmp_path / f"a.{suffix}", container, codec, rate)
        with stream(path, block_s=0.3) as blocks:
            assert blocks.duration_s is None or blocks.duration_s == pytest.approx(DURATION_S, abs=0.25)
            np.testing.assert_array_equal(np.concatenate(list(blocks)), decode(path).samples)

    def test_a_title_in_another_encoding(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mka", "matroska", "flac", title="Vogel-X")
        content = path.read_bytes()
        assert content.count(b"Vogel-X") == 1
        path.write_bytes(content.replace(b"Vogel-X", b"V\xf6gel-X"))
        assert decode(path).duration_s == DURATION_S

    def test_a_stream_is_closed_before_its_end(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.m4a")
        with stream(path, block_s=0.1) as blocks:
            assert len(next(blocks)) == 4410
        assert list(blocks) == []
        path.unlink()

    def test_a_video(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", "mp4", pictures=True)
        assert peak_hz(decode(path).samples, 44_100) == pytest.approx(1000, abs=1)

    @pytest.mark.parametrize("container", ["mp4", "matroska"])
    def test_a_video_longer_than_its_sound(self, tmp_path: Path, container: str) -> None:
        path = write(tmp_path / "a", container, pictures=True, duration_s=0.5)
        assert decode(path).duration_s == pytest.approx(0.5, abs=0.05)

    def test_channels_in_an_order_of_their_own(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mov", "mov", "pcm_s16le", 8000, n_channels=2, layout="FR+FL")
        np.testing.assert_allclose(decode(path).samples, 0.75 * tone(8000)[0], rtol=0, atol=2**-15)

    def test_channels_that_change_on_the_way(self, tmp_path: Path) -> None:
        path = tmp_path / "a.aac"
        mono, stereo = (write(tmp_path / f"{n}.aac", "adts", n_channels=n).read_bytes() for n in (1, 2))
        path.write_bytes(mono + stereo)
        samples = decode(path).samples
        assert len(samples) == pytest.approx(2 * DURATION_S * 44_100, abs=6000)
        levels = [np.sqrt(2 * np.mean(part[20_000:60_000] ** 2)) for part in np.split(samples[:176_000], 2)]
        assert levels == pytest.approx([0.5, 0.375], abs=0.03)

    def test_nothing_is_said_on_the_terminal(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        path = write(tmp_path / "a.m4a")
        decode(path)
        path.write_bytes(path.read_bytes()[:-1000])
        error_of(lambda: decode(path))
        assert capfd.readouterr() == ("", "")

    def test_folders_are_searched_for_it(self) -> None:
        assert {".m4a", ".webm", ".mp4", ".wma"} <= SUFFIXES


class TestErrors:
    def test_without_pyav_the_extra_is_named(self, tmp_path: Path, without_av: None) -> None:
        path = write_by_hand(tmp_path / "a.m4a")
        said = f"{path}: this format needs libraries that are not installed: pip install 'earmark[formats]'"
        assert error_of(lambda: decode(path)) == said
        assert error_of(lambda: stream(path)) == said

    def test_one_among_many_is_named_and_the_rest_is_tagged(
        self,
        tmp_path: Path,
        without_av: None,
        write_tone: Callable[..., Path],
        run_earmark: Callable[..., tuple[int, str, str]],
        tiny_bundle: Path,
    ) -> None:
        path = write_by_hand(tmp_path / "b.m4a")
        tones = [write_tone("a.wav"), write_tone("c.wav")]
        status, out, err = run_earmark("tag", tmp_path, "--model", tiny_bundle, "--format", "csv", "--top", 1)
        assert status == 1
        assert [line.split(",")[0] for line in out.splitlines()[1:]] == [str(tone) for tone in tones]
        assert f"{path}: this format needs libraries that are not installed: pip install 'earmark[formats]'" in err
        assert "1 of 3 files could not be tagged" in err

    @pytest.mark.parametrize(
        "head",
        [
            b"\0\0\0\x20ftypM4A ",
            b"\x1a\x45\xdf\xa3" + bytes(20),
            b"\x30\x26\xb2\x75" + bytes(20),
            b"#!AMR\n" + bytes(9),
        ],
    )
    def test_without_pyav_the_content_is_known_under_any_suffix(
        self, tmp_path: Path, without_av: None, head: bytes
    ) -> None:
        path = tmp_path / "a.dat"
        path.write_bytes(head + bytes(1000))
        assert error_of(lambda: decode(path)).endswith("not installed: pip install 'earmark[formats]'")

    @pytest.mark.parametrize("name", ["a.wav", "a.txt"])
    def test_text_is_no_recording_with_or_without(
        self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / name
        path.write_text("This is no recording.\n" * 100)
        said = f"{path}: cannot be read as audio (Format not recognised); is it a recording, and whole?"
        assert error_of(lambda: decode(path)) == said
        monkeypatch.setitem(sys.modules, "av", None)
        assert error_of(lambda: decode(path)) == said

    def test_a_video_without_sound(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", "mp4", pictures=True, sound=False)
        assert error_of(lambda: decode(path)) == (
            f"{path}: has no sound, only these streams: video; expected a recording or a video with sound"
        )

    @pytest.mark.parametrize(
        ("suffix", "container", "codec"),
        [("m4a", "ipod", "aac"), ("mov", "mov", "pcm_s16le"), ("webm", "webm", "libopus"), ("wma", "asf", "wmav2")],
    )
    @pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}])
    def test_no_cut_goes_unseen(
        self, tmp_path: Path, suffix: str, container: str, codec: str, options: dict[str, str]
    ) -> None:
        if options and container not in {"ipod", "mov"}:
            pytest.skip("only MP4 may have its index at the end or at the beginning")
        path = write(tmp_path / f"a.{suffix}", container, codec, 48_000, options=options)
        content = path.read_bytes()
        for n_bytes in [*(len(content) * tenth // 10 for tenth in range(1, 10)), len(content) - 50, len(content) - 1]:
            path.write_bytes(content[:n_bytes])
            text = error_of(lambda: decode(path))
            assert text.startswith((f"{path}: cut short: ", f"{path}: cannot be read as audio (")), (n_bytes, text)

    def test_a_cut_is_said_with_its_size(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mov", "mov", "pcm_s16le", 8000, options={"movflags": "faststart"})
        path.write_bytes(path.read_bytes()[:-1000])
        assert error_of(lambda: decode(path)) == (
            f"{path}: cut short: its header promises 32000 bytes, 31000 are there; fetch or export it again"
        )

    def test_a_byte_that_is_wrong(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mka", "matroska", "flac", 44_100)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        assert error_of(lambda: decode(path)).startswith(f"{path}: cannot be read as audio (")

    def test_a_rate_that_changes_on_the_way(self, tmp_path: Path) -> None:
        path = tmp_path / "a.aac"
        parts = (write(tmp_path / f"{rate}.aac", "adts", rate=rate).read_bytes() for rate in (44_100, 32_000))
        path.write_bytes(b"".join(parts))
        assert error_of(lambda: decode(path)) == (
            f"{path}: its sample rate changes from 44100 to 32000 Hz on the way; expected one; export it again"
        )

    def test_integers_that_numpy_does_not_get(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.nut", "nut", "pcm_s64le")
        assert error_of(lambda: decode(path)).startswith(f"{path}: cannot be read as audio (Conversion from 's64' ")

    def test_a_cluster_that_is_lost(self, tmp_path: Path, rng: np.random.Generator) -> None:
        path = write(tmp_path / "a.webm", "webm", "libopus", 48_000)
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 2000] = rng.bytes(2000)
        path.write_bytes(content)
        text = error_of(lambda: decode(path))
        assert text.startswith(f"{path}: cut short: its header promises 2.01 s, its last sound ends at 1."), text

    def test_samples_that_are_no_numbers(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mkv"
        samples = tone(8000)
        samples[0, 12_000] = np.nan
        with av.open(str(path), "w", format="matroska") as out:
            audio = out.add_stream("pcm_f32le", rate=8000, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples, "flt", "mono")
            frame.sample_rate = 8000
            out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
        assert error_of(lambda: decode(path)) == (
            f"{path}: sample 12000 (1.500 s) is nan; expected finite numbers with full scale at ±1; "
            "export it again, as integers"
        )

    @pytest.mark.parametrize(
        "playlist",
        [
            "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
            "ffconcat version 1.0\nfile '{other}'\n",
        ],
    )
    def test_a_playlist_opens_no_other_file(
        self, tmp_path: Path, playlist: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        write(tmp_path / "other.aac", "adts")
        path = tmp_path / "a.wav"
        for other in ("other.aac", tmp_path / "other.aac", f"file:{tmp_path / 'other.aac'}", "http://127.0.0.1:9/a"):
            path.write_text(playlist.format(other=other))
            assert error_of(lambda: decode(path)).startswith(f"{path}: cannot be read as audio (")


class TestToFloat:
    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            ([0, 64, 128, 192], "u1"),
            ([-(2**15), -(2**14), 0, 2**14], "i2"),
            ([-(2**31), -(2**30), 0, 2**30], "i4"),
            ([-1.0, -0.5, 0.0, 0.5], "f4"),
            ([-1.0, -0.5, 0.0, 0.5], "f8"),
        ],
    )
    def test_full_scale_is_one(self, values: list[float], dtype: str) -> None:
        array = np.array([values], dtype=dtype)
        assert to_float(array, 1)[:, 0].tolist() == [-1.0, -0.5, 0.0, 0.5]
        assert to_float(array, 2).tolist() == [[-1.0, -0.5], [0.0, 0.5]]
        planes = to_float(np.concatenate([array, array]), 2)
        assert planes.shape == (4, 2)
        assert planes.dtype == np.float32

    def test_doubles_beyond_single_precision_become_infinite(self) -> None:
        assert to_float(np.array([[1e300]]), 1).tolist() == [[np.inf]]


def write_by_hand(path: Path) -> Path:
    """The beginning of an M4A, which is all that tells it without FFmpeg."""
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
    return path


def test_the_suffixes_are_two_libraries() -> None:
    assert pyav.SUFFIXES < SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
