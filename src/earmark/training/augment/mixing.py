"""Two clips of a batch made one: mixed, or one after the other; pictures and waveforms alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from earmark.training.augment.chance import chosen, folded_beta, partners
from earmark.training.augment.recipe import Concatenation, Mixup


def mixup(batch: Tensor, targets: Tensor, recipe: Mixup, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix each clip that chance picks with another one of the batch.

    Zhang et al., *mixup: Beyond Empirical Risk Minimization*, ICLR 2018, with a weight for each clip, taken as at least
    one half, so that a clip stays mostly itself.

    Parameters
    ----------
    batch
        (n, ...): pictures, spectrograms or waveforms.
    targets
        (n, n_labels) in [0, 1].
    recipe
        How often, how much, and what becomes of the labels; a clip that is not mixed keeps its own.
    draws
        On the processor.

    Returns
    -------
    tuple of Tensor
        The same shapes; the batch may be changed in place.
    """
    n = len(batch)
    others, weights = partners(n, draws), folded_beta(n, recipe.alpha, draws)
    taken = torch.where(chosen(n, recipe.probability, draws), weights, 1.0)
    return _mixed(batch, others, taken), _mixed_targets(targets, others, taken, recipe.labels)


def concatenation(
    batch: Tensor, targets: Tensor, recipe: Concatenation, rate: float, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Replace the end of each clip that chance picks with the end of another one of the batch.

    Parameters
    ----------
    batch
        (n, ..., length): spectrograms or waveforms.
    targets
        (n, n_labels) in [0, 1].
    recipe
        How often, where, how softly, and what becomes of the labels; weighted, each clip's count for the share of the
        window that it has.
    rate
        Frames or samples a second.
    draws
        On the processor.

    Returns
    -------
    tuple of Tensor
        The same shapes; the batch may be changed in place. Over the border, one clip fades out and the other in, in
        straight lines: of values, which for spectrograms are levels.
    """
    n, length = len(batch), batch.shape[-1]
    others, shares = partners(n, draws), folded_beta(n, recipe.alpha, draws)
    picked = chosen(n, recipe.probability, draws)
    border = max(recipe.border_s * rate, 1e-6)  # so that without a border nothing is divided by 0
    middles = torch.arange(length) + 0.5
    fade = ((shares[:, None] * length - middles) / border + 0.5).clamp(0, 1)
    fade[~picked] = 1.0
    shape = (n, *[1] * (batch.ndim - 2), length)
    mixed = _mixed(batch, others, fade.view(shape), picked)
    return mixed, _mixed_targets(targets, others, torch.where(picked, shares, 1.0), recipe.labels)


def _mixed(batch: Tensor, others: Tensor, weights: Tensor, picked: Tensor | None = None) -> Tensor:
    """Each clip by its weight, its partner by the rest; weights are (n,), or (n, ...) where they change over time."""
    changed = torch.nonzero(weights < 1 if picked is None else picked)[:, 0]
    if not len(changed):
        return batch
    weights = weights[changed].to(batch.device, batch.dtype)
    weights = weights.view(-1, *weights.shape[1:], *[1] * (batch.ndim - weights.ndim))
    own = batch if len(changed) == len(batch) else batch[changed]
    mixed = batch[others[changed]]
    torch.lerp(mixed, own, weights, out=mixed)
    if len(changed) == len(batch):
        return mixed
    batch[changed] = mixed
    return batch


def _mixed_targets(targets: Tensor, others: Tensor, weights: Tensor, labels: Literal["weighted", "united"]) -> Tensor:
    partner = targets[others]
    if labels == "weighted":
        return torch.lerp(partner, targets, weights[:, None].to(targets))
    mixed = (weights < 1)[:, None].to(targets.device)
    return torch.where(mixed, torch.maximum(targets, partner), targets)
