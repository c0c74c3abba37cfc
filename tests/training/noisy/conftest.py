"""The tiny collection with noisy clips: labelled by a machine that is wrong every other time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.data.pack import pack
from earmark.data.store import Store, open_store
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.run import Run, open_run

from ..conftest import LABELS, TINY, tiny_sound

N_NOISY = 24


@pytest.fixture(scope="session")
def mixed_store(tiny_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Thirty curated clips, and noisy ones in pairs of one source; the last of them from a curated clip's source."""
    folder, rng = tmp_path_factory.mktemp("mixed"), np.random.default_rng(2)
    clips = list(tiny_manifest.clips)
    for clip in clips:
        (folder / clip.name).symlink_to(clip.path)
    clips = [Clip(c.name, folder / c.name, c.labels, group=c.group) for c in clips]
    for i in range(N_NOISY):
        heard = LABELS[i % 3]
        given = heard if i // 3 % 2 else LABELS[(i + 1) % 3]
        labels = (given, LABELS[(i + 2) % 3]) if i % 4 == 3 else (given,)
        path = folder / f"noisy{i:02d}.wav"
        soundfile.write(path, tiny_sound(heard, rng), 8000)
        group = "source0" if i == N_NOISY - 1 else f"video{i // 2}"
        clips.append(Clip(path.name, path, tuple(sorted(set(labels))), "noisy", group))
    manifest = Manifest(tuple(clips), tiny_manifest.vocabulary, folder, "table")
    pack(manifest, folder / "store", Encoding.waveform(8000), progress=False)
    return open_store(folder / "store")


@pytest.fixture
def begin(mixed_store: Store, tmp_path: Path) -> Callable[..., Run]:
    """Begins a run of two folds, or takes it up, by a strategy and further settings."""

    def begun(strategy: str, *settings: str, folder: str = "run") -> Run:
        recipe = noisy_recipe(strategy, *settings)
        store = mixed_store
        if strategy == "ignore":
            store = store.restricted(store.manifest.subset("curated"))
        return open_run(tmp_path / folder, recipe, store, 2, resume=True)

    return begun


def noisy_recipe(strategy: str, *settings: str) -> Recipe:
    """The tiny recipe with a strategy."""
    return load_recipe("fast", [*TINY, "fit.epochs=1", f"noisy.strategy={strategy}", *settings])
