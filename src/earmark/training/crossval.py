"""A run: a recipe learned on all folds of a collection but one, in turn, and judged on that one."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import tomli_w
import torch
from tabulate import tabulate
from torch import nn

from earmark import __version__
from earmark.atomic import atomic_path, write_text_atomically
from earmark.audio.picture import PictureSpec, band_statistics
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.data.folds import assign_folds, read_folds, write_folds
from earmark.data.manifest import NEVER_HELD_OUT, Manifest
from earmark.data.store import Store
from earmark.errors import RunError
from earmark.metrics import evaluate
from earmark.predictions import Predictions
from earmark.training.export import average, renormalized, to_onnx
from earmark.training.fit import Clips, build_network, fit, score_clips
from earmark.training.pictures import Pictures, check_store, spectrograms_of
from earmark.training.recipe import Recipe, load_recipe, to_tables

SUMMARY = ("lwlrap", "map", "accuracy", "minutes")
"""Figures that are printed; accuracy stands only where every clip has one label."""


@dataclass(frozen=True)
class Run:
    """A run's folder and what it is about."""

    folder: Path
    recipe: Recipe
    store: Store
    folds: np.ndarray

    @property
    def n_folds(self) -> int:
        """How many folds there are."""
        return int(self.folds.max()) + 1

    @property
    def judged(self) -> Manifest:
        """The clips that a fold holds out, which are all but those that are only learned from."""
        kept = zip(self.store.manifest.clips, self.folds, strict=True)
        return self.store.manifest.only(clip for clip, fold in kept if fold != NEVER_HELD_OUT)

    def fold_folder(self, fold: int) -> Path:
        """Where one fold's files lie."""
        return self.folder / f"fold-{fold}"

    def is_done(self, fold: int) -> bool:
        """Whether a fold's last file is there."""
        return (self.fold_folder(fold) / "metrics.json").is_file()


def open_run(folder: Path, recipe: Recipe, store: Store, folds: int | Path | None, *, resume: bool) -> Run:
    """Start a run's folder, or take up one that was interrupted.

    Parameters
    ----------
    folder
        Of the run.
    recipe
        What is learned with; a run that is resumed must have the same one.
    store
        What is learned from.
    folds
        How many; or a table `fname,fold` of them, as `earmark data folds` writes it; `None` for the collection's own,
        or five.
    resume
        Whether a folder that is there already may be continued.

    Raises
    ------
    RunError
        When the folder is in use and `resume` is not set, or it belongs to another recipe.
    RecipeError
        When the store does not hold what the recipe's front end takes.
    CollectionError
        When the clips cannot be divided so, or the table is not of these clips or tears a recording apart.
    """
    check_store(store, recipe.picture)
    if (folder / "recipe.toml").exists():
        if not resume:
            raise RunError(f"{folder}: holds a run already; continue it with --resume, or name another folder")
        if load_recipe(folder / "recipe.toml") != recipe:
            raise RunError(f"{folder}: was begun with another recipe (its recipe.toml); name another folder")
        return Run(folder, recipe, store, read_folds(folder / "folds.csv", store.manifest.names))
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder}: is not empty and holds no run; name a new folder")
    assigned = _assigned(store.manifest, folds)
    folder.mkdir(parents=True, exist_ok=True)
    write_folds(folder / "folds.csv", store.manifest.names, assigned)
    write_text_atomically(folder / "recipe.toml", tomli_w.dumps(to_tables(recipe)))
    return Run(folder, recipe, store, assigned)


def _assigned(manifest: Manifest, folds: int | Path | None) -> np.ndarray:
    if not isinstance(folds, Path):
        return assign_folds(manifest, folds)
    numbers = read_folds(folds, manifest.names)
    given = zip(manifest.clips, numbers.tolist(), strict=True)
    return assign_folds(manifest.only(replace(clip, fold=number) for clip, number in given))


def cross_validate(run: Run, *, only_fold: int | None = None, progress: bool = True) -> None:
    """Learn and judge every fold that is not done yet, then gather the run's files.

    Parameters
    ----------
    run
        From `open_run`.
    only_fold
        Do just this one, 0-based; the run is gathered once all folds are there.
    progress
        Whether to show bars.

    Raises
    ------
    RunError
        When there is no such fold.
    """
    if only_fold is not None and not 0 <= only_fold < run.n_folds:
        raise RunError(f"no fold {only_fold}: the run has folds 0 to {run.n_folds - 1}")
    wanted = range(run.n_folds) if only_fold is None else [only_fold]
    missing = [fold for fold in wanted if not run.is_done(fold)]
    spectrograms = _all_spectrograms(run, progress) if missing else []
    for fold in missing:
        _one_fold(run, fold, spectrograms, progress)
    if all(run.is_done(fold) for fold in range(run.n_folds)):
        _gather(run)


def refit(run: Run, *, progress: bool = True) -> None:
    """Learn one network on all clips, for shipping: `refit/model.onnx`, unless it is there already.

    Its bundle quotes the cross-validated figures where the folds are done; no clip is left to judge it by.
    """
    folder = run.folder / "refit"
    if (folder / "model.onnx").is_file():
        return
    folder.mkdir(exist_ok=True)
    spectrograms = _all_spectrograms(run, progress)
    picture = measured(run.recipe.picture, spectrograms)
    everything = _clips(run, np.arange(len(run.store)), spectrograms, picture)
    network = fit(
        run.recipe, everything, None, folder, seed=run.recipe.fit.seed + run.n_folds, bar="refit" if progress else None
    )
    metrics = run.folder / "metrics.json"
    _keep(run, network, picture, json.loads(metrics.read_text()) if metrics.exists() else {}, folder)


def _all_spectrograms(run: Run, progress: bool) -> list[np.ndarray]:
    return spectrograms_of(run.store, np.arange(len(run.store)), run.recipe.picture, progress=progress)


def _one_fold(run: Run, fold: int, spectrograms: list[np.ndarray], progress: bool) -> None:
    folder = run.fold_folder(fold)
    folder.mkdir(exist_ok=True)
    held_out = np.flatnonzero(run.folds == fold)
    learned_from = np.flatnonzero(run.folds != fold)
    picture = measured(run.recipe.picture, [spectrograms[i] for i in learned_from])
    validation = _clips(run, held_out, spectrograms, picture)
    learned = _clips(run, learned_from, spectrograms, picture)
    began = time.monotonic()
    network = fit(
        run.recipe,
        learned,
        validation,
        folder,
        seed=run.recipe.fit.seed + fold,
        bar=f"fold {fold}" if progress else None,
    )
    minutes = (time.monotonic() - began) / 60
    scores = score_clips(network, validation.pictures, run.recipe, torch.device("cpu"))
    manifest = run.store.manifest
    Predictions(tuple(manifest.names[i] for i in held_out), manifest.vocabulary, scores).write(
        folder / "predictions.csv"
    )
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


def _clips(run: Run, indices: np.ndarray, spectrograms: list[np.ndarray], picture: PictureSpec) -> Clips:
    targets = torch.from_numpy(run.store.manifest.targets()[indices])
    return Clips(Pictures([spectrograms[i] for i in indices], picture), targets)


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
    (folder / "last.ckpt").unlink(missing_ok=True)


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
