"""Recordings that change while they are read: what is made of them is what the files hold in the end, or an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import earmark.data.pack as packing
from earmark.audio.decode import stream
from earmark.data.encoding import Encoding
from earmark.data.layouts import read_collection
from earmark.data.store import open_store
from earmark.errors import AudioError
from earmark.tagging.engine import Engine

from .material import RATE

Run = Callable[..., tuple[int, str, str]]


def write(path: Path, value: float, duration_s: float = 300.0) -> Path:
    soundfile.write(path, np.full(round(duration_s * RATE), value), RATE)
    return path


class TestStream:
    def test_a_file_that_is_cut_is_an_error(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.wav", 0.5)
        with stream(path, block_s=1.0) as blocks:
            assert len(next(blocks)) == RATE
            os.truncate(path, path.stat().st_size // 2)
            with pytest.raises(AudioError, match=r"a\.wav: "):
                for _ in blocks:
                    pass

    def test_a_file_that_is_replaced_is_read_as_it_was(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.wav", 0.5)
        with stream(path, block_s=1.0) as blocks:
            read = [next(blocks)]
            write(tmp_path / "b.wav", 0.25).replace(path)
            read += blocks
        np.testing.assert_allclose(np.concatenate(read), np.full(300 * RATE, 0.5), atol=1e-4)

    def test_a_file_that_grows_is_read_to_the_length_that_it_stated(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.wav", 0.5)
        with stream(path, block_s=1.0) as blocks:
            read = [next(blocks)]
            with path.open("ab") as file:
                file.write(bytes(RATE))
            read += blocks
        assert sum(map(len, read)) == 300 * RATE


def test_pack_hears_again_what_has_changed_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        write(tmp_path / "sounds" / name / f"{name}.wav", 0.5, 1.0)
    whole = packing.take_in

    def changing(path: Path, *arguments: object) -> object:
        taken = whole(path, *arguments)  # type: ignore[arg-type]
        if path.name == "a.wav":
            write(path, 0.25, 2.0)
        return taken

    monkeypatch.setattr(packing, "take_in", changing)
    packing.pack(read_collection(tmp_path / "sounds"), tmp_path / "store", Encoding.waveform(8000), progress=False)
    monkeypatch.undo()
    again = packing.pack(
        read_collection(tmp_path / "sounds"), tmp_path / "store", Encoding.waveform(8000), progress=False
    )
    assert (again.status, again.n_reused) == ("packed", 1)
    assert dict(zip(open_store(tmp_path / "store").manifest.names, again_lengths(tmp_path / "store"), strict=True)) == {
        "a/a.wav": 16_000,
        "b/b.wav": 8000,
    }


def again_lengths(store: Path) -> list[int]:
    return open_store(store).lengths.tolist()


def test_tags_of_a_file_that_has_changed_since_are_not_kept(
    tmp_path: Path,
    run_earmark: Run,
    tiny_bundle: Path,
    write_tone: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_tone("in/a.wav", 300.0)
    whole = Engine.heard

    def changing(self: Engine, path: Path) -> object:
        heard = whole(self, path)
        write_tone("in/a.wav", 5000.0, 2.0)
        return heard

    call = ("tag", tmp_path / "in", "--model", tiny_bundle, "--top", 1, "--format", "csv")
    monkeypatch.setattr(Engine, "heard", changing)
    assert ",low," in run_earmark(*call, "--index", tmp_path / "index")[1]
    monkeypatch.undo()
    assert ",high," in run_earmark(*call, "--index", tmp_path / "index")[1]
