from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.training.export import average, halve_weights, to_onnx
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
