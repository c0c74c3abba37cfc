"""One picture of what a collection holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.atomic import atomic_path
from earmark.data.stats import Statistics, pairs_together
from earmark.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"curated": "#1565c0", "noisy": "#ef6c00", "test": "#757575"}
INCHES_A_LABEL = 0.2
WIDTH_INCHES, LEAST_HEIGHT_INCHES = 15.0, 6.5
DOTS_PER_INCH = 120
TICKS_S = tuple(digit * 10.0**power for power in range(-2, 5) for digit in (1, 2, 5))
MOST_NAMED = 100
"""Labels beyond so many have no names beside the squares, which would be too small to read."""


def write_picture(statistics: Statistics, target: Path) -> None:
    """Draw clips of every label, labels that occur together, and the lengths of clips.

    Parameters
    ----------
    statistics
        From `earmark.data.stats.statistics`.
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
        raise MissingExtraError("drawing", "data") from error
    height = max(LEAST_HEIGHT_INCHES, 1.5 + INCHES_A_LABEL * len(statistics.labels))
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=[1.1, 1.5, 0.9])
    _draw_labels(figure.add_subplot(grid[:, 0]), statistics)
    _draw_together(figure.add_subplot(grid[:, 1]), statistics)
    _draw_durations(figure.add_subplot(grid[0, 2]), statistics)
    _draw_counts(figure.add_subplot(grid[1, 2]), statistics)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)


def _draw_labels(axes: Axes, statistics: Statistics) -> None:
    names = list(statistics.labels)
    left = np.zeros(len(names))
    for subset in statistics.subsets:
        counts = np.array([statistics.labels[name][subset].n_clips for name in names])
        if counts.any():  # the labels of a test are often not known
            axes.barh(names, counts, left=left, color=COLOURS[subset], label=subset)
            left += counts
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title("Clips of each label")
    axes.set_xlabel("clips")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.03), ncols=3, frameon=False)


def _draw_together(axes: Axes, statistics: Statistics) -> None:
    axes.set_title("Clips with both labels")
    if not pairs_together(statistics):
        axes.text(0.5, 0.5, "No clip has two labels.", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    counts = statistics.together.astype(float)
    np.fill_diagonal(counts, np.nan)
    highest = max(1.0, np.nanmax(counts, initial=1.0))
    image = axes.imshow(np.ma.masked_invalid(counts), cmap="magma_r", vmin=0, vmax=highest)
    axes.set_facecolor("#e0e0e0")
    names = list(statistics.labels)
    if len(names) <= MOST_NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.figure.colorbar(image, ax=axes, shrink=0.5, label="clips")


def _draw_durations(axes: Axes, statistics: Statistics) -> None:
    names = list(statistics.subsets)
    for row, subset in enumerate(names):
        lengths = statistics.durations_s[subset]
        shortest, low, quarter, median, upper, high, longest = lengths.values()
        colour = COLOURS[subset]
        axes.plot([shortest, longest], [row, row], color=colour, linewidth=1)
        axes.plot([low, high], [row, row], color=colour, linewidth=5, alpha=0.4, solid_capstyle="butt")
        axes.plot([quarter, upper], [row, row], color=colour, linewidth=12, solid_capstyle="butt")
        axes.plot([median], [row], marker="|", color="black", markersize=26, markeredgewidth=2)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("log")
    lowest, highest = axes.get_xlim()
    ticks = [tick for tick in TICKS_S if lowest <= tick <= highest]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_title("Lengths")
    axes.set_xlabel("s (line: all, band: 5 to 95 %,\nbox: 25 to 75 %, stroke: median)")


def _draw_counts(axes: Axes, statistics: Statistics) -> None:
    n_most = max(map(len, statistics.n_labels_per_clip.values()))
    bottom = np.zeros(n_most)
    for subset, counts in statistics.n_labels_per_clip.items():
        padded = np.pad(counts, (0, n_most - len(counts)))
        axes.bar(range(n_most), padded, bottom=bottom, color=COLOURS[subset], label=subset)
        bottom += padded
    axes.set_xticks(range(n_most))
    axes.set_title("Labels of a clip")
    axes.set_xlabel("labels")
    axes.set_ylabel("clips")
