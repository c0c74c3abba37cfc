from __future__ import annotations

import copy

import pytest
import torch

from earmark.training.models import TaggingNetwork, build_network
from earmark.training.noisy.heads import curated_weights, logits_by_subset, split_heads, with_curated_head
from earmark.training.recipe import ModelRecipe

RECIPES = [
    ModelRecipe(name="resnet18", width=0.125),
    ModelRecipe(name="resnet18", width=0.125, pooling="attention"),
    ModelRecipe(name="mobile04", width=0.5),
]


@pytest.fixture(params=RECIPES, ids=["resnet", "attention", "mobile"])
def network(request: pytest.FixtureRequest) -> TaggingNetwork:
    torch.manual_seed(0)
    return build_network(request.param, 3)


def pictures(n: int, level: float) -> torch.Tensor:
    return torch.randn(n, 1, 32, 64, generator=torch.Generator().manual_seed(1)) + level


def test_before_any_step_both_heads_say_what_the_network_said(network: TaggingNetwork) -> None:
    network.eval()
    batch = pictures(5, 0.0)
    expected = network(batch)
    split_heads(network)
    for n_curated in (0, 2, 5):
        torch.testing.assert_close(logits_by_subset(network, batch, n_curated), expected)


def test_noisy_clips_move_what_is_shared_and_what_is_theirs_alone(network: TaggingNetwork) -> None:
    plain = copy.deepcopy(network)
    split_heads(network)
    logits_by_subset(network, pictures(4, 3.0), 0).sum().backward()
    before, after = plain.state_dict(), curated_weights(network.state_dict())
    for name, value in before.items():
        assert torch.equal(value, after[name]), name  # no statistics of noisy clips in what curated ones use
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    moved = [name for name, grad in gradients.items() if grad is not None and grad.abs().sum() > 0]
    assert not [name for name in moved if ".curated." in name]
    assert any(".noisy." in name for name in moved)
    assert any(not {"curated", "noisy"} & set(name.split(".")) for name in moved)
    noisy_means = [v for name, v in network.state_dict().items() if name.endswith("noisy.running_mean")]
    assert noisy_means
    assert any(mean.abs().sum() > 0 for mean in noisy_means)


def test_statistics_of_each_subset_are_of_its_own_clips(network: TaggingNetwork) -> None:
    alone = copy.deepcopy(network)
    split_heads(network)
    both = torch.cat([pictures(4, 0.0), pictures(4, 5.0)])
    together = logits_by_subset(network.train(), both, 4)
    torch.testing.assert_close(together[:4], alone.train()(both[:4]))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(value, curated_weights(network.state_dict())[name])


def test_what_is_kept_is_the_network_that_curated_clips_use(network: TaggingNetwork) -> None:
    names = list(network.state_dict())
    split_heads(network)
    logits_by_subset(network.train(), pictures(6, 1.0), 3)
    network.eval()
    batch = pictures(2, 0.5)
    expected = logits_by_subset(network, batch, 2)
    kept = with_curated_head(network)
    assert list(kept.state_dict()) == names
    torch.testing.assert_close(kept(batch), expected)
