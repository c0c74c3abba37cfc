"""What is done to a batch of training pictures, on the device where they are."""

from __future__ import annotations

import torch
from torch import Tensor

from earmark.audio.picture import PictureSpec
from earmark.training.recipe import AugmentRecipe


def mixup(pictures: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix every picture with another one of the batch, and their targets alike.

    Zhang et al., *mixup: Beyond Empirical Risk Minimization*, ICLR 2018, with a weight for each picture, drawn from
    Beta(alpha, alpha) and taken as at least one half, so that a picture stays mostly itself.

    Parameters
    ----------
    pictures
        (n, n_channels, height, frames).
    targets
        (n, n_labels) in [0, 1].
    alpha
        Above 0.
    generator
        On the processor; draws the weights and the partners.

    Returns
    -------
    tuple of Tensor
        The same shapes.
    """
    n = len(pictures)
    weights = _beta(alpha, n, generator)
    weights = torch.maximum(weights, 1 - weights).to(pictures)
    partners = torch.randperm(n, generator=generator).to(pictures.device)
    mixed = torch.lerp(pictures[partners], pictures, weights[:, None, None, None])
    return mixed, torch.lerp(targets[partners], targets, weights[:, None])


def _beta(alpha: float, n: int, generator: torch.Generator) -> Tensor:
    # Joehnk's method needs rejection and torch.distributions takes no generator: two gammas by torch's own sampler do
    gammas = torch._standard_gamma(torch.full((2, n), alpha, dtype=torch.float64), generator=generator)
    return (gammas[0] / gammas.sum(0).clamp(min=1e-300)).float()


def random_gain(n: int, gain_db: float, generator: torch.Generator) -> Tensor | None:
    """(n,) gains in dB, uniform in ±`gain_db`; `None` when that is 0."""
    return (torch.rand(n, generator=generator) * 2 - 1) * gain_db if gain_db else None


def mask(pictures: Tensor, recipe: AugmentRecipe, spec: PictureSpec, generator: torch.Generator) -> Tensor:
    """Blank out random stretches of time and of bands with 0.

    SpecAugment without its time warp: Park et al., Interspeech 2019. Every picture has stretches of its own; in colour
    pictures a masked row is masked in all three channels.
    """
    n, _, height, n_frames = pictures.shape
    longest = min(n_frames, round(recipe.time_mask_s * spec.log_mel.frame_rate))
    keep_time = _outside_stretches(n, n_frames, longest, recipe.n_time_masks, generator).to(pictures.device)
    keep_band = _outside_stretches(n, height, round(recipe.band_mask * height), recipe.n_band_masks, generator)
    return pictures * keep_time[:, None, None, :] * keep_band.to(pictures.device)[:, None, :, None]


def _outside_stretches(n: int, length: int, longest: int, n_stretches: int, generator: torch.Generator) -> Tensor:
    """(n, length) bool: false inside `n_stretches` random stretches of at most `longest`."""
    keep = torch.ones(n, length, dtype=torch.bool)
    positions = torch.arange(length)
    for _ in range(n_stretches):
        width = torch.floor(torch.rand(n, 1, generator=generator) * (longest + 1))
        start = torch.floor(torch.rand(n, 1, generator=generator) * (length - width + 1))
        keep &= (positions < start) | (positions >= start + width)
    return keep
