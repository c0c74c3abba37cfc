"""How good scores are: lwlrap, mean average precision, ROC AUC and d-prime, F1, accuracy.

Every metric takes multi-hot `targets` and real `scores`, both (n_clips, n_labels), checks them with
`validate` and gives one number, or NaN where the data leave it undefined. `evaluate` gives them all.
The ranking metrics (lwlrap, average precision, ROC AUC, d-prime, accuracy) ask only for an order, so logits do as
well as probabilities; `f1` compares with a threshold and wants scores between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from earmark.errors import PredictionsError

# Comparisons made at once while ranking; bounds the memory to some 40 MB (a score and three masks each).
_BLOCK_SIZE = 1 << 22


def validate(targets: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Check a pair of tables, and give it as arrays.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1 (or bool): 1 where the clip has the label. No clips, and clips
        without labels, are allowed.
    scores
        (n_clips, n_labels), any finite real numbers; a larger one means more probable.

    Returns
    -------
    targets : np.ndarray
        (n_clips, n_labels) bool.
    scores : np.ndarray
        (n_clips, n_labels) floating point, of the precision that was given.

    Raises
    ------
    PredictionsError
        If the shapes differ or are not two-dimensional, a target is neither 0 nor 1, or a score is
        NaN or infinite.
    """
    target_array, score_array = _numbers("targets", targets), _numbers("scores", scores)
    _check_shapes(target_array, score_array)
    _check_finite(score_array)
    _check_binary(target_array, score_array)
    if score_array.dtype.kind != "f":
        score_array = score_array.astype(np.float64)
    return target_array.astype(bool), score_array


def lwlrap(targets: ArrayLike, scores: ArrayLike) -> float:
    """Label-weighted label-ranking average precision.

    For each label that a clip has, take the share of the clip's own labels among all labels that
    score at least as high; average over all such (clip, label) pairs. This is the measure of DCASE
    2019 task 2 [1]_, and equals scikit-learn's `label_ranking_average_precision_score` with each clip
    weighted by its number of labels. Ties count against the tagger: equal scores all take the lowest
    of their places.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1. Clips without labels have no say.
    scores
        (n_clips, n_labels), finite; only their order within a clip matters.

    Returns
    -------
    float
        In (0, 1], 1 when every clip's labels come first; NaN when no clip has a label.

    Raises
    ------
    PredictionsError
        As `validate`.

    References
    ----------
    .. [1] E. Fonseca, M. Plakal, F. Font, D. P. W. Ellis, X. Serra, "Audio tagging with noisy labels
       and minimal supervision", DCASE Workshop 2019, https://arxiv.org/abs/1906.02975

    Examples
    --------
    >>> lwlrap([[1, 0, 1]], [[0.9, 0.5, 0.1]])  # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    _, _, precision = precision_at_labels(targets, scores)
    return float(precision.mean()) if precision.size else math.nan


def lwlrap_per_label(targets: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The part of each label in lwlrap.

    Over labels with a positive, ``lwlrap == sum(per_label * weight)`` (Fonseca et al. 2019, see
    `lwlrap`).

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1.
    scores
        (n_clips, n_labels), finite.

    Returns
    -------
    per_label : np.ndarray
        (n_labels,) float64 in (0, 1]: the mean, over the clips that have the label, of the precision
        at its place; NaN for a label that no clip has.
    weight : np.ndarray
        (n_labels,) float64: the label's share of all positives; 0 for a label that no clip has. Sums
        to 1 where there are positives.

    Raises
    ------
    PredictionsError
        As `validate`.
    """
    target_array, score_array = validate(targets, scores)
    _, columns, precision = _precision_at_labels(target_array, score_array)
    return _label_means(columns, precision, target_array.shape[1])


def precision_at_labels(targets: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What lwlrap is the mean of: for each label that a clip has, the precision at its place in the clip's ranking.

    A place is the number of labels that score at least as high, which gives ties the lowest place.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1.
    scores
        (n_clips, n_labels), finite.

    Returns
    -------
    rows, columns : np.ndarray
        (n_positives,) int64: clip and label of each, clip by clip.
    precision : np.ndarray
        (n_positives,) float64 in (0, 1].

    Raises
    ------
    PredictionsError
        As `validate`.
    """
    return _precision_at_labels(*validate(targets, scores))


def mean_average_precision(
    targets: ArrayLike, scores: ArrayLike, average: Literal["macro", "micro"] = "macro"
) -> float:
    """Mean average precision: how well the clips of a label stand above all others.

    Average precision is scikit-learn's step-wise sum of precision over recall, without interpolation.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1.
    scores
        (n_clips, n_labels), finite. They must compare across clips, not only within one.
    average
        ``"macro"``: one average precision a label, their mean over the labels that some clip has.
        ``"micro"``: one average precision over all entries as a single list.

    Returns
    -------
    float
        In (0, 1]; NaN when no clip has a label.

    Raises
    ------
    PredictionsError
        As `validate`.
    ValueError
        If `average` is neither of the two.
    """
    if average not in ("macro", "micro"):
        raise ValueError(f"average={average!r}; expected 'macro' or 'micro'")
    target_array, score_array = validate(targets, scores)
    return _mean_average_precision(target_array, score_array, average)


def roc_auc(targets: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve, averaged over labels.

    For one label, the probability that a clip with it scores above a clip without it, a tie counting
    one half.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1.
    scores
        (n_clips, n_labels), finite. They must compare across clips.

    Returns
    -------
    float
        In [0, 1], 0.5 for chance: the mean over the labels that some clips have and some have not;
        NaN when there is no such label.

    Raises
    ------
    PredictionsError
        As `validate`.
    """
    return _roc_auc(*validate(targets, scores))


def d_prime(targets: ArrayLike, scores: ArrayLike) -> float:
    """Sensitivity index: `roc_auc` as the distance of two normal laws of unit deviation.

    ``sqrt(2) Phi^-1(AUC)``, Phi the normal distribution's; the area is averaged over labels first, as on AudioSet [1]_.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1.
    scores
        (n_clips, n_labels), finite. They must compare across clips.

    Returns
    -------
    float
        0 for chance; infinite for an area of 1, NaN where it is undefined.

    Raises
    ------
    PredictionsError
        As `validate`.

    References
    ----------
    .. [1] S. Hershey et al., "CNN architectures for large-scale audio classification", ICASSP 2017,
       https://arxiv.org/abs/1609.09430
    """
    return _distance(roc_auc(targets, scores))


def f1(targets: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> float:
    """F1, the harmonic mean of precision and recall, averaged over labels.

    ``2 TP / (2 TP + FP + FN)`` for each label that some clip has; their plain mean (macro). A label
    without a positive is left out, as in the other metrics, instead of counting as 0.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1.
    scores
        (n_clips, n_labels) in [0, 1].
    threshold
        In [0, 1]. A score of at least this much assigns the label.

    Returns
    -------
    float
        In [0, 1]; NaN when no clip has a label.

    Raises
    ------
    PredictionsError
        As `validate`, and if a score lies outside 0 to 1.
    ValueError
        If the threshold lies outside 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold}; expected a number from 0 to 1")
    target_array, score_array = validate(targets, scores)
    if not _in_unit_range(score_array):
        raise PredictionsError(
            f"scores run from {score_array.min():.4g} to {score_array.max():.4g}; F1 compares them with a threshold "
            "and expects 0 to 1; did you give logits? Apply the sigmoid first"
        )
    return _f1(target_array, score_array, threshold)


def accuracy(targets: ArrayLike, scores: ArrayLike) -> float:
    """Top-1 accuracy, for collections in which every clip has exactly one label.

    Parameters
    ----------
    targets
        (n_clips, n_labels), one 1 in each row.
    scores
        (n_clips, n_labels), finite; only their order within a clip matters.

    Returns
    -------
    float
        In [0, 1]: the share of clips whose label scores above every other. A tie for the first place
        is a miss, as in `lwlrap`. NaN when there are no clips.

    Raises
    ------
    PredictionsError
        As `validate`, and if a clip has no label or several.
    """
    target_array, score_array = validate(targets, scores)
    n_labels_of_clip = target_array.sum(axis=1)
    wrong = np.flatnonzero(n_labels_of_clip != 1)
    if wrong.size:
        raise PredictionsError(
            f"row {wrong[0]} of targets has {n_labels_of_clip[wrong[0]]} labels ({wrong.size} such rows); accuracy "
            "expects exactly one label a clip; for several labels use lwlrap or mean_average_precision"
        )
    _, _, precision = precision_at_labels(target_array, score_array)
    return float(np.mean(precision == 1)) if precision.size else math.nan


def evaluate(targets: ArrayLike, scores: ArrayLike, labels: Iterable[str]) -> dict[str, Any]:
    """All metrics, as a dictionary that `json.dumps` takes.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1.
    scores
        (n_clips, n_labels), finite.
    labels
        The n_labels names, in the order of the columns.

    Returns
    -------
    dict
        ``n_clips`` (int); ``lwlrap``, ``map`` (macro), ``map_micro``, ``roc_auc`` (macro), ``f1`` (macro,
        at 0.5), each in [0, 1]; ``d_prime``; ``lwlrap_per_label``, a dictionary from label to value;
        ``accuracy``, only when every clip has exactly one label. None stands where a metric is undefined:
        no positives; for ``f1``, scores outside 0 to 1 (logits), which no threshold of 0.5 fits; for
        ``d_prime``, an area of 0 or 1, which it says is infinitely far.

    Raises
    ------
    PredictionsError
        As `validate`, and if the number of names is not the number of columns.
    """
    target_array, score_array = validate(targets, scores)
    names = list(labels)
    if len(names) != target_array.shape[1]:
        raise PredictionsError(
            f"there are {len(names)} labels for {target_array.shape[1]} columns; give one label for each column"
        )
    _, columns, precision = _precision_at_labels(target_array, score_array)
    per_label, _ = _label_means(columns, precision, len(names))
    area = _roc_auc(target_array, score_array)
    result: dict[str, Any] = {
        "n_clips": len(target_array),
        "lwlrap": float(precision.mean()) if precision.size else None,
        "map": _finite_or_none(_mean_average_precision(target_array, score_array, "macro")),
        "map_micro": _finite_or_none(_mean_average_precision(target_array, score_array, "micro")),
        "roc_auc": _finite_or_none(area),
        "d_prime": _finite_or_none(_distance(area)),
        "f1": _finite_or_none(_f1(target_array, score_array, 0.5)) if _in_unit_range(score_array) else None,
    }
    if len(target_array) and bool((target_array.sum(axis=1) == 1).all()):
        result["accuracy"] = float(np.mean(precision == 1))
    result["lwlrap_per_label"] = {
        name: _finite_or_none(float(value)) for name, value in zip(names, per_label, strict=True)
    }
    return result


def _precision_at_labels(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `precision_at_labels` gives, of tables that are valid.

    Only positives are ranked: a clip has one or two labels of eighty, so that counting for each
    is cheaper than sorting every row.
    """
    rows, columns = np.nonzero(targets)
    precision = np.zeros(len(rows), dtype=np.float64)
    n_at_once = max(1, _BLOCK_SIZE // max(1, targets.shape[1]))
    for start in range(0, len(rows), n_at_once):
        block = slice(start, start + n_at_once)
        above = scores[rows[block]] >= scores[rows[block], columns[block], None]
        hits = above & targets[rows[block]]
        precision[block] = np.count_nonzero(hits, axis=1) / np.count_nonzero(above, axis=1)
    return rows, columns, precision


def _label_means(columns: np.ndarray, precision: np.ndarray, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean precision of each label, and its share of all positives."""
    n_positives = np.bincount(columns, minlength=n_labels)
    total = np.bincount(columns, weights=precision, minlength=n_labels)
    per_label = np.full(n_labels, math.nan)
    np.divide(total, n_positives, out=per_label, where=n_positives > 0)
    return per_label, n_positives / max(1, len(columns))


def _mean_average_precision(targets: np.ndarray, scores: np.ndarray, average: Literal["macro", "micro"]) -> float:
    if average == "micro":
        targets, scores = targets.reshape(-1, 1), scores.reshape(-1, 1)
    defined = np.flatnonzero(targets.any(axis=0))
    if not defined.size:
        return math.nan
    return float(np.mean([_average_precision(targets[:, i], scores[:, i]) for i in defined]))


def _average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Average precision of one label that some clip has: the mean precision at its clips' places.

    A place is the number of clips that score at least as high, and is found in the sorted scores.
    """
    own, everything = np.sort(scores[targets]), np.sort(scores)
    hits = len(own) - np.searchsorted(own, own)
    return float(np.mean(hits / (len(scores) - np.searchsorted(everything, own))))


def _roc_auc(targets: np.ndarray, scores: np.ndarray) -> float:
    defined = np.flatnonzero(targets.any(axis=0) & ~targets.all(axis=0))
    if not defined.size:
        return math.nan
    return float(np.mean([_area(targets[:, i], scores[:, i]) for i in defined]))


def _area(targets: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of one label that some clips have and some have not."""
    own, others = np.sort(scores[targets]), np.sort(scores[~targets])
    n_below = np.searchsorted(others, own) + np.searchsorted(others, own, side="right")
    return float(np.mean(n_below) / 2 / len(others))


def _distance(area: float) -> float:
    if math.isnan(area) or not 0 < area < 1:
        return area if math.isnan(area) else math.copysign(math.inf, area - 0.5)
    return math.sqrt(2) * NormalDist().inv_cdf(area)


def _f1(targets: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    chosen = scores >= threshold
    n_hits = (targets & chosen).sum(axis=0)
    n_positives = targets.sum(axis=0)
    defined = n_positives > 0
    if not defined.any():
        return math.nan
    return float(np.mean(2 * n_hits[defined] / (n_positives + chosen.sum(axis=0))[defined]))


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array
    guess = "; did you give label names? Vocabulary.encode makes targets of them" if array.dtype.kind in "UO" else ""
    raise PredictionsError(f"{name} are of type {array.dtype}; expected real numbers{guess}")


def _check_shapes(targets: np.ndarray, scores: np.ndarray) -> None:
    if targets.ndim == 2 and targets.shape == scores.shape:
        return
    message = f"targets have shape {targets.shape}, scores {scores.shape}; expected (n_clips, n_labels) for both"
    if targets.ndim != 2 or scores.ndim != 2:
        guess = "; did you give one clip? Give it as one row"
    elif targets.shape == scores.shape[::-1]:
        guess = "; did you transpose one of them?"
    elif targets.shape[1] == scores.shape[1]:
        guess = "; did you give other clips? Predictions.align selects the rows"
    else:
        guess = "; did you use another vocabulary? Predictions.align orders the columns"
    raise PredictionsError(message + guess)


def _check_finite(scores: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        row, column = bad[0]
        raise PredictionsError(
            f"row {row} of scores holds {scores[row, column]} in column {column} ({len(bad)} such scores); "
            "expected finite numbers; did training diverge?"
        )


def _check_binary(targets: np.ndarray, scores: np.ndarray) -> None:
    bad = np.argwhere((targets != 0) & (targets != 1))
    if not len(bad):
        return
    row, column = bad[0]
    message = f"row {row} of targets holds {targets[row, column]:.4g} in column {column}; expected 0 or 1"
    if bool(((scores == 0) | (scores == 1)).all()):
        raise PredictionsError(f"{message}; did you swap targets and scores?")
    raise PredictionsError(f"{message}; did you give soft targets? Give those from before mixing or smoothing")


def _in_unit_range(scores: np.ndarray) -> bool:
    return bool(((scores >= 0) & (scores <= 1)).all())


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
