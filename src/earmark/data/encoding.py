"""How a store keeps the values of a clip: in which numbers, and how far those are off.

========  =========  ==================================================================================
kind      dtype      a value is, and its error at the most
========  =========  ==================================================================================
waveform  int16      stored * scale, with the clip's peak as 32,767: half a 32,767th of that peak
log-mel   float16    stored: 1/32 dB between -128 and 128 dB, or 1/128 neper between -32 and 32
log-mel   uint8      stored * scale + shift, the clip's lowest level as 0 and its highest as 255: half a
                     255th of the clip's range, which is 0.24 dB where that is 120 dB
========  =========  ==================================================================================

Each clip has its own scale, so a quiet clip loses nothing and an overshooting one is not clipped.

Rounding a waveform to 16 bits leaves noise some 100 dB below its peak. Spectrograms made from a store of waveforms
therefore differ by several dB in bands that are all but empty, such as those above the cut-off of a lossy codec; a
store of spectrograms is made from the waveforms before they are rounded, and does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.errors import CollectionError, did_you_mean

DTYPES = {"waveform": ("int16",), "log-mel": ("float16", "uint8")}
"""What a store can hold, and in which numbers, the default first."""

FULL_SCALE = {"int16": 32_767, "uint8": 255}
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Of a clip that is silent, or as good as: below this, float32 loses precision."""

VALUES_PER_BLOCK = 1 << 15
"""Rounded at a time, so that what is between stays within a core's cache."""


@dataclass(frozen=True)
class Encoding:
    """What the numbers in a store are.

    Parameters
    ----------
    kind
        ``"waveform"`` or ``"log-mel"``.
    dtype
        One of `DTYPES` of that kind.
    sample_rate
        Of the waveforms, or of those that the spectrograms were made from, in Hz.
    front_end
        For ``"log-mel"``, what the spectrograms were made with, as plain tables: `earmark.audio.picture.PictureSpec`'s
        `log_mel`, `trim_top_db` and `min_duration_s`.

    Raises
    ------
    CollectionError
        If one of them is not as described.
    """

    kind: str
    dtype: str
    sample_rate: int
    front_end: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in DTYPES:
            raise CollectionError(f"kind '{self.kind}' is not known; expected {_any_of(DTYPES, self.kind)}")
        if self.dtype not in DTYPES[self.kind]:
            known = _any_of(DTYPES[self.kind], self.dtype)
            raise CollectionError(f"dtype '{self.dtype}' does not go with kind '{self.kind}'; expected {known}")
        if type(self.sample_rate) is not int or self.sample_rate < 1:
            raise CollectionError(
                f"sample rate {self.sample_rate!r} Hz; expected a whole number above 0, such as 32000"
            )
        if self.kind == "log-mel" and not 1 <= _n_mels(self.front_end) <= 1 << 16:
            raise CollectionError("a log-mel store says with how many bands; expected a front end with log_mel.n_mels")

    @classmethod
    def waveform(cls, sample_rate: int) -> Encoding:
        """Waveforms at a rate in Hz."""
        return cls("waveform", "int16", sample_rate)

    @property
    def file_name(self) -> str:
        """The store's file of values."""
        return "samples.npy" if self.kind == "waveform" else "frames.npy"

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of what stands at one time: () of a waveform, (n_mels,) of a spectrogram."""
        return () if self.kind == "waveform" else (_n_mels(self.front_end),)

    @property
    def row_bytes(self) -> int:
        """Bytes of what stands at one time."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.row_shape, dtype=np.int64))

    def scaling(self, low: float, high: float) -> tuple[np.float32, np.float32]:
        """Scale and shift of a clip whose values lie between two: ``value = stored * scale + shift``.

        Parameters
        ----------
        low, high
            The clip's lowest and highest value.

        Returns
        -------
        scale, shift
            Of float32, the scale above 0.
        """
        if self.dtype == "float16":
            return np.float32(1), np.float32(0)
        span = max(high, -low) if self.dtype == "int16" else high - low
        scale = np.float32(max(span / FULL_SCALE[self.dtype], SMALLEST_SCALE))
        return scale, np.float32(low if self.dtype == "uint8" else 0)

    def encode(self, values: np.ndarray, scale: np.float32, shift: np.float32) -> np.ndarray:
        """Round values, (n, ...) float32 with rows of `row_shape`, to what is stored, of the same shape and `dtype`."""
        if self.dtype == "float16":
            return values.astype(np.float16)
        flat = values.reshape(-1)
        stored = np.empty(len(flat), dtype=self.dtype)
        between = np.empty(min(VALUES_PER_BLOCK, len(flat)), dtype=np.float32)
        for start in range(0, len(flat), VALUES_PER_BLOCK):
            block = flat[start : start + VALUES_PER_BLOCK]
            rounded = between[: len(block)]
            np.subtract(block, shift, out=rounded)
            np.divide(rounded, scale, out=rounded)
            np.rint(rounded, out=rounded)
            stored[start : start + len(block)] = rounded
        return stored.reshape(values.shape)

    def decode(self, stored: np.ndarray, scale: np.float32, shift: np.float32) -> np.ndarray:
        """Give back float32 values of what is stored, of the same shape."""
        values = stored.astype(np.float32)
        if self.dtype != "float16":
            values *= scale
        if self.dtype == "uint8":
            values += shift
        return values

    def tables(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        front_end = None if self.front_end is None else dict(self.front_end)
        return {"kind": self.kind, "dtype": self.dtype, "sample_rate": self.sample_rate, "front_end": front_end}


def _n_mels(front_end: Mapping[str, Any] | None) -> int:
    log_mel = (front_end or {}).get("log_mel")
    n_mels = log_mel.get("n_mels") if isinstance(log_mel, Mapping) else None
    return n_mels if type(n_mels) is int else 0


def _any_of(known: Mapping[str, Any] | tuple[str, ...], got: str) -> str:
    return " or ".join(f"'{name}'" for name in known) + did_you_mean(str(got), known)
