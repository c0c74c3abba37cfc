from __future__ import annotations

import numpy as np
import pytest

from earmark.evaluation.chance import chance_lwlrap


def test_chance_of_one_label_in_n_is_the_mean_of_one_over_its_rank() -> None:
    # the only positive stands at every rank alike: (1/1 + 1/2 + 1/3 + 1/4) / 4
    targets = np.tile(np.eye(4), (500, 1))
    assert chance_lwlrap(targets) == pytest.approx(25 / 48, abs=0.01)


def test_chance_is_certain_where_every_label_is_right() -> None:
    assert chance_lwlrap(np.ones((3, 5))) == 1.0


def test_chance_is_the_same_for_the_same_seed() -> None:
    targets = np.eye(6)
    assert chance_lwlrap(targets, seed=1) == chance_lwlrap(targets, seed=1)
    assert chance_lwlrap(targets, seed=1) != chance_lwlrap(targets, seed=2)
