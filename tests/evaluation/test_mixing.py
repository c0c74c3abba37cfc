"""Scores of members become one as the combination says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.special import logit as scipy_logit
from scipy.stats import rankdata

from earmark.bundle import Combination, Layer
from earmark.evaluation.mixing import LEVELS, combined, logit, quantiles_of, side_by_side, sigmoid, transformed

ONE = np.array([[0.9, 0.1], [0.5, 0.2]], dtype=np.float32)
OTHER = np.array([[0.1, 0.4], [0.5, 0.8]], dtype=np.float32)


def mean_of(kind: str, weights: tuple[float, ...] = (0.25, 0.75), **more: object) -> np.ndarray:
    return combined(Combination(members=("a", "b"), kind=kind, weights=weights, **more), [ONE, OTHER])


def test_arithmetic_mean_by_hand() -> None:
    found = mean_of("arithmetic")
    np.testing.assert_allclose(found, [[0.3, 0.325], [0.5, 0.65]], rtol=1e-6)
    assert found.dtype == np.float32


def test_geometric_mean_by_hand() -> None:
    np.testing.assert_allclose(mean_of("geometric"), ONE**0.25 * OTHER**0.75, rtol=1e-5)


def test_a_geometric_mean_of_nothing_is_nearly_nothing() -> None:
    found = combined(Combination(members=("a",), kind="geometric", weights=(1.0,)), [np.zeros((1, 2))])
    np.testing.assert_allclose(found, 1e-7, rtol=1e-4)


@pytest.mark.parametrize("kind", ["arithmetic", "geometric"])
def test_one_member_stays_as_it_is(kind: str) -> None:
    np.testing.assert_allclose(mean_of(kind, (0.0, 1.0)), OTHER, rtol=1e-6)


def test_places_are_those_among_other_clips(rng: np.random.Generator) -> None:
    seen = 0.1 + 0.8 * rng.random((400, 3)) ** 3
    own = transformed("rank", [seen], quantiles_of([seen]))[0]
    expected = (rankdata(seen, axis=0) - 1) / (len(seen) - 1)
    np.testing.assert_allclose(own, expected, atol=0.03)
    assert own[seen[:, 0].argmax(), 0] == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(transformed("rank", [[[0.0] * 3, [1.0] * 3]], quantiles_of([seen]))[0, :, 0], [0, 1])


def test_equal_scores_share_the_middle_of_their_places() -> None:
    seen = np.array([[0.2]] * 50 + [[0.9]] * 50)
    assert transformed("rank", [[[0.2]]], quantiles_of([seen]))[0, 0, 0] == pytest.approx(0.25, abs=0.04)


def test_places_forget_what_scale_scores_have() -> None:
    """Rank means of a member and of its square are the same; arithmetic means are not."""
    rng = np.random.default_rng(1)
    scores = [rng.random((60, 2)), rng.random((60, 2))]
    squared = [scores[0] ** 2, scores[1]]
    tables = [transformed("rank", given, quantiles_of(given)).mean(axis=0) for given in (scores, squared)]
    np.testing.assert_allclose(tables[0], tables[1], atol=0.01)
    assert np.abs(np.mean(scores, axis=0) - np.mean(squared, axis=0)).max() > 0.1


def test_levels_rise_from_0_to_1() -> None:
    assert LEVELS[0] == 0
    assert LEVELS[-1] == 1
    assert (np.diff(LEVELS) > 0).all()


def test_a_second_level_of_one_layer_is_linear_in_logits() -> None:
    layer = Layer(((1.0, 0.0), (0.0, 1.0), (0.5, 0.0), (0.0, -1.0)), (0.1, -0.2))
    found = combined(Combination(members=("a", "b"), kind="ridge", layers=(layer,)), [ONE, OTHER])
    expected = expit(scipy_logit(ONE) + scipy_logit(OTHER) * [0.5, -1.0] + [0.1, -0.2])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_between_two_layers_negatives_are_cut() -> None:
    first = Layer(((1.0, -1.0),) * 4, (0.0, 0.0))
    second = Layer(((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0))
    found = combined(Combination(members=("a", "b"), kind="mlp", layers=(first, second)), [ONE, OTHER])
    total = side_by_side([ONE, OTHER]).sum(axis=1)
    np.testing.assert_allclose(found, expit(np.maximum(np.stack([total, -total], axis=1), 0)), rtol=1e-5)


def test_logit_and_sigmoid_are_each_others_inverse_and_bounded() -> None:
    scores = np.linspace(0.001, 0.999, 99)
    np.testing.assert_allclose(sigmoid(logit(scores)), scores, rtol=1e-9)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 1e4])), [0, 1])


def test_a_table_too_few() -> None:
    with pytest.raises(ValueError, match="1 tables of scores for 2 members; give one each"):
        combined(Combination(members=("a", "b"), kind="arithmetic", weights=(0.5, 0.5)), [ONE])
