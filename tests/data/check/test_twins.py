"""Sets of twins, and how bad they are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from earmark.data.check.twins import Twins, recordings, twin_problems, twin_sets
from earmark.data.manifest import Clip
from earmark.data.problem import Problem


def clip(
    name: str,
    subset: str = "curated",
    group: str | None = None,
    fold: int | None = None,
    labels: tuple[str, ...] = ("Bark",),
) -> Clip:
    return Clip(name, Path(f"{name}.wav"), labels, subset, group, fold)


def pair(first: Clip, second: Clip, *, is_exact: bool = False, overlap_s: float = 1.5) -> Twins:
    return Twins(first, second, 0.0, overlap_s, 0.0, 1.0, 1.0, is_exact)


def judged(*clips: Clip, is_exact: bool = False) -> list[Problem]:
    """Problems of clips each of which is the twin of the next."""
    pairs = [pair(first, second, is_exact=is_exact) for first, second in pairwise(clips)]
    return twin_problems(twin_sets(clips, pairs), recordings(clips))


def test_pairs_are_gathered_into_sets() -> None:
    a, b, c, d, e, f = (clip(name) for name in "abcdef")
    first, second = twin_sets([a, b, c, d, e, f], [pair(b, e), pair(a, f), pair(e, d)])
    assert first.clips == (a, f)
    assert second.clips == (b, d, e)
    assert len(second.twins) == 2
    assert twin_sets([a, b], []) == []


def test_twins_across_folds() -> None:
    (problem,) = judged(clip("a", fold=1, group="x"), clip("b", fold=2, group="y"))
    said = (
        "near-duplicates across folds, sharing 1.50 s: 'a' (curated, fold 1, group x), 'b' (curated, fold 2, group y); "
        "what is learned from one is judged on the other: leave all but one out, or put them in one fold"
    )
    assert problem == Problem("near-duplicates across folds", ("a", "b"), said)


def test_duplicates_that_nothing_keeps_together() -> None:
    (problem,) = judged(clip("a"), clip("b"), is_exact=True)
    said = (
        "duplicates in different groups, sharing 1.50 s: 'a' (curated, no group), 'b' (curated, no group); "
        "folds may tear them apart: leave all but one out, or give them one group"
    )
    assert problem == Problem("duplicates in different groups", ("a", "b"), said)


@pytest.mark.parametrize(
    ("first", "second", "where", "severity"),
    [
        (clip("a", group="x"), clip("b", group="y"), "in different groups", "error"),
        (clip("a", group="x"), clip("b"), "in different groups", "error"),
        (clip("a", group="x", fold=1), clip("b", group="y", fold=1), "in different groups", "error"),
        (clip("a", fold=1), clip("b", fold=1), "within a group", "warning"),
        (clip("a", group="x"), clip("b", group="x"), "within a group", "warning"),
        (clip("a", group="x"), clip("b", group="y+x"), "within a group", "warning"),
        (clip("a", group="x"), clip("b", "noisy", group="y"), "curated and noisy", "warning"),
        (clip("a", "noisy", group="x"), clip("b", "noisy", group="y"), "among noisy clips", "warning"),
        (clip("a", "test"), clip("b", "test"), "among test clips", "warning"),
        (clip("a", "test"), clip("b", "noisy"), "in test and training", "error"),
    ],
)
def test_where_twins_stand(first: Clip, second: Clip, where: str, severity: str) -> None:
    (problem,) = judged(first, second)
    assert (problem.kind, problem.severity) == (f"near-duplicates {where}", severity)


def test_one_recording_through_a_third_clip_that_is_a_mix() -> None:
    clips = [clip("a", group="x"), clip("b", group="y"), clip("m", group="x+y")]
    found = twin_problems(twin_sets(clips, [pair(clips[0], clips[1])]), recordings(clips))
    assert [problem.severity for problem in found] == ["warning"]


def test_twins_with_different_labels() -> None:
    clips = [clip("a", group="x"), clip("b", group="x", labels=("Meow", "Bark"))]
    _, problem = judged(*clips)
    said = "near-duplicates with different labels: 'a' (Bark), 'b' (Meow, Bark)"
    remedy = "correct the labels of one, or leave one out"
    assert problem == Problem("labels differ", ("a", "b"), f"{said}; {remedy}", "warning")


def test_the_order_of_labels_and_unknown_labels_of_tests_are_no_difference() -> None:
    a, b = clip("a", group="x", labels=("Bark", "Meow")), clip("b", group="x", labels=("Meow", "Bark"))
    assert len(judged(a, b, clip("t", "test", labels=()))) == 1


def test_large_sets_are_cut_short() -> None:
    (problem,) = judged(*(clip(f"c{number}", group="x") for number in range(9)))
    assert "sharing up to 1.50 s: 'c0'" in problem.message
    assert "'c5' (curated, group x) and 3 more; they stay in one fold" in problem.message
    assert len(problem.clips) == 9
