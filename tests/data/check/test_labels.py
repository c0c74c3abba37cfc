"""Labels and official folds, each problem with its text."""

from __future__ import annotations

from pathlib import Path

from earmark.data.check.labels import fold_problems, label_problems
from earmark.data.manifest import NEVER_HELD_OUT, Clip, Manifest
from earmark.data.problem import Problem
from earmark.labels import Vocabulary


def clip(name: str, *labels: str, subset: str = "curated", group: str | None = None, fold: int | None = None) -> Clip:
    return Clip(name, Path(f"{name}.wav"), labels, subset, group, fold)


def manifest(*clips: Clip, labels: tuple[str, ...] = ("Bark", "Meow")) -> Manifest:
    return Manifest(clips, Vocabulary(labels), Path(), "table")


def enough(label: str, n_clips: int = 5) -> list[Clip]:
    return [clip(f"{label}{number}", label) for number in range(n_clips)]


def test_enough_clips_of_all_labels() -> None:
    assert label_problems(manifest(*enough("Bark"), *enough("Meow"))) == []


def test_a_label_without_clips() -> None:
    said = "label 'Meow': no clip to learn from; add recordings of it, or take it out of the vocabulary"
    tests = [clip("t", subset="test"), clip("n", "Meow", subset="noisy")]
    assert label_problems(manifest(*enough("Bark"), *tests)) == [Problem("label without clips", (), said, "warning")]


def test_fewer_clips_than_folds() -> None:
    said = "label 'Meow': 4 clips for 5 folds, so some fold has none; add recordings of it"
    names = ("Meow0", "Meow1", "Meow2", "Meow3")
    found = label_problems(manifest(*enough("Bark"), *enough("Meow", 4)))
    assert found == [Problem("rare label", names, said, "warning")]


def test_fewer_recordings_than_folds() -> None:
    meows = [clip(f"m{number}", "Meow", group=f"{number % 3}") for number in range(9)]
    (problem,) = label_problems(manifest(*enough("Bark"), *meows))
    assert problem.message == "label 'Meow': 3 recordings for 5 folds, so some fold has none; add recordings of it"


def test_official_folds_say_how_many_clips_are_enough() -> None:
    clips = [clip(f"{label}{fold}", label, fold=fold) for label in ("Bark", "Meow") for fold in (1, 2)]
    never = clip("n", "Bark", fold=NEVER_HELD_OUT)
    assert label_problems(manifest(*clips, never)) == []


def test_without_curated_clips_the_noisy_ones_count() -> None:
    noisy = [clip(f"n{number}", label, subset="noisy") for number, label in enumerate(["Bark"] * 5 + ["Meow"])]
    assert [problem.clips for problem in label_problems(manifest(*noisy))] == [("n5",)]


def test_labels_that_are_always_together() -> None:
    both = [clip(f"b{number}", "Bark", "Meow") for number in range(5)]
    said = (
        "labels 'Bark', 'Meow': always together, in 5 clips, so that nothing tells them apart; "
        "add clips that have one of them alone"
    )
    names = ("b0", "b1", "b2", "b3", "b4")
    assert label_problems(manifest(*both)) == [Problem("labels always together", names, said, "warning")]
    assert label_problems(manifest(*both, *enough("Meow", 1))) == []


def test_no_folds_and_whole_folds_are_fine() -> None:
    assert fold_problems(manifest(*enough("Bark"))) == []
    assert fold_problems(manifest(clip("a", "Bark", fold=1, group="x"), clip("b", "Bark", fold=1, group="x"))) == []


def test_a_recording_on_two_sides_of_a_fold() -> None:
    clips = [
        clip("a", "Bark", fold=1, group="x"),
        clip("b", "Bark", fold=1, group="y"),
        clip("c", "Bark", fold=2, group="x+z"),
        clip("d", "Bark", fold=2, group="w", subset="noisy"),
    ]
    said = (
        "clips of one recording, 'x', 'x+z', are on two sides: fold 1, fold 2; what is learned from one is then judged "
        "on the other: correct the fold column or the group column"
    )
    assert fold_problems(manifest(*clips)) == [Problem("recording across folds", ("a", "c"), said)]


def test_a_recording_that_is_learned_from_in_every_fold_and_judged_in_one() -> None:
    clips = [clip("a", "Bark", fold=3, group="x"), clip("b", "Bark", fold=NEVER_HELD_OUT, group="x")]
    (problem,) = fold_problems(manifest(*clips))
    assert "are on two sides: all folds, fold 3;" in problem.message
    assert problem.severity == "error"


def test_folds_of_some_clips_only() -> None:
    (problem,) = fold_problems(manifest(clip("a", "Bark", fold=1), clip("b", "Bark"), clip("c", "Bark")))
    said = "2 of 3 clips have no fold; give every clip a fold, or none"
    assert problem == Problem("fold missing", ("b", "c"), said)
