from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import N_CHANNELS, PictureSpec, windows
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.errors import RunError
from earmark.training.export import average, renormalized, to_onnx
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


class Timed(nn.Module):
    """A network with scores over time: the mean of each band, label by label, and their mean over time."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv1d(32, 3, 1)

    def frame_logits(self, pictures: Tensor) -> Tensor:
        """(n, 1, 32, n_frames) to (n, 3, n_frames // 10)."""
        return nn.functional.avg_pool1d(self.conv(pictures[:, 0]), 10)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 1, 32, n_frames) to (n, 3)."""
        return self.frame_logits(pictures).mean(dim=2)


def run(model: onnx.ModelProto, pictures: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pictures": pictures}), strict=True))


def test_scores_over_time(pictures: np.ndarray) -> None:
    networks = [Timed(seed) for seed in (0, 1)]
    models = [to_onnx(network, PICTURE, 40, frames=True) for network in networks]
    for network, model in zip(networks, models, strict=True):
        with torch.inference_mode():
            expected = network.frame_logits(torch.from_numpy(pictures)).sigmoid().numpy()
        given = run(model, pictures)
        assert list(given) == ["scores", "frame_scores"]
        assert given["frame_scores"].shape == (5, 3, 4)
        np.testing.assert_allclose(given["frame_scores"], expected, atol=1e-5)
        np.testing.assert_allclose(given["scores"], torch_scores(network, pictures), atol=1e-5)
    joined, each = run(average(models), pictures), [run(model, pictures) for model in models]
    for name in ("scores", "frame_scores"):
        np.testing.assert_allclose(joined[name], (each[0][name] + each[1][name]) / 2, atol=1e-6)


def test_scores_over_time_of_a_network_that_has_none() -> None:
    bare = nn.Sequential(nn.Flatten(), nn.Linear(32 * 40, 3))
    with pytest.raises(RunError) as caught:
        to_onnx(bare, PICTURE, 40, frames=True)
    assert str(caught.value) == (
        "a Sequential gives one score a label and none over time; leave --frames out, or train a network whose pooling "
        "keeps time"
    )


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
