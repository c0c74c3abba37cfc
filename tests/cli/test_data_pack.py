"""`earmark data pack`."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.picture import clip_log_mel
from earmark.data.spectrograms import front_end_of
from earmark.data.store import open_store
from earmark.training.recipe import load_recipe

Run = Callable[..., tuple[int, str, str]]
RATE = 8000


@pytest.fixture
def collection(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Five curated clips, two noisy and one to be tagged, of a second each."""
    folder = tmp_path / "clips"
    folder.mkdir()
    rows = ["path,labels,subset"]
    for i, subset in enumerate(["curated"] * 5 + ["noisy"] * 2 + ["test"]):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(RATE), RATE)
        rows.append(f"{i}.wav,{'low' if i % 2 else 'high'},{subset}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_packs_what_can_be_learned_from_at_the_rate_of_the_default_recipe(
    run_earmark: Run, collection: Path, tmp_path: Path
) -> None:
    status, out, err = run_earmark("data", "pack", collection, "-o", tmp_path / "store")
    assert status == 0
    assert out == f"{tmp_path / 'store'}: packed: 7 clips, 448.0 kB, waveform int16 at 32000 Hz\n"
    assert "earmark: 7 clips, 0.00 hours: 449.4 kB as waveform int16 at 32000 Hz; " in err
    assert "clip/s" in err
    store = open_store(tmp_path / "store")
    assert [clip.subset for clip in store.manifest.clips] == ["curated"] * 5 + ["noisy"] * 2
    assert store.sample_rate == load_recipe("fast").picture.log_mel.sample_rate
    status, out, err = run_earmark("data", "pack", collection, "-o", tmp_path / "store")
    assert (status, err) == (0, "")
    assert out == f"{tmp_path / 'store'}: up to date: 7 clips, 448.0 kB, waveform int16 at 32000 Hz\n"
    soundfile.write(collection / "2.wav", np.zeros(RATE), RATE)
    status, out, _ = run_earmark("data", "pack", collection, "-o", tmp_path / "store")
    assert "packed: 7 clips, 6 of them not decoded now, 448.0 kB" in out


@pytest.mark.parametrize(
    ("options", "rate"), [(["--sample-rate", 16_000], 16_000), (["--recipe", "small-grey"], 44_100)]
)
def test_rate_may_be_chosen(
    options: list[object], rate: int, run_earmark: Run, collection: Path, tmp_path: Path
) -> None:
    status, _, _ = run_earmark("data", "pack", collection, "-o", tmp_path / "store", *options)
    assert status == 0
    assert open_store(tmp_path / "store").sample_rate == rate


@pytest.mark.parametrize(("options", "dtype"), [([], "float16"), (["--dtype", "uint8"], "uint8")])
def test_spectrograms_of_a_recipe(
    options: list[str], dtype: str, run_earmark: Run, collection: Path, tmp_path: Path
) -> None:
    call = ("data", "pack", collection, "-o", tmp_path / "store", "--log-mel", "fast")
    settings = ("--set", "picture.log_mel.n_mels=24", "--set", "picture.log_mel.sample_rate=8000")
    status, out, _ = run_earmark(*call, *settings, "--set", "picture.log_mel.fmax=4000", *options)
    assert status == 0
    assert f", log-mel {dtype} at 8000 Hz, off by 0." in out
    assert out.endswith(" dB at the most\n")
    store = open_store(tmp_path / "store")
    assert store.encoding.dtype == dtype
    samples = soundfile.read(collection / "3.wav", dtype="float32")[0]
    expected = clip_log_mel(samples, front_end_of(store.encoding))
    assert expected.shape == (24, 13)
    np.testing.assert_allclose(store.spectrogram(3), expected, atol=0.25)


def test_subsets_and_exclusions(run_earmark: Run, collection: Path, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("1.wav\n")
    options = ("--subset", "curated", "--subset", "test", "--exclude", tmp_path / "out.txt", "--sample-rate", RATE)
    status, _, err = run_earmark("data", "pack", collection, "-o", tmp_path / "store", *options)
    assert status == 0
    assert "earmark: 1 clip left out as asked: 1.wav\n" in err
    names = open_store(tmp_path / "store").manifest.names
    assert names == ("0.wav", "2.wav", "3.wav", "4.wav", "7.wav")


def test_dry_run_says_how_much_it_would_be(run_earmark: Run, collection: Path, tmp_path: Path) -> None:
    status, out, err = run_earmark("data", "pack", collection, "-o", tmp_path / "a" / "store", "--dry-run")
    assert (status, err) == (0, "")
    assert out.startswith("7 clips, 0.00 hours: 449.4 kB as waveform int16 at 32000 Hz; ")
    assert out.endswith(" free\n")
    assert not (tmp_path / "a").exists()


def test_bad_recordings_are_named(run_earmark: Run, collection: Path, tmp_path: Path) -> None:
    (collection / "3.wav").write_bytes(b"")
    call = ("data", "pack", collection, "-o", tmp_path / "store", "--sample-rate", RATE)
    status, out, err = run_earmark(*call)
    assert (status, out) == (1, "")
    assert "earmark: 1 of 7 recordings cannot be packed; " in err
    assert "3.wav: is empty (0 bytes)" in err
    assert not (tmp_path / "store").exists()
    status, out, err = run_earmark(*call, "--skip-bad")
    assert status == 1
    assert "packed: 6 clips, 6 of them not decoded now, 96.0 kB" in out
    assert err.splitlines()[-2:] == [
        f"earmark: {collection / '3.wav'}: is empty (0 bytes); fetch or export it again",
        "earmark: 1 recordings are left out",
    ]
    assert "3.wav" not in open_store(tmp_path / "store").manifest.names


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ["--sample-rate", "8000", "--recipe", "fast"],
            "--sample-rate and --recipe both say what is to be packed; give one of them",
        ),
        (
            ["--recipe", "fast", "--log-mel", "fast"],
            "--recipe and --log-mel both say what is to be packed; give one of them",
        ),
        (["--dtype", "uint8"], "--dtype is for spectrograms; give --log-mel RECIPE too, or leave it out"),
        (
            ["--sample-rate", "8000", "--set", "window_s=1"],
            "--set replaces a value of a recipe; give --recipe or --log-mel, not --sample-rate",
        ),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], text: str, run_earmark: Run, collection: Path, tmp_path: Path
) -> None:
    status, out, err = run_earmark("data", "pack", collection, "-o", tmp_path / "store", *options)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == f"Error: {text}"


def test_a_store_is_not_packed_again(run_earmark: Run, collection: Path, tmp_path: Path) -> None:
    run_earmark("data", "pack", collection, "-o", tmp_path / "store", "--sample-rate", RATE)
    status, _, err = run_earmark("data", "pack", tmp_path / "store", "-o", tmp_path / "other")
    assert status == 2
    assert err.splitlines()[-1] == (
        f"Error: {tmp_path / 'store'}: is a packed store already; give the collection that it was made from"
    )


def test_no_clips_of_a_subset(run_earmark: Run, collection: Path, tmp_path: Path) -> None:
    table = collection / "clips.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if "test" not in line) + "\n")
    status, _, err = run_earmark("data", "pack", collection, "-o", tmp_path / "store", "--subset", "test")
    assert status == 1
    assert err == f"earmark: {collection}: has no clips of test; there are curated, noisy; choose with --subset\n"


def test_a_full_disk_is_exit_status_2_and_the_same_command_goes_on(collection: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "earmark", "data", "pack", str(collection), "-o", str(tmp_path / "store")]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    said = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert said.returncode == 2, said.stderr
    assert (
        f"earmark: {tmp_path / 'store'}: no file may be so large here (limit or file system) after 3 of 7 clips: "
        "about 257.4 kB more are needed, "
    ) in said.stderr
    assert "3 clips are kept in " in said.stderr
    assert not (tmp_path / "store").exists()
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0
    assert "3 of 7 clips are packed already; going on from there" in said.stderr
    assert len(open_store(tmp_path / "store")) == 7
