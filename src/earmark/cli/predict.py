"""`earmark predict`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from earmark.atomic import atomic_path
from earmark.cli.collection import CollectionOptions, collection_options
from earmark.tagging.predict import predict_clips
from earmark.tagging.tagger import load


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The table to write, a CSV.")
@click.option("--workers", type=click.IntRange(1), help="Files at a time.  [default: one a core]")
@collection_options
def predict(model: str, data: Path, output: Path, workers: int | None, how: CollectionOptions) -> None:
    """Score every test clip of DATA, or every clip where none is set apart for testing, for every label.

    MODEL is a bundle or a run's folder. Rows and columns stand as in the collection's sample_submission.csv. A clip
    that cannot be read is named, gets 0 for every label, and makes the exit status 1.

    \b
    Examples:
      earmark predict run/ FSDKaggle2019/ -o submission.csv
      earmark predict run/ birds.csv --columns path=file,labels=species -o scores.csv
    """
    tagger = load(model, n_threads=1)
    manifest = how.read(data)
    clips = manifest.subset("test") if len(manifest.subset("test")) else manifest
    with atomic_path(output) as temporary:  # says before all the work whether the table can be written
        table, errors = predict_clips(tagger, clips, n_workers=workers)
        table.write(temporary)
    for error in errors:
        click.echo(f"earmark: {error}", err=True)
    if errors:
        click.echo(f"earmark: {len(errors)} of {len(clips)} clips could not be read; their scores are 0", err=True)
        sys.exit(1)
