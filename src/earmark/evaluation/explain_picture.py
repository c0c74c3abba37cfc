"""What made a tag, drawn: the spectrogram, and over it where the label's evidence lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from earmark.atomic import atomic_path
from earmark.audio.draw import DOTS_PER_INCH, SHOWN_DB, frequency_ticks
from earmark.audio.picture import PictureSpec
from earmark.errors import MissingExtraError
from earmark.evaluation.explain import Explanation

INCHES = (8.0, 5.6)
EVIDENCE_COLOURS = "inferno"
OUTLINE_COLOUR, OUTLINE_WIDTHS = "#ff9800", (0.6, 1.2, 2.0)
CONTOURS = (0.25, 0.5, 0.75)
"""Shares of the map's highest value that are outlined on the spectrogram."""


def write_explanation(explanation: Explanation, front_end: PictureSpec, name: str, target: Path) -> None:
    """Draw the spectrogram with outlines of what made the tag, and the map itself below it.

    Parameters
    ----------
    explanation
        From `earmark.evaluation.explain.occlude` or `earmark.evaluation.explain_gradients.grad_cam`.
    front_end
        What the spectrogram was made with.
    name
        Of the recording.
    target
        The `.png` file to write.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("drawing", "show") from error
    spectrogram, importance = explanation.spectrogram, explanation.importance
    n_mels, n_frames = spectrogram.shape
    placed = {"origin": "lower", "extent": (0.0, n_frames / front_end.log_mel.frame_rate, -0.5, n_mels - 0.5)}
    figure = Figure(figsize=INCHES, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    highest = float(spectrogram.max())
    lowest = max(float(spectrogram.min()), highest - SHOWN_DB / front_end.log_mel.db_per_unit)
    drawn = {"aspect": "auto", "interpolation": "nearest", **placed}
    image = upper.imshow(spectrogram, cmap="gray", vmin=lowest, vmax=highest, **drawn)
    figure.colorbar(image, ax=upper, label="level (dB)" if front_end.log_mel.scale == "db" else "level (nepers)")
    peak = float(importance.max())
    if peak > 0:
        levels = [share * peak for share in CONTOURS]
        upper.contour(importance, levels=levels, colors=OUTLINE_COLOUR, linewidths=OUTLINE_WIDTHS, **placed)
    image = lower.imshow(importance, cmap=EVIDENCE_COLOURS, vmin=0, vmax=peak or 1.0, **drawn)
    unit = "logit lost without it" if explanation.method == "occlusion" else "Grad-CAM, in logits"
    figure.colorbar(image, ax=lower, label=unit)
    rows, labels = frequency_ticks(front_end, 0, n_mels)
    for axes in (upper, lower):
        axes.set_yticks(rows, labels)
        axes.set_ylabel("frequency (Hz)")
    lower.set_xlabel("time (s)")
    upper.set_title(_title(explanation, name), fontsize=10, parse_math=False)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)


def _title(explanation: Explanation, name: str) -> str:
    said = f"{name}: {explanation.label} {explanation.score:.2f}, by {explanation.method}"
    return said if np.any(explanation.importance > 0) else f"{said}; nothing in it speaks for the label"
