"""Greedy selection takes what helps, as often as it helps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from earmark.evaluation.greedy import greedy_weights
from earmark.evaluation.library import Judged
from earmark.metrics import lwlrap


def test_a_perfect_candidate_is_taken_alone() -> None:
    targets = np.eye(3)
    np.testing.assert_array_equal(greedy_weights(np.stack([1 - targets, targets, targets]), targets), [0, 1, 0])


def test_two_that_err_on_different_clips_are_taken_together() -> None:
    """Each is sure where it is right, and errs by little where it is wrong; so their mean is right."""
    targets = np.array([[1, 0], [0, 1]])
    left, right = np.array([[0.9, 0.1], [0.6, 0.5]]), np.array([[0.4, 0.5], [0.1, 0.9]])
    assert lwlrap(targets, left) == lwlrap(targets, right) == 0.75
    np.testing.assert_array_equal(greedy_weights(np.stack([left, right]), targets), [0.5, 0.5])


def test_one_may_be_taken_several_times() -> None:
    """The sum of twice the first and once the second is right; no sum with other parts of two or three is."""
    targets = np.array([[1, 0], [0, 1]])
    first, second = np.array([[0.7, 0.3], [0.55, 0.45]]), np.array([[0.0, 0.75], [0.0, 0.9]])
    weights = greedy_weights(np.stack([first, second]), targets, n_rounds=3)
    np.testing.assert_allclose(weights, [2 / 3, 1 / 3])


def test_on_what_it_saw_it_is_never_worse_than_the_best_single(
    make_judged: Callable[..., Judged], knowing: Callable[..., np.ndarray]
) -> None:
    targets = make_judged().targets
    tables = np.stack([knowing(targets, noise=1.5, seed=seed) for seed in range(6)])
    weights = greedy_weights(tables, targets)
    assert weights.sum() == pytest.approx(1)
    assert lwlrap(targets, np.tensordot(weights, tables, 1)) > max(lwlrap(targets, table) for table in tables)
