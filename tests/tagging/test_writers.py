"""Each format to the letter."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from earmark.errors import EarmarkError, MissingExtraError
from earmark.tagging import writers
from earmark.tagging.library import Recording
from earmark.tagging.tagger import Tag
from earmark.tagging.writers import WRITERS, Destination, Tagged

CSV_HEADER = "path,start_s,end_s,tag,score\n"
RAVEN_HEADER = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tTag\tScore\n"
Written = Callable[..., str]

BARK = Tag("Bark", 0.97654321, 0.0, 4.2)
MEOW = Tag("Meow", 0.5, 0.0, 4.2)
TEXT = ("table", "csv", "jsonl", "audacity", "raven")


def recording(path: str, *cells: str) -> Recording:
    return Recording(Path(path), path, cells)


def write_all(format_: str, tagged: Sequence[Tagged], output: Path | None, columns: tuple[str, ...] = ()) -> None:
    destination = Destination(output, [one.recording for one in tagged], columns, 50.0, 16_000.0)
    with WRITERS[format_](destination) as write:
        for one in tagged:
            write(one)


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    def text_of(format_: str, path: str, *tags: Tag) -> str:
        capsys.readouterr()
        write_all(format_, [Tagged(recording(path), tags)], None)
        return capsys.readouterr().out

    return text_of


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("table", "a.wav  Bark 0.98  Meow 0.50\n"),
        ("csv", CSV_HEADER + "a.wav,0.000,4.200,Bark,0.9765\na.wav,0.000,4.200,Meow,0.5000\n"),
        (
            "jsonl",
            '{"path":"a.wav","tags":[{"label":"Bark","score":0.9765,"start_s":0.0,"end_s":4.2},'
            '{"label":"Meow","score":0.5,"start_s":0.0,"end_s":4.2}]}\n',
        ),
        ("audacity", "0.000000\t4.200000\tBark 0.98\n0.000000\t4.200000\tMeow 0.50\n"),
        (
            "raven",
            RAVEN_HEADER + "1\tSpectrogram 1\t1\t0.000000\t4.200000\t50.0\t16000.0\tBark\t0.9765\n"
            "2\tSpectrogram 1\t1\t0.000000\t4.200000\t50.0\t16000.0\tMeow\t0.5000\n",
        ),
    ],
)
def test_two_tags(written: Written, format_: str, text: str) -> None:
    assert written(format_, "a.wav", BARK, MEOW) == text


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("table", "a.wav  (none)\n"),
        ("csv", CSV_HEADER + "a.wav,,,,\n"),
        ("jsonl", '{"path":"a.wav","tags":[]}\n'),
        ("audacity", ""),
        ("raven", RAVEN_HEADER),
    ],
)
def test_no_tag(written: Written, format_: str, text: str) -> None:
    assert written(format_, "a.wav") == text


@pytest.mark.parametrize(("format_", "text"), [("csv", CSV_HEADER), ("table", ""), ("jsonl", "")])
def test_no_recording(capsys: pytest.CaptureFixture[str], format_: str, text: str) -> None:
    write_all(format_, [], None)
    assert capsys.readouterr().out == text


class TestColumns:
    @pytest.mark.parametrize(
        ("format_", "text"),
        [
            ("table", "a.wav  Meow 0.50  site=a, river\n"),
            ("csv", 'path,start_s,end_s,tag,score,site,note\na.wav,0.000,4.200,Meow,0.5000,"a, river",\n'),
            (
                "jsonl",
                '{"path":"a.wav","site":"a, river","note":"","tags":[{"label":"Meow","score":0.5,"start_s":0.0,'
                '"end_s":4.2}]}\n',
            ),
            ("audacity", "0.000000\t4.200000\tMeow 0.50\n"),
            (
                "raven",
                RAVEN_HEADER.replace("\n", "\tsite\tnote\n")
                + "1\tSpectrogram 1\t1\t0.000000\t4.200000\t50.0\t16000.0\tMeow\t0.5000\ta, river\t\n",
            ),
        ],
    )
    def test_of_lists(self, capsys: pytest.CaptureFixture[str], format_: str, text: str) -> None:
        write_all(format_, [Tagged(recording("a.wav", "a, river", ""), [MEOW])], None, ("site", "note"))
        assert capsys.readouterr().out == text

    def test_csv_without_tags_has_them_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_all("csv", [Tagged(recording("a.wav", "river"), [])], None, ("site",))
        assert capsys.readouterr().out.splitlines()[1] == "a.wav,,,,,river"

    def test_raven_knows_no_quotes(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_all("raven", [Tagged(recording("a.wav", 'a "b"\tc\nd'), [MEOW])], None, ("a\tnote",))
        header, row = (line.split("\t") for line in capsys.readouterr().out.splitlines())
        assert (header[-1], row[-1]) == ("a note", 'a "b" c d')


class TestFolder:
    TWO = (Tagged(recording("a.wav"), [BARK]), Tagged(recording("b/a.wav"), []))

    @pytest.mark.parametrize(("format_", "suffix"), [("audacity", ".txt"), ("raven", ".selections.txt")])
    def test_a_file_a_recording_where_that_lies(self, tmp_path: Path, format_: str, suffix: str) -> None:
        write_all(format_, self.TWO, tmp_path / "out")
        files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
        assert files == [f"out/a.wav{suffix}", f"out/b/a.wav{suffix}"]
        assert "Bark" in (tmp_path / "out" / f"a.wav{suffix}").read_text()

    def test_one_recording_in_a_file(self, tmp_path: Path) -> None:
        write_all("audacity", self.TWO[:1], tmp_path / "labels.txt")
        assert (tmp_path / "labels.txt").read_text() == "0.000000\t4.200000\tBark 0.98\n"

    def test_an_existing_folder_is_one_whatever_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "v1.0").mkdir()
        write_all("audacity", self.TWO[:1], tmp_path / "v1.0")
        assert (tmp_path / "v1.0" / "a.wav.txt").exists()

    @pytest.mark.parametrize(("name", "got"), [(None, "no --output"), ("labels.txt", "the file {}")])
    def test_several_need_a_folder(self, tmp_path: Path, name: str | None, got: str) -> None:
        output = tmp_path / name if name else None
        with pytest.raises(EarmarkError) as caught:
            write_all("raven", self.TWO, output)
        assert str(caught.value) == (
            f"this format has a file a recording, got 2 recordings and {got.format(output)}; name a folder with "
            "--output"
        )

    def test_two_of_one_place(self, tmp_path: Path) -> None:
        twins = [Tagged(Recording(Path(f"{folder}/a.wav"), "a.wav"), []) for folder in ("x", "y")]
        with pytest.raises(EarmarkError) as caught:
            write_all("audacity", twins, tmp_path / "out")
        assert str(caught.value) == (
            f"{tmp_path / 'out' / 'a.wav.txt'}: both x/a.wav and y/a.wav would be written to it; tag a folder that "
            "holds both, or one after the other"
        )
        assert not (tmp_path / "out").exists()

    def test_no_folder_for_the_folder(self, tmp_path: Path) -> None:
        with pytest.raises(EarmarkError, match=r"cannot be made, there is no folder .*none; make it first"):
            write_all("audacity", self.TWO, tmp_path / "none" / "out")


class TestParquet:
    def test_rows_and_types(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        parquet = pytest.importorskip("pyarrow.parquet")
        monkeypatch.setattr(writers, "ROWS_A_GROUP", 2)
        tagged = [
            Tagged(recording("größe.wav", "river"), [BARK, MEOW]),
            Tagged(recording("b.wav", ""), []),
        ]
        write_all("parquet", tagged, tmp_path / "tags.parquet", ("site",))
        file = parquet.ParquetFile(tmp_path / "tags.parquet")
        assert file.num_row_groups == 2
        types = {field.name: str(field.type) for field in file.schema_arrow}
        assert types == {
            **{"path": "string", "start_s": "double", "end_s": "double", "tag": "string", "score": "float"},
            "site": "string",
        }
        rows = file.read().to_pylist()
        assert [row.pop("score") for row in rows] == [pytest.approx(BARK.score), 0.5, None]
        assert rows == [
            {"path": "größe.wav", "start_s": 0.0, "end_s": 4.2, "tag": "Bark", "site": "river"},
            {"path": "größe.wav", "start_s": 0.0, "end_s": 4.2, "tag": "Meow", "site": "river"},
            {"path": "b.wav", "start_s": None, "end_s": None, "tag": None, "site": ""},
        ]

    def test_no_recording(self, tmp_path: Path) -> None:
        parquet = pytest.importorskip("pyarrow.parquet")
        write_all("parquet", [], tmp_path / "tags.parquet")
        assert parquet.read_table(tmp_path / "tags.parquet").num_rows == 0

    def test_needs_an_output(self) -> None:
        with pytest.raises(EarmarkError, match="--format parquet is no text; name a file with --output"):
            write_all("parquet", [], None)

    def test_needs_pyarrow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        with pytest.raises(MissingExtraError, match=r"--format parquet needs .* pip install 'earmark\[parquet\]'"):
            write_all("parquet", [], tmp_path / "tags.parquet")


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(format_: str) -> None:
        with WRITERS[format_](Destination(tmp_path / "tags")) as write:
            write(Tagged(recording("a.wav"), [BARK]))
            raise KeyboardInterrupt

    for format_ in ("csv", "parquet"):
        with pytest.raises(KeyboardInterrupt):
            fail(format_)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a, b.wav", 'a "b".wav', "größe/猫.wav", "a\nb.wav", " a .wav"])
def test_any_path_comes_back(written: Written, path: str) -> None:
    text = written("csv", path, BARK) + written("csv", path).removeprefix(CSV_HEADER)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["path"] for row in rows] == [path, path]
    assert rows[0] == {"path": path, "start_s": "0.000", "end_s": "4.200", "tag": "Bark", "score": "0.9765"}
    assert rows[1] == {"path": path, "start_s": "", "end_s": "", "tag": "", "score": ""}
    lines = written("jsonl", path, BARK).splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["path"] == path


@pytest.mark.parametrize(("score", "text"), [(0.0, "0.0000"), (1.0, "1.0000"), (0.00004, "0.0000"), (2 / 3, "0.6667")])
def test_scores_have_four_decimals(written: Written, score: float, text: str) -> None:
    assert written("csv", "a", Tag("Bark", score, 0.0, 1.0)) == f"{CSV_HEADER}a,0.000,1.000,Bark,{text}\n"


def test_times_have_three_decimals(written: Written) -> None:
    tag = Tag("Bark", 0.5, 1 / 3, 12_345.6789)
    assert written("csv", "a", tag) == CSV_HEADER + "a,0.333,12345.679,Bark,0.5000\n"
    assert json.loads(written("jsonl", "a", tag))["tags"] == [
        {"label": "Bark", "score": 0.5, "start_s": 0.333, "end_s": 12_345.679}
    ]
