"""`earmark predict`: a submission in the order of `sample_submission.csv`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from earmark.predictions import Predictions
from tests.conftest import tiny_model

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
    assert "nowhere to write to; name a table with --output / -o" in err


def test_views_change_scores_and_the_seed_changes_views(run_earmark: Run, contest: Path, tiny_bundle: Path) -> None:
    def scores(*options: object) -> np.ndarray:
        target = contest / "submission.csv"
        assert run_earmark("predict", tiny_bundle, contest, "-o", target, *options)[0] == 0
        return Predictions.read(target).scores

    plain, augmented, again = scores(), scores("--tta", 3), scores("--tta", 3)
    np.testing.assert_array_equal(augmented, again)
    assert (plain != augmented).any()
    assert (augmented != scores("--tta", 3, "--seed", 1)).any()
    np.testing.assert_allclose(scores("--tta", 3, "--tta-weight", 0), plain, atol=1e-6)
    np.testing.assert_allclose(scores("--tta", 3, "--tta-all-windows"), plain, atol=0.1)


def test_a_weight_without_views(run_earmark: Run, contest: Path, tiny_bundle: Path) -> None:
    status, _, err = run_earmark("predict", tiny_bundle, contest, "-o", contest / "a.csv", "--tta-weight", 0.3)
    assert status == 2
    assert "go with --tta N" in err


@pytest.fixture
def run_folder(tmp_path: Path, make_tiny_bundle: Callable[..., Path]) -> Path:
    """A run of two folds: the first one's network is right, the second one's takes low for high."""
    run = tmp_path / "run"
    (run / "fold-0").mkdir(parents=True)
    (run / "fold-1").mkdir()
    make_tiny_bundle(run / "fold-0" / "model.onnx")
    make_tiny_bundle(run / "fold-1" / "model.onnx", model=upside_down())
    make_tiny_bundle(run / "model.onnx")
    (run / "recipe.toml").write_text('name = "tiny"\n\n[tta]\nn = 2\ngain_db = 1.0\n')
    (run / "folds.csv").write_text("fname,fold\na.wav,1\nb.wav,0\nlearned.wav,-1\n")
    return run


def upside_down() -> onnx.ModelProto:
    """The tiny network with its bands in reverse."""
    model = tiny_model()
    weights = numpy_helper.to_array(model.graph.initializer[0])[::-1]
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights.copy(), "weights"))
    return model


@pytest.fixture
def learned(write_tone: WriteTone, run_folder: Path) -> Path:
    """What the run was learned from, and a clip more."""
    folder = write_tone("own/a.wav", 300.0).parent
    for name in ("b.wav", "learned.wav", "more.wav"):
        write_tone(f"own/{name}", 300.0)
    rows = "".join(f"{name}.wav,low\n" for name in ("more", "b", "a", "learned"))
    (folder / "clips.csv").write_text(f"path,labels\n{rows}")
    (folder / "vocabulary.csv").write_text("label\nlow\nmid\nhigh\n")
    return folder


def test_each_clip_is_scored_by_the_fold_that_held_it_out(run_earmark: Run, run_folder: Path, learned: Path) -> None:
    target = run_folder / "plain.csv"
    options = ("--vocabulary", learned / "vocabulary.csv", "--out-of-fold")
    assert run_earmark("predict", run_folder, learned, "-o", target, "--tta", 0, *options)[0] == 0
    table = Predictions.read(target)
    assert table.fnames == ("a.wav", "b.wav")
    assert [table.labels.names[i] for i in table.scores.argmax(axis=1)] == ["high", "low"]


def test_out_of_fold_with_tta_stands_beside_the_plain_one(run_earmark: Run, run_folder: Path, learned: Path) -> None:
    options = ("--vocabulary", learned / "vocabulary.csv", "--out-of-fold")
    assert run_earmark("predict", run_folder, learned, *options, "--seed", 5)[0] == 0
    said = tomllib.loads((run_folder / "predictions-tta.toml").read_text())
    assert said == {"n": 2, "weight": 0.5, "windows": "random", "gain_db": 1.0, "shift_s": 0.1, "seed": 5}
    of_files = Predictions.read(run_folder / "predictions-tta.csv")
    assert of_files.fnames == ("a.wav", "b.wav")
    assert (
        run_earmark("data", "pack", learned, "-o", learned.parent / "store", "--sample-rate", 16000, *options[:2])[0]
        == 0
    )
    assert run_earmark("predict", run_folder, learned.parent / "store", "--out-of-fold", "--seed", 5)[0] == 0
    of_store = Predictions.read(run_folder / "predictions-tta.csv")
    np.testing.assert_allclose(of_store.scores, of_files.scores, atol=0.02)  # a store rounds


def test_a_clip_of_the_run_that_is_missing(run_earmark: Run, run_folder: Path, learned: Path) -> None:
    (learned / "clips.csv").write_text("path,labels\na.wav,low\n")
    status, _, err = run_earmark("predict", run_folder, learned, "--out-of-fold")
    assert status == 1
    assert "lacks 1 of the 2 clips that" in err
    assert "the first is 'b.wav'; give the collection that the run was learned from" in err


def test_out_of_fold_of_a_bundle(run_earmark: Run, tiny_bundle: Path, learned: Path) -> None:
    status, _, err = run_earmark("predict", tiny_bundle, learned, "--out-of-fold", "--tta", 2)
    assert status == 2
    assert "no folds.csv; --out-of-fold goes with the folder of a run" in err


def test_folds_averaged_by_the_geometric_mean(run_earmark: Run, contest: Path, run_folder: Path) -> None:
    parts = []
    for model in ("fold-0/model.onnx", "fold-1/model.onnx"):
        assert run_earmark("predict", run_folder / model, contest, "-o", contest / "part.csv")[0] == 0
        parts.append(Predictions.read(contest / "part.csv").scores)
    assert run_earmark("predict", run_folder, contest, "-o", contest / "mean.csv", "--mean", "geometric")[0] == 0
    np.testing.assert_allclose(Predictions.read(contest / "mean.csv").scores, np.sqrt(parts[0] * parts[1]), atol=1e-6)


def test_a_geometric_mean_of_one(run_earmark: Run, contest: Path, tiny_bundle: Path) -> None:
    status, _, err = run_earmark("predict", tiny_bundle, contest, "-o", contest / "a.csv", "--mean", "geometric")
    assert status == 2
    assert "networks of folds (fold-0/model.onnx …): 0; a geometric mean takes two or more" in err
