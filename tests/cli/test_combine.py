"""`earmark combine`: runs become one model, or one small network whose teachers never saw what judges it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.bundle import Bundle
from earmark.cli.distilling import write_teachers
from earmark.data.encoding import Encoding
from earmark.data.folds import read_folds
from earmark.data.layouts import read_collection
from earmark.data.pack import pack
from earmark.data.store import Store, open_store
from earmark.metrics import lwlrap
from earmark.predictions import Predictions, read_labels
from earmark.tagging.tagger import load
from earmark.training.crossval import cross_validate
from earmark.training.distillation import TEACHER
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.run import open_run

Earmark = Callable[..., tuple[int, str, str]]
RATE = 8000
LABELS = ("high", "low", "noise")
TINY = (
    "picture.log_mel.sample_rate=8000",
    "picture.log_mel.fmax=4000.0",
    "picture.log_mel.n_fft=512",
    "picture.log_mel.hop_length=200",
    "picture.log_mel.n_mels=32",
    "window_s=0.8",
    "hop_s=0.4",
    "model.width=0.125",
    "fit.batch_size=8",
    "fit.epochs=2",
    "fit.precision=32-true",
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four clips of three labels, in pairs of one source."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(2)
    rows = ["path,labels,group"]
    for i in range(24):
        label = LABELS[i // 2 % 3]
        time_s = np.arange(int(RATE * rng.uniform(0.5, 1.2))) / RATE
        tone = np.sin(2 * np.pi * {"high": 2500, "low": 300, "noise": 0}[label] * time_s)
        soundfile.write(folder / f"{i:02d}.wav", 0.4 * tone + 0.1 * rng.standard_normal(len(time_s)), RATE)
        rows.append(f"{i:02d}.wav,{label},source{i // 2}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


def packed(collection: Path, target: Path) -> Store:
    pack(read_collection(collection), target, Encoding.waveform(RATE), progress=False)
    return open_store(target)


def tiny(*settings: str) -> Recipe:
    return load_recipe("fast", [*TINY, *settings])


@pytest.fixture(scope="module")
def runs(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two finished runs over three folds, with different front ends."""
    folder = tmp_path_factory.mktemp("runs")
    store = packed(collection, folder / "store")
    for name, settings in {"one": (), "two": ("picture.log_mel.n_mels=24", "window_s=0.6", "fit.epochs=8")}.items():
        cross_validate(open_run(folder / name, tiny(*settings), store, 3, resume=False), progress=False)
    return [folder / "one", folder / "two"]


class TestCombination:
    def test_a_model_and_what_it_rests_on(self, run_earmark: Earmark, runs: list[Path], tmp_path: Path) -> None:
        status, out, err = run_earmark("combine", *runs, "-o", tmp_path / "all.onnx")
        assert status == 0
        beside = tmp_path / "all-run"
        table = Predictions.read(beside / "predictions.csv")
        names, targets = read_labels(beside / "clips.csv", table.labels)
        assert names == table.fnames
        figures = json.loads((beside / "metrics.json").read_text())
        assert figures["nested"]["lwlrap"]["value"] == figures["lwlrap"] == lwlrap(targets, table.scores)
        assert Bundle(tmp_path / "all.onnx").spec.metrics == {"lwlrap": figures["lwlrap"]}
        np.testing.assert_array_equal(read_folds(beside / "folds.csv", names), read_folds(runs[0] / "folds.csv", names))
        line = next(line for line in out.splitlines() if line.startswith("arithmetic"))
        assert f"{figures['lwlrap']:.4f}" in line
        assert out.endswith("nested over 3 folds of 24 clips; the model is: arithmetic\n")
        assert f"{tmp_path / 'all.onnx'}: " in err

    def test_it_scores_as_its_members_do_together(
        self, run_earmark: Earmark, runs: list[Path], collection: Path, tmp_path: Path
    ) -> None:
        assert run_earmark("combine", *runs, "-o", tmp_path / "all.onnx", "--kind", "ridge")[0] == 0
        assert run_earmark("predict", tmp_path / "all.onnx", collection, "-o", tmp_path / "scores.csv")[0] == 0
        found = Predictions.read(tmp_path / "scores.csv")
        bundle = Bundle(tmp_path / "all.onnx")
        assert bundle.spec.combination is not None
        assert bundle.spec.combination.members == ("one", "two")
        waveform, _ = soundfile.read(collection / "05.wav", dtype="float32")
        own = [load(run).scores(waveform, RATE).astype(float) for run in runs]
        logits = np.concatenate([np.log(scores / (1 - scores)) for scores in own])
        layer = bundle.spec.combination.layers[0]
        expected = 1 / (1 + np.exp(-(logits @ np.array(layer.weights) + layer.bias)))
        np.testing.assert_allclose(found.scores[found.fnames.index("05.wav")], expected, atol=1e-4)

    def test_it_can_be_tagged_with_calibrated_and_combined_once_only(
        self, run_earmark: Earmark, runs: list[Path], collection: Path, tmp_path: Path
    ) -> None:
        model = tmp_path / "all.onnx"
        assert run_earmark("combine", *runs, "-o", model, "--kind", "auto")[0] == 0
        assert run_earmark("tag", collection / "00.wav", "-m", model, "--threshold", "auto")[0] == 2
        status, out, _ = run_earmark("calibrate", model)
        assert status == 0
        assert "learned on other folds, of 3; 24 clips" in out
        assert (tmp_path / "all-run" / "reliability.png").is_file()
        status, out, _ = run_earmark("tag", collection / "00.wav", "-m", model, "--threshold", "auto")
        assert status == 0
        assert str(collection / "00.wav") in out
        status, _, err = run_earmark(
            "combine", runs[0], tmp_path / "all-run", "-o", tmp_path / "again.onnx", "--kind", "mlp"
        )
        assert status == 2
        assert "holds no model.onnx" in err

    def test_a_calibrated_run_is_no_member(self, run_earmark: Earmark, runs: list[Path], tmp_path: Path) -> None:
        copies = [Path(shutil.copytree(run, tmp_path / run.name)) for run in runs]
        for copy in copies:
            assert run_earmark("calibrate", copy)[0] == 0
        status, _, err = run_earmark("combine", *copies, "-o", tmp_path / "all.onnx", "--kind", "mlp")
        assert status == 2
        assert "is calibrated already, and out-of-fold scores are of the plain network" in err
        assert not (tmp_path / "all.onnx").exists()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("-o", "all.onnx", "--distil", "fast"), "--distil and --data go together"),
            (("-o", "all.onnx", "--set", "fit.epochs=1"), "--set goes with --distil"),
            (("-o", "all.onnx", "--resume"), "--resume goes with --distil"),
            (("-o", "all"), "all: a combination is one file; expected a name that ends in .onnx"),
        ],
    )
    def test_calls_that_make_no_sense(
        self, run_earmark: Earmark, runs: list[Path], arguments: tuple[str, ...], said: str
    ) -> None:
        status, _, err = run_earmark("combine", *runs, *arguments)
        assert status == 2
        assert said in " ".join(err.split())


class TestDistillation:
    def test_one_small_network(self, run_earmark: Earmark, runs: list[Path], collection: Path, tmp_path: Path) -> None:
        settings = [part for setting in (*TINY, "fit.epochs=1") for part in ("--set", setting)]
        model = tmp_path / "small.onnx"
        distil = ("combine", *runs, "-o", model, "--distil", "fast", *settings, "--data", collection)
        status, out, _ = run_earmark(*distil)
        assert status == 0
        assert "out of fold" in out
        spec = Bundle(model).spec
        assert spec.combination is None
        assert spec.recipe["distilled_from"] == ["one", "two"]
        assert spec.metrics["lwlrap"] == json.loads((tmp_path / "small-run" / "metrics.json").read_text())["lwlrap"]
        assert run_earmark("tag", collection / "00.wav", "-m", model)[0] == 0
        assert run_earmark("calibrate", model)[0] == 0
        assert run_earmark(*distil)[0] == 2
        assert run_earmark(*distil, "--resume")[0] == 0

    def test_a_teacher_never_sees_the_students_validation_fold(self, collection: Path, tmp_path: Path) -> None:
        """Other sounds and other labels in fold 1 leave what fold 1's student is taught as it is, to the bit."""
        taught = []
        for name in ("as it is", "changed"):
            folder = tmp_path / name
            shutil.copytree(collection, folder / "sounds")
            if name == "changed":
                store = packed(collection, folder / "as it was")
                folds = open_run(folder / "folds", tiny(), store, 3, resume=False).folds
                self._change(folder / "sounds", [store.manifest.names[i] for i in np.flatnonzero(folds == 1)])
            taught.append(self._taught(folder, tmp_path / "as it is" / "teacher" / "folds.csv"))
        before, after = taught
        assert before[1].fnames == after[1].fnames
        np.testing.assert_array_equal(before[1].scores, after[1].scores)
        assert not np.array_equal(before[0].scores, after[0].align(before[0].fnames, before[0].labels).scores)

    @staticmethod
    def _change(sounds: Path, names: list[str]) -> None:
        rows = (sounds / "clips.csv").read_text().splitlines()
        for name in names:
            samples, _ = soundfile.read(sounds / name)
            soundfile.write(sounds / name, 0.2 * samples[::-1] ** 2, RATE)
        swapped = {"high": "low", "low": "noise", "noise": "high"}
        cells = [row.split(",") for row in rows[1:]]
        changed = [(p, swapped[label] if p in names else label, group) for p, label, group in cells]
        (sounds / "clips.csv").write_text("\n".join([rows[0], *map(",".join, changed)]) + "\n")

    @staticmethod
    def _taught(folder: Path, folds: Path) -> list[Predictions]:
        """Train a teacher on the sounds of a folder, and give what it says beside each fold of a student."""
        store = packed(folder / "sounds", folder / "store")
        how = folds if folds.exists() else 3
        cross_validate(open_run(folder / "teacher", tiny(), store, how, resume=False), progress=False)
        student = open_run(folder / "student", tiny(), store, folder / "teacher" / "folds.csv", resume=False)
        write_teachers(student, [folder / "teacher"], lambda _: store, progress=False)
        tables = [Predictions.read(student.fold_folder(fold) / TEACHER) for fold in range(3)]
        for fold, table in enumerate(tables):
            held_out = {store.manifest.names[i] for i in np.flatnonzero(student.folds == fold)}
            assert not held_out & set(table.fnames)
        return tables

    def test_a_fold_is_taught_by_the_networks_of_the_same_fold_alone(
        self, runs: list[Path], collection: Path, tmp_path: Path
    ) -> None:
        copies = [Path(shutil.copytree(run, tmp_path / run.name)) for run in runs]
        store = packed(collection, tmp_path / "store")
        student = open_run(tmp_path / "student", tiny(), store, copies[0] / "folds.csv", resume=False)
        only = replace(student, folds=np.where(student.folds == 0, 0, -1))  # a run with the first fold alone
        for copy in copies:
            for path in [*copy.glob("fold-[12]/*"), copy / "predictions.csv"]:
                if path.is_file():
                    path.unlink()
        write_teachers(only, copies, lambda _: store, progress=False)
        table = Predictions.read(tmp_path / "student" / "fold-0" / TEACHER)
        index = store.manifest.names.index(table.fnames[0])
        own = [load(copy / "fold-0" / "model.onnx").scores(store.waveform(index), RATE) for copy in copies]
        np.testing.assert_allclose(table.scores[0], np.mean(own, axis=0), rtol=1e-5)

    def test_an_unfinished_teacher(
        self, run_earmark: Earmark, runs: list[Path], collection: Path, tmp_path: Path
    ) -> None:
        copy = Path(shutil.copytree(runs[0], tmp_path / "copy"))
        (copy / "fold-1" / "model.onnx").unlink()
        arguments = ("-o", tmp_path / "small.onnx", "--distil", "fast", "--data", collection)
        status, _, err = run_earmark("combine", copy, *arguments)
        assert status == 2
        assert f"{copy}: holds no fold-1/model.onnx, which a student learns from" in err
        assert not (tmp_path / "small-run").exists()
