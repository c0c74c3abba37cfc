"""What a report tells of scores: what is confused with what, and how clearly each clip was tagged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Confusion:
    """A label that clips have, one that they have not and that scored higher, and for how many of how many clips."""

    label: str
    heard_as: str
    n_clips: int
    n_of_label: int


def confusions(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Count, for each label, the clips with it of which a label that they have not got scores at least as high.

    Parameters
    ----------
    targets, scores
        (n_clips, n_labels).

    Returns
    -------
    np.ndarray
        (n_labels, n_labels) int64: row i, column j counts clips with label i and without j, of which j scores at
        least as high as i and higher than every other label that they have not; so that a clip counts once in a row.
    """
    n_labels = targets.shape[1]
    counts = np.zeros((n_labels, n_labels), dtype=np.int64)
    wrong = np.where(targets > 0, -np.inf, scores)
    strongest = wrong.argmax(axis=1)
    for clip, label in np.argwhere(targets > 0):
        rival = strongest[clip]
        if wrong[clip, rival] >= scores[clip, label]:
            counts[label, rival] += 1
    return counts


def worst_confusions(counts: np.ndarray, targets: np.ndarray, names: tuple[str, ...], most: int) -> list[Confusion]:
    """The pairs that are confused most often, most often first."""
    n_of_label = (targets > 0).sum(axis=0)
    pairs = sorted(((int(n), i, j) for (i, j), n in np.ndenumerate(counts) if n), key=lambda pair: -pair[0])
    return [Confusion(names[i], names[j], n, int(n_of_label[i])) for n, i, j in pairs[:most]]


def margins(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """How clearly each clip was tagged: its lowest true score less its highest false one.

    Parameters
    ----------
    targets, scores
        (n_clips, n_labels).

    Returns
    -------
    np.ndarray
        (n_clips,) float64, above 0 where all labels of a clip come before all others; NaN for a clip that has none or
        all labels.
    """
    true = np.where(targets > 0, scores, np.inf).min(axis=1)
    false = np.where(targets > 0, -np.inf, scores).max(axis=1)
    margin = true.astype(np.float64) - false
    return np.where(np.isfinite(margin), margin, np.nan)
