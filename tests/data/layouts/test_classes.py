"""ESC-50 and UrbanSound8K."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.data.layouts import missing_files, read_collection
from earmark.data.manifest import Clip
from earmark.labels import Vocabulary


def test_urbansound8k_has_official_folds_and_groups_by_recording(urbansound8k_folder: Path):
    manifest = read_collection(urbansound8k_folder)
    assert manifest.layout == "urbansound8k"
    assert manifest.vocabulary.names == ("children_playing", "dog_bark", "gun_shot")
    path = urbansound8k_folder / "audio" / "fold5" / "100263-2-0-117.wav"
    assert manifest.clips[1] == Clip(path.name, path, ("children_playing",), group="100263", fold=5)
    assert [clip.fold for clip in manifest.clips] == [5, 5, 5, 10]
    assert missing_files(manifest) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "fsID",
            "fsid",
            "UrbanSound8K.csv: no column 'fsID'; found 'slice_file_name', 'fsid', 'start', 'end', 'salience', 'fold', "
            "'classID', 'class'; did you mean 'fsid'?",
        ),
        (
            ",1,10,6",
            ",1,,6",
            "UrbanSound8K.csv line 5: fold is empty; expected a whole number, 1 to 10 in UrbanSound8K",
        ),
        (",3,dog", ",x,dog", "UrbanSound8K.csv line 2: classID 'x' is not a whole number of 0 or more, such as 3"),
        (",3,dog", ",,dog", "UrbanSound8K.csv line 2: classID is empty; expected the number of the class, such as 0"),
        (
            ",6,gun_shot",
            ",3,gun_shot",
            "UrbanSound8K.csv line 5: classID 3 is 'gun_shot', but was 'dog_bark' above; expected one name",
        ),
    ],
)
def test_a_malformed_urbansound8k_is_refused(
    urbansound8k_folder: Path, rewrite: Callable, error_of: Callable, old: str, new: str, message: str
):
    rewrite(urbansound8k_folder / "metadata" / "UrbanSound8K.csv", old, new)
    assert error_of(urbansound8k_folder) == message


def test_licences_of_esc50_come_from_a_table_beside_its_own(esc50_folder: Path, error_of: Callable):
    assert {clip.license for clip in read_collection(esc50_folder).clips} == {None}
    licences = esc50_folder / "meta" / "licences.csv"
    names = [path.name for path in sorted((esc50_folder / "audio").iterdir())]
    licences.write_text("filename,licence\n" + "".join(f"{name},CC-BY\n" for name in names))
    assert {clip.license for clip in read_collection(esc50_folder).clips} == {"CC-BY"}
    licences.write_text("filename,licence\n" + "".join(f"{name},CC-BY\n" for name in names[1:]))
    assert error_of(esc50_folder) == (
        "esc50.csv line 2: '1-100-A-7.wav' has no row in licences.csv, which names each clip's licence; add it, or "
        "remove that table to do without licences"
    )


def test_a_vocabulary_given_has_labels_that_do_not_occur(esc50_folder: Path, tmp_path: Path, error_of: Callable):
    wanted = tmp_path / "labels.csv"
    wanted.write_text("dog\ncow\nrain\ncat\n")
    manifest = read_collection(esc50_folder, vocabulary=wanted)
    assert manifest.vocabulary == Vocabulary(["dog", "cow", "rain", "cat"])
    wanted.write_text("dogs\ncat\nrain\n")
    assert error_of(esc50_folder, vocabulary=wanted) == (
        "esc50.csv line 2: label 'dog' is not in the vocabulary; did you mean 'dogs'?"
    )


@pytest.mark.real_data
def test_esc10_says_the_licence_of_every_clip(real_data: Path):
    licences = {clip.license for clip in read_collection(real_data / "esc10").clips}
    assert None not in licences
    assert {"CC0", "CC-BY"} <= licences
