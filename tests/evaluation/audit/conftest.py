"""A run's folder, small enough to follow by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tomli_w

from earmark.data.rows import format_csv
from earmark.labels import Vocabulary
from earmark.predictions import Predictions
from earmark.training.recipe import load_recipe, to_tables

RATE = 32_000
TONES_HZ = {"low": 300.0, "mid": 1500.0, "high": 6000.0}
LABELS = tuple(TONES_HZ)
GIVEN = {
    "a.wav": ("low",),
    "b.wav": ("low",),
    "c.wav": ("mid",),
    "d.wav": ("mid", "high"),
    "e.wav": ("high",),
    "f.wav": ("high",),
}
SCORES = np.array(
    [
        [0.9, 0.1, 0.1],  # right
        [0.1, 0.8, 0.1],  # low that sounds like mid
        [0.1, 0.9, 0.2],  # right
        [0.1, 0.9, 0.3],  # high that is hardly heard
        [0.7, 0.1, 0.9],  # high that may also be low
        [0.2, 0.1, 0.8],  # right
    ]
)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run of six tones with their recordings: `make_run("run", scores=SCORES, given=GIVEN)`."""

    def make(name: str = "run", scores: np.ndarray = SCORES, given: dict[str, tuple[str, ...]] = GIVEN) -> Path:
        run, sounds = tmp_path / name, tmp_path / "sounds"
        run.mkdir()
        sounds.mkdir(exist_ok=True)
        noise = np.random.default_rng(0)
        for number, (fname, labels) in enumerate(given.items()):
            time_s = np.arange(RATE) / RATE
            tones = [np.sin(2 * np.pi * TONES_HZ[label] * (1 + number / 20) * time_s) for label in labels]
            soundfile.write(sounds / fname, 0.3 * np.mean(tones, axis=0) + 0.01 * noise.normal(size=RATE), RATE)
        rows = [(fname, ",".join(labels), "", str(sounds / fname)) for fname, labels in given.items()]
        (run / "clips.csv").write_text(format_csv(("fname", "labels", "group", "path"), rows))
        Predictions(tuple(given), Vocabulary(LABELS), scores).write(run / "predictions.csv")
        (run / "recipe.toml").write_text(tomli_w.dumps(to_tables(load_recipe("fast"))))
        return run

    return make


@pytest.fixture
def run_folder(make_run: Callable[..., Path]) -> Path:
    return make_run()
