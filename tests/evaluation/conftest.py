"""Clips with known labels, and scores that know something of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from earmark.evaluation.library import Judged
from earmark.labels import Vocabulary

N_FOLDS, N_LABELS = 4, 5


@pytest.fixture
def make_judged() -> Callable[..., Judged]:
    """Clips of one or two labels each, two clips a source: `make_judged(n_clips=80)`."""

    def make(n_clips: int = 80, seed: int = 0) -> Judged:
        rng = np.random.default_rng(seed)
        targets = np.eye(N_LABELS, dtype=np.float32)[rng.integers(N_LABELS, size=n_clips)]
        second = rng.random(n_clips) < 0.2
        targets[second, rng.integers(N_LABELS, size=second.sum())] = 1
        sources = np.arange(n_clips) // 2
        return Judged(
            tuple(f"{i}.wav" for i in range(n_clips)),
            Vocabulary([f"label{i}" for i in range(N_LABELS)]),
            targets,
            sources % N_FOLDS,
            tuple(f"source{i}" for i in sources),
        )

    return make


@pytest.fixture
def knowing() -> Callable[..., np.ndarray]:
    """Scores in (0, 1) that know targets but for noise: `knowing(targets, noise=1.0, seed=0)`."""

    def make(targets: np.ndarray, noise: float = 1.0, seed: int = 0) -> np.ndarray:
        logits = 2 * targets - 1 + noise * np.random.default_rng(seed).standard_normal(targets.shape)
        return (1 / (1 + np.exp(-logits))).astype(np.float32)

    return make
