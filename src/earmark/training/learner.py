"""The network with what a step of its training does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from earmark.errors import TrainingError
from earmark.training.averaging import Average
from earmark.training.feed import Feed
from earmark.training.losses import bootstrapped, loss_of
from earmark.training.models import TaggingNetwork
from earmark.training.noisy.heads import logits_by_subset
from earmark.training.order import Order, seed_of_step
from earmark.training.rates import frozen_parameters, optimizer_of, place_of, set_rates
from earmark.training.recipe import Recipe
from earmark.training.state import State, all_finite


class Learner(lightning.LightningModule):
    """A network, its clips and its recipe, for Lightning's loop, to which the whole training is one epoch.

    Parameters
    ----------
    recipe
        What to do.
    network
        What learns.
    feed
        What it learns from.
    seed
        Of the order of the clips and every draw.
    state
        To go on from; `None` for the beginning.
    """

    def __init__(self, recipe: Recipe, network: TaggingNetwork, feed: Feed, seed: int, state: State | None) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = network
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.feed = feed
        self.seed = seed
        self.state = state
        self.first_step = state.step if state else 0
        whole = self._order()
        self.batch_size, self.steps_per_epoch, self.n_steps = whole.batch_size, whole.steps_per_epoch, whole.n_steps
        self.draws = torch.Generator()
        self.frozen: list[nn.Parameter] = []
        self.average: Average

    def _order(self, first_step: int = 0, rank: int = 0, world_size: int = 1) -> Order:
        fit = self.recipe.fit
        return Order(
            self.feed.n_others,
            fit.batch_size,
            fit.epochs,
            self.seed,
            first_step,
            n_noisy=self.feed.n_noisy,
            rate=self.recipe.noisy.rate,
            rank=rank,
            world_size=world_size,
        )

    @property
    def step(self) -> int:
        """Steps that are done, from the beginning of the training."""
        return self.first_step + int(self.trainer.global_step)

    def train_dataloader(self) -> Iterable[Tensor]:
        """Batches of indices of clips that are left to learn from, this process's share of them."""
        return self._order(self.first_step, self.trainer.global_rank, self.trainer.world_size)

    def transfer_batch_to_device(self, batch: Tensor, device: torch.device, dataloader_idx: int) -> Tensor:
        """Leave indices on the processor, where the feed wants them."""
        return batch

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimiser; rates are set at every step."""
        return optimizer_of(self.recipe.fit, self.network.layer_groups())

    def on_train_start(self) -> None:
        """Move the clips to the device, and go on from the saved state."""
        self.feed.to(self.device)
        self.restore()
        if self.state:
            self.trainer.optimizers[0].load_state_dict(self.state.optimizer)
            self.state = None

    def restore(self) -> None:
        """Take over the weights and their average from the saved state, where there is one."""
        self.average = Average(self.network, self.recipe.fit, self.n_steps)
        self.loss_sum = torch.zeros(1, device=self.device)
        if self.state:
            self.network.load_state_dict(self.state.network)
            self.average.load_state_dict(self.state.average)
            self.loss_sum.copy_(self.state.loss_sum)

    def training_step(self, clips: Tensor, _: int) -> Tensor:
        """Loss of one batch, (n,) int64 indices of clips."""
        recipe, step = self.recipe, self.step
        self._prepare(step)
        augmented = step < self.n_steps * (1 - recipe.augment.off_for_last)
        pictures, targets = self.feed.batch(clips, self.draws, augmented=augmented)
        n_others = int((clips < self.feed.n_others).sum())
        logits = self._logits(pictures.contiguous(memory_format=torch.channels_last), n_others)
        if recipe.noisy.strategy == "soft":
            own = bootstrapped(logits[n_others:].float(), targets[n_others:], recipe.noisy.bootstrap_weight)
            targets = torch.cat([targets[:n_others], own])
        loss = loss_of(logits, targets, recipe.loss)
        if not torch.isfinite(loss):
            raise TrainingError(self._why_not_finite(pictures, targets, step))
        self.loss_sum += loss.detach()
        return loss

    def _logits(self, pictures: Tensor, n_others: int) -> Tensor:
        if self.recipe.noisy.strategy == "two-heads":
            return logits_by_subset(self.network, pictures, n_others)
        return self.network(pictures)

    def _prepare(self, step: int) -> None:
        """Set rates, what is frozen, and the beginning of everything random to what they are at a step."""
        seed = seed_of_step(self.seed, step, self.trainer.global_rank)
        self.draws.manual_seed(seed)
        torch.manual_seed(seed)  # dropout and stochastic depth draw from torch's own
        place = place_of(self.recipe.fit, step, self.steps_per_epoch)
        set_rates(self.trainer.optimizers[0], place, self.recipe.fit)
        if place.step == 0 or step == self.first_step:
            self._freeze(place.stage.freeze)

    def _freeze(self, freeze: bool) -> None:
        candidates = frozen_parameters(self.network.layer_groups())
        self.frozen = candidates if freeze else []
        if self.trainer.world_size == 1:  # several processes exchange every gradient, wanted or not
            for parameter in candidates:
                parameter.requires_grad_(not freeze)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Keep frozen weights as they are, and gradients as short as the recipe wants."""
        for parameter in self.frozen:
            parameter.grad = None
        if self.recipe.fit.clip_norm:  # the trainer's own clipping refuses optimisers that are one kernel
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.fit.clip_norm)

    def _why_not_finite(self, pictures: Tensor, targets: Tensor, step: int) -> str:
        fit = self.recipe.fit
        rate = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)
        if not torch.isfinite(pictures).all():
            cause = "the pictures of this batch are not finite; look for damaged clips with 'earmark data check'"
        elif not torch.isfinite(targets).all():
            cause = "the targets of this batch are not finite"
        elif not all_finite(self.network.state_dict()):
            cause = f"the weights are not finite any more: the rate, {rate:.2g} here, is too high"
        else:
            cause = f"the network's output overflowed: the rate, {rate:.2g} here, is too high"
        clipping = f"fit.clip_norm below {fit.clip_norm:g}" if fit.clip_norm else "fit.clip_norm=1"
        return (
            f"the loss is not finite at step {step} of {self.n_steps} (epoch {step // self.steps_per_epoch}): {cause}; "
            f"try fit.lr={fit.lr / 3:.2g} or {clipping}"
        )

    def taken_down(self) -> State:
        """The state after the steps that are done."""
        return State(
            self.step,
            self.network.state_dict(),
            self.average.state_dict(),
            self.trainer.optimizers[0].state_dict(),
            self.loss_sum,
        )
