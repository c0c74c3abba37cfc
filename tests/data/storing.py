"""What the tests of stores share: collections of WAV files, packed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.data.pack import Packed, pack
from earmark.data.store import Store, open_store
from earmark.errors import EarmarkError
from earmark.labels import Vocabulary

RATE = 8000
WAVEFORM = Encoding.waveform(RATE)
VOCABULARY = Vocabulary(["Bark", "Meow", "Purr"])
FILES = ["clips.csv", "samples.npy", "store.json"]


def manifest_of(folder: Path, waveforms: dict[str, np.ndarray]) -> Manifest:
    """A collection of floating-point WAV files without labels."""
    folder.mkdir(exist_ok=True)
    for name, samples in waveforms.items():
        soundfile.write(folder / name, samples, RATE, subtype="FLOAT")
    return Manifest(tuple(Clip(name, folder / name, ()) for name in waveforms), VOCABULARY, folder, "table")


def noise_of(folder: Path, n_clips: int, seed: int = 0) -> Manifest:
    """Clips of noise, of different lengths and levels."""
    rng = np.random.default_rng(seed)
    lengths, levels = rng.integers(100, 9000, n_clips), 10.0 ** rng.uniform(-4, 0.5, n_clips)
    pairs = zip(lengths, levels, strict=True)
    noise = [(level * rng.standard_normal(n_samples)).astype(np.float32) for n_samples, level in pairs]
    return manifest_of(folder, {f"{index:03d}.wav": samples for index, samples in enumerate(noise)})


def packed(manifest: Manifest, folder: Path, encoding: Encoding = WAVEFORM, **options: Any) -> Store:
    """Pack without a bar, and open what came of it."""
    put(manifest, folder, encoding, **options)
    return open_store(folder)


def put(manifest: Manifest, folder: Path, encoding: Encoding = WAVEFORM, **options: Any) -> Packed:
    """Pack without a bar."""
    return pack(manifest, folder, encoding, progress=False, **options)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def error_of(call: Callable[[], object], kind: type[EarmarkError]) -> str:
    """The text of the error that a call ends with."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return str(caught.value)
