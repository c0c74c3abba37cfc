"""What is done to a batch of normalised spectrograms, (n, n_mels, n_frames), on the device where they are.

Everything but masks is done to the whole spectrogram, before its channels are made: a colour picture is moved over all
its bands, not in each channel by itself; slopes are those of what has become of the spectrogram; and a frequency map
stays a map.

Results may share memory with what is given, which may be changed in place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from earmark.audio.picture import PictureSpec
from earmark.training.augment.chance import between, chosen, signed
from earmark.training.augment.recipe import AugmentRecipe


def random_gain(n: int, n_mels: int, recipe: AugmentRecipe, draws: torch.Generator) -> Tensor | None:
    """Draw how much louder each clip becomes: one gain for all bands, and an equaliser over them.

    Parameters
    ----------
    n, n_mels
        Clips, and bands.
    recipe
        What it says of `gain` and `equaliser`.
    draws
        On the processor.

    Returns
    -------
    Tensor or None
        (n, n_mels), or (n, 1) for all bands alike, in dB; `None` where the recipe has neither.
    """
    gain_db = None
    if recipe.gain is not None:
        picked = chosen(n, recipe.gain.probability, draws)
        gain_db = (signed(n, draws) * picked * recipe.gain.gain_db)[:, None]
    if recipe.equaliser is not None:
        picked = chosen(n, recipe.equaliser.probability, draws)
        points = signed(n * recipe.equaliser.n_points, draws).view(n, 1, -1) * recipe.equaliser.gain_db
        line = nn.functional.interpolate(points, size=n_mels, mode="linear", align_corners=True)[:, 0]
        gain_db = line * picked[:, None] + (0 if gain_db is None else gain_db)
    return gain_db


def warp(spectrograms: Tensor, recipe: AugmentRecipe, draws: torch.Generator) -> Tensor:
    """Stretch in time, shift over the bands and crop, by bilinear interpolation.

    Stretch and shift are about the middle. With t and b from -1 to 1 over a picture, stretch by f, shift by s and a
    crop of shares c at offsets o make ``out(t, b) = in(f (c_t t + o_t), c_b b + o_b + s)``.

    Parameters
    ----------
    spectrograms
        (n, n_mels, n_frames). The outermost values are repeated where there is nothing.
    recipe
        What it says of `stretch`, `band_shift` and `resized_crop`.
    draws
        On the processor.

    Returns
    -------
    Tensor
        The same shape.
    """
    if recipe.stretch or recipe.band_shift or recipe.resized_crop:
        scale, offset = _affine(len(spectrograms), recipe, draws)
        spectrograms = _resampled(spectrograms, scale[0], offset[0], 2)
        spectrograms = _resampled(spectrograms, scale[1], offset[1], 1)
    return spectrograms


def _affine(n: int, recipe: AugmentRecipe, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Scales and offsets, (2, n) each, in time and in bands: where in the input a place of the output is taken from."""
    scale, offset = torch.ones(2, n), torch.zeros(2, n)
    if recipe.resized_crop is not None:
        picked = chosen(n, recipe.resized_crop.probability, draws)
        for axis, limits in enumerate((recipe.resized_crop.time_share, recipe.resized_crop.band_share)):
            scale[axis] = torch.where(picked, between(n, limits, draws), 1.0)
            offset[axis] = signed(n, draws) * (1 - scale[axis]).abs()
    if recipe.band_shift is not None:
        picked = chosen(n, recipe.band_shift.probability, draws)
        offset[1] += signed(n, draws) * picked * 2 * recipe.band_shift.max_share  # pictures span -1 to 1
    if recipe.stretch is not None:
        picked = chosen(n, recipe.stretch.probability, draws)
        factor = (1 + recipe.stretch.max_change) ** (signed(n, draws) * picked)
        scale[0] *= factor
        offset[0] *= factor
    return scale, offset


def _resampled(spectrograms: Tensor, scale: Tensor, offset: Tensor, dim: int) -> Tensor:
    """Take each place along one axis from ``scale * place + offset``, (n,) each, where places are from -1 to 1.

    An axis by itself is a copy of two lines and one step between them, several times as fast as a general map.
    """
    changed = torch.nonzero((scale != 1) | (offset != 0))[:, 0]
    if not len(changed):
        return spectrograms
    whole = len(changed) == len(spectrograms)
    moving, length = spectrograms if whole else spectrograms[changed], spectrograms.shape[dim]
    middles = (2 * torch.arange(length) + 1) / length - 1
    places = torch.addcmul(offset[changed, None], scale[changed, None], middles)
    places = (((places + 1) * length - 1) / 2).clamp(0, length - 1)
    lower = places.long()
    share = (places - lower).to(moving)
    lower = lower.to(moving.device)
    upper = (lower + 1).clamp(max=length - 1)
    if dim == 1:  # bands are rows, which are copied as such
        clip = torch.arange(len(moving), device=moving.device)[:, None]
        moved = torch.lerp(moving[clip, lower], moving[clip, upper], share[:, :, None])
    else:
        before, after = (moving.gather(2, index[:, None].expand_as(moving)) for index in (lower, upper))
        moved = torch.lerp(before, after, share[:, None])
    if whole:
        return moved
    spectrograms[changed] = moved
    return spectrograms


def relight(spectrograms: Tensor, recipe: AugmentRecipe, spec: PictureSpec, draws: torch.Generator) -> Tensor:
    """Change brightness and contrast.

    Parameters
    ----------
    spectrograms
        (n, n_mels, n_frames), normalised.
    recipe
        What it says of `brightness` and `contrast`; a spectrogram's contrast is about its own mean.
    spec
        The front end, whose normalisation ``"minmax"`` keeps values in [0, 1].
    draws
        On the processor.

    Returns
    -------
    Tensor
        The same shape.
    """
    n, device = len(spectrograms), spectrograms.device
    if recipe.brightness is not None:
        picked = chosen(n, recipe.brightness.probability, draws)
        added = signed(n, draws) * picked * recipe.brightness.max_change
        spectrograms = spectrograms.add_(added.to(device)[:, None, None])
    if recipe.contrast is not None:
        picked = chosen(n, recipe.contrast.probability, draws)
        factor = (1 + signed(n, draws) * picked * recipe.contrast.max_change).to(device)[:, None, None]
        mean = spectrograms.mean((1, 2), keepdim=True)
        spectrograms = spectrograms.mul_(factor).add_(mean * (1 - factor))
    if spec.normalization == "minmax" and (recipe.brightness or recipe.contrast):
        spectrograms = spectrograms.clamp_(0, 1)
    return spectrograms


def mask(pictures: Tensor, recipe: AugmentRecipe, spec: PictureSpec, draws: torch.Generator) -> Tensor:
    """Blank out random stretches of time, runs of bands, and rectangles with 0.

    0 is the mean of pictures normalised by ``"affine"``, ``"band"`` or ``"clip"``, and the lowest level of those by
    ``"minmax"``. Each picture has masks of its own.

    Parameters
    ----------
    pictures
        (n, n_channels, height, n_frames); the bands of a colour picture are those of its channels one above the other,
        and a frequency map is not masked.
    recipe
        What it says of `time_mask`, `band_mask` and `cutout`.
    spec
        The front end that the pictures are of.
    draws
        On the processor.

    Returns
    -------
    Tensor
        The same shape.
    """
    n, n_mels, n_frames = len(pictures), spec.log_mel.n_mels, pictures.shape[-1]
    if recipe.time_mask is not None:
        longest = min(n_frames, round(recipe.time_mask.max_s * spec.log_mel.frame_rate))
        chance = (recipe.time_mask.probability, recipe.time_mask.n_masks)
        inside = _stretches(n, n_frames, longest, *chance, draws).any(1)
        _blank(pictures, inside[:, None], spec)
    if recipe.band_mask is not None:
        longest = round(recipe.band_mask.max_share * n_mels)
        inside = _stretches(n, n_mels, longest, recipe.band_mask.probability, recipe.band_mask.n_masks, draws).any(1)
        _blank(pictures, inside[:, :, None], spec)
    if recipe.cutout is not None:
        share, n_holes = recipe.cutout.max_share, recipe.cutout.n_holes
        rows = _stretches(n, n_mels, round(share * n_mels), recipe.cutout.probability, n_holes, draws)
        columns = _stretches(n, n_frames, round(share * n_frames), 1.0, n_holes, draws)
        for hole in range(n_holes):
            _blank(pictures, rows[:, hole, :, None] & columns[:, hole, None, :], spec)
    return pictures


def _blank(pictures: Tensor, inside: Tensor, spec: PictureSpec) -> None:
    """Blank where (n, n_mels or 1, n_frames or 1) `inside` is true."""
    if spec.channels == "colour" and inside.shape[1] > 1:
        keep = ~inside.view(len(inside), 3, -1, inside.shape[2])
    else:
        keep = ~inside[:, None]
    shown = pictures[:, :1] if spec.channels == "frequency-map" else pictures
    shown.mul_(keep.to(pictures.device))


def _stretches(
    n: int, length: int, longest: int, probability: float, n_stretches: int, draws: torch.Generator
) -> Tensor:
    """(n, n_stretches, length) bool: true inside a random stretch of at most `longest`; nowhere for the unpicked."""
    picked = chosen(n, probability, draws)[:, None]
    width = torch.floor(torch.rand(n, n_stretches, generator=draws) * (longest + 1)) * picked
    start = torch.floor(torch.rand(n, n_stretches, generator=draws) * (length - width + 1))
    positions = torch.arange(length)
    return (positions >= start[..., None]) & (positions < (start + width)[..., None])
