"""`earmark evaluate`: figures to read, figures for programs, and tables that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

PREDICTIONS = "fname,Bark,Meow,Purr\na.wav,0.9,0.2,0.1\nb.wav,0.6,0.3,0.8\nc.wav,0.1,0.2,0.7\n"
LABELS = "fname,labels\na.wav,Bark\nb.wav,Bark\nc.wav,Meow\n"


@pytest.fixture
def evaluate(run_earmark: Run, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    def run(predictions: str, labels: str, *arguments: str) -> tuple[int, str, str]:
        (tmp_path / "scores.csv").write_text(predictions, encoding="utf-8")
        (tmp_path / "truth.csv").write_text(labels, encoding="utf-8")
        return run_earmark("evaluate", tmp_path / "scores.csv", tmp_path / "truth.csv", *arguments)

    return run


def test_json_by_hand(evaluate: Run) -> None:
    status, out, err = evaluate(PREDICTIONS, LABELS, "--format", "json")
    assert (status, err) == (0, "")
    figures = json.loads(out)
    # places: a.wav 1 of 1; b.wav 2nd, 1/2; c.wav 2nd, 1/2
    assert figures["lwlrap"] == pytest.approx(2 / 3)
    assert figures["lwlrap_per_label"] == {"Bark": pytest.approx(0.75), "Meow": pytest.approx(0.5), "Purr": None}
    # Bark stands first and second of three; Meow shares the last place
    assert figures["map"] == pytest.approx((1 + 1 / 3) / 2)
    assert figures["roc_auc"] == pytest.approx((1 + 0.25) / 2)
    assert figures["f1"] == pytest.approx((1 + 0) / 2)
    assert figures["accuracy"] == pytest.approx(1 / 3)
    assert figures["n_clips"] == 3


def test_json_of_perfect_scores(evaluate: Run) -> None:
    perfect = "fname,Bark,Meow\na.wav,1,0\nb.wav,0,1\n"
    _, out, _ = evaluate(perfect, "fname,labels\nb.wav,Meow\na.wav,Bark\n", "--format", "json")
    figures = json.loads(out)
    assert {name: figures[name] for name in ("lwlrap", "map", "roc_auc", "f1", "accuracy")} == dict.fromkeys(
        ("lwlrap", "map", "roc_auc", "f1", "accuracy"), 1.0
    )


def test_table_has_the_worst_labels_first(evaluate: Run) -> None:
    status, out, err = evaluate(PREDICTIONS, LABELS)
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["lwlrap", "0.6667"] in lines
    assert ["label", "lwlrap"] in lines
    assert lines[-3:] == [["Meow", "0.5000"], ["Bark", "0.7500"], ["Purr"]]


def test_logits_have_no_f1(evaluate: Run) -> None:
    _, out, _ = evaluate(PREDICTIONS.replace("0.9", "4.5"), LABELS, "--format", "json")
    assert json.loads(out)["f1"] is None


@pytest.mark.parametrize(
    ("predictions", "labels", "text"),
    [
        (
            PREDICTIONS.replace("fname", "clip"),
            LABELS,
            "scores.csv line 1: the first column is 'clip'; expected 'fname'",
        ),
        (PREDICTIONS.replace("0.8", "high"), LABELS, "scores.csv line 3, column 'Purr': the score is 'high'; expected"),
        (PREDICTIONS.replace("0.8", "nan"), LABELS, "scores.csv line 3, column 'Purr': the score is 'nan'; expected"),
        (PREDICTIONS.replace(",0.8", ""), LABELS, "scores.csv line 3: 3 cells; expected 4 as in the header"),
        ("", LABELS, "scores.csv is empty; expected a header and a row for each clip"),
        (
            PREDICTIONS,
            LABELS.replace("labels", "tags"),
            "truth.csv line 1: columns 'fname', 'tags'; expected fname and",
        ),
        (
            PREDICTIONS,
            LABELS.replace("Meow", "Moew"),
            "truth.csv line 4: label 'Moew' is not in the vocabulary; did you",
        ),
        (PREDICTIONS, LABELS + "d.wav,Bark\n", "predictions lack 1 of 4 clips asked for: 'd.wav'"),
        (PREDICTIONS + "d.wav,0,0,0\n", LABELS, "predictions have 1 of 4 clips that were not asked for: 'd.wav'"),
        (LABELS, PREDICTIONS, "scores.csv line 1: column 'labels'; expected a column for each label"),
    ],
)
def test_tables_that_do_not_fit_end_in_one_line(evaluate: Run, predictions: str, labels: str, text: str) -> None:
    status, out, err = evaluate(predictions, labels)
    assert (status, out) == (1, "")
    assert err.startswith("earmark: ")
    assert text in err
    assert err.count("\n") == 1


def test_a_table_that_is_missing(run_earmark: Run, tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    status, out, err = run_earmark("evaluate", path, path)
    assert (status, out) == (1, "")
    assert err == f"earmark: {path} cannot be read (No such file or directory); expected a CSV file\n"


def test_half_a_call(run_earmark: Run, tmp_path: Path) -> None:
    status, _, err = run_earmark("evaluate", tmp_path / "scores.csv")
    assert status == 2
    assert "Missing argument 'LABELS'" in err


GROUPED = "fname,labels,source\na.wav,Bark,x\nb.wav,Bark,x\nc.wav,Meow,\n"


def test_intervals_stand_beside_the_figures(evaluate: Run) -> None:
    status, out, err = evaluate(PREDICTIONS, LABELS, "--interval")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["lwlrap", "0.6667", "0.5000", "1.0000"] in lines  # all draws of a.wav, or none
    assert ["Meow", "0.5000", "0.5000", "0.5000"] in lines
    assert ["Purr"] in lines
    assert out.endswith("the middle 95% of 1000 draws of 3 clips with replacement\n")


def test_intervals_of_sources_as_json(evaluate: Run) -> None:
    status, out, _ = evaluate(PREDICTIONS, GROUPED, "--interval", "--groups", "source", "--format", "json")
    found = json.loads(out)["intervals"]
    assert status == 0
    assert (found["drawn"], found["n_drawn"], found["level"]) == ("sources", 2, 0.95)
    # both times the two of x, one of each, or both times c.wav
    assert found["lwlrap"] == pytest.approx([1 / 2, 3 / 4])
    assert found["lwlrap_per_label"] == {"Bark": [0.75, 0.75], "Meow": [0.5, 0.5], "Purr": None}
    assert found["accuracy"] == pytest.approx([0, 1 / 2])


def test_a_group_column_that_is_not_there(evaluate: Run) -> None:
    status, _, err = evaluate(PREDICTIONS, GROUPED, "--interval", "--groups", "sorce")
    assert status == 1
    assert "columns 'fname', 'labels', 'source'; expected 'sorce' among them; did you mean 'source'?" in err


def test_groups_without_an_interval(evaluate: Run) -> None:
    status, _, err = evaluate(PREDICTIONS, GROUPED, "--groups", "source")
    assert status == 2
    assert "add --interval" in err
