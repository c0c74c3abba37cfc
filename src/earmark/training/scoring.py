"""Scores of whole clips by a network in torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from earmark.training.pictures import Pictures
from earmark.training.recipe import Recipe

WINDOWS_PER_BATCH = 64


@torch.inference_mode()
def score_clips(network: nn.Module, pictures: Pictures, recipe: Recipe, device: torch.device) -> np.ndarray:
    """Scores of whole clips from those of their windows, (n_clips, n_labels) float32 in [0, 1].

    Parameters
    ----------
    network
        On `device`; it is left in the mode that it was in.
    pictures
        Of the clips; moved to `device`.
    recipe
        Says how windows lie and what they count for.
    device
        Where to compute.
    """
    was_training = network.training
    network.eval()
    clips, starts, weights = pictures.all_windows(recipe.window_frames, recipe.hop_frames, recipe.windows_weight)
    pictures.to(device)
    # convolutions on a GPU would otherwise drop half of float32's digits
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        parts = [
            network(pictures.cut(c, s, recipe.window_frames)).float().sigmoid()
            for c, s in zip(torch.split(clips, WINDOWS_PER_BATCH), torch.split(starts, WINDOWS_PER_BATCH), strict=True)
        ]
    network.train(was_training)
    scores = torch.cat(parts).cpu() * weights[:, None]
    return torch.zeros(len(pictures), scores.shape[1]).index_add_(0, clips, scores).numpy()
