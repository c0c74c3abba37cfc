"""Commands that make something: their arguments, and what of it is compared."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from earmark.data.layouts import read_collection
from earmark.data.rows import format_csv
from earmark.predictions import Predictions
from earmark.training.recipe import load_recipe, to_tables

from .material import TINY

PACK_RATE = ("--sample-rate", 8000)
SETTINGS = tuple(part for setting in TINY for part in ("--set", setting))

Outcome = dict[str, Any]
"""What is compared of an output: by a file's name, its content without times of day and durations."""


@dataclass(frozen=True)
class Work:
    """A command that makes a file or folder, and goes on where it was killed.

    Attributes
    ----------
    name
        What it is called in tables.
    arguments
        Its arguments, for an output, the first time or when it is given again.
    outcome
        Reads an output.
    """

    name: str
    arguments: Callable[[Path, bool], Sequence[object]]
    outcome: Callable[[Path], Outcome]


def packing(collection: Path) -> Work:
    """`earmark data pack`, which goes on by itself."""
    return Work(
        "pack",
        lambda out, again: ("data", "pack", collection, "-o", out, *PACK_RATE),
        lambda out: {path.name: path.read_bytes() for path in out.iterdir()},
    )


def training(store: Path, n_folds: int = 2) -> Work:
    """`earmark train` with --resume; of one fold alone when `n_folds` is 1."""
    folds = ["--folds", 2, *(["--fold", 0] if n_folds == 1 else [])]

    def arguments(out: Path, again: bool) -> Sequence[object]:
        return "train", store, "-o", out, *folds, *SETTINGS, *(["--resume"] if again else [])

    return Work("train", arguments, run_outcome)


def tagging(recordings: Path) -> Work:
    """`earmark tag` into a table, with --resume."""

    def arguments(out: Path, again: bool) -> Sequence[object]:
        return "tag", recordings, "--format", "csv", "-o", out, *(["--resume"] if again else [])

    return Work("tag", arguments, lambda out: {"the table": out.read_bytes()})


def write_run(folder: Path, collection: Path) -> Path:
    """A run's folder, as far as an audit reads it, whose scores are of chance."""
    manifest, rng = read_collection(collection), np.random.default_rng(0)
    folder.mkdir()
    rows = [(clip.name, ",".join(clip.labels), "", str(clip.path)) for clip in manifest.clips]
    (folder / "clips.csv").write_text(format_csv(("fname", "labels", "group", "path"), rows))
    scores = rng.uniform(size=(len(manifest), len(manifest.vocabulary)))
    Predictions(manifest.names, manifest.vocabulary, scores).write(folder / "predictions.csv")
    (folder / "recipe.toml").write_text(tomli_w.dumps(to_tables(load_recipe("fast"))))
    return folder


def run_outcome(run: Path) -> Outcome:
    """All that a run came to: weights to the bit, scores, curves without their speed, figures without durations.

    What is drawn for TensorBoard has a file a call, named by its time, and is no part of it.
    """
    outcome: Outcome = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = path.relative_to(run).as_posix()
        if path.suffix == ".pt":
            outcome[name] = _plain(torch.load(path, weights_only=True, map_location="cpu"))
        elif path.name == "metrics.csv":
            rows = csv.DictReader(io.StringIO(path.read_text()))
            outcome[name] = [{key: cell for key, cell in row.items() if key != "clips_per_s"} for row in rows]
        elif path.name == "metrics.json":
            outcome[name] = json.loads(path.read_text())["lwlrap_per_label"]
        elif path.name == "report.html":  # shows durations
            outcome[name] = path.stat().st_size > 0
        elif path.parent.name != "tensorboard":
            outcome[name] = path.read_bytes()
    return outcome


def _plain(value: Any) -> Any:
    """The same with each tensor as its bytes, to be compared by ==."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
