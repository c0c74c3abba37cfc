"""`earmark data`: its help, wrong calls, and `synth`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest

from earmark.cli.data import VERBS, data
from earmark.data.encoding import Encoding
from earmark.data.folds import read_folds
from earmark.data.layouts import read_collection
from earmark.data.pack import pack
from earmark.data.synth import write_collection

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("verb", VERBS)
def test_every_commands_help_has_an_example(verb: str) -> None:
    command = [sys.executable, "-m", "earmark", "data", verb, "-h"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Example" in said.stdout
    assert f"\n    earmark data {verb} " in said.stdout
    assert said.stderr == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb: str) -> None:
    command = data.get_command(click.Context(data), verb)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not isinstance(parameter.type, click.Choice):
            assert parameter.help, f"data {verb} {parameter.name}"


def test_help_lists_every_command(run_earmark: Run) -> None:
    status, out, err = run_earmark("data", "-h")
    assert (status, err) == (0, "")
    for verb, said in VERBS.items():
        assert verb in out
        assert said in out
    assert "\n    earmark data " in out


def test_a_command_that_is_none(run_earmark: Run) -> None:
    status, out, err = run_earmark("data", "snyth", "a")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == "Error: no command 'snyth'; did you mean 'synth'?; see 'earmark data -h'"


def test_synth_makes_a_collection(run_earmark: Run, tmp_path: Path) -> None:
    call = ("data", "synth", tmp_path / "sounds", "--curated", 6, "--noisy", 3, "--test", 2, "--sample-rate", 16_000)
    status, out, _ = run_earmark(*call)
    assert (status, out) == (0, "")
    manifest = read_collection(tmp_path / "sounds")
    assert [len(manifest.subset(name)) for name in ("curated", "noisy", "test")] == [6, 3, 2]
    status, _, err = run_earmark(*call)
    assert status == 1
    assert "is a folder that holds files" in err


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthesised collection."""
    folder = tmp_path_factory.mktemp("data") / "sounds"
    write_collection(folder, n_curated=24, n_noisy=4, n_test=3, sample_rate=16_000, progress=False)
    return folder


def test_stats_prints_tables_and_draws(run_earmark: Run, sounds: Path, tmp_path: Path) -> None:
    status, out, _ = run_earmark("data", "stats", sounds, "--picture", tmp_path / "stats.png")
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()[3:6]] == [["curated", "24"], ["noisy", "4"], ["test", "3"]]
    assert "unknown" in out.splitlines()[3]
    assert (tmp_path / "stats.png").read_bytes().startswith(b"\x89PNG")


def test_stats_as_json_of_one_subset(run_earmark: Run, sounds: Path) -> None:
    status, out, _ = run_earmark("data", "stats", sounds, "--subset", "curated", "--format", "json")
    assert status == 0
    said = json.loads(out)
    assert said["subsets"].keys() == {"curated"}
    assert said["subsets"]["curated"]["n_clips"] == 24
    assert said["rates"] == [{"sample_rate": 16_000, "n_channels": 1, "format": "WAV", "n_clips": 24}]
    manifest = read_collection(sounds).subset("curated")
    both = [clip.labels for clip in manifest.clips if len(clip.labels) == 2]
    assert sum(pair["n_clips"] for pair in said["together"]) == len(both)
    assert [list(pair) for pair in both if list(pair) not in [one["labels"] for one in said["together"]]] == []


def test_stats_of_a_subset_that_is_not_there(run_earmark: Run, esc: Path) -> None:
    status, _, err = run_earmark("data", "stats", esc, "--subset", "noisy")
    assert status == 2
    assert f"{esc} has no clips of noisy; leave --subset out for all there are" in err


def test_stats_name_a_damaged_file(run_earmark: Run, sounds: Path, tmp_path: Path) -> None:
    shutil.copytree(sounds, tmp_path / "damaged")
    broken = sorted((tmp_path / "damaged" / "train_curated").iterdir())[0]
    broken.write_bytes(b"RIFF")
    status, out, err = run_earmark("data", "stats", tmp_path / "damaged")
    assert status == 1
    assert out.splitlines()[3].split()[:2] == ["curated", "24"]
    assert f"earmark: {broken}: " in err
    assert err.endswith("earmark: 1 of 31 clips could not be read\n")


@pytest.fixture
def esc(tmp_path: Path) -> Path:
    """Three clips in ESC-50's layout, of which one is in another fold."""
    (tmp_path / "meta").mkdir()
    rows = ["a.wav,1,0,dog,True,1,A", "b.wav,1,1,cat,True,2,A", "c.wav,2,0,dog,True,3,A"]
    (tmp_path / "meta" / "esc50.csv").write_text(
        "\n".join(["filename,fold,target,category,esc10,src_file,take", *rows, ""])
    )
    return tmp_path


def test_folds_are_kept_and_reported(run_earmark: Run, sounds: Path, tmp_path: Path) -> None:
    call = ("data", "folds", sounds, "--folds", 3, "-o", tmp_path / "folds.csv")
    status, out, err = run_earmark(*call)
    assert (status, err) == (0, "")
    names = read_collection(sounds).subset("curated").names
    folds = read_folds(tmp_path / "folds.csv", names)
    assert np.bincount(folds).tolist() == [int(n) for n in out.splitlines()[2].split()[2:]] == [8, 8, 8]
    first = (tmp_path / "folds.csv").read_bytes()
    run_earmark(*call)
    assert (tmp_path / "folds.csv").read_bytes() == first
    run_earmark(*call, "--seed", 1)
    assert (tmp_path / "folds.csv").read_bytes() != first


def test_official_folds_are_reported(run_earmark: Run, esc: Path) -> None:
    status, out, _ = run_earmark("data", "folds", esc, "--format", "json")
    assert status == 0
    said = json.loads(out)
    assert (said["n_folds"], said["n_clips"], said["n_never_held_out"]) == (2, [2, 1], 0)
    assert said["labels"]["cat"] == {"n_clips": [1, 0], "deviation": 0.5, "no_less_than": 0.5}
    assert said["labels"]["dog"] == {"n_clips": [1, 1], "deviation": 0.0, "no_less_than": 0.0}
    assert said["labels_absent_from_a_fold"] == ["cat"]
    assert "absent from a fold: cat" in run_earmark("data", "folds", esc)[1]


@pytest.mark.real_data
def test_folds_of_real_recordings_tear_none_apart(run_earmark: Run, real_data: Path, tmp_path: Path) -> None:
    status, out, _ = run_earmark("data", "folds", real_data / "everyday26", "-o", tmp_path / "folds.csv")
    assert status == 0
    curated = read_collection(real_data / "everyday26").subset("curated")
    folds_of_source: dict[str, set[int]] = {}
    for clip, fold in zip(curated.clips, read_folds(tmp_path / "folds.csv", curated.names), strict=True):
        for source in (clip.group or clip.name).split("+"):
            folds_of_source.setdefault(source, set()).add(int(fold))
    assert {len(folds) for folds in folds_of_source.values()} == {1}
    assert len(folds_of_source) == 500
    assert "largest deviation of a label's share from 1/5: 0.4735" in out


@pytest.fixture(scope="module")
def store(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small collection, packed."""
    folder = tmp_path_factory.mktemp("packed") / "store"
    pack(read_collection(sounds), folder, Encoding.waveform(16_000), progress=False)
    return folder


def test_a_packed_store_can_be_divided_too(run_earmark: Run, sounds: Path, store: Path) -> None:
    assert run_earmark("data", "folds", store)[:2] == run_earmark("data", "folds", sounds)[:2]


@pytest.mark.parametrize("verb", ["stats", "check"])
def test_a_packed_store_is_not_taken_for_a_table(run_earmark: Run, store: Path, verb: str) -> None:
    status, out, err = run_earmark("data", verb, store)
    assert (status, out) == (1, "")
    assert err == (
        f"earmark: {store}: is a packed store, which 'train', 'predict' and 'data folds' take; expected the "
        "collection that it was made from\n"
    )


def test_stats_name_some_of_many_damaged_files(run_earmark: Run, sounds: Path, tmp_path: Path) -> None:
    shutil.copytree(sounds, tmp_path / "damaged")
    for broken in (tmp_path / "damaged" / "train_curated").iterdir():
        broken.unlink()
    status, _, err = run_earmark("data", "stats", tmp_path / "damaged")
    assert status == 1
    assert err.count("no such file") == 10
    assert err.endswith(
        "earmark: 24 of 31 clips could not be read, 14 of them not named here; 'earmark data check --quick' names all\n"
    )
