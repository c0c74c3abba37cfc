"""One fold: a network learned from some clips of a store by Lightning's loop."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, WeightAveraging
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from earmark.metrics import lwlrap
from earmark.training.feed import Feed
from earmark.training.models import BLOCKS_PER_STAGE, ResNet
from earmark.training.pictures import Pictures
from earmark.training.recipe import FitRecipe, ModelRecipe, Recipe

N_VALIDATIONS = 8
"""How many times the curve on the held-out fold is looked at; nothing is chosen by it."""

WINDOWS_PER_BATCH = 64


def build_network(model: ModelRecipe, n_labels: int) -> ResNet:
    """Make the network that a recipe names, with random weights."""
    options = msgspec.structs.asdict(model)
    for absent in ("drop_path", "init"):
        del options[absent]
    return ResNet(n_labels, blocks=BLOCKS_PER_STAGE[options.pop("name")], **options)


@dataclass
class Clips:
    """Clips as the loop takes them: their pictures, and (n_clips, n_labels) float32 targets."""

    pictures: Pictures
    targets: Tensor


class Tagger(lightning.LightningModule):
    """The network with what its training needs: augmentation, loss, schedule, the validation curve."""

    def __init__(self, recipe: Recipe, training: Clips, validation: Clips | None, n_steps: int, seed: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.n_steps = n_steps
        self.network = build_network(recipe.model, training.targets.shape[1])
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.feed = Feed(recipe, training.pictures, training.targets)
        self.validation = validation
        self.draws = torch.Generator().manual_seed(seed)

    def training_step(self, clips: Tensor, _: int) -> Tensor:
        """Loss of one batch, (n,) indices of training clips."""
        pictures, targets = self.feed.batch(clips, self.draws)
        logits = self.network(pictures.contiguous(memory_format=torch.channels_last))
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets)
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(clips))
        return loss

    def validation_step(self, _: Tensor, __: int) -> None:
        """Log lwlrap of the held-out clips by the averaged weights."""
        assert self.validation is not None  # without a held-out fold there are no validation batches
        scores = score_clips(self.network, self.validation.pictures, self.recipe, self.device)
        value = lwlrap(self.validation.targets.numpy(), scores)
        self.log("validation_lwlrap", value, prog_bar=True, batch_size=len(scores))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW under a one-cycle rate; biases and normalisation are not decayed."""
        fit = self.recipe.fit
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": fit.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=fit.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, fit.lr, total_steps=self.n_steps, pct_start=fit.warmup_share
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """An exponential moving average that forgets the random weights it began with.

    Its decay after t updates is ``min(decay, (1 + t) / (10 + t))``, so a short training is averaged over its own last
    part, not over its start.
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], n_averaged: Tensor) -> None:
        t = float(n_averaged)
        share = 1 - min(decay, (1 + t) / (10 + t))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, share)
        else:  # counters of batch normalisation
            torch._foreach_copy_(averaged, current)

    return update


class EpochBar(Callback):
    """One bar over the epochs of a fold, with the time left, the loss and the curve's last value."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draw the bar, where a resumed fold has come to."""
        # a log file is not to be filled with one bar a second
        interval_s = 0.1 if sys.stderr.isatty() else 10.0
        self.bar = tqdm(
            total=trainer.max_epochs,
            initial=trainer.current_epoch,
            desc=self.name,
            unit="epoch",
            mininterval=interval_s,
        )

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Move the bar by one epoch."""
        self.bar.set_postfix({name: f"{float(v):.3f}" for name, v in trainer.callback_metrics.items()}, refresh=False)
        self.bar.update()

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self.bar.close()


@torch.inference_mode()
def score_clips(network: nn.Module, pictures: Pictures, recipe: Recipe, device: torch.device) -> np.ndarray:
    """Scores of whole clips: their windows' by `recipe.windows_weight`, (n_clips, n_labels) float32 in [0, 1]."""
    was_training = network.training
    network.eval()
    clips, starts, weights = pictures.all_windows(recipe.window_frames, recipe.hop_frames, recipe.windows_weight)
    pictures.to(device)
    parts = [
        network(pictures.cut(c, s, recipe.window_frames)).float().sigmoid()
        for c, s in zip(torch.split(clips, WINDOWS_PER_BATCH), torch.split(starts, WINDOWS_PER_BATCH), strict=True)
    ]
    network.train(was_training)
    scores = torch.cat(parts).cpu() * weights[:, None]
    return torch.zeros(len(pictures), scores.shape[1]).index_add_(0, clips, scores).numpy()


def fit(
    recipe: Recipe,
    training: Clips,
    validation: Clips | None,
    folder: Path,
    *,
    seed: int,
    bar: str | None = None,
) -> ResNet:
    """Learn a network; the averaged weights of the last epoch are kept, whatever the validation curve did.

    Parameters
    ----------
    recipe
        What to do.
    training
        Clips to learn from.
    validation
        Clips to draw a curve on; no choice is made by them. `None` for no curve.
    folder
        For checkpoints and logs; a `last.ckpt` there is resumed from.
    seed
        Of the weights, the order of the clips and every draw.
    bar
        What the bar over the epochs is called; `None` for no bar.

    Returns
    -------
    ResNet
        On the processor, in evaluation mode.
    """
    lightning.seed_everything(seed, workers=True, verbose=False)
    loader = _loader(len(training.targets), recipe.fit.batch_size, seed)
    module = Tagger(recipe, training, validation, recipe.fit.epochs * len(loader), seed)
    checkpoints = ModelCheckpoint(folder, filename="last", save_last=False, enable_version_counter=False)
    average = WeightAveraging(multi_avg_fn=moving_average(recipe.fit.ema_decay))
    callbacks = [checkpoints, average] + ([EpochBar(bar)] if bar else [])
    with _quiet():
        trainer = lightning.Trainer(
            max_epochs=recipe.fit.epochs,
            accelerator="auto",
            devices=1,
            precision=precision_of(recipe.fit),
            callbacks=callbacks,
            logger=CSVLogger(folder, name=None, version=""),
            log_every_n_steps=1,
            check_val_every_n_epoch=max(1, recipe.fit.epochs // N_VALIDATIONS),
            limit_val_batches=1 if validation else 0,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        last = folder / "last.ckpt"
        trainer.fit(
            module,
            loader,
            _loader(1, 1, None) if validation else None,
            ckpt_path=last if last.exists() else None,
            weights_only=True,
        )
    network: ResNet = module.network.cpu().eval()
    return network


def _loader(n_clips: int, batch_size: int, seed: int | None) -> DataLoader[int]:
    shuffle = None if seed is None else torch.Generator().manual_seed(seed)
    # a last batch of one clip would leave batch normalisation nothing to normalise by
    indices: Any = range(n_clips)  # a sequence serves, though torch's types ask for its own class
    return DataLoader(indices, min(batch_size, n_clips), shuffle=seed is not None, drop_last=True, generator=shuffle)


def precision_of(fit: FitRecipe) -> Literal["32-true", "bf16-mixed"]:
    """Lightning's name of the precision to train in: the recipe's, or what the device computes fastest."""
    if fit.precision != "auto":
        return fit.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and hints for other set-ups off the user's terminal."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*validation_step. but have no .val_dataloader.*")
        yield
    logger.setLevel(level)
