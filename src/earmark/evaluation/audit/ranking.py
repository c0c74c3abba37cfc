"""How probably the labels of a clip are right, by scores of models that never heard it.

Each label of each clip has a quality: how far the out-of-fold score agrees with what the clip is labelled with, by
cleanlab (Northcutt, Jiang and Chuang 2021, "Confident Learning"; for many labels a clip Thyagarajan et al. 2022,
"Identifying Incorrect Annotations in Multi-Label Classification Data"). The clip's own quality is made of those of its
labels; the clip with the lowest is heard first.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from earmark.errors import MissingExtraError, PredictionsError

Method = Literal["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
Aggregation = Literal["lowest", "two_lowest", "exponential_moving_average", "softmin"]


@dataclass(frozen=True)
class Quality:
    """How the quality of a clip is made; the default found most of the errors planted in everyday26 (`bench/audit.py`).

    Parameters
    ----------
    method
        Of a label: cleanlab's `self_confidence` (the score of a given label, one minus that of another),
        `normalized_margin` or `confidence_weighted_entropy`.
    adjusted
        Whether scores are held against the mean score that each label has where it is given, by cleanlab, so that
        labels that no model is sure of are not suspected everywhere. Not with `confidence_weighted_entropy`.
    aggregation
        Of a clip from its labels: `lowest`; `two_lowest`, the mean of the two lowest, which is low where one label is
        not heard and another one is; `exponential_moving_average` or `softmin` over all, by cleanlab.
    """

    method: Method = "self_confidence"
    adjusted: bool = False
    aggregation: Aggregation = "softmin"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("method", self.method, get_args(Method)),
            ("aggregation", self.aggregation, get_args(Aggregation)),
        ):
            if value not in known:
                raise ValueError(f"{name}={value!r}; expected one of {', '.join(map(repr, known))}")
        if self.adjusted and self.method == "confidence_weighted_entropy":
            raise ValueError("confidence_weighted_entropy cannot be adjusted; expected adjusted=False")


def label_quality(targets: np.ndarray, scores: np.ndarray, quality: Quality | None = None) -> np.ndarray:
    """How probably each label of each clip is right: given where it is heard, not given where it is not.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 1 where the clip has the label.
    scores
        (n_clips, n_labels) out-of-fold scores in [0, 1].
    quality
        How; the default is the one that the audit uses.

    Returns
    -------
    np.ndarray
        (n_clips, n_labels) float64 in [0, 1], low where something is wrong.

    Raises
    ------
    PredictionsError
        If the scores are not in [0, 1], or there is no clip.
    MissingExtraError
        When cleanlab is not installed.
    """
    quality = quality or Quality()
    rank = _cleanlab().rank
    check_scores(scores)
    return np.asarray(
        rank.get_label_quality_scores_per_class(
            _lists(targets), np.asarray(scores, np.float64), method=quality.method, adjust_pred_probs=quality.adjusted
        )
    )


def clip_quality(by_label: np.ndarray, aggregation: Aggregation) -> np.ndarray:
    """One figure a clip from those of its labels.

    Parameters
    ----------
    by_label
        (n_clips, n_labels) from `label_quality`.
    aggregation
        See `Quality`.

    Returns
    -------
    np.ndarray
        (n_clips,) float64 in [0, 1].
    """
    if aggregation in ("lowest", "two_lowest"):
        n_lowest = min(by_label.shape[1], 1 if aggregation == "lowest" else 2)
        return np.sort(by_label, axis=1)[:, :n_lowest].mean(axis=1)
    _cleanlab()
    from cleanlab.internal.multilabel_scorer import Aggregator

    keywords = {"alpha": 0.8} if aggregation == "exponential_moving_average" else {"temperature": 0.1}
    return np.asarray(Aggregator(aggregation, **keywords)(by_label))


def n_suspected(targets: np.ndarray, scores: np.ndarray) -> int:
    """Number of clips of which cleanlab expects that a label is wrong or missing.

    Parameters
    ----------
    targets, scores
        As for `label_quality`.
    """
    check_scores(scores)
    with warnings.catch_warnings():
        # it flags none of a label's clips where there are very few; they are ranked all the same
        warnings.filterwarnings("ignore", message="May not flag all label issues", category=UserWarning)
        mask = _cleanlab().filter.find_label_issues(_lists(targets), np.asarray(scores, np.float64), n_jobs=1)
    return int(np.sum(mask))


def check_scores(scores: np.ndarray) -> None:
    """Raise `PredictionsError` unless there are scores, all of them in [0, 1]."""
    if not len(scores):
        raise PredictionsError("no clip has out-of-fold scores; expected at least one to audit")
    lowest, highest = float(np.min(scores)), float(np.max(scores))
    if lowest < 0 or highest > 1:
        raise PredictionsError(
            f"scores lie between {lowest:g} and {highest:g}; an audit needs probabilities in [0, 1]; are they logits?"
        )


def _lists(targets: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row > 0).tolist() for row in targets]


def _cleanlab() -> Any:
    try:
        import cleanlab.multilabel_classification as multilabel
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"auditing ({error.name})", "audit") from error
    return multilabel
