"""A collection decoded once: one memory-mapped file of samples that training reads at any place.

A store is a folder: `store.json` (what it is), `clips.csv` (a row a clip) and `samples.npy`, all clips one after the
other as 16-bit integers. Each clip has its own scale, so a quiet clip loses nothing and an overshooting one is not
clipped: the rounding error is at most half a 32,767th of the clip's own peak.

Paths in `clips.csv` are relative to the collection's folder, which `store.json` names.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs
from tqdm import tqdm

from earmark.audio.decode import decode
from earmark.data.layouts import read_collection
from earmark.data.manifest import Clip, Manifest
from earmark.errors import AudioError, CollectionError
from earmark.labels import Vocabulary
from earmark.parallel import map_in_order

VERSION = 3
FULL_SCALE = 32_767
COLUMNS = ("name", "path", "labels", "subset", "group", "fold", "license", "offset", "n_samples", "scale")
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Of a clip that is silent, or as good as: below this, float32 loses precision."""

N_ERRORS_SHOWN = 10


@dataclass(frozen=True)
class Store:
    """Samples and labels of a packed collection.

    Attributes
    ----------
    manifest
        The clips; their paths are those of the files they were packed from.
    sample_rate
        Of all clips, in Hz.
    offsets, n_samples
        (n_clips,) int64: where each clip lies in `samples`.
    scales
        (n_clips,) float32: a sample's value is its integer times this.
    samples
        (n_total,) int16, memory-mapped.
    """

    manifest: Manifest
    sample_rate: int
    offsets: np.ndarray
    n_samples: np.ndarray
    scales: np.ndarray
    samples: np.ndarray

    def __len__(self) -> int:
        return len(self.manifest)

    def waveform(self, index: int) -> np.ndarray:
        """(n_samples,) float32 samples of one clip."""
        start = self.offsets[index]
        return self.samples[start : start + self.n_samples[index]].astype(np.float32) * self.scales[index]


def is_store(folder: Path) -> bool:
    """Whether a folder is a packed store."""
    return (folder / "store.json").is_file()


def open_store(folder: Path) -> Store:
    """Map a packed store; `CollectionError` when it is not one, of another version, or damaged."""
    if not is_store(folder):
        raise CollectionError(f"{folder}: not a packed store (no store.json)")
    try:
        head = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        if head.get("version") == VERSION:
            return _open(folder, head)
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CollectionError(f"{folder}: a damaged store ({error}); copy it again, or pack it again") from error
    raise CollectionError(
        f"{folder}: a store of version {head.get('version')}; this release reads version {VERSION}; pack it again"
    )


def _open(folder: Path, head: dict[str, Any]) -> Store:
    root = Path(head["root"])
    with (folder / "clips.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    store = Store(
        manifest=Manifest(tuple(_clip(row, root) for row in rows), Vocabulary(head["labels"]), root, head["layout"]),
        sample_rate=head["sample_rate"],
        offsets=np.array([int(row["offset"]) for row in rows], dtype=np.int64),
        n_samples=np.array([int(row["n_samples"]) for row in rows], dtype=np.int64),
        scales=np.array([float(row["scale"]) for row in rows], dtype=np.float32),
        samples=np.load(folder / "samples.npy", mmap_mode="r"),
    )
    if store.n_samples.sum() != len(store.samples):
        raise ValueError(f"clips.csv counts {store.n_samples.sum()} samples, samples.npy holds {len(store.samples)}")
    return store


def _clip(row: dict[str, str], root: Path) -> Clip:
    return Clip(
        name=row["name"],
        path=root / row["path"],
        labels=tuple(row["labels"].split(",")) if row["labels"] else (),
        subset=row["subset"],
        group=row["group"] or None,
        fold=int(row["fold"]) if row["fold"] else None,
        license=row["license"] or None,
    )


def cached_store(manifest: Manifest, sample_rate: int, *, progress: bool = True) -> Store:
    """Open the store of a collection in the user's cache, packing it when it is not there or out of date.

    The cache is `EARMARK_CACHE`, or the platform's usual place. A store belongs to its files' names, sizes and
    times, to the labels and to the rate: change one, and it is packed again.
    """
    cache = Path(os.environ.get("EARMARK_CACHE") or platformdirs.user_cache_dir("earmark"))
    folder = cache / "stores" / fingerprint(manifest, sample_rate)
    if not is_store(folder):
        pack(manifest, folder, sample_rate, progress=progress)
    return open_store(folder)


def curated_store(data: Path, sample_rate: int, *, layout: str | None = None, progress: bool = True) -> Store:
    """Open what training reads: a packed store as it is, or the curated clips of a collection, packed in the cache.

    Parameters
    ----------
    data
        A store's folder, or a collection's.
    sample_rate
        What a collection is packed at, in Hz.
    layout
        The collection's; `None` to find out.
    progress
        Whether packing shows a bar.

    Raises
    ------
    CollectionError
        When there is nothing to learn from, or a recording cannot be read.
    """
    if is_store(data):
        return open_store(data)
    curated = read_collection(data, layout=layout).subset("curated")
    if not len(curated):
        raise CollectionError(f"{data}: has no curated clips to learn from")
    return cached_store(curated, sample_rate, progress=progress)


def fingerprint(manifest: Manifest, sample_rate: int) -> str:
    """Hexadecimal digest of everything that a store is made from."""
    digest = hashlib.sha256(json.dumps([VERSION, sample_rate, manifest.layout, list(manifest.vocabulary)]).encode())
    for clip in manifest.clips:
        stat = clip.path.stat() if clip.path.exists() else None
        file = (stat.st_size, stat.st_mtime_ns) if stat else None
        row = [str(clip.path.resolve()), clip.name, clip.labels, clip.subset, clip.group, clip.fold, file]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:24]


def pack(
    manifest: Manifest, folder: Path, sample_rate: int, *, n_workers: int | None = None, progress: bool = True
) -> None:
    """Decode a collection into a store.

    Parameters
    ----------
    manifest
        What to pack.
    folder
        Where; replaced as a whole when everything is decoded, untouched when something fails.
    sample_rate
        In Hz.
    n_workers
        Threads that decode; `None` for one a core.
    progress
        Whether to show a bar on standard error.

    Raises
    ------
    CollectionError
        When there is no clip; or naming the files that cannot be decoded.
    """
    if not len(manifest):
        raise CollectionError(f"{manifest.root}: has no clips to pack")
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        _pack_into(manifest, partial, sample_rate, n_workers or os.cpu_count() or 1, progress)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _pack_into(manifest: Manifest, folder: Path, sample_rate: int, n_workers: int, progress: bool) -> None:
    errors: list[str] = []
    rows: list[list[object]] = []
    offset = 0
    bar = tqdm(total=len(manifest), desc="decode", unit="clip", disable=not progress)
    with bar, ThreadPoolExecutor(n_workers) as pool, (folder / "samples.raw").open("wb") as raw:
        decoded = map_in_order(
            pool, lambda clip: _samples_or_error(clip, sample_rate), manifest.clips, ahead=4 * n_workers
        )
        for clip, outcome in zip(manifest.clips, decoded, strict=True):
            bar.update()
            if isinstance(outcome, AudioError):
                errors.append(str(outcome))
                continue
            samples, scale = outcome
            raw.write(samples.tobytes())
            rows.append([*_cells(clip, manifest.root), offset, len(samples), repr(float(scale))])
            offset += len(samples)
    if errors:
        shown = "\n  ".join(errors[:N_ERRORS_SHOWN])
        more = f"\n  and {len(errors) - N_ERRORS_SHOWN} more" if len(errors) > N_ERRORS_SHOWN else ""
        raise CollectionError(
            f"{len(errors)} of {len(manifest)} recordings cannot be packed; mend them or take their rows out:\n"
            f"  {shown}{more}"
        )
    _raw_to_npy(folder / "samples.raw", folder / "samples.npy", offset)
    _write_index(folder, manifest, sample_rate, rows)


def _cells(clip: Clip, root: Path) -> list[object]:
    path = clip.path.resolve()
    inside = path.relative_to(root.resolve()) if path.is_relative_to(root.resolve()) else path
    fold = "" if clip.fold is None else clip.fold
    return [
        clip.name,
        inside.as_posix(),
        ",".join(clip.labels),
        clip.subset,
        clip.group or "",
        fold,
        clip.license or "",
    ]


def _samples_or_error(clip: Clip, sample_rate: int) -> tuple[np.ndarray, np.float32] | AudioError:
    try:
        return quantize(decode(clip.path, sample_rate).samples)
    except AudioError as error:
        return error


def quantize(samples: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Round (n_samples,) float32 to int16 at the clip's own scale; gives the integers and the scale."""
    peak = float(np.abs(samples).max())
    scale = np.float32(max(peak / FULL_SCALE, SMALLEST_SCALE))
    return np.rint(samples / scale).astype(np.int16), scale


def _raw_to_npy(raw: Path, target: Path, n_samples: int) -> None:
    # the length that an .npy header states is known only now: write the header, then move the samples behind it
    with target.open("wb") as file:
        _npy_header(file, n_samples)
        with raw.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 22)
    raw.unlink()


def _npy_header(file: BinaryIO, n_samples: int) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<i2", "fortran_order": False, "shape": (n_samples,)})


def _write_index(folder: Path, manifest: Manifest, sample_rate: int, rows: list[list[object]]) -> None:
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    head = {
        "version": VERSION,
        "sample_rate": sample_rate,
        "layout": manifest.layout,
        "root": str(manifest.root.resolve()),
        "labels": list(manifest.vocabulary),
    }
    (folder / "store.json").write_text(json.dumps(head, indent=1), encoding="utf-8")
