from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from earmark.bundle import Bundle
from earmark.cli.demo import demo
from earmark.errors import RunError
from earmark.predictions import Predictions


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A demo of one epoch on few clips."""
    output = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARMARK_CACHE", str(output.parent / "cache"))
        for name, n_clips in {"N_CURATED": 48, "N_NOISY": 6, "N_TEST": 12, "N_FOLDS": 2}.items():
            patch.setattr(f"earmark.cli.demo.{name}", n_clips)
        settings = ["fit.epochs=1", "model.width=0.125", "fit.precision=32-true"]
        arguments = [part for setting in settings for part in ("--set", setting)]
        return output, CliRunner().invoke(demo, ["-o", str(output), *arguments], catch_exceptions=False)


def test_demo_prints_a_table_of_every_model_beside_chance(shown: tuple[Path, Result]) -> None:
    _, result = shown
    assert result.exit_code == 0
    rows = {line.split()[0] for line in result.stdout.splitlines() if line.strip()}
    assert {"chance", "grey", "colour", "combination"} <= rows


def test_demo_shows_each_stage(shown: tuple[Path, Result]) -> None:
    _, result = shown
    for stage in ("1/5", "2/5", "3/5", "4/5", "5/5"):
        assert stage in result.stderr


def test_demo_writes_submission_pictures_and_bundle(shown: tuple[Path, Result]) -> None:
    output, _ = shown
    with (output / "collection" / "sample_submission.csv").open() as file:
        asked = list(csv.reader(file))
    submission = Predictions.read(output / "submission.csv")
    assert list(submission.fnames) == [row[0] for row in asked[1:]]
    assert list(submission.labels) == asked[0][1:]
    for name in ("grey.png", "colour.png"):
        assert (output / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(Bundle(output / "model.onnx").spec.labels) >= 16


def test_demo_does_not_overwrite_what_is_no_demo(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="is not empty and holds no earlier demo; name another folder with -o"):
        CliRunner().invoke(demo, ["-o", str(tmp_path)], catch_exceptions=False)
