"""`earmark train`."""

from __future__ import annotations

from pathlib import Path

import click

from earmark.cli.collection import CollectionOptions, collection_options
from earmark.cli.place import on_option
from earmark.data.store import is_store
from earmark.errors import MissingExtraError


def _folds(context: click.Context, parameter: click.Parameter, text: str | None) -> int | Path | None:
    if text is None or not text.lstrip("+-").isdecimal():
        return None if text is None else Path(text)
    if int(text) < 2:
        raise click.BadParameter(
            f"{text} leaves nothing to hold out; expected 2 or more, or a table", context, parameter
        )
    return int(text)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--output", "-o", "run_folder", required=True, type=click.Path(path_type=Path), help="The run's folder.")
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    default=("fast",),
    help="A built-in recipe's name, or a TOML file; of several, RUN holds a run each.  [default: fast]",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace a value of the recipe.")
@click.option(
    "--folds",
    metavar="K|FILE",
    callback=_folds,
    help="How many; or a table of them, as 'earmark data folds' writes it.  [default: the collection's own, or 5]",
)
@click.option("--fold", "only_fold", type=click.IntRange(0), help="Do this one alone, counted from 0.")
@click.option("--refit", is_flag=True, help="Also learn one network on all clips, for shipping: refit/model.onnx.")
@click.option("--refit-only", is_flag=True, help="Learn that one alone, and no folds.")
@click.option("--resume", is_flag=True, help="Continue a run that was interrupted, at the batch where it was.")
@click.option("--dry-run", is_flag=True, help="Say what it would come to, and do nothing.")
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="GPUs of a machine, or processes where there is none, that share each batch.",
)
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, help="Machines that share each batch.")
@on_option
@click.option("--cores", type=click.FloatRange(0, min_open=True), help="With --on: of each fold.  [default: 1]")
@click.option(
    "--gpus",
    type=click.FloatRange(0),
    help="With --on: of each fold, 0.5 for two on one.  [default: 1, if there are any]",
)
@collection_options
def train(
    data: Path,
    run_folder: Path,
    recipes: tuple[str, ...],
    settings: tuple[str, ...],
    folds: int | Path | None,
    only_fold: int | None,
    refit: bool,
    refit_only: bool,
    resume: bool,
    dry_run: bool,
    devices: int,
    nodes: int,
    place: str | None,
    cores: float | None,
    gpus: float | None,
    how: CollectionOptions,
) -> None:
    """Learn a tagger from the curated clips of DATA, cross-validated.

    DATA is a collection in a layout that earmark knows, or a packed store ('earmark data pack'), from which a machine
    without decoders trains too. Noisy clips are learned from where the recipe has a strategy for them. The run's folder
    then holds the recipe, the folds, out-of-fold predictions, metrics, bundles of the folds, model.onnx, which averages
    them, and report.html, to look at; with 'tta.n' in the recipe, also out-of-fold predictions with test-time
    augmentation.

    \b
    Examples:
      earmark train ESC-50/ -o run
      earmark train FSDKaggle2019/ --recipe seed-resnet34-colour-224 -o run
      earmark train FSDKaggle2019/ --recipe fast --set fit.epochs=20 --set augment.noise.probability=0.3 -o run
      earmark train FSDKaggle2019/ --set tta.n=8 -o run
      earmark train store/ --corrections corrections.csv -o run
      earmark train FSDKaggle2019/ --set noisy.strategy=relabel -o run
      earmark train store/ --recipe small-grey --recipe small-colour --on ray --cores 2 -o runs
    """
    if place is None and (cores is not None or gpus is not None):
        raise click.UsageError("--cores and --gpus are of folds on a cluster; give --on as well")
    if place is not None and (devices, nodes) != (1, 1):
        raise click.UsageError("--devices and --nodes share each batch of a fold; with --on, folds run side by side")
    try:
        from earmark.cli import learning
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training ({error.name})", "train") from error

    chosen = learning.read_recipes(recipes, settings, run_folder)
    if is_store(data):
        how.refuse_reading(data)
    machines = learning.Machines(devices, nodes)
    if dry_run:
        learning.show_plans(chosen, data, folds, machines, how)
        return
    runs = learning.open_runs(chosen, data, folds, how, resume=resume)
    wanted = learning.Wanted(only_fold, folds=not refit_only, refit=refit or refit_only)
    if place is None:
        learning.learn_here(runs, wanted, machines)
    else:
        learning.learn_there(runs, wanted, place, cores, gpus)
