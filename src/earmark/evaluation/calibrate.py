"""Learning calibrations and thresholds from out-of-fold scores, and judging them by folds they were not learned on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from earmark.bundle import Calibration, Thresholds
from earmark.evaluation.calibration import calibrated
from earmark.evaluation.library import Judged
from earmark.evaluation.mixing import logit

METHODS = ("temperature", "platt", "isotonic")

MOST = 3.0
"""Slopes are kept from exp(-3) to exp(3), offsets within ten logits: few positives can ask for anything."""

F1 = "f1"


def fit_calibration(method: str, scores: np.ndarray, targets: np.ndarray) -> Calibration:
    """Learn a calibration, label by label.

    ``"temperature"``: C. Guo, G. Pleiss, Y. Sun and K. Weinberger, *On Calibration of Modern Neural Networks*, ICML
    2017, with a temperature for each label. ``"platt"``: J. Platt, *Probabilistic Outputs for Support Vector Machines*,
    1999, of the score's logit. Both make cross-entropy small against targets drawn in from 0 and 1 as Platt's section
    2.2 does, so that few positives ask for no infinite slope. ``"isotonic"``: B. Zadrozny and C. Elkan, *Transforming
    Classifier Scores into Accurate Multiclass Probability Estimates*, KDD 2002.

    Parameters
    ----------
    method
        One of `METHODS`.
    scores
        (n_clips, n_labels) in [0, 1], of clips that the scores' makers did not learn from.
    targets
        (n_clips, n_labels), 0 or 1.

    Returns
    -------
    Calibration
        A label of which all clips, or none, are positive is left as it is.
    """
    learned = [0 < positives < len(targets) for positives in targets.sum(axis=0)]
    if method == "isotonic":
        points = [
            _isotonic(s, t) if known else ((), ()) for s, t, known in zip(scores.T, targets.T, learned, strict=True)
        ]
        return Calibration(method="isotonic", points=tuple(points))
    lines = [
        _line(logit(s), t, with_offset=method == "platt") if known else (1.0, 0.0)
        for s, t, known in zip(scores.T, targets.T, learned, strict=True)
    ]
    slopes, offsets = zip(*lines, strict=True)
    return Calibration(method=method, slopes=slopes, offsets=offsets)  # type: ignore[arg-type]


def _line(logits: np.ndarray, targets: np.ndarray, *, with_offset: bool) -> tuple[float, float]:
    """Slope and offset of least cross-entropy; the slope stays positive, so that no ranking turns round."""
    from scipy.optimize import minimize

    n_positive = float(targets.sum())
    n_negative = len(targets) - n_positive
    wanted = np.where(targets > 0, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope = math.exp(parameters[0])
        values = slope * logits + (parameters[1] if with_offset else 0)
        error = 1 / (1 + np.exp(-values.clip(-500, 500))) - wanted
        gradient = [np.mean(error * logits) * slope, np.mean(error)]
        return float(np.mean(np.logaddexp(0, values) - wanted * values)), np.array(gradient[: len(parameters)])

    bounds = [(-MOST, MOST), (-10.0, 10.0)][: 1 + with_offset]
    found = minimize(loss, np.zeros(len(bounds)), jac=True, bounds=bounds, method="L-BFGS-B").x
    return math.exp(found[0]), float(found[1]) if with_offset else 0.0


def _isotonic(scores: np.ndarray, targets: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores.astype(np.float64), targets)
    return tuple(model.X_thresholds_.tolist()), tuple(model.y_thresholds_.tolist())


def held_out(judged: Judged, scores: np.ndarray, method: str) -> np.ndarray:
    """Calibrated scores of each clip by a calibration learned on the other folds, (n_clips, n_labels) float32."""
    result = np.zeros_like(scores)
    for fold in range(judged.n_folds):
        held = judged.folds == fold
        result[held] = calibrated(fit_calibration(method, scores[~held], judged.targets[~held]), scores[held])
    return result


def precision_rule(precision: float) -> str:
    """The rule of thresholds for a wanted precision, in (0, 1]."""
    return f"precision {precision:g}"


def find_thresholds(scores: np.ndarray, targets: np.ndarray, precision: float | None = None) -> Thresholds:
    """The threshold of each label that is best by a rule.

    Parameters
    ----------
    scores
        (n_clips, n_labels) in [0, 1].
    targets
        (n_clips, n_labels), 0 or 1.
    precision
        Wanted, in (0, 1]: the lowest threshold from which on it is reached is taken. `None` for the best F1.

    Returns
    -------
    Thresholds
        Halfway between two scores that occur; None for a label that has no positive, or does not reach the precision.
    """
    values = [_threshold(s, t, precision) for s, t in zip(scores.T, targets.T, strict=True)]
    return Thresholds(rule=F1 if precision is None else precision_rule(precision), values=tuple(values))


def _threshold(scores: np.ndarray, targets: np.ndarray, precision: float | None) -> float | None:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    hits = np.cumsum(targets[order])
    given = np.arange(1, len(ranked) + 1)
    lasts = np.append(ranked[1:] < ranked[:-1], True)  # equal scores are given together or not at all
    if not len(hits) or hits[-1] == 0:
        return None
    if precision is None:
        place = int(np.argmax(np.where(lasts, 2 * hits / (given + hits[-1]), -1)))
    else:
        reached = np.flatnonzero(lasts & (hits >= precision * given))
        if not len(reached):
            return None
        place = int(reached[-1])
    below = ranked[place + 1] if place + 1 < len(ranked) else 0.0
    return float((ranked[place] + below) / 2)


@dataclass(frozen=True)
class AtThresholds:
    """What tags come to that are given from thresholds on.

    Attributes
    ----------
    f1
        Mean over the labels that have positives.
    precision, recall
        Over all tags together; the precision is NaN where no tag is given.
    """

    f1: float
    precision: float
    recall: float


def at_thresholds(targets: np.ndarray, given: np.ndarray) -> AtThresholds:
    """Judge tags, (n_clips, n_labels) bool, by (n_clips, n_labels) targets."""
    positive = targets > 0
    hits = (positive & given).sum(axis=0)
    n_positive, n_given = positive.sum(axis=0), given.sum(axis=0)
    known = n_positive > 0
    f1 = 2 * hits[known] / (n_positive[known] + n_given[known])
    precision = hits.sum() / n_given.sum() if n_given.any() else math.nan
    return AtThresholds(float(f1.mean()), float(precision), float(hits.sum() / n_positive.sum()))


def held_out_tags(judged: Judged, scores: np.ndarray, precision: float | None) -> np.ndarray:
    """What is given of each clip by thresholds found on the other folds, (n_clips, n_labels) bool."""
    given = np.zeros(scores.shape, dtype=bool)
    for fold in range(judged.n_folds):
        held = judged.folds == fold
        values = find_thresholds(scores[~held], judged.targets[~held], precision).values
        given[held] = scores[held] >= np.array([np.inf if value is None else value for value in values])
    return given
