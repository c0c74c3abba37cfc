"""FSDKaggle2018 and FSDKaggle2019, from Kaggle and from Zenodo."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.data.layouts import missing_files, packed_audio, read_collection
from earmark.data.manifest import Clip


def test_zenodos_fsdkaggle2019_has_sources_licences_and_test_labels(zenodo2019_folder: Path):
    manifest = read_collection(zenodo2019_folder)
    assert manifest.layout == "fsdkaggle2019"
    assert manifest.vocabulary.names == ("Raindrop", "Bark", "Bathtub_(filling_or_washing)")
    by = "http://creativecommons.org/licenses/by/3.0/"
    curated = zenodo2019_folder / "FSDKaggle2019.audio_train_curated" / "0019ef41.wav"
    noisy = zenodo2019_folder / "FSDKaggle2019.audio_train_noisy" / "00097e21.wav"
    test = zenodo2019_folder / "FSDKaggle2019.audio_test" / "4260ebea.wav"
    assert manifest.clips[1:4] == (
        Clip("0019ef41.wav", curated, ("Raindrop", "Bark"), "curated", "66666", license=by),
        Clip(
            "00097e21.wav",
            noisy,
            ("Bathtub_(filling_or_washing)",),
            "noisy",
            "https://www.flickr.com/video/1",
            license="CC BY-SA 2.0",
        ),
        Clip("4260ebea.wav", test, ("Bark",), "test", "77777", license=by),
    )
    assert manifest.clips[4].labels == ("Bark", "Raindrop")
    assert missing_files(manifest) == []


def test_zenodos_parts_may_be_missing(zenodo2019_folder: Path):
    for name in ("train_noisy_post_competition.csv", "test_post_competition.csv", "vocabulary.csv"):
        (zenodo2019_folder / "FSDKaggle2019.meta" / name).unlink()
    manifest = read_collection(zenodo2019_folder)
    assert {clip.subset for clip in manifest.clips} == {"curated"}
    assert manifest.vocabulary.names == ("Bark", "Raindrop")


def test_kaggles_test_clips_get_labels_from_the_table_beside(fsdkaggle2019_folder: Path, error_of: Callable):
    table = fsdkaggle2019_folder / "test_post_competition.csv"
    rows = ["2b.wav,Meow,Public,21,CC0", '2a.wav,"Meow,Bark",Private,22,CC BY', "2c.wav,Meow,Private,23,CC0"]
    table.write_text("fname,labels,usage,freesound_id,license\n" + "".join(f"{row}\n" for row in rows))
    tests = read_collection(fsdkaggle2019_folder).subset("test").clips
    path = fsdkaggle2019_folder / "test" / "2a.wav"
    assert tests[0] == Clip("2a.wav", path, ("Meow", "Bark"), "test", "22", license="CC BY")
    assert [clip.name for clip in tests] == ["2a.wav", "2b.wav"]
    table.write_text("fname,labels,usage,freesound_id,license\n2b.wav,Meow,Public,21,CC0\n")
    assert error_of(fsdkaggle2019_folder) == (
        "sample_submission.csv line 2: '2a.wav' has no row in test_post_competition.csv, which names each clip's "
        "source; add it, or remove that table to do without sources"
    )


def test_an_unknown_test_label_is_refused(zenodo2019_folder: Path, rewrite: Callable, error_of: Callable):
    rewrite(zenodo2019_folder / "FSDKaggle2019.meta" / "test_post_competition.csv", "Bark,Private", "Brak,Private")
    assert error_of(zenodo2019_folder) == (
        "test_post_competition.csv line 2: label 'Brak' is not in the vocabulary; did you mean 'Bark'?"
    )


def test_kaggles_folder_with_nothing_but_the_later_tables(fsdkaggle2019_folder: Path):
    for name in ("train_curated.csv", "train_noisy.csv"):
        (fsdkaggle2019_folder / name).unlink()
    manifest = read_collection(fsdkaggle2019_folder)
    assert manifest.subset("curated").clips[1].group == "11+12"
    assert manifest.clips[0].license == "CC0"
    assert missing_files(manifest) == []


def test_licences_of_kaggles_clips_come_from_the_tables_beside(fsdkaggle2019_folder: Path):
    licences = [clip.license for clip in read_collection(fsdkaggle2019_folder).clips]
    assert licences == ["CC0"] * 4 + ["CC BY"] * 2 + [None] * 2


def test_fsdkaggle2018_is_curated_where_people_checked_the_label(kaggle2018_folder: Path):
    manifest = read_collection(kaggle2018_folder)
    assert manifest.layout == "fsdkaggle2018"
    assert manifest.vocabulary.names == ("Hi-hat", "Saxophone", "Trumpet")
    assert [clip.subset for clip in manifest.clips] == ["noisy", "curated", "curated", "test", "test"]
    assert manifest.clips[1] == Clip("001ca53d.wav", kaggle2018_folder / "audio_train" / "001ca53d.wav", ("Saxophone",))
    assert manifest.clips[3] == Clip("00063640.wav", kaggle2018_folder / "audio_test" / "00063640.wav", (), "test")
    assert manifest.is_single_label
    assert missing_files(manifest) == []


def test_zenodos_fsdkaggle2018_has_sources_licences_and_test_labels(zenodo2018_folder: Path):
    manifest = read_collection(zenodo2018_folder)
    train, test = (zenodo2018_folder / f"FSDKaggle2018.audio_{part}" for part in ("train", "test"))
    assert manifest.clips == (
        Clip("00044347.wav", train / "00044347.wav", ("Hi-hat",), "noisy", "28739", license="Attribution"),
        Clip("001ca53d.wav", train / "001ca53d.wav", ("Saxophone",), "curated", "358827", license="Attribution"),
        Clip("00326aa9.wav", test / "00326aa9.wav", ("Saxophone",), "test", "355125", license="Creative Commons 0"),
    )


def test_kaggles_2018_clips_that_were_never_scored_stay_without_labels(kaggle2018_folder: Path):
    (kaggle2018_folder / "test_post_competition.csv").write_text(
        "fname,label,usage,freesound_id,license\n00063640.wav,None,None,,\n0013a1db.wav,Trumpet,Public,5,CC0\n"
    )
    tests = read_collection(kaggle2018_folder).subset("test").clips
    assert [(clip.labels, clip.group) for clip in tests] == [((), None), (("Trumpet",), "5")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "Hi-hat,0",
            "Hi-hat,no",
            "train.csv line 2: manually_verified 'no' is neither '1', a label that people checked, nor '0'",
        ),
        ("Hi-hat,0", ",0", "train.csv line 2: label '' is not one name; expected a name without commas"),
        (
            "label,manually",
            "tag,manually",
            "train.csv: no column 'label'; found 'fname', 'tag', 'manually_verified'",
        ),
        (
            "manually_verified",
            "verified",
            "train.csv: no column 'manually_verified'; found 'fname', 'label', 'verified'; did you mean 'verified'?",
        ),
    ],
)
def test_a_malformed_fsdkaggle2018_is_refused(
    kaggle2018_folder: Path, rewrite: Callable, error_of: Callable, old: str, new: str, message: str
):
    rewrite(kaggle2018_folder / "train.csv", old, new)
    assert error_of(kaggle2018_folder) == message


def test_a_table_called_train_alone_is_no_fsdkaggle2018(tmp_path: Path, error_of: Callable):
    (tmp_path / "train.csv").write_text("path,target\na.wav,1\n")
    assert "no layout recognised" in error_of(tmp_path)


def test_audio_that_is_all_packed_is_refused_and_a_part_is_told(zenodo2019_folder: Path, error_of: Callable):
    audio = [zenodo2019_folder / f"FSDKaggle2019.audio_{part}" for part in ("train_curated", "train_noisy", "test")]
    for folder in audio:
        shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(audio[2])
    manifest = read_collection(zenodo2019_folder)
    assert packed_audio(manifest) == {audio[2].with_name("FSDKaggle2019.audio_test.zip"): 2}
    problems = []
    read_collection(zenodo2019_folder, problems=problems)
    assert [(each.kind, each.clips, each.severity) for each in problems] == [
        ("audio still packed", ("4260ebea.wav", "4a1d5f2b.wav"), "warning")
    ]
    assert problems[0].message == (
        "the audio of 2 clips is still packed, in FSDKaggle2019.audio_test.zip; unpack it there to use them"
    )
    shutil.rmtree(audio[0])
    shutil.rmtree(audio[1])
    assert error_of(zenodo2019_folder) == (
        f"{zenodo2019_folder}: the audio of all 5 clips is still packed, in FSDKaggle2019.audio_train_curated.zip, "
        "FSDKaggle2019.audio_train_noisy.zip, FSDKaggle2019.audio_test.zip; unpack it there first"
    )
