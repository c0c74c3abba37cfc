"""Disks that are full, and outputs that may not be written to: nothing is half-written, and what is wrong is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Command, mount
from .material import write_collection
from .work import PACK_RATE, SETTINGS, training

FULL = "No space left on device"


def fill(disk: Path, left: int = 0) -> Path:
    """Fill a disk but for so many bytes; gives the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - left))
    return ballast


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestFull:
    def test_pack(self, small_disk: Path, tmp_path: Path, command: Command) -> None:
        collection = write_collection(tmp_path / "collection", 20)  # 320 kB when packed
        call = ("data", "pack", collection, *PACK_RATE)
        assert "kB" in command(*call, "-o", small_disk / "store", status=2)
        assert not (small_disk / "store").exists()
        mount("-o", "remount,size=2m", small_disk)
        command(*call, "-o", small_disk / "store")
        command(*call, "-o", tmp_path / "store")
        assert contents(small_disk / "store") == contents(tmp_path / "store")
        assert [path.name for path in small_disk.iterdir()] == ["store"]

    def test_tag(self, collection: Path, small_disk: Path, tmp_path: Path, command: Command) -> None:
        command("tag", collection, "--format", "csv", "-o", tmp_path / "whole.csv")
        (small_disk / "tags.csv").write_text("earlier")
        ballast = fill(small_disk, left=4096)
        call = ("tag", collection, "--format", "csv", "-o", small_disk / "tags.csv")
        assert FULL in command(*call, status=2)
        assert (small_disk / "tags.csv").read_text() == "earlier"
        ballast.unlink()
        command(*call, "--resume")
        assert (small_disk / "tags.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
        assert [path.name for path in small_disk.iterdir()] == ["tags.csv"]

    def test_train(self, collection: Path, small_disk: Path, tmp_path: Path, command: Command) -> None:
        command("data", "pack", collection, "-o", tmp_path / "store", *PACK_RATE)
        call = training(tmp_path / "store", n_folds=1).arguments
        text = command(*call(small_disk / "run", False), status=2)  # its network alone has more bytes
        assert FULL in text
        assert not (small_disk / "run" / "fold-0" / "metrics.json").exists()
        mount("-o", "remount,size=40m", small_disk)
        command(*call(small_disk / "run", True))
        assert (small_disk / "run" / "fold-0" / "metrics.json").is_file()
        assert [*(small_disk / "run").rglob(".*")] == []

    def test_a_model(self, small_disk: Path, command: Command) -> None:
        (small_disk / "model.onnx").write_text("earlier")
        fill(small_disk)
        assert FULL in command("export", "embedded", "-o", small_disk / "model.onnx", "--input", "waveform", status=2)
        assert (small_disk / "model.onnx").read_text() == "earlier"
        assert sorted(path.name for path in small_disk.iterdir()) == ["ballast", "model.onnx"]


class TestReadOnly:
    """By a disk that is mounted so, since root may write to folders that nobody may write to."""

    @pytest.mark.parametrize("verb", ["tag", "pack", "train", "export"])
    def test_the_command_says_so_and_leaves_nothing(
        self, verb: str, collection: Path, small_disk: Path, tmp_path: Path, command: Command
    ) -> None:
        output = small_disk / "it"
        if verb == "train":
            command("data", "pack", collection, "-o", tmp_path / "store", *PACK_RATE)
        calls = {
            "tag": ("tag", collection, "--format", "csv", "-o", output),
            "pack": ("data", "pack", collection, "-o", output, *PACK_RATE),
            "train": ("train", tmp_path / "store", "-o", output, *SETTINGS),
            "export": ("export", "embedded", "-o", output.with_suffix(".onnx"), "--precision", "fp16"),
        }
        mount("-o", "remount,ro", small_disk)
        assert "Read-only file system" in command(*calls[verb], status=2)
        assert [*small_disk.iterdir()] == []
