"""Scores into probabilities, as a `Calibration` says; NumPy alone, since tagging does it too."""

from __future__ import annotations

import numpy as np

from earmark.bundle import Calibration
from earmark.evaluation.mixing import logit, sigmoid


def calibrated(calibration: Calibration, scores: np.ndarray) -> np.ndarray:
    """Calibrated scores.

    Parameters
    ----------
    calibration
        How, label by label.
    scores
        (n_clips, n_labels) in [0, 1].

    Returns
    -------
    np.ndarray
        (n_clips, n_labels) float32 in [0, 1].
    """
    scores = np.asarray(scores, dtype=np.float32)
    if calibration.method != "isotonic":
        return sigmoid(logit(scores) * np.array(calibration.slopes) + np.array(calibration.offsets)).astype(np.float32)
    columns = [
        np.interp(column, *points) if points[0] else column
        for column, points in zip(scores.T, calibration.points, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.float32)
