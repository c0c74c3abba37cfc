"""Expected calibration error, and its diagram."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earmark.evaluation.reliability import brier, draw_reliability, ece, ece_by_label, reliability


def test_by_hand() -> None:
    """Two bins: scores 0.1 and 0.3, of which one is true; scores 0.6 and 0.8, both true."""
    targets, scores = [[1, 0], [1, 1]], [[0.1, 0.3], [0.6, 0.8]]
    found = reliability(targets, scores, n_bins=2)
    np.testing.assert_array_equal(found.counts, [2, 2])
    np.testing.assert_allclose(found.scores, [0.2, 0.7])
    np.testing.assert_allclose(found.shares, [0.5, 1.0])
    assert ece(targets, scores, n_bins=2) == pytest.approx(0.3)
    assert brier(targets, scores) == pytest.approx((0.81 + 0.09 + 0.16 + 0.04) / 4)


def test_labels_that_err_in_opposite_ways_hide_each_other_only_together() -> None:
    targets, scores = np.array([[1, 0]] * 4), np.full((4, 2), 0.5)
    assert ece(targets, scores) == 0
    assert ece_by_label(targets, scores) == pytest.approx(0.5)


def test_probabilities_have_nearly_none(rng: np.random.Generator) -> None:
    scores = rng.random((20_000, 5))
    assert ece(rng.random(scores.shape) < scores, scores) < 0.01


def test_of_scores_that_are_right_and_sure_it_is_0() -> None:
    assert ece(np.eye(3), np.eye(3)) == 0


@pytest.mark.parametrize(("scores", "said"), [([[1.5]], "from 1.5 to 1.5"), (np.zeros((0, 1)), "none")])
def test_what_are_no_probabilities(scores: object, said: str) -> None:
    with pytest.raises(ValueError, match=f"scores are {said}; expected some, from 0 to 1; are they logits"):
        reliability(np.zeros(np.shape(scores)), scores)


def test_the_diagram_is_a_picture(tmp_path: Path, rng: np.random.Generator) -> None:
    scores = rng.random((50, 3))
    found = reliability(scores > 0.5, scores)
    draw_reliability(found, found, tmp_path / "a.png", title="the same twice")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
