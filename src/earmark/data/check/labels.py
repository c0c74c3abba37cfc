"""What is wrong with a collection's labels and official folds, as far as its tables show."""

from __future__ import annotations

from collections import defaultdict

from earmark.data.folds import DEFAULT_N_FOLDS, components
from earmark.data.manifest import NEVER_HELD_OUT, Clip, Manifest
from earmark.data.problem import Problem

FEWEST_TOGETHER = 3
"""Clips that two labels must share, both of them always, to be told."""


def label_problems(manifest: Manifest) -> list[Problem]:
    """Labels without clips, with too few of them for the folds, and pairs that cannot be told apart.

    Parameters
    ----------
    manifest
        Labels of curated clips count where there are any, as only they are divided into folds; otherwise all clips'
        that are not test clips.

    Returns
    -------
    list of Problem
        In the vocabulary's order, each kind for itself.
    """
    learned = [clip for clip in manifest.clips if clip.subset == "curated"]
    learned = learned or [clip for clip in manifest.clips if clip.subset == "noisy"]
    having: dict[str, list[Clip]] = {label: [] for label in manifest.vocabulary}
    for clip in learned:
        for label in clip.labels:
            having[label].append(clip)
    return [*_unused(having), *_rare(having, _n_folds(manifest)), *_inseparable(having)]


def fold_problems(manifest: Manifest) -> list[Problem]:
    """Recordings that official folds tear apart, and folds that are not given for all curated clips.

    Parameters
    ----------
    manifest
        The curated clips count; noisy and test clips are in no fold.

    Returns
    -------
    list of Problem
        One a recording, in the clips' order.
    """
    clips = [clip for clip in manifest.clips if clip.subset == "curated"]
    without = tuple(clip.name for clip in clips if clip.fold is None)
    if len(without) == len(clips):
        return []
    problems = []
    if without:
        said = f"{len(without)} of {len(clips)} clips have no fold; give every clip a fold, or none"
        problems.append(Problem("fold missing", without, said))
    parts: dict[int, list[Clip]] = defaultdict(list)
    for part, clip in zip(components([clip.group for clip in clips]), clips, strict=True):
        parts[int(part)].append(clip)
    for part_clips in parts.values():
        folds = sorted({clip.fold for clip in part_clips if clip.fold is not None})
        if len(folds) > 1:
            problems.append(_torn(part_clips, folds))
    return problems


def _torn(clips: list[Clip], folds: list[int]) -> Problem:
    groups = ", ".join(sorted({f"'{clip.group}'" for clip in clips}))
    placed = ", ".join("all folds" if fold == NEVER_HELD_OUT else f"fold {fold}" for fold in folds)
    said = (
        f"clips of one recording, {groups}, are on two sides: {placed}; what is learned from one is then judged on the "
        "other: correct the fold column or the group column"
    )
    return Problem("recording across folds", tuple(clip.name for clip in clips), said)


def _n_folds(manifest: Manifest) -> int:
    official = {clip.fold for clip in manifest.clips if clip.fold is not None and clip.fold != NEVER_HELD_OUT}
    return len(official) if len(official) > 1 else DEFAULT_N_FOLDS


def _unused(having: dict[str, list[Clip]]) -> list[Problem]:
    remedy = "add recordings of it, or take it out of the vocabulary"
    return [
        Problem("label without clips", (), f"label '{label}': no clip to learn from; {remedy}", "warning")
        for label, clips in having.items()
        if not clips
    ]


def _rare(having: dict[str, list[Clip]], n_folds: int) -> list[Problem]:
    problems = []
    for label, clips in having.items():
        n_recordings = int(components([clip.group for clip in clips]).max(initial=-1)) + 1
        if clips and n_recordings < n_folds:
            count = f"{len(clips)} clips" if n_recordings == len(clips) else f"{n_recordings} recordings"
            said = f"label '{label}': {count} for {n_folds} folds, so some fold has none; add recordings of it"
            problems.append(Problem("rare label", tuple(clip.name for clip in clips), said, "warning"))
    return problems


def _inseparable(having: dict[str, list[Clip]]) -> list[Problem]:
    by_clips: dict[frozenset[str], list[str]] = defaultdict(list)
    for label, clips in having.items():
        if len(clips) >= FEWEST_TOGETHER:
            by_clips[frozenset(clip.name for clip in clips)].append(label)
    problems = []
    for names, labels in by_clips.items():
        if len(labels) > 1:
            said = (
                f"labels {', '.join(map(repr, labels))}: always together, in {len(names)} clips, so that nothing tells "
                "them apart; add clips that have one of them alone"
            )
            problems.append(Problem("labels always together", tuple(sorted(names)), said, "warning"))
    return problems
