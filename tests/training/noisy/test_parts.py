"""Batches in which subsets are kept apart, and the loss that believes the network in part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from earmark.training import learner as learning
from earmark.training.feed import Feed
from earmark.training.fit import fit
from earmark.training.losses import bootstrapped
from earmark.training.models import build_network
from earmark.training.pictures import Pictures
from earmark.training.recipe import LossRecipe, Recipe

from .conftest import noisy_recipe

N_OTHERS, N_NOISY = 6, 10


def feed_of_levels(recipe: Recipe) -> Feed:
    """Curated clips are of label 0, noisy ones of label 1."""
    rng = np.random.default_rng(0)
    spectrograms = [rng.normal(-40, 10, (32, 40)).astype(np.float32) for _ in range(N_OTHERS + N_NOISY)]
    targets = torch.zeros(N_OTHERS + N_NOISY, 3)
    targets[:N_OTHERS, 0] = 1
    targets[N_OTHERS:, 1] = 1
    return Feed(recipe, Pictures(spectrograms, recipe.picture), targets, N_NOISY)


@pytest.mark.parametrize("strategy", ["soft", "two-heads", "all"])
def test_subsets_that_are_apart_are_not_mixed_with_one_another(strategy: str) -> None:
    feed = feed_of_levels(noisy_recipe(strategy, "augment.mixup.probability=1.0"))
    clips = torch.tensor([0, 3, 5, 6, 7, 10, 15])
    targets = torch.cat([feed.batch(clips, torch.Generator().manual_seed(i))[1] for i in range(8)])
    mixed = (targets[:, 0] > 0) & (targets[:, 1] > 0)
    assert bool(mixed.any()) == (strategy == "all")
    assert targets[:3].tolist() == [[1, 0, 0]] * 3 or strategy == "all"


def test_a_batch_without_noisy_clips_is_made_all_the_same() -> None:
    feed = feed_of_levels(noisy_recipe("soft"))
    pictures, targets = feed.batch(torch.tensor([1, 2]), torch.Generator().manual_seed(0))
    assert (len(pictures), targets.tolist()) == (2, [[1, 0, 0]] * 2)


def test_the_network_is_believed_of_noisy_clips_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    recipe = noisy_recipe("soft", "noisy.bootstrap_weight=0.25", "augment.mixup.probability=0.0")
    whole, calls = learning.loss_of, []

    def noted(logits: Tensor, targets: Tensor, loss: LossRecipe) -> Tensor:
        calls.append((logits.detach().clone(), targets))
        return whole(logits, targets, loss)

    monkeypatch.setattr(learning, "loss_of", noted)
    torch.manual_seed(0)
    fit(recipe, build_network(recipe.model, 3), feed_of_levels(recipe), None, tmp_path, seed=0)
    assert calls
    for logits, targets in calls:
        n_others = int((targets[:, 0] == 1).sum())
        assert n_others == 3  # 6 of 16 clips, in a batch of 8
        assert targets[:n_others].tolist() == [[1, 0, 0]] * n_others
        given = torch.tensor([[0.0, 1.0, 0.0]]).expand(len(targets) - n_others, 3)
        torch.testing.assert_close(targets[n_others:], bootstrapped(logits[n_others:], given, 0.25))
        assert not targets.requires_grad
