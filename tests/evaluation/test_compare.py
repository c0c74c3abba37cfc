"""`compare`: the order, the intervals, what differs, and runs that cannot be compared."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.errors import RunError
from earmark.evaluation.bootstrap import interval, paired_difference
from earmark.evaluation.candidates import read_candidates
from earmark.evaluation.compare import as_csv, as_figures, as_table, compare
from earmark.labels import Vocabulary
from earmark.metrics import lwlrap
from earmark.predictions import Predictions

N_CLIPS = 30
LABELS = Vocabulary(["Bark", "Meow", "Purr"])
NAMES = tuple(f"{i}.wav" for i in range(N_CLIPS))
TRUTH = np.random.default_rng(1).integers(3, size=N_CLIPS)
TARGETS = np.eye(3)[TRUTH]
GROUPS = ["" if i >= 24 else f"source {i // 2}" for i in range(N_CLIPS)]

MakeRun = Callable[..., Path]


def scores(strength: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((N_CLIPS, 3))
    table: np.ndarray = (strength * TARGETS + noise) / (1 + strength)
    return table


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write what compare reads of a run: `make_run("a", scores(0.5), width=0.25)`."""

    def make(
        name: str,
        table: np.ndarray,
        *,
        width: float = 1.0,
        truth: np.ndarray = TRUTH,
        fnames: tuple[str, ...] = NAMES,
        groups: list[str] = GROUPS,
        with_tta: np.ndarray | None = None,
        n_folds: int = 3,
        more: str = "",
    ) -> Path:
        run = tmp_path / name
        run.mkdir()
        Predictions(fnames, LABELS, table).write(run / "predictions.csv")
        rows = [f"{n},{LABELS.names[t]},{g}\n" for n, t, g in zip(fnames, truth, groups, strict=True)]
        (run / "clips.csv").write_text("fname,labels,group\n" + "".join(rows) + "learned.wav,Bark,\n")
        folds = "".join(f"{fname},{i % n_folds}\n" for i, fname in enumerate(fnames))
        (run / "folds.csv").write_text(f"fname,fold\n{folds}learned.wav,-1\n")
        (run / "recipe.toml").write_text(
            f'name = "r"\ndescription = "{name}"\n[model]\nwidth = {width}\n[tta]\nn = 4\n{more}'
        )
        (run / "metrics.json").write_text(json.dumps({"folds": {"minutes": [1.25, 1.5]}}))
        if with_tta is not None:
            Predictions(fnames, LABELS, with_tta).write(run / "predictions-tta.csv")
            (run / "predictions-tta.toml").write_text("n = 8\nweight = 0.4\n")
        return run

    return make


def test_the_best_stands_first_and_all_are_judged_on_the_same_draws(make_run: MakeRun) -> None:
    worse, better = make_run("worse", scores(0.2)), make_run("better", scores(1.0), width=0.5)
    found = compare([worse, better])
    assert [row.candidate.run for row in found.rows] == [better, worse]
    assert found.rows[0].difference is None
    tables = [Predictions.read(run / "predictions.csv").scores for run in (worse, better)]
    groups = [group or None for group in GROUPS]
    assert found.rows[1].lwlrap == interval(lwlrap, TARGETS, tables[0], groups=groups)
    assert found.rows[1].difference == paired_difference(lwlrap, TARGETS, *tables, groups=groups)
    assert (found.n_clips, found.n_drawn, found.by_source) == (30, 12 + 6, True)
    assert found.differing == ("model.width",)


def test_clips_are_drawn_where_no_source_is_known(make_run: MakeRun) -> None:
    found = compare([make_run("a", scores(0.2), groups=[""] * N_CLIPS)])
    assert (found.n_drawn, found.by_source) == (30, False)
    assert "1000 draws of 30 clips" in as_table(found)


def test_rows_and_columns_in_another_order_are_the_same_run(make_run: MakeRun, tmp_path: Path) -> None:
    first, second = make_run("a", scores(0.2)), make_run("b", scores(0.2))
    table = Predictions.read(second / "predictions.csv")
    table.align(NAMES[::-1], Vocabulary(["Purr", "Bark", "Meow"])).write(second / "predictions.csv")
    found = compare([first, second])
    difference = found.rows[1].difference
    assert difference is not None
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)
    assert found.rows[0].candidate.run == first
    assert found.differing == ()
    assert as_table(found).endswith("their recipes are the same")


def test_with_and_without_tta_are_two_candidates(make_run: MakeRun) -> None:
    run = make_run("a", scores(0.2), with_tta=scores(0.9))
    found = compare([run])
    assert [row.candidate.name for row in found.rows] == [f"{run} + TTA", str(run)]
    assert found.differing == ("tta.n", "tta.weight")
    assert [row.candidate.settings.get("tta.n") for row in found.rows] == [8, 0]


def test_table(make_run: MakeRun) -> None:
    found = compare([make_run("a", scores(0.2)), make_run("b", scores(1.0), width=0.5, more="[extra]\nx = [1, 2]\n")])
    lines = as_table(found).splitlines()
    assert " ".join(lines[0].split()) == "run lwlrap 95% interval to the best, 95% interval minutes"
    assert lines[2].split()[0] == "1"
    assert lines[2].split()[-2:] == ["best", "2.8"]
    assert "out of fold on 30 clips; intervals from 1000 draws of 18 sources with replacement" in lines
    assert [line.split() for line in lines[-2:]] == [["model.width", "0.5", "1.0"], ["extra.x", "[1,", "2]"]]
    assert "description" not in as_table(found)


def test_csv_and_json_say_the_same(make_run: MakeRun) -> None:
    found = compare([make_run("a", scores(0.2)), make_run("b", scores(1.0), width=0.5)])
    figures = json.loads(json.dumps(as_figures(found), allow_nan=False))
    assert figures["drawn"] == "sources"
    assert figures["same_folds"]
    for row, kept in zip(csv.DictReader(io.StringIO(as_csv(found))), figures["runs"], strict=True):
        assert row["run"] == kept["run"]
        assert float(row["lwlrap"]) == kept["lwlrap"]
        assert (float(row["difference"]) if row["difference"] else None) == kept["difference"]
        assert float(row["model.width"]) == kept["settings"]["model.width"]
        assert float(row["minutes"]) == 2.75


def test_other_folds_are_told(make_run: MakeRun) -> None:
    found = compare([make_run("a", scores(0.2)), make_run("b", scores(1.0), n_folds=5)])
    assert not found.same_folds
    assert "they do not divide the clips into the same folds" in as_table(found)


def test_folds_of_other_numbers_are_the_same(make_run: MakeRun) -> None:
    first, second = make_run("a", scores(0.2)), make_run("b", scores(1.0))
    text = (second / "folds.csv").read_text()
    swapped = text.replace(",0\n", ",x\n").replace(",1\n", ",0\n").replace(",x\n", ",1\n")
    (second / "folds.csv").write_text(swapped)
    assert read_candidates([first, second]).same_folds


def message(runs: list[Path]) -> str:
    with pytest.raises(RunError) as caught:
        compare(runs)
    return str(caught.value)


def test_runs_over_other_clips_are_refused(make_run: MakeRun) -> None:
    first = make_run("a", scores(0.2))
    second = make_run("b", scores(0.2)[:29], truth=TRUTH[:29], fnames=NAMES[:29], groups=GROUPS[:29])
    assert message([first, second]) == (
        f"{second} was judged on other clips than {first}: it has 29 of them, {first} has 30, 29 are the same; "
        "'29.wav' is missing; compare runs of one collection, with the same selection of clips"
    )
    assert "'29.wav' is not among the first's" in message([second, first])


def test_runs_with_other_truth_are_refused(make_run: MakeRun) -> None:
    other = TRUTH.copy()
    other[7] = (TRUTH[7] + 1) % 3
    first, second = make_run("a", scores(0.2)), make_run("b", scores(0.2), truth=other)
    own, others = LABELS.names[TRUTH[7]], LABELS.names[other[7]]
    assert message([first, second]) == (
        f"{second} and {first} label 1 of their clips differently: '7.wav' is {others} and {own}; "
        "compare runs with the same corrections"
    )


def test_a_run_that_is_none(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("a", scores(0.2))
    assert message([run, tmp_path / "none"]).startswith(f"{tmp_path / 'none'}: no such folder; expected a run's folder")
    assert message([run, run / ".." / "a"]) == f"{run / '..' / 'a'} is named twice; name each run once"
    (run / "clips.csv").unlink()
    assert "no clips.csv, which says what its clips are labelled with" in message([run])
    (run / "predictions.csv").unlink()
    assert "no predictions.csv; expected a run's folder, with all folds done" in message([run])


def test_a_recipe_that_is_damaged(make_run: MakeRun) -> None:
    run = make_run("a", scores(0.2))
    (run / "recipe.toml").write_text("width =")
    assert "recipe.toml: not valid TOML" in message([run])


def test_command(make_run: MakeRun, run_earmark: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    runs = [make_run("a", scores(0.2)), make_run("b", scores(1.0), width=0.5)]
    status, out, err = run_earmark("compare", *runs)
    assert (status, err) == (0, "")
    assert out.rstrip("\n") == as_table(compare(runs))
    target = tmp_path / "comparison.csv"
    assert run_earmark("compare", *runs, "--format", "csv", "-o", target) == (0, "", "")
    assert target.read_text() == as_csv(compare(runs))
    assert json.loads(run_earmark("compare", *runs, "--format", "json")[1])["n_clips"] == 30
    status, out, err = run_earmark("compare", tmp_path / "none")
    assert (status, out) == (2, "")
    assert err.startswith(f"earmark: {tmp_path / 'none'}: no such folder")
