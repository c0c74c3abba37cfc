"""FSD50K, from Zenodo and from its mirror."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.data.layouts import missing_files, read_collection
from earmark.data.manifest import NEVER_HELD_OUT, Clip

BY = "http://creativecommons.org/licenses/by/3.0/"


def test_validation_is_the_fold_held_out_and_evaluation_the_test(fsd50k_folder: Path):
    manifest = read_collection(fsd50k_folder)
    assert manifest.layout == "fsd50k"
    assert manifest.vocabulary.names == ("Purr", "Cat", "Bark")
    assert manifest.names == ("64760.wav", "16399.wav", "16401.wav", "16402.wav", "37199.wav")
    assert [clip.fold for clip in manifest.clips] == [NEVER_HELD_OUT, 0, NEVER_HELD_OUT, NEVER_HELD_OUT, None]
    dev, evaluation = fsd50k_folder / "FSD50K.dev_audio", fsd50k_folder / "FSD50K.eval_audio"
    assert manifest.clips[0] == Clip(
        "64760.wav", dev / "64760.wav", ("Purr", "Cat"), "curated", "mara", NEVER_HELD_OUT, license=BY
    )
    assert manifest.clips[4] == Clip("37199.wav", evaluation / "37199.wav", ("Bark",), "test", "pia", license=BY)
    assert missing_files(manifest) == []


def test_an_uploader_on_both_sides_of_the_official_split_is_no_group(fsd50k_folder: Path):
    manifest = read_collection(fsd50k_folder)
    assert [clip.group for clip in manifest.clips] == ["mara", None, "odo", None, "pia"]


def test_the_mirror_without_metadata_is_read_alike_but_for_sources(fsd50k_folder: Path, fsd50k_hub_folder: Path):
    published, mirrored = read_collection(fsd50k_folder), read_collection(fsd50k_hub_folder)
    assert mirrored.layout == "fsd50k"
    assert [(clip.name, clip.labels, clip.fold) for clip in mirrored.clips] == [
        (clip.name, clip.labels, clip.fold) for clip in published.clips
    ]
    assert {(clip.group, clip.license) for clip in mirrored.clips} == {(None, None)}
    assert missing_files(mirrored) == []


def test_without_a_vocabulary_labels_are_sorted_and_without_eval_there_is_no_test(fsd50k_folder: Path):
    (fsd50k_folder / "FSD50K.ground_truth" / "vocabulary.csv").unlink()
    (fsd50k_folder / "FSD50K.ground_truth" / "eval.csv").unlink()
    manifest = read_collection(fsd50k_folder)
    assert manifest.vocabulary.names == ("Bark", "Cat", "Purr")
    assert {clip.subset for clip in manifest.clips} == {"curated"}


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "FSD50K.ground_truth/dev.csv",
            "tny_,val",
            "tny_,valid",
            "dev.csv line 3: split 'valid' is not known; expected 'train' or 'val'",
        ),
        (
            "FSD50K.ground_truth/dev.csv",
            "Bark,/m",
            "Brak,/m",
            "dev.csv line 3: label 'Brak' is not in the vocabulary; did you mean 'Bark'?",
        ),
        (
            "FSD50K.ground_truth/eval.csv",
            "37199,Bark",
            "37199,",
            "eval.csv line 2: '37199' has no labels; add them, or remove the row",
        ),
        (
            "FSD50K.ground_truth/vocabulary.csv",
            "1,Cat",
            "2,Cat",
            "vocabulary.csv line 2: index '2'; expected 1, since labels stand in their order; sort the rows, or "
            "leave the column out",
        ),
        (
            "FSD50K.metadata/dev_clips_info_FSD50K.json",
            '"16399"',
            '"16400"',
            "dev.csv line 3: '16399' has no entry in dev_clips_info_FSD50K.json, which names each clip's uploader and "
            "licence; add it, or remove that file to do without them",
        ),
        (
            "FSD50K.metadata/eval_clips_info_FSD50K.json",
            "{",
            "[",
            "eval_clips_info_FSD50K.json line 1: is not JSON (Expecting ',' delimiter); fetch it again",
        ),
        (
            "FSD50K.ground_truth/dev.csv",
            "16401,",
            "64760,",
            "dev.csv line 4: fname '64760' stands already on line 2; list it once",
        ),
    ],
)
def test_a_malformed_fsd50k_is_refused(
    fsd50k_folder: Path, rewrite: Callable, error_of: Callable, file: str, old: str, new: str, message: str
):
    rewrite(fsd50k_folder / file, old, new)
    assert error_of(fsd50k_folder) == message


def test_metadata_that_is_no_object_is_refused(fsd50k_folder: Path, error_of: Callable):
    (fsd50k_folder / "FSD50K.metadata" / "dev_clips_info_FSD50K.json").write_text("[]")
    assert error_of(fsd50k_folder) == (
        'dev_clips_info_FSD50K.json: is not an object by clip; expected {"64760": {…}, …}; fetch it again'
    )


def test_a_part_that_is_not_unpacked_is_missing_not_skipped(fsd50k_folder: Path):
    shutil.rmtree(fsd50k_folder / "FSD50K.eval_audio")
    assert [clip.name for clip in missing_files(read_collection(fsd50k_folder))] == ["37199.wav"]
