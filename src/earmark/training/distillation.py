"""Learning from a teacher: targets that are partly what other networks say of the clips.

G. Hinton, O. Vinyals and J. Dean, *Distilling the Knowledge in a Neural Network*, 2015 (arXiv:1503.02531): targets are
a weighted sum of the given labels and the teacher's scores at a temperature, here of sigmoids instead of a softmax. A
teacher knows its own training clips nearly by heart, and the temperature brings back what it thinks of other labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from earmark.data.manifest import Manifest
from earmark.errors import RunError
from earmark.predictions import Predictions

TEACHER = "teacher.csv"
"""In a fold's folder: what the teacher says of the clips that the fold learns from, and of no others."""

TEACHER_WEIGHT = 0.5
TEMPERATURE = 2.0

_LEAST = 1e-7


def soft_targets(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Targets between labels and a teacher's scores: half each, the scores' logits divided by the temperature.

    Parameters
    ----------
    labels
        (n, n_labels), 0 or 1.
    scores
        (n, n_labels) in [0, 1].

    Returns
    -------
    np.ndarray
        (n, n_labels) float32 in [0, 1].
    """
    inside = scores.astype(np.float64).clip(_LEAST, 1 - _LEAST)
    softened = 1 / (1 + ((1 - inside) / inside) ** (1 / TEMPERATURE))
    return ((1 - TEACHER_WEIGHT) * labels + TEACHER_WEIGHT * softened).astype(np.float32)


def targets_of(folder: Path, manifest: Manifest, indices: np.ndarray) -> np.ndarray | None:
    """What a fold learns its clips to be, where its folder has a teacher's scores.

    Parameters
    ----------
    folder
        Of the fold.
    manifest
        Of the collection.
    indices
        (n,) int64 of the clips that the fold learns from.

    Returns
    -------
    np.ndarray or None
        (n, n_labels) float32 in [0, 1]; `None` without a teacher.

    Raises
    ------
    RunError
        When the scores are not of exactly these clips.
    """
    if not (folder / TEACHER).is_file():
        return None
    table = Predictions.read(folder / TEACHER)
    names = [manifest.names[i] for i in indices]
    if set(names) != set(table.fnames):
        n_other = len(set(names) ^ set(table.fnames))
        raise RunError(
            f"{folder / TEACHER}: {n_other} clips are in the table or in the fold's training alone; a teacher scores "
            "what the fold learns from and nothing else; remove the file, and distil again"
        )
    return soft_targets(manifest.targets()[indices], table.align(names, manifest.vocabulary).scores)
