"""`earmark tag`: every format, many files, bad ones among them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.tagging.engine import Engine
from earmark.tagging.tagger import load

Run = Callable[..., tuple[int, str, str]]
WriteTone = Callable[..., Path]


@pytest.fixture
def tones(write_tone: WriteTone, tmp_path: Path) -> list[Path]:
    """One clip of each label, in a folder of their own."""
    return [
        write_tone("tones/a low.wav", 300.0),
        write_tone("tones/b/mid.wav", 1800.0, 2.5),
        write_tone("tones/c höch.wav", 5000.0, 0.25),
    ]


@pytest.fixture
def tag(run_earmark: Run, tiny_bundle: Path) -> Run:
    return lambda *arguments: run_earmark("tag", "--model", tiny_bundle, *arguments)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


class TestFormats:
    def test_table(self, tag: Run, tones: list[Path]) -> None:
        status, out, err = tag(tones[0])
        assert (status, err) == (0, "")
        assert re.fullmatch(
            rf"{re.escape(str(tones[0]))}  low [01]\.\d\d  (mid|high) 0\.\d\d  (mid|high) 0\.\d\d\n", out
        )

    def test_csv(self, tag: Run, tones: list[Path], tiny_bundle: Path) -> None:
        status, out, _ = tag(*tones, "--format", "csv")
        assert status == 0
        lines = ["path,start_s,end_s,tag,score"]
        for path, end_s in zip(tones, ("1.000", "2.500", "0.250"), strict=True):
            lines += [f"{path},0.000,{end_s},{t.label},{t.score:.4f}" for t in load(tiny_bundle).tag(path)]
        assert out == "".join(f"{line}\n" for line in lines)
        assert [row["tag"] for row in rows_of(out)[::3]] == ["low", "mid", "high"]

    def test_jsonl(self, tag: Run, tones: list[Path]) -> None:
        status, out, _ = tag(*tones, "--format", "jsonl", "--top", "1")
        assert status == 0
        said = [json.loads(line) for line in out.splitlines()]
        assert [line["path"] for line in said] == [str(path) for path in tones]
        assert [line["tags"][0]["label"] for line in said] == ["low", "mid", "high"]
        assert said[1]["tags"][0].keys() == {"label", "score", "start_s", "end_s"}
        assert said[1]["tags"][0]["end_s"] == 2.5

    def test_another_format(self, tag: Run, tones: list[Path]) -> None:
        status, out, err = tag(tones[0], "--format", "xml")
        assert (status, out) == (2, "")
        assert "'xml' is not one of 'table', 'csv', 'jsonl'" in err


class TestChoice:
    @pytest.mark.parametrize(("n_labels", "n_rows"), [(1, 1), (2, 2), (5, 3)])
    def test_top(self, tag: Run, tones: list[Path], n_labels: int, n_rows: int) -> None:
        _, out, _ = tag(tones[0], "--format", "csv", "--top", n_labels)
        assert len(rows_of(out)) == n_rows

    def test_threshold(self, tag: Run, tones: list[Path]) -> None:
        _, out, _ = tag(*tones, "--format", "csv", "--threshold", "0.6", "--top", "1")
        assert [row["tag"] for row in rows_of(out)] == ["low", "mid", "high"]
        assert all(float(row["score"]) >= 0.6 for row in rows_of(out))

    def test_a_threshold_of_0_gives_all(self, tag: Run, tones: list[Path]) -> None:
        _, out, _ = tag(tones[0], "--format", "csv", "--threshold", "0", "--top", "1")
        assert len(rows_of(out)) == 3

    def test_nothing_above_the_threshold_is_an_empty_row(self, tag: Run, tones: list[Path]) -> None:
        status, out, _ = tag(tones[0], "--format", "csv", "--threshold", "1")
        assert status == 0
        assert out == f"path,start_s,end_s,tag,score\n{tones[0]},,,,\n"
        assert tag(tones[0], "--threshold", "1")[1] == f"{tones[0]}  (none)\n"

    @pytest.mark.parametrize(
        ("option", "value", "text"),
        [
            ("--top", "0", "0 is not in the range x>=1"),
            ("--threshold", "1.5", "1.5 is not in the range 0<=x<=1"),
            ("--workers", "0", "0 is not in the range x>=1"),
            ("--threshold", "much", "'much' is not a valid float range"),
        ],
    )
    def test_values_out_of_range(self, tag: Run, tones: list[Path], option: str, value: str, text: str) -> None:
        status, out, err = tag(tones[0], option, value)
        assert (status, out) == (2, "")
        assert text in err


class TestManyFiles:
    def test_folders_files_and_patterns(self, tag: Run, tones: list[Path], tmp_path: Path) -> None:
        expected = [str(tones[0]), str(tones[1]), str(tones[2])]
        for arguments in ([tmp_path / "tones"], tones, [f"{tmp_path}/tones/**/*.wav"]):
            status, out, _ = tag(*arguments, "--format", "csv", "--top", "1")
            assert status == 0
            assert sorted(row["path"] for row in rows_of(out)) == expected

    @pytest.mark.parametrize("n_workers", [1, 2])
    def test_workers_change_nothing(self, tag: Run, tones: list[Path], n_workers: int) -> None:
        assert tag(*tones, "--workers", n_workers)[1] == tag(*tones)[1]

    def test_a_bad_file_is_named_and_the_others_are_tagged(self, tag: Run, tones: list[Path], tmp_path: Path) -> None:
        bad = tmp_path / "bad.wav"
        bad.write_text("no recording")
        missing = tmp_path / "missing.wav"
        status, out, err = tag(tones[0], bad, tones[1], missing, tones[2], "--format", "csv", "--top", "1")
        assert status == 1
        assert [row["tag"] for row in rows_of(out)] == ["low", "mid", "high"]
        # a bar stands between them
        lines = [line for line in re.split(r"[\r\n]+", err) if line.startswith("earmark: ")]
        assert lines == [
            f"earmark: {bad}: cannot be read as audio (Format not recognised); is it a recording, and whole?",
            f"earmark: {missing}: no such file; check the spelling and the folder",
            "earmark: 2 of 5 files could not be tagged",
        ]

    def test_a_bad_file_alone(self, tag: Run, tmp_path: Path) -> None:
        path = tmp_path / "none.wav"
        assert tag(path) == (
            1,
            "",
            f"earmark: {path}: no such file; check the spelling and the folder\n"
            "earmark: 1 of 1 files could not be tagged\n",
        )

    def test_a_folder_without_recordings(self, tag: Run, tones: list[Path], tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        status, out, err = tag(tmp_path / "empty", tones[0], "--top", "1")
        assert status == 1
        assert out.startswith(f"{tones[0]}  low ")
        assert err.startswith(f"earmark: {tmp_path / 'empty'}: no recordings in this folder; looked for .3gp, ")
        assert err.endswith("earmark: 1 of 2 files could not be tagged\n")

    def test_a_folder_that_is_missing(self, tag: Run, tmp_path: Path) -> None:
        status, out, err = tag(tmp_path / "none/")
        assert (status, out) == (1, "")
        assert err.startswith(f"earmark: {tmp_path / 'none'}: no such file; check the spelling and the folder\n")

    def test_no_path_at_all(self, tag: Run) -> None:
        status, out, err = tag()
        assert (status, out) == (2, "")
        assert "Missing argument 'PATHS...'" in err

    def test_results_do_not_mix_with_progress(self, tag: Run, tones: list[Path]) -> None:
        _, out, err = tag(*tones)
        assert "3/3" in err
        assert len(out.splitlines()) == 3


class TestOutput:
    def test_a_file_instead_of_the_terminal(self, tag: Run, tones: list[Path], tmp_path: Path) -> None:
        target = tmp_path / "tags.csv"
        target.write_text("old")
        status, out, _ = tag(*tones, "--format", "csv", "-o", target)
        assert (status, out) == (0, "")
        assert target.read_text(encoding="utf-8") == tag(*tones, "--format", "csv")[1]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["tags.csv", "tones"]

    def test_bad_files_do_not_keep_it_from_being_written(self, tag: Run, tones: list[Path], tmp_path: Path) -> None:
        target = tmp_path / "tags.csv"
        status, _, _ = tag(tmp_path / "none.wav", tones[0], "--format", "csv", "--top", "1", "-o", target)
        assert status == 1
        assert [row["tag"] for row in rows_of(target.read_text(encoding="utf-8"))] == ["low"]

    def test_a_failure_leaves_what_was_there(
        self, tag: Run, tones: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "tags.csv"
        target.write_text("old")
        taken, heard = [], Engine.heard

        def interrupted(self: Engine, path: Path) -> tuple[list[np.ndarray], float]:
            taken.append(path)
            if len(taken) > 1:
                raise KeyboardInterrupt
            return heard(self, path)

        monkeypatch.setattr(Engine, "heard", interrupted)
        status, _, err = tag(*tones, "--format", "csv", "-o", target, "--workers", "1")
        assert status == 1
        assert "Aborted!" in err
        assert target.read_text() == "old"
        assert sorted(path.name for path in tmp_path.iterdir()) == [".tags.csv.journal", "tags.csv", "tones"]

    def test_a_folder_that_is_missing(self, tag: Run, tones: list[Path], tmp_path: Path) -> None:
        target = tmp_path / "none" / "tags.csv"
        assert tag(tones[0], "-o", target) == (
            2,
            "",
            f"earmark: {target}: cannot be written, there is no folder {tmp_path / 'none'}; make it first\n",
        )


class TestModel:
    def test_a_run(self, run_earmark: Run, tones: list[Path], tiny_bundle: Path, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "model.onnx").write_bytes(tiny_bundle.read_bytes())
        status, out, _ = run_earmark("tag", tones[0], "-m", tmp_path / "run", "--top", "1")
        assert status == 0
        assert out.startswith(f"{tones[0]}  low ")

    def test_a_wrong_name(self, run_earmark: Run, tones: list[Path]) -> None:
        assert run_earmark("tag", tones[0], "--model", "embeded") == (
            2,
            "",
            "earmark: no model 'embeded'; did you mean 'embedded'?; expected 'embedded', an .onnx file or a run\n",
        )

    def test_a_damaged_one(self, run_earmark: Run, tones: list[Path], tiny_bundle: Path, tmp_path: Path) -> None:
        path = tmp_path / "half.onnx"
        path.write_bytes(tiny_bundle.read_bytes()[:500])
        status, out, err = run_earmark("tag", tones[0], "--model", path)
        assert (status, out) == (2, "")
        assert err.startswith(f"earmark: {path}: cannot be loaded as an ONNX model (")
        assert err.count("\n") == 1
