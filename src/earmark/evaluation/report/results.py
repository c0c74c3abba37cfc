"""What a run's folder says, as the report needs it."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.folds import read_folds
from earmark.data.rows import read_rows
from earmark.errors import RunError
from earmark.labels import Vocabulary
from earmark.predictions import Predictions, read_labels


@dataclass(frozen=True)
class Results:
    """A finished run.

    Attributes
    ----------
    name
        Of its folder.
    fnames
        The n_clips clips that were held out, in the order of the predictions.
    labels
        The vocabulary.
    targets, scores
        (n_clips, n_labels) float32.
    folds
        (n_clips,) int64.
    groups
        (n_clips,) the recordings that clips came from, empty where that is not known.
    recipe
        The text of `recipe.toml`.
    metrics
        What `metrics.json` holds.
    curves
        For each fold the rows of its `metrics.csv`, as numbers; a figure that an epoch does not have is missing.
    """

    name: str
    fnames: tuple[str, ...]
    labels: Vocabulary
    targets: np.ndarray
    scores: np.ndarray
    folds: np.ndarray
    groups: tuple[str, ...]
    recipe: str
    metrics: dict[str, Any]
    curves: list[list[dict[str, float]]]


def read_results(folder: Path) -> Results:
    """Read a run's folder; `RunError` where the run is not finished, or is none."""
    needed = ("recipe.toml", "folds.csv", "clips.csv", "predictions.csv", "metrics.json")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        remedy = "finish it with 'earmark train … --resume'" if "recipe.toml" not in missing else "name a run's folder"
        raise RunError(f"{folder}: holds no {missing[0]}, so there is no finished run to report on; {remedy}")
    table = Predictions.read(folder / "predictions.csv")
    names, all_targets = read_labels(folder / "clips.csv", table.labels)
    row_of = {name: row for row, name in enumerate(names)}
    strange = [name for name in table.fnames if name not in row_of]
    if strange:
        raise RunError(f"{folder}: clip '{strange[0]}' has predictions and is not in clips.csv; take the original run")
    rows = [row_of[name] for name in table.fnames]
    clips = read_rows(folder / "clips.csv", ("fname", "labels", "group"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    folds = read_folds(folder / "folds.csv", names)[rows]
    return Results(
        name=folder.resolve().name,
        fnames=table.fnames,
        labels=table.labels,
        targets=all_targets[rows],
        scores=table.scores,
        folds=folds,
        groups=tuple(clips[row]["group"] for row in rows),
        recipe=(folder / "recipe.toml").read_text(encoding="utf-8"),
        metrics=metrics,
        curves=[_curve(folder / f"fold-{fold}" / "metrics.csv") for fold in range(int(folds.max()) + 1)],
    )


def _curve(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
