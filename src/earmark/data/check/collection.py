"""All checks of a collection, each clip decoded once."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from tqdm import tqdm

from earmark.audio.decode import decode
from earmark.data.check.alignment import SEARCH, SHORTEST_S, align
from earmark.data.check.files import Inspection, inspect, missing_or_empty, surplus
from earmark.data.check.labels import fold_problems, label_problems
from earmark.data.check.landmarks import SAMPLE_RATE
from earmark.data.check.matching import Candidate, LandmarkIndex
from earmark.data.check.report import Report
from earmark.data.check.twins import Twins, recordings, twin_problems, twin_sets
from earmark.data.manifest import Clip, Manifest
from earmark.data.problem import Problem
from earmark.errors import AudioError
from earmark.parallel import map_in_order

LEAST_COHERENCE = 0.35
"""From here on two clips are one recording; see `Alignment.coherence`."""

LEAST_SHARE, ENOUGH_S = 0.2, 3.0
"""Twins share a fifth of the shorter clip, or three seconds."""

COMPARED_S = 60.0
"""Of a longer overlap, the middle is compared."""

WHOLE_S = 120.0
"""Clips up to this length are decoded whole for comparison, and `N_CACHED` of them kept: 250 MB at the most."""

N_CACHED = 32


def check_collection(
    manifest: Manifest,
    *,
    listed: Manifest | None = None,
    known: Sequence[Problem] = (),
    quick: bool = False,
    include_test: bool = False,
    n_workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Look for everything that is wrong with a collection.

    Parameters
    ----------
    manifest
        The clips that count.
    listed
        All clips of the collection's tables, where `manifest` is a selection of them.
    known
        Problems that were found when the tables were read; they come first in the report.
    quick
        Whether to leave out what needs decoding: contents of files, and twins.
    include_test
        Whether test clips are decoded and compared, too. Otherwise only their files are looked for.
    n_workers
        Threads; None for one a core.
    progress
        Whether to show a bar on standard error.

    Returns
    -------
    Report
        What was found.
    """
    listed = listed or manifest
    n_workers = n_workers or os.cpu_count() or 1
    problems = [*known, *missing_or_empty(manifest.clips)]
    unreadable = {
        name for problem in problems for name in problem.clips if problem.kind in ("missing file", "empty file")
    }
    problems += surplus(listed, (name for problem in known for name in problem.clips))
    problems += [*label_problems(manifest), *fold_problems(manifest)]
    looked_at = [clip for clip in manifest.clips if include_test or clip.subset != "test"]
    twins: list[Twins] = []
    if not quick:
        readable = [clip for clip in looked_at if clip.name not in unreadable]
        found, twins = _check_contents(readable, n_workers, progress)
        problems += found
        problems += twin_problems(twin_sets(readable, twins), recordings(manifest.clips))
    return Report(
        collection=listed.root.resolve().name,
        layout=manifest.layout,
        clips=manifest.clips,
        n_test_left_out=len(manifest) - len(looked_at),
        is_quick=quick,
        problems=tuple(problems),
        twins=tuple(twins),
    )


def _check_contents(clips: Sequence[Clip], n_workers: int, progress: bool) -> tuple[list[Problem], list[Twins]]:
    """Problems of the clips' samples, and twins among them."""
    index = LandmarkIndex()
    problems: list[Problem] = []
    same: dict[str, list[int]] = defaultdict(list)
    durations_s = np.zeros(len(clips))
    with ThreadPoolExecutor(n_workers) as pool:
        bar = tqdm(total=len(clips), desc="decode", unit="clip", disable=not progress)
        inspections = map_in_order(pool, inspect, clips, ahead=4 * n_workers)
        for number, inspection in enumerate(inspections):
            bar.update()
            problems += inspection.problems
            durations_s[number] = inspection.duration_s
            if inspection.is_usable:
                _enter(index, same, number, inspection)
        bar.close()
        candidates = index.candidates()
        compare = _Comparison(clips, durations_s)
        bar = tqdm(total=len(candidates), desc="compare", unit="pair", disable=not progress)
        near = []
        for pair in map_in_order(pool, compare, candidates, ahead=4 * n_workers):
            bar.update()
            near += [] if pair is None else [pair]
        bar.close()
    return problems, [*_exact(clips, durations_s, same.values()), *near]


def _enter(index: LandmarkIndex, same: dict[str, list[int]], number: int, inspection: Inspection) -> None:
    """Remember a clip; of those with the same samples, one is compared with others."""
    same[inspection.digest].append(number)
    if same[inspection.digest] == [number]:
        index.add(number, inspection.codes, inspection.frames)


def _exact(clips: Sequence[Clip], durations_s: np.ndarray, same: Iterable[list[int]]) -> list[Twins]:
    return [
        Twins(clips[first], clips[other], 0.0, float(durations_s[first]), 0.0, 1.0, 1.0, is_exact=True)
        for first, *others in same
        for other in others
    ]


class _Comparison:
    """Lays the two clips of a candidate over each other; called from several threads."""

    def __init__(self, clips: Sequence[Clip], durations_s: np.ndarray) -> None:
        self._clips, self._durations_s = clips, durations_s
        self._whole: Callable[[int], np.ndarray] = lru_cache(N_CACHED)(self._decode)

    def __call__(self, candidate: Candidate) -> Twins | None:
        """Give the pair when it is one recording."""
        first, second, offset_s = candidate.first, candidate.second, candidate.offset_s
        start_s = max(0.0, offset_s)
        overlap_s = min(self._durations_s[first], offset_s + self._durations_s[second]) - start_s
        shorter_s = min(self._durations_s[first], self._durations_s[second])
        if overlap_s < max(SHORTEST_S, min(LEAST_SHARE * shorter_s, ENOUGH_S)):
            return None
        start_s += max(0.0, overlap_s - COMPARED_S) / 2
        n_samples = round(min(overlap_s, COMPARED_S) * SAMPLE_RATE)
        start = round(start_s * SAMPLE_RATE)
        try:
            one = self._excerpt(first, start, n_samples)
            other = self._excerpt(second, start - round(offset_s * SAMPLE_RATE) - SEARCH, n_samples + 2 * SEARCH)
        except AudioError:  # it was readable a while ago: the file is being changed
            return None
        found = align(one, other)
        if found is None or found.coherence < LEAST_COHERENCE:
            return None
        return Twins(
            self._clips[first],
            self._clips[second],
            offset_s + found.shift_s,
            float(overlap_s),
            found.gain_db,
            found.correlation,
            found.coherence,
        )

    def _decode(self, clip: int) -> np.ndarray:
        return decode(self._clips[clip].path, SAMPLE_RATE).samples

    def _excerpt(self, clip: int, start: int, n_samples: int) -> np.ndarray:
        """Samples from `start` on, zeros outside the clip."""
        n_before = max(0, -start)
        first, stop = max(0, start), start + n_samples
        if self._durations_s[clip] <= WHOLE_S:
            samples = self._whole(clip)[first:stop]
        else:
            end_s = min(stop / SAMPLE_RATE, float(self._durations_s[clip]))
            samples = decode(self._clips[clip].path, SAMPLE_RATE, start_s=first / SAMPLE_RATE, end_s=end_s).samples
        return np.pad(samples, (n_before, max(0, n_samples - n_before - len(samples))))[:n_samples]
