"""Runs in order: by out-of-fold lwlrap, with intervals, what each falls short of the best, and what differs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from earmark.evaluation.bootstrap import LEVEL, N_RESAMPLES, Interval, interval, paired_difference
from earmark.evaluation.candidates import Candidate, read_candidates
from earmark.metrics import lwlrap


@dataclass(frozen=True, eq=False)
class Row:
    """One candidate, judged.

    Attributes
    ----------
    candidate
        What is judged.
    lwlrap
        Out of fold.
    difference
        lwlrap minus that of the best, both of the same draws; None for the best itself.
    """

    candidate: Candidate
    lwlrap: Interval
    difference: Interval | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Candidates in order.

    Attributes
    ----------
    rows
        Best first.
    differing
        Keys of the recipe that are not the same for all, in the order of the best's recipe.
    n_clips, n_drawn
        Clips that all were judged on, and sources (or clips, where no source is known) that were drawn.
    by_source
        Whether sources were drawn.
    same_folds
        Whether all runs divide the clips alike.
    """

    rows: tuple[Row, ...]
    differing: tuple[str, ...]
    n_clips: int
    n_drawn: int
    by_source: bool
    same_folds: bool


def compare(runs: Sequence[Path], *, n_resamples: int = N_RESAMPLES, level: float = LEVEL, seed: int = 0) -> Comparison:
    """Compare runs by their out-of-fold predictions; one that has them with test-time augmentation too counts twice.

    Parameters
    ----------
    runs
        Folders of finished runs.
    n_resamples, level, seed
        As in `earmark.evaluation.bootstrap.interval`; sources are drawn where the collection says them.

    Returns
    -------
    Comparison
        With the best first; of equals, the one that was named first.

    Raises
    ------
    RunError
        As `earmark.evaluation.candidates.read_candidates`.
    PredictionsError
        When there are fewer than two clips or sources.
    """
    candidates = read_candidates(runs)
    targets, groups = candidates.targets, candidates.groups
    how: dict[str, Any] = {"groups": groups, "n_resamples": n_resamples, "level": level, "seed": seed}
    found = [(interval(lwlrap, targets, member.predictions.scores, **how), member) for member in candidates.members]
    ordered = sorted(found, key=lambda pair: -pair[0].value)
    best = ordered[0][1]
    rows = [
        Row(
            member,
            judged,
            None
            if member is best
            else paired_difference(lwlrap, targets, member.predictions.scores, best.predictions.scores, **how),
        )
        for judged, member in ordered
    ]
    alone = 0 if groups is None else groups.count("")
    return Comparison(
        rows=tuple(rows),
        differing=_differing([member for _, member in ordered]),
        n_clips=len(targets),
        n_drawn=len(targets) if groups is None else len({group for group in groups if group}) + alone,
        by_source=groups is not None,
        same_folds=candidates.same_folds,
    )


def _differing(members: Sequence[Candidate]) -> tuple[str, ...]:
    keys = list(dict.fromkeys(key for member in members for key in member.settings))
    return tuple(key for key in keys if len({repr(member.settings.get(key)) for member in members}) > 1)


def as_figures(comparison: Comparison) -> dict[str, Any]:
    """A comparison as `json.dumps` takes it."""
    first = comparison.rows[0].lwlrap
    return {
        "n_clips": comparison.n_clips,
        "drawn": "sources" if comparison.by_source else "clips",
        "n_drawn": comparison.n_drawn,
        "level": first.level,
        "n_resamples": first.n_resamples,
        "same_folds": comparison.same_folds,
        "runs": [
            {
                **_figures(row),
                "settings": {key: row.candidate.settings.get(key) for key in comparison.differing},
            }
            for row in comparison.rows
        ],
    }


def _figures(row: Row) -> dict[str, Any]:
    difference = row.difference
    return {
        "run": str(row.candidate.run),
        "tta": row.candidate.with_tta,
        "lwlrap": row.lwlrap.value,
        "low": row.lwlrap.low,
        "high": row.lwlrap.high,
        "difference": difference.value if difference else None,
        "difference_low": difference.low if difference else None,
        "difference_high": difference.high if difference else None,
        "minutes": row.candidate.minutes,
    }


def as_csv(comparison: Comparison) -> str:
    """A comparison as CSV: a row a candidate, its figures, then a column for each key that differs."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*_figures(comparison.rows[0]), *comparison.differing])
    for row in comparison.rows:
        figures = ["" if value is None else value for value in _figures(row).values()]
        writer.writerow([*figures, *(_shown(row, key) for key in comparison.differing)])
    return file.getvalue()


def as_table(comparison: Comparison) -> str:
    """A comparison for people: the candidates, numbered; then what differs, a column a number."""
    rows = [
        [
            number,
            row.candidate.name,
            f"{row.lwlrap.value:.4f}",
            f"{row.lwlrap.low:.4f} to {row.lwlrap.high:.4f}",
            _behind(row.difference),
            "" if row.candidate.minutes is None else f"{row.candidate.minutes:.1f}",
        ]
        for number, row in enumerate(comparison.rows, start=1)
    ]
    share = f"{comparison.rows[0].lwlrap.level:.0%}"
    head = ["", "run", "lwlrap", f"{share} interval", f"to the best, {share} interval", "minutes"]
    drawn = f"{comparison.n_drawn} {'sources' if comparison.by_source else 'clips'}"
    parts = [
        tabulate(rows, head, disable_numparse=True, colalign=("right", "left", *4 * ("right",))),
        f"out of fold on {comparison.n_clips} clips; intervals from {comparison.rows[0].lwlrap.n_resamples} draws of "
        f"{drawn} with replacement",
    ]
    if not comparison.same_folds:
        parts.append("they do not divide the clips into the same folds, which is part of what lies between them")
    if comparison.differing:
        differing = [[key, *(_shown(row, key) for row in comparison.rows)] for key in comparison.differing]
        numbers = [str(number) for number in range(1, len(rows) + 1)]
        parts.append(tabulate(differing, ["differs", *numbers], disable_numparse=True))
    elif len(rows) > 1:
        parts.append("their recipes are the same")
    return "\n\n".join(parts)


def _behind(difference: Interval | None) -> str:
    if difference is None:
        return "best"
    return f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"


def _shown(row: Row, key: str) -> str:
    value = row.candidate.settings.get(key)
    return "" if value is None else str(value)
