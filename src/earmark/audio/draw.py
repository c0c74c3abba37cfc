"""Pictures of sound for people: spectrograms as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from earmark.atomic import atomic_path
from earmark.audio.decode import decode
from earmark.audio.picture import PictureSpec, picture
from earmark.errors import MissingExtraError


def write_picture(recording: Path, spec: PictureSpec, target: Path) -> None:
    """Draw the picture that a network sees of a recording.

    Grey pictures are drawn as they are, colour pictures in their three channels; low bands at the bottom, values from
    the picture's lowest to its highest.

    Parameters
    ----------
    recording
        Any file that `decode` reads.
    spec
        The front end.
    target
        The `.png` file to write.

    Raises
    ------
    AudioError
        When the recording cannot be read.
    MissingExtraError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.image import imsave
    except ModuleNotFoundError as error:
        raise MissingExtraError("drawing", "train") from error
    seen = picture(decode(recording, spec.log_mel.sample_rate).samples, spec)
    lowest, highest = float(seen.min()), float(seen.max())
    scaled = (seen - lowest) / max(highest - lowest, 1e-12)
    upright = np.moveaxis(np.broadcast_to(scaled, (3, *scaled.shape[1:])), 0, -1)[::-1]
    with atomic_path(target) as temporary:
        imsave(temporary, np.ascontiguousarray(upright))
