"""What `earmark train` does with its recipes: a run each, learned here or on a cluster, gathered and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from earmark.audio.views import TtaSpec
from earmark.cli.collection import CollectionOptions
from earmark.cli.reporting import write_page
from earmark.cli.terminal import say
from earmark.cluster import cluster
from earmark.data.cache import training_manifest, training_store
from earmark.data.store import Store
from earmark.errors import RecipeError
from earmark.training.crossval import check_fold, cross_validate, summary
from earmark.training.crossval import refit as refit_all
from earmark.training.fit import Machines as Machines
from earmark.training.plan import plan
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.run import Run, is_first_process, open_run
from earmark.training.spread import FoldTask, learn_on, share_of


@dataclass(frozen=True)
class Wanted:
    """Which networks of a run are to be learned.

    Attributes
    ----------
    only_fold
        This fold alone; None for all.
    folds
        Whether folds are.
    refit
        Whether one on all clips is.
    """

    only_fold: int | None
    folds: bool
    refit: bool


def read_recipes(names: Sequence[str], settings: Sequence[str], folder: Path) -> dict[Path, Recipe]:
    """Read recipes, by the folder of each one's run: that which is named, or of several one below it, by their names.

    Raises
    ------
    RecipeError
        When a recipe cannot be read, or two have one name.
    """
    if len(names) == 1:
        return {folder: load_recipe(names[0], list(settings))}
    stems = [Path(name).stem for name in names]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise RecipeError(f"recipe '{twice}' is named twice, and each run's folder has its recipe's name; rename one")
    return {folder / stem: load_recipe(name, list(settings)) for stem, name in zip(stems, names, strict=True)}


def show_plans(
    recipes: Mapping[Path, Recipe], data: Path, folds: int | Path | None, machines: Machines, how: CollectionOptions
) -> None:
    """Print what each run would come to."""
    for folder, recipe in recipes.items():
        manifest = training_manifest(data, noisy=_noisy(recipe), read=how.read, select=how.select)
        _title(folder, recipes)
        click.echo(plan(recipe, manifest, folds, machines))


def open_runs(
    recipes: Mapping[Path, Recipe], data: Path, folds: int | Path | None, how: CollectionOptions, *, resume: bool
) -> list[Run]:
    """Begin a run for each recipe, or with `resume` take up those that are there."""
    runs = []
    for folder, recipe in recipes.items():
        rate = recipe.picture.log_mel.sample_rate
        store = training_store(data, rate, noisy=_noisy(recipe), read=how.read, select=how.select)
        runs.append(open_run(folder, recipe, store, folds, resume=resume))
    return runs


def learn_here(runs: Sequence[Run], wanted: Wanted, machines: Machines) -> None:
    """Learn runs in this process, one after the other."""
    first = is_first_process()
    for run in runs:
        if wanted.folds:
            cross_validate(run, only_fold=wanted.only_fold, progress=first, machines=machines)
            if first:
                _show(run, runs)
        if wanted.refit:
            refit_all(run, progress=first, machines=machines)


def learn_there(runs: Sequence[Run], wanted: Wanted, place: str, cores: float | None, gpus: float | None) -> None:
    """Learn all folds of all runs side by side on a cluster, then what is refitted; show each run when all are done."""
    for run in runs:
        check_fold(run, wanted.only_fold)
    with cluster(place) as ray:
        share = share_of(ray, cores, gpus)
        if wanted.folds:
            folds = [[wanted.only_fold] if wanted.only_fold is not None else range(run.n_folds) for run in runs]
            tasks = [FoldTask.of(run, fold) for run, own in zip(runs, folds, strict=True) for fold in own]
            learn_on(ray, [task for task in tasks if not task.is_done], share, say)
            for run in runs:
                cross_validate(run, only_fold=wanted.only_fold)  # no fold is left: this gathers what they say together
                _show(run, runs)
        if wanted.refit:
            learn_on(ray, [task for run in runs if not (task := FoldTask.of(run, None)).is_done], share, say)


def _noisy(recipe: Recipe) -> bool:
    return recipe.noisy.strategy != "ignore"


def _title(folder: Path, among: Sequence[object] | Mapping[Path, Recipe]) -> None:
    if len(among) > 1:
        click.echo(f"{folder}:")


def _show(run: Run, among: Sequence[Run]) -> None:
    """Print what a run came to, and make its page and what else follows from all folds."""
    _title(run.folder, among)
    click.echo(summary(run))
    if not all(run.is_done(fold) for fold in range(run.n_folds)):
        return
    if run.recipe.tta.n:
        _predict_with_tta(run.folder, run.store, run.recipe.tta)
    write_page(run.folder, run.folder / "report.html", store=run.store)


def _predict_with_tta(run: Path, store: Store, tta: TtaSpec) -> None:
    try:
        from earmark.evaluation.candidates import TTA_PREDICTIONS
        from earmark.tagging.folds import keep_with_tta, predict_out_of_fold
    except ModuleNotFoundError as error:  # a machine that only trains needs no decoder, and tagging does
        click.echo(
            f"earmark: no predictions with test-time augmentation, {error.name} is not installed; make them elsewhere "
            "with 'earmark predict RUN DATA --out-of-fold'",
            err=True,
        )
        return
    if not (run / TTA_PREDICTIONS).is_file():
        keep_with_tta(run, predict_out_of_fold(run, store.manifest, store, tta), tta)
