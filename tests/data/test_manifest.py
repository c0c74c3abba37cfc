"""Manifests: subsets, targets, and their table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earmark.data.manifest import NEVER_HELD_OUT, Clip, Manifest
from earmark.data.rows import format_csv, read_rows
from earmark.errors import CollectionError, LabelError
from earmark.labels import Vocabulary

VOCABULARY = Vocabulary(["Meow", "Bark"])


def manifest_of(*clips: Clip, root: Path = Path("data")) -> Manifest:
    return Manifest(clips, VOCABULARY, root, "table")


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "train.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read_error(tmp_path: Path, text: str, vocabulary: Vocabulary | None = None) -> str:
    with pytest.raises((CollectionError, LabelError)) as caught:
        Manifest.read(table(tmp_path, text), vocabulary=vocabulary)
    return str(caught.value)


def test_targets_are_multi_hot_in_the_order_of_the_vocabulary():
    manifest = manifest_of(
        Clip("a", Path("a"), ("Bark",)), Clip("b", Path("b"), ("Bark", "Meow")), Clip("c", Path("c"), (), "test")
    )
    assert manifest.targets().dtype == np.float32
    np.testing.assert_array_equal(manifest.targets(), [[0, 1], [1, 1], [0, 0]])
    assert len(manifest) == 3
    assert manifest.names == ("a", "b", "c")


def test_no_clips_give_no_targets():
    assert manifest_of().targets().shape == (0, 2)


def test_a_subset_keeps_order_and_vocabulary():
    manifest = manifest_of(
        Clip("n", Path("n"), ("Bark",), "noisy"), Clip("b", Path("b"), ("Bark",)), Clip("a", Path("a"), ("Meow",))
    )
    assert manifest.subset("curated").names == ("b", "a")
    assert manifest.subset("curated").vocabulary == VOCABULARY
    assert manifest.subset("noisy").names == ("n",)
    assert len(manifest.subset("test")) == 0


def test_an_unknown_subset_is_refused():
    with pytest.raises(CollectionError) as caught:
        manifest_of().subset("curatd")
    expected = "subset 'curatd' is not known; expected 'curated', 'noisy', 'test'; did you mean 'curated'?"
    assert str(caught.value) == expected
    with pytest.raises(CollectionError, match=r"clip 'a': subset 'train' is not known; expected 'curated'"):
        Clip("a", Path("a"), (), "train")


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        ((Clip("a", Path("a"), ("Bark",)), Clip("t", Path("t"), (), "test")), True),
        ((Clip("a", Path("a"), ("Bark",)), Clip("b", Path("b"), ("Bark", "Meow"), "noisy")), False),
        ((Clip("t", Path("t"), (), "test"),), False),
    ],
)
def test_single_label_means_one_label_on_every_clip_to_learn_from(clips: tuple[Clip, ...], expected: bool):
    assert manifest_of(*clips).is_single_label is expected


def test_two_clips_of_one_name_are_refused():
    with pytest.raises(CollectionError) as caught:
        manifest_of(Clip("a", Path("x/a"), ()), Clip("a", Path("y/a"), ()))
    assert str(caught.value) == (
        f"clip 'a' stands twice, as {Path('x/a')} and {Path('y/a')}; give each clip a name of its own"
    )


def test_two_clips_of_one_file_are_refused():
    with pytest.raises(CollectionError) as caught:
        manifest_of(Clip("a", Path("x/a"), ()), Clip("./a", Path("x/./a"), ()))
    assert str(caught.value) == f"clips 'a' and './a' are the same file, {Path('x/a')}; list each file once"


def test_a_label_outside_the_vocabulary_is_refused():
    with pytest.raises(LabelError) as caught:
        manifest_of(Clip("a", Path("a"), ("Brak",)))
    assert str(caught.value) == "clip 'a': label 'Brak' is not in the vocabulary; did you mean 'Bark'?"


def test_the_table_holds_what_is_known_and_reads_back(tmp_path: Path):
    root = tmp_path / "Töne hier"
    root.mkdir()
    clips = (
        Clip("audio/ü 1.wav", root / "audio/ü 1.wav", ("Meow", "Bark"), group="a+b", fold=3, duration_s=0.1 + 0.2),
        Clip('audio/"q", r.wav', root / 'audio/"q", r.wav', ("Bark",), "noisy", fold=NEVER_HELD_OUT, license="CC0"),
        Clip("t.wav", root / "t.wav", (), "test", duration_s=0.0),
    )
    manifest = manifest_of(*clips, root=root)
    manifest.write(root / "manifest.csv")
    assert (root / "manifest.csv").read_bytes().decode("utf-8") == (
        "path,labels,subset,group,fold,duration_s,license\n"
        'audio/ü 1.wav,"Meow,Bark",curated,a+b,3,0.30000000000000004,\n'
        '"audio/""q"", r.wav",Bark,noisy,,-1,,CC0\n'
        "t.wav,,test,,,0.0,\n"
    )
    assert Manifest.read(root / "manifest.csv", vocabulary=VOCABULARY) == manifest
    assert Manifest.read(root / "manifest.csv").vocabulary.names == ("Bark", "Meow")
    assert [path.name for path in root.iterdir()] == ["manifest.csv"]


def test_a_table_is_not_written_where_its_paths_would_lead_out(tmp_path: Path):
    manifest = manifest_of(Clip("a", tmp_path / "data/a.wav", ()), root=tmp_path / "data")
    (tmp_path / "run").mkdir()
    with pytest.raises(CollectionError) as caught:
        manifest.write(tmp_path / "run" / "manifest.csv")
    assert str(caught.value) == (
        f"manifest.csv: clip 'a' lies outside the table's folder, at {tmp_path / 'data/a.wav'}; "
        f"write the table into {tmp_path / 'data'}"
    )
    assert not list((tmp_path / "run").iterdir())


def test_byte_order_mark_blank_lines_and_windows_line_ends_are_accepted(tmp_path: Path):
    path = table(tmp_path, '\ufeffpath,labels,subset\r\n\r\na.wav,"Bark, Meow",\r\n\r\nb.wav,Meow,noisy\r\n')
    manifest = Manifest.read(path)
    assert [(clip.name, clip.labels, clip.subset) for clip in manifest.clips] == [
        ("a.wav", ("Bark", "Meow"), "curated"),
        ("b.wav", ("Meow",), "noisy"),
    ]
    assert manifest.clips[0].path == tmp_path / "a.wav"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train.csv: is empty; expected a header line with 'path', 'labels'"),
        ("path,labels\n", "train.csv: has a header but no rows; expected one row a clip"),
        ("path,lables\na,b\n", "train.csv: no column 'labels'; found 'path', 'lables'; did you mean 'lables'?"),
        ("path;labels\na;b\n", "train.csv: no column 'path'; found 'path;labels'; separate cells by commas"),
        (
            "path,labels,labels\na,b,c\n",
            "train.csv: column 'labels' stands twice; give each column a name of its own",
        ),
        (
            "path,labels\na.wav,Bark,Meow\n",
            "train.csv line 2: 3 cells; expected 2, 'path', 'labels'; put a cell that holds commas in quotes, "
            '"Bark,Meow"',
        ),
        (
            "path,labels\na.wav,Bark\nb.wav,Meow\na.wav,Meow\n",
            "train.csv line 4: path 'a.wav' stands already on line 2; list it once",
        ),
        (
            "path,labels\na.wav,\n",
            "train.csv line 2: a clip to learn from has no labels; add them, or set its subset to 'test'",
        ),
        (
            'path,labels\na.wav,"Bark,,Meow"\n',
            "train.csv line 2: labels 'Bark,,Meow' has an empty label; join names with single commas, 'Bark,Meow'",
        ),
        (
            'path,labels\na.wav,"Bark,Bark"\n',
            "train.csv line 2: labels 'Bark,Bark' has a label twice; give each label once",
        ),
        (
            "path,labels,subset\na.wav,Bark,nosy\n",
            "train.csv line 2: subset 'nosy' is not known; expected 'curated', 'noisy', 'test'; did you mean 'noisy'?",
        ),
        (
            "path,labels,fold\na.wav,Bark,1.0\n",
            "train.csv line 2: fold '1.0' is not a whole number of 0 or more, such as 3",
        ),
        (
            "path,labels,fold\na.wav,Bark,-2\n",
            "train.csv line 2: fold '-2' is not a whole number of 0 or more, such as 3",
        ),
        (
            "path,labels,duration_s\na.wav,Bark,nan\n",
            "train.csv line 2: duration_s 'nan' is not a number of seconds of 0 or more, such as 4.25",
        ),
        (
            "path,labels,duration_s\na.wav,Bark,long\n",
            "train.csv line 2: duration_s 'long' is not a number of seconds of 0 or more, such as 4.25",
        ),
        (
            'path,labels\n"two\nlines.wav",Bark\nb.wav,Bark,Meow\n',
            "train.csv line 4: 3 cells; expected 2, 'path', 'labels'; put a cell that holds commas in quotes, "
            '"Bark,Meow"',
        ),
        (
            'path,labels\na.wav,"Bark\nb.wav,Meow\n',
            "train.csv line 2: is not CSV (unexpected end of data); is a quote left open?",
        ),
    ],
)
def test_a_malformed_table_is_refused_in_plain_words(tmp_path: Path, text: str, message: str):
    assert read_error(tmp_path, text) == message


def test_a_label_outside_a_given_vocabulary_names_its_line(tmp_path: Path):
    lines = ["path,labels", *(f"{number}.wav,Bark" for number in range(39)), "x.wav,Brak"]
    message = read_error(tmp_path, "\n".join(lines), VOCABULARY)
    assert message == "train.csv line 41: label 'Brak' is not in the vocabulary; did you mean 'Bark'?"


@pytest.mark.parametrize("path", ["../x.wav", "/x.wav", "a/../../x.wav", r"..\x.wav", r"\x.wav", r"C:\x.wav"])
def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path: Path, path: str):
    assert read_error(tmp_path, f"path,labels\n{path},Bark\n") == (
        f"train.csv line 2: path {path!r} leads out of {tmp_path}; expected a path inside it, such as 'clip.wav'"
    )


@pytest.mark.parametrize("path", ["", " ", ".", "a\0.wav"])
def test_a_path_that_names_no_file_is_refused(tmp_path: Path, path: str):
    assert read_error(tmp_path, f"path,labels\n{path},Bark\n") == (
        f"train.csv line 2: path {path!r} names no file; write its path inside {tmp_path}"
    )


def test_other_encodings_are_refused(tmp_path: Path):
    path = tmp_path / "train.csv"
    path.write_bytes("path,labels\na.wav,Bark\nmüll.wav,Meow\n".encode("latin-1"))
    with pytest.raises(CollectionError) as caught:
        Manifest.read(path)
    assert str(caught.value) == "train.csv line 3: byte 0xfc is not UTF-8; save the table as UTF-8"


def test_a_table_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(CollectionError) as caught:
        read_rows(tmp_path / "none.csv", ("path",))
    assert str(caught.value) == f"{tmp_path / 'none.csv'}: cannot be read (No such file or directory)"


def test_many_columns_are_not_all_listed(tmp_path: Path):
    path = table(tmp_path, format_csv([f"c{number}" for number in range(81)], [["0"] * 81]))
    with pytest.raises(CollectionError) as caught:
        read_rows(path, ("fname",))
    listed = ", ".join(f"'c{number}'" for number in range(8))
    assert str(caught.value) == f"train.csv: no column 'fname'; found {listed} and 73 more"
