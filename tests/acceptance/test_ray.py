"""Tagging and training on a Ray cluster: the same as without, whatever dies on the way."""

from __future__ import annotations

import functools
import gc
import json
import os
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.cluster import cluster
from earmark.tagging import scale
from earmark.tagging.tagger import Tag
from earmark.training import fit, spread
from earmark.training.feed import Feed

pytest.importorskip("ray", reason="Ray is not installed: pip install 'earmark[ray]'")
pytestmark = pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*")

Run = Callable[..., tuple[int, str, str]]
Table = list[tuple[Any, ...]]
WriteTone = Callable[..., Path]
RATE = 16_000


@pytest.fixture(scope="session")
def ray() -> Iterator[Any]:
    """A cluster of two cores, on which all tests work that ask for it; what they define is sent along."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with cluster("ray", n_cores=2) as connected:
            connected.cloudpickle.register_pickle_by_value(sys.modules[__name__])
            yield connected
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for the processes that it ends
            gc.collect()


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Twenty recordings, two of which cannot be read."""
    folder = tmp_path / "tones"
    folder.mkdir()
    time_s = np.arange(RATE) / RATE
    for i in range(18):
        soundfile.write(folder / f"{i:02}.wav", 0.5 * np.sin(2 * np.pi * (300, 1800, 5000)[i % 3] * time_s), RATE)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no sound")
    return folder


@pytest.fixture
def tag(run_earmark: Run, tiny_bundle: Path) -> Run:
    return lambda *arguments: run_earmark("tag", "--model", tiny_bundle, *arguments)


def rows_in(place: Path) -> Table:
    """Rows of a Parquet file, or of a folder of them, sorted."""
    from pyarrow.dataset import dataset

    return sorted((tuple(row.items()) for row in dataset(place, format="parquet").to_table().to_pylist()), key=str)


def said(err: str) -> list[str]:
    return [line for line in err.replace("\r", "\n").splitlines() if line.startswith("earmark: ")]


def parts_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}


class TestTagging:
    def test_the_rows_are_those_of_the_local_command_and_other_options_are_refused(
        self, ray: Any, tag: Run, tones: Path, tmp_path: Path
    ) -> None:
        status, out, err = tag(tones, "--on", "ray", "-o", tmp_path / "tags")
        assert status == 1
        assert out == ""
        assert said(err)[-1] == "earmark: 2 of 20 files could not be tagged"
        assert sum("is empty (0 bytes)" in line for line in said(err)) == 1
        assert sum("text.wav: cannot be read as audio" in line for line in said(err)) == 1
        tag(tones, "--format", "parquet", "-o", tmp_path / "local.parquet")
        assert rows_in(tmp_path / "tags") == rows_in(tmp_path / "local.parquet")
        manifest = json.loads((tmp_path / "tags" / "_manifest.json").read_text())
        assert manifest["n_recordings"] == 18
        assert len(manifest["failures"]) == 2
        assert manifest["parts"] == sorted(parts_in(tmp_path / "tags"))
        # tags by other options would mean something else
        status, _, err = tag(tones, "--on", "ray", "-o", tmp_path / "tags", "--top", "2")
        assert status == 2
        assert "this call has top=2 instead of 3 (see part-" in err

    def test_a_caller_outside_of_the_cluster_gets_the_same_with_the_columns_of_lists(
        self, ray: Any, tag: Run, tones: Path, tmp_path: Path
    ) -> None:
        rows = [f"{i:02}.wav,site {i}" for i in range(5)]
        (tones / "list.csv").write_text("\n".join(["fname,site", *rows]) + "\n")
        call = (f"@{tones / 'list.csv'}", "--threshold", "0.9")
        # the cluster that there is stands for the one at the address
        on = ("--on", "ray://127.0.0.1:10001", "--workers", "1")
        status, _, err = tag(*call, *on, "-o", tmp_path / "tags")
        assert status == 0, err
        tag(*call, "--format", "parquet", "-o", tmp_path / "local.parquet")
        assert rows_in(tmp_path / "tags") == rows_in(tmp_path / "local.parquet")

    def test_what_is_done_is_skipped(self, ray: Any, tag: Run, tones: Path, tmp_path: Path) -> None:
        (tones / "empty.wav").unlink()
        (tones / "text.wav").unlink()
        call = (tones, "--on", "ray", "-o", tmp_path / "tags")
        assert tag(*call)[0] == 0
        before = parts_in(tmp_path / "tags")
        status, _, err = tag(*call)
        assert status == 0
        assert said(err) == [f"earmark: {tmp_path / 'tags'}: 18 recordings are done already"]
        assert parts_in(tmp_path / "tags") == before
        # one changes, one vanishes, one is new, and one part is lost
        shutil.copy(tones / "01.wav", tones / "00.wav")
        (tones / "17.wav").unlink()
        shutil.copy(tones / "02.wav", tones / "new.wav")
        lost = sorted(before)[4]
        (tmp_path / "tags" / lost).unlink()
        assert tag(*call)[0] == 0
        kept = parts_in(tmp_path / "tags").items() & before.items()
        assert len(kept) == len(before) - 3
        tag(tones, "--format", "parquet", "-o", tmp_path / "local.parquet")
        assert rows_in(tmp_path / "tags") == rows_in(tmp_path / "local.parquet")

    def test_a_worker_that_is_killed_loses_nothing(
        self, ray: Any, tag: Run, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mark = tmp_path / "killed"

        class Dying(scale.Tagging):
            def _tags(self, name: str, file: Path | scale.AudioError) -> list[Tag] | scale.AudioError:
                if name.endswith("07.wav") and not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super()._tags(name, file)

        monkeypatch.setattr(scale, "Tagging", Dying)
        status, _, err = tag(tones, "--on", "ray", "-o", tmp_path / "tags")
        assert mark.exists()
        assert status == 1
        assert said(err)[-1] == "earmark: 2 of 20 files could not be tagged"
        monkeypatch.undo()
        tag(tones, "--format", "parquet", "-o", tmp_path / "local.parquet")
        assert rows_in(tmp_path / "tags") == rows_in(tmp_path / "local.parquet")

    def test_a_recording_that_kills_workers_is_named_and_the_others_are_tagged(
        self, ray: Any, tag: Run, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Dying(scale.Tagging):
            def _tags(self, name: str, file: Path | scale.AudioError) -> list[Tag] | scale.AudioError:
                if name.endswith("07.wav"):
                    os.kill(os.getpid(), signal.SIGKILL)
                return super()._tags(name, file)

        monkeypatch.setattr(scale, "Tagging", Dying)
        status, _, err = tag(tones, "--on", "ray", "--workers", "1", "-o", tmp_path / "tags")
        assert status == 1
        assert f"earmark: {tones / '07.wav'}: 2 workers died over it; look at it alone" in said(err)
        monkeypatch.undo()
        tag(tones, "--exclude", "07.wav", "--format", "parquet", "-o", tmp_path / "local.parquet")
        assert rows_in(tmp_path / "tags") == rows_in(tmp_path / "local.parquet")

    def test_recordings_over_http(self, ray: Any, tag: Run, tones: Path, tmp_path: Path) -> None:
        handler = functools.partial(Quiet, directory=str(tones))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            place = f"http://127.0.0.1:{server.server_port}"
            there = [f"{place}/{i:02}.wav" for i in (0, 1, 2)]
            (tmp_path / "list.txt").write_text("\n".join([*there, f"{place}/99.wav"]))
            on = ("--on", "ray", "--workers", "1", "-o", tmp_path / "tags")
            status, _, err = tag(f"@{tmp_path / 'list.txt'}", *on)
            again = said(tag(*there, *on)[2])
            server.shutdown()
        assert status == 1
        assert f"earmark: {place}/99.wav: no such file; check the address" in said(err)
        assert again == [f"earmark: {tmp_path / 'tags'}: 3 recordings are done already"]
        local = [tones / f"{i:02}.wav" for i in (0, 1, 2)]
        tag(*local, "--format", "parquet", "-o", tmp_path / "local.parquet")
        expected = [
            (("path", f"{place}/{Path(row[0][1]).name}"), *row[1:]) for row in rows_in(tmp_path / "local.parquet")
        ]
        assert rows_in(tmp_path / "tags") == sorted(expected, key=str)


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing on standard error."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


SETTINGS = (
    "picture.log_mel.sample_rate=8000",
    "picture.log_mel.fmax=4000.0",
    "picture.log_mel.n_fft=512",
    "picture.log_mel.n_mels=32",
    "model.width=0.125",
    "window_s=0.8",
    "fit.batch_size=4",
    "fit.epochs=3",
    "fit.precision=32-true",
)


class TestTraining:
    @pytest.fixture(autouse=True)
    def one_thread(self) -> Iterator[None]:
        """As many as each of Ray's workers has: sums depend on it in the last bits."""
        torch = pytest.importorskip("torch")
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(n_threads)

    @pytest.fixture
    def collection(self, tmp_path: Path) -> Path:
        """Twelve tones, low and high."""
        folder = tmp_path / "collection"
        folder.mkdir()
        rows = ["path,labels"]
        time_s = np.arange(8000) / 8000
        for i in range(12):
            label, frequency_hz = (("low", 300), ("high", 2000))[i % 2]
            soundfile.write(folder / f"{i}.wav", 0.5 * np.sin(2 * np.pi * (frequency_hz + i) * time_s), 8000)
            rows.append(f"{i}.wav,{label}")
        (folder / "clips.csv").write_text("\n".join(rows) + "\n")
        return folder

    @pytest.fixture
    def train(self, run_earmark: Run, collection: Path) -> Run:
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        return lambda *arguments: run_earmark("train", collection, "--folds", "2", *settings, *arguments)

    def test_a_fold_whose_worker_is_killed_ends_as_if_it_had_not_been(
        self, ray: Any, train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mark = tmp_path / "killed"

        class Dying(spread.FoldTask):
            def learn(self) -> None:
                fit.SAVE_EVERY_S, whole, n_calls = 0.0, Feed.batch, 0

                def batch(*arguments: Any, **options: Any) -> Any:
                    nonlocal n_calls
                    n_calls += 1
                    if self.fold == 1 and n_calls == 2 and not mark.exists():
                        mark.write_text(str((self.own_folder / "state.pt").is_file()))
                        os.kill(os.getpid(), signal.SIGKILL)
                    return whole(*arguments, **options)

                Feed.batch = batch  # type: ignore[method-assign]
                super().learn()

        monkeypatch.setattr(spread, "FoldTask", Dying)
        monkeypatch.setattr("earmark.cli.learning.FoldTask", Dying)
        status, out, err = train("--on", "ray", "-o", tmp_path / "spread")
        assert status == 0, err
        assert mark.read_text() == "True"
        assert [line.split()[0] for line in out.splitlines()[-3:]] == ["fold", "fold", "out"]
        assert any("spread fold 1: done, lwlrap " in line for line in said(err))
        assert any("spread fold 0, epoch 3 of 3: lwlrap " in line for line in said(err))
        train("-o", tmp_path / "here")
        for name in ("predictions.csv", "fold-1/predictions.csv", "folds.csv", "recipe.toml"):
            assert (tmp_path / "spread" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()

    def test_of_several_recipes_each_has_a_run(self, ray: Any, train: Run, tmp_path: Path) -> None:
        (tmp_path / "mine.toml").write_text('description = "mine"\n[model]\nname = "resnet18"\n')
        call = ("--recipe", "fast", "--recipe", tmp_path / "mine.toml", "--on", "ray", "-o", tmp_path / "runs")
        status, out, err = train(*call, "--set", "fit.epochs=1", "--refit")
        assert status == 0, err
        assert out.count("out of fold") == 2
        for name in ("fast", "mine"):
            assert (tmp_path / "runs" / name / "model.onnx").is_file()
            assert (tmp_path / "runs" / name / "refit" / "model.onnx").is_file()

    def test_more_than_a_machine_has(self, ray: Any, train: Run, tmp_path: Path) -> None:
        status, _, err = train("--on", "ray", "--cores", "3", "-o", tmp_path / "run")
        assert status == 2
        assert "no machine of the cluster has 3 cores and 0 GPUs for a fold; the largest has 2 and 0" in err


@pytest.mark.parametrize("verb", ["tag", "train"])
def test_without_ray_the_extra_is_named(
    verb: str, run_earmark: Run, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb == "train":
        for kind in ("a", "b"):
            shutil.copytree(tones, tmp_path / "data" / kind, ignore=lambda _, names: {"empty.wav", "text.wav"})
        tones = tmp_path / "data"
    monkeypatch.setitem(sys.modules, "ray", None)
    status, _, err = run_earmark(verb, tones, "--on", "ray", "-o", tmp_path / "out")
    assert status == 2
    assert said(err)[-1] == (
        "earmark: --on ray (ray) needs libraries that are not installed: pip install 'earmark[ray]'"
    )
