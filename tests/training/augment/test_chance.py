from __future__ import annotations

import pytest
import torch

from earmark.training.augment.chance import between, chosen, folded_beta, generator_on, partners, signed


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0, 0), (1.0, 10_000, 10_000), (0.3, 2800, 3200)])
def test_as_many_are_chosen_as_the_probability_says(probability: float, least: int, most: int) -> None:
    picked = chosen(10_000, probability, seeded())
    assert picked.dtype == torch.bool
    assert least <= int(picked.sum()) <= most


def test_uniform_draws_fill_their_range() -> None:
    for drawn, low, high in ((signed(10_000, seeded()), -1, 1), (between(10_000, (3.0, 7.0), seeded()), 3, 7)):
        assert drawn.dtype == torch.float32
        assert low <= drawn.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < drawn.max() <= high
        assert abs(drawn.mean().item() - (low + high) / 2) < 0.02 * (high - low)


def test_folded_beta_of_one_is_uniform_and_of_little_is_near_one() -> None:
    uniform = folded_beta(20_000, 1.0, seeded())
    assert uniform.min() >= 0.5
    assert abs(uniform.mean().item() - 0.75) < 0.01
    assert folded_beta(20_000, 0.01, seeded()).median() > 0.99
    # Beta(a, a) has variance 1 / (4 (2 a + 1))
    assert abs((folded_beta(20_000, 4.0, seeded()) - 0.5).square().mean().item() - 1 / 36) < 1e-3


@pytest.mark.parametrize("n", [2, 3, 50])
def test_everyone_meets_someone_else(n: int) -> None:
    for seed in range(20):
        met = partners(n, seeded(seed))
        assert sorted(met.tolist()) == list(range(n))
        assert not (met == torch.arange(n)).any()


def test_one_alone_meets_itself_and_none_nobody() -> None:
    assert partners(1, seeded()).tolist() == [0]
    assert partners(0, seeded()).tolist() == []


def test_generator_on_a_device_follows_the_seed() -> None:
    first, again, other = (
        torch.rand(4, generator=generator_on(torch.device("cpu"), seeded(seed))) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
