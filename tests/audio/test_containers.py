"""A file that is shorter than it says is told from one that never said how long it is."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.containers import is_media, mp3_states_length, why_cut_short

SAMPLES = bytes(2000)


def wav(data_size: int, riff_size: int | None = None, *, order: str = "<", before: bytes = b"") -> bytes:
    """A WAV of 2000 bytes of samples, whatever its header says."""
    form = struct.pack(f"{order}IHHIIHH", 16, 1, 1, 8000, 16_000, 2, 16)
    body = b"WAVEfmt " + form + before + b"data" + struct.pack(f"{order}I", data_size) + SAMPLES
    size = len(body) if riff_size is None else riff_size
    return (b"RIFF" if order == "<" else b"RIFX") + struct.pack(f"{order}I", size) + body


def why(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "a"
    path.write_bytes(content)
    return why_cut_short(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_wav_promises_more_than_there_is(tmp_path: Path, order: str) -> None:
    assert why(tmp_path, wav(2000, order=order)) == ""
    text = "its header promises 2001 bytes of samples, 2000 are there"
    assert why(tmp_path, wav(2001, order=order)) == text


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_does_not_say_how_long_it_is(tmp_path: Path, size: int) -> None:
    assert why(tmp_path, wav(size, size)) == ""


@pytest.mark.parametrize("riff_size", [0, 8, 2036 + 8, 0xFFFFFFFF])
def test_only_the_samples_count(tmp_path: Path, riff_size: int) -> None:
    assert why(tmp_path, wav(2000, riff_size)) == ""


def test_what_stands_before_the_samples_is_passed_over(tmp_path: Path) -> None:
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # chunks begin at even places
    assert why(tmp_path, wav(2000, before=odd)) == ""
    assert why(tmp_path, wav(4000, before=odd)) == "its header promises 4000 bytes of samples, 2000 are there"


def test_what_stands_behind_the_samples_is_no_matter(tmp_path: Path) -> None:
    assert why(tmp_path, wav(2000) + b"LIST" + struct.pack("<I", 500) + b"cut") == ""


def test_a_file_that_ends_before_its_samples_says_nothing(tmp_path: Path) -> None:
    assert why(tmp_path, wav(2000)[:30]) == ""


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "OGG", "FLAC"])
@pytest.mark.parametrize("n_samples", [1, 2, 999, 1000])
def test_whole_files_are_whole(tmp_path: Path, container: str, n_samples: int) -> None:
    path = tmp_path / "a"
    for n_channels in (1, 3):
        soundfile.write(path, np.full((n_samples, n_channels), 0.1), 8000, format=container)
        assert why_cut_short(path) == ""


@pytest.mark.parametrize(
    ("container", "n_promised"),
    [("WAV", 2000), ("RF64", 2000), ("W64", 2000), ("AIFF", 2008), ("AU", 2000), ("CAF", 2004)],
)
def test_the_last_bytes_are_missed(tmp_path: Path, container: str, n_promised: int) -> None:
    path = tmp_path / "a"
    soundfile.write(path, np.full(1000, 0.1), 8000, format=container, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-3])
    assert why_cut_short(path) == (f"its header promises {n_promised} bytes of samples, {n_promised - 3} are there")


def test_ogg_may_have_something_behind_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, np.full(1000, 0.1), 8000)
    whole = path.read_bytes()
    assert why(tmp_path, whole + bytes(128)) == ""
    assert why(tmp_path, whole + whole) == ""
    assert why(tmp_path, whole + whole[:-1]) == "its last page is broken off, or not marked as the end"


def box(name: bytes, n_bytes: int, promised: int | None = None) -> bytes:
    return struct.pack(">I", 8 + (n_bytes if promised is None else promised)) + name + bytes(n_bytes)


class TestMp4:
    START = box(b"ftyp", 16)

    @pytest.mark.parametrize("index", [b"", box(b"moov", 300)])
    def test_its_last_box_counts(self, tmp_path: Path, index: bytes) -> None:
        assert why(tmp_path, self.START + index + box(b"mdat", 1000)) == ""
        said = "its header promises 1001 bytes, 1000 are there"
        assert why(tmp_path, self.START + index + box(b"mdat", 1000, 1001)) == said
        assert why(tmp_path, self.START + box(b"mdat", 500) + box(b"moov", 1000, 1001)) == said

    def test_a_size_of_64_bits(self, tmp_path: Path) -> None:
        large = struct.pack(">I4sQ", 1, b"mdat", 16 + 1000)
        assert why(tmp_path, self.START + large + bytes(1000)) == ""
        assert why(tmp_path, self.START + large + bytes(990)) == "its header promises 1000 bytes, 990 are there"

    def test_a_box_to_the_end_of_the_file(self, tmp_path: Path) -> None:
        assert why(tmp_path, self.START + struct.pack(">I4s", 0, b"mdat") + bytes(1000)) == ""

    @pytest.mark.parametrize("behind", [bytes(3), bytes(100), b"TAG" + b"x" * 125])
    def test_something_strange_behind_the_end(self, tmp_path: Path, behind: bytes) -> None:
        assert why(tmp_path, self.START + box(b"mdat", 1000) + behind) == ""


class TestMatroska:
    HEAD = b"\x1a\x45\xdf\xa3\x84" + bytes(4)

    @pytest.mark.parametrize("size", [b"\x43\xe8", b"\x01\0\0\0\0\0\x03\xe8"])
    def test_its_segment_counts(self, tmp_path: Path, size: bytes) -> None:
        head = self.HEAD + b"\x18\x53\x80\x67" + size
        assert why(tmp_path, head + bytes(1000)) == ""
        assert why(tmp_path, head + bytes(999)) == "its header promises 1000 bytes, 999 are there"

    @pytest.mark.parametrize("size", [b"\xff", b"\x01" + b"\xff" * 7])
    def test_a_live_stream_does_not_say_how_long_it_is(self, tmp_path: Path, size: bytes) -> None:
        assert why(tmp_path, self.HEAD + b"\x18\x53\x80\x67" + size + bytes(100)) == ""

    @pytest.mark.parametrize("n_bytes", range(20))
    def test_a_few_bytes_are_no_trouble(self, tmp_path: Path, n_bytes: int) -> None:
        assert why(tmp_path, (self.HEAD + b"\x18\x53\x80\x67\x01" + bytes(7))[:n_bytes]) == ""


def test_asf_promises_more_than_there_is(tmp_path: Path) -> None:
    header = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + struct.pack("<Q", 30) + bytes(6)
    data = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c") + struct.pack("<Q", 24 + 1000)
    assert why(tmp_path, header + data + bytes(1000)) == ""
    assert why(tmp_path, header + data + bytes(900)) == "its header promises 1000 bytes of samples, 900 are there"


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (b"\0\0\0\x20ftypisom", True),
        (b"\0\0\0\x08wide\0\0", True),
        (b"\x1a\x45\xdf\xa3", True),
        (b"#!AMR\n", True),
        (b"RIFF\0\0\0\0WAVE", False),
        (b"This is no recording.", False),
        (b"", False),
    ],
)
def test_what_only_ffmpeg_reads_is_known_by_its_beginning(tmp_path: Path, head: bytes, known: bool) -> None:
    (tmp_path / "a").write_bytes(head)
    assert is_media(tmp_path / "a") is known


@pytest.mark.parametrize("content", [b"", b"RI", b"RIFF", b"OggS", b"caff", b"FORM", b"riff", b".snd", b"RF64", b"ID3"])
def test_a_few_bytes_are_no_trouble(tmp_path: Path, content: bytes) -> None:
    why(tmp_path, content)
    assert not mp3_states_length(tmp_path / "a")


def test_a_chunk_of_no_size_does_not_stop_the_search(tmp_path: Path) -> None:
    assert why(tmp_path, b"riff" + bytes(36) + bytes(24) * 10) == ""


class TestMp3:
    @pytest.mark.parametrize("mark", [b"Xing", b"Info"])
    @pytest.mark.parametrize("before", [b"", b"ID3\x03\0\0\0\0\x02\x01" + bytes(257)])
    def test_its_first_frame_counts_the_others(self, tmp_path: Path, mark: bytes, before: bytes) -> None:
        path = tmp_path / "a.mp3"
        path.write_bytes(before + b"\xff\xfb\x90\xc4" + bytes(17) + mark + struct.pack(">II", 0x0F, 88))
        assert mp3_states_length(path)

    @pytest.mark.parametrize(
        "header", [b"", b"Xing", b"Xing" + struct.pack(">II", 0x0E, 88), b"Info" + struct.pack(">II", 0x0F, 0)]
    )
    def test_its_first_frame_does_not(self, tmp_path: Path, header: bytes) -> None:
        path = tmp_path / "a.mp3"
        path.write_bytes(b"\xff\xfb\x90\xc4" + bytes(17) + header)
        assert not mp3_states_length(path)
