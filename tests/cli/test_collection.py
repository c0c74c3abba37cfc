"""The options of every command that reads a collection, by `earmark predict`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.cli.collection import CollectionOptions
from earmark.predictions import Predictions

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sounds(write_tone: Callable[..., Path], tmp_path: Path) -> Path:
    """Three tones in a table whose columns have names of their own."""
    for name, frequency_hz in (("a.wav", 300.0), ("b.wav", 1800.0), ("c.wav", 5000.0)):
        write_tone(f"sounds/{name}", frequency_hz)
    (tmp_path / "sounds" / "birds.csv").write_text("filename,category\na.wav,low\nb.wav,mid;high\nc.wav,high\n")
    return tmp_path / "sounds"


@pytest.fixture
def predict(run_earmark: Run, tiny_bundle: Path, tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Predict: `predict(data, *options)` gives the exit status and the lines that earmark said."""

    def run(data: Path, *options: object) -> tuple[int, list[str]]:
        status, out, err = run_earmark("predict", tiny_bundle, data, "-o", tmp_path / "scores.csv", *options)
        assert out == ""
        return status, [line for line in err.splitlines() if line.startswith(("earmark:", "Error:"))]

    return run


NAMED = ("--columns", "path=filename,labels=category", "--label-separator", ";")


def test_a_table_is_read_as_the_user_says(predict: Callable, sounds: Path, tmp_path: Path):
    assert predict(sounds / "birds.csv", *NAMED) == (0, [])
    table = Predictions.read(tmp_path / "scores.csv")
    assert table.fnames == ("a.wav", "b.wav", "c.wav")
    assert table.labels.names == ("high", "low", "mid")


def test_a_vocabulary_and_a_folder_of_audio(predict: Callable, sounds: Path, tmp_path: Path):
    table = sounds.joinpath("birds.csv").rename(tmp_path / "birds.csv")
    (tmp_path / "labels.csv").write_text("mid\nhigh\nlow\n")
    options = (*NAMED, "--audio-folder", sounds, "--vocabulary", tmp_path / "labels.csv", "--layout", "table")
    assert predict(table, *options) == (0, [])
    assert Predictions.read(tmp_path / "scores.csv").labels.names == ("mid", "high", "low")


def test_what_is_left_out_and_relabelled_is_told(predict: Callable, sounds: Path, tmp_path: Path):
    (tmp_path / "not.txt").write_text("b.wav\n")
    (tmp_path / "better.csv").write_text("fname,action,labels,why\na.wav,relabel,mid,heard\nc.wav,drop,,silent\n")
    status, said = predict(
        sounds / "birds.csv", *NAMED, "--exclude", tmp_path / "not.txt", "--corrections", tmp_path / "better.csv"
    )
    assert (status, said) == (
        0,
        ["earmark: 2 clips left out as asked: b.wav, c.wav", "earmark: 1 clip relabelled as asked: a.wav"],
    )
    assert Predictions.read(tmp_path / "scores.csv").fnames == ("a.wav",)


@pytest.fixture
def contest(write_tone: Callable[..., Path]) -> Path:
    """Two curated clips, one of them known to be wrong, and a test clip."""
    for name in ("train_curated/f76181c4.wav", "train_curated/t.wav", "test/x.wav"):
        folder = write_tone(f"contest/{name}", 300.0).parents[1]
    (folder / "train_curated.csv").write_text("fname,labels\nf76181c4.wav,low\nt.wav,mid\n")
    (folder / "sample_submission.csv").write_text("fname,mid,high,low\nx.wav,0,0,0\n")
    return folder


def test_clips_known_to_be_wrong_are_told_and_tests_stay(predict: Callable, contest: Path, tmp_path: Path):
    status, said = predict(contest)
    assert status == 0
    assert said == [
        "earmark: 1 clip left out, label known to be wrong, by a bug when the files were renamed: f76181c4.wav; "
        "--keep-known-wrong keeps them"
    ]
    assert Predictions.read(tmp_path / "scores.csv").fnames == ("x.wav",)
    assert predict(contest, "--keep-known-wrong") == (0, [])


def test_audio_that_is_still_packed_is_told(contest: Path, capsys: pytest.CaptureFixture[str]):
    (contest / "train_curated").rename(contest / "elsewhere")
    (contest / "train_curated.zip").touch()
    how = CollectionOptions(keep_known_wrong=True)
    assert len(how.read(contest)) == 3
    assert capsys.readouterr().err == (
        f"earmark: the audio of 2 clips is still packed, in {contest / 'train_curated.zip'}; unpack "
        "it there to use them\n"
    )


def test_a_check_reads_all_and_gathers_problems(contest: Path):
    (contest / "train_curated.csv").write_text("fname,labels\nf76181c4.wav,lwo\nt.wav,mid\n")
    problems: list = []
    manifest = CollectionOptions().read_unselected(contest, problems)
    assert manifest.names == ("f76181c4.wav", "t.wav", "x.wav")
    assert [each.message for each in problems] == [
        "train_curated.csv line 2: label 'lwo' is not in the vocabulary; did you mean 'low'?"
    ]


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (
            ("--layout", "esc-50"),
            1,
            "earmark: layout 'esc-50' is not known; expected 'esc50', 'urbansound8k', "
            "'fsdkaggle2019', 'fsdkaggle2018', "
            "'fsd50k', 'table', 'folders'; did you mean 'esc50'?",
        ),
        (
            ("--columns", "lables=tag"),
            2,
            "Error: Invalid value for '--columns': column 'lables' is none of a manifest's; expected 'path', 'labels', "
            "'subset', 'group', 'fold', 'duration_s', 'license'; did you mean 'labels'?",
        ),
        (
            ("--label-separator", " "),
            2,
            "Error: Invalid value for '--label-separator': a blank joins no labels; expected one such as ';'",
        ),
        (("--exclude", "none.txt"), 1, "earmark: none.txt: cannot be read (No such file or directory)"),
        (("--corrections", "none.csv"), 1, "earmark: none.csv: cannot be read (No such file or directory)"),
        (("--vocabulary", "none.csv"), 1, "earmark: none.csv: cannot be read (No such file or directory)"),
    ],
)
def test_options_that_are_wrong_are_refused(
    predict: Callable, contest: Path, options: tuple[str, ...], status: int, message: str
):
    code, said = predict(contest, *options)
    assert code == status
    assert said[-1] == message
