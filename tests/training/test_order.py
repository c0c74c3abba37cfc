from __future__ import annotations

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
