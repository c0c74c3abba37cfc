"""What a training would come to, said before anything is decoded or written."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from tabulate import tabulate

from earmark.data.manifest import NEVER_HELD_OUT, Manifest
from earmark.data.sizes import in_words
from earmark.training.fit import Machines, precision_of
from earmark.training.models import build_network, initialise
from earmark.training.order import Order
from earmark.training.recipe import Recipe
from earmark.training.run import assigned_folds, is_noisy

BYTES_PER_VALUE = 4


def plan(recipe: Recipe, manifest: Manifest, folds: int | Path | None, machines: Machines) -> str:
    """Say what training a recipe on some clips would come to.

    Parameters
    ----------
    recipe
        What would be learned with.
    manifest
        What would be learned from.
    folds
        As `earmark.training.run.open_run` takes them.
    machines
        Where.

    Returns
    -------
    str
        A table, two columns: what, and how much of it.

    Raises
    ------
    CollectionError
        When the clips cannot be divided so.
    RecipeError, BundleError
        When `model.init` does not fit the network, or cannot be read.
    """
    numbers = assigned_folds(manifest, folds)
    n_folds = int(numbers.max()) + 1
    labels = manifest.vocabulary.names
    network = build_network(recipe.model, len(labels))
    taken_over = initialise(network, recipe.model, labels)
    n_weights = sum(parameter.numel() for parameter in network.parameters())
    sizes = [int((numbers == fold).sum()) for fold in range(n_folds)]
    n_noisy = int(is_noisy(manifest).sum())
    learned = [len(manifest) - n_noisy - size for size in sizes]
    n_kept = int((numbers == NEVER_HELD_OUT).sum()) - n_noisy
    mixed = 0 if recipe.noisy.strategy == "pretrain" else n_noisy
    orders = [
        Order(n, recipe.fit.batch_size, recipe.fit.epochs, recipe.fit.seed, n_noisy=mixed, rate=recipe.noisy.rate)
        for n in learned
    ]
    picture = (recipe.picture.n_channels, recipe.picture.height, recipe.window_frames)
    rows = [
        ["recipe", f"{recipe.name}: {recipe.description}"],
        ["network", f"{recipe.model.name}, {n_weights:,} weights, on pictures of {' x '.join(map(str, picture))}"],
        ["begins with", taken_over or "random weights"],
        ["clips", f"{len(manifest) - n_noisy:,} of {len(labels)} labels, {n_kept:,} never held out"],
        *([["noisy", _noisy(recipe, n_noisy)]] if n_noisy else []),
        ["folds", f"{n_folds}, of {_span(sizes)} clips; each learns from {_span(learned)}"],
        *_steps(recipe, orders, machines),
        ["precision", f"{precision_of(recipe)} on {_device()}"],
        ["reads", _reading(recipe, manifest)],
    ]
    return tabulate(rows, tablefmt="plain")


def _steps(recipe: Recipe, orders: list[Order], machines: Machines) -> list[list[str]]:
    """What is done in a fold."""
    solved = "the last layer solved" if recipe.fit.head == "solved" else ""
    if not recipe.fit.epochs:
        return [["a fold", f"{solved}, and nothing else"]]
    fold = f"{recipe.fit.epochs} epochs, {_span([len(order) for order in orders])} steps"
    step = f"{_span([order.batch_size for order in orders])} clips, over {_processes(machines)}"
    return [["a fold", f"{solved}, then {fold}" if solved else fold], ["a step", step]]


def _noisy(recipe: Recipe, n_noisy: int) -> str:
    noisy = recipe.noisy
    before = {"hard-classes": noisy.inner_folds, "pretrain": 1}
    before |= dict.fromkeys(("agree", "relabel"), 1 + 2 * noisy.rounds)
    n_before = before.get(noisy.strategy, 0)
    beforehand = f"; a fold learns {n_before} other networks before its own" if n_before else ""
    return f"{n_noisy:,} clips, never held out, by the strategy '{noisy.strategy}'{beforehand}"


def _span(numbers: list[int]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _processes(machines: Machines) -> str:
    n = machines.devices * machines.nodes
    return "one process" if n == 1 else f"{n} processes"


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores"


def _reading(recipe: Recipe, manifest: Manifest) -> str:
    if recipe.augment.changes_waveform:
        return "waveforms, changed and made into log-mels by the batch"
    durations_s = [clip.duration_s for clip in manifest.clips if clip.duration_s is not None]
    if len(durations_s) < len(manifest):
        return "log-mels, made once and held in memory"
    log_mel = recipe.picture.log_mel
    n_bytes = round(sum(durations_s) * log_mel.frame_rate * log_mel.n_mels * BYTES_PER_VALUE)
    return f"log-mels, made once and held in memory: about {in_words(n_bytes)}"
