"""Which clips make up each step's batch, and the numbers that everything else random in it begins with.

All of it follows from a seed and the step's number: a training that goes on at step k sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

ORDER, DRAWS = 0, 1
"""Two streams of random numbers that have nothing to do with each other."""


class Order:
    """Batches of clips from a step on to the end of a training; an epoch has every clip once, less an uneven rest.

    Parameters
    ----------
    n_clips
        To learn from.
    batch_size
        Clips to a batch, over all processes together; no more than there are.
    n_epochs
        Of the whole training.
    seed
        Of the order.
    first_step
        To begin with, from 0.
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
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.n_clips = n_clips
        self.batch_size = min(batch_size, n_clips)
        self.seed = seed
        self.first_step = first_step
        self.rank, self.world_size = rank, world_size
        # an uneven rest is left out: a batch of one clip would leave batch normalisation nothing to normalise by
        self.steps_per_epoch = n_clips // self.batch_size
        self.n_steps = n_epochs * self.steps_per_epoch

    def __len__(self) -> int:
        return self.n_steps - self.first_step

    def __iter__(self) -> Iterator[Tensor]:
        for step in range(self.first_step, self.n_steps):
            epoch, batch = divmod(step, self.steps_per_epoch)
            if batch == 0 or step == self.first_step:
                shuffled = np.random.default_rng([self.seed, ORDER, epoch]).permutation(self.n_clips)
            chosen = shuffled[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield torch.from_numpy(chosen[self.rank :: self.world_size].copy())


def seed_of_step(seed: int, step: int, rank: int = 0) -> int:
    """What a step's random draws begin with, in [0, 2^63)."""
    state = np.random.SeedSequence([seed, DRAWS, step, rank]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
