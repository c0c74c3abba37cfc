from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from earmark.audio.draw import as_rgb, frequency_ticks, read_drawing, unit_range, write_bare, write_figure
from earmark.audio.logmel import LogMelSpec
from earmark.audio.mel import band_edges_hz
from earmark.audio.picture import PictureSpec

GREY = PictureSpec(log_mel=LogMelSpec(n_mels=48), normalization="minmax")
COLOUR = PictureSpec(log_mel=LogMelSpec(n_mels=96), normalization="minmax", channels="colour")


def pixels(path: Path) -> np.ndarray:
    """(height, width, 3) in 0 to 255."""
    return (imread(path)[..., :3] * 255).round().astype(int)


def test_bare_grey_image_is_the_picture_a_pixel_a_value(write_tone: Callable[..., Path], tmp_path: Path) -> None:
    drawing = read_drawing(write_tone(frequency_hz=1000), GREY)
    write_bare(drawing, tmp_path / "bare.png")
    image = pixels(tmp_path / "bare.png")
    assert image.shape == (*drawing.picture.shape[1:], 3)
    assert np.ptp(image, axis=2).max() == 0
    np.testing.assert_array_equal(image[::-1, :, 0], np.rint(drawing.picture[0] * 255))


def test_bare_colour_image_has_low_bands_red_and_high_ones_blue(
    write_tone: Callable[..., Path], tmp_path: Path
) -> None:
    edges = band_edges_hz(96, 20, 16_000)
    for channel, band in enumerate((16, 48, 80)):
        drawing = read_drawing(write_tone(frequency_hz=float(edges[band + 1])), COLOUR)
        write_bare(drawing, tmp_path / "bare.png")
        column = pixels(tmp_path / "bare.png")[:, 50]
        assert column.shape == (32, 3)
        assert column.max(axis=0).argmax() == channel
        # sixteen of thirty-two rows from the bottom
        assert column[:, channel].argmax() == 31 - 16


@pytest.mark.parametrize("spec", [GREY, COLOUR], ids=["grey", "colour"])
def test_figure_is_a_png_of_a_size_to_print(spec: PictureSpec, write_tone: Callable[..., Path], tmp_path: Path) -> None:
    drawing = read_drawing(write_tone(), spec)
    write_figure([drawing], spec, tmp_path / "one.png")
    write_figure([drawing] * 5, spec, tmp_path / "sheet.png")
    one, sheet = imread(tmp_path / "one.png"), imread(tmp_path / "sheet.png")
    assert one.shape[:2] == (480, 1200)
    assert sheet.shape[0] > 2 * 480 > 0
    assert one[..., :3].std() > 0.1


def test_figure_of_silence_can_be_drawn(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 16_000)
    write_figure([read_drawing(tmp_path / "silence.wav", COLOUR)], COLOUR, tmp_path / "silence.png")
    assert (tmp_path / "silence.png").stat().st_size > 1000


def test_ticks_stand_where_their_frequency_is_and_apart() -> None:
    rows, labels = frequency_ticks(GREY, 0, 48)
    assert "1 k" in labels
    row = rows[labels.index("1 k")]
    edges = band_edges_hz(48, 20, 16_000)
    below, above = edges[int(np.floor(row)) + 1], edges[int(np.ceil(row)) + 1]
    assert below <= 1000 <= above
    assert (-np.diff(rows) > 0.07 * 48).all()


def test_ticks_of_a_narrow_range_are_even_steps() -> None:
    _, labels = frequency_ticks(COLOUR, 64, 32)
    assert {"10 k", "15 k"} <= set(labels) or {"6 k", "8 k"} <= set(labels)


def test_two_channels_are_red_and_green() -> None:
    picture = np.stack([np.ones((2, 3)), np.full((2, 3), 0.5)])
    rgb = as_rgb(picture)
    assert rgb.shape == (2, 3, 3)
    np.testing.assert_array_equal(rgb[0, 0], [1, 0.5, 0.5])


def test_values_beyond_the_unit_range_are_scaled_to_it() -> None:
    np.testing.assert_allclose(unit_range(np.array([-2.0, 0.0, 2.0])), [0, 0.5, 1])
    np.testing.assert_array_equal(unit_range(np.array([0.2, 0.9])), [0.2, 0.9])
