"""All checks of a collection, each clip decoded once."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from earmark.data.check.comparison import Comparison, Waveforms
from earmark.data.check.files import inspect, missing_or_empty, surplus
from earmark.data.check.labels import fold_problems, label_problems
from earmark.data.check.matching import LandmarkIndex
from earmark.data.check.report import Report
from earmark.data.check.twins import Twins, recordings, twin_problems, twin_sets
from earmark.data.manifest import Clip, Manifest
from earmark.data.problem import Problem
from earmark.parallel import map_in_order


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
    packed = _named(known, "audio still packed")
    problems = [*known, *missing_or_empty(clip for clip in manifest.clips if clip.name not in packed)]
    unreadable = packed | _named(problems, "missing file", "empty file")
    problems += surplus(listed, (name for problem in known for name in problem.clips))
    problems += [*label_problems(manifest), *fold_problems(manifest)]
    looked_at = [clip for clip in manifest.clips if include_test or clip.subset != "test"]
    twins: list[Twins] = []
    if not quick:
        readable = [clip for clip in looked_at if clip.name not in unreadable]
        found, twins = check_contents(readable, n_workers, progress)
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


def _named(problems: Iterable[Problem], *kinds: str) -> set[str]:
    """Names of the clips that have a problem of some kinds."""
    return {name for problem in problems if problem.kind in kinds for name in problem.clips}


def check_contents(
    clips: Sequence[Clip], n_workers: int | None = None, progress: bool = True
) -> tuple[list[Problem], list[Twins]]:
    """Decode clips, each once, and compare all with all.

    Parameters
    ----------
    clips
        Whose files are there.
    n_workers
        Threads; None for one a core.
    progress
        Whether to show bars on standard error.

    Returns
    -------
    problems
        Of the clips' samples.
    twins
        Pairs of clips that hold the same sound, or a part of it.
    """
    n_workers = n_workers or os.cpu_count() or 1
    index, waveforms = LandmarkIndex(), Waveforms([clip.path for clip in clips])
    problems: list[Problem] = []
    same: dict[str, list[int]] = defaultdict(list)
    durations_s = np.zeros(len(clips))
    with ThreadPoolExecutor(n_workers) as pool:
        inspections = map_in_order(pool, inspect, clips, ahead=4 * n_workers)
        bar = tqdm(inspections, desc="decode", unit="clip", total=len(clips), disable=not progress)
        for number, inspection in enumerate(bar):
            problems += inspection.problems
            durations_s[number] = inspection.duration_s
            if not inspection.is_usable:
                continue
            same[inspection.digest].append(number)
            if same[inspection.digest] == [number]:  # of clips with the same samples, one is compared with others
                index.add(number, inspection.codes, inspection.frames)
                waveforms.keep(number, inspection.samples)
        candidates = index.candidates()
        compare = Comparison(clips, durations_s, waveforms)
        compared = map_in_order(pool, compare, candidates, ahead=4 * n_workers)
        bar = tqdm(compared, desc="compare", unit="pair", total=len(candidates), disable=not progress)
        near = [pair for pair in bar if pair is not None]
    return problems, [*_exact(clips, durations_s, same.values()), *near]


def _exact(clips: Sequence[Clip], durations_s: np.ndarray, same: Iterable[list[int]]) -> list[Twins]:
    return [
        Twins(clips[first], clips[other], 0.0, float(durations_s[first]), 0.0, 1.0, 1.0, is_exact=True)
        for first, *others in same
        for other in others
    ]
