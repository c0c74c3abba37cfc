"""Runs distilled into one small network, whose teachers never saw what it is judged by.

The student's fold k is judged by the clips of fold k. Its teacher is the mean, in equal parts, of what the runs' own
networks of fold k say of the other clips: those networks held fold k out too. Networks of other folds learned from fold
k, and so did weights chosen on their out-of-fold scores; neither takes part. The price is that a teacher scores clips
that it learned from itself; `earmark.training.distillation` softens what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from earmark.bundle import Bundle, write_bundle
from earmark.cli.collection import CollectionOptions
from earmark.data.cache import training_store
from earmark.data.store import Store, is_store
from earmark.errors import EarmarkError, MissingExtraError, RecipeError, RunError
from earmark.evaluation.library import read_library
from earmark.predictions import mean
from earmark.tagging.stored import score_stored
from earmark.tagging.tagger import Tagger

if TYPE_CHECKING:
    from earmark.training.run import Run

StoreAt = Callable[[int], Store]
"""Of a rate in Hz: the collection, packed at it."""


def distilled(
    runs: Sequence[Path],
    output: Path,
    recipe: str,
    settings: Sequence[str],
    data: Path,
    how: CollectionOptions,
    *,
    resume: bool,
) -> str:
    """Learn a student of runs, cross-validated and then on all clips, and write the latter as a bundle.

    Parameters
    ----------
    runs
        Folders of the teachers' runs.
    output
        The bundle to write; the student's run is ``NAME-run`` beside it.
    recipe, settings
        Of the student, as `earmark.training.recipe.load_recipe` takes them.
    data, how
        What the runs were trained on, and how it is read.
    resume
        Whether a student's run that is there is gone on with.

    Returns
    -------
    str
        What the student's run came to.
    """
    try:
        import onnx

        from earmark.evaluation.assembling import run_beside
        from earmark.training.crossval import cross_validate, refit, summary
        from earmark.training.recipe import load_recipe
        from earmark.training.run import open_run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"distilling ({error.name})", "train") from error

    chosen = load_recipe(recipe, list(settings))
    if chosen.noisy.strategy != "ignore":
        raise RecipeError(
            f"{recipe}: noisy.strategy is '{chosen.noisy.strategy}', but a student learns from curated clips and their "
            "teachers alone; set noisy.strategy=ignore"
        )
    if is_store(data):
        how.refuse_reading(data)
    judged, _ = read_library(runs)
    _check_networks(runs, judged.n_folds)
    if not output.parent.is_dir():
        raise EarmarkError(f"{output}: cannot be written, there is no folder {output.parent}; make it first")

    def store_at(sample_rate: int) -> Store:
        return training_store(data, sample_rate, noisy=False, read=how.read, select=how.select)

    folder = run_beside(output)
    run = open_run(folder, chosen, store_at(chosen.picture.log_mel.sample_rate), runs[0] / "folds.csv", resume=resume)
    write_teachers(run, runs, store_at, progress=True)
    cross_validate(run)
    refit(run)
    spec = Bundle(folder / "refit" / "model.onnx").spec
    said = {**spec.recipe, "distilled_from": [path.resolve().name for path in runs]}
    write_bundle(onnx.load(folder / "refit" / "model.onnx"), msgspec.structs.replace(spec, recipe=said), output)
    return summary(run)


def _check_networks(runs: Sequence[Path], n_folds: int) -> None:
    needed = [f"fold-{fold}/model.onnx" for fold in range(n_folds)] + ["model.onnx"]
    for run in runs:
        missing = [name for name in needed if not (run / name).is_file()]
        if missing:
            raise RunError(
                f"{run}: holds no {missing[0]}, which a student learns from; finish the run with "
                "'earmark train … --resume'"
            )


def write_teachers(run: Run, runs: Sequence[Path], store_at: StoreAt, *, progress: bool) -> None:
    """Write what the teachers say beside each of the student's folds, and beside the network of all clips.

    Parameters
    ----------
    run
        The student's.
    runs
        Folders of the teachers' runs, with the same folds.
    store_at
        The student's collection at any rate.
    progress
        Whether to show bars.
    """
    from earmark.training.distillation import TEACHER

    for fold in range(run.n_folds):
        learned_from = np.flatnonzero(run.folds != fold)
        networks = [path / f"fold-{fold}" / "model.onnx" for path in runs]
        _write_teacher(networks, run.fold_folder(fold) / TEACHER, store_at, learned_from, progress)
    everything = np.arange(len(run.store))
    _write_teacher(
        [path / "model.onnx" for path in runs], run.folder / "refit" / TEACHER, store_at, everything, progress
    )


def _write_teacher(
    networks: Sequence[Path], target: Path, store_at: StoreAt, indices: np.ndarray, progress: bool
) -> None:
    if target.is_file():
        return
    target.parent.mkdir(exist_ok=True)
    tables = []
    for path in networks:
        tagger = Tagger(Bundle(path, n_threads=1))
        bar = f"teacher {path.parent.parent.name}/{path.parent.name}" if progress else None
        tables.append(score_stored(tagger, store_at(tagger.sample_rate), indices.tolist(), bar=bar))
    mean(tables).write(target)
