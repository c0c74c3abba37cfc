"""`earmark compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from earmark.atomic import atomic_path
from earmark.evaluation.compare import Comparison, as_csv, as_figures, as_table
from earmark.evaluation.compare import compare as compare_runs

FORMATS: dict[str, Callable[[Comparison], str]] = {
    "table": as_table,
    "csv": lambda comparison: as_csv(comparison).removesuffix("\n"),
    "json": lambda comparison: json.dumps(as_figures(comparison), indent=1),
}


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(list(FORMATS)))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write it to this file instead of printing it.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
def compare(runs: tuple[Path, ...], format_: str, output: Path | None, seed: int) -> None:
    """Put RUNS in order by out-of-fold lwlrap, and show only the lines in which their recipes differ.

    Intervals say how far each figure could have come out otherwise, with other sources of sound in the collection; what
    a run falls short of the best is judged on the same draws for both. A run with predictions-tta.csv ('earmark predict
    RUN DATA --out-of-fold --tta N') counts twice, with and without test-time augmentation.

    \b
    Examples:
      earmark compare runs/*
      earmark compare grey/ colour/ --format csv -o comparison.csv
    """
    text = FORMATS[format_](compare_runs(runs, seed=seed))
    if output is None:
        click.echo(text)
        return
    with atomic_path(output) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
