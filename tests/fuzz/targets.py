"""What strangers' files are read by: each target takes bytes, and may raise what users can meet, and nothing else."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from earmark.audio.decode import properties, stream
from earmark.bundle import Bundle
from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.data.selection import read_corrections
from earmark.errors import EarmarkError
from earmark.labels import Vocabulary
from earmark.predictions import Predictions
from earmark.training.recipe import load_recipe

MOST_SAMPLES = 20_000_000
"""A mutated header may state hours of silence, which takes long and shows nothing."""

Target = Callable[[bytes, Path], None]


def decode(data: bytes, folder: Path) -> None:
    """A recording, of any format."""
    path = folder / "it.wav"
    path.write_bytes(data)
    with contextlib.suppress(EarmarkError):
        properties(path)
    n = 0
    with stream(path, 16_000) as blocks:
        for block in blocks:
            n += len(block)
            if n > MOST_SAMPLES:
                return


def bundle(data: bytes, folder: Path) -> None:
    """A model."""
    path = folder / "it.onnx"
    path.write_bytes(data)
    Bundle(path, n_threads=1)


def manifest(data: bytes, folder: Path) -> None:
    """Tables: of a collection, of corrections, of scores. The first byte says which."""
    kind, content = data[:1], data[1:]
    if kind == b"p":
        (folder / "it.csv").write_bytes(content)
        Predictions.read(folder / "it.csv")
    elif kind == b"c":
        (folder / "it.csv").write_bytes(content)
        read_corrections(folder / "it.csv")
    elif kind == b"m":
        (folder / "it.csv").write_bytes(content)
        Manifest.read(folder / "it.csv", vocabulary=Vocabulary(["Bark", "Meow"]))
    else:
        name = {b"k": "train_curated.csv", b"e": "meta/esc50.csv", b"f": "FSD50K.ground_truth/dev.csv"}
        path = folder / "data" / name.get(kind, "clips.csv")
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        read_collection(folder / "data")


def recipe(data: bytes, folder: Path) -> None:
    """A recipe, and a setting of the command line in its first line."""
    path = folder / "it.toml"
    setting, _, content = data.partition(b"\n")
    path.write_bytes(content)
    load_recipe(path, [setting.decode("utf-8", "replace")] if setting else [])


TARGETS: dict[str, Target] = {"decode": decode, "bundle": bundle, "manifest": manifest, "recipe": recipe}


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory, where there is such a thing."""
    there = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=there if there.is_dir() else None) as folder:
        yield Path(folder)


def take(target: Target, data: bytes, folder: Path) -> None:
    """Give bytes to a target in an empty folder; errors that users can meet are as they should be."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with contextlib.suppress(EarmarkError):
        target(data, folder)
