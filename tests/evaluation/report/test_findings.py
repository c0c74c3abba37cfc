from __future__ import annotations

import numpy as np
import pytest

from earmark.evaluation.report.findings import confusions, margins, worst_confusions

TARGETS = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]])
SCORES = np.array([[0.9, 0.5, 0.1], [0.3, 0.3, 0.2], [0.8, 0.9, 0.4], [0.6, 0.7, 0.2]])


def test_confusions_by_hand() -> None:
    # clip 1: a tie counts; clip 2: label 0 before label 2, not before label 1; clip 3: label 1, the strongest of two
    assert confusions(TARGETS, SCORES).tolist() == [[0, 1, 0], [0, 0, 0], [1, 1, 0]]


def test_the_pairs_come_most_often_first() -> None:
    counts = np.array([[0, 1, 0], [0, 0, 5], [0, 0, 0]])
    pairs = worst_confusions(counts, TARGETS, ("a", "b", "c"), 5)
    assert [(pair.label, pair.heard_as, pair.n_clips, pair.n_of_label) for pair in pairs] == [
        ("b", "c", 5, 1),
        ("a", "b", 1, 2),
    ]


def test_nothing_is_confused_in_perfect_scores() -> None:
    assert not confusions(TARGETS, TARGETS.astype(float)).any()


def test_margins_by_hand() -> None:
    assert margins(TARGETS, SCORES) == pytest.approx([0.4, 0.0, -0.4, -0.5])
    assert np.isnan(margins(np.array([[0, 0], [1, 1]]), np.array([[0.1, 0.2], [0.1, 0.2]]))).all()
