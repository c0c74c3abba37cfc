"""Scores of members into one table, as a `Combination` says; NumPy alone, since tagging does it too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earmark.bundle import Combination

LEAST = 1e-7
"""Scores are kept this far from 0 and 1 where a logarithm is taken; float32 resolves no finer near 1."""

_N_LEVELS = 65
_LARGEST_LOGIT = 8.0
_DECIMALS = 7

LEVELS = np.concatenate([[0.0], 1 / (1 + np.exp(-np.linspace(-_LARGEST_LOGIT, _LARGEST_LOGIT, _N_LEVELS - 2))), [1.0]])
"""(n_levels,): places among all clips, in [0, 1], at which the scores of a label are noted; close to each other at the
ends, since a label that one clip in a hundred has is decided there."""


def combined(combination: Combination, scores: Sequence[np.ndarray]) -> np.ndarray:
    """One table of scores out of those of the members.

    Parameters
    ----------
    combination
        How.
    scores
        Of each member, (n_clips, n_labels) in [0, 1].

    Returns
    -------
    np.ndarray
        (n_clips, n_labels) float32 in [0, 1].

    Raises
    ------
    ValueError
        When there are not as many tables as members.
    """
    if len(scores) != len(combination.members):
        raise ValueError(f"{len(scores)} tables of scores for {len(combination.members)} members; give one each")
    if combination.kind in {"ridge", "mlp"}:
        return _second_level(combination, side_by_side(scores))
    tables = transformed(combination.kind, scores, np.array(combination.quantiles))
    mean = np.tensordot(np.array(combination.weights), tables, axes=1)
    if combination.kind == "geometric":
        mean = np.exp(mean)
    return mean.clip(0, 1).astype(np.float32)


def transformed(kind: str, scores: Sequence[np.ndarray], quantiles: np.ndarray) -> np.ndarray:
    """What the mean of a kind is taken of, (n_members, n_clips, n_labels) float64: scores, logarithms, or places.

    Parameters
    ----------
    kind
        ``"arithmetic"``, ``"geometric"`` or ``"rank"``.
    scores
        Of each member, (n_clips, n_labels) in [0, 1].
    quantiles
        For ``"rank"``, as `quantiles_of` gives them.
    """
    tables = np.stack([np.asarray(table, dtype=np.float64) for table in scores])
    if kind == "geometric":
        return np.log(tables.clip(LEAST, 1))
    if kind == "rank":
        return np.stack([_places(table, own) for table, own in zip(tables, quantiles, strict=True)])
    return tables


def quantiles_of(scores: Sequence[np.ndarray]) -> np.ndarray:
    """The scores at which `LEVELS` lie, (n_members, n_labels, n_levels), rising, of tables of (n_clips, n_labels)."""
    quantiles = [np.quantile(np.asarray(table, dtype=np.float64), LEVELS, axis=0).T for table in scores]
    return np.stack(quantiles).round(_DECIMALS)  # they are written as text


def _places(table: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Where each score would stand among the clips that the quantiles are of; ties in the middle of their places."""
    columns = [
        (np.interp(column, own, LEVELS) - np.interp(-column, -own[::-1], -LEVELS[::-1])) / 2
        for column, own in zip(table.T, quantiles, strict=True)
    ]
    return np.stack(columns, axis=1)


def logit(scores: np.ndarray) -> np.ndarray:
    """``log(score / (1 - score))``, float64, of scores at least `LEAST` from 0 and 1; any shape."""
    inside = np.asarray(scores, dtype=np.float64).clip(LEAST, 1 - LEAST)
    return np.log(inside) - np.log1p(-inside)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-logit))``, by a form that does not overflow; any shape."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)))


def side_by_side(scores: Sequence[np.ndarray]) -> np.ndarray:
    """What a second-level model sees: (n_clips, n_members * n_labels) logits, member after member."""
    return np.concatenate([logit(table) for table in scores], axis=1)


def _second_level(combination: Combination, features: np.ndarray) -> np.ndarray:
    values = features
    for i, layer in enumerate(combination.layers):
        values = (values if i == 0 else np.maximum(values, 0)) @ np.array(layer.weights) + np.array(layer.bias)
    return sigmoid(values).astype(np.float32)
