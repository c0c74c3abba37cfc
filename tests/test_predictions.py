"""Tables of scores and labels: exact round trips, any order, and errors that name line and column."""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earmark import metrics
from earmark.errors import CollectionError, EarmarkError, LabelError, PredictionsError
from earmark.labels import Vocabulary
from earmark.predictions import Predictions, mean, read_groups, read_labels

PETS = Vocabulary(["Bark", "Meow", "Purr"])
TABLE = Predictions(("a.wav", "b.wav"), PETS, np.array([[0.9, 0.5, 0.1], [0.2, 0.3, 0.4]]))

FLOATS32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
# Any name that a file system can hold and UTF-8 can say, quotes and commas included.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1, max_size=8)


def message_of(call: Callable[[], object], kind: type[EarmarkError] = PredictionsError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return str(caught.value)


@pytest.fixture
def table_file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


class TestPredictions:
    def test_scores_are_float32(self) -> None:
        assert TABLE.scores.dtype == np.float32
        assert Predictions(["a.wav"], PETS, [[0, 1, 0]]).scores.dtype == np.float32  # type: ignore[arg-type]

    def test_any_iterable_of_names_becomes_a_tuple(self) -> None:
        assert Predictions(["a.wav"], PETS, np.zeros((1, 3))).fnames == ("a.wav",)  # type: ignore[arg-type]

    def test_no_clips(self) -> None:
        assert Predictions((), PETS, np.zeros((0, 3))).scores.shape == (0, 3)

    def test_logits_are_accepted(self) -> None:
        np.testing.assert_array_equal(Predictions(("a.wav",), PETS, np.array([[-7, 0, 9]])).scores, [[-7, 0, 9]])

    @pytest.mark.parametrize(
        ("fnames", "scores", "text"),
        [
            (
                ("a.wav", "b.wav"),
                np.zeros((3, 2)),
                "scores have shape (3, 2); expected (2, 3) for 2 clips and 3 labels; did you transpose them?",
            ),
            (("a.wav",), np.zeros(3), "scores have shape (3,); expected (1, 3) for 1 clips and 3 labels"),
            (("a.wav", ""), np.zeros((2, 3)), "row 1 has an empty fname; give each clip a name"),
            (
                ("a.wav", "b.wav", "a.wav"),
                np.zeros((3, 3)),
                "clip 'a.wav' stands twice (again in row 2); give each clip once",
            ),
            (("a\n.wav",), np.zeros((1, 3)), r"clip 'a\n.wav' has a line break in its name; rename the file"),
            (("\udce9.wav",), np.zeros((1, 3)), r"clip '\udce9.wav' has a name that is not UTF-8; rename the file"),
            (
                ("a.wav", "b.wav"),
                np.array([[0, 1, 0], [0, np.nan, np.inf]]),
                "clip 'b.wav' scores nan for 'Meow' (2 such scores); expected finite numbers of float32",
            ),
            (
                ("a.wav",),
                np.array([[0, 0, 1e39]]),
                "clip 'a.wav' scores 1e+39 for 'Purr' (1 such scores); expected finite numbers of float32",
            ),
            (("a.wav",), np.array([["0", "1", "0"]]), "scores are of type <U1; expected real numbers"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, fnames: tuple[str, ...], scores: np.ndarray, text: str) -> None:
        assert message_of(lambda: Predictions(fnames, PETS, scores)) == text


class TestWriteAndRead:
    def test_the_file_by_hand(self, tmp_path: Path) -> None:
        table = Predictions(("a.wav", "b,c.wav"), Vocabulary(["Bark", "Meow"]), np.array([[0.5, 1 / 3], [1, 1e-10]]))
        table.write(tmp_path / "table.csv")
        assert (tmp_path / "table.csv").read_bytes() == (
            b'fname,Bark,Meow\na.wav,0.5,0.333333343\n"b,c.wav",1,1.00000001e-10\n'
        )

    @given(st.data())
    @settings(deadline=None, max_examples=60)
    def test_round_trip_is_exact(self, data: st.DataObject) -> None:
        fnames = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
        scores = data.draw(hnp.arrays(np.float32, (len(fnames), 2), elements=FLOATS32))
        table = Predictions(tuple(fnames), Vocabulary(["Bark", "Gurgling \u2013 “é”"]), scores)
        with tempfile.TemporaryDirectory() as folder:
            table.write(Path(folder) / "table.csv")
            back = Predictions.read(Path(folder) / "table.csv")
        assert (back.fnames, back.labels) == (table.fnames, table.labels)
        np.testing.assert_array_equal(back.scores.view(np.int32), table.scores.view(np.int32))

    def test_every_exponent_of_float32_survives(self, tmp_path: Path) -> None:
        bits = np.arange(0, 0x7F800000, 999_983, dtype=np.uint32)
        table = Predictions(tuple(map(str, bits)), Vocabulary(["Bark"]), bits.view(np.float32)[:, None])
        table.write(tmp_path / "table.csv")
        np.testing.assert_array_equal(Predictions.read(tmp_path / "table.csv").scores, table.scores)

    def test_spreadsheet_files_are_read(self, table_file: Callable[[str | bytes], Path]) -> None:
        table = Predictions.read(table_file("\ufefffname,Bark\r\na.wav,1e-3\r\n\r\nb.wav, 2\r\n"))
        assert table.fnames == ("a.wav", "b.wav")
        np.testing.assert_array_equal(table.scores, np.array([[0.001], [2]], np.float32))

    def test_a_failed_write_leaves_the_old_file_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "table.csv"
        path.write_text("old")

        class FailingWriter:
            def __init__(self, file: TextIO, **_: object) -> None:
                self.writer = csv_writer(file)

            def writerow(self, row: list[str]) -> None:
                if row[0] == "b.wav":
                    raise OSError("disk full")
                self.writer.writerow(row)

        csv_writer = csv.writer
        monkeypatch.setattr(csv, "writer", FailingWriter)
        with pytest.raises(OSError, match="disk full"):
            TABLE.write(path)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_20000_clips_of_80_labels_take_seconds(self, tmp_path: Path) -> None:
        scores = np.random.default_rng(0).random((20_000, 80), dtype=np.float32)
        table = Predictions(tuple(map(str, range(20_000))), Vocabulary(map(str, range(80))), scores)
        # Processor time of this process: another one on the same machine does not count.
        start = time.process_time()
        table.write(tmp_path / "table.csv")
        back = Predictions.read(tmp_path / "table.csv")
        assert time.process_time() - start < 6
        np.testing.assert_array_equal(back.scores, scores)

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            ("", " is empty; expected a header and a row for each clip"),
            ("\n\n", " is empty; expected a header and a row for each clip"),
            ("fname,Bark\n", " has a header and no clips; expected a row for each clip"),
            (
                "filename,Bark\na.wav,1\n",
                " line 1: the first column is 'filename'; expected 'fname', then a column for each label",
            ),
            (
                ",fname,Bark\n0,a.wav,1\n",
                " line 1: the first column is ''; expected 'fname', then a column for each label; "
                "did pandas write its index? Use to_csv(index=False)",
            ),
            (
                "fname,labels\na.wav,Bark\n",
                " line 1: column 'labels'; expected a column for each label; did you give a table of labels?",
            ),
            ("fname\na.wav\n", " line 1: only 'fname'; expected a column for each label, separated by commas"),
            (
                "fname,Bark,Bark\na.wav,1,1\n",
                " line 1: label 'Bark' stands twice in the vocabulary; give each label once",
            ),
            (
                "fname,Bark, Meow\na.wav,1,1\n",
                " line 1: label ' Meow' is not usable: a label is a non-empty name without commas, outer blanks or "
                "line breaks",
            ),
            (
                "fname,Bark,Meow\na.wav,0.5,0.5\nb.wav,0.5,high\n",
                " line 3, column 'Meow': the score is 'high'; expected a finite number",
            ),
            ("fname,Bark\na.wav,\n", " line 2, column 'Bark': the score is ''; expected a finite number"),
            ("fname,Bark,Meow\na.wav,1,nan\n", " line 2, column 'Meow': the score is 'nan'; expected a finite number"),
            ("fname,Bark\na.wav,1e39\n", " line 2, column 'Bark': the score is '1e39'; expected a finite number"),
            ("fname,Bark,Meow\na.wav,1\n", " line 2: 2 cells; expected 3 as in the header"),
            (
                "fname,Bark\na.wav,0,5\n",
                " line 2: 3 cells; expected 2 as in the header; put a cell that holds commas in double quotes",
            ),
            ("fname,Bark\n,1\n", " line 2: the fname is empty; expected the name of a clip"),
            (
                "fname,Bark\na.wav,1\n\nb.wav,1\na.wav,1\n",
                " line 5: clip 'a.wav' is there already in line 2; give each clip once",
            ),
            (b"fname,Caf\xe9\na.wav,1\n", " is not UTF-8 (it holds the byte 0xe9); save it as CSV in UTF-8"),
            (
                'fname,Bark\na.wav,1\n"b.wav,1\n',
                " line 3: unexpected end of data; expected CSV with commas and double quotes",
            ),
        ],
    )
    def test_a_malformed_file_is_refused(
        self, table_file: Callable[[str | bytes], Path], content: str | bytes, text: str
    ) -> None:
        path = table_file(content)
        assert message_of(lambda: Predictions.read(path)) == f"{path}{text}"

    def test_an_absent_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "none.csv"
        assert message_of(lambda: Predictions.read(path)) == (
            f"{path} cannot be read (No such file or directory); expected a CSV file"
        )


class TestAlign:
    def test_by_hand(self) -> None:
        aligned = TABLE.align(["b.wav", "a.wav"], Vocabulary(["Purr", "Bark", "Meow"]))
        assert aligned.fnames == ("b.wav", "a.wav")
        assert aligned.labels.names == ("Purr", "Bark", "Meow")
        np.testing.assert_array_equal(aligned.scores, np.array([[0.4, 0.2, 0.3], [0.1, 0.9, 0.5]], np.float32))

    def test_there_and_back(self) -> None:
        back = TABLE.align(reversed(TABLE.fnames), Vocabulary(reversed(PETS.names))).align(TABLE.fnames, PETS)
        np.testing.assert_array_equal(back.scores, TABLE.scores)

    def test_nothing_to_align(self) -> None:
        assert Predictions((), PETS, np.zeros((0, 3))).align([], PETS).scores.shape == (0, 3)

    def test_the_copy_is_independent(self) -> None:
        copy = TABLE.align(TABLE.fnames, PETS)
        copy.scores[:] = 0
        assert TABLE.scores[0, 0] == np.float32(0.9)

    @pytest.mark.parametrize(
        ("fnames", "labels", "text"),
        [
            (
                ["a.wav", "b.wav"],
                ["Bark", "Meow", "Pur"],
                "predictions lack 1 of 3 labels asked for: 'Pur'; did you mean 'Purr'?",
            ),
            (
                ["a.wav", "b.wav"],
                ["Bark"],
                "predictions have 2 of 3 labels that were not asked for: 'Meow', 'Purr'; "
                "leave them out of the predictions, or ask for them",
            ),
            (
                ["a.wav", "b.wav", "1", "2", "3", "4"],
                ["Bark", "Meow", "Purr"],
                "predictions lack 4 of 6 clips asked for: '1', '2', '3', …",
            ),
            (
                ["a.wav", "bb.wav"],
                ["Bark", "Meow", "Purr"],
                "predictions lack 1 of 2 clips asked for: 'bb.wav'; did you mean 'b.wav'?",
            ),
            (
                ["b.wav"],
                ["Bark", "Meow", "Purr"],
                "predictions have 1 of 2 clips that were not asked for: 'a.wav'; "
                "leave them out of the predictions, or ask for them",
            ),
            (
                ["a.wav", "b.wav", "a.wav"],
                ["Bark", "Meow", "Purr"],
                "clip 'a.wav' stands twice (again in row 2); give each clip once",
            ),
        ],
    )
    def test_another_set_is_refused(self, fnames: list[str], labels: list[str], text: str) -> None:
        assert message_of(lambda: TABLE.align(fnames, Vocabulary(labels))) == text


class TestMean:
    def test_by_hand_in_the_order_of_the_first(self) -> None:
        scores = np.array([[1, 1, 1], [0, 0, 0]])
        other = Predictions(("b.wav", "a.wav"), Vocabulary(["Purr", "Meow", "Bark"]), scores)
        table = mean([TABLE, other])
        assert (table.fnames, table.labels) == (TABLE.fnames, PETS)
        np.testing.assert_allclose(table.scores, [[0.45, 0.25, 0.05], [0.6, 0.65, 0.7]], rtol=1e-7)

    def test_of_equal_tables_is_the_table(self) -> None:
        np.testing.assert_array_equal(mean([TABLE] * 7).scores, TABLE.scores)

    def test_of_one_is_that_one(self) -> None:
        np.testing.assert_array_equal(mean([TABLE]).scores, TABLE.scores)

    def test_of_none_is_refused(self) -> None:
        assert message_of(lambda: mean([])) == "no predictions to average; give at least one table"

    def test_of_other_clips_is_refused(self) -> None:
        other = Predictions(("a.wav",), PETS, np.zeros((1, 3)))
        assert message_of(lambda: mean([TABLE, TABLE, other])) == (
            "table 3 of 3 does not fit the first: predictions lack 1 of 2 clips asked for: 'b.wav'"
        )


class TestReadLabels:
    def test_by_hand(self, table_file: Callable[[str], Path]) -> None:
        path = table_file('fname,labels\na.wav,"Purr,Bark"\nb.wav,Meow\nc.wav,\n')
        fnames, targets = read_labels(path, PETS)
        assert fnames == ("a.wav", "b.wav", "c.wav")
        assert targets.dtype == np.float32
        np.testing.assert_array_equal(targets, [[1, 0, 1], [0, 1, 0], [0, 0, 0]])

    @pytest.mark.parametrize(
        "content",
        [
            "fname,labels\na.wav,Bark\n",
            "path,labels,license\na.wav,Bark,CC0\n",
            "filename,fold,target,category\na.wav,1,0,Bark\n",
            "labels,fname\nBark,a.wav\n",
            '\ufefffname,labels\r\na.wav,"Bark, Bark"\r\n',
        ],
    )
    def test_every_accepted_header(self, table_file: Callable[[str], Path], content: str) -> None:
        fnames, targets = read_labels(table_file(content), PETS)
        assert fnames == ("a.wav",)
        np.testing.assert_array_equal(targets, [[1, 0, 0]])

    def test_scored_against_predictions_in_another_order(self, table_file: Callable[[str], Path]) -> None:
        fnames, targets = read_labels(table_file("fname,labels\nb.wav,Purr\na.wav,Bark\n"), PETS)
        assert metrics.lwlrap(targets, TABLE.align(fnames, PETS).scores) == 1

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            ("", " is empty; expected a header and a row for each clip"),
            ("fname,labels\n", " has a header and no clips; expected a row for each clip"),
            (
                "fname,lables\na.wav,Bark\n",
                " line 1: columns 'fname', 'lables'; expected fname and labels, path and labels, "
                "or filename and category; did you mean 'labels'?",
            ),
            (
                "name,x,y,z\na.wav,1,2,3\n",
                " line 1: columns 'name', 'x', 'y', …; expected fname and labels, path and labels, "
                "or filename and category; did you mean 'fname'?",
            ),
            (
                "fname,Bark,Meow\na.wav,1,0\n",
                " line 1: columns 'fname', 'Bark', 'Meow'; expected fname and labels, path and labels, "
                "or filename and category; did you give predictions?",
            ),
            (
                "fname,labels\na.wav,Bark,Meow\n",
                " line 2: 3 cells; expected 2 as in the header; put a cell that holds commas in double quotes",
            ),
            ("fname,labels\na.wav\n", " line 2: 1 cells; expected 2 as in the header"),
            (
                'fname,labels\na.wav,"Bark,"\n',
                " line 2: labels 'Bark,' have a gap; put one comma between two labels",
            ),
            ("path,labels\n,Bark\n", " line 2: the path is empty; expected the name of a clip"),
            (
                "fname,labels\na.wav,Bark\na.wav,Meow\n",
                " line 3: clip 'a.wav' is there already in line 2; give each clip once",
            ),
            (
                "labels,fname\nBark,a.wav\nBark,b.wav\nMeow,b.wav\n",
                " line 4: clip 'b.wav' is there already in line 3; give each clip once",
            ),
            (b"fname,labels\n\xff.wav,Bark\n", " is not UTF-8 (it holds the byte 0xff); save it as CSV in UTF-8"),
        ],
    )
    def test_a_malformed_file_is_refused(
        self, table_file: Callable[[str | bytes], Path], content: str | bytes, text: str
    ) -> None:
        path = table_file(content)
        assert message_of(lambda: read_labels(path, PETS), CollectionError) == f"{path}{text}"

    def test_an_absent_file_is_refused(self, tmp_path: Path) -> None:
        assert message_of(lambda: read_labels(tmp_path, PETS), CollectionError) == (
            f"{tmp_path} cannot be read (Is a directory); expected a CSV file"
        )

    @pytest.mark.parametrize(
        ("label", "guess"), [("Brak", "; did you mean 'Bark'?"), ("meow", "; did you mean 'Meow'?"), ("Xylophone", "")]
    )
    def test_an_unknown_label_is_refused(self, table_file: Callable[[str], Path], label: str, guess: str) -> None:
        path = table_file(f'fname,labels\na.wav,Bark\nb.wav,"Purr,{label}"\n')
        text = f"{path} line 3: label '{label}' is not in the vocabulary{guess}"
        assert message_of(lambda: read_labels(path, PETS), LabelError) == text


class TestReadGroups:
    @pytest.mark.parametrize("header", ["fname,labels,site", "path,labels,site", "filename,category,site"])
    def test_in_the_order_of_the_file(self, table_file: Callable[[str | bytes], Path], header: str) -> None:
        path = table_file(f"{header}\nb.wav,Bark,forest \na.wav,Meow,\n")
        assert read_groups(path, "site") == ("forest", "")

    def test_a_column_that_is_not_there(self, table_file: Callable[[str | bytes], Path]) -> None:
        path = table_file("fname,labels,group\na.wav,Bark,x\n")
        assert message_of(lambda: read_groups(path, "groop"), CollectionError) == (
            f"{path} line 1: columns 'fname', 'labels', 'group'; expected 'groop' among them; did you mean 'group'?"
        )

    def test_a_clip_that_stands_twice(self, table_file: Callable[[str | bytes], Path]) -> None:
        path = table_file("labels,fname,group\nBark,a.wav,x\nBark,a.wav,y\n")
        assert "clip 'a.wav' is there already in line 2" in message_of(
            lambda: read_groups(path, "group"), CollectionError
        )
