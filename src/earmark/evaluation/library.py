"""What can be combined: runs over the same clips and folds, each with its out-of-fold scores."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from earmark.audio.views import TtaSpec
from earmark.data.folds import read_folds
from earmark.data.rows import read_rows
from earmark.errors import RunError
from earmark.evaluation.candidates import PREDICTIONS, TTA_PREDICTIONS, TTA_SETTINGS
from earmark.labels import Vocabulary
from earmark.predictions import Predictions, read_labels

OF_KIND = "predictions-of-kind.csv"
"""Beside a combination whose kind was chosen: scores by that kind alone, of which calibrations are learned."""


@dataclass(frozen=True)
class Candidate:
    """One that may become a member.

    Attributes
    ----------
    name
        The run's name, with ``+tta`` for its scores with test-time augmentation.
    run
        The run's folder.
    scores
        Out of fold, (n_clips, n_labels) float32.
    tta
        Test-time augmentation that the scores are with, as `earmark.audio.views.TtaSpec` writes it; None without.
    """

    name: str
    run: Path
    scores: np.ndarray
    tta: dict[str, Any] | None = None


@dataclass(frozen=True)
class Judged:
    """The clips that candidates are judged by.

    Attributes
    ----------
    fnames
        In the order of all arrays.
    labels
        Columns of targets and scores.
    targets
        (n_clips, n_labels) float32, 0 or 1.
    folds
        (n_clips,) int64, from 0 without a gap.
    groups
        Name of the source of each clip, empty where it is not known.
    """

    fnames: tuple[str, ...]
    labels: Vocabulary
    targets: np.ndarray
    folds: np.ndarray
    groups: tuple[str, ...]

    @property
    def n_folds(self) -> int:
        """How many folds there are."""
        return int(self.folds.max()) + 1


def read_judged(run: Path) -> tuple[Judged, Predictions]:
    """Read the clips that a run was judged by, and its out-of-fold scores.

    Parameters
    ----------
    run
        Its folder, with `predictions.csv`, `clips.csv` and `folds.csv`.

    Raises
    ------
    RunError
        When a file is missing, or clips that are scored have no labels or no fold.
    PredictionsError, CollectionError, LabelError
        When one is damaged.
    """
    missing = [name for name in (PREDICTIONS, "clips.csv", "folds.csv") if not (run / name).is_file()]
    if missing:
        remedy = (
            "train it again: runs of earlier releases have none"
            if missing == ["clips.csv"]
            else "finish the run with 'earmark train … --resume'"
        )
        raise RunError(f"{run}: holds no {missing[0]}; expected a finished run's folder; {remedy}")
    table = Predictions.read(run / PREDICTIONS)
    names, targets = read_labels(run / "clips.csv", table.labels)
    row = {name: i for i, name in enumerate(names)}
    unlabelled = [name for name in table.fnames if name not in row]
    if unlabelled:
        raise RunError(
            f"{run}: {PREDICTIONS} scores '{unlabelled[0]}' ({len(unlabelled)} such clips), which clips.csv does not "
            "have; take the run's files from one place"
        )
    numbers = read_folds(run / "folds.csv", names)
    rows = [row[name] for name in table.fnames]
    groups = [cells.get("group") or "" for cells in read_rows(run / "clips.csv", ("fname", "labels"), unique="fname")]
    folds = numbers[rows]
    if (folds < 0).any() or len(np.unique(folds)) != int(folds.max()) + 1 or folds.max() < 1:
        raise RunError(
            f"{run}: the scored clips are of the folds {np.unique(folds).tolist()}; expected at least two, counted "
            "from 0; take the run's files from one place"
        )
    return Judged(table.fnames, table.labels, targets[rows], folds, tuple(groups[i] for i in rows)), table


def read_library(runs: Sequence[Path]) -> tuple[Judged, list[Candidate]]:
    """Read runs over the same clips, labels and folds.

    Parameters
    ----------
    runs
        Their folders, at least one; a run with `predictions-tta.csv` is two candidates.

    Returns
    -------
    Judged
        The clips, in the order of the first run.
    list of Candidate
        In the order of the runs.

    Raises
    ------
    RunError
        As `read_judged`, or when two runs have other clips, labels or folds, or one is named twice.
    """
    names = _names(runs)
    judged, _ = read_judged(runs[0])
    candidates = []
    for run, name in zip(runs, names, strict=True):
        own, table = read_judged(run)
        _check_alike(judged, own, runs[0], run)
        candidates.append(Candidate(name, run, table.align(judged.fnames, judged.labels).scores))
        if (run / TTA_PREDICTIONS).is_file():
            with_tta = Predictions.read(run / TTA_PREDICTIONS).align(judged.fnames, judged.labels)
            candidates.append(Candidate(f"{name}+tta", run, with_tta.scores, _read_tta(run)))
    return judged, candidates


def _read_tta(run: Path) -> dict[str, Any]:
    try:
        said = tomllib.loads((run / TTA_SETTINGS).read_text(encoding="utf-8"))
        return msgspec.to_builtins(msgspec.convert(said, TtaSpec))
    except OSError as error:
        raise RunError(
            f"{run}: {TTA_PREDICTIONS} is there, but {TTA_SETTINGS}, which says how it was made, cannot be read "
            f"({error.strerror}); make both again with 'earmark predict … --out-of-fold --tta N'"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise RunError(f"{run / TTA_SETTINGS}: is damaged ({error}); make it again, or copy the run again") from None


def _names(runs: Sequence[Path]) -> list[str]:
    resolved = [run.resolve() for run in runs]
    twice = [run for i, run in enumerate(runs) if resolved[i] in resolved[:i]]
    if twice:
        raise RunError(f"{twice[0]}: is named twice; name each run once, members may be chosen several times anyway")
    short = [run.name for run in resolved]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]


def _check_alike(first: Judged, own: Judged, first_run: Path, run: Path) -> None:
    problem = ""
    if own.labels != first.labels:
        problem = f"their labels differ ({len(own.labels)} and {len(first.labels)}), or the order of these"
    elif set(own.fnames) != set(first.fnames):
        problem = f"{len(set(own.fnames) ^ set(first.fnames))} clips are in one of them alone"
    else:
        row = {name: i for i, name in enumerate(own.fnames)}
        rows = [row[name] for name in first.fnames]
        differing = {
            "in another fold": own.folds[rows] != first.folds,
            "labelled differently": (own.targets[rows] != first.targets).any(axis=1),
        }
        found = [f"{where.sum()} of {len(rows)} clips are {what}" for what, where in differing.items() if where.any()]
        problem = " and ".join(found)
    if problem:
        raise RunError(
            f"{run} and {first_run}: {problem}; expected the same clips in the same folds, so that no score is of a "
            f"clip that its member learned from; train with '--folds {first_run}/folds.csv'"
        )
