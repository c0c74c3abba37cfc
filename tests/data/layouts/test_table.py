"""Tables of one's own: formats, columns, separators, vocabularies."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.data.layouts import missing_files, read_collection
from earmark.data.layouts.table import parse_columns
from earmark.data.manifest import NEVER_HELD_OUT, Clip
from earmark.errors import CollectionError, MissingExtraError
from earmark.labels import Vocabulary

RECORDS = [
    {"path": "a.wav", "labels": ["Meow", "Bark"], "group": "g1", "fold": 1, "duration_s": 4.5, "license": "CC0"},
    {"path": "b/ü.wav", "labels": "Bark", "subset": "noisy", "group": 12, "fold": None, "license": None},
    {"path": "c.wav", "labels": [], "subset": "eval"},
]


def write_table(folder: Path, suffix: str, records: list[dict]) -> Path:
    """The same clips in any format."""
    path = folder / f"clips{suffix}"
    columns = list(dict.fromkeys(column for record in records for column in record))
    if suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        whole = [{column: record.get(column) for column in columns} for record in records]
        for record in whole:  # a column of Parquet has one type
            record["labels"] = [record["labels"]] if isinstance(record["labels"], str) else record["labels"]
            record["group"] = None if record.get("group") is None else str(record["group"])
        parquet.write_table(pyarrow.Table.from_pylist(whole), path)
    elif suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(record) + "\n\n" for record in records))
    else:
        delimiter = {".csv": ";", ".tsv": "\t"}[suffix].replace(";", ",")
        rows = [columns]
        for record in records:
            labels = record["labels"] if isinstance(record["labels"], str) else ",".join(record["labels"])
            cells = {**record, "labels": f'"{labels}"'}
            rows.append(["" if cells.get(column) is None else str(cells[column]) for column in columns])
        path.write_text("".join(delimiter.join(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
def test_every_format_says_the_same(make: Callable, suffix: str):
    folder = make("mine", {}, ["a.wav", "b/ü.wav", "c.wav"])
    table = write_table(folder, suffix, RECORDS)
    manifest = read_collection(folder)
    assert manifest.layout == "table"
    assert manifest.vocabulary.names == ("Bark", "Meow")
    assert manifest.clips == (
        Clip("a.wav", folder / "a.wav", ("Meow", "Bark"), "curated", "g1", 1, 4.5, "CC0"),
        Clip("b/ü.wav", folder / "b/ü.wav", ("Bark",), "noisy", "12"),
        Clip("c.wav", folder / "c.wav", (), "test"),
    )
    assert read_collection(table).clips == manifest.clips
    assert missing_files(manifest) == []


def test_columns_are_called_as_the_user_says(make: Callable):
    texts = {"birds.csv": ["filename,category,src_file,note", "a.wav,Wren;Robin,100,x", "b.wav,Wren,100,"]}
    folder = make("birds", texts)
    columns = parse_columns("path=filename, labels=category,group=src_file")
    manifest = read_collection(folder / "birds.csv", columns=columns, label_separator=";")
    assert [(clip.name, clip.labels, clip.group) for clip in manifest.clips] == [
        ("a.wav", ("Wren", "Robin"), "100"),
        ("b.wav", ("Wren",), "100"),
    ]


def test_an_official_fold_may_be_that_of_clips_always_learned(make: Callable):
    folder = make("mine", {"clips.csv": ["path,labels,fold", "a.wav,Bark,0", "b.wav,Bark,-1"]})
    assert [clip.fold for clip in read_collection(folder).clips] == [0, NEVER_HELD_OUT]


def test_audio_may_lie_elsewhere(make: Callable, tmp_path: Path, error_of: Callable):
    folder = make("mine", {"clips.csv": ["path,labels", "x/a.wav,Bark"]})
    manifest = read_collection(folder, audio_folder=tmp_path / "disk")
    assert manifest.clips[0].path == tmp_path / "disk" / "x" / "a.wav"
    (folder / "clips.csv").write_text("path,labels\n../a.wav,Bark\n")
    assert error_of(folder, audio_folder=tmp_path / "disk") == (
        f"clips.csv line 2: path '../a.wav' leads out of {tmp_path / 'disk'}; expected a path inside it, such as "
        "'clip.wav'"
    )


def test_a_vocabulary_beside_a_table_fixes_labels_and_order(make: Callable, error_of: Callable):
    texts = {"clips.csv": ["path,labels", "a.wav,Bark"], "vocabulary.csv": ["0,Purr,/m/1", "1,Bark,/m/2"]}
    folder = make("mine", texts)
    assert read_collection(folder).vocabulary == Vocabulary(["Purr", "Bark"])
    (folder / "clips.csv").write_text("path,labels\na.wav,Brak\n")
    assert error_of(folder) == "clips.csv line 2: label 'Brak' is not in the vocabulary; did you mean 'Bark'?"


@pytest.mark.parametrize(
    ("name", "text", "how", "message"),
    [
        (
            "t.csv",
            "file,tags\na.wav,Bark\n",
            {},
            "t.csv: no column 'path'; found 'file', 'tags'; to read columns by their own names, say "
            "--columns path=…,labels=…",
        ),
        (
            "t.csv",
            "path,labels\na.wav,Bark\n",
            {"columns": {"labels": "lables"}},
            "t.csv: no column 'lables'; found 'path', 'labels'; did you mean 'labels'?",
        ),
        (
            "t.csv",
            "path,labels\na.wav,Bark\n",
            {"columns": {"group": "source"}},
            "t.csv: no column 'source'; found 'path', 'labels'; to read columns by their own names, say "
            "--columns path=…,labels=…",
        ),
        (
            "t.csv",
            "file,tag\na.wav,Bark;;Meow\n",
            {"columns": {"path": "file", "labels": "tag"}, "label_separator": ";"},
            "t.csv line 2: tag 'Bark;;Meow' has an empty label; join names with ';', 'Bark;Meow'",
        ),
        (
            "t.csv",
            'path,labels\na.wav,"Waves, surf;Bark"\n',
            {"label_separator": ";"},
            "t.csv line 2: labels: label 'Waves, surf' holds a comma; write it without, as 'Waves_and_surf'",
        ),
        (
            "t.tsv",
            "path,labels\na.wav,Bark\n",
            {},
            "t.tsv: no column 'path'; found 'path,labels'; separate cells by tabs",
        ),
        (
            "t.tsv",
            "path\tlabels\na.wav\tBark\tMeow\n",
            {},
            "t.tsv line 2: 3 cells; expected 2, 'path', 'labels'; put a cell that holds tabs in quotes",
        ),
        (
            "t.csv",
            "path,labels,split\na.wav,Bark,valid\n",
            {"columns": {"subset": "split"}},
            "t.csv line 2: subset 'valid' is not known; expected 'curated', 'noisy', 'test'",
        ),
        (
            "t.csv",
            "path,labels\na.wav,\n",
            {},
            "t.csv line 2: a clip to learn from has no labels; add them, or set its subset to 'test'",
        ),
        (
            "t.jsonl",
            '{"path": "a.wav", "labels": "Bark"}\n{"path": "b.wav"\n',
            {},
            "t.jsonl line 2: is not JSON (Expecting ',' delimiter at character 17); write one object a line",
        ),
        (
            "t.jsonl",
            '["a.wav", "Bark"]\n',
            {},
            't.jsonl line 1: is not an object; write each clip as {"path": "a.wav", "labels": ["Bark"]}',
        ),
        (
            "t.jsonl",
            '{"path": "a.wav", "label": "Bark"}\n',
            {},
            "t.jsonl line 1: no column 'labels'; found 'path', 'label'; did you mean 'label'?",
        ),
        ("t.jsonl", "\n", {}, "t.jsonl: has no rows; expected an object a line, one a clip"),
        (
            "t.jsonl",
            '{"path": "a.wav", "labels": ["Bark", 3]}\n',
            {},
            "t.jsonl line 1: labels ['Bark', 3] holds 3; expected names of labels",
        ),
        (
            "t.jsonl",
            '{"path": "a.wav", "labels": ["Waves, surf"]}\n',
            {},
            "t.jsonl line 1: labels: label 'Waves, surf' holds ',', which joins labels; write it without",
        ),
        (
            "t.jsonl",
            '{"path": {"bytes": ""}, "labels": "Bark"}\n',
            {},
            "t.jsonl line 1: path is of type dict; expected text or a number",
        ),
        (
            "t.jsonl",
            '{"path": "a.wav", "labels": "Bark"}\n{"path": "a.wav", "labels": "Meow"}\n',
            {},
            "t.jsonl line 2: path 'a.wav' stands already on line 1; list it once",
        ),
    ],
)
def test_a_malformed_table_is_refused(
    make: Callable, error_of: Callable, name: str, text: str, how: dict, message: str
):
    assert error_of(make("mine", {name: text}) / name, **how) == message


def parquet_of(folder: Path, columns: dict[str, list]) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), folder / "t.parquet")
    return folder / "t.parquet"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"path": ["a.wav"], "label": ["Bark"]},
            "t.parquet: no column 'labels'; found 'path', 'label'; did you mean 'label'?",
        ),
        (
            {"path": ["a.wav", "b.wav", "a.wav"], "labels": [["Bark"]] * 3},
            "t.parquet row 3: path 'a.wav' stands already on row 1; list it once",
        ),
        (
            {"path": [{"bytes": b"", "path": "a.wav"}], "labels": [["Bark"]]},
            "t.parquet row 1: path is of type dict; expected text or a number",
        ),
        (
            {"path": ["a.wav", "b.wav"], "labels": ["Bark", None]},
            "t.parquet row 2: a clip to learn from has no labels; add them, or set its subset to 'test'",
        ),
        ({"path": [], "labels": []}, "t.parquet: has columns but no rows; expected one row a clip"),
    ],
)
def test_a_malformed_parquet_is_refused_and_its_rows_are_counted(
    tmp_path: Path, error_of: Callable, columns: dict, message: str
):
    assert error_of(parquet_of(tmp_path, columns)) == message


def test_what_is_not_parquet_is_refused(tmp_path: Path, error_of: Callable):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no PAR1")
    assert error_of(tmp_path / "t.parquet").startswith("t.parquet: cannot be read as Parquet (")


def test_whole_numbers_that_a_data_frame_made_floats_are_whole(tmp_path: Path):
    path = parquet_of(tmp_path, {"path": ["a.wav", "b.wav"], "labels": ["Bark", "Meow"], "fold": [1.0, float("nan")]})
    assert [clip.fold for clip in read_collection(path).clips] == [1, None]


def test_parquet_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = parquet_of(tmp_path, {"path": ["a.wav"], "labels": ["Bark"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError) as caught:
        read_collection(path)
    assert str(caught.value) == ("reading Parquet needs libraries that are not installed: pip install 'earmark[data]'")


def test_two_tables_in_a_folder_are_refused(make: Callable, error_of: Callable):
    folder = make("mine", {"clips.csv": "path,labels\na.wav,Bark\n", "clips.tsv": "path\tlabels\na.wav\tBark\n"})
    assert error_of(folder) == (
        f"{folder}: more than one table, clips.csv and clips.tsv; give the one to read instead of the folder"
    )


def test_columns_of_a_known_layout_cannot_be_said(esc50_folder: Path, error_of: Callable):
    expected = (
        f"{esc50_folder}: has the layout 'esc50', whose columns and folders are known; columns, a separator of labels "
        "and a folder of audio are said of tables only: leave them out, or give the table itself"
    )
    for how in ({"columns": {"path": "filename"}}, {"label_separator": ";"}, {"audio_folder": esc50_folder}):
        assert error_of(esc50_folder, **how) == expected
    own = read_collection(
        esc50_folder / "meta" / "esc50.csv",
        columns=parse_columns("path=filename,labels=category"),
        audio_folder=esc50_folder / "audio",
    )
    assert missing_files(own) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path", "columns 'path': 'path' names none; expected path=filename,labels=category"),
        ("path=", "columns 'path=': 'path=' names none; expected path=filename,labels=category"),
        ("path=a,path=b", "columns 'path=a,path=b': 'path' stands twice; give each column once"),
        (
            "paht=filename",
            "column 'paht' is none of a manifest's; expected 'path', 'labels', 'subset', 'group', "
            "'fold', 'duration_s', "
            "'license'; did you mean 'path'?",
        ),
    ],
)
def test_columns_that_are_malformed_are_refused(text: str, message: str):
    with pytest.raises(CollectionError) as caught:
        parse_columns(text)
    assert str(caught.value) == message
