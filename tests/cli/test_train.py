from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from earmark.cli.train import train
from earmark.errors import CollectionError, LabelError, RecipeError

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
    return CliRunner().invoke(train, [*map(str, arguments), *settings], catch_exceptions=False)


def test_train_prints_the_folds_and_leaves_a_run(collection: Path, tmp_path: Path) -> None:
    result = run(collection, "-o", tmp_path / "run", "--folds", "2")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[2:]] == ["fold", "fold", "out"]
    assert (tmp_path / "run" / "model.onnx").is_file()
    assert "epoch" in result.stderr


def test_one_fold_alone(collection: Path, tmp_path: Path) -> None:
    result = run(collection, "-o", tmp_path / "run", "--folds", "2", "--fold", "1")
    assert result.exit_code == 0
    assert (tmp_path / "run" / "fold-1" / "model.onnx").is_file()
    assert not (tmp_path / "run" / "fold-0").exists()


def test_every_bad_recording_is_named(collection: Path, tmp_path: Path) -> None:
    (collection / "ton 3.wav").write_bytes(b"")
    (collection / "ton 5.wav").unlink()
    with pytest.raises(CollectionError) as caught:
        run(collection, "-o", tmp_path / "run")
    message = str(caught.value)
    assert "2 of 12 recordings cannot be packed; mend them or take their rows out" in message
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
