from __future__ import annotations

import math
import warnings
from itertools import pairwise

import pytest
import torch
from torch import nn

from earmark.training.rates import (
    frozen_parameters,
    highest_rates,
    momentum_of,
    optimizer_of,
    place_of,
    rate_factor,
    set_rates,
)
from earmark.training.recipe import FitRecipe, Stage

N_STEPS = 40


def factors(fit: FitRecipe, steps_per_epoch: int) -> list[float]:
    n_steps = fit.epochs * steps_per_epoch
    return [rate_factor(place_of(fit, step, steps_per_epoch), fit) for step in range(n_steps)]


@pytest.mark.parametrize("warmup_share", [0.1, 0.3, 0.55])
def test_one_cycle_is_that_of_torch(warmup_share: float) -> None:
    fit = FitRecipe(epochs=10, lr=0.5, warmup_share=warmup_share)
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimiser has not stepped
        reference = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.5, total_steps=N_STEPS, pct_start=warmup_share, three_phase=False
        )
        for step in range(N_STEPS):
            place = place_of(fit, step, 4)
            group = optimizer.param_groups[0]
            assert 0.5 * rate_factor(place, fit) == pytest.approx(group["lr"], rel=1e-9)
            assert momentum_of(place, fit) == pytest.approx(group["betas"][0], rel=1e-9)
            if step + 1 < N_STEPS:
                reference.step()


def test_cosine_climbs_in_a_line_and_falls_to_nearly_nothing() -> None:
    fit = FitRecipe(epochs=10, schedule="cosine", warmup_share=0.25)
    rates = factors(fit, 4)
    rises = [after - before for before, after in pairwise(rates[:10])]
    assert rises == pytest.approx([rises[0]] * 9)
    assert max(rates) <= 1
    assert 0 < rates[-1] < 0.01
    middle = rates[9 + 15]  # half-way down
    assert middle == pytest.approx(0.5, abs=0.05)
    assert momentum_of(place_of(fit, 0, 4), fit) == fit.momentum


def test_constant_stays() -> None:
    assert factors(FitRecipe(epochs=2, schedule="constant"), 3) == [1.0] * 6


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_a_training_of_one_step_has_a_rate(schedule: str) -> None:
    (factor,) = factors(FitRecipe(epochs=1, schedule=schedule), 1)  # type: ignore[arg-type]
    assert 0 < factor <= 1
    assert math.isfinite(factor)


def test_stages_follow_one_another_each_with_a_cycle_of_its_own() -> None:
    fit = FitRecipe(epochs=5, stages=(Stage(epochs=2, freeze=True), Stage(epochs=3, lr=1e-2)), lr=1e-3)
    assert [place_of(fit, step, 10).stage.freeze for step in (0, 19, 20, 49)] == [True, True, False, False]
    assert place_of(fit, 20, 10).step == 0
    assert place_of(fit, 20, 10).n_steps == 30
    assert [place_of(fit, step, 10).stage.lr for step in (0, 20)] == [1e-3, 1e-2]
    with pytest.raises(ValueError, match="step 50; expected one from 0 to 49"):
        place_of(fit, 50, 10)


def test_rates_of_layers_rise_by_the_same_factor() -> None:
    assert highest_rates(Stage(epochs=1, lr=1e-2, lr_lowest=1e-4), 3) == pytest.approx([1e-4, 1e-3, 1e-2])
    fit = FitRecipe(lr=2e-3)
    assert highest_rates(fit.all_stages[0], 3) == pytest.approx([2e-3] * 3)


def layers() -> list[list[nn.Module]]:
    return [[nn.Conv2d(1, 2, 3)], [nn.BatchNorm2d(2)], [nn.Linear(2, 3)]]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_biases_and_normalisation_are_not_decayed(name: str) -> None:
    fit = FitRecipe(optimizer=name, weight_decay=0.1)  # type: ignore[arg-type]
    optimizer = optimizer_of(fit, layers())
    shapes = {tuple(p.shape): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert shapes == {(2, 1, 3, 3): 0.1, (2,): 0.0, (3, 2): 0.1, (3,): 0.0}


def test_every_group_gets_its_rate_and_momentum() -> None:
    fit = FitRecipe(optimizer="sgd", schedule="constant", momentum=0.8, lr=1e-2, lr_lowest=1e-4)
    optimizer = optimizer_of(fit, layers())
    set_rates(optimizer, place_of(fit, 0, 5), fit)
    rates = {group["layer_group"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {0: pytest.approx(1e-4), 1: pytest.approx(1e-3), 2: pytest.approx(1e-2)}
    assert {group["momentum"] for group in optimizer.param_groups} == {0.8}


def test_what_is_frozen_is_neither_head_nor_normalisation() -> None:
    groups = layers()
    assert [tuple(p.shape) for p in frozen_parameters(groups)] == [(2, 1, 3, 3), (2,)]
    assert frozen_parameters(groups)[0] is groups[0][0].weight
