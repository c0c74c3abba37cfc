"""`earmark predict`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from earmark.atomic import atomic_path
from earmark.audio.views import TtaSpec
from earmark.cli.collection import CollectionOptions, collection_options
from earmark.data.manifest import Manifest
from earmark.data.store import Store, is_store, open_store
from earmark.evaluation.candidates import TTA_PREDICTIONS
from earmark.tagging.folds import keep_with_tta, load_folds, predict_out_of_fold, recipe_tta
from earmark.tagging.predict import predict_clips
from earmark.tagging.tagger import load


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help=f"The table to write, a CSV.  [default with --out-of-fold and --tta: {TTA_PREDICTIONS} in the run]",
)
@click.option("--tta", "n_views", type=click.IntRange(0), help="Score so many views of each clip as well.")
@click.option("--tta-weight", type=click.FloatRange(0, 1), help="Share of the views in the scores.  [default: 0.5]")
@click.option("--tta-all-windows", is_flag=True, help="Score all overlapping windows of each view, not one at random.")
@click.option("--seed", type=click.IntRange(0), help="Of the views that are drawn.  [default: 0]")
@click.option(
    "--mean",
    type=click.Choice(["arithmetic", "geometric"]),
    default="arithmetic",
    show_default=True,
    help="How the scores of a run's folds are averaged.",
)
@click.option(
    "--out-of-fold", is_flag=True, help="Score the clips that a run learned from, each by the fold that held it out."
)
@click.option("--workers", type=click.IntRange(1), help="Files at a time.  [default: one a core]")
@collection_options
def predict(
    model: str,
    data: Path,
    output: Path | None,
    n_views: int | None,
    tta_weight: float | None,
    tta_all_windows: bool,
    seed: int | None,
    mean: str,
    out_of_fold: bool,
    workers: int | None,
    how: CollectionOptions,
) -> None:
    """Score every test clip of DATA, or every clip where none is set apart for testing, for every label.

    MODEL is a bundle or a run's folder; DATA a collection, or a packed store. Rows and columns stand as in the
    collection's sample_submission.csv. A clip that cannot be read is named, gets 0 for every label, and makes the exit
    status 1. With --tta, a clip's scores are blended with those of other views of it: windows elsewhere, a little
    louder, quieter or earlier; what is not said stands in the run's recipe, table [tta].

    \b
    Examples:
      earmark predict run/ FSDKaggle2019/ -o submission.csv
      earmark predict run/ FSDKaggle2019/ --tta 8 --mean geometric -o submission.csv
      earmark predict run/ FSDKaggle2019/ --out-of-fold --tta 8
      earmark predict run/ birds.csv --columns path=file,labels=species -o scores.csv
    """
    tta = _tta(Path(model), n_views, tta_weight, tta_all_windows, seed, out_of_fold)
    if out_of_fold and mean == "geometric":
        raise click.UsageError("--out-of-fold scores each clip by one network; leave --mean out")
    if output is None and not (out_of_fold and tta.n):
        raise click.UsageError("nowhere to write to; name a table with --output / -o")
    store = None
    if is_store(data):
        how.refuse_reading(data)
        store = open_store(data)
    manifest = how.select(store.manifest) if store else how.read(data)
    if out_of_fold:
        _out_of_fold(Path(model), manifest, store, tta, output, workers)
        return
    assert output is not None
    tagger = load_folds(Path(model), n_threads=1) if mean == "geometric" else load(model, n_threads=1)
    clips = manifest.subset("test") if len(manifest.subset("test")) else manifest
    with atomic_path(output) as temporary:  # says before all the work whether the table can be written
        table, errors = predict_clips(tagger, clips, store=store, tta=tta, n_workers=workers)
        table.write(temporary)
    for error in errors:
        click.echo(f"earmark: {error}", err=True)
    if errors:
        click.echo(f"earmark: {len(errors)} of {len(clips)} clips could not be read; their scores are 0", err=True)
        sys.exit(1)


def _tta(
    run: Path, n_views: int | None, weight: float | None, all_windows: bool, seed: int | None, out_of_fold: bool
) -> TtaSpec:
    """What the user said, and for the rest the run's recipe; augmentation is used where it is asked for."""
    said = recipe_tta(run)
    n = n_views if n_views is not None else said.n if out_of_fold else 0
    if not n and (weight is not None or all_windows or seed is not None):
        raise click.UsageError("--tta-weight, --tta-all-windows and --seed go with --tta N")
    return msgspec.structs.replace(
        said,
        n=n,
        weight=said.weight if weight is None else weight,
        windows="all" if all_windows else said.windows,
        seed=said.seed if seed is None else seed,
    )


def _out_of_fold(
    run: Path, manifest: Manifest, store: Store | None, tta: TtaSpec, output: Path | None, workers: int | None
) -> None:
    if output is None:
        keep_with_tta(run, predict_out_of_fold(run, manifest, store, tta, n_workers=workers), tta)
        return
    with atomic_path(output) as temporary:
        predict_out_of_fold(run, manifest, store, tta, n_workers=workers).write(temporary)
