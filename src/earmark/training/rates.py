"""How fast a training learns: the rate and the momentum of each step, in each stage, for each group of layers.

Everything is a function of the step's number, so that a training that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from earmark.training.recipe import FitRecipe, Stage

FIRST_FACTOR = 1 / 25
"""Where a one-cycle begins, as a share of its highest rate."""

LAST_FACTOR = FIRST_FACTOR / 1e4
"""Where it ends."""

MOMENTUM_RANGE = (0.85, 0.95)
"""Momentum at a one-cycle's highest rate, and at its beginning and end."""


@dataclass(frozen=True)
class Place:
    """Where in a training a step is: its stage, its number in it from 0, and the steps that the stage has."""

    stage: Stage
    step: int
    n_steps: int


def place_of(fit: FitRecipe, step: int, steps_per_epoch: int) -> Place:
    """Find the stage that a step belongs to.

    Parameters
    ----------
    fit
        The optimisation.
    step
        From 0.
    steps_per_epoch
        Batches to an epoch.

    Raises
    ------
    ValueError
        When the training has no such step.
    """
    first = 0
    for stage in fit.all_stages:
        n_steps = stage.epochs * steps_per_epoch
        if 0 <= step - first < n_steps:
            return Place(stage, step - first, n_steps)
        first += n_steps
    raise ValueError(f"step {step}; expected one from 0 to {first - 1}")


def rate_factor(place: Place, fit: FitRecipe) -> float:
    """A step's rate as a share of its stage's highest, in (0, 1].

    Parameters
    ----------
    place
        The step.
    fit
        Whose `schedule` and `warmup_share` say how the rate goes. ``"one-cycle"`` is Smith and Topin,
        *Super-Convergence*, 2018, with half cosines; ``"cosine"`` Loshchilov and Hutter, *SGDR*, ICLR 2017, without
        restarts, after a linear way up.
    """
    if fit.schedule == "constant":
        return 1.0
    rising, share = _phase(place, fit.warmup_share)
    if fit.schedule == "one-cycle":
        return _between(FIRST_FACTOR, 1.0, share) if rising else _between(1.0, LAST_FACTOR, share)
    if rising:
        return (place.step + 1) / (fit.warmup_share * place.n_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1 - 0.5 / place.n_steps)))


def momentum_of(place: Place, fit: FitRecipe) -> float:
    """A step's momentum: the optimiser's first decay; a one-cycle lowers it while its rate is high."""
    if fit.schedule != "one-cycle":
        return fit.momentum
    rising, share = _phase(place, fit.warmup_share)
    least, most = MOMENTUM_RANGE
    return _between(most, least, share) if rising else _between(least, most, share)


def _phase(place: Place, warmup_share: float) -> tuple[bool, float]:
    """Whether a step is on the way up, and how much of the way up or down lies behind it, in [0, 1]."""
    last, turn = place.n_steps - 1, warmup_share * place.n_steps - 1
    if place.step <= turn:
        return True, place.step / turn if turn else 1.0
    return False, (place.step - turn) / (last - turn)


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` to `end`."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


def highest_rates(stage: Stage, n_groups: int) -> list[float]:
    """Highest rates of groups of layers, from the input to the head, each the same factor above the one before."""
    return [float(rate) for rate in np.geomspace(stage.lr_lowest, stage.lr, n_groups)] if n_groups > 1 else [stage.lr]


def optimizer_of(fit: FitRecipe, layer_groups: Sequence[Iterable[nn.Module]]) -> torch.optim.Optimizer:
    """Make the optimiser: two groups of parameters for each group of layers, one of them without decay.

    Parameters
    ----------
    fit
        Which one.
    layer_groups
        Layers from the input to the head.

    Returns
    -------
    torch.optim.Optimizer
        Each of its groups names the `layer_group` it belongs to, which `set_rates` goes by.
    """
    groups = []
    for number, layers in enumerate(layer_groups):
        parameters = [p for layer in layers for p in layer.parameters()]
        for decayed in (True, False):
            chosen = [p for p in parameters if (p.ndim > 1) == decayed]
            decay = fit.weight_decay if decayed else 0.0
            groups.append({"params": chosen, "weight_decay": decay, "layer_group": number})
    groups = [group for group in groups if group["params"]]
    if fit.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=fit.lr, momentum=fit.momentum, nesterov=fit.momentum > 0)
    return torch.optim.AdamW(groups, lr=fit.lr, betas=(fit.momentum, 0.999), fused=True)


def set_rates(optimizer: torch.optim.Optimizer, place: Place, fit: FitRecipe) -> None:
    """Give every group of an optimiser the rate and the momentum of a step."""
    n_groups = 1 + max(group["layer_group"] for group in optimizer.param_groups)
    rates, factor, momentum = highest_rates(place.stage, n_groups), rate_factor(place, fit), momentum_of(place, fit)
    for group in optimizer.param_groups:
        group["lr"] = rates[group["layer_group"]] * factor
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum


NORMALIZATION = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def frozen_parameters(layer_groups: Sequence[Iterable[nn.Module]]) -> list[nn.Parameter]:
    """Parameters that a frozen stage leaves as they are: all before the head but those of normalisation."""
    modules = [m for layers in layer_groups[:-1] for layer in layers for m in layer.modules()]
    return [p for m in modules if not isinstance(m, NORMALIZATION) for p in m.parameters(recurse=False)]
