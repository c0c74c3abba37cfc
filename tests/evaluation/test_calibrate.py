"""Calibrations make scores what they say, thresholds do what their rule says, and neither sees what judges it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from earmark.evaluation.calibrate import (
    METHODS,
    at_thresholds,
    find_thresholds,
    fit_calibration,
    held_out,
    held_out_tags,
)
from earmark.evaluation.calibration import calibrated
from earmark.evaluation.library import Judged
from earmark.evaluation.mixing import logit
from earmark.evaluation.reliability import ece
from earmark.labels import Vocabulary

N = 4000


def skewed(rng: np.random.Generator, slopes: list[float], offsets: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and targets whose probability is ``sigmoid(slope * logit(score) + offset)``."""
    logits = 2 * rng.standard_normal((N, len(slopes)))
    targets = rng.random(logits.shape) < expit(np.array(slopes) * logits + offsets)
    return expit(logits).astype(np.float32), targets.astype(np.float32)


def test_a_temperature_is_found(rng: np.random.Generator) -> None:
    scores, targets = skewed(rng, [0.5, 2.0], [0, 0])
    found = fit_calibration("temperature", scores, targets)
    np.testing.assert_allclose(found.slopes, [0.5, 2.0], rtol=0.1)
    assert found.offsets == (0.0, 0.0)


def test_platt_finds_slope_and_offset(rng: np.random.Generator) -> None:
    scores, targets = skewed(rng, [0.5, 2.0], [-1, 1])
    found = fit_calibration("platt", scores, targets)
    np.testing.assert_allclose(found.slopes, [0.5, 2.0], rtol=0.15)
    np.testing.assert_allclose(found.offsets, [-1, 1], atol=0.15)


def test_platt_beside_logistic_regression(rng: np.random.Generator) -> None:
    scores, targets = skewed(rng, [0.7], [-2])
    found = fit_calibration("platt", scores, targets)
    reference = LogisticRegression(C=np.inf).fit(logit(scores), targets[:, 0])
    assert found.slopes[0] == pytest.approx(reference.coef_[0, 0], rel=0.02)
    assert found.offsets[0] == pytest.approx(reference.intercept_[0], abs=0.02)


def test_isotonic_is_scikit_learns(rng: np.random.Generator) -> None:
    scores, targets = skewed(rng, [0.7], [-2])
    found = calibrated(fit_calibration("isotonic", scores, targets), scores)
    reference = IsotonicRegression(out_of_bounds="clip").fit_transform(scores[:, 0].astype(float), targets[:, 0])
    np.testing.assert_allclose(found[:, 0], reference, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_probabilities_afterwards(rng: np.random.Generator, method: str) -> None:
    scores, targets = skewed(rng, [0.4, 0.6], [0, 0])
    again, fresh = skewed(rng, [0.4, 0.6], [0, 0])
    found = calibrated(fit_calibration(method, scores, targets), again)
    assert ece(fresh, again) > 0.1
    assert ece(fresh, found) < 0.03
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0, 1])
def test_a_label_that_all_or_none_have_is_left_as_it_is(rng: np.random.Generator, method: str, value: int) -> None:
    scores, targets = skewed(rng, [0.5, 0.5], [0, 0])
    targets[:, 1] = value
    found = calibrated(fit_calibration(method, scores, targets), scores)
    np.testing.assert_allclose(found[:, 1], scores[:, 1], atol=1e-6)
    assert np.abs(found[:, 0] - scores[:, 0]).max() > 0.05


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_no_ranking_turns_round_though_scores_are_upside_down(rng: np.random.Generator, method: str) -> None:
    scores, targets = skewed(rng, [-1.0], [0])
    assert fit_calibration(method, scores, targets).slopes[0] > 0


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_labels_told_apart_without_error_have_a_finite_slope(method: str) -> None:
    scores = np.array([[0.1]] * 9 + [[0.9]], dtype=np.float32)
    found = fit_calibration(method, scores, (scores > 0.5).astype(np.float32))
    assert 0 < found.slopes[0] < 25
    assert calibrated(found, scores)[-1, 0] < 0.999


@pytest.mark.parametrize("method", METHODS)
def test_a_fold_has_no_say_in_its_own_calibration(
    make_judged: Callable[..., Judged], knowing: Callable[..., np.ndarray], method: str
) -> None:
    judged = make_judged(200)
    scores = knowing(judged.targets)
    held = judged.folds == 2
    other = np.where(held[:, None], 1 - judged.targets, judged.targets)
    found = [held_out(one, scores, method) for one in (judged, replace(judged, targets=other))]
    np.testing.assert_array_equal(found[0][held], found[1][held])
    assert (found[0][~held] != found[1][~held]).any()
    tags = [held_out_tags(one, scores, None) for one in (judged, replace(judged, targets=other))]
    np.testing.assert_array_equal(tags[0][held], tags[1][held])


class TestThresholds:
    def test_by_hand(self) -> None:
        scores = np.array([[0.9], [0.8], [0.6], [0.4], [0.2]])
        targets = np.array([[1], [0], [1], [0], [0]])
        assert find_thresholds(scores, targets).values[0] == pytest.approx(0.5)  # F1 of 2/3, 1/2, 4/5, 2/3, 4/7
        assert find_thresholds(scores, targets, 1.0).values[0] == pytest.approx(0.85)
        assert find_thresholds(scores, targets, 0.5).values[0] == pytest.approx(0.3)  # 2 of 4
        assert find_thresholds(scores, targets, 0.5).rule == "precision 0.5"
        assert find_thresholds(scores, targets).rule == "f1"

    def test_no_other_threshold_has_a_better_f1(self, rng: np.random.Generator) -> None:
        targets = (rng.random((200, 3)) < 0.3).astype(int)
        scores = np.round(0.3 * targets + 0.7 * rng.random((200, 3)), 2)  # with ties
        for column, value in enumerate(find_thresholds(scores, targets).values):
            assert value is not None
            truth, said = targets[:, column], scores[:, column]
            others = [f1_score(truth, said >= other) for other in np.unique(said)]
            assert f1_score(truth, said >= value) == pytest.approx(max(others))

    def test_equal_scores_are_given_together_or_not_at_all(self) -> None:
        scores, targets = np.array([[0.5]] * 4), np.array([[1], [1], [0], [0]])
        assert find_thresholds(scores, targets, 0.9).values == (None,)
        assert find_thresholds(scores, targets).values[0] == pytest.approx(0.25)

    def test_of_a_label_that_nothing_has(self) -> None:
        scores, targets = np.array([[0.1], [0.2]]), np.zeros((2, 1))
        assert find_thresholds(scores, targets).values == find_thresholds(scores, targets, 0.5).values == (None,)

    def test_on_other_folds_by_hand(self) -> None:
        """Fold 0 asks for 0.5, by which fold 1 is judged; fold 1 asks for 0.25, by which fold 0 is."""
        judged = Judged(
            tuple("abcd"), Vocabulary(["one"]), np.array([[1], [0], [1], [0]]), np.array([0, 0, 1, 1]), ("",) * 4
        )
        scores = np.array([[0.7], [0.3], [0.4], [0.1]])
        np.testing.assert_array_equal(held_out_tags(judged, scores, None)[:, 0], [True, True, False, False])

    def test_what_tags_come_to_by_hand(self) -> None:
        targets = np.array([[1, 0, 0], [1, 1, 0]])
        given = np.array([[True, True, False], [False, True, False]])
        found = at_thresholds(targets, given)
        assert found.f1 == pytest.approx((2 / 3 + 2 / 3) / 2)  # the third label has no positive
        assert (found.precision, found.recall) == pytest.approx((2 / 3, 2 / 3))
        assert np.isnan(at_thresholds(targets, np.zeros((2, 3), dtype=bool)).precision)
