"""The average of a network's weights over its steps, which is what is kept of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from earmark.training.recipe import FitRecipe

Tensors = tuple[Tensor, ...] | list[Tensor]


class Average:
    """A network whose weights are the average that a recipe wants.

    Buffers, such as the statistics of batch normalisation, are averaged with the weights.

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
        self.averaged: AveragedModel | None = None
        if fit.averaging == "ema":
            self.averaged = AveragedModel(network, multi_avg_fn=moving_average(fit.ema_decay), use_buffers=True)
        elif fit.averaging == "swa":
            self.averaged = AveragedModel(network, use_buffers=True)

    @property
    def network(self) -> nn.Module:
        """The averaged network; the one that learns, as long as there is no average yet."""
        if self.averaged is None or self.averaged.n_averaged == 0:
            return self.current
        return self.averaged.module

    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        if self.averaged is not None and step >= self.first_step:
            self.averaged.update_parameters(self.current)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes; empty where nothing is averaged."""
        return {} if self.averaged is None else self.averaged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved average."""
        if self.averaged is not None:
            self.averaged.load_state_dict(state)


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """An exponential moving average that forgets the random weights it began with.

    Its decay after t updates is ``min(decay, (1 + t) / (10 + t))``, so a short training is averaged over its own last
    part, not over its start.
    """

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, n_averaged: Tensor | int) -> None:
        t = float(n_averaged)
        share = 1 - min(decay, (1 + t) / (10 + t))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, share)
        else:  # counters of batch normalisation
            torch._foreach_copy_(averaged, current)

    return update
