"""`earmark train`."""

from __future__ import annotations

from pathlib import Path

import click

from earmark.audio.views import TtaSpec
from earmark.cli.collection import CollectionOptions, collection_options
from earmark.data.cache import training_manifest, training_store
from earmark.data.store import Store, is_store
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
@click.option("--recipe", default="fast", show_default=True, help="A built-in recipe's name, or a TOML file.")
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
@collection_options
def train(
    data: Path,
    run_folder: Path,
    recipe: str,
    settings: tuple[str, ...],
    folds: int | Path | None,
    only_fold: int | None,
    refit: bool,
    refit_only: bool,
    resume: bool,
    dry_run: bool,
    devices: int,
    nodes: int,
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
    """
    try:
        from earmark.cli.reporting import write_page
        from earmark.training.crossval import cross_validate, summary
        from earmark.training.crossval import refit as refit_all
        from earmark.training.fit import Machines
        from earmark.training.plan import plan
        from earmark.training.recipe import load_recipe
        from earmark.training.run import is_first_process, open_run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training ({error.name})", "train") from error

    chosen = load_recipe(recipe, list(settings))
    if is_store(data):
        how.refuse_reading(data)
    machines, first = Machines(devices, nodes), is_first_process()
    noisy = chosen.noisy.strategy != "ignore"
    if dry_run:
        manifest = training_manifest(data, noisy=noisy, read=how.read, select=how.select)
        click.echo(plan(chosen, manifest, folds, machines))
        return
    rate = chosen.picture.log_mel.sample_rate
    store = training_store(data, rate, noisy=noisy, read=how.read, select=how.select)
    run = open_run(run_folder, chosen, store, folds, resume=resume)
    if not refit_only:
        cross_validate(run, only_fold=only_fold, progress=first, machines=machines)
        if first:
            click.echo(summary(run))
            if chosen.tta.n and all(run.is_done(fold) for fold in range(run.n_folds)):
                _predict_with_tta(run_folder, store, chosen.tta)
            if all(run.is_done(fold) for fold in range(run.n_folds)):
                write_page(run_folder, run_folder / "report.html", store=store)
    if refit or refit_only:
        refit_all(run, progress=first, machines=machines)


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
