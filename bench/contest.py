"""How entries to Freesound Audio Tagging 2019 usually prepared and fed their pictures, for comparison.

Written from the descriptions of such entries: every clip by librosa, many at a time by joblib; 8-bit pictures in
memory; each cropped and relit by PIL, in the workers of a DataLoader, and mixed in pairs on the way to the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import joblib
import librosa
import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from earmark.training.recipe import Recipe

N_WORKERS = os.cpu_count() or 1


def picture_of(path: Path, recipe: Recipe) -> np.ndarray:
    """One clip as the entry's grey picture: (height, n_frames) uint8."""
    spec, picture = recipe.picture.log_mel, recipe.picture
    samples, _ = librosa.load(path, sr=spec.sample_rate)
    if picture.trim_top_db:
        samples, _ = librosa.effects.trim(samples, top_db=picture.trim_top_db)
    missing = round(picture.min_duration_s * spec.sample_rate) - len(samples)
    if missing > 0:
        samples = np.pad(samples, (missing // 2, missing - missing // 2))
    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
    )
    level = librosa.power_to_db(mel, top_db=80.0)
    spread = level.max() - level.min()
    if spread < 1e-6:
        return np.zeros(level.shape, np.uint8)
    return (255 * (level - level.min()) / spread).astype(np.uint8)


def prepare(paths: Sequence[Path], recipe: Recipe) -> list[np.ndarray]:
    """All clips' pictures, by a process a core."""
    return joblib.Parallel(n_jobs=N_WORKERS)(joblib.delayed(picture_of)(path, recipe) for path in paths)


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Pictures cropped and relit as they are asked for.

    Parameters
    ----------
    source
        Gives the whole picture of a clip, (height, n_frames) uint8: from memory, or made on the spot.
    targets
        (n_clips, n_labels).
    recipe
        Says how large the crop is, and how many channels it has.
    """

    def __init__(self, source: Callable[[int], np.ndarray], targets: Tensor, recipe: Recipe) -> None:
        self.source = source
        self.targets = targets
        self.recipe = recipe

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        draws = np.random.default_rng()
        image = Image.fromarray(self.source(index))
        width = self.recipe.window_frames
        if image.width < width:
            padded = Image.new("L", (width, image.height))
            padded.paste(image, (int(draws.integers(width - image.width + 1)), 0))
            image = padded
        left = int(draws.integers(image.width - width + 1))
        image = image.crop((left, 0, left + width, image.height)).convert("RGB")
        if self.recipe.augment.brightness:
            image = ImageEnhance.Brightness(image).enhance(1 + draws.uniform(-0.2, 0.2))
        if self.recipe.augment.contrast:
            image = ImageEnhance.Contrast(image).enhance(1 + draws.uniform(-0.2, 0.2))
        values = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        return values[: self.recipe.model.n_channels], self.targets[index]


def batches(dataset: Pictures, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's batches, mixed in pairs."""
    alpha = mixup_alpha(dataset.recipe)
    for pictures, targets in DataLoader(dataset, batch_size, shuffle=True, num_workers=N_WORKERS, drop_last=True):
        if not alpha:
            yield pictures, targets
            continue
        weight = torch.distributions.Beta(alpha, alpha).sample((len(targets),))
        weight = torch.maximum(weight, 1 - weight)
        order = torch.randperm(len(targets))
        mixed = weight[:, None, None, None] * pictures + (1 - weight[:, None, None, None]) * pictures[order]
        yield mixed, weight[:, None] * targets + (1 - weight[:, None]) * targets[order]


def mixup_alpha(recipe: Recipe) -> float:
    """Mixup's parameter, 0 for none."""
    return recipe.augment.mixup.alpha if recipe.augment.mixup else 0.0
