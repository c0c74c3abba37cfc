"""Quality of labels and clips, by hand and against cleanlab's own aggregation."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.errors import PredictionsError
from earmark.evaluation.audit.ranking import Quality, clip_quality, label_quality, n_suspected

TARGETS = np.array([[1, 0, 0], [0, 1, 1]])
SCORES = np.array([[0.9, 0.2, 0.1], [0.7, 0.8, 0.25]])


def test_the_quality_of_a_label_is_how_far_its_score_agrees() -> None:
    found = label_quality(TARGETS, SCORES, Quality("self_confidence"))
    np.testing.assert_allclose(found, [[0.9, 0.8, 0.9], [0.3, 0.8, 0.25]])


@pytest.mark.parametrize(("aggregation", "expected"), [("lowest", [0.8, 0.25]), ("two_lowest", [0.85, 0.275])])
def test_the_quality_of_a_clip_is_that_of_its_worst_labels(aggregation: str, expected: list[float]) -> None:
    by_label = label_quality(TARGETS, SCORES, Quality("self_confidence"))
    np.testing.assert_allclose(clip_quality(by_label, aggregation), expected)


def test_one_label_alone_has_no_second_lowest() -> None:
    np.testing.assert_array_equal(clip_quality(np.array([[0.2], [0.7]]), "two_lowest"), [0.2, 0.7])


def test_cleanlabs_aggregations_are_those_of_its_public_function() -> None:
    from cleanlab.multilabel_classification import get_label_quality_scores

    by_label = label_quality(TARGETS, SCORES, Quality("self_confidence"))
    lists = [[0], [1, 2]]
    average = get_label_quality_scores(lists, SCORES)
    np.testing.assert_allclose(clip_quality(by_label, "exponential_moving_average"), average)
    softmin = {"method": "softmin", "temperature": 0.1}
    np.testing.assert_allclose(
        clip_quality(by_label, "softmin"), get_label_quality_scores(lists, SCORES, aggregator_kwargs=softmin)
    )


@pytest.mark.parametrize("adjusted", [False, True])
@pytest.mark.parametrize("method", ["self_confidence", "normalized_margin"])
def test_qualities_lie_between_0_and_1_with_a_label_that_no_clip_has(
    rng: np.random.Generator, method: str, adjusted: bool
) -> None:
    targets, scores = np.eye(4)[rng.integers(3, size=30)], rng.random((30, 4))
    found = label_quality(targets, scores, Quality(method, adjusted))
    assert found.shape == (30, 4)
    assert 0 <= found.min() <= found.max() <= 1


def test_planted_errors_come_first_and_are_counted(rng: np.random.Generator) -> None:
    true = np.eye(5)[np.arange(200) % 5]
    scores = np.clip(0.9 * true + 0.05 + rng.normal(scale=0.02, size=true.shape), 0, 1)
    given, wrong = true.copy(), rng.choice(200, size=16, replace=False)
    given[wrong] = np.roll(true[wrong], 1, axis=1)
    quality = Quality()
    order = np.argsort(clip_quality(label_quality(given, scores, quality), quality.aggregation))
    assert set(order[:16].tolist()) == set(wrong.tolist())
    assert n_suspected(given, scores) == 16
    assert n_suspected(true, scores) == 0


def test_logits_are_refused() -> None:
    with pytest.raises(PredictionsError, match=r"between -2 and 3; an audit needs probabilities .* are they logits\?"):
        label_quality(TARGETS, np.array([[3.0, -2, 0], [0, 0, 0]]))


def test_no_clips_are_refused() -> None:
    with pytest.raises(PredictionsError, match="no clip has out-of-fold scores"):
        label_quality(np.zeros((0, 3)), np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "margin"}, "method='margin'; expected one of 'self_confidence'"),
        ({"aggregation": "mean"}, "aggregation='mean'; expected one of 'lowest'"),
        ({"method": "confidence_weighted_entropy", "adjusted": True}, "cannot be adjusted"),
    ],
)
def test_unknown_ways_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Quality(**arguments)
