"""Clips that are one sound twice: the sets they form, and whether that spoils what is learned and judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from earmark.data.folds import components
from earmark.data.manifest import Clip
from earmark.data.problem import Problem

N_SHOWN = 6
"""Clips of a set that a message names."""


@dataclass(frozen=True)
class Twins:
    """Two clips that hold the same sound, or a part of it.

    Attributes
    ----------
    first, second
        The clips.
    offset_s
        When the second clip begins, in seconds from the beginning of the first; negative when it begins earlier.
    overlap_s
        How long both last at the same time, in seconds.
    gain_db
        How much louder the second clip is, in dB.
    correlation, coherence
        See `Alignment`; 1 for copies.
    is_exact
        Whether all samples are equal, to 16 bits.
    """

    first: Clip
    second: Clip
    offset_s: float
    overlap_s: float
    gain_db: float
    correlation: float
    coherence: float
    is_exact: bool = False


@dataclass(frozen=True)
class TwinSet:
    """All clips that twins tie together, directly or through others.

    Attributes
    ----------
    clips
        Two or more, in the collection's order.
    twins
        The pairs that were found among them.
    """

    clips: tuple[Clip, ...]
    twins: tuple[Twins, ...]

    @property
    def noun(self) -> str:
        """What the clips are to each other."""
        return "duplicates" if all(pair.is_exact for pair in self.twins) else "near-duplicates"

    @property
    def shared(self) -> str:
        """How long the sound is that they have in common, in words."""
        longest = max(self.twins, key=lambda pair: pair.overlap_s)
        return f"sharing {'up to ' if len(self.twins) > 1 else ''}{longest.overlap_s:.2f} s"


def twin_sets(clips: Sequence[Clip], twins: Iterable[Twins]) -> list[TwinSet]:
    """Gather pairs into sets.

    Parameters
    ----------
    clips
        All clips, in the collection's order.
    twins
        Pairs among them.

    Returns
    -------
    list of TwinSet
        In the order of their first clips.
    """
    # a pair ties its clips together as a shared recording does
    sources: dict[str, list[str]] = defaultdict(list)
    twins = list(twins)
    for number, pair in enumerate(twins):
        sources[pair.first.name].append(str(number))
        sources[pair.second.name].append(str(number))
    involved = [clip for clip in clips if clip.name in sources]
    parts = components(["+".join(sources[clip.name]) for clip in involved]).tolist()
    part_of = dict(zip((clip.name for clip in involved), parts, strict=True))
    clips_of: dict[int, list[Clip]] = defaultdict(list)
    twins_of: dict[int, list[Twins]] = defaultdict(list)
    for clip in involved:
        clips_of[part_of[clip.name]].append(clip)
    for pair in twins:
        twins_of[part_of[pair.first.name]].append(pair)
    return [TwinSet(tuple(clips_of[part]), tuple(twins_of[part])) for part in clips_of]


def recordings(clips: Sequence[Clip]) -> dict[str, int]:
    """Number of the recording that each clip is of, by its name; clips that share sources are of one."""
    return dict(zip((clip.name for clip in clips), components([clip.group for clip in clips]).tolist(), strict=True))


def twin_problems(sets: Iterable[TwinSet], recording_of: Mapping[str, int]) -> list[Problem]:
    """Judge sets of twins: whether they spoil a comparison, and whether their labels agree.

    Parameters
    ----------
    sets
        What `twin_sets` gives.
    recording_of
        What `recordings` gives, of all clips.

    Returns
    -------
    list of Problem
        One or two a set. An error where one twin can be learned from while the other is judged: across official folds
        or recordings of curated clips, or test clips. Otherwise a warning.
    """
    problems = []
    for found in sets:
        problems.append(_place_problem(found, recording_of))
        labels = {clip.labels for clip in found.clips if clip.labels}
        if len({frozenset(names) for names in labels}) > 1:
            problems.append(_labels_problem(found))
    return problems


def _place_problem(found: TwinSet, recording_of: Mapping[str, int]) -> Problem:
    where, severity, consequence = _place(found, recording_of)
    said = f"{found.noun} {where}, {found.shared}: {_listed(found.clips, _placed)}; {consequence}"
    names = tuple(clip.name for clip in found.clips)
    return Problem(f"{found.noun} {where}", names, said, "error" if severity else "warning")


def _place(found: TwinSet, recording_of: Mapping[str, int]) -> tuple[str, bool, str]:
    """Where twins stand, whether that is an error, and what follows from it."""
    curated = [clip for clip in found.clips if clip.subset == "curated"]
    folds = {clip.fold for clip in curated}
    leave_out = "leave all but one out, or"
    if {"test"} < {clip.subset for clip in found.clips}:
        return "in test and training", True, "the test is then no test: leave them out of training"
    if len(folds) > 1:
        return (
            "across folds",
            True,
            f"what is learned from one is judged on the other: {leave_out} put them in one fold",
        )
    if any(_apart(pair, recording_of) for pair in found.twins):
        return "in different groups", True, f"folds may tear them apart: {leave_out} give them one group"
    if curated and len(curated) < len(found.clips):
        return "curated and noisy", False, "the noisy one is learned from while the curated one is judged"
    if not curated:
        return "among noisy clips" if found.clips[0].subset == "noisy" else "among test clips", False, "counted twice"
    return "within a group", False, "they stay in one fold, and count twice there"


def _apart(pair: Twins, recording_of: Mapping[str, int]) -> bool:
    """Whether nothing keeps two curated clips in one fold, or their groups say that they are different recordings."""
    first, second = pair.first, pair.second
    if (first.subset, second.subset) != ("curated", "curated") or recording_of[first.name] == recording_of[second.name]:
        return False
    return (first.group is not None and second.group is not None) or first.fold is None


def _labels_problem(found: TwinSet) -> Problem:
    said = f"{found.noun} with different labels: {_listed(found.clips, lambda clip: ', '.join(clip.labels))}"
    names = tuple(clip.name for clip in found.clips)
    return Problem("labels differ", names, f"{said}; correct the labels of one, or leave one out", "warning")


def _listed(clips: Sequence[Clip], describe: Callable[[Clip], str]) -> str:
    shown = ", ".join(f"'{clip.name}' ({describe(clip)})" for clip in clips[:N_SHOWN])
    return shown if len(clips) <= N_SHOWN else f"{shown} and {len(clips) - N_SHOWN} more"


def _placed(clip: Clip) -> str:
    fold = "" if clip.fold is None else f"fold {clip.fold}, "
    return f"{clip.subset}, {fold}{'no group' if clip.group is None else f'group {clip.group}'}"
