"""A tiny packed collection, and a recipe that learns it in seconds."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.data.pack import pack
from earmark.data.store import Store, open_store
from earmark.labels import Vocabulary
from earmark.training.recipe import Recipe, load_recipe

LABELS = ("high", "low", "noise")
TINY = (
    "picture.log_mel.sample_rate=8000",
    "picture.log_mel.fmax=4000.0",
    "picture.log_mel.n_fft=512",
    "picture.log_mel.hop_length=200",
    "picture.log_mel.n_mels=32",
    "window_s=0.8",
    "hop_s=0.4",
    "model.width=0.125",
    "fit.batch_size=8",
    "fit.epochs=3",
    "fit.precision=32-true",
)


def tiny_sound(label: str, rng: np.random.Generator, sample_rate: int = 8000) -> np.ndarray:
    """A second or so of what the label says, over a little noise."""
    time_s = np.arange(int(sample_rate * rng.uniform(0.5, 1.5))) / sample_rate
    noise = rng.standard_normal(len(time_s))
    if label == "noise":
        return 0.3 * noise
    frequency_hz = rng.uniform(200, 500) if label == "low" else rng.uniform(1500, 3000)
    return 0.5 * np.sin(2 * np.pi * frequency_hz * time_s) + 0.005 * noise


@pytest.fixture(scope="session")
def tiny_manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Thirty clips of three labels, in pairs of one source."""
    folder, rng = tmp_path_factory.mktemp("tiny"), np.random.default_rng(1)
    clips = []
    for i in range(30):
        label = LABELS[i // 2 % 3]
        path = folder / f"{i:02d}.wav"
        soundfile.write(path, tiny_sound(label, rng), 8000)
        clips.append(Clip(path.name, path, (label,), group=f"source{i // 2}"))
    return Manifest(tuple(clips), Vocabulary(LABELS), folder, "table")


@pytest.fixture(scope="session")
def tiny_store(tiny_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tiny collection, packed."""
    folder = tmp_path_factory.mktemp("store") / "tiny"
    pack(tiny_manifest, folder, Encoding.waveform(8000), progress=False)
    return open_store(folder)


@pytest.fixture
def tiny_recipe() -> Recipe:
    """The recipe `fast` cut down to seconds."""
    return load_recipe("fast", list(TINY))
