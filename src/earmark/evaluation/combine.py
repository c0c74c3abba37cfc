"""Choosing members and weights on out-of-fold scores, and judging the choice by folds it was not made on.

Whatever is chosen on some clips looks better on them than on others. So everything here is judged by nested
cross-validation over the runs' own folds: for each fold, all is chosen on the other folds and scores the clips of this
one; the scores of all folds make one table, which is judged. The best single candidate, and the kind of mean where that
is to be chosen, are chosen so as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from earmark.bundle import Combination
from earmark.evaluation.bootstrap import Interval, interval, paired_difference
from earmark.evaluation.greedy import greedy_weights
from earmark.evaluation.library import Candidate, Judged
from earmark.evaluation.mixing import combined, quantiles_of, side_by_side, transformed
from earmark.evaluation.second_level import fit_second_level
from earmark.metrics import lwlrap

MEANS = ("arithmetic", "geometric", "rank")
SECOND_LEVEL = ("ridge", "mlp")
KINDS = (*MEANS, *SECOND_LEVEL)
AUTO = "auto"

Choose = Callable[[np.ndarray], Combination]
"""Of (n_clips,) bool, the clips that may be looked at: a combination of all candidates."""


@dataclass(frozen=True)
class Figure:
    """What a way of choosing comes to by nested cross-validation.

    Attributes
    ----------
    lwlrap
        With its interval, by source.
    difference
        To the best single candidate, which is chosen in the same way.
    """

    lwlrap: Interval
    difference: Interval


@dataclass(frozen=True)
class Chosen:
    """A combination, and how good it is.

    Attributes
    ----------
    combination
        Of all candidates that have a weight, chosen on all clips.
    members
        Positions of those among the candidates.
    scores
        (n_clips, n_labels) float32: of each clip by a choice that was made without its fold, of the kind too where that
        was to be chosen.
    scores_of_kind
        The same by choices of the combination's kind, which are scores like its own; a calibration is learned of these.
    kind
        As it was asked for.
    figure
        Of `scores`.
    by_kind
        Of each kind.
    single
        The best single candidate's lwlrap, nested.
    singles
        Of every candidate, lwlrap of all clips as it is; the best of these is chosen by what it reports.
    """

    combination: Combination
    members: tuple[int, ...]
    scores: np.ndarray
    scores_of_kind: np.ndarray
    kind: str
    figure: Figure
    by_kind: dict[str, Figure]
    single: Interval
    singles: dict[str, float] = field(default_factory=dict)


class Chooser:
    """Chooses combinations of some candidates on any of their clips.

    Parameters
    ----------
    judged
        The clips.
    candidates
        At least one.
    """

    def __init__(self, judged: Judged, candidates: Sequence[Candidate]) -> None:
        self.judged = judged
        self.names = tuple(candidate.name for candidate in candidates)
        self.scores = [candidate.scores for candidate in candidates]
        self._held_out: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}

    def combination(self, kind: str, seen: np.ndarray) -> Combination:
        """Choose a combination of a kind by the clips that are seen, (n_clips,) bool; all candidates are members."""
        targets, scores = self.judged.targets[seen], [table[seen] for table in self.scores]
        if kind in SECOND_LEVEL:
            layers = fit_second_level(kind, side_by_side(scores), targets, self.judged.folds[seen])
            return Combination(members=self.names, kind=kind, layers=layers)  # type: ignore[arg-type]
        quantiles = quantiles_of(scores) if kind == "rank" else np.empty((0, 0, 0))
        weights = greedy_weights(transformed(kind, scores, quantiles), targets)
        kept = tuple(tuple(tuple(label.tolist()) for label in member) for member in quantiles)
        return Combination(members=self.names, kind=kind, weights=tuple(weights.tolist()), quantiles=kept)  # type: ignore[arg-type]

    def single(self, seen: np.ndarray) -> Combination:
        """Choose the best single candidate by the clips that are seen; it has the whole weight."""
        figures = [lwlrap(self.judged.targets[seen], table[seen]) for table in self.scores]
        weights = np.eye(len(figures))[int(np.argmax(figures))]
        return Combination(members=self.names, kind="arithmetic", weights=tuple(weights.tolist()))

    def best_kind(self, kinds: Sequence[str], seen: np.ndarray) -> str:
        """The kind that is best by nested cross-validation over the folds that are seen; of equals, the first."""
        if len(np.unique(self.judged.folds[seen])) < 2:
            return kinds[0]
        figures = [lwlrap(self.judged.targets[seen], self.nested(kind, seen)[seen]) for kind in kinds]
        return kinds[int(np.argmax(figures))]

    def nested(self, kind: str, seen: np.ndarray) -> np.ndarray:
        """Scores of the clips that are seen, each by a combination chosen on the seen clips of other folds."""
        return self.held_out(lambda rest: self.combination(kind, rest), seen, kind)

    def held_out(self, choose: Choose, seen: np.ndarray, name: str = "") -> np.ndarray:
        """Scores of seen clips by choices made without their fold, (n_clips, n_labels); 0 for the others."""
        scores = np.zeros(self.judged.targets.shape, dtype=np.float32)
        folds = self.judged.folds
        for fold in np.unique(folds[seen]):
            rest = seen & (folds != fold)
            held = folds == fold
            key = (name, tuple(np.unique(folds[rest]).tolist()))
            found = self._held_out.get(key) if name else None
            if found is None:
                found = combined(choose(rest), self.scores)
                if name:
                    self._held_out[key] = found
            scores[held] = found[held]
        return scores


def choose(judged: Judged, candidates: Sequence[Candidate], kind: str = MEANS[0]) -> Chosen:
    """Choose the best combination of candidates, and say how good it is on clips that it was not chosen on.

    Parameters
    ----------
    judged, candidates
        From `earmark.evaluation.library.read_library`.
    kind
        One of `KINDS`; or `AUTO`, which chooses the best, and whose figure is of a choice that includes this one.

    Returns
    -------
    Chosen
        Chosen on all clips; judged by choices that were made without the fold that they were judged on.
    """
    chooser, all_clips = Chooser(judged, candidates), np.ones(len(judged.fnames), dtype=bool)
    single = chooser.held_out(chooser.single, all_clips)
    nested = {one: chooser.nested(one, all_clips) for one in KINDS}
    if kind == AUTO:
        scores = chooser.held_out(lambda rest: chooser.combination(chooser.best_kind(KINDS, rest), rest), all_clips)
    else:
        scores = nested[kind]
    taken = chooser.best_kind(KINDS, all_clips) if kind == AUTO else kind
    combination, members = pruned(chooser.combination(taken, all_clips))
    return Chosen(
        combination=combination,
        members=members,
        scores=scores,
        scores_of_kind=nested[taken],
        kind=kind,
        figure=_figure(judged, scores, single),
        by_kind={one: _figure(judged, found, single) for one, found in nested.items()},
        single=interval(lwlrap, judged.targets, single, groups=judged.groups),
        singles={c.name: lwlrap(judged.targets, c.scores) for c in candidates},
    )


def pruned(combination: Combination) -> tuple[Combination, tuple[int, ...]]:
    """Leave out members without weight; gives also the positions of those that stay."""
    if not combination.weights:
        return combination, tuple(range(len(combination.members)))
    kept = tuple(int(i) for i in np.flatnonzero(combination.weights))
    return Combination(
        members=tuple(combination.members[i] for i in kept),
        kind=combination.kind,
        weights=tuple(combination.weights[i] for i in kept),
        quantiles=tuple(combination.quantiles[i] for i in kept) if combination.quantiles else (),
    ), kept


def _figure(judged: Judged, scores: np.ndarray, single: np.ndarray) -> Figure:
    return Figure(
        interval(lwlrap, judged.targets, scores, groups=judged.groups),
        paired_difference(lwlrap, judged.targets, scores, single, groups=judged.groups),
    )
