"""A run: a recipe learned on all folds of a collection but one, in turn, and judged on that one."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
from earmark.atomic import remove_leftovers, write_text_atomically
from earmark.audio.picture import PictureSpec, band_statistics
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.data.folds import components
from earmark.errors import RunError
from earmark.locking import remove_abandoned
from earmark.metrics import evaluate
from earmark.predictions import Predictions
from earmark.training.export import average, renormalized, to_onnx
from earmark.training.fit import HERE, Machines, Validation
from earmark.training.kept import load_network as load_network
from earmark.training.kept import save_network
from earmark.training.noisy.lessons import Learning
from earmark.training.noisy.strategies import prepare
from earmark.training.pictures import Pictures, spectrograms_of
from earmark.training.recipe import to_tables
from earmark.training.run import Run, alone, is_first_process
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
    StoreError
        When another command is learning a fold.
    """
    check_fold(run, only_fold)
    wanted = range(run.n_folds) if only_fold is None else [only_fold]
    learn_folds(run, wanted, progress=progress, machines=machines)
    if is_first_process() and all(run.is_done(fold) for fold in range(run.n_folds)):
        with alone(run.folder / "metrics.json", "gathering this run", wait=True):
            _gather(run)


def learn_folds(run: Run, folds: Iterable[int], *, progress: bool = True, machines: Machines = HERE) -> None:
    """Learn and judge those of some folds that are not done yet; the run is not gathered. See `cross_validate`."""
    folds = list(folds)
    missing = [fold for fold in folds if not run.is_done(fold)]
    for fold in set(folds) - set(missing):
        remove_abandoned(run.fold_folder(fold))
    spectrograms = _all_spectrograms(run, progress) if missing else []
    for fold in missing:
        run.fold_folder(fold).mkdir(exist_ok=True)
        with alone(run.fold_folder(fold), "learning this fold"):
            if run.is_done(fold):
                continue
            learned = learn_fold(run, fold, spectrograms, progress=progress, machines=machines)
            if is_first_process():
                _judge(run, fold, learned)


def check_fold(run: Run, fold: int | None) -> None:
    """Raise a `RunError` where a run has no such fold; None stands for all."""
    if fold is not None and not 0 <= fold < run.n_folds:
        raise RunError(f"no fold {fold}: the run has folds 0 to {run.n_folds - 1}")


def refit(run: Run, *, progress: bool = True, machines: Machines = HERE) -> None:
    """Learn one network on all clips, for shipping: `refit/model.onnx`, unless it is there already.

    Its bundle quotes the cross-validated figures where the folds are done; no clip is left to judge it by.
    """
    folder = run.folder / "refit"
    if (folder / "model.onnx").is_file():
        remove_abandoned(folder)
        return
    folder.mkdir(exist_ok=True)
    with alone(folder, "learning this network"):
        _refit(run, folder, progress, machines)


def _refit(run: Run, folder: Path, progress: bool, machines: Machines) -> None:
    seed, bar = run.recipe.fit.seed + run.n_folds, "refit" if progress else None
    nothing = np.zeros(0, dtype=np.int64)
    learning = _learning(run, folder, nothing, _all_spectrograms(run, progress), seed, bar, machines)
    network = learning.learn(*prepare(learning))
    metrics = run.folder / "metrics.json"
    if is_first_process():
        _keep(run, network, learning.picture, json.loads(metrics.read_text()) if metrics.exists() else {}, folder)


def _all_spectrograms(run: Run, progress: bool) -> list[np.ndarray]:
    return spectrograms_of(run.store, np.arange(len(run.store)), run.recipe.picture, progress=progress)


@dataclass(frozen=True)
class Learned:
    """What came of one fold.

    Attributes
    ----------
    network
        On the processor, in evaluation mode.
    picture
        Its front end, with the statistics of its bands where it is normalised by them.
    validation
        The clips that the fold holds out.
    minutes
        That learning took.
    """

    network: nn.Module
    picture: PictureSpec
    validation: Validation
    minutes: float


def learn_fold(
    run: Run, fold: int, spectrograms: Sequence[np.ndarray], *, progress: bool = True, machines: Machines = HERE
) -> Learned:
    """Learn one fold, and judge nothing.

    Parameters
    ----------
    run
        From `open_run`.
    fold
        Which one, 0-based.
    spectrograms
        (n_mels, n_frames) of every clip of the run's store.
    progress
        Whether to show a bar.
    machines
        Where; of several processes, each calls this.

    Raises
    ------
    TrainingError
        When it cannot be learned.
    """
    folder, seed = run.fold_folder(fold), run.recipe.fit.seed + fold
    folder.mkdir(exist_ok=True)
    held_out, bar = np.flatnonzero(run.folds == fold), f"fold {fold}" if progress else None
    learning = _learning(run, folder, held_out, spectrograms, seed, bar, machines)
    targets = torch.from_numpy(learning.targets(held_out))
    validation = Validation(Pictures([spectrograms[int(i)] for i in held_out], learning.picture), targets)
    began = time.monotonic()
    network = learning.learn(*prepare(learning), validation)
    return Learned(network, learning.picture, validation, (time.monotonic() - began) / 60)


def _learning(
    run: Run,
    folder: Path,
    held_out: np.ndarray,
    spectrograms: Sequence[np.ndarray],
    seed: int,
    bar: str | None,
    machines: Machines,
) -> Learning:
    """All clips but those held out, and but noisy ones of the same recordings; normalised as curated ones need it."""
    recordings = components([clip.group for clip in run.store.manifest.clips])
    apart = ~np.isin(recordings, recordings[held_out])
    is_held_out = np.isin(np.arange(len(run.folds)), held_out)
    curated, noisy = np.flatnonzero(~run.noisy & ~is_held_out), np.flatnonzero(run.noisy & apart)
    picture = measured(run.recipe.picture, [spectrograms[int(i)] for i in curated])
    return Learning(run, folder, curated, noisy, spectrograms, picture, seed, bar, machines)


def _judge(run: Run, fold: int, learned: Learned) -> None:
    """Score the clips that a fold holds out, and write its files."""
    folder, manifest = run.fold_folder(fold), run.store.manifest
    names = tuple(manifest.names[i] for i in np.flatnonzero(run.folds == fold))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scores = score_clips(learned.network.to(device), learned.validation.pictures, run.recipe, device)
    learned.network.cpu()
    Predictions(names, manifest.vocabulary, scores).write(folder / "predictions.csv")
    figures = evaluate(learned.validation.targets.numpy(), scores, manifest.vocabulary)
    _keep(run, learned.network, learned.picture, figures, folder)
    _write_json(folder / "metrics.json", {**figures, "minutes": round(learned.minutes, 2), **provenance()})


def _gather(run: Run) -> None:
    """Write what the folds say together: out-of-fold predictions, their metrics, and the bundle that averages them."""
    for name in ("predictions.csv", "metrics.json", "model.onnx", "report.html"):
        remove_leftovers(run.folder / name)
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


def measured(picture: PictureSpec, spectrograms: list[np.ndarray]) -> PictureSpec:
    """Give a front end that is normalised by bands the statistics of some clips, unless its recipe gives its own."""
    if picture.normalization != "band" or isinstance(picture.mean, tuple):
        return picture
    mean, std = band_statistics(spectrograms)
    return msgspec.structs.replace(picture, mean=mean, std=std)


def _keep(run: Run, network: nn.Module, picture: PictureSpec, figures: dict[str, Any], folder: Path) -> None:
    """Write a network twice: as torch's weights, to build on, and as a bundle, to tag with."""
    save_network(network, run.recipe, run.store.manifest.vocabulary.names, folder)
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
        data=f"{_counted(run)} of {manifest.root.name} ({manifest.layout} layout)",
        earmark_version=__version__,
    )


def _counted(run: Run) -> str:
    n_clips, n_noisy = len(run.store), int(run.noisy.sum())
    return f"{n_clips - n_noisy} curated and {n_noisy} noisy clips" if n_noisy else f"{n_clips} clips"


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
