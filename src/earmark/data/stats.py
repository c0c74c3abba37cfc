"""What a collection holds: clips, minutes and recordings of every label and subset, lengths, rates, labels together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from earmark.audio.decode import Properties, properties
from earmark.data.manifest import SUBSETS, Clip, Manifest
from earmark.errors import AudioError
from earmark.parallel import map_in_order

K = TypeVar("K", bound=Hashable)

QUANTILES = {"shortest": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "longest": 1.0}
"""The lengths that are given of each subset: so large a share of the clips is no longer."""


@dataclass(frozen=True)
class Share:
    """How much of a collection something is.

    Attributes
    ----------
    n_clips
        How many clips.
    minutes
        Their length together, of those that can be read.
    n_sources
        Recordings that they were cut from, as far as the collection names them; a clip of two counts both.
    n_without_source
        Clips whose recording is not named.
    """

    n_clips: int
    minutes: float
    n_sources: int
    n_without_source: int


@dataclass(frozen=True)
class Statistics:
    """What a collection holds.

    Attributes
    ----------
    layout
        Of the collection.
    subsets
        Of each subset that has clips: the whole of it.
    labels
        Of each label, in the vocabulary's order: its share in each of these subsets.
    durations_s
        Of each subset: `QUANTILES` of the clips' lengths, in seconds.
    n_labels_per_clip
        Of each subset: how many clips have 0, 1, 2, … labels.
    together
        (n_labels, n_labels) int64: clips that have both labels; in the diagonal, those that have the one.
    rates
        Clips by sample rate in Hz, number of channels and format.
    licenses
        Clips by licence, where the collection names it.
    unreadable
        What is wrong with files that cannot be read, which count as clips of no length.
    """

    layout: str
    subsets: dict[str, Share]
    labels: dict[str, dict[str, Share]]
    durations_s: dict[str, dict[str, float]]
    n_labels_per_clip: dict[str, list[int]]
    together: np.ndarray
    rates: dict[tuple[int, int, str], int]
    licenses: dict[str, int]
    unreadable: tuple[str, ...]


def statistics(manifest: Manifest, *, n_workers: int | None = None, progress: bool = True) -> Statistics:
    """Count and measure a collection, from its tables and the headers of its files.

    Parameters
    ----------
    manifest
        The clips.
    n_workers
        Files at a time; `None` for two a core, as headers are waited for more than worked on.
    progress
        Whether to show a bar on standard error.

    Returns
    -------
    Statistics
        Over the clips of the manifest.
    """
    found = _all_properties(manifest.clips, n_workers or 2 * (os.cpu_count() or 1), progress)
    lengths_s = [0.0 if isinstance(one, AudioError) else one.duration_s for one in found]
    pairs = list(zip(manifest.clips, lengths_s, strict=True))
    of_subset = {name: [pair for pair in pairs if pair[0].subset == name] for name in SUBSETS}
    of_subset = {name: members for name, members in of_subset.items() if members}
    targets = manifest.targets().astype(np.int64)
    return Statistics(
        layout=manifest.layout,
        subsets={name: _share(members) for name, members in of_subset.items()},
        labels=_label_shares(manifest, of_subset),
        durations_s={name: _quantiles([length for _, length in members]) for name, members in of_subset.items()},
        n_labels_per_clip={
            name: np.bincount([len(clip.labels) for clip, _ in members]).tolist() for name, members in of_subset.items()
        },
        together=targets.T @ targets,
        rates=_by_count((p.sample_rate, p.n_channels, p.format_name) for p in found if isinstance(p, Properties)),
        licenses=_by_count(clip.license for clip in manifest.clips if clip.license),
        unreadable=tuple(str(one) for one in found if isinstance(one, AudioError)),
    )


def pairs_together(statistics: Statistics) -> list[tuple[str, str, int]]:
    """Two labels and how many clips have both, most first; pairs that never meet are left out."""
    names = list(statistics.labels)
    first, second = np.nonzero(np.triu(statistics.together, 1))
    met = [(names[i], names[j], int(statistics.together[i, j])) for i, j in zip(first, second, strict=True)]
    return sorted(met, key=lambda pair: -pair[2])


def _all_properties(clips: Sequence[Clip], n_workers: int, progress: bool) -> list[Properties | AudioError]:
    def attempt(clip: Clip) -> Properties | AudioError:
        try:
            return properties(clip.path)
        except AudioError as error:
            return error

    with ThreadPoolExecutor(n_workers) as pool:
        found = map_in_order(pool, attempt, clips, ahead=8 * n_workers)
        return list(tqdm(found, total=len(clips), desc="headers", unit="clip", disable=not progress))


def _share(members: Sequence[tuple[Clip, float]]) -> Share:
    sources = {source for clip, _ in members for source in _sources(clip)}
    return Share(
        n_clips=len(members),
        minutes=sum(length_s for _, length_s in members) / 60,
        n_sources=len(sources),
        n_without_source=sum(not _sources(clip) for clip, _ in members),
    )


def _sources(clip: Clip) -> list[str]:
    return [source.strip() for source in (clip.group or "").split("+") if source.strip()]


def _label_shares(manifest: Manifest, of_subset: dict[str, list[tuple[Clip, float]]]) -> dict[str, dict[str, Share]]:
    of_label: dict[str, dict[str, list[tuple[Clip, float]]]] = {
        label: {name: [] for name in of_subset} for label in manifest.vocabulary
    }
    for name, members in of_subset.items():
        for member in members:
            for label in member[0].labels:
                of_label[label][name].append(member)
    return {label: {name: _share(some) for name, some in parts.items()} for label, parts in of_label.items()}


def _quantiles(lengths_s: Sequence[float]) -> dict[str, float]:
    values = np.quantile(lengths_s, list(QUANTILES.values()))
    return dict(zip(QUANTILES, values.tolist(), strict=True))


def _by_count(values: Iterable[K]) -> dict[K, int]:
    return dict(Counter(values).most_common())
