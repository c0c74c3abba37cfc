"""Which clips make up each step's batch, and the numbers that everything else random in it begins with.

All of it follows from a seed and the step's number: a training that goes on at step k sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

ORDER, DRAWS, NOISY = 0, 1, 2
"""Streams of random numbers that have nothing to do with each other."""


class Order:
    """Batches of clips from a step on to the end of a training; an epoch has every clip once, less an uneven rest.

    Where there are noisy clips, each batch has equally many of them, behind the others; an epoch still has each of the
    others once. Noisy clips are gone through over and over, each time in another order.

    Parameters
    ----------
    n_clips
        To learn from, without the noisy ones.
    batch_size
        Clips to a batch, noisy ones among them, over all processes together; no more than there are.
    n_epochs
        Of the whole training.
    seed
        Of the order.
    first_step
        To begin with, from 0.
    n_noisy
        Noisy clips, which are numbered on from `n_clips`.
    rate
        Noisy clips to each other one in a batch; 0 for as many as there are of each. A batch has one at least of both.
    rank, world_size
        Which of how many processes this is; each has every so-many-th clip of a batch.

    Examples
    --------
    >>> [len(batch) for batch in Order(10, 4, 2, seed=1)]
    [4, 4, 4, 4]
    """

    def __init__(
        self,
        n_clips: int,
        batch_size: int,
        n_epochs: int,
        seed: int,
        first_step: int = 0,
        *,
        n_noisy: int = 0,
        rate: float = 0.0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.n_clips = n_clips
        self.n_noisy = n_noisy
        self.noisy_per_batch = _noisy_per_batch(min(batch_size, n_clips + n_noisy), rate or n_noisy / n_clips, n_noisy)
        self.others_per_batch = min(batch_size - self.noisy_per_batch, n_clips)
        self.batch_size = self.others_per_batch + self.noisy_per_batch
        self.seed = seed
        self.first_step = first_step
        self.rank, self.world_size = rank, world_size
        # an uneven rest is left out: a batch of one clip would leave batch normalisation nothing to normalise by
        self.steps_per_epoch = n_clips // self.others_per_batch
        self.n_steps = n_epochs * self.steps_per_epoch

    def __len__(self) -> int:
        return self.n_steps - self.first_step

    def __iter__(self) -> Iterator[Tensor]:
        for step in range(self.first_step, self.n_steps):
            epoch, batch = divmod(step, self.steps_per_epoch)
            if batch == 0 or step == self.first_step:
                shuffled = np.random.default_rng([self.seed, ORDER, epoch]).permutation(self.n_clips)
            chosen = shuffled[batch * self.others_per_batch : (batch + 1) * self.others_per_batch]
            if self.n_noisy:
                chosen = np.concatenate([chosen, self._noisy_of(step)])
            yield torch.from_numpy(chosen[self.rank :: self.world_size].copy())

    def _noisy_of(self, step: int) -> np.ndarray:
        """A step's noisy clips: a stretch of one random order of all of them after the other."""
        rounds, places = np.divmod(np.arange(self.noisy_per_batch) + step * self.noisy_per_batch, self.n_noisy)
        orders = {
            r: np.random.default_rng([self.seed, NOISY, r]).permutation(self.n_noisy) for r in set(rounds.tolist())
        }
        return self.n_clips + np.array([orders[r][place] for r, place in zip(rounds.tolist(), places, strict=True)])


def _noisy_per_batch(batch_size: int, rate: float, n_noisy: int) -> int:
    return min(max(1, round(batch_size * rate / (1 + rate))), batch_size - 1) if n_noisy else 0


def seed_of_step(seed: int, step: int, rank: int = 0) -> int:
    """What a step's random draws begin with, in [0, 2^63)."""
    state = np.random.SeedSequence([seed, DRAWS, step, rank]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
