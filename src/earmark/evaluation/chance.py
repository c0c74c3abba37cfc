"""What a table of scores is worth that knows nothing."""

from __future__ import annotations

import numpy as np

from earmark.metrics import lwlrap

N_SHUFFLES = 20


def chance_lwlrap(targets: np.ndarray, seed: int = 0) -> float:
    """What scores that know nothing reach: mean lwlrap over random orders, for (n_clips, n_labels) targets."""
    rng = np.random.default_rng(seed)
    return float(np.mean([lwlrap(targets, rng.random(targets.shape)) for _ in range(N_SHUFFLES)]))
