"""Features that a bundle gives are what torch's last linear layer takes, however the bundle was exported."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.tagging.tagger import load
from earmark.training.export import average, to_onnx, with_precision
from earmark.training.export.waveform import with_front_end
from earmark.training.models import MobileNet, ResNet, TaggingNetwork

N_FRAMES = 64
PICTURE = PictureSpec(log_mel=LogMelSpec(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=64, fmax=8000.0))
SPEC = BundleSpec(
    labels=("a", "b", "c"), front_end=msgspec.to_builtins(PICTURE), window_frames=N_FRAMES, hop_frames=N_FRAMES
)

Make = Callable[..., TaggingNetwork]


def make_resnet(**options: Any) -> TaggingNetwork:
    torch.manual_seed(0)
    return ResNet(3, 1, 0.125, **options).eval()


def make_mobile(**options: Any) -> TaggingNetwork:
    """One whose normalisation fits what it hears, without which a network so deep gives all but nothing."""
    torch.manual_seed(0)
    network = MobileNet(3, 1, 0.1, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        network(torch.randn(8, 1, 64, N_FRAMES))
    return network.eval()


@cache
def exported(make: Make, pooling: str = "average") -> onnx.ModelProto:
    """The graph of a network, which takes seconds to make; whoever changes it has to copy it."""
    return to_onnx(make(pooling=pooling), PICTURE, N_FRAMES)


def torch_features(network: TaggingNetwork, pictures: np.ndarray) -> np.ndarray:
    """What the last linear layer takes; of steps of time, the mean."""
    taken: list[Tensor] = []
    layer = network.get_submodule(network.last_layer)
    hook = layer.register_forward_pre_hook(lambda _, given: taken.append(given[0]))
    with torch.inference_mode():
        network(torch.from_numpy(pictures))
    hook.remove()
    [features] = taken
    return (features.mean(dim=1) if features.ndim == 3 else features).numpy()


@pytest.fixture
def pictures(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((3, 1, 64, N_FRAMES)).astype(np.float32)


def bundle_of(model: onnx.ModelProto, folder: Path, spec: BundleSpec = SPEC) -> Bundle:
    write_bundle(model, spec, folder / "m.onnx")
    return Bundle(folder / "m.onnx", embeds=True)


@pytest.mark.parametrize("make", [make_resnet, make_mobile])
@pytest.mark.parametrize("pooling", ["average", "max", "both", "attention"])
def test_of_each_network_and_pooling(make: Make, pooling: str, pictures: np.ndarray, tmp_path: Path) -> None:
    network = make(pooling=pooling)
    expected = torch_features(network, pictures)
    bundle = bundle_of(deepcopy(exported(make, pooling)), tmp_path)
    given = bundle.outputs(pictures)
    assert expected.std(axis=0).max() > 0.01
    assert bundle.embedding_sizes == (expected.shape[1],)
    np.testing.assert_allclose(given[:, 3:], expected, atol=1e-4)
    np.testing.assert_array_equal(given[:, :3], Bundle(bundle.path).scores(pictures))


def test_with_scores_over_time(pictures: np.ndarray, tmp_path: Path) -> None:
    network = make_resnet(pooling="attention")
    given = bundle_of(to_onnx(network, PICTURE, N_FRAMES, frames=True), tmp_path).outputs(pictures)
    np.testing.assert_allclose(given[:, 3:], torch_features(network, pictures), atol=1e-4)


def test_of_averaged_networks_stand_side_by_side(pictures: np.ndarray, tmp_path: Path) -> None:
    networks = [(make_resnet, "average"), (make_mobile, "average"), (make_resnet, "max")]
    expected = [torch_features(make(pooling=pooling), pictures) for make, pooling in networks]
    bundle = bundle_of(average([deepcopy(exported(*network)) for network in networks]), tmp_path)
    assert bundle.embedding_sizes == tuple(one.shape[1] for one in expected)
    np.testing.assert_allclose(bundle.outputs(pictures)[:, 3:], np.concatenate(expected, axis=1), atol=1e-4)


@pytest.mark.parametrize("pooling", ["average", "attention"])
@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9999), ("int8", 0.999), ("int8-static", 0.95)])
def test_of_fewer_bits_point_the_same_way(
    pooling: str, precision: str, least: float, pictures: np.ndarray, tmp_path: Path
) -> None:
    network = make_resnet(pooling=pooling)
    expected = torch_features(network, pictures)
    model = with_precision(deepcopy(exported(make_resnet, pooling)), precision, pictures)
    given = bundle_of(model, tmp_path).outputs(pictures)[:, 3:]
    cosines = (given * expected).sum(axis=1) / np.linalg.norm(given, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > least


def test_of_waveforms_are_those_of_their_pictures(rng: np.random.Generator, tmp_path: Path) -> None:
    pictures = bundle_of(deepcopy(exported(make_resnet)), tmp_path)
    model = with_front_end(deepcopy(exported(make_resnet)), PICTURE, N_FRAMES)
    write_bundle(model, msgspec.structs.replace(SPEC, input="waveforms"), tmp_path / "waveforms.onnx")
    noise = (0.1 * rng.standard_normal(30_000)).astype(np.float32)
    own, expected = (load(path, embeds=True) for path in (tmp_path / "waveforms.onnx", pictures.path))
    np.testing.assert_allclose(
        own.embedded(own.heard(noise, 16_000)), expected.embedded(expected.heard(noise, 16_000)), atol=1e-3
    )
