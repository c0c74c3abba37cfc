"""`earmark evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from earmark.metrics import evaluate as evaluate_scores
from earmark.predictions import Predictions, read_groups, read_labels


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("labels", type=click.Path(path_type=Path))
@click.option(
    "--interval", "with_interval", is_flag=True, help="Say how far each figure could have come out otherwise."
)
@click.option(
    "--groups",
    metavar="COLUMN",
    help="Column of LABELS that says which clips are of one source; --interval then draws sources, not clips.",
)
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(["table", "json"]))
def evaluate(predictions: Path, labels: Path, with_interval: bool, groups: str | None, format_: str) -> None:
    """Judge PREDICTIONS, a table `fname` and a column a label, by LABELS, a table `fname,labels`.

    \b
    Examples:
      earmark evaluate run/predictions.csv train_curated.csv
      earmark evaluate submission.csv truth.csv --format json
      earmark evaluate run/predictions.csv run/clips.csv --interval --groups group
    """
    if groups and not with_interval:
        raise click.UsageError("--groups says what --interval draws; add --interval")
    table = Predictions.read(predictions)
    fnames, targets = read_labels(labels, table.labels)
    sources = read_groups(labels, groups) if groups else None
    scores = table.align(fnames, table.labels).scores
    figures = evaluate_scores(targets, scores, table.labels)
    if with_interval:
        from earmark.evaluation.bootstrap import interval_figures

        figures["intervals"] = interval_figures(figures, targets, scores, groups=sources)
    click.echo(json.dumps(figures, indent=1) if format_ == "json" else as_table(figures))


def as_table(figures: dict[str, Any]) -> str:
    """Overall figures, then lwlrap label by label, worst first; each with its interval where there is one."""
    found = figures.get("intervals", {})
    ends = ["from", "to"] if found else []
    overall = [[name, value, *found.get(name, [])] for name, value in figures.items() if not isinstance(value, dict)]
    of_labels = found.get("lwlrap_per_label", {})
    by_label = sorted(figures["lwlrap_per_label"].items(), key=lambda item: (item[1] is None, item[1]))
    rows = [[label, value, *(of_labels.get(label) or [])] for label, value in by_label]
    parts = [
        tabulate(overall, ["", "", *ends] if found else (), floatfmt=".4f"),
        tabulate(rows, ["label", "lwlrap", *ends], floatfmt=".4f"),
    ]
    if found:
        parts.append(
            f"from … to: the middle {found['level']:.0%} of {found['n_resamples']} draws of {found['n_drawn']} "
            f"{found['drawn']} with replacement"
        )
    return "\n\n".join(parts)
