"""Pictures of sound for people: spectrograms as PNG files, with axes or bare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.atomic import atomic_path
from earmark.audio.decode import decode
from earmark.audio.mel import band_edges_hz
from earmark.audio.picture import PictureSpec, clip_log_mel, windows
from earmark.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = (8.0, 3.2)
SHEET_PANEL_INCHES = (5.2, 2.5)
DOTS_PER_INCH = 150
COLOUR_MAP = "magma"
CHANNEL_COLOURS = ("#c62828", "#2e7d32", "#1565c0")
TICKS_HZ = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
LEAST_TICK_DISTANCE = 0.07
"""Between two labels of an axis, as a share of its height."""

SHOWN_DB = 80.0
"""Colours span so much below the loudest value, so that the floor of silence does not wash them out."""


@dataclass(frozen=True)
class Drawing:
    """A recording's (n_mels, n_frames) spectrogram in its own unit, and its (n_channels, height, n_frames) picture."""

    name: str
    spectrogram: np.ndarray
    picture: np.ndarray


def read_drawing(recording: Path, spec: PictureSpec) -> Drawing:
    """Decode a recording and make its spectrogram and its picture; `AudioError` when it cannot be read."""
    spectrogram = clip_log_mel(decode(recording, spec.log_mel.sample_rate).samples, spec)
    return Drawing(recording.name, spectrogram, windows(spectrogram, spec, spectrogram.shape[1], 1)[0])


def write_bare(drawing: Drawing, target: Path) -> None:
    """Write the picture that a network sees, a pixel a value: low bands at the bottom, time to the right.

    Three channels are red, green and blue, two are red and green, one is grey. Values in [0, 1] become 0 to 255 as they
    are; others are scaled to the picture's own range.

    Parameters
    ----------
    drawing
        From `read_drawing`.
    target
        The `.png` file to write.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.image import imsave
    except ModuleNotFoundError as error:
        raise MissingExtraError("drawing", "show") from error
    pixels = (unit_range(as_rgb(drawing.picture))[::-1] * 255).round().astype(np.uint8)
    with atomic_path(target) as temporary:
        imsave(temporary, np.ascontiguousarray(pixels))


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Turn (n_channels, height, n_frames) of one to three channels into (height, n_frames, 3)."""
    n_channels = len(picture)
    if n_channels == 1:
        picture = np.repeat(picture, 3, axis=0)
    elif n_channels == 2:
        picture = np.concatenate([picture, np.full_like(picture[:1], picture.min())])
    return np.moveaxis(picture, 0, -1)


def unit_range(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as they are, others scaled from their own lowest and highest; the same shape."""
    lowest, highest = float(values.min()), float(values.max())
    if lowest >= 0 and highest <= 1:
        return values
    return (values - lowest) / max(highest - lowest, 1e-12)


def write_figure(drawings: Sequence[Drawing], spec: PictureSpec, target: Path) -> None:
    """Draw recordings with axes in seconds and Hz and a colour bar: one alone, or many as a sheet.

    Parameters
    ----------
    drawings
        From `read_drawing`; at least one.
    spec
        The front end that they were made with.
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
    n_columns = 1 if len(drawings) == 1 else 2 if len(drawings) <= 6 else 3
    n_rows = ceil(len(drawings) / n_columns)
    width, height = PANEL_INCHES if len(drawings) == 1 else SHEET_PANEL_INCHES
    figure = Figure(figsize=(width * n_columns, height * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes in grid.flat[len(drawings) :]:
        axes.set_axis_off()
    for axes, drawing in zip(grid.flat, drawings, strict=False):
        if spec.channels == "colour":
            _draw_colour(figure, axes, drawing, spec)
        else:
            _draw_grey(figure, axes, drawing, spec)
        axes.set_title(drawing.name, fontsize=10)
        axes.set_xlabel("time (s)")
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)


def _draw_grey(figure: Figure, axes: Axes, drawing: Drawing, spec: PictureSpec) -> None:
    highest = float(drawing.spectrogram.max())
    image = axes.imshow(
        drawing.spectrogram,
        vmin=max(float(drawing.spectrogram.min()), highest - SHOWN_DB / spec.log_mel.db_per_unit),
        vmax=highest,
        cmap=COLOUR_MAP,
        **_placed(drawing.spectrogram, spec),
    )
    figure.colorbar(image, ax=axes, label="level (dB)" if spec.log_mel.scale == "db" else "level (nepers)", pad=0.02)
    rows, labels = frequency_ticks(spec, 0, spec.log_mel.n_mels)
    axes.set_yticks(rows, labels)
    axes.set_ylabel("frequency (Hz)")


def _draw_colour(figure: Figure, axes: Axes, drawing: Drawing, spec: PictureSpec) -> None:
    highest = float(drawing.spectrogram.max())
    lowest = max(float(drawing.spectrogram.min()), highest - spec.top_db / spec.log_mel.db_per_unit)
    image = axes.imshow(
        as_rgb(unit_range(drawing.picture)),
        vmin=lowest,
        vmax=highest,
        cmap="gray",
        **_placed(drawing.picture[0], spec),
    )
    for channel, colour in enumerate(CHANNEL_COLOURS):
        side = axes if channel == 0 else axes.twinx()
        if channel:
            side.set_ylim(axes.get_ylim())
            side.spines["right"].set_position(("outward", 34.0 * (channel - 1)))
        rows, labels = frequency_ticks(spec, channel * spec.height, spec.height)
        side.set_yticks(rows, labels, color=colour, fontsize=8)
        side.tick_params(axis="y", color=colour)
    axes.set_ylabel("frequency (Hz)")
    unit = "dB" if spec.log_mel.scale == "db" else "nepers"
    figure.colorbar(image, ax=axes, label=f"level of each channel ({unit})", pad=0.02)


def _placed(values: np.ndarray, spec: PictureSpec) -> dict[str, Any]:
    duration_s = values.shape[1] / spec.log_mel.frame_rate
    extent = (0.0, duration_s, -0.5, values.shape[0] - 0.5)
    return {"origin": "lower", "aspect": "auto", "interpolation": "nearest", "extent": extent}


def frequency_ticks(spec: PictureSpec, first_band: int, n_bands: int) -> tuple[list[float], list[str]]:
    """Rows of an image at which round frequencies lie, and their labels.

    Parameters
    ----------
    spec
        The front end.
    first_band, n_bands
        The bands that the image's rows show, from the bottom up.

    Returns
    -------
    rows, labels
        Of round frequencies within the bands, from the top down, as many as do not run into one another.
    """
    log_mel = spec.log_mel
    centres_hz = band_edges_hz(log_mel.n_mels, log_mel.fmin, log_mel.fmax, log_mel.mel_scale)[1:-1]
    shown = centres_hz[first_band : first_band + n_bands]
    rows: list[float] = []
    labels: list[str] = []
    for hz in sorted(_round_frequencies(shown[0], shown[-1]), reverse=True):
        row = float(np.interp(hz, shown, np.arange(n_bands)))
        if not rows or rows[-1] - row > LEAST_TICK_DISTANCE * n_bands:
            rows.append(row)
            labels.append(f"{hz / 1000:g} k" if hz >= 1000 else f"{hz:g}")
    return rows, labels


def _round_frequencies(lowest_hz: float, highest_hz: float) -> list[float]:
    """One, two and five of each decade; even steps where fewer than three of those lie within."""
    from matplotlib.ticker import MaxNLocator

    within = [float(hz) for hz in TICKS_HZ if lowest_hz <= hz <= highest_hz]
    if len(within) >= 3:
        return within
    even = MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(lowest_hz, highest_hz)
    return [float(hz) for hz in even if lowest_hz <= hz <= highest_hz]
