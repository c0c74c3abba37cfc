"""`earmark data folds`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from earmark.cli.collection import CollectionOptions, collection_options
from earmark.data.folds import FoldReport, assign_folds, fold_report, write_folds
from earmark.data.store import is_store, open_store
from earmark.labels import Vocabulary


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Keep them in this table, fname,fold.")
@click.option("--folds", "n_folds", type=click.IntRange(2), help="How many.  [default: the collection's own, or 5]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Decides between equals.")
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(["table", "json"]))
@collection_options
def folds(
    data: Path, output: Path | None, n_folds: int | None, seed: int, format_: str, how: CollectionOptions
) -> None:
    """Divide the curated clips of DATA, a collection or a packed store, into folds, and say how even they are.

    The collection's own folds are taken where it has them. All clips of one recording stay in one fold, and a clip
    mixed of two ties both together, so a label can be as uneven as its largest set of such clips ("no less than").
    'earmark train --folds FILE' trains on a table that was kept.

    \b
    Examples:
      earmark data folds FSDKaggle2019/
      earmark data folds recordings/ --folds 4 --seed 1 -o folds.csv
    """
    manifest = how.select(open_store(data).manifest) if is_store(data) else how.read(data)
    curated = manifest.subset("curated")
    assigned = assign_folds(curated, n_folds, seed=seed)
    report = fold_report(curated.targets(), assigned, [clip.group for clip in curated.clips])
    if output:
        write_folds(output, curated.names, assigned)
    said = as_json(report, curated.vocabulary)
    click.echo(json.dumps(said, indent=1, ensure_ascii=False) if format_ == "json" else as_table(said))


def as_json(report: FoldReport, vocabulary: Vocabulary) -> dict[str, Any]:
    """Everything, with names for keys."""
    rows = zip(vocabulary, report.counts.T.tolist(), report.deviations, report.floors, strict=True)
    labels = {
        label: {"n_clips": counts, "deviation": round(float(deviation), 4), "no_less_than": round(float(floor), 4)}
        for label, counts, deviation, floor in rows
    }
    return {
        "n_folds": len(report.sizes),
        "n_clips": list(report.sizes),
        "n_never_held_out": report.n_never_held_out,
        "largest_deviation": round(report.largest_deviation, 4),
        "mean_deviation": round(float(report.deviations.mean()), 4),
        "mean_no_less_than": round(float(report.floors.mean()), 4),
        "labels_absent_from_a_fold": [vocabulary.names[label] for label in report.absent],
        "labels": labels,
    }


def as_table(said: dict[str, Any]) -> str:
    """The same for people, the least even label first."""
    numbers = range(said["n_folds"])
    by_label = sorted(said["labels"].items(), key=lambda item: -item[1]["deviation"])
    rows = [["all clips", *said["n_clips"]]]
    rows += [[name, *one["n_clips"], one["deviation"], one["no_less_than"]] for name, one in by_label]
    header = ["", *(f"fold {number}" for number in numbers), f"off 1/{said['n_folds']} by", "no less than"]
    closing = [
        f"largest deviation of a label's share from 1/{said['n_folds']}: {said['largest_deviation']:.4f}; "
        f"mean over labels {said['mean_deviation']:.4f}, no less than {said['mean_no_less_than']:.4f}"
    ]
    if said["n_never_held_out"]:
        closing.append(f"{said['n_never_held_out']} clips are in no fold: learned from in each, judged in none")
    if said["labels_absent_from_a_fold"]:
        closing.append(f"absent from a fold: {', '.join(said['labels_absent_from_a_fold'])}")
    return f"{tabulate(rows, header, floatfmt='.4f')}\n\n" + "\n".join(closing)
