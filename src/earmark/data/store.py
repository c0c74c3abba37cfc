"""A packed collection: one memory-mapped file of values that training reads at any place.

A store is a folder: `store.json` (what it is), `clips.csv` (a row a clip), and all clips one after the other in
`samples.npy` (waveforms) or `frames.npy` (log-mel spectrograms, a frame a row); see `earmark.data.encoding`. It can be
copied and moved: nothing of the collection's folder is needed to read it. Paths in `clips.csv` are relative to that
folder, which `store.json` names.

This module reads; `earmark.data.pack` writes. It needs NumPy alone, no decoder.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.errors import CollectionError, LabelError, did_you_mean
from earmark.labels import Vocabulary

VERSION = 4
MANIFEST_COLUMNS = ("name", "path", "labels", "subset", "group", "fold", "duration_s", "license")
PLACE_COLUMNS = ("offset", "length", "scale", "shift", "n_bytes", "mtime_ns")
"""Where a clip's values lie and what they mean; size and time of the file that they were read from."""

COLUMNS = MANIFEST_COLUMNS + PLACE_COLUMNS


@dataclass(frozen=True)
class Store:
    """Values and labels of a packed collection, or of some of its clips.

    Attributes
    ----------
    manifest
        The clips; their paths are those of the files they were packed from.
    encoding
        What the values are.
    values
        (n_total, ...) of `encoding.dtype` with rows of `encoding.row_shape`, memory-mapped.
    offsets, lengths
        (n_clips,) int64: where each clip lies in `values`, and how many samples or frames it has.
    scales, shifts
        (n_clips,) float32; see `Encoding.scaling`.
    n_bytes, mtimes_ns
        (n_clips,) int64: size and time of the file of each clip when it was packed.
    left_out
        What is wrong with each clip that was to be packed and could not be read, by its name.
    """

    manifest: Manifest
    encoding: Encoding
    values: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    scales: np.ndarray
    shifts: np.ndarray
    n_bytes: np.ndarray
    mtimes_ns: np.ndarray
    left_out: dict[str, str]

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def folder(self) -> Path:
        """Where it lies, absolute."""
        assert isinstance(self.values, np.memmap)
        return Path(str(self.values.filename)).absolute().parent

    @property
    def sample_rate(self) -> int:
        """Of all clips, in Hz."""
        return self.encoding.sample_rate

    def waveform(self, index: int) -> np.ndarray:
        """Samples of one clip.

        Parameters
        ----------
        index
            Of the clip in the manifest.

        Returns
        -------
        np.ndarray
            (n_samples,) float32.

        Raises
        ------
        CollectionError
            When the store holds spectrograms.
        """
        if self.encoding.kind != "waveform":
            raise CollectionError(
                "the store holds log-mel spectrograms, from which there is no way back to waveforms; "
                "pack the collection without --log-mel"
            )
        return self._decoded(index)

    def spectrogram(self, index: int) -> np.ndarray:
        """Log-mel spectrogram of one clip, as `earmark.audio.picture.clip_log_mel` made it, rounded.

        Parameters
        ----------
        index
            Of the clip in the manifest.

        Returns
        -------
        np.ndarray
            (n_mels, n_frames) float32, in the front end's unit.

        Raises
        ------
        CollectionError
            When the store holds waveforms.
        """
        if self.encoding.kind != "log-mel":
            raise CollectionError("the store holds waveforms; make their spectrograms with clip_log_mel")
        return self._decoded(index).T

    def restricted(self, manifest: Manifest) -> Store:
        """The same values under another manifest: of fewer clips, in any order, with labels of its own.

        Parameters
        ----------
        manifest
            Clips that are in the store, by their names.

        Returns
        -------
        Store
            That shares the values.

        Raises
        ------
        CollectionError
            If a clip is not in the store.
        """
        row_of = {name: row for row, name in enumerate(self.manifest.names)}
        missing = [name for name in manifest.names if name not in row_of]
        if missing:
            raise CollectionError(
                f"{len(missing)} clips are not in the store, the first is '{missing[0]}'"
                f"{did_you_mean(missing[0], row_of)}; pack the collection again"
            )
        rows = np.array([row_of[name] for name in manifest.names], dtype=np.int64)
        columns = ("offsets", "lengths", "scales", "shifts", "n_bytes", "mtimes_ns")
        return replace(self, manifest=manifest, **{name: getattr(self, name)[rows] for name in columns})

    def _decoded(self, index: int) -> np.ndarray:
        start = self.offsets[index]
        stored = self.values[start : start + self.lengths[index]]
        return self.encoding.decode(stored, self.scales[index], self.shifts[index])


def is_store(folder: Path) -> bool:
    """Whether a folder is a packed store."""
    return (folder / "store.json").is_file()


def open_store(folder: Path) -> Store:
    """Map a packed store.

    Parameters
    ----------
    folder
        Of the store, wherever it has been moved to.

    Returns
    -------
    Store
        All its clips.

    Raises
    ------
    CollectionError
        When it is no store, of another version, or damaged.
    """
    return _open(folder)[0]


def digests_of(folder: Path) -> tuple[str, str]:
    """What `earmark.data.pack` noted of what a store was made from: of the recordings, and of their labels."""
    return _open(folder)[1]


def _open(folder: Path) -> tuple[Store, tuple[str, str]]:
    if not is_store(folder):
        raise CollectionError(f"{folder}: not a packed store (no store.json)")
    damage = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
    try:
        head = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        if head.get("version") == VERSION:
            return _mapped(folder, head), (str(head["audio_digest"]), str(head["label_digest"]))
    except (*damage, csv.Error, CollectionError, LabelError) as error:
        raise CollectionError(f"{folder}: a damaged store ({error}); copy it again, or pack it again") from error
    raise CollectionError(
        f"{folder}: a store of version {head.get('version')}; this release reads version {VERSION}; pack it again"
    )


def _mapped(folder: Path, head: dict[str, Any]) -> Store:
    root = Path(head["root"])
    encoding = Encoding(**{name: head[name] for name in ("kind", "dtype", "sample_rate", "front_end")})
    text = (folder / "clips.csv").read_bytes().decode("utf-8")
    if not text.endswith("\n"):
        raise ValueError("clips.csv ends in the middle of a line")
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    store = Store(
        manifest=Manifest(tuple(_clip(row, root) for row in rows), _vocabulary(head), root, str(head["layout"])),
        encoding=encoding,
        values=np.lib.format.open_memmap(folder / encoding.file_name, mode="r"),
        offsets=_column(rows, "offset", int, np.int64),
        lengths=_column(rows, "length", int, np.int64),
        scales=_column(rows, "scale", float, np.float32),
        shifts=_column(rows, "shift", float, np.float32),
        n_bytes=_column(rows, "n_bytes", int, np.int64),
        mtimes_ns=_column(rows, "mtime_ns", int, np.int64),
        left_out={str(name): str(why) for name, why in head["left_out"].items()},
    )
    _check(store)
    return store


def _column(rows: Sequence[dict[str, str]], name: str, read: Any, dtype: Any) -> np.ndarray:
    return np.array([read(row[name]) for row in rows], dtype=dtype)


def _vocabulary(head: dict[str, Any]) -> Vocabulary:
    if not isinstance(head["labels"], list):
        raise TypeError("store.json's labels are no list")
    return Vocabulary(head["labels"])


def _check(store: Store) -> None:
    values, encoding = store.values, store.encoding
    if values.dtype != np.dtype(encoding.dtype) or values.shape[1:] != encoding.row_shape or not values.ndim:
        raise ValueError(
            f"{encoding.file_name} holds {values.dtype} of shape {values.shape}, store.json says {encoding.dtype} "
            f"of shape (n, {', '.join(map(str, encoding.row_shape))})"
        )
    if (store.lengths < 1).any() or not np.array_equal(store.offsets, np.cumsum(store.lengths) - store.lengths):
        raise ValueError("the clips in clips.csv do not lie one behind the other")
    if store.lengths.sum() != len(values):
        raise ValueError(f"clips.csv counts {store.lengths.sum()} rows, {encoding.file_name} holds {len(values)}")
    if not (np.isfinite(store.scales).all() and np.isfinite(store.shifts).all()):
        raise ValueError("a scale or shift in clips.csv is not a finite number")


def _clip(row: dict[str, str], root: Path) -> Clip:
    return Clip(
        name=row["name"],
        path=root / row["path"],
        labels=tuple(row["labels"].split(",")) if row["labels"] else (),
        subset=row["subset"],
        group=row["group"] or None,
        fold=int(row["fold"]) if row["fold"] else None,
        duration_s=float(row["duration_s"]) if row["duration_s"] else None,
        license=row["license"] or None,
    )
