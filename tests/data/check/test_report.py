"""What is said of a collection, as a table, as JSON and as a list of clips to leave out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earmark.data.check.report import Report
from earmark.data.check.twins import Twins, recordings, twin_problems, twin_sets
from earmark.data.manifest import Clip
from earmark.data.problem import Problem

A = Clip("a", Path("a.wav"), ("Bark",), group="x", fold=1)
B = Clip("b", Path("b.wav"), ("Meow",), group="y", fold=2)
N = Clip("n", Path("n.wav"), ("Bark",), "noisy")
T = Clip("t", Path("t.wav"), (), "test")
CLIPS = (A, B, N, T)


def report(
    *problems: Problem, twins: tuple[Twins, ...] = (), clips: tuple[Clip, ...] = CLIPS, quick: bool = False
) -> Report:
    found = (*problems, *twin_problems(twin_sets(clips, twins), recordings(clips)))
    return Report("sounds", "table", clips, 1, quick, found, twins)


def silent(name: str) -> Problem:
    return Problem("silent", (name,), f"'{name}': all samples are 0")


def test_nothing_wrong() -> None:
    assert report().to_table() == (
        "sounds (table): 4 clips, 0 errors, 0 warnings\ncontents of 1 test clips were left out\n"
    )


def test_a_quick_look_says_what_it_left_out() -> None:
    assert report(quick=True).to_table() == (
        "sounds (table): 4 clips, 0 errors, 0 warnings\n"
        "nothing was decoded; without --quick, contents are looked at, too\n"
    )


def test_the_table_has_errors_first_and_says_what_to_do() -> None:
    rare = Problem("rare label", ("a", "b"), "label 'Bark': 2 clips", "warning")
    assert report(rare, silent("n"), silent("a")).to_table() == (
        "sounds (table): 4 clips, 2 errors, 1 warnings\n"
        "contents of 1 test clips were left out\n"
        "\n"
        "problem     severity      times    clips  what to do\n"
        "----------  ----------  -------  -------  --------------------------------\n"
        "silent      error             2        2  export it again, or leave it out\n"
        "rare label  warning           1        2  add recordings\n"
        "\n"
        "silent:\n"
        "  'n': all samples are 0\n"
        "  'a': all samples are 0\n"
        "\n"
        "rare label:\n"
        "  label 'Bark': 2 clips\n"
    )


def test_long_lists_are_cut_short_unless_all_is_asked_for() -> None:
    found = report(*(silent(f"c{number}") for number in range(8)))
    assert "  'c4': all samples are 0\n  and 3 more (--all lists them)\n" in found.to_table()
    assert "'c5'" not in found.to_table()
    assert "'c7': all samples are 0" in found.to_table(everything=True)
    assert "more" not in found.to_table(everything=True)


def test_what_to_do_about_twins_and_about_kinds_of_others() -> None:
    unknown = report(Problem("another kind", ("a",), "a label", "error"))
    assert "another kind  error             1        1  see below" in unknown.to_table()
    twins = report(twins=(Twins(A, B, 0, 1, 0, 1, 1),))
    assert "leave all but one out" in twins.to_table().splitlines()[5]


def test_json() -> None:
    said = json.loads(report(silent("n"), twins=(Twins(A, B, -0.00049, 4.3512, -0.04, 0.541, 0.512),)).to_json())
    assert {key: said[key] for key in ("collection", "layout", "n_clips", "n_test_left_out", "quick")} == {
        "collection": "sounds",
        "layout": "table",
        "n_clips": 4,
        "n_test_left_out": 1,
        "quick": False,
    }
    assert (said["n_errors"], said["n_warnings"]) == (2, 1)
    assert said["problems"][0] == {
        "kind": "silent",
        "severity": "error",
        "clips": ["n"],
        "message": "'n': all samples are 0",
    }
    assert said["near_duplicates"] == [
        {
            "a": "a",
            "b": "b",
            "exact": False,
            "offset_s": 0.0,
            "overlap_s": 4.35,
            "gain_db": 0.0,
            "correlation": 0.54,
            "coherence": 0.51,
            "labels_differ": True,
            "subsets": ["curated", "curated"],
            "folds": [1, 2],
            "groups": ["x", "y"],
        }
    ]
    assert "-0.0" not in report(twins=(Twins(A, B, -1e-9, 1, -1e-9, -1e-9, 0.5),)).to_json()


def test_labels_of_test_clips_do_not_differ() -> None:
    said = json.loads(report(twins=(Twins(A, T, 0, 1, 0, 1, 1),)).to_json())
    assert said["near_duplicates"][0]["labels_differ"] is False


def test_exclusions_are_what_is_worthless() -> None:
    problems = [silent("b"), Problem("clipped", ("a",), "loud", "warning"), Problem("missing file", ("t",), "gone")]
    assert report(*problems).to_exclusions() == "fname,why\nb,silent\n"


@pytest.mark.parametrize(
    ("twins", "excluded"),
    [
        ((Twins(A, B, 0, 1, 0, 1, 1),), "b,the same sound as a\n"),
        ((Twins(A, N, 0, 1, 0, 1, 1, is_exact=True),), "n,the same sound as a\n"),
        ((Twins(A, N, 0, 1, 0, 1, 1),), ""),
        ((Twins(A, T, 0, 1, 0, 1, 1),), "a,the same sound as t\n"),
    ],
)
def test_exclusions_are_all_but_one_of_twins_that_matter(twins: tuple[Twins, ...], excluded: str) -> None:
    assert report(twins=twins).to_exclusions() == f"fname,why\n{excluded}"


def test_of_three_twins_the_one_that_shares_most_is_kept() -> None:
    c = Clip("c", Path("c.wav"), ("Bark",), group="z", fold=2)
    twins = (Twins(A, B, 0, 1.0, 0, 1, 1), Twins(B, c, 0, 2.0, 0, 1, 1))
    said = report(twins=twins, clips=(*CLIPS, c)).to_exclusions()
    assert said == "fname,why\na,the same sound as b\nc,the same sound as b\n"
