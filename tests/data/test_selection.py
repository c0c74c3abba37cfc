"""Selection: what is left out, what is relabelled, and the files that say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from earmark.data.encoding import Encoding
from earmark.data.layouts import read_collection
from earmark.data.manifest import Clip, Manifest
from earmark.data.pack import pack
from earmark.data.selection import (
    KNOWN_WRONG,
    RENAMING_BUG,
    Correction,
    read_corrections,
    read_exclusions,
    select,
    write_corrections,
)
from earmark.data.store import open_store
from earmark.errors import CollectionError, EarmarkError, LabelError
from earmark.labels import Vocabulary

WRONG = KNOWN_WRONG["fsdkaggle2019"]


def manifest_of(*names: str, layout: str = "table", tests: Sequence[str] = ()) -> Manifest:
    clips = [Clip(name, Path("data", name), ("Bark",)) for name in names]
    clips += [Clip(name, Path("data", "test", name), (), "test") for name in tests]
    return Manifest(tuple(clips), Vocabulary(["Meow", "Bark"]), Path("data"), layout)


def text_of(call: Callable[[], object]) -> str:
    with pytest.raises((CollectionError, LabelError)) as caught:
        call()
    return str(caught.value)


def test_nothing_said_changes_nothing():
    manifest = manifest_of("a.wav", "b.wav", tests=["t.wav"])
    selection = select(manifest)
    assert selection.manifest == manifest
    assert (selection.left_out, selection.relabelled, selection.summary()) == ({}, {}, "")


def test_clips_are_left_out_and_relabelled_in_the_manifests_order():
    selection = select(
        manifest_of("a.wav", "b.wav", "c.wav", "d.wav", "e.wav", tests=["t.wav"]),
        exclude=["d.wav"],
        corrections=[
            Correction("e.wav", "relabel", ("Bark",)),
            Correction("c.wav", "relabel", ("Meow", "Bark"), "both"),
            Correction("b.wav", "drop", (), "silent"),
            Correction("a.wav", "keep", (), "heard"),
        ],
    )
    assert selection.manifest.names == ("a.wav", "c.wav", "e.wav", "t.wav")
    assert selection.manifest.clips[1].labels == ("Meow", "Bark")
    assert selection.manifest.vocabulary.names == ("Meow", "Bark")
    assert selection.left_out == {"b.wav": "silent", "d.wav": "excluded"}
    assert selection.relabelled == {"c.wav": (("Bark",), ("Meow", "Bark"))}
    assert selection.summary() == ("2 clips left out as asked: b.wav, d.wav\n1 clip relabelled as asked: c.wav")


def test_an_excluded_clip_is_left_out_whatever_a_correction_says():
    selection = select(
        manifest_of("a.wav", "b.wav"),
        exclude=["a.wav", "b.wav"],
        corrections=[Correction("a.wav", "keep"), Correction("b.wav", "relabel", ("Meow",))],
    )
    assert selection.left_out == {"a.wav": "excluded", "b.wav": "excluded"}
    assert selection.relabelled == {}


def test_five_clips_of_fsdkaggle2019_are_known_to_be_wrong():
    manifest = manifest_of("a.wav", *WRONG, layout="fsdkaggle2019")
    selection = select(manifest)
    assert len(WRONG) == 5
    assert selection.manifest.names == ("a.wav",)
    assert selection.left_out == dict.fromkeys(WRONG, RENAMING_BUG)
    assert selection.summary() == (
        "5 clips left out, label known to be wrong, by a bug when the files were renamed: "
        "f76181c4.wav, 77b925c2.wav, 6a1f682a.wav, c7db12aa.wav, 7752cc8a.wav; --keep-known-wrong keeps them"
    )
    assert select(manifest, keep_known_wrong=True).manifest == manifest


def test_another_layout_or_a_test_clip_may_have_their_names():
    elsewhere = manifest_of(*WRONG, layout="esc50")
    assert select(elsewhere).manifest == elsewhere
    tests = manifest_of("a.wav", tests=WRONG, layout="fsdkaggle2019")
    assert select(tests).manifest == tests


def test_a_correction_of_a_clip_known_to_be_wrong_counts():
    corrections = [Correction(WRONG[0], "keep"), Correction(WRONG[1], "relabel", ("Meow",))]
    selection = select(manifest_of(*WRONG, layout="fsdkaggle2019"), corrections=corrections)
    assert selection.manifest.names == WRONG[:2]
    assert selection.manifest.clips[1].labels == ("Meow",)


def test_many_names_are_counted_not_all_told():
    names = [f"{number}.wav" for number in range(8)]
    assert select(manifest_of(*names), exclude=names).summary() == (
        "8 clips left out as asked: 0.wav, 1.wav, 2.wav, 3.wav, 4.wav and 3 more"
    )


@pytest.mark.parametrize(
    ("exclude", "corrections", "message"),
    [
        (
            ["dog_12.wav"],
            [],
            "clip 'dog_12.wav' is not in data; expected a clip's name, as its tables write it; did "
            "you mean 'dog_21.wav'?",
        ),
        ([], [Correction("x", "keep")], "clip 'x' is not in data; expected a clip's name, as its tables write it"),
        (["t.wav"], [], "clip 't.wav' is a test clip, and those stay as they are; take the line out"),
        (
            [],
            [Correction("dog_21.wav", "relabel", ("Meow", "Brak"))],
            "clip 'dog_21.wav' gets the label 'Brak', which is not in the vocabulary; did you mean 'Bark'?",
        ),
        (
            [],
            [Correction("dog_21.wav", "keep"), Correction("dog_21.wav", "drop")],
            "clip 'dog_21.wav' is corrected twice; say once what is right",
        ),
    ],
)
def test_what_does_not_fit_the_collection_is_refused(exclude: list, corrections: list, message: str):
    manifest = manifest_of("dog_21.wav", tests=["t.wav"])
    assert text_of(lambda: select(manifest, exclude=exclude, corrections=corrections)) == message


def test_messages_begin_with_the_line_that_says_it(tmp_path: Path):
    (tmp_path / "not.txt").write_text("a.wav\n\n  # noise\nnone.wav\n")
    manifest = manifest_of("a.wav")
    assert text_of(lambda: select(manifest, exclude=read_exclusions(tmp_path / "not.txt"))) == (
        "not.txt line 4: clip 'none.wav' is not in data; expected a clip's name, as its tables write it; "
        "did you mean 'a.wav'?"
    )


def test_a_packed_store_is_selected_from_alike(fsdkaggle2019_folder: Path, tmp_path: Path):
    manifest = read_collection(fsdkaggle2019_folder)
    pack(manifest, tmp_path / "store", Encoding.waveform(8000), progress=False)
    packed = open_store(tmp_path / "store").manifest
    corrections = [Correction("0a.wav", "relabel", ("Meow",)), Correction("1a.wav", "drop")]
    here, there = (select(each, corrections=corrections) for each in (manifest, packed))
    assert here.manifest.clips == there.manifest.clips
    assert (here.left_out, here.relabelled) == (there.left_out, there.relabelled)


def test_names_of_a_table_are_paths(table_folder: Path):
    selection = select(read_collection(table_folder), exclude=["audio/größe/ü.wav"])
    assert selection.manifest.names == ("audio/hund 1.wav", "audio/猫.wav")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("not.txt", "\ufeffa.wav\r\n# why not\r\n\r\n ä b.wav \n", [("a.wav", "", 1), ("ä b.wav", "", 4)]),
        ("not.csv", "fname\na.wav\n", [("a.wav", "", 2)]),
        ("not.csv", 'why,fname,by\n"silent, all of it",a.wav,me\n', [("a.wav", "silent, all of it", 2)]),
    ],
)
def test_exclusions_are_a_list_or_a_table(tmp_path: Path, name: str, text: str, expected: list):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    read = read_exclusions(tmp_path / name)
    assert [(each.fname, each.why, each.where) for each in read] == [
        (fname, why, f"{name} line {line}") for fname, why, line in expected
    ]
    assert {each.action for each in read} == {"drop"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("not.txt", "a.wav\na.wav\n", "not.txt line 2: 'a.wav' stands already on line 1; list it once"),
        (
            "not.txt",
            "# none\n",
            "not.txt: names no clip; expected a name a line, or a .csv with the column 'fname'",
        ),
        ("not.csv", "a.wav\nb.wav\n", "not.csv: no column 'fname'; found 'a.wav'"),
        ("not.csv", "fname\na.wav\na.wav\n", "not.csv line 3: fname 'a.wav' stands already on line 2; list it once"),
    ],
)
def test_malformed_exclusions_are_refused(tmp_path: Path, name: str, text: str, message: str):
    (tmp_path / name).write_text(text)
    assert text_of(lambda: read_exclusions(tmp_path / name)) == message


def test_corrections_read_back_as_they_were_written(tmp_path: Path):
    said = (
        Correction("a.wav", "relabel", ("Meow", "Bark"), 'a "cat", too'),
        Correction("b/ü.wav", "drop"),
        Correction("c.wav", "keep", (), "heard"),
    )
    path = tmp_path / "corrections.csv"
    path.write_text("old")
    write_corrections(path, said)
    assert path.read_text(encoding="utf-8") == (
        'fname,action,labels,why\na.wav,relabel,"Meow,Bark","a ""cat"", too"\nb/ü.wav,drop,,\nc.wav,keep,,heard\n'
    )
    assert read_corrections(path) == said
    assert [each.where for each in read_corrections(path)] == [f"corrections.csv line {line}" for line in (2, 3, 4)]


def test_corrections_that_cannot_be_written_leave_the_old_ones(tmp_path: Path):
    path = tmp_path / "corrections.csv"
    path.write_text("old")
    twice = [Correction("a.wav", "drop"), Correction("a.wav", "keep")]
    assert text_of(lambda: write_corrections(path, twice)) == "clip 'a.wav' is corrected twice; say once what is right"
    assert path.read_text() == "old"
    with pytest.raises(EarmarkError, match="there is no folder"):
        write_corrections(tmp_path / "none" / "c.csv", twice[:1])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "a.wav,dorp,,",
            "line 2: clip 'a.wav' has the action 'dorp'; expected one of 'keep', 'drop', 'relabel'; "
            "did you mean 'drop'?",
        ),
        (
            "a.wav,relabel,,",
            "line 2: clip 'a.wav' is to be relabelled, but no labels are given; give them, or write 'drop'",
        ),
        (
            "a.wav,keep,Bark,",
            "line 2: clip 'a.wav' has labels, but the action 'keep'; write 'relabel' to replace its "
            "own, or leave them out",
        ),
        (
            'a.wav,relabel,"Bark,,Meow",',
            "line 2: labels 'Bark,,Meow' has an empty label; join names with single commas, 'Bark,Meow'",
        ),
        ("a.wav,drop,,\na.wav,keep,,", "line 3: fname 'a.wav' stands already on line 2; list it once"),
    ],
)
def test_malformed_corrections_are_refused(tmp_path: Path, row: str, message: str):
    path = tmp_path / "c.csv"
    path.write_text(f"fname,action,labels,why\n{row}\n")
    assert text_of(lambda: read_corrections(path)) == f"c.csv {message}"


def test_corrections_lacking_a_column_are_refused_but_for_the_reason(tmp_path: Path):
    path = tmp_path / "c.csv"
    path.write_text("fname,action,labels\na.wav,drop,\n")
    assert read_corrections(path) == (Correction("a.wav", "drop"),)
    path.write_text("fname,action\na.wav,drop\n")
    assert text_of(lambda: read_corrections(path)) == "c.csv: no column 'labels'; found 'fname', 'action'"


def test_a_correction_is_what_it_says_not_where_it_stands():
    correction = Correction("a.wav", "drop", where="c.csv line 2")
    assert correction == Correction("a.wav", "drop") == replace(correction, where="")


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["everyday26", "esc10", "open28"])
def test_no_clip_of_the_real_collections_is_known_to_be_wrong(real_data: Path, name: str):
    manifest = read_collection(real_data / name)
    assert select(manifest).manifest == manifest
