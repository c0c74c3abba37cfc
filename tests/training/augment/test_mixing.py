from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.training.augment.mixing import concatenation, mixup
from earmark.training.augment.recipe import Concatenation, Mixup

SHAPES = [(3, 4, 20), (50,), (12, 20)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_hot(n: int) -> torch.Tensor:
    return torch.eye(n)


class TestMixup:
    def test_is_a_weighted_mean_that_stays_mostly_itself(self) -> None:
        n = 64
        pictures = torch.eye(n).reshape(n, 1, 1, n)
        mixed, targets = mixup(pictures.clone(), one_hot(n), Mixup(alpha=0.4), seeded())
        torch.testing.assert_close(mixed.reshape(n, n), targets)
        torch.testing.assert_close(targets.sum(1), torch.ones(n))
        assert (targets.diagonal() >= 0.5).all()
        assert (targets.diagonal() < 0.999).any()

    def test_united_labels_are_all_that_are_in_either(self) -> None:
        n = 64
        waveforms = torch.eye(n)
        mixed, targets = mixup(waveforms.clone(), one_hot(n), Mixup(labels="united"), seeded())
        assert torch.equal(targets, (mixed > 0).float())
        assert targets.sum(1).max() == 2

    @pytest.mark.parametrize("labels", ["weighted", "united"])
    def test_what_chance_does_not_pick_keeps_everything(self, labels: Any) -> None:
        n = 400
        batch = torch.rand(n, 5, 7)
        mixed, targets = mixup(batch.clone(), one_hot(n), Mixup(probability=0.5, labels=labels), seeded())
        same = (mixed == batch).flatten(1).all(1)
        assert torch.equal(same, (targets == one_hot(n)).all(1))
        assert 160 < int(same.sum()) < 240

    def test_soft_targets_stay_within_their_range(self) -> None:
        given_targets = torch.rand(50, 9)
        for labels in ("weighted", "united"):
            _, targets = mixup(torch.rand(50, 3), given_targets, Mixup(labels=labels), seeded())
            assert targets.min() >= given_targets.min()
            assert targets.max() <= given_targets.max()


class TestConcatenation:
    def test_keeps_the_beginning_and_takes_the_end_of_another(self) -> None:
        n, length = 40, 100
        batch = torch.arange(float(n))[:, None].repeat(1, length)
        recipe = Concatenation(probability=1.0, border_s=0.0, labels="weighted")
        made, targets = concatenation(batch.clone(), one_hot(n), recipe, 10.0, seeded())
        assert torch.equal(made[:, : length // 2], batch[:, : length // 2])
        own = made == batch
        kept = own.sum(1)
        assert torch.equal(own, torch.arange(length) < kept[:, None])
        assert kept.unique().numel() > 10
        assert (targets.diagonal() - kept / length).abs().max() <= 0.5 / length + 1e-6
        for index, values in enumerate(made):
            assert values.unique().numel() <= 2
            assert targets[index].nonzero()[:, 0].tolist() == sorted({index, int(values[-1])}) or kept[index] == length

    def test_border_fades_in_a_straight_line(self) -> None:
        batch = torch.stack([torch.zeros(1000), torch.ones(1000)])
        made, _ = concatenation(batch, torch.eye(2), Concatenation(probability=1.0, border_s=0.2), 1000.0, seeded(1))
        for values, begins in zip(made, (0.0, 1.0), strict=True):
            inside = (values > 0) & (values < 1)
            assert 198 <= int(inside.sum()) <= 200
            steps = values.diff()[inside[1:] & inside[:-1]]
            torch.testing.assert_close(steps, torch.full_like(steps, 1 / 200 if begins == 0 else -1 / 200))
            assert values[0] == begins

    def test_united_labels(self) -> None:
        made, targets = concatenation(torch.rand(6, 4, 30), one_hot(6), Concatenation(probability=1.0), 10.0, seeded())
        assert made.shape == (6, 4, 30)
        assert torch.equal(targets.diagonal(), torch.ones(6))
        assert torch.equal(targets.sum(1), torch.full((6,), 2.0))

    def test_frames_of_spectrograms_change_in_all_bands(self) -> None:
        batch = torch.rand(8, 5, 30)
        made, _ = concatenation(
            batch.clone(), torch.eye(8), Concatenation(probability=1.0, border_s=0.0), 10.0, seeded()
        )
        changed = made != batch
        assert torch.equal(changed.all(1), changed.any(1))

    def test_half_are_changed_by_a_probability_of_one_half(self) -> None:
        batch = torch.rand(400, 50)
        made, targets = concatenation(batch.clone(), torch.eye(400), Concatenation(probability=0.5), 10.0, seeded())
        changed = (made != batch).any(1)
        assert 150 < int(changed.sum()) < 240
        assert (targets[changed].sum(1) == 2).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("labels", ["weighted", "united"])
def test_shape_type_seed_and_nothing(shape: tuple[int, ...], labels: Any) -> None:
    batch, targets = torch.rand(8, *shape), torch.rand(8, 3)
    for change, recipe in (
        (mixup, Mixup(labels=labels)),
        (lambda *a: concatenation(*a[:3], 100.0, a[3]), Concatenation(probability=1.0, labels=labels)),
    ):
        runs = [change(batch.clone(), targets, recipe, seeded(seed)) for seed in (3, 3, 4)]
        for values, mixed in runs:
            assert values.shape == batch.shape
            assert mixed.shape == targets.shape
            assert values.dtype == mixed.dtype == torch.float32
        assert torch.equal(runs[0][0], runs[1][0])
        assert torch.equal(runs[0][1], runs[1][1])
        assert not torch.equal(runs[0][0], runs[2][0])
        never = type(recipe)(probability=0.0, labels=labels)
        values, mixed = change(batch.clone(), targets, never, seeded())
        assert torch.equal(values, batch)
        assert torch.equal(mixed, targets)


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 6),
    length=st.integers(1, 40),
    border_s=st.floats(0, 3),
    alpha=st.floats(0.01, 5),
    probability=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_nothing_leaves_the_range_of_what_was_given(
    n: int, length: int, border_s: float, alpha: float, probability: float, seed: int
) -> None:
    batch, targets = torch.rand(n, 2, length), torch.rand(n, 3)
    recipe = Concatenation(probability=probability, alpha=alpha, border_s=border_s)
    values, mixed = concatenation(batch.clone(), targets, recipe, 10.0, seeded(seed))
    assert batch.min() <= values.min()
    assert values.max() <= batch.max()
    assert (mixed >= targets).all()
    mixed_again, _ = mixup(batch.clone(), targets, Mixup(probability=probability, alpha=alpha), seeded(seed))
    assert batch.min() - 1e-6 <= mixed_again.min()
    assert mixed_again.max() <= batch.max() + 1e-6
