"""Members and weights by greedy selection with replacement."""

from __future__ import annotations

import numpy as np

from earmark.metrics import lwlrap

N_ROUNDS = 30
"""Weights are multiples of one thirtieth at the finest."""


def greedy_weights(tables: np.ndarray, targets: np.ndarray, n_rounds: int = N_ROUNDS) -> np.ndarray:
    """Weights of a mean that make lwlrap high.

    R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, *Ensemble Selection from Libraries of Models*, ICML 2004,
    sections 2.1 and 2.2: begin with nothing, add the candidate with which the mean is best, again and again, the same
    one as often as it helps; keep the best set on the way.

    Parameters
    ----------
    tables
        (n_candidates, n_clips, n_labels), what the mean is taken of; any monotone function of a mean's values has the
        same lwlrap.
    targets
        (n_clips, n_labels), 0 or 1.
    n_rounds
        How many are added, at least 1.

    Returns
    -------
    np.ndarray
        (n_candidates,) float64, 0 or more, with the sum 1. Of equals, the earlier candidate and the smaller set.
    """
    counts = np.zeros(len(tables))
    total = np.zeros(tables.shape[1:])
    best, best_counts = -np.inf, counts
    for size in range(1, n_rounds + 1):
        figures = [lwlrap(targets, (total + table) / size) for table in tables]
        added = int(np.argmax(figures))
        total += tables[added]
        counts[added] += 1
        if figures[added] > best:
            best, best_counts = figures[added], counts.copy()
    return best_counts / best_counts.sum()
