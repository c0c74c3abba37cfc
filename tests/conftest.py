"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.bundle import INPUT_NAME, OUTPUT_NAME, BundleSpec, Combination, write_bundle
from earmark.cli.main import main

ROOT = Path(__file__).parents[1]


def real_data_folder() -> Path:
    """Where the real recordings are, if they are there."""
    return Path(os.environ.get("EARMARK_REAL_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if real_data_folder().is_dir():
        return
    skip = pytest.mark.skip(reason=f"no real recordings at {real_data_folder()}; EARMARK_REAL_DATA names them")
    for item in items:
        if "real_data" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def real_data() -> Path:
    """Folder of the real recordings; only for tests marked `real_data`."""
    return real_data_folder()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test's stores away from the user's cache, and from other tests'."""
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def write_tone(tmp_path: Path) -> Callable[..., Path]:
    """Write a tone: `write_tone("a.wav", frequency_hz=440, duration_s=1.0, sample_rate=44100)` gives its path."""

    def write(
        name: str = "tone.wav", frequency_hz: float = 440.0, duration_s: float = 1.0, sample_rate: int = 44_100
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * frequency_hz * time_s), sample_rate)
        return path

    return write


TINY_LABELS = ("low", "mid", "high")
TINY_PICTURE = PictureSpec(
    log_mel=LogMelSpec(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=24, fmin=50.0, fmax=8000.0)
)
TINY_WINDOW_FRAMES, TINY_HOP_FRAMES = 100, 50


def tiny_model(n_bands: int = 24, window_frames: int = TINY_WINDOW_FRAMES) -> onnx.ModelProto:
    """Mean of each band over time, then the contrast of each third of the bands to the others, then a sigmoid.

    A tone of 300 Hz is `low`, of 1800 Hz `mid`, of 5000 Hz `high`; where all bands are equal, each label scores 0.5.
    """
    third = np.repeat(np.eye(3), 8, axis=0) / 8
    weights = numpy_helper.from_array((3 * third - third.sum(axis=1, keepdims=True)).astype(np.float32), "weights")
    nodes = [
        helper.make_node("ReduceMean", [INPUT_NAME], ["bands"], axes=[1, 3], keepdims=0),
        helper.make_node("MatMul", ["bands", "weights"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], [OUTPUT_NAME]),
    ]
    pictures = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["n", 1, n_bands, window_frames])
    scores = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "tiny", [pictures], [scores], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def make_tiny_bundle() -> Callable[..., Path]:
    """Write a bundle that knows low, middle and high tones: `make_tiny_bundle(path, labels=("a", "b", "c"))`.

    What follows the path replaces parts of its specification; `model` replaces the network.
    """

    def make(path: Path, *, model: onnx.ModelProto | None = None, **changes: Any) -> Path:
        said = {
            "labels": TINY_LABELS,
            "front_end": msgspec.to_builtins(TINY_PICTURE),
            "window_frames": TINY_WINDOW_FRAMES,
            "hop_frames": TINY_HOP_FRAMES,
        }
        write_bundle(model or tiny_model(), BundleSpec(**(said | changes)), path)
        return path

    return make


@pytest.fixture(scope="session")
def tiny_bundle(make_tiny_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the labels low, mid and high; see `tiny_model`. Not to be changed."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.onnx")


@pytest.fixture
def make_combination(tmp_path: Path, tiny_bundle: Path, make_tiny_bundle: Callable[..., Path]) -> Callable[..., Path]:
    """A combination of two members with windows of their own."""

    def make(**changes: Any) -> Path:
        other = make_tiny_bundle(tmp_path / "b.onnx", hop_frames=70, labels=("low", "mid", "high"))
        contents = [np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in (tiny_bundle, other)]
        nodes = [
            helper.make_node("Constant", [], [f"member{i}"], value=numpy_helper.from_array(content))
            for i, content in enumerate(contents)
        ]
        outputs = [
            helper.make_tensor_value_info(f"member{i}", TensorProto.UINT8, [len(content)])
            for i, content in enumerate(contents)
        ]
        graph = helper.make_graph(nodes, "members", [], outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        combination = Combination(members=("a", "b"), kind="arithmetic", weights=(0.6, 0.4), **changes)
        return make_tiny_bundle(tmp_path / "both.onnx", model=model, combination=combination)

    return make


@pytest.fixture
def run_earmark(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: `run_earmark("tag", path)` gives exit status, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["earmark", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        out, err = capfd.readouterr()
        return (code if isinstance(code, int) else 0), out, err

    return run
