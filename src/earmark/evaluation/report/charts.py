"""Charts as SVG, whose colours are the page's, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from earmark.evaluation.reliability import Reliability

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 34
N_COLOURS = 6
"""Of folds; further ones begin again."""


def curve_charts(curves: Sequence[Sequence[dict[str, float]]]) -> list[tuple[str, Markup]]:
    """Charts of the training loss and of lwlrap on the held-out clips over the epochs, a line a fold; with titles."""
    charts = []
    for name, title in (("train_loss", "training loss"), ("validation_lwlrap", "lwlrap of the held-out clips")):
        lines = [[(row["epoch"] + 1, row[name]) for row in rows if name in row] for rows in curves]
        if any(lines):
            values = [y for line in lines for _, y in line]
            low = 0.0 if name == "train_loss" else math.floor(min(values) * 10) / 10
            high = max(values) * 1.05 if name == "train_loss" else 1.0
            last = max(x for line in lines for x, _ in line)
            charts.append((title, _chart(lines, (0.0, last), (low, max(high, low + 1e-6)), "epoch", title)))
    return charts


def reliability_chart(found: Reliability) -> Markup:
    """Share of true labels over the mean score, a point a bin as large as its scores are many, and the diagonal."""
    points = [
        (float(x), float(y), 2.5 + 5 * math.log10(n) / 5)
        for x, y, n in zip(found.scores, found.shares, found.counts, strict=True)
    ]
    line = [(x, y) for x, y, _ in points]
    dots = Markup("").join(
        Markup('<circle class="c0" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(_x(x, (0, 1)), _y(y, (0, 1)), r)
        for x, y, r in points
    )
    diagonal = Markup('<line class="diagonal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, TOP
    )
    return _chart([line], (0, 1), (0, 1), "mean score", "share that is true", diagonal + dots)


def _chart(
    lines: Sequence[Sequence[tuple[float, float]]],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_label: str,
    title: str,
    more: Markup = Markup(""),  # noqa: B008, a string does not change
) -> Markup:
    drawn = Markup("").join(
        Markup('<polyline class="l{}" points="{}"/>').format(
            i % N_COLOURS, " ".join(f"{_x(x, x_range):.1f},{_y(y, y_range):.1f}" for x, y in line)
        )
        for i, line in enumerate(lines)
    )
    ticks = Markup("").join(_tick(value, y_range) for value in np.linspace(*y_range, 5))
    below = Markup("").join(
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{:.3g}</text>').format(
            _x(value, x_range), HEIGHT - BOTTOM + 14, value
        )
        for value in np.linspace(*x_range, 5)
    )
    name = Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
        (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label
    )
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}{}</svg>').format(
        WIDTH, HEIGHT, title, ticks, below, name, drawn, more
    )


def _tick(value: float, y_range: tuple[float, float]) -> Markup:
    y = _y(value, y_range)
    return Markup(
        '<line class="grid" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>'
        '<text x="{}" y="{:.1f}" text-anchor="end">{:.2f}</text>'
    ).format(LEFT, y, WIDTH - RIGHT, y, LEFT - 5, y + 4, value)


def _x(value: float, x_range: tuple[float, float]) -> float:
    return LEFT + (value - x_range[0]) / max(x_range[1] - x_range[0], 1e-12) * (WIDTH - LEFT - RIGHT)


def _y(value: float, y_range: tuple[float, float]) -> float:
    return HEIGHT - BOTTOM - (value - y_range[0]) / max(y_range[1] - y_range[0], 1e-12) * (HEIGHT - TOP - BOTTOM)
