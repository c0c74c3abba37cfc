"""Reading leniently, and finding out what a folder is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.data.layouts import read_collection
from earmark.data.problem import Problem


def read_with_problems(folder: Path, **how: object) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    problems: list[Problem] = []
    manifest = read_collection(folder, problems=problems, **how)
    return {clip.name: clip.labels for clip in manifest.clips}, problems


def test_problems_are_gathered_and_their_clips_stay(fsdkaggle2019_folder: Path, rewrite: Callable):
    (fsdkaggle2019_folder / "train_curated_post_competition.csv").unlink()
    curated = fsdkaggle2019_folder / "train_curated.csv"
    lines = ['0a.wav,"Brak,Meow"', "0b.wav,", '0c.wav,"Meow,,Bark"', "0d.wav,Meow", "0d.wav,Bark", "2a.wav,Bark"]
    curated.write_text("fname,labels\n" + "".join(f"{line}\n" for line in lines))
    labels, problems = read_with_problems(fsdkaggle2019_folder)
    assert labels == {
        "0a.wav": ("Meow",),
        "0b.wav": (),
        "0c.wav": ("Meow", "Bark"),
        "0d.wav": ("Meow",),
        "2a.wav": ("Bark",),
        "1a.wav": ("Bark", "Zipper_(clothing)"),
        "1b.wav": ("Meow",),
        "2b.wav": (),
    }
    paths = [fsdkaggle2019_folder / subset / "2a.wav" for subset in ("train_curated", "test")]
    assert problems == [
        Problem(
            "listed twice",
            ("0d.wav",),
            "train_curated.csv line 6: fname '0d.wav' stands already on line 5; list it once",
        ),
        Problem(
            "unknown label",
            ("0a.wav",),
            "train_curated.csv line 2: label 'Brak' is not in the vocabulary; did you mean 'Bark'?",
        ),
        Problem(
            "no labels",
            ("0b.wav",),
            "train_curated.csv line 3: '0b.wav' has no labels; add them, or remove the row",
        ),
        Problem(
            "malformed labels",
            ("0c.wav",),
            "train_curated.csv line 4: labels 'Meow,,Bark' has an empty label; join names with "
            "single commas, 'Bark,Meow'",
        ),
        Problem(
            "listed twice",
            ("2a.wav",),
            f"clip '2a.wav' stands twice, as {paths[0]} and {paths[1]}; list each clip once",
        ),
    ]


def test_the_same_problems_are_raised_without_a_list(fsdkaggle2019_folder: Path, rewrite: Callable, error_of: Callable):
    rewrite(fsdkaggle2019_folder / "train_curated.csv", '"Meow,Bark"', '"Meow,Bork"')
    _, problems = read_with_problems(fsdkaggle2019_folder)
    assert error_of(fsdkaggle2019_folder) == problems[0].message


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_tables_gather_problems_too(make: Callable, suffix: str):
    texts = {
        ".csv": "path,labels\na.wav,Bark\na.wav,Bark\n./a.wav,Bark\nb.wav,\nc.wav,Brak\n",
        ".jsonl": "\n".join(
            f'{{"path": "{path}", "labels": "{label}"}}'
            for path, label in (
                ("a.wav", "Bark"),
                ("a.wav", "Bark"),
                ("./a.wav", "Bark"),
                ("b.wav", ""),
                ("c.wav", "Brak"),
            )
        ),
    }
    folder = make("mine", {f"clips{suffix}": texts[suffix], "vocabulary.csv": "Bark\n"})
    labels, problems = read_with_problems(folder)
    assert labels == {"a.wav": ("Bark",), "b.wav": (), "c.wav": ()}
    assert [(each.kind, each.clips) for each in problems] == [
        ("listed twice", ("a.wav",)),
        ("no labels", ("b.wav",)),
        ("unknown label", ("c.wav",)),
        ("listed twice", ("./a.wav",)),
    ]
    assert problems[-1].message == "clip './a.wav' stands twice, also as 'a.wav'; list each clip once"


def test_labels_that_occur_are_not_told_twice(fsd50k_folder: Path, rewrite: Callable):
    (fsd50k_folder / "FSD50K.ground_truth" / "vocabulary.csv").unlink()
    rewrite(fsd50k_folder / "FSD50K.ground_truth" / "dev.csv", '"Purr,Cat"', '"Purr,Cat,Cat"')
    labels, problems = read_with_problems(fsd50k_folder)
    assert labels["64760.wav"] == ("Purr", "Cat")
    assert [each.message for each in problems] == [
        "dev.csv line 2: labels 'Purr,Cat,Cat' has a label twice; give each label once"
    ]


def test_a_sound_collection_has_no_problems(zenodo2019_folder: Path, urbansound8k_folder: Path, label_folders: Path):
    for folder in (zenodo2019_folder, urbansound8k_folder, label_folders):
        assert read_with_problems(folder)[1] == []


def test_a_collection_one_folder_down_is_pointed_at(make: Callable, error_of: Callable):
    table = "filename,fold,target,category\na.wav,1,0,dog\n"
    folder = make("download", {"ESC-50-master/meta/esc50.csv": table}, ["ESC-50-master/audio/a.wav"])
    inside = folder / "ESC-50-master"
    assert error_of(folder) == (
        f"{folder}: no collection itself, but holds ESC-50-master (esc50); give it, such as {inside}"
    )
    make("download", {"mine/clips.csv": "path,labels\na.wav,dog\n"}, ["mine/a.wav"])
    assert error_of(folder) == (
        f"{folder}: no collection itself, but holds ESC-50-master (esc50), mine (table); give one of them, such as "
        f"{inside}"
    )


def test_archives_that_are_not_unpacked_are_named(make: Callable, error_of: Callable):
    names = ("FSD50K.dev_audio.zip", "FSD50K.doc.zip", "FSD50K.ground_truth.zip", "FSD50K.metadata.zip")
    folder = make("download", dict.fromkeys(names, ""))
    shown = "FSD50K.dev_audio.zip, FSD50K.doc.zip, FSD50K.ground_truth.zip and 1 more must be unpacked first; "
    assert shown in error_of(folder)
    assert "(folders); FSD50K.doc.zip must be unpacked first; to describe" in error_of(folder / "FSD50K.doc.zip")


def test_audio_that_is_packed_above_its_folder_is_found(urbansound8k_folder: Path, error_of: Callable):
    audio = urbansound8k_folder / "audio"
    audio.rename(urbansound8k_folder / "elsewhere")
    (urbansound8k_folder / "audio.tar.gz").touch()
    assert error_of(urbansound8k_folder) == (
        f"{urbansound8k_folder}: the audio of all 4 clips is still packed, in audio.tar.gz; unpack it there first"
    )


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["esc10", "everyday26", "open28"])
def test_real_collections_have_no_problems(real_data: Path, name: str):
    assert read_with_problems(real_data / name)[1] == []


@pytest.mark.real_data
def test_the_folder_of_all_real_collections_is_none(real_data: Path, error_of: Callable):
    message = error_of(real_data)
    assert "esc10 (esc50), everyday26 (fsdkaggle2019)" in message
    assert "open28 (table)" in message
