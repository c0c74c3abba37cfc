"""What a network is given to learn from: windows of clips, changed as the recipe says, on the device where it is."""

from __future__ import annotations

import torch
from torch import Tensor

from earmark.training.augment.pictures import mask, mixup, random_gain, warp
from earmark.training.pictures import Pictures
from earmark.training.recipe import Recipe


class Feed:
    """Batches of pictures and targets of one fold's clips.

    Parameters
    ----------
    recipe
        What is done to them.
    pictures
        Of the clips.
    targets
        (n_clips, n_labels) float32 in [0, 1].
    """

    def __init__(self, recipe: Recipe, pictures: Pictures, targets: Tensor) -> None:
        self.recipe = recipe
        self.pictures = pictures
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> Feed:
        """Move everything to a device, in place."""
        self.pictures.to(device)
        self.targets = self.targets.to(device)
        return self

    def batch(self, clips: Tensor, draws: torch.Generator, *, augmented: bool = True) -> tuple[Tensor, Tensor]:
        """Make one batch.

        Parameters
        ----------
        clips
            (n,) int64 indices of clips, on the feed's device.
        draws
            On the processor; everything random comes from it.
        augmented
            Whether the recipe's augmentation is done, or windows are cut at random and nothing else.

        Returns
        -------
        pictures, targets
            (n, n_channels, height, window_frames) float32, and (n, n_labels) float32 in [0, 1].
        """
        recipe, augment = self.recipe, self.recipe.augment
        starts = self.pictures.random_starts(clips, recipe.window_frames, draws)
        wraps = self.pictures.random_wraps(clips, draws)
        targets = self.targets[clips]
        if not augmented:
            return self.pictures.cut(clips, starts, recipe.window_frames, wraps=wraps), targets
        gain_db = random_gain(len(clips), recipe.picture.log_mel.n_mels, augment, draws).to(clips.device)
        pictures = self.pictures.cut(clips, starts, recipe.window_frames, gain_db=gain_db, wraps=wraps)
        if augment.stretch or augment.band_shift:
            pictures = warp(pictures, augment, draws)
        if augment.mixup:
            pictures, targets = mixup(pictures, targets, augment.mixup.alpha, draws)
        return mask(pictures, augment, recipe.picture, draws), targets
