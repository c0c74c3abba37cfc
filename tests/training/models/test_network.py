"""What all networks have in common: pooling, logits over time, groups of layers, stochastic depth."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from earmark.training.models import MobileNet, ResNet, TaggingNetwork, build_network
from earmark.training.models.network import Pooling, StochasticDepth, depth_probabilities, pooled
from earmark.training.recipe import ModelRecipe

POOLINGS = get_args(Pooling)
NAMES = ("resnet18", "mobile04")


def small(name: str, pooling: str = "average", **more: object) -> TaggingNetwork:
    """A narrow network whose logits differ between steps and labels."""
    torch.manual_seed(0)
    model = ModelRecipe(name=name, width=0.125, pooling=pooling, **more)  # type: ignore[arg-type]
    network = build_network(model, 3).eval()
    if network.attention is not None:
        torch.nn.init.normal_(network.attention.weight)
    return network


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(2, 1, 64, 200, generator=torch.Generator().manual_seed(1)) * torch.linspace(0, 2, 200)


def test_pooled_by_hand() -> None:
    features = torch.tensor([[[[0.0, 2.0, 4.0], [2.0, 4.0, 0.0]]]])  # bands' means: 1, 3, 2
    assert pooled(features, "average").item() == 2
    assert pooled(features, "max").item() == 3
    assert pooled(features, "both").item() == 5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_clip_logits_are_what_the_pooling_says(name: str, pooling: str, pictures: torch.Tensor) -> None:
    network = small(name, pooling)
    with torch.inference_mode():
        steps = network.features(pictures).mean(2)
        if pooling == "attention":
            assert network.attention is not None
            each = network.head(steps.transpose(1, 2))
            weights = network.attention(steps.transpose(1, 2)).exp()
            expected = (weights * each).sum(1) / weights.sum(1)
        else:
            mean, most = steps.mean(2), steps.max(2).values
            expected = network.head({"average": mean, "max": most, "both": mean + most}[pooling])
        torch.testing.assert_close(network(pictures), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_attention_begins_as_the_mean_of_the_logits_over_time(name: str, pictures: torch.Tensor) -> None:
    network = build_network(ModelRecipe(name=name, width=0.125, pooling="attention"), 3).eval()  # type: ignore[arg-type]
    with torch.inference_mode():
        torch.testing.assert_close(network(pictures), network.frame_logits(pictures).mean(2))


def test_mean_of_frame_logits_is_the_clips_where_the_head_is_linear(pictures: torch.Tensor) -> None:
    network = small("resnet18")
    with torch.inference_mode():
        frames = network.frame_logits(pictures)
        assert frames.shape == (2, 3, 7)
        assert frames.std(dim=2).min() > 1e-3
        torch.testing.assert_close(frames.mean(2), network(pictures), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [ResNet(3, 1, 0.125), MobileNet(3, 1, 0.125)])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_steady_map_has_the_clips_logits_at_every_step(
    network: TaggingNetwork, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = type(network)(3, 1, 0.125, pooling=pooling).eval()  # type: ignore[call-arg]
    n_features = network.features(torch.zeros(1, 1, 32, 32)).shape[1]
    steady = torch.rand(1, n_features, 4, 1).expand(-1, -1, -1, 6)
    features = torch.nn.Identity() if isinstance(network, MobileNet) else lambda _: steady
    if isinstance(network, MobileNet):
        features.forward = lambda _: steady  # type: ignore[union-attr, method-assign, assignment]
    monkeypatch.setattr(network, "features", features)
    with torch.inference_mode():
        clip = network(torch.zeros(1, 1, 32, 32))
        torch.testing.assert_close(network.frame_logits(steady), clip[:, :, None].expand(-1, -1, 6))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "mobile04", "mobile10"])
@pytest.mark.parametrize("pooling", ["average", "attention"])
def test_each_parameter_is_in_one_of_three_groups(name: str, pooling: str) -> None:
    network = small(name, pooling)
    groups = [{id(p) for p in group.parameters()} for group in network.layer_groups()]
    assert [len(group) > 0 for group in groups] == [True] * 3
    assert sum(map(len, groups)) == len(set.union(*groups)) == len(list(network.parameters()))
    names = {id(p): n for n, p in network.named_parameters()}
    assert network.first_layer in {names[p] for p in groups[0]}
    assert f"{network.last_layer}.weight" in {names[p] for p in groups[2]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_one_channel_is_taken_as_so_many_equal_ones(name: str, n_channels: int, pictures: torch.Tensor) -> None:
    network = small(name, n_channels=n_channels)
    torch.testing.assert_close(network(pictures), network(pictures.repeat(1, n_channels, 1, 1)))


def test_depth_probabilities_grow_to_the_last() -> None:
    assert depth_probabilities(0.4, 4) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    network = build_network(ModelRecipe(name="resnet34", width=0.125, drop_path=0.4), 3)
    found = [m.probability for m in network.modules() if isinstance(m, StochasticDepth)]
    assert found == pytest.approx([0.4 * (i + 1) / 16 for i in range(16)])


def test_stochastic_depth_leaves_out_whole_clips_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    out = layer(torch.ones(10_000, 2, 3, 1))
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (out.reshape(10_000, -1).std(dim=1) == 0).all()
    assert out.mean() == pytest.approx(1, abs=0.02)
    assert layer.eval()(out) is out


@pytest.mark.parametrize("name", NAMES)
def test_stochastic_depth_and_dropout_are_for_training_alone(name: str, pictures: torch.Tensor) -> None:
    plain, random = small(name), small(name, drop_path=0.9, dropout=0.5)
    with torch.inference_mode():
        torch.testing.assert_close(plain(pictures), random(pictures))
        random.train()
        torch.manual_seed(1)
        first = random(pictures)
        assert not torch.allclose(first, random(pictures))
        torch.manual_seed(1)
        torch.testing.assert_close(first, random(pictures))
