"""A run: a recipe learned on all folds of a collection but one, in turn, and judged on that one."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from tabulate import tabulate
from torch import nn

from earmark import __version__
from earmark.atomic import atomic_path, write_text_atomically
from earmark.audio.picture import PictureSpec, band_statistics
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.errors import RunError
from earmark.metrics import evaluate
from earmark.predictions import Predictions
from earmark.training.distillation import targets_of
from earmark.training.export import average, renormalized, to_onnx
from earmark.training.feed import feed_of
from earmark.training.fit import HERE, Machines, Validation, fit
from earmark.training.models import TaggingNetwork, build_network, initialise
from earmark.training.pictures import Pictures, spectrograms_of
from earmark.training.recipe import Recipe, to_tables
from earmark.training.run import Run, is_first_process
from earmark.training.scoring import score_clips
from earmark.training.state import FILE_NAME as STATE

SUMMARY = ("lwlrap", "map", "accuracy", "minutes")
"""Figures that are printed; accuracy stands only where every clip has one label."""


def cross_validate(run: Run, *, only_fold: int | None = None, progress: bool = True, machines: Machines = HERE) -> None:
    """Learn and judge every fold that is not done yet, then gather the run's files.

    Parameters
    ----------
    run
        From `open_run`.
    only_fold
        Do just this one, 0-based; the run is gathered once all folds are there.
    progress
        Whether to show bars.
    machines
        Where; of several processes, each calls this.

    Raises
    ------
    RunError
        When there is no such fold.
    TrainingError
        When a fold cannot be learned.
    """
    if only_fold is not None and not 0 <= only_fold < run.n_folds:
        raise RunError(f"no fold {only_fold}: the run has folds 0 to {run.n_folds - 1}")
    wanted = range(run.n_folds) if only_fold is None else [only_fold]
    missing = [fold for fold in wanted if not run.is_done(fold)]
    spectrograms = _all_spectrograms(run, progress) if missing else []
    for fold in missing:
        _one_fold(run, fold, spectrograms, progress, machines)
    if is_first_process() and all(run.is_done(fold) for fold in range(run.n_folds)):
        _gather(run)


def refit(run: Run, *, progress: bool = True, machines: Machines = HERE) -> None:
    """Learn one network on all clips, for shipping: `refit/model.onnx`, unless it is there already.

    Its bundle quotes the cross-validated figures where the folds are done; no clip is left to judge it by.
    """
    folder = run.folder / "refit"
    if (folder / "model.onnx").is_file():
        return
    folder.mkdir(exist_ok=True)
    spectrograms = _all_spectrograms(run, progress)
    picture = measured(run.recipe.picture, spectrograms)
    seed = run.recipe.fit.seed + run.n_folds
    indices = np.arange(len(run.store))
    targets = targets_of(folder, run.store.manifest, indices)
    everything = feed_of(run.recipe, run.store, indices, picture, spectrograms, targets=targets, progress=progress)
    network, bar = _network(run, seed, progress), "refit" if progress else None
    network = fit(run.recipe, network, everything, None, folder, seed=seed, bar=bar, machines=machines)
    metrics = run.folder / "metrics.json"
    if is_first_process():
        _keep(run, network, picture, json.loads(metrics.read_text()) if metrics.exists() else {}, folder)


def _all_spectrograms(run: Run, progress: bool) -> list[np.ndarray]:
    return spectrograms_of(run.store, np.arange(len(run.store)), run.recipe.picture, progress=progress)


def _one_fold(run: Run, fold: int, spectrograms: list[np.ndarray], progress: bool, machines: Machines) -> None:
    folder, seed = run.fold_folder(fold), run.recipe.fit.seed + fold
    folder.mkdir(exist_ok=True)
    held_out = np.flatnonzero(run.folds == fold)
    learned_from = np.flatnonzero(run.folds != fold)
    picture = measured(run.recipe.picture, [spectrograms[i] for i in learned_from])
    learned = feed_of(
        run.recipe,
        run.store,
        learned_from,
        picture,
        [spectrograms[i] for i in learned_from],
        targets=targets_of(folder, run.store.manifest, learned_from),
        progress=progress,
    )
    targets = torch.from_numpy(run.store.manifest.targets()[held_out])
    validation = Validation(Pictures([spectrograms[i] for i in held_out], picture), targets)
    network, bar = _network(run, seed, progress), f"fold {fold}" if progress else None
    began = time.monotonic()
    network = fit(run.recipe, network, learned, validation, folder, seed=seed, bar=bar, machines=machines)
    if is_first_process():
        _judge(run, fold, network, validation, picture, minutes=(time.monotonic() - began) / 60)


def _judge(
    run: Run, fold: int, network: nn.Module, validation: Validation, picture: PictureSpec, minutes: float
) -> None:
    """Score the clips that a fold holds out, and write its files."""
    folder, manifest = run.fold_folder(fold), run.store.manifest
    names = tuple(manifest.names[i] for i in np.flatnonzero(run.folds == fold))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scores = score_clips(network.to(device), validation.pictures, run.recipe, device)
    network.cpu()
    Predictions(names, manifest.vocabulary, scores).write(folder / "predictions.csv")
    figures = evaluate(validation.targets.numpy(), scores, manifest.vocabulary)
    _keep(run, network, picture, figures, folder)
    _write_json(folder / "metrics.json", {**figures, "minutes": round(minutes, 2), **provenance()})


def _gather(run: Run) -> None:
    """Write what the folds say together: out-of-fold predictions, their metrics, and the bundle that averages them."""
    manifest = run.judged
    parts = [Predictions.read(run.fold_folder(fold) / "predictions.csv") for fold in range(run.n_folds)]
    names = tuple(name for part in parts for name in part.fnames)
    joined = Predictions(names, manifest.vocabulary, np.concatenate([part.scores for part in parts]))
    joined = joined.align(manifest.names, manifest.vocabulary)
    joined.write(run.folder / "predictions.csv")
    figures = evaluate(manifest.targets(), joined.scores, manifest.vocabulary)
    of_folds = [json.loads((run.fold_folder(fold) / "metrics.json").read_text()) for fold in range(run.n_folds)]
    named = [name for name in SUMMARY if name in of_folds[0]]
    by_fold = {name: [fold[name] for fold in of_folds] for name in named}
    _write_json(run.folder / "metrics.json", {**figures, "folds": by_fold, **provenance()})
    folders = [run.fold_folder(fold) for fold in range(run.n_folds)]
    own = [msgspec.convert(Bundle(folder / "model.onnx").spec.front_end, PictureSpec) for folder in folders]
    members = [
        renormalized(onnx.load(folder / "model.onnx"), own[0], picture)
        for folder, picture in zip(folders, own, strict=True)
    ]
    write_bundle(average(members), bundle_spec(run, own[0], figures), run.folder / "model.onnx")


def summary(run: Run) -> str:
    """What a run came to, as text: a row a finished fold, and the whole run's figures when all are there."""
    rows = []
    for fold in filter(run.is_done, range(run.n_folds)):
        figures = json.loads((run.fold_folder(fold) / "metrics.json").read_text())
        rows.append([f"fold {fold}", *(figures.get(name) for name in SUMMARY)])
    if len(rows) == run.n_folds:
        figures = json.loads((run.folder / "metrics.json").read_text())
        rows.append(["out of fold", *(figures.get(name) for name in SUMMARY[:-1]), sum(row[-1] for row in rows)])
    return tabulate(rows, ["", *SUMMARY], floatfmt=".4f")


def load_network(folder: Path) -> nn.Module:
    """Read the network that a fold's or refit's folder holds, on the processor and in evaluation mode."""
    saved = torch.load(folder / "network.pt", weights_only=True, map_location="cpu")
    recipe = msgspec.json.decode(saved["recipe"], type=Recipe)
    network = build_network(recipe.model, len(saved["labels"]))
    network.load_state_dict(saved["network"])
    return network.eval()


def measured(picture: PictureSpec, spectrograms: list[np.ndarray]) -> PictureSpec:
    """Give a front end that is normalised by bands the statistics of some clips, unless its recipe gives its own."""
    if picture.normalization != "band" or isinstance(picture.mean, tuple):
        return picture
    mean, std = band_statistics(spectrograms)
    return msgspec.structs.replace(picture, mean=mean, std=std)


def _network(run: Run, seed: int, progress: bool) -> TaggingNetwork:
    """The network that a fold begins with; says on standard error which weights it took over."""
    labels = run.store.manifest.vocabulary.names
    torch.manual_seed(seed)
    network = build_network(run.recipe.model, len(labels))
    said = initialise(network, run.recipe.model, labels)
    if said and progress:
        print(f"earmark: {said}", file=sys.stderr)
    return network


def _keep(run: Run, network: nn.Module, picture: PictureSpec, figures: dict[str, Any], folder: Path) -> None:
    """Write a network twice: as torch's weights, to build on, and as a bundle, to tag with."""
    manifest = run.store.manifest
    saved = {
        "network": network.state_dict(),
        "recipe": msgspec.json.encode(run.recipe).decode(),
        "labels": list(manifest.vocabulary),
    }
    with atomic_path(folder / "network.pt") as temporary:
        torch.save(saved, temporary)
    model = to_onnx(network, picture, run.recipe.window_frames)
    write_bundle(model, bundle_spec(run, picture, figures), folder / "model.onnx")
    (folder / STATE).unlink(missing_ok=True)


def bundle_spec(run: Run, picture: PictureSpec, figures: dict[str, Any]) -> BundleSpec:
    """What a bundle of this run says of itself; `figures` are the metrics that it quotes."""
    manifest = run.store.manifest
    return BundleSpec(
        labels=manifest.vocabulary.names,
        front_end=msgspec.to_builtins(picture),
        window_frames=run.recipe.window_frames,
        hop_frames=run.recipe.hop_frames,
        windows_weight=run.recipe.windows_weight,
        metrics={name: value for name, value in figures.items() if isinstance(value, float)},
        recipe=to_tables(run.recipe),
        data=f"{len(manifest)} clips of {manifest.root.name} ({manifest.layout} layout)",
        earmark_version=__version__,
    )


def provenance() -> dict[str, str | int]:
    """When, where and with what a figure was made."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores",
        "python": platform.python_version(),
        "earmark": __version__,
        "torch": torch.__version__,
        "lightning": version("pytorch-lightning"),
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text_atomically(path, json.dumps(content, indent=1) + "\n")
