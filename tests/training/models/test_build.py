"""Every network that a recipe can name is built, learns, and goes into a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.training.export import to_onnx
from earmark.training.models import MobileNet, ResNet, build_network
from earmark.training.recipe import ModelRecipe


@pytest.mark.parametrize(
    ("name", "kind"), [("resnet18", ResNet), ("resnet34", ResNet), ("mobile04", MobileNet), ("mobile10", MobileNet)]
)
@pytest.mark.parametrize("pooling", ["average", "max", "both", "attention"])
def test_every_parameter_learns(name: Any, kind: type[torch.nn.Module], pooling: Any) -> None:
    torch.manual_seed(0)
    model = ModelRecipe(name=name, width=0.125, pooling=pooling, dropout=0.1, drop_path=0.1)
    network = build_network(model, 5)
    assert isinstance(network, kind)
    network.train()
    logits = network(torch.randn(4, 1, 64, 96))
    assert logits.shape == (4, 5)
    logits.square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_the_recipe_reaches_the_network() -> None:
    network = build_network(ModelRecipe(width=0.25, n_channels=3, dropout=0.3, stem="gentle"), 5)
    assert isinstance(network, ResNet)
    assert network.conv1.weight.shape == (16, 3, 3, 3)
    assert network.dropout.p == 0.3
    mobile = build_network(ModelRecipe(name="mobile04", n_channels=2, dropout=0.3), 5)
    assert isinstance(mobile, MobileNet)
    assert mobile.get_parameter("features.0.0.weight").shape == (8, 2, 3, 3)
    assert mobile.get_submodule("classifier.4").p == 0.3


@pytest.mark.parametrize(("name", "pooling"), [("resnet18", "attention"), ("resnet18", "max"), ("mobile04", "both")])
def test_bundles_score_as_torch_does(name: Any, pooling: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    network = build_network(ModelRecipe(name=name, width=0.125, pooling=pooling, drop_path=0.5, dropout=0.5), 3).eval()
    if network.attention is not None:
        torch.nn.init.normal_(network.attention.weight)
    pictures = rng.standard_normal((3, 1, 32, 96)).astype(np.float32)
    model = to_onnx(network, PictureSpec(log_mel=LogMelSpec(n_mels=32)), 96)
    spec = BundleSpec(labels=("a", "b", "c"), front_end={}, window_frames=96, hop_frames=48)
    write_bundle(model, spec, tmp_path / "m.onnx")
    with torch.inference_mode():
        expected = network(torch.from_numpy(pictures)).sigmoid().numpy()
    np.testing.assert_allclose(Bundle(tmp_path / "m.onnx").scores(pictures), expected, atol=1e-5)
