"""A long recording goes another way into a store than a short one, and comes out the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.data import intake
from earmark.data.encoding import Encoding
from earmark.data.intake import Tape, read_whole, take_in
from earmark.data.spectrograms import log_mel_encoding
from earmark.errors import AudioError

from .storing import RATE, WAVEFORM


def log_mel(dtype: str, **options: float) -> Encoding:
    spec = LogMelSpec(sample_rate=RATE, n_fft=256, hop_length=100, n_mels=12, fmax=4000)
    return log_mel_encoding(PictureSpec(log_mel=spec, **options), dtype)


ENCODINGS = {
    "waveform": WAVEFORM,
    "other rate": Encoding.waveform(11_025),
    "float16": log_mel("float16"),
    "uint8": log_mel("uint8"),
    "trimmed": log_mel("float16", trim_top_db=30.0),
    "lengthened": log_mel("uint8", min_duration_s=20.0),
    "trimmed and lengthened": log_mel("float16", trim_top_db=30.0, min_duration_s=9.0),
}


@pytest.fixture
def recording(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Ten seconds of noise between near silence."""
    envelope = np.repeat([1e-4, 0.3, 1e-4], [20_000, 40_011, 20_000])
    soundfile.write(tmp_path / "a.wav", envelope * rng.standard_normal(len(envelope)), RATE, subtype="FLOAT")
    return tmp_path / "a.wav"


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
def test_a_long_recording_is_what_it_would_be_if_it_were_short(
    encoding: Encoding, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = take_in(recording, encoding, tmp_path)
    (whole,) = short.blocks
    monkeypatch.setattr(intake, "HELD_BYTES", 2000)
    monkeypatch.setattr(intake, "BLOCK_BYTES", 7777)
    long = take_in(recording, encoding, tmp_path)
    assert len(list(tmp_path.glob("scratch-*.f32"))) == 1
    blocks = list(long.blocks)
    long.close()
    assert len(blocks) > 2
    joined = np.concatenate(blocks)
    assert (long.length, joined.dtype, joined.shape) == (short.length, whole.dtype, whole.shape)
    np.testing.assert_allclose([long.scale, long.shift], [short.scale, short.shift], rtol=1e-5)
    if encoding.kind == "waveform":
        np.testing.assert_array_equal(joined, whole)
    else:  # frames are transformed in other company
        assert np.abs(joined.astype(float) - whole).max() <= (1 if encoding.dtype == "uint8" else 0.07)
    assert list(tmp_path.iterdir()) == [recording]


@pytest.mark.parametrize("encoding", [ENCODINGS["waveform"], ENCODINGS["trimmed"]])
def test_a_long_recording_that_cannot_be_read_leaves_nothing(
    encoding: Encoding, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.zeros(3 * intake.BLOCK_BYTES // 4)
    samples[-5] = np.nan
    soundfile.write(recording, samples, RATE, subtype="FLOAT")
    monkeypatch.setattr(intake, "HELD_BYTES", 2000)
    with pytest.raises(AudioError, match="is nan; expected finite numbers"):
        take_in(recording, encoding, tmp_path)
    assert list(tmp_path.iterdir()) == [recording]


class TestTape:
    @pytest.mark.parametrize("held", [10**6, 100])
    def test_gives_back_what_it_was_given(
        self, held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
    ) -> None:
        monkeypatch.setattr(intake, "HELD_BYTES", held)
        monkeypatch.setattr(intake, "BLOCK_BYTES", 64)
        rows = rng.standard_normal((57, 3)).astype(np.float32)
        with Tape(tmp_path, (3,)) as tape:
            for part in np.split(rows, [0, 11, 40]):
                tape.append(part)
            assert tape.is_spilled == (held == 100)
            assert len(tape) == 57
            assert (tape.low, tape.high) == (rows.min(), rows.max())
            for start, stop in ((0, None), (5, 33)):
                np.testing.assert_array_equal(np.concatenate(list(tape.blocks(start, stop))), rows[start:stop])
        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_ends_too_early(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"123")
        with (tmp_path / "a").open("rb", buffering=0) as file, pytest.raises(EOFError) as caught:
            read_whole(file, memoryview(bytearray(5)))
        assert str(caught.value) == f"{tmp_path / 'a'}: 2 bytes are missing at its end"
