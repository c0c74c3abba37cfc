from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import N_CHANNELS, PictureSpec, windows
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.training.export import average, halve_weights, renormalized, to_onnx
from earmark.training.models import ResNet

PICTURE = PictureSpec(log_mel=LogMelSpec(n_mels=32))
SPEC = BundleSpec(labels=("a", "b", "c"), front_end={}, window_frames=40, hop_frames=20)


@pytest.fixture(scope="module")
def networks() -> list[ResNet]:
    torch.manual_seed(0)
    made = [ResNet(3, 1, 0.125).eval() for _ in range(2)]
    for network in made:
        network.bn1.running_mean += torch.rand(8)
    return made


@pytest.fixture
def pictures(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((5, 1, 32, 40)).astype(np.float32)


def torch_scores(network: ResNet, pictures: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(pictures)).sigmoid().numpy()


def test_bundle_scores_as_torch_does(networks: list[ResNet], pictures: np.ndarray, tmp_path: Path) -> None:
    write_bundle(to_onnx(networks[0], PICTURE, 40), SPEC, tmp_path / "m.onnx")
    for n in (1, 5):
        scores = Bundle(tmp_path / "m.onnx").scores(pictures[:n])
        np.testing.assert_allclose(scores, torch_scores(networks[0], pictures[:n]), atol=1e-5)


def test_average_is_the_mean_of_its_members(networks: list[ResNet], pictures: np.ndarray, tmp_path: Path) -> None:
    models = [to_onnx(network, PICTURE, 40) for network in networks]
    write_bundle(average(models), SPEC, tmp_path / "m.onnx")
    expected = np.mean([torch_scores(network, pictures) for network in networks], axis=0)
    np.testing.assert_allclose(Bundle(tmp_path / "m.onnx").scores(pictures), expected, atol=1e-5)


def test_halved_weights_halve_the_file_and_hardly_change_scores(
    networks: list[ResNet], pictures: np.ndarray, tmp_path: Path
) -> None:
    model = to_onnx(networks[0], PICTURE, 40)
    write_bundle(model, SPEC, tmp_path / "whole.onnx")
    write_bundle(halve_weights(model), SPEC, tmp_path / "half.onnx")
    assert (tmp_path / "half.onnx").stat().st_size < 0.6 * (tmp_path / "whole.onnx").stat().st_size
    scores = Bundle(tmp_path / "half.onnx").scores(pictures)
    np.testing.assert_allclose(scores, torch_scores(networks[0], pictures), atol=2e-3)


def banded(channels: Any, seed: int) -> PictureSpec:
    """A front end normalised by bands, with statistics that no other seed has."""
    rng = np.random.default_rng(seed)
    return PictureSpec(
        log_mel=LogMelSpec(n_mels=12),
        channels=channels,
        normalization="band",
        mean=tuple(rng.uniform(-70, -40, 12).tolist()),
        std=tuple(rng.uniform(5, 20, 12).tolist()),
    )


def reading_every_value(spec: PictureSpec, seed: int) -> nn.Module:
    """A network whose scores depend on each value of its pictures of 20 frames."""
    torch.manual_seed(seed)
    linear = nn.Linear(spec.n_channels * spec.height * 20, 3)
    return nn.Sequential(nn.Flatten(), linear)


@pytest.mark.parametrize("channels", N_CHANNELS)
def test_pictures_normalised_by_others_bands_score_the_same(
    channels: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    own, given = banded(channels, 1), banded(channels, 2)
    network = reading_every_value(own, 0)
    model = renormalized(to_onnx(network, own, 20), given, own)
    write_bundle(model, SPEC, tmp_path / "m.onnx")
    for n_frames in (12, 20, 45):  # filled up with silence, whole, and several windows
        spectrogram = rng.uniform(-100, 0, (12, n_frames)).astype(np.float32)
        expected = torch_scores(network, windows(spectrogram, own, 20, 10))
        made = Bundle(tmp_path / "m.onnx").scores(windows(spectrogram, given, 20, 10))
        np.testing.assert_allclose(made, expected, atol=1e-5)
        assert np.ptp(expected) > 0.01


def test_average_of_networks_with_bands_of_their_own(rng: np.random.Generator, tmp_path: Path) -> None:
    specs = [banded("colour", seed) for seed in (1, 2, 3)]
    networks = [reading_every_value(spec, seed) for seed, spec in enumerate(specs)]
    models = [
        renormalized(to_onnx(network, spec, 20), specs[0], spec) for network, spec in zip(networks, specs, strict=True)
    ]
    write_bundle(average(models), SPEC, tmp_path / "m.onnx")
    spectrogram = rng.uniform(-100, 0, (12, 20)).astype(np.float32)
    each = [
        torch_scores(network, windows(spectrogram, spec, 20, 10)) for network, spec in zip(networks, specs, strict=True)
    ]
    made = Bundle(tmp_path / "m.onnx").scores(windows(spectrogram, specs[0], 20, 10))
    np.testing.assert_allclose(made, np.mean(each, axis=0), atol=1e-5)


def test_nothing_is_done_where_the_bands_are_the_same() -> None:
    own = banded("grey", 1)
    model = to_onnx(reading_every_value(own, 0), own, 20)
    before = model.SerializeToString()
    assert renormalized(model, own, msgspec.structs.replace(own)) is model
    assert model.SerializeToString() == before
