"""A network that takes waveforms scores as its twin that takes pictures."""

from __future__ import annotations

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
from earmark.audio.waveform_windows import waveform_windows
from earmark.bundle import BundleSpec, write_bundle
from earmark.tagging.tagger import Tagger, load
from earmark.training.export import with_front_end, with_precision
from earmark.training.export.source import converted

MakeBundle = Callable[..., Path]
RATE, FRAMES = 8000, 50
LOG_MEL = LogMelSpec(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=24, fmax=4000.0)
# of less than a hop to several windows: one sample, a frame more and less than a window, a whole number of hops
LENGTHS = (1, 79, 300, 3919, 3920, 3999, 4000, 4001, 4080, 9000, 20_001)


def linear(picture: PictureSpec) -> onnx.ModelProto:
    """A network whose scores depend on every value of its pictures, and on where it stands."""
    size = (picture.n_channels, picture.height, FRAMES)
    bound = np.prod(size) ** -0.5
    weights = np.random.default_rng(3).uniform(-bound, bound, (np.prod(size), 3)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["pictures"], ["values"]),
        helper.make_node("MatMul", ["values", "weights"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
    ]
    pictures = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", *size])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "linear", [pictures], [scores], [numpy_helper.from_array(weights, "weights")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def twins(picture: PictureSpec, folder: Path, **changes: Any) -> tuple[Tagger, Tagger]:
    """A tagger whose network takes pictures, and its twin that takes waveforms."""
    spec = BundleSpec(
        labels=("a", "b", "c"),
        front_end=msgspec.to_builtins(picture),
        window_frames=FRAMES,
        hop_frames=20,
        **changes,
    )
    model = linear(picture)
    write_bundle(model, spec, folder / "pictures.onnx")
    write_bundle(*converted(model, spec, waveforms=True, precision="fp32"), folder / "waveforms.onnx")
    return load(folder / "pictures.onnx"), load(folder / "waveforms.onnx")


def sound(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Noise that swells and falls, so that each window is another."""
    envelope = 0.3 + 0.25 * np.sin(np.arange(n_samples) / 1500)
    return (envelope * rng.standard_normal(n_samples)).astype(np.float32)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tagger, Tagger]:
    """Twins with the usual front end."""
    return twins(PictureSpec(log_mel=LOG_MEL), tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": "delta", "short": "wrap", "normalization": "band", "mean": (-50.0,) * 24, "std": (20.0,) * 24},
        {"channels": "colour", "log_mel": msgspec.structs.replace(LOG_MEL, padding="reflect", n_fft=255)},
        {"log_mel": msgspec.structs.replace(LOG_MEL, scale="ln", spectrum="magnitude", floor="add", win_length=200)},
        {"log_mel": msgspec.structs.replace(LOG_MEL, hop_length=300, n_fft=200), "min_duration_s": 0.3},
    ],
)
def test_scores_are_those_of_the_twin(rng: np.random.Generator, tmp_path: Path, changes: dict[str, Any]) -> None:
    picture = PictureSpec(**({"log_mel": LOG_MEL} | changes))
    pictures, waveforms = twins(picture, tmp_path, windows_weight=0.5)
    scores = []
    for n_samples in LENGTHS:
        clip = sound(rng, n_samples)
        scores.append(pictures.scores(clip, RATE))
        np.testing.assert_allclose(waveforms.scores(clip, RATE), scores[-1], atol=1e-3, err_msg=f"{n_samples} samples")
    assert np.ptp(scores) > 0.05


@pytest.mark.parametrize(("normalization", "short"), [("clip", "wrap"), ("minmax", "constant")])
def test_what_is_measured_over_a_clip_is_the_same_where_that_is_one_window(
    rng: np.random.Generator, tmp_path: Path, normalization: Any, short: Any
) -> None:
    pictures, waveforms = twins(PictureSpec(log_mel=LOG_MEL, normalization=normalization, short=short), tmp_path)
    for n_samples in LENGTHS[:6]:
        clip = sound(rng, n_samples)
        np.testing.assert_allclose(waveforms.scores(clip, RATE), pictures.scores(clip, RATE), atol=1e-3)


def test_pre_emphasis_hears_the_step_at_a_clips_ends_and_nothing_else(rng: np.random.Generator, tmp_path: Path) -> None:
    log_mel = msgspec.structs.replace(LOG_MEL, pre_emphasis=0.97)
    pictures, waveforms = twins(PictureSpec(log_mel=log_mel), tmp_path)
    for n_samples in LENGTHS[2:]:
        clip = sound(rng, n_samples)
        assert waveforms.picture_spec.log_mel.n_frames(n_samples) >= 1
        clip[[0, -1]] = 0
        np.testing.assert_allclose(waveforms.scores(clip, RATE), pictures.scores(clip, RATE), atol=1e-3)


def test_scores_of_the_usual_front_end(rng: np.random.Generator, plain: tuple[Tagger, Tagger]) -> None:
    for n_samples in LENGTHS:
        clip = sound(rng, n_samples)
        np.testing.assert_allclose(plain[1].scores(clip, RATE), plain[0].scores(clip, RATE), atol=1e-4)


def test_timelines_are_the_same(rng: np.random.Generator, plain: tuple[Tagger, Tagger], tmp_path: Path) -> None:
    pictures, waveforms = plain
    soundfile.write(tmp_path / "a.wav", sound(rng, 20_000), RATE)
    expected, given = pictures.timeline(tmp_path / "a.wav"), waveforms.timeline(tmp_path / "a.wav")
    np.testing.assert_array_equal(given.starts_s, expected.starts_s)
    np.testing.assert_allclose(given.scores, expected.scores, atol=1e-3)


def test_windows_are_scored_together_or_alone(rng: np.random.Generator, plain: tuple[Tagger, Tagger]) -> None:
    _, waveforms = plain
    cut = waveform_windows(sound(rng, 20_000), LOG_MEL, FRAMES)[::50]
    assert len(cut) > 2
    together = waveforms.bundle.scores(cut)
    for window, scores in zip(cut, together, strict=True):
        np.testing.assert_allclose(waveforms.bundle.scores(window[None])[0], scores, atol=1e-6)


def test_samples_beyond_a_window_are_not_heard(rng: np.random.Generator, plain: tuple[Tagger, Tagger]) -> None:
    _, waveforms = plain
    clip = sound(rng, 9000)[None]
    n = (FRAMES - 1) * 80 + 256
    np.testing.assert_allclose(waveforms.bundle.scores(clip), waveforms.bundle.scores(clip[:, :n]), atol=1e-6)


def test_a_network_of_an_earlier_operator_set(rng: np.random.Generator, tiny_bundle: Path, tmp_path: Path) -> None:
    pictures = load(tiny_bundle)
    model = with_front_end(onnx.load(tiny_bundle), pictures.picture_spec, 100)
    write_bundle(model, msgspec.structs.replace(pictures.bundle.spec, input="waveforms"), tmp_path / "w.onnx")
    waveforms = load(tmp_path / "w.onnx")
    for n_samples in (4000, 40_000):
        clip = sound(rng, n_samples)
        np.testing.assert_allclose(waveforms.scores(clip, 16_000), pictures.scores(clip, 16_000), atol=1e-3)


def test_the_front_end_keeps_its_precision(
    rng: np.random.Generator, plain: tuple[Tagger, Tagger], tmp_path: Path
) -> None:
    pictures, waveforms = plain
    tables = {
        tensor.name: tensor.data_type
        for tensor in onnx.load(waveforms.bundle.path).graph.initializer
        if tensor.name.startswith("front_end/")
    }
    assert TensorProto.DOUBLE in tables.values()
    model, spec = converted(onnx.load(pictures.bundle.path), pictures.bundle.spec, waveforms=True, precision="int8")
    kept = {t.name: t.data_type for t in model.graph.initializer if t.name.startswith("front_end/")}
    assert kept == tables
    write_bundle(model, spec, tmp_path / "small.onnx")
    alone = with_precision(onnx.load(pictures.bundle.path), "int8")
    write_bundle(alone, pictures.bundle.spec, tmp_path / "alone.onnx")
    clip = sound(rng, 5000)
    expected = load(tmp_path / "alone.onnx").scores(clip, RATE)
    np.testing.assert_allclose(load(tmp_path / "small.onnx").scores(clip, RATE), expected, atol=1e-4)
