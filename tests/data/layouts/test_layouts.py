"""Layouts: what is read from each, and what is refused."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from earmark.data.layouts import LAYOUTS, Layout, missing_files, read_collection
from earmark.data.manifest import Clip
from earmark.errors import CollectionError, LabelError


def error_of(folder: Path, layout: str | None = None) -> str:
    with pytest.raises((CollectionError, LabelError)) as caught:
        read_collection(folder, layout=layout)
    return str(caught.value)


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_esc50_has_official_folds_and_labels_in_the_order_of_targets(esc50_folder: Path):
    manifest = read_collection(esc50_folder)
    assert manifest.layout == "esc50"
    assert manifest.root == esc50_folder
    assert manifest.vocabulary.names == ("rain", "dog", "cat")
    assert [clip.fold for clip in manifest.clips] == [1, 1, 2, 1, 2, 2]
    assert manifest.is_single_label
    path = esc50_folder / "audio" / "1-100-B-7.wav"
    assert manifest.clips[1] == Clip("1-100-B-7.wav", path, ("dog",), "curated", group="100", fold=1)
    assert missing_files(manifest) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "category",
            "categorie",
            "esc50.csv: no column 'category'; "
            "found 'filename', 'fold', 'target', 'categorie', 'esc10', 'src_file', 'take'; did you mean 'categorie'?",
        ),
        ("wav,1,7", "wav,one,7", "esc50.csv line 2: fold 'one' is not a whole number of 0 or more, such as 3"),
        ("wav,1,7", "wav,,7", "esc50.csv line 2: fold is empty; expected a whole number, 1 to 5 in ESC-50"),
        ("wav,1,7", "wav,1,", "esc50.csv line 2: target is empty; expected the number of the category, such as 0"),
        (
            "7,dog",
            '7,"dog,cat"',
            "esc50.csv line 2: category 'dog,cat' is not one name; expected a name without commas",
        ),
        ("wav,1,7", "wav,1,8", "esc50.csv line 3: category 'dog' has target 7, but had 8 above; expected one number"),
        ("40,cat", "40,dgo", "esc50.csv line 6: target 40 is 'cat', but was 'dgo' above; expected one name"),
        (
            "1-100-B-7.wav",
            "1-100-A-7.wav",
            "esc50.csv line 3: filename '1-100-A-7.wav' stands already on line 2; list it once",
        ),
    ],
)
def test_a_malformed_esc50_is_refused(esc50_folder: Path, old: str, new: str, message: str):
    rewrite(esc50_folder / "meta" / "esc50.csv", old, new)
    assert error_of(esc50_folder) == message


def test_fsdkaggle2019_has_three_subsets_and_the_labels_of_its_submissions(fsdkaggle2019_folder: Path):
    manifest = read_collection(fsdkaggle2019_folder)
    assert manifest.layout == "fsdkaggle2019"
    assert manifest.vocabulary.names == ("Meow", "Bark", "Zipper_(clothing)")
    assert manifest.subset("curated").names == ("0a.wav", "0b.wav", "0c.wav", "0d.wav")
    assert [clip.group for clip in manifest.clips] == [
        "11",
        "11+12",
        "13",
        "12",
        "http://f.example/1",
        None,
        None,
        None,
    ]
    assert manifest.clips[1].labels == ("Meow", "Bark")
    noisy, test = manifest.subset("noisy").clips[0], manifest.subset("test").clips[0]
    assert noisy.path == fsdkaggle2019_folder / "train_noisy" / "1a.wav"
    assert noisy.labels == ("Bark", "Zipper_(clothing)")
    assert test == Clip("2a.wav", fsdkaggle2019_folder / "test" / "2a.wav", (), "test")
    assert not manifest.is_single_label
    assert missing_files(manifest) == []


def test_sources_are_found_in_the_published_folder_too(fsdkaggle2019_folder: Path):
    meta = fsdkaggle2019_folder / "FSDKaggle2019.meta"
    meta.mkdir()
    for table in list(fsdkaggle2019_folder.glob("*_post_competition.csv")):
        table.rename(meta / table.name)
    manifest = read_collection(fsdkaggle2019_folder)
    assert [clip.group for clip in manifest.subset("curated").clips] == ["11", "11+12", "13", "12"]


def test_fsdkaggle2019_needs_no_more_than_its_curated_clips(fsdkaggle2019_folder: Path):
    for table in list(fsdkaggle2019_folder.glob("*.csv")):
        if table.name != "train_curated.csv":
            table.unlink()
    manifest = read_collection(fsdkaggle2019_folder)
    assert manifest.vocabulary.names == ("Bark", "Meow", "Zipper_(clothing)")
    assert {clip.subset for clip in manifest.clips} == {"curated"}
    assert {clip.group for clip in manifest.clips} == {None}


def test_missing_audio_is_listed_not_skipped(fsdkaggle2019_folder: Path):
    shutil.rmtree(fsdkaggle2019_folder / "test")
    (fsdkaggle2019_folder / "train_curated" / "0c.wav").unlink()
    manifest = read_collection(fsdkaggle2019_folder)
    assert len(manifest) == 8
    assert [clip.name for clip in missing_files(manifest)] == ["0c.wav", "2a.wav", "2b.wav"]


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        (
            "train_curated.csv",
            "labels",
            "lables",
            "train_curated.csv: no column 'labels'; found 'fname', 'lables'; did you mean 'lables'?",
        ),
        (
            "train_curated.csv",
            "0c.wav,Zipper_(clothing)",
            "0c.wav,Zipper",
            "train_curated.csv line 4: label 'Zipper' is not in the vocabulary",
        ),
        (
            "train_noisy.csv",
            "1b.wav,Meow",
            "1b.wav,Moew",
            "train_noisy.csv line 3: label 'Moew' is not in the vocabulary; did you mean 'Meow'?",
        ),
        (
            "train_curated.csv",
            "0d.wav,Meow",
            "0d.wav,",
            "train_curated.csv line 5: '0d.wav' has no labels; add them, or remove the row",
        ),
        (
            "train_curated.csv",
            "0d.wav",
            "0a.wav",
            "train_curated.csv line 5: fname '0a.wav' stands already on line 2; list it once",
        ),
        (
            "sample_submission.csv",
            ",Meow,Bark",
            ",Meow, Bark",
            "sample_submission.csv: label ' Bark' is not usable: "
            "a label is a non-empty name without commas, outer blanks or line breaks",
        ),
        (
            "sample_submission.csv",
            "fname",
            "file",
            "sample_submission.csv: no column 'fname'; found 'file', 'Meow', 'Bark', 'Zipper_(clothing)'",
        ),
        (
            "train_curated_post_competition.csv",
            "0b.wav",
            "0z.wav",
            "train_curated.csv line 3: "
            "'0b.wav' has no row in train_curated_post_competition.csv, which names each clip's source; "
            "add it, or remove that table to do without sources",
        ),
    ],
)
def test_a_malformed_fsdkaggle2019_is_refused(fsdkaggle2019_folder: Path, table: str, old: str, new: str, message: str):
    rewrite(fsdkaggle2019_folder / table, old, new)
    assert error_of(fsdkaggle2019_folder) == message


def test_a_name_in_two_subsets_is_refused(fsdkaggle2019_folder: Path):
    rewrite(fsdkaggle2019_folder / "sample_submission.csv", "2a.wav", "0a.wav")
    curated, test = (fsdkaggle2019_folder / subset / "0a.wav" for subset in ("train_curated", "test"))
    assert error_of(fsdkaggle2019_folder) == (
        f"clip '0a.wav' stands twice, as {curated} and {test}; give each clip a name of its own"
    )


def test_a_submission_without_labels_is_refused(fsdkaggle2019_folder: Path):
    (fsdkaggle2019_folder / "sample_submission.csv").write_text("fname\n2a.wav\n")
    message = "sample_submission.csv: has no column but 'fname'; expected one more for each label"
    assert error_of(fsdkaggle2019_folder) == message


@pytest.mark.parametrize("name", ["../0a.wav", "/etc/0a.wav"])
def test_a_name_that_leads_out_of_the_collection_is_refused(fsdkaggle2019_folder: Path, name: str):
    for table in ("train_curated.csv", "train_curated_post_competition.csv"):
        rewrite(fsdkaggle2019_folder / table, "0a.wav", name)
    folder = fsdkaggle2019_folder / "train_curated"
    assert error_of(fsdkaggle2019_folder) == (
        f"train_curated.csv line 2: fname '{name}' leads out of {folder}; expected a path inside it, such as 'clip.wav'"
    )


@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_table_names_clips_as_it_writes_them(table_folder: Path, given: str):
    manifest = read_collection(table_folder if given == "folder" else table_folder / "clips.csv")
    assert manifest.layout == "table"
    assert manifest.root == table_folder
    assert manifest.vocabulary.names == ("Bark", "Meow")
    assert manifest.names == ("audio/hund 1.wav", "audio/größe/ü.wav", "audio/猫.wav")
    assert [clip.group for clip in manifest.clips] == ["yard", "yard", None]
    assert manifest.clips[0].labels == ("Bark", "Meow")
    assert missing_files(manifest) == []


def test_a_byte_order_mark_before_the_header_is_no_part_of_it(table_folder: Path):
    table = table_folder / "clips.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert len(read_collection(table_folder)) == 3


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path):
    assert error_of(tmp_path / "none") == (
        f"{tmp_path / 'none'}: no such folder; expected the folder of a collection, check the path, "
        "or fetch a public one with 'earmark data fetch'"
    )


def test_a_folder_of_no_known_layout_is_refused(tmp_path: Path):
    assert error_of(tmp_path) == (
        f"{tmp_path}: no layout recognised; looked for meta/esc50.csv (esc50); "
        "metadata/UrbanSound8K.csv (urbansound8k); "
        "train_curated.csv or FSDKaggle2019.meta/train_curated_post_competition.csv (fsdkaggle2019); "
        "train.csv beside audio_train/ or FSDKaggle2018.meta/train_post_competition.csv (fsdkaggle2018); "
        "FSD50K.ground_truth/dev.csv or labels/dev.csv (fsd50k); "
        "clips.csv (or .tsv, .jsonl, .ndjson, .parquet), or such a table given itself (table); "
        "two folders or more with recordings, one a label (folders); "
        "to describe recordings of your own, write a clips.csv with the columns path,labels"
    )


def test_an_unknown_layout_is_refused(esc50_folder: Path):
    assert error_of(esc50_folder, "esc-50") == (
        "layout 'esc-50' is not known; expected 'esc50', 'urbansound8k', 'fsdkaggle2019', 'fsdkaggle2018', 'fsd50k', "
        "'table', 'folders'; did you mean 'esc50'?"
    )


def test_a_layout_that_does_not_fit_is_refused(esc50_folder: Path):
    assert error_of(esc50_folder, "fsdkaggle2019") == (
        f"{esc50_folder}: is not of the layout 'fsdkaggle2019', there is no train_curated.csv or "
        "FSDKaggle2019.meta/train_curated_post_competition.csv; check the path, or leave the layout out to have it "
        "detected"
    )


def test_of_two_layouts_that_fit_one_must_be_named(esc50_folder: Path):
    (esc50_folder / "clips.csv").write_text("path,labels\naudio/1-100-A-7.wav,hound\n")
    assert error_of(esc50_folder) == (
        f"{esc50_folder}: more than one layout fits, found meta/esc50.csv (esc50) and "
        "clips.csv (or .tsv, .jsonl, .ndjson, .parquet), or such a table given itself (table); name the layout to use"
    )
    assert read_collection(esc50_folder, layout="table").vocabulary.names == ("hound",)
    assert read_collection(esc50_folder, layout="esc50").layout == "esc50"


def test_a_new_layout_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, esc50_folder: Path):
    (tmp_path / "mine.txt").touch()
    own = Layout("mine.txt", lambda folder: (folder / "mine.txt").exists(), lambda *_: known)
    known = read_collection(esc50_folder)
    monkeypatch.setitem(LAYOUTS, "mine", own)
    assert read_collection(tmp_path) is known


@pytest.mark.real_data
def test_everyday26(real_data: Path):
    manifest = read_collection(real_data / "everyday26")
    assert manifest.layout == "fsdkaggle2019"
    assert Counter(clip.subset for clip in manifest.clips) == {"curated": 758, "noisy": 1196, "test": 369}
    assert len(manifest.vocabulary) == 26
    assert all(clip.group for clip in manifest.clips if clip.subset != "test")
    assert missing_files(manifest) == []


@pytest.mark.real_data
def test_open28(real_data: Path):
    manifest = read_collection(real_data / "open28")
    assert manifest.layout == "table"
    assert (len(manifest), len(manifest.vocabulary)) == (893, 28)
    assert all(clip.group for clip in manifest.clips)
    assert missing_files(manifest) == []


@pytest.mark.real_data
def test_esc10(real_data: Path):
    manifest = read_collection(real_data / "esc10")
    assert manifest.layout == "esc50"
    assert Counter(clip.fold for clip in manifest.clips) == dict.fromkeys(range(1, 6), 80)
    assert manifest.is_single_label
    assert manifest.vocabulary.names[:3] == ("dog", "rooster", "rain")
    assert missing_files(manifest) == []
