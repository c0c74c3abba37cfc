"""One fold: a network learned from some clips by Lightning's loop."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from tqdm import tqdm

from earmark.errors import TrainingError
from earmark.metrics import lwlrap
from earmark.training.feed import Feed
from earmark.training.head import solve_head
from earmark.training.learner import Learner
from earmark.training.models import TaggingNetwork
from earmark.training.noisy.heads import curated_weights, split_heads, with_curated_head
from earmark.training.pictures import Pictures
from earmark.training.progress import Curve, clip_bar
from earmark.training.recipe import FitRecipe, Recipe
from earmark.training.scoring import score_clips
from earmark.training.state import LAST_GOOD, all_finite, load_state, save_state, save_tensors

N_VALIDATIONS = 8
"""How many times the curve on the held-out fold is looked at; nothing is chosen by it."""

SAVE_EVERY_S = 60.0
"""How much time a killed training loses at the most."""


@dataclass(frozen=True)
class Machines:
    """Where a training runs: devices (GPUs, or processes without any) on each of so many machines."""

    devices: int = 1
    nodes: int = 1

    @property
    def several(self) -> bool:
        """Whether there is more than one process."""
        return self.devices * self.nodes > 1


HERE = Machines()
"""One process, on the first device."""


@dataclass
class Validation:
    """Clips that a curve is drawn on: their pictures, and (n_clips, n_labels) float32 targets."""

    pictures: Pictures
    targets: Tensor


class Course(Callback):
    """What happens after each step: averaging, the curve, the bar, saving."""

    def __init__(
        self, folder: Path, validation: Validation | None, curve: Curve | None, bar: tqdm, save_every_s: float
    ) -> None:
        self.folder = folder
        self.validation = validation
        self.curve = curve
        self.bar = bar
        self.save_every_s = save_every_s

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clocks."""
        self.epoch_began = self.saved = time.monotonic()
        self.n_steps_here = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the step's weights into the average; end the epoch, or save, when it is time."""
        learner: Learner = pl_module
        learner.average.update(learner.step - 1)
        self.n_steps_here += 1
        self.bar.update(learner.batch_size)
        if learner.step % learner.steps_per_epoch == 0:
            self._end_epoch(trainer, learner)
        done = learner.step == learner.n_steps
        if trainer.is_global_zero and (done or time.monotonic() - self.saved >= self.save_every_s):
            self._save(learner)

    def _end_epoch(self, trainer: lightning.Trainer, learner: Learner) -> None:
        epoch, fit = learner.step // learner.steps_per_epoch, learner.recipe.fit
        seconds = time.monotonic() - self.epoch_began
        figures: dict[str, float] = {
            "epoch": epoch - 1,
            "step": learner.step,
            "train_loss": float(learner.loss_sum) / learner.steps_per_epoch,
            "lr": max(group["lr"] for group in trainer.optimizers[0].param_groups),
            "clips_per_s": self.n_steps_here * learner.batch_size / seconds,
        }
        if self.curve and self.validation and (epoch % max(1, fit.epochs // N_VALIDATIONS) == 0 or epoch == fit.epochs):
            scores = score_clips(learner.average.network, self.validation.pictures, learner.recipe, learner.device)
            figures["validation_lwlrap"] = lwlrap(self.validation.targets.numpy(), scores)
        if self.curve:
            self.curve.add(**figures)
        shown = {name: f"{figures[name]:.3f}" for name in ("train_loss", "validation_lwlrap") if name in figures}
        self.bar.set_postfix(epoch=f"{epoch}/{fit.epochs}", refresh=False, **shown)
        learner.loss_sum.zero_()
        self.epoch_began, self.n_steps_here = time.monotonic(), 0

    def _save(self, learner: Learner) -> None:
        state = learner.taken_down()
        if all_finite(state.network):  # else the next step says what went wrong
            save_state(state, self.folder)
        self.saved = time.monotonic()


def fit(
    recipe: Recipe,
    network: TaggingNetwork,
    feed: Feed,
    validation: Validation | None,
    folder: Path,
    *,
    seed: int,
    bar: str | None = None,
    machines: Machines = HERE,
    save_every_s: float | None = None,
) -> TaggingNetwork:
    """Learn a network; the averaged weights of the last step are kept, whatever the validation curve did.

    Parameters
    ----------
    recipe
        What to do.
    network
        What learns, with the weights that it begins with; a saved state has its own.
    feed
        Clips to learn from.
    validation
        Clips to draw a curve on; no choice is made by them. `None` for no curve on held-out clips.
    folder
        For the state and the curve; a state there is gone on from, to the same weights as if nothing had happened.
    seed
        Of the order of the clips and every draw.
    bar
        What the bar is called; `None` for no bar.
    machines
        Where; every process of several must call this, and all get the same network.
    save_every_s
        Seconds from one saved state to the next; 0 saves after every step, `None` stands for `SAVE_EVERY_S`.

    Returns
    -------
    TaggingNetwork
        On the processor, in evaluation mode.

    Raises
    ------
    TrainingError
        When the loss is not finite, or the memory does not suffice.
    """
    if recipe.noisy.strategy == "two-heads":
        split_heads(network)
    state = load_state(folder)
    if recipe.fit.head == "solved" and state is None:
        solve_head(network, feed, recipe, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        network.cpu()
    learner = Learner(recipe, network, feed, seed, state)
    if learner.first_step == learner.n_steps:
        learner.restore()
    else:
        _run(learner, validation, folder, bar, machines, SAVE_EVERY_S if save_every_s is None else save_every_s)
    kept = learner.average.network.cpu().eval()
    assert isinstance(kept, TaggingNetwork)  # an average is a copy of what it averages
    kept._compiled_call_impl = None  # what is exported is the network as it is written
    return with_curated_head(kept)


def _run(
    learner: Learner,
    validation: Validation | None,
    folder: Path,
    bar: str | None,
    machines: Machines,
    save_every_s: float,
) -> None:
    recipe = learner.recipe
    freezes = any(stage.freeze for stage in recipe.fit.all_stages)
    with _quiet():
        if _compiles(recipe.fit):
            learner.network.compile()
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="auto",
            devices=machines.devices,
            num_nodes=machines.nodes,
            strategy=DDPStrategy(find_unused_parameters=freezes) if machines.several else "auto",
            sync_batchnorm=machines.several and torch.cuda.is_available(),
            precision=precision_of(recipe),
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        first, batch_size = trainer.is_global_zero, learner.batch_size
        curve = Curve(folder, learner.first_step) if first else None
        shown = clip_bar(bar if first else None, learner.n_steps * batch_size, n_done=learner.first_step * batch_size)
        try:
            with shown:
                trainer.callbacks.append(Course(folder, validation, curve, shown, save_every_s))  # type: ignore[attr-defined]
                trainer.fit(learner)
        except TrainingError as error:
            raise TrainingError(f"{error}{_kept_last_good(learner, folder)}") from None
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            raise TrainingError(_knobs(recipe, error)) from error
        finally:
            if curve:
                curve.close()


def _kept_last_good(learner: Learner, folder: Path) -> str:
    """Write the last weights that are finite into a fold's folder; gives what to say of it."""
    saved = load_state(folder)
    candidates = [learner.average.network.state_dict(), *([saved.network] if saved else [])]
    for weights in candidates:
        if all_finite(weights):
            save_tensors(curated_weights(weights), folder / LAST_GOOD)
            return f"; the last good weights are in {folder / LAST_GOOD}: a new run may begin with them (model.init)"
    return "; no good weights were there to be kept"


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sign in str(error) for sign in ("can't allocate memory", "not enough memory", "out of memory"))


def _knobs(recipe: Recipe, error: Exception) -> str:
    fit = recipe.fit
    knobs = [f"fit.batch_size (now {fit.batch_size})", f"window_s (now {recipe.window_s:g})"]
    if precision_of(recipe) == "32-true":
        knobs.insert(1, "fit.precision=bf16-mixed")
    knobs.append(f"model.width (now {recipe.model.width:g})")
    return (
        f"the memory does not suffice ({str(error).splitlines()[0]}); lower one of these with --set, the first one "
        f"first: {', '.join(knobs)}"
    )


def _compiles(fit: FitRecipe) -> bool:
    return fit.compile == "on" or (fit.compile == "auto" and torch.cuda.is_available())


def precision_of(recipe: Recipe) -> Literal["32-true", "bf16-mixed"]:
    """Lightning's name of the precision to train in: the recipe's, or what the device computes fastest.

    A processor with instructions for bf16 is faster with them in a residual network, and slower in a MobileNet, most of
    whose convolutions see one channel each.
    """
    if recipe.fit.precision != "auto":
        return recipe.fit.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    pays = torch.cpu._is_avx512_bf16_supported() and not recipe.model.name.startswith("mobile")
    return "bf16-mixed" if pays else "32-true"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and hints for other set-ups off the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*torch.jit.script_method. is deprecated.*")
        warnings.filterwarnings("ignore", message=".*you defined a `validation_step` but have no.*")
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
