"""`earmark evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from earmark.metrics import evaluate as evaluate_scores
from earmark.predictions import Predictions, read_labels


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(["table", "json"]))
def evaluate(predictions: Path, labels: Path, format_: str) -> None:
    """Judge PREDICTIONS, a table `fname` and a column a label, by LABELS, a table `fname,labels`.

    \b
    Examples:
      earmark evaluate run/predictions.csv train_curated.csv
      earmark evaluate submission.csv truth.csv --format json
    """
    table = Predictions.read(predictions)
    fnames, targets = read_labels(labels, table.labels)
    scores = table.align(fnames, table.labels).scores
    figures = evaluate_scores(targets, scores, table.labels)
    click.echo(json.dumps(figures, indent=1) if format_ == "json" else as_table(figures))


def as_table(figures: dict[str, Any]) -> str:
    """Overall figures, then lwlrap label by label, worst first."""
    overall = [[name, value] for name, value in figures.items() if not isinstance(value, dict)]
    by_label = sorted(figures["lwlrap_per_label"].items(), key=lambda item: (item[1] is None, item[1]))
    return f"{tabulate(overall, floatfmt='.4f')}\n\n{tabulate(by_label, ['label', 'lwlrap'], floatfmt='.4f')}"
