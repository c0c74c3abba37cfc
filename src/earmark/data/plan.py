"""What packing a collection will come to: how long it is, how much room it needs, and how much there is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.audio.decode import stream
from earmark.data.encoding import Encoding
from earmark.data.intake import HELD_BYTES
from earmark.data.manifest import Clip, Manifest
from earmark.data.partial import Key, inside
from earmark.data.sizes import in_words
from earmark.data.spectrograms import front_end_of
from earmark.data.store import VERSION
from earmark.errors import AudioError, StoreError

MOST_HEADERS = 2000
"""Of a larger collection so many headers are read, evenly spread; the lengths of the others are told by their size."""

MARGIN = 0.05
"""By so much a size that rests on such lengths may be off before a disk is called too small."""

CSV_BYTES = 200
"""A row of `clips.csv` and a line of the journal, about."""


@dataclass(frozen=True)
class Source:
    """One recording to be packed, in the state in which it was found.

    Attributes
    ----------
    clip
        Of the manifest.
    key
        Its path within the collection, its size and time; both are -1 when there is no such file.
    """

    clip: Clip
    key: Key


@dataclass(frozen=True)
class Plan:
    """What packing a collection will come to.

    Attributes
    ----------
    n_clips
        How many clips.
    durations_s
        (n_clips,) in seconds, as headers or the manifest state them; NaN where neither does. In a collection of more
        than `MOST_HEADERS`, most are told by the sizes of files of the same suffix.
    n_bytes
        Of the store. Clips of unknown length count as those of known length on average.
    n_scratch_bytes
        That long clips take up while they are packed.
    free_bytes
        On the disk where the store will be.
    encoding
        Of the store.
    is_bound
        Whether the store may be smaller than `n_bytes`, because silence is cut off.
    is_estimate
        Whether lengths are told by the sizes of files.
    """

    n_clips: int
    durations_s: np.ndarray
    n_bytes: int
    n_scratch_bytes: int
    free_bytes: int
    encoding: Encoding
    is_bound: bool
    is_estimate: bool

    def summary(self) -> str:
        """All of it in one line."""
        known = self.durations_s[~np.isnan(self.durations_s)]
        n_unknown = self.n_clips - len(known)
        about = "about " if self.is_estimate else ""
        hours = f"{about}{known.sum() / 3600:.2f} hours"
        hours += f" and {n_unknown} of unknown length" if n_unknown else ""
        at = f"{self.encoding.kind} {self.encoding.dtype} at {self.encoding.sample_rate} Hz"
        most = "at most " if self.is_bound else about
        return (
            f"{self.n_clips} clips, {hours}: {most}{in_words(self.n_bytes)} as {at}; {in_words(self.free_bytes)} free"
        )

    def check_room(self, target: Path, n_present: int = 0) -> None:
        """Raise a `StoreError` when the disk is clearly too small, `n_present` bytes of the store being there."""
        needed = self.n_bytes - n_present + self.n_scratch_bytes
        surely = needed - (MARGIN * self.n_bytes if self.is_estimate else 0)
        if surely > self.free_bytes and not self.is_bound:
            raise StoreError(
                f"{target}: {in_words(needed)} are needed and {in_words(self.free_bytes)} are free; "
                "make room, name a folder on another disk, or pack at a lower rate or as log-mel (--log-mel)"
            )


def sources_of(manifest: Manifest, root: str) -> list[Source]:
    """Look at the recordings of a collection, whose folder is `root`, without opening them."""
    return [Source(clip, _key(clip.path, root)) for clip in manifest.clips]


def _key(path: Path, root: str) -> Key:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return Key(inside(path, root), -1, -1)
    return Key(inside(path, root), status.st_size, status.st_mtime_ns)


def plan(sources: Sequence[Source], target: Path, encoding: Encoding, *, n_workers: int) -> Plan:
    """Estimate what packing will come to, from headers; no recording is decoded.

    Parameters
    ----------
    sources
        What is to be packed.
    target
        Where.
    encoding
        How.
    n_workers
        Threads that read headers, and that will decode.

    Returns
    -------
    Plan
        Recordings that cannot be read count nothing.
    """
    is_estimate = sum(source.clip.duration_s is None for source in sources) > MOST_HEADERS
    durations_s = (_estimated_s if is_estimate else _stated_s)(sources, n_workers)
    known = np.isfinite(durations_s)
    mean_s = float(durations_s[known].mean()) if known.any() else 0.0
    n_samples = np.ceil(np.where(known, durations_s, mean_s) * encoding.sample_rate)
    n_rows, is_bound = n_samples, False
    if encoding.kind == "log-mel":
        spec = front_end_of(encoding)
        least = round(spec.min_duration_s * encoding.sample_rate)
        n_rows = np.where(n_samples > 0, 1 + np.maximum(n_samples, least) // spec.log_mel.hop_length, 0)
        is_bound = spec.trim_top_db > 0
    scratch = np.sort(n_samples[4 * n_samples > HELD_BYTES])[-n_workers:] * 4
    n_bytes = int(n_rows.sum()) * encoding.row_bytes + CSV_BYTES * len(sources)
    free = shutil.disk_usage(_existing(target.parent)).free
    return Plan(len(sources), durations_s, n_bytes, int(scratch.sum()), free, encoding, is_bound, is_estimate)


def _stated_s(sources: Sequence[Source], n_workers: int) -> np.ndarray:
    with ThreadPoolExecutor(n_workers) as pool:
        return np.array(list(pool.map(_duration_s, sources)), dtype=np.float64)


def _estimated_s(sources: Sequence[Source], n_workers: int) -> np.ndarray:
    """Lengths of recordings of which some are looked at: of a suffix, seconds go with bytes.

    Where none of a suffix was looked at, or none that states its length, the seconds a byte of all are taken.
    """
    step = -(-len(sources) // MOST_HEADERS)
    looked_at = np.arange(len(sources)) % step == 0
    stated_s = np.full(len(sources), np.nan)
    stated_s[looked_at] = _stated_s(sources[::step], n_workers)
    n_bytes = np.array([max(0, source.key.n_bytes) for source in sources], dtype=np.float64)
    suffixes = np.array([source.clip.path.suffix.lower() for source in sources])
    durations_s = n_bytes * _seconds_a_byte(stated_s, n_bytes, np.isfinite(stated_s))
    for suffix in np.unique(suffixes):
        of_suffix = suffixes == suffix
        measured = of_suffix & np.isfinite(stated_s) & (n_bytes > 0)
        if measured.any():
            durations_s[of_suffix] = n_bytes[of_suffix] * _seconds_a_byte(stated_s, n_bytes, measured)
    said = np.array([np.nan if source.clip.duration_s is None else source.clip.duration_s for source in sources])
    durations_s = np.where(looked_at & np.isfinite(stated_s), stated_s, durations_s)
    return np.where(np.isfinite(said), said, durations_s)


def _seconds_a_byte(durations_s: np.ndarray, n_bytes: np.ndarray, measured: np.ndarray) -> float:
    return float(durations_s[measured].sum() / max(1.0, n_bytes[measured].sum()))


def _duration_s(source: Source) -> float:
    if source.clip.duration_s is not None:
        return source.clip.duration_s
    try:
        with stream(source.clip.path) as blocks:
            return np.nan if blocks.duration_s is None else blocks.duration_s
    except AudioError:
        return 0.0


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def audio_digest(sources: Sequence[Source], encoding: Encoding, root: str) -> str:
    """Hexadecimal digest of everything that a store's values are made from, labels not among it."""
    digest = hashlib.sha256(json.dumps([VERSION, root, encoding.tables()], sort_keys=True).encode())
    for source in sources:
        digest.update(json.dumps([source.clip.name, *source.key]).encode())
    return digest.hexdigest()


def label_digest(manifest: Manifest) -> str:
    """Hexadecimal digest of what a collection says of its clips."""
    digest = hashlib.sha256(json.dumps([manifest.layout, list(manifest.vocabulary)]).encode())
    for clip in manifest.clips:
        row = [clip.name, clip.labels, clip.subset, clip.group, clip.fold, clip.duration_s, clip.license]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
