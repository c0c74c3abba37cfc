"""`earmark report`."""

from __future__ import annotations

from pathlib import Path

import click

from earmark.cli.collection import CollectionOptions, collection_options
from earmark.cli.reporting import write_page
from earmark.data.store import is_store, open_store


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="The page to write.  [default: report.html in RUN]"
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Where the recordings are now: a collection or a packed store.  [default: where RUN was trained from]",
)
@collection_options
def report(run: Path, output: Path | None, data: Path | None, how: CollectionOptions) -> None:
    """Write a page about a finished RUN that needs nothing but itself.

    It holds the figures of each label with their intervals, what is confused with what, how far scores are
    probabilities, the best and worst clips to listen to, the curves and the recipe. Where recordings are not to be
    found any more, the page says so in their place.

    \b
    Examples:
      earmark report run/
      earmark report run/ --data /media/stick/ESC-50 -o esc50.html
    """
    store = open_store(data) if data and is_store(data) else None
    manifest = how.read(data) if data and store is None else None
    target = output or run / "report.html"
    reasons = write_page(run, target, store=store, manifest=manifest)
    if reasons:
        click.echo(f"earmark: {len(reasons)} clips have no player, the first: {reasons[0]}", err=True)
    click.echo(target)
