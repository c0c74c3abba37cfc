"""`earmark predict`: a submission in the order of `sample_submission.csv`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.predictions import Predictions

Run = Callable[..., tuple[int, str, str]]
WriteTone = Callable[..., Path]


@pytest.fixture
def contest(write_tone: WriteTone, tmp_path: Path) -> Path:
    """A contest of the tiny bundle's labels, in another order, with three test clips."""
    folder = tmp_path / "contest"
    write_tone("contest/train_curated/t.wav", 300.0)
    write_tone("contest/test/z.wav", 5000.0)
    write_tone("contest/test/y.wav", 1800.0)
    write_tone("contest/test/x.wav", 300.0, 2.5)
    (folder / "train_curated.csv").write_text("fname,labels\nt.wav,low\n")
    (folder / "sample_submission.csv").write_text("fname,mid,high,low\nz.wav,0,0,0\ny.wav,0,0,0\nx.wav,0,0,0\n")
    return folder


def test_rows_and_columns_are_those_of_the_sample(run_earmark: Run, contest: Path, tiny_bundle: Path) -> None:
    target = contest / "submission.csv"
    status, out, _ = run_earmark("predict", tiny_bundle, contest, "-o", target)
    assert (status, out) == (0, "")
    lines = target.read_text().splitlines()
    assert lines[0] == "fname,mid,high,low"
    table = Predictions.read(target)
    assert table.fnames == ("z.wav", "y.wav", "x.wav")
    assert [table.labels.names[i] for i in table.scores.argmax(axis=1)] == ["high", "mid", "low"]
    assert not list(contest.glob(".*"))


def test_a_run_is_a_model(run_earmark: Run, contest: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.onnx").write_bytes(tiny_bundle.read_bytes())
    for model, target in ((tiny_bundle, tmp_path / "a.csv"), (tmp_path / "run", tmp_path / "b.csv")):
        assert run_earmark("predict", model, contest, "-o", target)[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_bad_clip_is_a_row_of_zeros(run_earmark: Run, contest: Path, tiny_bundle: Path) -> None:
    (contest / "test" / "y.wav").write_text("no recording")
    (contest / "test" / "x.wav").unlink()
    target = contest / "submission.csv"
    status, out, err = run_earmark("predict", tiny_bundle, contest, "-o", target)
    assert (status, out) == (1, "")
    said = [line for line in err.splitlines() if line.startswith("earmark: ")]
    assert said == [
        f"earmark: {contest / 'test' / 'y.wav'}: cannot be read as audio (Format not recognised); "
        "is it a recording, and whole?",
        f"earmark: {contest / 'test' / 'x.wav'}: no such file; check the spelling and the folder",
        "earmark: 2 of 3 clips could not be read; their scores are 0",
    ]
    assert target.read_text().splitlines()[2:] == ["y.wav,0,0,0", "x.wav,0,0,0"]
    assert Predictions.read(target).scores[0].argmax() == 1


def test_without_test_clips_all_are_scored(run_earmark: Run, write_tone: WriteTone, tiny_bundle: Path) -> None:
    folder = write_tone("own/a.wav", 300.0).parent
    write_tone("own/ü b.wav", 5000.0)
    (folder / "clips.csv").write_text("path,labels\na.wav,low\nü b.wav,high\n", encoding="utf-8")
    assert run_earmark("predict", tiny_bundle, folder, "-o", folder / "scores.csv")[0] == 0
    table = Predictions.read(folder / "scores.csv")
    assert table.fnames == ("a.wav", "ü b.wav")
    assert table.labels.names == ("high", "low")
    np.testing.assert_array_equal(table.scores.argmax(axis=1), [1, 0])


def test_labels_that_the_model_does_not_know(run_earmark: Run, contest: Path, tiny_bundle: Path) -> None:
    sample = contest / "sample_submission.csv"
    sample.write_text("fname,Bark,high,low\nz.wav,0,0,0\n")
    assert run_earmark("predict", tiny_bundle, contest, "-o", contest / "submission.csv") == (
        2,
        "",
        f"earmark: {tiny_bundle}: does not know 1 of the 3 labels of {contest}: Bark; "
        "use a model that was learned for them\n",
    )
    assert not (contest / "submission.csv").exists()


def test_a_folder_for_the_table_that_is_missing_is_said_before_the_work(
    run_earmark: Run, contest: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earmark.cli.predict.predict_clips", lambda *_, **__: pytest.fail("worked in vain"))
    target = contest / "none" / "submission.csv"
    assert run_earmark("predict", tiny_bundle, contest, "-o", target) == (
        2,
        "",
        f"earmark: {target}: cannot be written, there is no folder {contest / 'none'}; make it first\n",
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("path,tags\na.wav,low\n", "clips.csv: no column 'labels'; found 'path', 'tags'"),
        ("path,labels\na.wav,low,high\n", "clips.csv line 2: 3 cells; expected 2, 'path', 'labels'; "),
        ("", "clips.csv: is empty; expected a header line with 'path', 'labels'"),
    ],
)
def test_a_table_that_is_malformed(
    run_earmark: Run, tmp_path: Path, tiny_bundle: Path, content: str, text: str
) -> None:
    (tmp_path / "clips.csv").write_text(content)
    status, out, err = run_earmark("predict", tiny_bundle, tmp_path, "-o", tmp_path / "scores.csv")
    assert (status, out) == (1, "")
    assert err.startswith(f"earmark: {text}")
    assert err.count("\n") == 1


def test_a_collection_that_is_missing(run_earmark: Run, tmp_path: Path, tiny_bundle: Path) -> None:
    status, out, err = run_earmark("predict", tiny_bundle, tmp_path / "none", "-o", tmp_path / "scores.csv")
    assert (status, out) == (1, "")
    assert err.startswith(f"earmark: {tmp_path / 'none'}: no such folder; expected the folder of a collection, ")


def test_a_layout_that_is_none(run_earmark: Run, contest: Path, tiny_bundle: Path) -> None:
    status, _, err = run_earmark("predict", tiny_bundle, contest, "-o", contest / "a.csv", "--layout", "esc5")
    assert status == 1
    assert "layout 'esc5' is not known" in err
    assert "did you mean 'esc50'?" in err


def test_no_target(run_earmark: Run, contest: Path, tiny_bundle: Path) -> None:
    status, _, err = run_earmark("predict", tiny_bundle, contest)
    assert status == 2
    assert "Missing option '--output' / '-o'" in err
