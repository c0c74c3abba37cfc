from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from earmark.cli.report import report
from earmark.cli.show import show
from earmark.cli.train import train
from earmark.data.encoding import Encoding
from earmark.data.layouts import read_collection
from earmark.data.pack import pack
from earmark.errors import BundleError, CollectionError, LabelError, RecipeError
from earmark.predictions import Predictions

RATE = 8000
SETTINGS = (
    "picture.log_mel.sample_rate=8000",
    "picture.log_mel.fmax=4000.0",
    "picture.log_mel.n_fft=512",
    "picture.log_mel.n_mels=32",
    "model.width=0.125",
    "window_s=0.8",
    "fit.batch_size=4",
    "fit.epochs=1",
)


@pytest.fixture
def collection(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Twelve tones, low and high, in a folder whose name has a blank and an umlaut."""
    folder = tmp_path / "meine Töne"
    folder.mkdir()
    rows = ["path,labels"]
    for i in range(12):
        label, frequency_hz = (("low", 300), ("high", 2000))[i % 2]
        time_s = np.arange(RATE) / RATE
        soundfile.write(folder / f"ton {i}.wav", 0.5 * np.sin(2 * np.pi * frequency_hz * time_s), RATE)
        rows.append(f"ton {i}.wav,{label}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


def run(*arguments: str | Path) -> Result:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return CliRunner().invoke(train, [*settings, *map(str, arguments)], catch_exceptions=False)


def test_train_prints_the_folds_and_leaves_a_run(collection: Path, tmp_path: Path) -> None:
    result = run(collection, "-o", tmp_path / "run", "--folds", "2")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[2:]] == ["fold", "fold", "out"]
    assert (tmp_path / "run" / "model.onnx").is_file()
    assert "epoch" in result.stderr


def test_with_tta_in_the_recipe_predictions_are_made_twice(collection: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(collection, "-o", folder, "--folds", "2", "--set", "tta.n=3", "--set", "tta.weight=1").exit_code == 0
    plain, augmented = (Predictions.read(folder / f"predictions{name}.csv") for name in ("", "-tta"))
    assert augmented.fnames == plain.fnames
    assert augmented.labels == plain.labels
    assert 0 < np.abs(augmented.scores - plain.scores).max() < 0.5
    assert tomllib.loads((folder / "predictions-tta.toml").read_text())["n"] == 3


def test_one_fold_alone(collection: Path, tmp_path: Path) -> None:
    result = run(collection, "-o", tmp_path / "run", "--folds", "2", "--fold", "1")
    assert result.exit_code == 0
    assert (tmp_path / "run" / "fold-1" / "model.onnx").is_file()
    assert not (tmp_path / "run" / "fold-0").exists()


def test_folds_may_come_from_a_table(collection: Path, tmp_path: Path) -> None:
    rows = [f"ton {i}.wav,{i % 4 // 2}" for i in range(12)]
    (tmp_path / "folds.csv").write_text("\n".join(["fname,fold", *rows]) + "\n")
    result = run(collection, "-o", tmp_path / "run", "--folds", tmp_path / "folds.csv", "--fold", "1")
    assert result.exit_code == 0
    assert (tmp_path / "run" / "folds.csv").read_text().splitlines()[1:] == rows


@pytest.mark.parametrize("number", ["1", "0", "-3"])
def test_a_number_that_makes_no_folds(number: str, collection: Path, tmp_path: Path) -> None:
    result = run(collection, "-o", tmp_path / "run", "--folds", number)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        f"Error: Invalid value for '--folds': {number} leaves nothing to hold out; expected 2 or more, or a table"
    )


def test_every_bad_recording_is_named(collection: Path, tmp_path: Path) -> None:
    (collection / "ton 3.wav").write_bytes(b"")
    (collection / "ton 5.wav").unlink()
    with pytest.raises(CollectionError) as caught:
        run(collection, "-o", tmp_path / "run")
    message = str(caught.value)
    assert "2 of 12 recordings cannot be packed; mend them, exclude them (--exclude FILE), or pack without" in message
    assert "ton 3.wav: is empty (0 bytes)" in message
    assert "ton 5.wav: no such file" in message


def test_misspelt_column_is_named(collection: Path, tmp_path: Path) -> None:
    table = collection / "clips.csv"
    table.write_text(table.read_text().replace("path,labels", "path,lables"))
    with pytest.raises(CollectionError, match=r"no column 'labels'.*did you mean"):
        run(collection, "-o", tmp_path / "run")


def test_label_outside_the_vocabulary_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "train_curated.csv").write_text("fname,labels\na.wav,Brak\n")
    (tmp_path / "sample_submission.csv").write_text("fname,Bark,Meow\nb.wav,0,0\n")
    for folder in ("train_curated", "test"):
        (tmp_path / folder).mkdir()
    with pytest.raises(LabelError, match=r"train_curated.csv line 2: label 'Brak'.*did you mean 'Bark'"):
        run(tmp_path, "-o", tmp_path / "run")


def test_unknown_recipe_is_refused_before_anything_is_decoded(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe 'fest'; did you mean 'fast'"):
        run(collection, "-o", tmp_path / "run", "--recipe", "fest")


WITHOUT_DECODERS = """
import sys
from importlib.machinery import PathFinder

class Poorer(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = {"soundfile", "_soundfile", "_soundfile_data", "soxr", "av", "pooch", "pyarrow", "pandas"}
        return None if name.partition(".")[0] in absent else PathFinder.find_spec(name, path, target)

sys.meta_path = [Poorer if finder is PathFinder else finder for finder in sys.meta_path]
sys.argv = ["earmark", *sys.argv[1:]]
from earmark.cli.main import main
main()
"""


@pytest.fixture
def store(collection: Path, tmp_path: Path) -> Path:
    """The collection, packed and carried elsewhere; the recordings are gone."""
    pack(read_collection(collection), tmp_path / "store", Encoding.waveform(RATE), progress=False)
    shutil.move(tmp_path / "store", tmp_path / "carried")
    shutil.rmtree(collection)
    return tmp_path / "carried"


def test_a_machine_without_decoders_trains_from_a_store(store: Path, tmp_path: Path) -> None:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    arguments = ["train", str(store), "-o", str(tmp_path / "run"), "--folds", "2", *settings]
    said = subprocess.run([sys.executable, "-c", WITHOUT_DECODERS, *arguments], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "out of fold" in said.stdout
    assert (tmp_path / "run" / "model.onnx").is_file()
    check = [sys.executable, "-c", WITHOUT_DECODERS.replace("main()\n", "import soundfile")]
    assert "No module named 'soundfile'" in subprocess.run(check, capture_output=True, text=True).stderr


def test_clips_of_a_store_are_excluded_and_corrected(store: Path, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("ton 2.wav\nton 3.wav\n")
    (tmp_path / "right.csv").write_text("fname,action,labels,why\nton 4.wav,relabel,high,heard it\n")
    options = ("--exclude", tmp_path / "out.txt", "--corrections", tmp_path / "right.csv", "--fold", "0")
    result = run(store, "-o", tmp_path / "run", "--folds", "2", *options)
    assert result.exit_code == 0
    assert "2 clips left out as asked: ton 2.wav, ton 3.wav" in result.stderr
    assert "1 clip relabelled as asked: ton 4.wav" in result.stderr
    names = [line.split(",")[0] for line in (tmp_path / "run" / "folds.csv").read_text().splitlines()[1:]]
    assert len(names) == 10
    assert not {"ton 2.wav", "ton 3.wav"} & set(names)


def test_clips_of_a_collection_are_excluded_even_if_they_cannot_be_read(collection: Path, tmp_path: Path) -> None:
    (collection / "ton 3.wav").write_bytes(b"")
    (tmp_path / "out.txt").write_text("ton 3.wav\n")
    result = run(collection, "-o", tmp_path / "run", "--folds", "2", "--fold", "0", "--exclude", tmp_path / "out.txt")
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "option",
    [("--layout", "table"), ("--vocabulary", "labels.txt"), ("--label-separator", ";"), ("--audio-folder", "a")],
)
def test_how_a_collection_is_read_is_no_question_of_a_store(
    option: tuple[str, str], store: Path, tmp_path: Path
) -> None:
    result = run(store, "-o", tmp_path / "run", *option)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        f"Error: {option[0]} says how a collection is read, and {store} is a packed store, which knows; leave it out, "
        "or give it to 'earmark data pack'"
    )


def test_a_store_of_another_rate_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the store holds 8000 Hz, the recipe wants 16000 Hz"):
        run(store, "-o", tmp_path / "run", "--set", "picture.log_mel.sample_rate=16000")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("epochs", "fold"),
    [(0, "the last layer solved, and nothing else"), (1, "the last layer solved, then 1 epochs, 2 steps")],
)
def test_a_dry_run_says_that_a_layer_is_solved(collection: Path, tmp_path: Path, epochs: int, fold: str) -> None:
    solved = ("--set", f"fit.epochs={epochs}", "--set", "fit.head=solved")
    result = run(collection, "-o", tmp_path / "run", "--folds", "3", "--dry-run", *solved)
    assert any(line.split(maxsplit=2)[1:] == ["fold", fold] for line in result.stdout.splitlines())
    assert ("a step" in result.stdout) == bool(epochs)


def test_a_dry_run_says_what_it_would_come_to_and_does_nothing(collection: Path, tmp_path: Path) -> None:
    result = run(collection, "-o", tmp_path / "run", "--folds", "3", "--dry-run")
    assert result.exit_code == 0
    said = {line[:11].strip(): line[11:].strip() for line in result.stdout.splitlines()}
    assert said["network"].startswith("resnet18, ")
    assert said["network"].endswith("weights, on pictures of 1 x 32 x 10")
    assert said["clips"] == "12 of 2 labels, 0 never held out"
    assert said["folds"] == "3, of 4 clips; each learns from 8"
    assert said["a fold"] == "1 epochs, 2 steps"
    assert said["a step"] == "4 clips, over one process"
    assert said["begins with"] == "random weights"
    assert said["reads"].startswith("log-mels, made once and held in memory")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_names_what_cannot_be(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        run(collection, "-o", tmp_path / "run", "--dry-run", "--set", f"model.init={tmp_path / 'none.pt'}")


def test_weights_to_begin_with_that_are_missing_leave_no_run(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        run(collection, "-o", tmp_path / "run", "--set", f"model.init={tmp_path / 'none.pt'}")
    assert not (tmp_path / "run").exists()


def test_a_run_may_begin_with_another_runs_weights(collection: Path, tmp_path: Path) -> None:
    run(collection, "-o", tmp_path / "first", "--folds", "2", "--fold", "0")
    weights = tmp_path / "first" / "fold-0" / "network.pt"
    result = run(collection, "-o", tmp_path / "next", "--folds", "2", "--fold", "0", "--set", f"model.init={weights}")
    assert "tensors from network.pt" in result.stderr


def with_noisy(collection: Path) -> Path:
    """The same tones, every third of them labelled by a machine."""
    first, *rows = (collection / "clips.csv").read_text().splitlines()
    subsets = [f"{row},{'noisy' if i % 3 == 2 else 'curated'}" for i, row in enumerate(rows)]
    (collection / "clips.csv").write_text("\n".join([f"{first},subset", *subsets]) + "\n")
    return collection


def test_a_strategy_is_said_beforehand(collection: Path, tmp_path: Path) -> None:
    options = ("-o", tmp_path / "run", "--folds", "2", "--dry-run", "--set", "noisy.strategy=relabel")
    result = run(with_noisy(collection), *options)
    assert result.exit_code == 0
    said = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert said["clips"].endswith("8 of 2 labels, 0 never held out")
    assert said["noisy"].endswith(
        "4 clips, never held out, by the strategy 'relabel'; a fold learns 3 other networks before its own"
    )
    assert said["folds"].endswith("2, of 4 clips; each learns from 4")


def test_noisy_clips_are_learned_from_by_a_strategy_and_judged_by_none(collection: Path, tmp_path: Path) -> None:
    result = run(with_noisy(collection), "-o", tmp_path / "run", "--folds", "2", "--set", "noisy.strategy=all")
    assert result.exit_code == 0
    judged = [line.split(",")[0] for line in (tmp_path / "run" / "predictions.csv").read_text().splitlines()[1:]]
    assert judged == [f"ton {i}.wav" for i in range(12) if i % 3 < 2]


def test_a_strategy_without_noisy_clips_is_refused(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="has no noisy clips, which the recipe wants to learn from"):
        run(collection, "-o", tmp_path / "run", "--set", "noisy.strategy=all")


def test_a_finished_run_has_a_page_with_players(collection: Path, tmp_path: Path) -> None:
    run(collection, "-o", tmp_path / "run", "--folds", "2")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 12
    noted = (tmp_path / "run" / "clips.csv").read_text(encoding="utf-8").splitlines()
    assert noted[0] == "fname,labels,group,path"
    assert noted[1].endswith(f",{collection / 'ton 0.wav'}")

    # what the page was made of may be moved
    said = CliRunner().invoke(report, [str(tmp_path / "run"), "-o", str(tmp_path / "again.html")])
    assert said.exit_code == 0
    assert (tmp_path / "again.html").read_text(encoding="utf-8").count("<audio") == 12
    moved = tmp_path / "moved"
    shutil.move(collection, moved)
    said = CliRunner().invoke(report, [str(tmp_path / "run")])
    assert said.exit_code == 0
    assert "12 clips have no player, the first: " in said.stderr
    said = CliRunner().invoke(report, [str(tmp_path / "run"), "--data", str(moved)])
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8").count("<audio") == 12

    # and its networks explain themselves
    shown = ["--explain", str(tmp_path / "run"), "--label", "high", "-o", str(tmp_path / "why.png")]
    said = CliRunner().invoke(show, [str(moved / "ton 1.wav"), *shown], catch_exceptions=False)
    assert "by Grad-CAM" in said.stdout
    assert (tmp_path / "why.png").is_file()
    one = str(tmp_path / "run" / "fold-1" / "network.pt")
    shown[1] = one
    said = CliRunner().invoke(show, [str(moved / "ton 1.wav"), *shown], catch_exceptions=False)
    assert "by Grad-CAM" in said.stdout


def test_a_run_that_is_not_finished_has_no_page(collection: Path, tmp_path: Path) -> None:
    run(collection, "-o", tmp_path / "run", "--folds", "2", "--fold", "0")
    assert not (tmp_path / "run" / "report.html").exists()
