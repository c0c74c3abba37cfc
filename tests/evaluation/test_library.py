"""Only runs over the same clips, labels and folds are candidates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.errors import RunError
from earmark.evaluation.library import read_judged, read_library

SCORES = "fname,low,high\nb.wav,0.25,0.75\na.wav,0.5,0.125\n"
CLIPS = 'fname,labels,group\na.wav,low,one\nb.wav,"low,high",\nnoisy.wav,high,two\n'
FOLDS = "fname,fold\nnoisy.wav,-1\nb.wav,1\na.wav,0\n"

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(name: str, scores: str = SCORES, clips: str | None = CLIPS, folds: str = FOLDS) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, text in (("predictions.csv", scores), ("clips.csv", clips), ("folds.csv", folds)):
            if text is not None:
                (folder / file).write_text(text)
        return folder

    return make


def error_of(*runs: Path) -> str:
    with pytest.raises(RunError) as caught:
        read_library(runs)
    return str(caught.value)


def test_what_a_run_was_judged_by(make_run: MakeRun) -> None:
    judged, table = read_judged(make_run("run"))
    assert judged.fnames == table.fnames == ("b.wav", "a.wav")
    np.testing.assert_array_equal(judged.targets, [[1, 1], [1, 0]])
    np.testing.assert_array_equal(judged.folds, [1, 0])
    assert judged.groups == ("", "one")
    assert judged.n_folds == 2


def test_a_second_run_may_have_its_clips_in_another_order(make_run: MakeRun) -> None:
    other = "fname,low,high\na.wav,0.1,0.2\nb.wav,0.3,0.4\n"
    judged, candidates = read_library([make_run("one"), make_run("two", other)])
    assert [candidate.name for candidate in candidates] == ["one", "two"]
    np.testing.assert_allclose(candidates[1].scores, [[0.3, 0.4], [0.1, 0.2]])
    assert judged.fnames == ("b.wav", "a.wav")


def test_scores_with_augmentation_are_a_candidate_of_their_own(make_run: MakeRun) -> None:
    run = make_run("run")
    (run / "predictions-tta.csv").write_text("fname,low,high\na.wav,0,1\nb.wav,1,0\n")
    assert "predictions-tta.toml, which says how it was made, cannot be read" in error_of(run)
    (run / "predictions-tta.toml").write_text("n = 4\nweight = 0.25\n")
    _, candidates = read_library([run])
    assert [candidate.name for candidate in candidates] == ["run", "run+tta"]
    assert candidates[0].tta is None
    assert candidates[1].tta is not None
    assert (candidates[1].tta["n"], candidates[1].tta["weight"]) == (4, 0.25)
    np.testing.assert_array_equal(candidates[1].scores, [[1, 0], [0, 1]])


def test_an_unfinished_run(make_run: MakeRun) -> None:
    run = make_run("run")
    (run / "predictions.csv").unlink()
    assert error_of(run) == (
        f"{run}: holds no predictions.csv; expected a finished run's folder; finish the run with "
        "'earmark train … --resume'"
    )


def test_a_run_that_does_not_say_what_its_clips_are(make_run: MakeRun) -> None:
    run = make_run("run", clips=None)
    assert error_of(run).endswith("train it again: runs of earlier releases have none")


def test_scores_of_a_clip_without_labels(make_run: MakeRun) -> None:
    run = make_run("run", SCORES + "c.wav,0,0\n")
    assert error_of(run) == (
        f"{run}: predictions.csv scores 'c.wav' (1 such clips), which clips.csv does not have; take the run's files "
        "from one place"
    )


def test_a_scored_clip_that_no_fold_held_out(make_run: MakeRun) -> None:
    run = make_run("run", SCORES + "noisy.wav,0,0\n")
    assert "the scored clips are of the folds [-1, 0, 1]; expected at least two, counted from 0" in error_of(run)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"folds": FOLDS.replace("b.wav,1", "b.wav,0").replace("a.wav,0", "a.wav,1")},
            "2 of 2 clips are in another fold",
        ),
        (
            {"scores": SCORES.replace("b.wav,0.25,0.75\n", "noisy.wav,1,1\n"), "folds": FOLDS.replace("-1", "1")},
            "2 clips",
        ),
        ({"clips": CLIPS.replace("a.wav,low", "a.wav,high")}, "1 of 2 clips are labelled differently"),
        ({"scores": SCORES.replace("low,high", "high,low")}, "their labels differ (2 and 2), or the order of these"),
    ],
)
def test_runs_that_do_not_go_together(make_run: MakeRun, changes: dict[str, str], problem: str) -> None:
    one, two = make_run("one"), make_run("two", **changes)
    said = error_of(one, two)
    assert said.startswith(f"{two} and {one}: {problem}")
    assert said.endswith(f"train with '--folds {one}/folds.csv'")


def test_a_run_twice(make_run: MakeRun) -> None:
    run = make_run("run")
    assert error_of(run, run / ".") == (
        f"{run}: is named twice; name each run once, members may be chosen several times anyway"
    )


def test_runs_of_one_name_are_named_by_their_paths(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    runs = [make_run("a/run"), make_run("b/run")]
    assert [candidate.name for candidate in read_library(runs)[1]] == [str(run) for run in runs]
