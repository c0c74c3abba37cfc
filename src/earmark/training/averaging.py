"""The average of a network's weights over its steps, which is what is kept of a training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from earmark.training.recipe import FitRecipe


class Average:
    """A network whose weights are the average that a recipe wants.

    Buffers, such as the statistics of batch normalisation, are averaged with the weights; counters are copied. What
    torch offers for this lists a network's tensors anew at every update, which a small network's step feels.

    Parameters
    ----------
    network
        What is averaged, on its device.
    fit
        Whose `averaging` says how.
    n_steps
        Of the whole training.
    """

    def __init__(self, network: nn.Module, fit: FitRecipe, n_steps: int) -> None:
        self.current = network
        self.first_step = round(n_steps * (1 - fit.swa_share)) if fit.averaging == "swa" else 0
        self.share = moving_average(fit.ema_decay) if fit.averaging == "ema" else mean
        self.n_averaged = 0
        self.averaged: nn.Module | None = None
        if fit.averaging != "none":
            self.averaged = copy.deepcopy(network).requires_grad_(False)
            self.pairs = _pairs(self.averaged, network)

    @property
    def network(self) -> nn.Module:
        """The averaged network; the one that learns, as long as there is no average yet."""
        return self.current if self.averaged is None or not self.n_averaged else self.averaged

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        if self.averaged is None or step < self.first_step:
            return
        (averaged, current), (counters, counted) = self.pairs
        torch._foreach_lerp_(averaged, current, self.share(self.n_averaged))
        if counters:
            torch._foreach_copy_(counters, counted)
        self.n_averaged += 1

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes; empty where nothing is averaged."""
        if self.averaged is None:
            return {}
        return {"n_averaged": self.n_averaged, "network": self.averaged.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved average."""
        if self.averaged is not None:
            self.n_averaged = state["n_averaged"]
            self.averaged.load_state_dict(state["network"])


def mean(n_averaged: int) -> float:
    """Share of the newest weights in the mean of all, after so many others."""
    return 1 / (1 + n_averaged)


def moving_average(decay: float) -> Callable[[int], float]:
    """Share of the newest weights in an exponential moving average that forgets the random weights it began with.

    Its decay after t updates is ``min(decay, (1 + t) / (10 + t))``, and 0 for the first, so a short training is
    averaged over its own last part, not over its start.
    """
    return lambda t: 1 - min(decay, (1 + t) / (10 + t)) if t else 1.0


def _pairs(averaged: nn.Module, current: nn.Module) -> list[tuple[list[Tensor], list[Tensor]]]:
    """What changes in two networks of one shape, the average's first: numbers, then counters."""
    both = [
        (a, c.detach())
        for of_average, of_current in (
            (averaged.parameters(), current.parameters()),
            (averaged.buffers(), current.buffers()),
        )
        for a, c in zip(of_average, of_current, strict=True)
    ]
    split = [[pair for pair in both if pair[0].is_floating_point() == numbers] for numbers in (True, False)]
    return [([a for a, _ in pairs], [c for _, c in pairs]) for pairs in split]
