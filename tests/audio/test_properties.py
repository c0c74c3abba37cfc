"""What a file says of its recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.decode import Properties, properties
from earmark.errors import AudioError


@pytest.mark.parametrize(
    ("name", "format_name"), [("a.wav", "WAV"), ("a.flac", "FLAC"), ("a.ogg", "OGG"), ("a.mp3", "MP3")]
)
def test_are_those_that_it_was_written_with(tmp_path: Path, rng: np.random.Generator, name: str, format_name: str):
    soundfile.write(tmp_path / name, 0.1 * rng.standard_normal((24_000, 2)), 16_000)
    assert properties(tmp_path / name) == Properties(16_000, 2, 1.5, format_name)


def test_of_what_ffmpeg_reads(tmp_path: Path, rng: np.random.Generator):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=32_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(rng.normal(0, 0.1, (2, 32_000)).astype(np.float32), "fltp", "stereo")
        frame.sample_rate = 32_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    found = properties(tmp_path / "a.m4a")
    assert (found.sample_rate, found.n_channels, found.format_name) == (32_000, 2, "mov")
    assert found.duration_s == pytest.approx(1.0, abs=0.1)


def test_a_length_that_is_not_stated_is_measured(tmp_path: Path, rng: np.random.Generator):
    soundfile.write(tmp_path / "a.flac", 0.1 * rng.standard_normal(12_345), 8000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    # STREAMINFO's last 36 bits of its first 18 bytes count the samples; none means that they are not known
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(content)
    assert properties(tmp_path / "b.flac") == Properties(8000, 1, 12_345 / 8000, "FLAC")


def test_of_what_is_no_recording(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"a\.wav: is empty \(0 bytes\)"):
        properties(tmp_path / "a.wav")
