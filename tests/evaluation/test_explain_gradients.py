from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits

from earmark.audio.logmel import LogMelSpec, log_mel
from earmark.audio.picture import PictureSpec, windows
from earmark.bundle import BundleSpec
from earmark.errors import AudioError, LabelError, RunError
from earmark.evaluation.explain_gradients import Member, grad_cam, read_members, window_map
from earmark.training.models.network import TaggingNetwork
from earmark.training.models.resnet import ResNet

RATE, N_FRAMES = 8000, 160
FRONT_END = PictureSpec(log_mel=LogMelSpec(sample_rate=RATE, n_fft=512, hop_length=80, n_mels=32, fmin=50, fmax=4000.0))
LABELS = ("low", "high")
LOUD = 0.7


class Halves(TaggingNetwork):
    """Two maps, of the lower and of the upper half of the bands, of what is above -20 dB; a logit is a mean."""

    def __init__(self) -> None:
        super().__init__(n_channels=1, n_features=2, n_labels=2, pooling="average")
        self.stride = 4

    def features(self, x: Tensor) -> Tensor:
        maps = avg_pool2d((x - LOUD).relu(), 4)
        upper = (torch.arange(maps.shape[2]) >= maps.shape[2] // 2)[:, None]
        return torch.cat([maps * ~upper, maps * upper], dim=1)

    def head(self, vectors: Tensor) -> Tensor:
        return vectors @ torch.tensor([[2.0, -1.0], [-1.0, 2.0]])


def member(network: TaggingNetwork) -> Member:
    import msgspec

    spec = BundleSpec(
        labels=LABELS, front_end=msgspec.to_builtins(FRONT_END), window_frames=N_FRAMES, hop_frames=N_FRAMES // 2
    )
    return Member(network, spec)


def events(rng: np.random.Generator, parts: dict[str, float], duration_s: float = 1.6) -> np.ndarray:
    """Tones of 0.3 s, low or high, each beginning at its second, over noise 50 dB below them."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    sound = 0.0015 * rng.standard_normal(len(time_s))
    for label, start_s in parts.items():
        hz = rng.uniform(200, 500) if label == "low" else rng.uniform(2000, 3500)
        within = (time_s >= start_s) & (time_s < start_s + 0.3)
        sound += 0.5 * within * np.sin(2 * np.pi * hz * time_s)
    return sound.astype(np.float32)


def test_the_map_is_the_papers_formula() -> None:
    picture = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 32, N_FRAMES)).astype(np.float32))
    network = Halves()
    logit, found = window_map(network, picture, 1)
    maps = network.features(picture)[0].numpy()
    n_points = maps[0].size
    expected = np.maximum(0, -1 / n_points * maps[0] + 2 / n_points * maps[1])  # dy/dA_k is a_k over all points
    assert float(logit) == pytest.approx(2 * maps[1].mean() - maps[0].mean(), abs=1e-6)
    assert found.shape == (32, N_FRAMES)
    # between the points it is drawn out linearly; at the middle of four it is the mean of what surrounds it
    assert avg_pool2d(found[None, None], 4)[0, 0, 2:6, 2:-2].mean() == pytest.approx(
        expected[2:6, 2:-2].mean(), rel=0.05
    )


def test_the_map_of_a_mixture_lies_in_the_labels_part() -> None:
    sound = events(np.random.default_rng(1), {"low": 0.2, "high": 1.0})
    for label, rows, seconds in (("low", slice(0, 16), (0.15, 0.55)), ("high", slice(16, 32), (0.95, 1.35))):
        found = grad_cam([member(Halves())], sound, label)
        assert found.importance.shape == found.spectrogram.shape
        within = found.importance[rows, round(seconds[0] * 100) : round(seconds[1] * 100)]
        assert within.sum() / found.importance.sum() > 0.8


def trained(rng: np.random.Generator) -> ResNet:
    """A residual network that has learned from 128 mixtures which tones are in them."""
    torch.manual_seed(0)
    network = ResNet(n_labels=2, n_channels=1, width=0.125, blocks=(1, 1, 1, 1), stem="gentle")
    pictures, targets = [], []
    for i in range(128):
        has = (i % 2, i // 2 % 2)
        parts = {label: rng.uniform(0, 1.3) for label, there in zip(LABELS, has, strict=True) if there}
        spectrogram = log_mel(events(rng, parts), FRONT_END.log_mel)
        pictures.append(windows(spectrogram, FRONT_END, N_FRAMES, N_FRAMES)[0])
        targets.append(has)
    x, y = torch.from_numpy(np.stack(pictures)), torch.tensor(targets, dtype=torch.float32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(60):
        chosen = torch.arange(32) + 32 * (step % 4)
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(network(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return network.eval()


def test_the_map_of_a_trained_network_lies_in_the_labels_part() -> None:
    rng = np.random.default_rng(2)
    network = trained(rng)
    sound = events(rng, {"low": 0.1, "high": 1.1})
    for label, half in (("low", np.s_[:, :80]), ("high", np.s_[:, 80:])):
        found = grad_cam([member(network)], sound, label)
        assert found.score > 0.8
        assert found.importance[half].sum() / found.importance.sum() > 0.8


def test_several_networks_are_averaged() -> None:
    sound = events(np.random.default_rng(1), {"high": 1.0})
    one = grad_cam([member(Halves())], sound, "high")
    two = grad_cam([member(Halves()), member(Halves())], sound, "high")
    np.testing.assert_allclose(two.importance, one.importance, rtol=1e-5)
    assert two.score == pytest.approx(one.score)


def test_a_clip_of_several_windows_has_a_map_as_long_as_itself() -> None:
    sound = events(np.random.default_rng(1), {"high": 2.6}, duration_s=3.2)
    found = grad_cam([member(Halves())], sound, "high")
    assert found.importance.shape[1] == 321
    assert found.importance[16:, 255:295].sum() / found.importance.sum() > 0.8


def test_gradients_of_networks_are_left_alone() -> None:
    network = ResNet(n_labels=2, n_channels=1, width=0.125)
    grad_cam([member(network.eval())], events(np.random.default_rng(1), {"low": 0.1}), "low")
    assert all(parameter.grad is None for parameter in nn.Module.parameters(network))


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no network\.pt, from which Grad-CAM is made; use --method occlusion"):
        read_members(tmp_path)
    with pytest.raises(LabelError, match="did you mean 'high'"):
        grad_cam([member(Halves())], np.zeros(RATE, dtype=np.float32), "hihg")
    with pytest.raises(AudioError, match="60 s at the most"):
        grad_cam([member(Halves())], np.zeros(61 * RATE, dtype=np.float32), "high")
