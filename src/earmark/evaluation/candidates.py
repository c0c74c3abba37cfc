"""What can be chosen among: runs by their out-of-fold predictions, with and without test-time augmentation."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.errors import RunError
from earmark.predictions import Predictions, read_groups, read_labels

PREDICTIONS = "predictions.csv"
TTA_PREDICTIONS = "predictions-tta.csv"
"""A run's out-of-fold predictions with test-time augmentation; `PREDICTIONS` is without."""

TTA_SETTINGS = "predictions-tta.toml"
"""What they were made with."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One table of out-of-fold predictions.

    Attributes
    ----------
    run
        The run's folder.
    with_tta
        Whether they were made with test-time augmentation.
    predictions
        Of the clips that the run was judged on.
    settings
        Every value of the recipe, by its dotted key; of test-time augmentation what was used.
    minutes
        That learning took, where the run says.
    """

    run: Path
    with_tta: bool
    predictions: Predictions
    settings: Mapping[str, Any]
    minutes: float | None

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.run} + TTA" if self.with_tta else str(self.run)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates whose rows and columns are those of one truth.

    Attributes
    ----------
    members
        At least one; predictions in the order of the truth.
    targets
        (n_clips, n_labels) float32.
    groups
        (n_clips,) source of each clip, empty where it is not known; None where none is.
    same_folds
        Whether all runs divide the clips alike.
    """

    members: tuple[Candidate, ...]
    targets: np.ndarray
    groups: tuple[str, ...] | None
    same_folds: bool


def read_candidates(runs: Sequence[Path]) -> Candidates:
    """Read the out-of-fold predictions of some runs, and what their clips are labelled with.

    Parameters
    ----------
    runs
        Folders of finished runs, each once.

    Returns
    -------
    Candidates
        Two of a run that has predictions with test-time augmentation, else one.

    Raises
    ------
    RunError
        When a folder is no finished run, is named twice, or was judged on other clips, labels or truth than the first.
    """
    twice = [run for i, run in enumerate(runs) if run.resolve() in {other.resolve() for other in runs[:i]}]
    if twice:
        raise RunError(f"{twice[0]} is named twice; name each run once")
    members = [member for run in runs for member in _members_of(run)]
    first = members[0]
    targets, groups = _truth(first)
    aligned = [first]
    for member in members[1:]:
        aligned.append(_aligned(member, first))
        if not member.with_tta:
            _check_truth(aligned[-1], first, targets)
    folds = [_folds(run, first.predictions.fnames) for run in runs]
    same = all(_same_partition(folds[0], other) for other in folds[1:])
    return Candidates(tuple(aligned), targets, groups if any(groups) else None, same)


def _members_of(run: Path) -> list[Candidate]:
    if not (run / PREDICTIONS).is_file():
        what = "no such folder" if not run.is_dir() else f"no {PREDICTIONS}"
        raise RunError(f"{run}: {what}; expected a run's folder, with all folds done ('earmark train … --resume')")
    if not (run / "clips.csv").is_file():
        raise RunError(f"{run}: no clips.csv, which says what its clips are labelled with; train it again")
    recipe = {key: value for key, value in _read_toml(run / "recipe.toml").items() if key != "description"}
    settings = {key: value for key, value in _flat(recipe).items() if not key.startswith("tta.")}
    minutes = _minutes(run)
    members = [Candidate(run, False, Predictions.read(run / PREDICTIONS), {**settings, "tta.n": 0}, minutes)]
    if (run / TTA_PREDICTIONS).is_file():
        used = _read_toml(run / TTA_SETTINGS) if (run / TTA_SETTINGS).is_file() else {"n": "not known"}
        table = Predictions.read(run / TTA_PREDICTIONS)
        members.append(Candidate(run, True, table, {**settings, **_flat({"tta": used})}, minutes))
    return members


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); copy the run again") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: not valid TOML ({error}); copy the run again") from None


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted keys; a list is one value."""
    flat: dict[str, Any] = {}
    for name, value in tables.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _minutes(run: Path) -> float | None:
    try:
        of_folds = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["folds"]["minutes"]
        return float(sum(of_folds))
    except (OSError, ValueError, LookupError, TypeError):
        return None  # a figure for people, which nothing depends on


def _truth(member: Candidate) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets of a candidate's clips, in the order of its predictions, and their groups."""
    path, table = member.run / "clips.csv", member.predictions
    names, targets = read_labels(path, table.labels)
    groups = read_groups(path, "group")
    row_of = {name: row for row, name in enumerate(names)}
    lacking = [name for name in table.fnames if name not in row_of]
    if lacking:
        raise RunError(f"{path}: lacks '{lacking[0]}', which {member.name} was judged on; copy the run again")
    rows = [row_of[name] for name in table.fnames]
    return targets[rows], tuple(groups[row] for row in rows)


def _aligned(member: Candidate, first: Candidate) -> Candidate:
    own, other = member.predictions, first.predictions
    for what, have, wanted in (("clips", own.fnames, other.fnames), ("labels", own.labels.names, other.labels.names)):
        missing, extra = sorted(set(wanted) - set(have)), sorted(set(have) - set(wanted))
        if missing or extra:
            example = f"'{missing[0]}' is missing" if missing else f"'{extra[0]}' is not among the first's"
            raise RunError(
                f"{member.name} was judged on other {what} than {first.name}: it has {len(have)} of them, {first.name} "
                f"has {len(wanted)}, {len(set(wanted) & set(have))} are the same; {example}; compare runs of one "
                "collection, with the same selection of clips"
            )
    return Candidate(
        member.run, member.with_tta, own.align(other.fnames, other.labels), member.settings, member.minutes
    )


def _check_truth(member: Candidate, first: Candidate, targets: np.ndarray) -> None:
    own, _ = _truth(member)
    differing = np.flatnonzero((own != targets).any(axis=1))
    if len(differing):
        name, labels = member.predictions.fnames[differing[0]], first.predictions.labels
        said = [" and ".join(np.array(labels.names)[row[differing[0]] > 0]) or "nothing" for row in (targets, own)]
        raise RunError(
            f"{member.name} and {first.name} label {len(differing)} of their clips differently: '{name}' is "
            f"{said[1]} and {said[0]}; compare runs with the same corrections"
        )


def _folds(run: Path, fnames: Sequence[str]) -> list[str] | None:
    """Fold of each clip, as the run writes it; None where it does not say."""
    path = run / "folds.csv"
    if not path.is_file():
        return None
    fold_of = dict(zip(read_groups(path, "fname"), read_groups(path, "fold"), strict=True))
    return [fold_of.get(name, "") for name in fnames]


def _same_partition(one: list[str] | None, other: list[str] | None) -> bool:
    """Whether two runs hold out the same clips together, whatever they number the folds."""
    if one is None or other is None:
        return True
    pairs = set(zip(one, other, strict=True))
    return len(pairs) == len(set(one)) == len(set(other))
