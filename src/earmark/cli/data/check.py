"""`earmark data check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from earmark.atomic import write_text_atomically
from earmark.cli.collection import CollectionOptions, collection_options
from earmark.data.check.collection import check_collection
from earmark.data.problem import Problem

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("data", type=_PATH)
@collection_options
@click.option("--quick", is_flag=True, help="Look at tables and names of files alone; decode nothing.")
@click.option("--include-test", is_flag=True, help="Decode test clips, too, and compare them with the others.")
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(["table", "json"]))
@click.option("--all", "everything", is_flag=True, help="List every problem in the table, not five of a kind.")
@click.option("--output", "-o", type=_PATH, metavar="FILE", help="Write to this file instead of the terminal.")
@click.option(
    "--write-exclusions",
    type=_PATH,
    metavar="FILE",
    help="Write a CSV (fname,why) of clips to leave out, as --exclude takes it.",
)
@click.option("--workers", type=click.IntRange(1), help="Clips at a time.  [default: one a core]")
def check(
    data: Path,
    how: CollectionOptions,
    quick: bool,
    include_test: bool,
    format_: str,
    everything: bool,
    output: Path | None,
    write_exclusions: Path | None,
    workers: int | None,
) -> None:
    """Look for everything that is wrong with a collection: files, labels, folds, and recordings that stand in it twice.

    Files: missing, surplus, unreadable, cut short, silent, clipped. Recordings that stand in it twice are found by
    their sound: cut, louder, resampled or encoded again. Where one twin is learned from while the other is judged, that
    is an error. Test clips are left out, but for their files' names, unless asked for.

    The exit status is 1 when there is an error, 0 when there are warnings only.

    \b
    Examples:
      earmark data check ESC-50/
      earmark data check FSDKaggle2019/ --quick
      earmark data check recordings/ --format json -o check.json --write-exclusions twice.csv
    """
    known: list[Problem] = []
    listed = how.read_unselected(data, problems=known)
    report = check_collection(
        how.select(listed),
        listed=listed,
        known=known,
        quick=quick,
        include_test=include_test,
        n_workers=workers,
    )
    text = report.to_json() if format_ == "json" else report.to_table(everything=everything)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text_atomically(output, text)
    if write_exclusions is not None:
        write_text_atomically(write_exclusions, report.to_exclusions())
    if report.n_errors:
        sys.exit(1)
