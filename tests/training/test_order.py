from __future__ import annotations

import pytest
import torch

from earmark.training.order import Order, seed_of_step


def test_an_epoch_has_every_clip_once() -> None:
    batches = list(Order(12, 4, 2, seed=3))
    first, second = torch.cat(batches[:3]), torch.cat(batches[3:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(12))
    assert first.tolist() != second.tolist()


def test_an_uneven_rest_is_left_out_and_small_collections_make_one_batch() -> None:
    assert [len(batch) for batch in Order(11, 4, 1, seed=0)] == [4, 4]
    assert [len(batch) for batch in Order(3, 32, 2, seed=0)] == [3, 3]


def test_it_goes_on_at_any_step_as_if_it_had_not_stopped() -> None:
    whole = list(Order(10, 3, 4, seed=5))
    for step in (0, 1, 3, 7, 11, 12):
        rest = Order(10, 3, 4, seed=5, first_step=step)
        assert len(rest) == len(whole) - step
        assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[step:]]


def test_processes_share_each_batch() -> None:
    whole = list(Order(20, 8, 2, seed=1))
    shares = [list(Order(20, 8, 2, seed=1, rank=rank, world_size=2)) for rank in (0, 1)]
    for batch, one, other in zip(whole, *shares, strict=True):
        assert len(one) == len(other) == 4
        assert sorted([*one.tolist(), *other.tolist()]) == sorted(batch.tolist())


def test_seeds_differ_by_seed_step_and_process() -> None:
    seeds = {seed_of_step(seed, step, rank) for seed in range(3) for step in range(50) for rank in range(2)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of_step(1, 2) == seed_of_step(1, 2)


def test_every_batch_has_noisy_clips_in_proportion() -> None:
    order = Order(12, 6, 4, seed=3, n_noisy=24)
    batches = [batch.tolist() for batch in order]
    assert [sum(clip >= 12 for clip in batch) for batch in batches] == [4] * 24
    assert all(batch == sorted(batch, key=lambda clip: clip >= 12) for batch in batches)  # noisy ones last
    epoch = [clip for batch in batches[:6] for clip in batch]
    assert sorted(epoch) == list(range(36))  # 4 of 6 are noisy, as 24 of 36 are


@pytest.mark.parametrize(("rate", "n_noisy"), [(1.0, 3), (0.2, 1), (0.01, 1), (100.0, 5)])
def test_a_rate_says_how_many_noisy_clips_a_batch_has(rate: float, n_noisy: int) -> None:
    order = Order(12, 6, 1, seed=3, n_noisy=24, rate=rate)
    batches = [batch.tolist() for batch in order]
    assert {sum(clip >= 12 for clip in batch) for batch in batches} == {n_noisy}
    others = [clip for batch in batches for clip in batch if clip < 12]
    assert len(set(others)) == len(others) == len(batches) * (6 - n_noisy)


def test_noisy_clips_are_gone_through_one_after_the_other() -> None:
    noisy = [clip - 6 for batch in Order(6, 5, 5, seed=1, n_noisy=7, rate=1.5) for clip in batch.tolist() if clip >= 6]
    rounds = [noisy[start : start + 7] for start in range(0, len(noisy) - 6, 7)]
    assert len(rounds) > 3
    assert all(sorted(part) == list(range(7)) for part in rounds)
    assert len({tuple(part) for part in rounds}) > 1


def test_fewer_noisy_clips_than_a_batch_wants_come_again() -> None:
    batches = [batch.tolist() for batch in Order(20, 10, 1, seed=0, n_noisy=2, rate=1.0)]
    assert all(set(batch[5:]) == {20, 21} for batch in batches)


def test_with_noisy_clips_it_goes_on_at_any_step_too() -> None:
    whole = [batch.tolist() for batch in Order(10, 4, 4, seed=5, n_noisy=9)]
    for step in (1, 5, 11):
        rest = Order(10, 4, 4, seed=5, first_step=step, n_noisy=9)
        assert [batch.tolist() for batch in rest] == whole[step:]
