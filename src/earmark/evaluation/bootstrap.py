"""How far a metric could have come out otherwise: intervals by the bootstrap, over clips or over their sources.

Clips are drawn anew with replacement, as many as there are, and the metric is taken of each such draw; the interval
holds the middle of what comes out (B. Efron and R. Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13:
the percentile method). Clips of one recording are not independent: with `groups`, whole sources are drawn (chapter 8;
the cluster bootstrap), else the interval is too narrow.

What lwlrap and accuracy are of a draw follows from sums over each source, so that a thousand draws are one matrix
product; any other metric is taken anew of each draw's clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from earmark.errors import PredictionsError
from earmark.metrics import (
    accuracy,
    f1,
    lwlrap,
    mean_average_precision,
    precision_at_labels,
    roc_auc,
    validate,
)

Metric = Callable[[np.ndarray, np.ndarray], float]
"""Of (n_clips, n_labels) targets and scores, such as those of `earmark.metrics`."""

N_RESAMPLES = 1000
LEVEL = 0.95

# Counts drawn at once; bounds the memory to some 32 MB.
_BLOCK_SIZE = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A figure, and the interval that it lies in.

    Attributes
    ----------
    value
        Of the clips as they are.
    low, high
        Ends of the interval; NaN where the value is.
    level
        Share of the draws that the interval holds, in (0, 1).
    n_resamples
        How many draws there were.
    """

    value: float
    low: float
    high: float
    level: float
    n_resamples: int

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def interval(
    metric: Metric,
    truth: ArrayLike,
    scores: ArrayLike,
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """A metric with its interval.

    Parameters
    ----------
    metric
        Of targets and scores; `earmark.metrics.lwlrap` and `accuracy` take no time, others are called for each draw.
    truth
        (n_clips, n_labels), 0 or 1.
    scores
        (n_clips, n_labels), finite.
    groups
        (n_clips,) names or numbers of the sources that the clips come from; one whose source is not known, None or
        empty, is a source of its own. `None` draws clips.
    n_resamples
        How many draws, at least 1.
    level
        In (0, 1).
    seed
        Of the draws; the same gives the same interval, and the same draws to every table of the same clips.

    Returns
    -------
    Interval
        A draw of which the metric is undefined, by no positive, is left out.

    Raises
    ------
    PredictionsError
        As `validate`, if there are fewer than two sources to draw from, or another number of groups than clips.
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> print(interval(lwlrap, [[1, 0], [0, 1], [1, 0]], [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]]))
    0.8333 (0.5000 to 1.0000)
    """
    targets, score_array = validate(truth, scores)
    draws = _Draws(len(targets), groups, n_resamples, level, seed)
    return draws.interval(metric(targets, score_array), draws.replicates(metric, targets, score_array))


def paired_difference(
    metric: Metric,
    truth: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """How much better one table of scores is than another of the same clips, both judged on the same draws.

    What makes clips hard makes them hard for both, so this interval is narrower than those of the two suggest. Where it
    does not hold 0, one is better at that level.

    Parameters
    ----------
    metric, truth, groups, n_resamples, level, seed
        As in `interval`.
    a, b
        (n_clips, n_labels) scores.

    Returns
    -------
    Interval
        Of metric of `a` minus metric of `b`.

    Raises
    ------
    PredictionsError, ValueError
        As `interval`.
    """
    targets, a_scores = validate(truth, a)
    _, b_scores = validate(truth, b)
    draws = _Draws(len(targets), groups, n_resamples, level, seed)
    value = metric(targets, a_scores) - metric(targets, b_scores)
    of_a, of_b = (draws.replicates(metric, targets, table) for table in (a_scores, b_scores))
    return draws.interval(value, of_a - of_b)


def lwlrap_intervals(
    truth: ArrayLike,
    scores: ArrayLike,
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> list[Interval]:
    """The part of each label in lwlrap, as `earmark.metrics.lwlrap_per_label` has it, with its interval.

    Parameters
    ----------
    truth, scores, groups, n_resamples, level, seed
        As in `interval`.

    Returns
    -------
    list of Interval
        One a label, in the order of the columns; all NaN for a label that no clip has.

    Raises
    ------
    PredictionsError, ValueError
        As `interval`.
    """
    targets, score_array = validate(truth, scores)
    draws = _Draws(len(targets), groups, n_resamples, level, seed)
    rows, columns, precision = precision_at_labels(targets, score_array)
    sums = np.zeros(targets.shape)
    sums[rows, columns] = precision
    values = _ratio(sums.sum(axis=0), targets.sum(axis=0))
    replicates = draws.ratios(sums, targets)
    return [draws.interval(float(value), replicates[:, i]) for i, value in enumerate(values)]


def interval_figures(
    figures: Mapping[str, Any],
    truth: ArrayLike,
    scores: ArrayLike,
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Any]:
    """Intervals of the figures that `earmark.metrics.evaluate` gave for some tables, as `json.dumps` takes them.

    Parameters
    ----------
    figures
        From `evaluate`, for these tables.
    truth, scores, groups, n_resamples, level, seed
        As in `interval`.

    Returns
    -------
    dict
        ``level``, ``n_resamples``, ``drawn`` (``"clips"`` or ``"sources"``) and ``n_drawn``; then [low, high] by the
        names of `figures`, None for what is undefined; ``lwlrap_per_label``, a dictionary from label to these.

    Raises
    ------
    PredictionsError, ValueError
        As `interval`.
    """
    targets, score_array = validate(truth, scores)
    draws = _Draws(len(targets), groups, n_resamples, level, seed)
    how: dict[str, Any] = {"groups": groups, "n_resamples": n_resamples, "level": level, "seed": seed}
    defined = [name for name in _FIGURES if figures.get(name) is not None]
    found = {name: interval(_FIGURES[name], targets, score_array, **how) for name in defined}
    per_label = zip(figures["lwlrap_per_label"], lwlrap_intervals(targets, score_array, **how), strict=True)
    return {
        "level": level,
        "n_resamples": n_resamples,
        "drawn": "clips" if groups is None else "sources",
        "n_drawn": draws.n_sources,
        **{name: [one.low, one.high] for name, one in found.items()},
        "lwlrap_per_label": {label: None if math.isnan(one.low) else [one.low, one.high] for label, one in per_label},
    }


class _Draws:
    """The same draws of sources, as often as they are asked for."""

    def __init__(
        self, n_clips: int, groups: Sequence[Any] | np.ndarray | None, n_resamples: int, level: float, seed: int
    ) -> None:
        if n_resamples < 1:
            raise ValueError(f"n_resamples={n_resamples}; expected at least 1")
        if not 0 < level < 1:
            raise ValueError(f"level={level}; expected a number between 0 and 1, such as 0.95")
        self.source_of = _source_of(groups, n_clips)
        self.n_sources = int(self.source_of.max()) + 1 if n_clips else 0
        if self.n_sources < 2:
            remedy = "; draw clips instead, without groups" if n_clips > 1 else ""
            raise PredictionsError(
                f"clips: {n_clips}, sources: {self.n_sources}; an interval needs at least two to draw from{remedy}"
            )
        self.n_resamples, self.level, self.seed = n_resamples, level, seed

    def interval(self, value: float, replicates: np.ndarray) -> Interval:
        defined = replicates[~np.isnan(replicates)]
        low = high = math.nan
        if defined.size and not math.isnan(value):
            low, high = np.quantile(defined, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Interval(value, float(low), float(high), self.level, self.n_resamples)

    def replicates(self, metric: Metric, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The metric of each draw, (n_resamples,) float64."""
        if metric in _SUMS:
            numerators, denominators = _SUMS[metric](targets, scores)
            return self.ratios(numerators[:, None], denominators[:, None])[:, 0]
        by_source = np.argsort(self.source_of, kind="stable")
        rows_of = np.split(by_source, np.flatnonzero(np.diff(self.source_of[by_source])) + 1)
        values = []
        for drawn in self._drawn():
            for sources in drawn:
                rows = np.concatenate([rows_of[source] for source in sources])
                values.append(metric(targets[rows], scores[rows]))
        return np.array(values)

    def ratios(self, numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
        """Of each draw, sum over sum of (n_clips, n) values each: (n_resamples, n) float64, NaN for 0 over 0."""
        above, below = (self._sums_of_sources(values) for values in (numerators, denominators))
        parts = []
        for drawn in self._drawn():
            counts = _counts(drawn, self.n_sources)
            parts.append(_ratio(counts @ above, counts @ below))
        return np.concatenate(parts)

    def _sums_of_sources(self, values: np.ndarray) -> np.ndarray:
        sums = np.zeros((self.n_sources, values.shape[1]))
        np.add.at(sums, self.source_of, values)
        return sums

    def _drawn(self) -> Iterator[np.ndarray]:
        """Blocks of (n, n_sources) drawn sources, n_resamples rows in all."""
        rng = np.random.default_rng(self.seed)
        n_at_once = max(1, _BLOCK_SIZE // self.n_sources)
        for start in range(0, self.n_resamples, n_at_once):
            n = min(n_at_once, self.n_resamples - start)
            yield rng.integers(self.n_sources, size=(n, self.n_sources))


def _source_of(groups: Sequence[Any] | np.ndarray | None, n_clips: int) -> np.ndarray:
    """Number of the source of each clip, (n_clips,) int64, from 0 without a gap."""
    if groups is None:
        return np.arange(n_clips)
    if len(groups) != n_clips:
        raise PredictionsError(f"{len(groups)} groups for {n_clips} clips; give the source of each clip")
    given = groups.tolist() if isinstance(groups, np.ndarray) else groups
    numbers: dict[Any, int] = {}
    keys = [("alone", i) if group is None or group == "" else ("of", group) for i, group in enumerate(given)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _counts(drawn: np.ndarray, n_sources: int) -> np.ndarray:
    """How often each source stands in each row, (n, n_sources) float64."""
    places = drawn + np.arange(len(drawn))[:, None] * n_sources
    return np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(below), math.nan), where=below > 0)


def _lwlrap_sums(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, _, precision = precision_at_labels(targets, scores)
    return np.bincount(rows, weights=precision, minlength=len(targets)), targets.sum(axis=1)


def _accuracy_sums(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, _, precision = precision_at_labels(targets, scores)
    return np.bincount(rows, weights=precision == 1, minlength=len(targets)), targets.sum(axis=1)


_SUMS: dict[Metric, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    lwlrap: _lwlrap_sums,
    accuracy: _accuracy_sums,
}

_FIGURES: dict[str, Metric] = {
    "lwlrap": lwlrap,
    "map": mean_average_precision,
    "map_micro": partial(mean_average_precision, average="micro"),
    "roc_auc": roc_auc,
    "f1": f1,
    "accuracy": accuracy,
}
