"""What is done to a batch of training pictures, on the device where they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from earmark.audio.picture import PictureSpec
from earmark.training.augment.recipe import AugmentRecipe


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


def random_gain(n: int, n_mels: int, recipe: AugmentRecipe, generator: torch.Generator) -> Tensor:
    """Draw how much louder each picture becomes: one gain for all bands, and an equaliser over them.

    The equaliser is a line through random points at equal distances over the bands, a microphone and a room in the
    place of the recording's own; after Nam et al., *FilterAugment*, ICASSP 2022.

    Parameters
    ----------
    n, n_mels
        Pictures, and bands.
    recipe
        What it says of `gain` and `equaliser`.
    generator
        On the processor.

    Returns
    -------
    Tensor
        (n, n_mels) in dB.
    """
    gain_db = (torch.rand(n, 1, generator=generator) * 2 - 1) * (recipe.gain.gain_db if recipe.gain else 0)
    if recipe.equaliser is None:
        return gain_db.expand(n, n_mels)
    points = torch.rand(n, 1, recipe.equaliser.n_points, generator=generator) * 2 - 1
    points = points * recipe.equaliser.gain_db
    return gain_db + nn.functional.interpolate(points, size=n_mels, mode="linear", align_corners=True)[:, 0]


def warp(pictures: Tensor, recipe: AugmentRecipe, generator: torch.Generator) -> Tensor:
    """Stretch every picture in time and shift it in frequency, about its middle and by bilinear interpolation.

    Parameters
    ----------
    pictures
        (n, n_channels, height, frames); a shift moves each channel of colour pictures within itself.
    recipe
        What it says of `stretch` and `band_shift`. The outermost values are repeated where there is nothing.
    generator
        On the processor.

    Returns
    -------
    Tensor
        The same shape.
    """
    n = len(pictures)
    draw = torch.rand(2, n, generator=generator) * 2 - 1
    affine = torch.zeros(n, 2, 3)
    affine[:, 0, 0] = (1 + (recipe.stretch.max_change if recipe.stretch else 0)) ** draw[0]
    affine[:, 1, 1] = 1
    affine[:, 1, 2] = 2 * (recipe.band_shift.max_share if recipe.band_shift else 0) * draw[1]  # pictures span -1 to 1
    grid = nn.functional.affine_grid(affine.to(pictures), list(pictures.shape), align_corners=False)
    return nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def mask(pictures: Tensor, recipe: AugmentRecipe, spec: PictureSpec, generator: torch.Generator) -> Tensor:
    """Blank out random stretches of time and of bands with 0.

    SpecAugment without its time warp: Park et al., Interspeech 2019. Every picture has stretches of its own; in colour
    pictures a masked row is masked in all three channels.
    """
    n, _, height, n_frames = pictures.shape
    if recipe.time_mask is not None:
        longest = min(n_frames, round(recipe.time_mask.max_s * spec.log_mel.frame_rate))
        keep = _outside_stretches(n, n_frames, longest, recipe.time_mask.n_masks, generator).to(pictures.device)
        pictures = pictures * keep[:, None, None, :]
    if recipe.band_mask is not None:
        longest = round(recipe.band_mask.max_share * height)
        keep = _outside_stretches(n, height, longest, recipe.band_mask.n_masks, generator).to(pictures.device)
        pictures = pictures * keep[:, None, :, None]
    return pictures


def _outside_stretches(n: int, length: int, longest: int, n_stretches: int, generator: torch.Generator) -> Tensor:
    """(n, length) bool: false inside `n_stretches` random stretches of at most `longest`."""
    keep = torch.ones(n, length, dtype=torch.bool)
    positions = torch.arange(length)
    for _ in range(n_stretches):
        width = torch.floor(torch.rand(n, 1, generator=generator) * (longest + 1))
        start = torch.floor(torch.rand(n, 1, generator=generator) * (length - width + 1))
        keep &= (positions < start) | (positions >= start + width)
    return keep
