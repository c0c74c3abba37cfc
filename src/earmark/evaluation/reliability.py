"""Whether scores are probabilities: expected calibration error, and the diagram that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from earmark.atomic import atomic_path
from earmark.errors import MissingExtraError
from earmark.metrics import validate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_BINS = 15
BEFORE, AFTER = "#757575", "#1565c0"
WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 9.0, 4.6, 120


@dataclass(frozen=True)
class Reliability:
    """Scores and labels, bin by bin; bins without a score are left out.

    Attributes
    ----------
    counts
        (n_bins,) how many scores lie in a bin.
    scores
        (n_bins,) their mean.
    shares
        (n_bins,) how many of them belong to labels that the clip has, in [0, 1].
    """

    counts: np.ndarray
    scores: np.ndarray
    shares: np.ndarray

    @property
    def ece(self) -> float:
        """Mean distance of score and share, by count; 0 is perfect, and what scores of 0 say of nothing."""
        return float(np.abs(self.scores - self.shares) @ self.counts / self.counts.sum())


def reliability(targets: ArrayLike, scores: ArrayLike, n_bins: int = N_BINS) -> Reliability:
    """Scores of all clips and labels in bins of equal width, beside how often labels are there.

    M. Naeini, G. Cooper and M. Hauskrecht, *Obtaining Well Calibrated Probabilities Using Bayesian Binning*, AAAI 2015.

    Parameters
    ----------
    targets
        (n_clips, n_labels), 0 or 1, at least one.
    scores
        (n_clips, n_labels) in [0, 1].
    n_bins
        How many, at least 1.

    Raises
    ------
    PredictionsError
        As `earmark.metrics.validate`.
    ValueError
        When there is no score, or one outside [0, 1].
    """
    target_array, score_array = validate(targets, scores)
    truth, said = target_array.ravel().astype(np.float64), score_array.ravel().astype(np.float64)
    if not said.size or said.min() < 0 or said.max() > 1:
        span = f"from {said.min():g} to {said.max():g}" if said.size else "none"
        raise ValueError(f"scores are {span}; expected some, from 0 to 1; are they logits?")
    bins = np.minimum((said * n_bins).astype(int), n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    used = counts > 0
    means = [np.bincount(bins, weights=values, minlength=n_bins)[used] / counts[used] for values in (said, truth)]
    return Reliability(counts[used], *means)


def ece(targets: ArrayLike, scores: ArrayLike, n_bins: int = N_BINS) -> float:
    """Expected calibration error over all clips and labels; parameters and errors as `reliability`.

    Examples
    --------
    >>> round(ece([[1, 0], [0, 0]], [[0.9, 0.1], [0.9, 0.1]]), 3)  # (|0.9 - 0.5| + |0.1 - 0|) / 2
    0.25
    """
    return reliability(targets, scores, n_bins).ece


def ece_by_label(targets: ArrayLike, scores: ArrayLike, n_bins: int = N_BINS) -> float:
    """Mean over the labels of each one's expected calibration error.

    M. Kull et al., *Beyond temperature scaling*, NeurIPS 2019: classwise ECE. Of all clips and labels together, what
    one label says too often may hide what another says too rarely. Parameters and errors as `reliability`.
    """
    target_array, score_array = validate(targets, scores)
    columns = [slice(i, i + 1) for i in range(target_array.shape[1])]
    return float(np.mean([ece(target_array[:, c], score_array[:, c], n_bins) for c in columns]))


def brier(targets: ArrayLike, scores: ArrayLike) -> float:
    """Mean squared distance of scores and targets over all clips and labels (G. Brier, 1950)."""
    target_array, score_array = validate(targets, scores)
    return float(np.mean((score_array.astype(np.float64) - target_array) ** 2))


def draw_reliability(before: Reliability, after: Reliability, target: Path, *, title: str = "") -> None:
    """Draw how often labels are there against their scores, before and after, and how many scores there are.

    Parameters
    ----------
    before, after
        Of the same clips.
    target
        The `.png` file to write.
    title
        What stands above.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("drawing", "show") from error
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    diagram, counts = figure.subplots(1, 2, width_ratios=[1.3, 1])
    diagram.plot([0, 1], [0, 1], color="#bdbdbd", linestyle="--", linewidth=1)
    for name, found, colour in (("before", before, BEFORE), ("after", after, AFTER)):
        said = f"{name}: ECE {found.ece:.4f}"
        diagram.plot(found.scores, found.shares, marker="o", markersize=4, color=colour, label=said)
        counts.plot(found.scores, found.counts, marker="o", markersize=4, color=colour, label=name)
    diagram.set(xlabel="score", ylabel="share of clips that have the label", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    counts.set(xlabel="score", ylabel="scores in a bin", xlim=(0, 1), yscale="log")
    for axes in (diagram, counts):
        _finish(axes)
    figure.suptitle(title)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)


def _finish(axes: Axes) -> None:
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
