"""`earmark tag --embeddings` and `earmark search`: what sounds alike is found, after interruptions too."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.tagging.engine import Engine
from earmark.tagging.index import journal_path

Run = Callable[..., tuple[int, str, str]]
WriteTone = Callable[..., Path]


@pytest.fixture
def tones(write_tone: WriteTone, tmp_path: Path) -> Path:
    for name, frequency_hz in (("low", 300.0), ("lower", 280.0), ("mid", 1800.0), ("high", 5000.0)):
        write_tone(f"tones/{name}.wav", frequency_hz, 2.0)
    return tmp_path / "tones"


@pytest.fixture
def embed(run_earmark: Run, tiny_bundle: Path) -> Run:
    return lambda *arguments: run_earmark("tag", "--model", tiny_bundle, *arguments)


def names(text: str) -> list[str]:
    return [Path(row["path"]).stem for row in csv.DictReader(io.StringIO(text))]


def test_a_recording_is_searched_by_example(embed: Run, run_earmark: Run, tones: Path, write_tone: WriteTone) -> None:
    index = tones.parent / "i.npz"
    status, out, _ = embed(tones, "--embeddings", index, "--format", "csv", "--top", 1)
    assert (status, out.count("\n")) == (0, 5)
    example = write_tone("example.wav", 310.0, 1.0)
    status, out, err = run_earmark("search", example, index, "--top", 2, "--format", "csv")
    assert (status, set(names(out)), err) == (0, {"low", "lower"}, "")
    output = tones.parent / "found.jsonl"
    assert run_earmark("search", example, index, "--format", "jsonl", "-o", output) == (0, "", "")
    first, *others = map(json.loads, output.read_text().splitlines())
    assert first.keys() == {"path", "start_s", "end_s", "similarity"}
    assert (Path(first["path"]).stem, first["end_s"], len(others)) == (names(out)[0], 2.0, 3)


def test_one_that_is_in_the_index_is_left_out_and_not_heard(
    embed: Run, run_earmark: Run, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tones.parent / "i.npz"
    embed(tones, "--embeddings", index)
    monkeypatch.delattr(Engine, "heard")
    status, out, _ = run_earmark("search", tones / "low.wav", index)
    assert status == 0
    assert Path(out.split()[1]).stem == "lower"
    assert "low.wav" not in out


def test_windows_are_found(embed: Run, run_earmark: Run, tones: Path) -> None:
    index = tones.parent / "i.npz"
    assert embed(tones, "--timeline", "--embeddings", index)[0] == 0
    with np.load(index) as file:
        assert len(file["embeddings"]) > len(file["paths"]) == 4
    _, out, _ = run_earmark("search", tones / "low.wav", index, "--start", 0.5, "--end", 1.5, "--top", 1)
    assert out.split()[1].endswith("lower.wav")
    assert " to 0:00:0" in out


def test_an_interrupted_call_goes_on(embed: Run, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, index = tmp_path / "whole.npz", tmp_path / "i.npz"
    embed(tones, "--embeddings", whole)
    original, n_heard = Engine.heard, 0

    def dies(self: Engine, path: Path) -> tuple[list[list[np.ndarray]], float]:
        nonlocal n_heard
        n_heard += 1
        if n_heard == 3:
            raise KeyboardInterrupt
        return original(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "heard", dies)
        assert embed(tones, "--embeddings", index, "--workers", 1)[0] != 0
    assert not index.exists()
    assert journal_path(index).exists()
    assert embed(tones, "--embeddings", index, "--resume")[0] == 0
    assert not journal_path(index).exists()
    with np.load(index) as resumed, np.load(whole) as expected:
        for name in expected:
            np.testing.assert_array_equal(resumed[name], expected[name])


def test_what_is_unchanged_is_not_heard_again(
    embed: Run, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (tones, "--index", tmp_path / "index", "--embeddings")
    embed(*arguments, tmp_path / "a.npz")
    monkeypatch.delattr(Engine, "heard")
    status, _, err = embed(*arguments, tmp_path / "b.npz")
    assert status == 0
    assert "4 unchanged, 0 new or changed" in err
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "b.npz") as second:
        np.testing.assert_array_equal(first["embeddings"], second["embeddings"])


def test_a_bad_file_is_named_and_left_out(embed: Run, tones: Path, tmp_path: Path) -> None:
    (tones / "bad.wav").write_bytes(b"no sound")
    status, _, err = embed(tones, "--embeddings", tmp_path / "i.npz")
    assert status == 1
    assert "bad.wav" in err
    with np.load(tmp_path / "i.npz") as file:
        assert [Path(path).stem for path in file["paths"]] == ["high", "low", "lower", "mid"]


def test_calls_that_are_wrong_are_refused(embed: Run, run_earmark: Run, tones: Path, tiny_bundle: Path) -> None:
    status, _, err = embed(tones, "--embeddings", "i.parquet")
    assert (status, "expected a name that ends in .npz" in err) == (2, True)
    status, _, err = embed(tones, "--model", tiny_bundle, "--embeddings", "i.npz")
    assert (status, "--embeddings are of one model" in err) == (2, True)
    status, _, err = run_earmark("search", "a.wav", "none.npz", "--start", 2, "--end", 1)
    assert (status, "1.0 is not behind --start 2.0" in err) == (2, True)
    status, _, err = run_earmark("search", "a.wav", tones / "none.npz")
    assert (status, "none.npz: no such file" in err) == (2, True)
