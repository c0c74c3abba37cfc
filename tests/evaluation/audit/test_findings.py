"""What is suspected of each clip, from a run's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.data.check.collection import check_contents
from earmark.errors import LabelError, RunError
from earmark.evaluation.audit.findings import audit, located, read_run

from .conftest import GIVEN, LABELS, SCORES


def test_each_clip_is_suspected_of_what_its_scores_say(run_folder: Path) -> None:
    found = {each.clip.name: each.suspicion for each in audit(read_run(run_folder)).findings}
    assert found["b.wav"] == "low that sounds like mid"
    assert found["d.wav"] == "high that is hardly heard"
    assert found["e.wav"] == "high that may also be low"


def test_the_most_suspicious_comes_first_with_its_labels_and_others(run_folder: Path) -> None:
    found = audit(read_run(run_folder))
    first = found.findings[0]
    assert first.clip.name == "b.wav"
    weights = np.exp((1 - np.array([0.1, 0.2, 0.9])) / 0.1)  # softmin over the labels, temperature 0.1
    assert first.quality == pytest.approx(weights @ [0.1, 0.2, 0.9] / weights.sum())
    assert [(each.label, round(each.score, 2)) for each in first.given] == [("low", 0.1)]
    assert [(each.label, round(each.score, 2)) for each in first.suggested] == [("mid", 0.8), ("high", 0.1)]
    assert [each.quality for each in found.findings] == sorted(each.quality for each in found.findings)


def test_given_labels_come_least_probable_first(run_folder: Path) -> None:
    found = {each.clip.name: each for each in audit(read_run(run_folder)).findings}
    assert [each.label for each in found["d.wav"].given] == ["high", "mid"]


def test_suspected_clips_are_grouped_by_what_is_suspected(run_folder: Path) -> None:
    found = replace(audit(read_run(run_folder)), n_suspected=3)
    groups = {suspicion: [each.clip.name for each in members] for suspicion, members in found.groups().items()}
    assert groups == {each.suspicion: [each.clip.name] for each in found.findings[:3]}
    assert next(iter(groups)) == "low that sounds like mid"


def test_a_clip_without_labels(run_folder: Path) -> None:
    text = (run_folder / "clips.csv").read_text()
    (run_folder / "clips.csv").write_text(text.replace("b.wav,low", "b.wav,"))
    found = {each.clip.name: each for each in audit(read_run(run_folder)).findings}
    assert found["b.wav"].given == ()
    assert found["b.wav"].suspicion == "no label, sounds like mid"


def test_the_first_keep_clips_that_sound_like_one_labelled_otherwise(run_folder: Path) -> None:
    sounds = run_folder.parent / "sounds"
    shutil.copy(sounds / "a.wav", sounds / "f.wav")  # one sound, called low and high
    run = located(read_run(run_folder), None)
    _, twins = check_contents(run.clips, 1, progress=False)
    found = audit(run, twins)
    assert [{pair.first.name, pair.second.name} for pair in found.twins or ()] == [{"a.wav", "f.wav"}]
    assert {each.clip.name for each in found.first(1).findings} == {"b.wav", "a.wav", "f.wav"}
    of_a = next(each for each in found.findings if each.clip.name == "a.wav")
    assert [(twin.name, twin.labels) for twin in of_a.twins] == [("f.wav", ("high",))]


def test_twins_with_the_same_labels_are_nothing_to_hear(run_folder: Path) -> None:
    sounds = run_folder.parent / "sounds"
    shutil.copy(sounds / "a.wav", sounds / "b.wav")
    run = located(read_run(run_folder), None)
    _, twins = check_contents(run.clips, 1, progress=False)
    assert len(twins) == 1
    assert audit(run, twins).twins == ()


def test_audits_of_the_same_clips_have_one_key(make_run: Callable[..., Path]) -> None:
    first, second = audit(read_run(make_run("first"))), audit(read_run(make_run("second", scores=1 - SCORES)))
    assert first.key == second.key
    fewer = audit(read_run(make_run("fewer", scores=SCORES[:5], given=dict(list(GIVEN.items())[:5]))))
    assert fewer.key != first.key


def test_scores_and_labels_are_those_of_the_run(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert {clip.name: clip.labels for clip in run.clips} == GIVEN
    assert run.vocabulary.names == LABELS
    np.testing.assert_allclose(run.scores, SCORES, rtol=1e-6)


@pytest.mark.parametrize("name", ["predictions.csv", "clips.csv"])
def test_a_run_that_is_not_done(run_folder: Path, name: str) -> None:
    (run_folder / name).unlink()
    with pytest.raises(RunError, match=f"has no {name} .* expected the folder of a run whose folds are all done"):
        read_run(run_folder)


def test_a_clip_that_has_no_row(run_folder: Path) -> None:
    text = (run_folder / "clips.csv").read_text()
    (run_folder / "clips.csv").write_text("".join(line for line in text.splitlines(True) if "c.wav" not in line))
    with pytest.raises(RunError, match=r"clip 'c.wav' has scores in predictions.csv and no row in clips.csv"):
        read_run(run_folder)


def test_a_label_that_the_scores_lack(run_folder: Path) -> None:
    text = (run_folder / "clips.csv").read_text()
    (run_folder / "clips.csv").write_text(text.replace("c.wav,mid", "c.wav,mit"))
    with pytest.raises(LabelError, match=r"clips.csv line 4: .*'mit'.*did you mean 'mid'\?"):
        read_run(run_folder)


def test_recordings_that_have_moved_are_found_by_their_collection(run_folder: Path) -> None:
    moved = run_folder.parent / "moved"
    (run_folder.parent / "sounds").rename(moved)
    with pytest.raises(RunError, match=r"recordings of 6 of 6 clips are not at .*a\.wav; name their collection with"):
        located(read_run(run_folder), None)
    rows = [f'{name},"{",".join(labels)}"' for name, labels in GIVEN.items()]
    (moved / "clips.csv").write_text("\n".join(["path,labels", *rows]) + "\n")
    assert [clip.path for clip in located(read_run(run_folder), moved).clips] == [moved / name for name in GIVEN]


def test_another_collection_is_refused(run_folder: Path) -> None:
    other = run_folder.parent / "sounds"
    (other / "clips.csv").write_text("path,labels\na.wav,low\n")
    with pytest.raises(RunError, match=r"lacks 5 of the 6 clips of .*, the first is 'b.wav'"):
        located(read_run(run_folder), other)
