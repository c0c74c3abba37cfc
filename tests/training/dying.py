"""A training that ends as by kill -9 in the middle of a batch: python dying.py STORE FOLDER CALLS SETTING...

It leaves what a killed process leaves.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earmark.data.store import Store, open_store
from earmark.training.feed import Feed
from earmark.training.fit import Validation, fit
from earmark.training.models import build_network
from earmark.training.pictures import Pictures, spectrograms_of
from earmark.training.recipe import Recipe, load_recipe


def learned(folder: Path, store: Store, recipe: Recipe) -> torch.nn.Module:
    """Learn from the first twenty clips, with a curve on the others, saving after every step."""
    targets = torch.from_numpy(store.manifest.targets())
    spectrograms = spectrograms_of(store, np.arange(len(store)), recipe.picture, progress=False)
    feed = Feed(recipe, Pictures(spectrograms[:20], recipe.picture), targets[:20])
    validation = Validation(Pictures(spectrograms[20:], recipe.picture), targets[20:])
    torch.manual_seed(0)
    network = build_network(recipe.model, targets.shape[1])
    folder.mkdir(exist_ok=True)
    return fit(recipe, network, feed, validation, folder, seed=0, save_every_s=0.0)


def main() -> None:
    """Die at the so-many-th batch."""
    store, folder, calls, settings = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    whole, called = Feed.batch, [0]

    def batch(*arguments: Any, **options: Any) -> Any:
        called[0] += 1
        if called[0] == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **options)

    Feed.batch = batch  # type: ignore[method-assign]
    learned(folder, open_store(store), load_recipe("fast", settings))


if __name__ == "__main__":
    main()
