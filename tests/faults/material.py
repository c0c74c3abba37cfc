"""Recordings and collections to break things with: noise of chance, and short."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

LABELS = ("high", "low", "noise")
RATE = 16_000
TINY = (
    "picture.log_mel.sample_rate=8000",
    "picture.log_mel.fmax=4000.0",
    "picture.log_mel.n_fft=512",
    "picture.log_mel.hop_length=200",
    "picture.log_mel.n_mels=32",
    "window_s=0.8",
    "hop_s=0.4",
    "model.width=0.125",
    "fit.batch_size=4",
    "fit.epochs=2",
    "fit.precision=32-true",
)
"""What makes of the recipe `fast` one that learns in a second."""


def earmark(*arguments: object) -> list[str]:
    """The command line as a process's arguments."""
    return [sys.executable, "-m", "earmark", *map(str, arguments)]


def run(*arguments: object, status: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line; it must end with a status, and without a traceback."""
    done = subprocess.run(earmark(*arguments), capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def sound(label: str, rng: np.random.Generator, duration_s: float) -> np.ndarray:
    """(n_samples,) of what a label says, over a little noise."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    noise = rng.standard_normal(len(time_s))
    if label == "noise":
        return 0.3 * noise
    frequency_hz = rng.uniform(200, 500) if label == "low" else rng.uniform(1500, 3000)
    return 0.5 * np.sin(2 * np.pi * frequency_hz * time_s) + 0.01 * noise


def write_collection(folder: Path, n_clips: int, duration_s: float = 1.0) -> Path:
    """A collection with a table, every two clips of one source."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = []
    for number in range(n_clips):
        label = LABELS[number // 2 % len(LABELS)]
        soundfile.write(folder / f"{number:03}.wav", sound(label, rng, duration_s), RATE)
        rows.append((f"{number:03}.wav", label, f"source{number // 2}"))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "labels", "group"), *rows])
    return folder
