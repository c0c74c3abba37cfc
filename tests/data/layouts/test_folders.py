"""One folder a label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.data.layouts import missing_files, read_collection
from earmark.data.manifest import Clip
from earmark.labels import Vocabulary


def test_a_folder_is_a_label_however_deep_its_recordings_lie(label_folders: Path):
    manifest = read_collection(label_folders)
    assert manifest.layout == "folders"
    assert manifest.vocabulary.names == ("Bark", "Müll")
    assert manifest.clips == (
        Clip("Bark/a.wav", label_folders / "Bark" / "a.wav", ("Bark",)),
        Clip("Bark/yard/b 2.wav", label_folders / "Bark" / "yard" / "b 2.wav", ("Bark",)),
        Clip("Müll/a.wav", label_folders / "Müll" / "a.wav", ("Müll",)),
    )
    assert missing_files(manifest) == []


def test_a_vocabulary_beside_fixes_the_order(label_folders: Path, error_of: Callable):
    (label_folders / "vocabulary.csv").write_text("label\nPurr\nMüll\nBark\n", encoding="utf-8")
    assert read_collection(label_folders).vocabulary == Vocabulary(["Purr", "Müll", "Bark"])
    (label_folders / "vocabulary.csv").write_text("Bork\nMüll\n", encoding="utf-8")
    assert error_of(label_folders) == (
        f"{label_folders / 'Bark'}: label 'Bark' is not in the vocabulary; did you mean 'Bork'?"
    )
    problems = []
    clips = read_collection(label_folders, problems=problems).clips
    assert [clip.labels for clip in clips] == [(), (), ("Müll",)]
    assert [(each.kind, each.clips) for each in problems] == [("unknown label", ("Bark/a.wav", "Bark/yard/b 2.wav"))]


def test_folders_of_subsets_stand_above_those_of_labels(make: Callable):
    audio = ["train/Bark/a.wav", "train/Meow/a.wav", "noisy/Meow/n.wav", "test/Bark/t.wav", "eval/e.wav"]
    manifest = read_collection(make("parts", {}, audio))
    assert manifest.vocabulary.names == ("Bark", "Meow")
    assert {(clip.name, clip.subset, clip.labels) for clip in manifest.clips} == {
        ("train/Bark/a.wav", "curated", ("Bark",)),
        ("train/Meow/a.wav", "curated", ("Meow",)),
        ("noisy/Meow/n.wav", "noisy", ("Meow",)),
        ("test/Bark/t.wav", "test", ("Bark",)),
        ("eval/e.wav", "test", ()),
    }


@pytest.mark.parametrize(
    ("audio", "texts"),
    [
        (["a.wav", "Bark/a.wav", "Meow/a.wav"], {}),
        (["Bark/a.wav"], {}),
        (["train/Bark/a.wav", "test/Bark/a.wav"], {}),
        (["Bark/a.wav", "Meow/a.wav"], {"labels.csv": "fname,label\n"}),
        (["Bark/a.wav", "Meow/a.wav"], {"meta/what.json": "{}"}),
        (["train/Bark/a.wav", "train/Meow/a.wav"], {"train/metadata.csv": "file_name,label\n"}),
        ([], {"Bark/a.txt": "", "Meow/a.txt": ""}),
    ],
    ids=["loose audio", "one folder", "one label", "a table", "a table deeper", "a table below a subset", "no audio"],
)
def test_no_folder_is_taken_for_one_of_labels_unless_it_looks_it(
    make: Callable, error_of: Callable, audio: list[str], texts: dict[str, str]
):
    assert "no layout recognised" in error_of(make("any", texts, audio))


def test_the_layout_named_reads_folders_beside_a_table(make: Callable):
    folder = make("any", {"notes.csv": "a\n"}, ["Bark/a.wav", "Meow/a.wav"])
    assert read_collection(folder, layout="folders").names == ("Bark/a.wav", "Meow/a.wav")


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (["a.wav", "Bark/b.wav"], "'a.wav' lies in no label's folder; move it into one, such as 'Bark/a.wav'"),
        (
            ["train/a.wav", "train/Bark/b.wav"],
            "'train/a.wav' lies in no label's folder; move it into one, such as 'train/Bark/a.wav'",
        ),
        (["Bark/a.wav"], "folders with recordings are 'Bark' alone; expected two or more, one a label"),
        ([], "folders with recordings are none; expected two or more, one a label"),
        (
            ["train/Bark/a.wav", "Meow/a.wav"],
            "'train' is a subset, but 'Meow' beside it is a label; put all labels below folders of subsets, or none",
        ),
    ],
)
def test_folders_that_are_not_of_labels_are_refused(make: Callable, error_of: Callable, audio: list[str], message: str):
    folder = make("any", {}, audio)
    assert error_of(folder, layout="folders") == f"{folder}: {message}"


@pytest.mark.parametrize(
    "name", ["fold3", "val", "audio_train", "FSDKaggle2019.audio_test", "split-1", "train_noisy", "WAV"]
)
def test_a_folder_that_is_neither_a_label_nor_a_subset_is_refused(make: Callable, error_of: Callable, name: str):
    folder = make("any", {}, [f"{name}/a.wav", "Bark/a.wav"])
    assert error_of(folder) == (
        f"{folder}: folder '{name}' looks like no label, and is no subset ('curated', 'train', "
        "'noisy', 'test', 'eval'); "
        "rename it, or list the clips in a table"
    )


@pytest.mark.parametrize("name", ["Audio_book", "Train_horn", "Valve", "Clapping", "Radio", "Fold", "Developer"])
def test_labels_that_only_begin_like_other_folders_are_labels(make: Callable, name: str):
    assert name in read_collection(make("any", {}, [f"{name}/a.wav", "Bark/a.wav"])).vocabulary


def test_a_label_with_a_comma_is_to_be_renamed(make: Callable, error_of: Callable):
    folder = make("any", {}, ["Waves, surf/a.wav", "Bark/a.wav"])
    assert error_of(folder) == (
        f"{folder}: folder 'Waves, surf' is no label, it holds a comma; rename it, to 'Waves_and_surf'"
    )


def test_a_label_with_outer_blanks_is_to_be_renamed(make: Callable, error_of: Callable):
    folder = make("any", {}, [" Bark/a.wav", "Meow/a.wav"])
    assert error_of(folder) == (
        f"{folder}: label ' Bark' is not usable: a label is a non-empty name without commas, outer "
        "blanks or line breaks; "
        "rename its folder"
    )


def test_a_file_is_no_folder(make: Callable, error_of: Callable):
    file = make("any", {"a.txt": ""}) / "a.txt"
    assert error_of(file, layout="folders") == f"{file}: is a file; expected a folder with a folder for each label"
