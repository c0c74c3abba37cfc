"""Which front end the spectrograms of a store were made with."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from earmark.audio.picture import PictureSpec, clip_front_end
from earmark.data.encoding import Encoding
from earmark.errors import CollectionError


def log_mel_encoding(spec: PictureSpec, dtype: str = "float16") -> Encoding:
    """How a store holds the spectrograms of a front end.

    Parameters
    ----------
    spec
        The front end; what comes after the spectrogram makes no difference.
    dtype
        ``"float16"`` or ``"uint8"``.

    Raises
    ------
    CollectionError
        If there is no such `dtype` of spectrograms.
    """
    tables = msgspec.to_builtins(clip_front_end(spec))
    front_end = {name: tables[name] for name in ("log_mel", "trim_top_db", "min_duration_s")}
    return Encoding("log-mel", dtype, spec.log_mel.sample_rate, front_end)


def front_end_of(encoding: Encoding) -> PictureSpec:
    """The front end that a store's spectrograms were made with, with everything after them as by default.

    Raises
    ------
    CollectionError
        If the store states none, or one that this release does not know.
    """
    return _front_end(msgspec.json.encode(encoding.front_end))


@lru_cache(maxsize=4)
def _front_end(tables: bytes) -> PictureSpec:
    try:
        return msgspec.json.decode(tables, type=PictureSpec)
    except msgspec.ValidationError as error:
        raise CollectionError(f"the store's front end cannot be used: {error}; pack the collection again") from error


def largest_error_db(encoding: Encoding, scales: np.ndarray) -> float:
    """How far the levels in a log-mel store are off at the most, in dB.

    Parameters
    ----------
    encoding
        The store's.
    scales
        (n_clips,) of its clips.

    Returns
    -------
    float
        Half a step of the stored numbers; for ``"float16"`` of levels between -128 and 128 dB, or -32 and 32 nepers.
    """
    log_mel = front_end_of(encoding).log_mel
    if encoding.dtype == "uint8":
        return float(scales.max(initial=0.0)) / 2 * log_mel.db_per_unit
    loudest = 127.0 if log_mel.scale == "db" else 31.0
    return float(np.spacing(np.float16(max(loudest, -log_mel.silence)))) / 2 * log_mel.db_per_unit
