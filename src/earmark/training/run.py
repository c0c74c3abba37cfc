"""A run's folder: a recipe, a packed collection and its folds, begun or gone on with."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tomli_w

from earmark.atomic import is_temporary, remove_leftovers, write_text_atomically
from earmark.data.folds import assign_folds, read_folds, write_folds
from earmark.data.manifest import NEVER_HELD_OUT, Manifest
from earmark.data.rows import format_csv
from earmark.data.store import Store
from earmark.errors import RecipeError, RunError
from earmark.locking import locked
from earmark.training.feed import check_source
from earmark.training.models import build_network, initialise
from earmark.training.recipe import Recipe, load_recipe, to_tables

PATIENCE_S = 600.0
"""How long a process waits for the first one to begin the run."""

BEGINNING = ("folds.csv", "clips.csv")
"""What a run's folder holds before its recipe, which is written last and makes it a run."""


@dataclass(frozen=True)
class Run:
    """A run's folder and what it is about."""

    folder: Path
    recipe: Recipe
    store: Store
    folds: np.ndarray

    @property
    def n_folds(self) -> int:
        """How many folds there are."""
        return int(self.folds.max()) + 1

    @property
    def noisy(self) -> np.ndarray:
        """(n_clips,) bool: the clips that a machine labelled, which no fold holds out."""
        return is_noisy(self.store.manifest)

    @property
    def judged(self) -> Manifest:
        """The clips that a fold holds out, which are all but those that are only learned from."""
        kept = zip(self.store.manifest.clips, self.folds, strict=True)
        return self.store.manifest.only(clip for clip, fold in kept if fold != NEVER_HELD_OUT)

    def fold_folder(self, fold: int) -> Path:
        """Where one fold's files lie."""
        return self.folder / f"fold-{fold}"

    def is_done(self, fold: int) -> bool:
        """Whether a fold's last file is there."""
        return (self.fold_folder(fold) / "metrics.json").is_file()


def open_run(folder: Path, recipe: Recipe, store: Store, folds: int | Path | None, *, resume: bool) -> Run:
    """Start a run's folder, or take up one that was interrupted.

    Parameters
    ----------
    folder
        Of the run.
    recipe
        What is learned with; a run that is resumed must have the same one.
    store
        What is learned from.
    folds
        How many; or a table `fname,fold` of them, as `earmark data folds` writes it; `None` for the collection's own,
        or five.
    resume
        Whether a folder that is there already may be continued.

    Raises
    ------
    RunError
        When the folder is in use and `resume` is not set, or it belongs to another recipe.
    RecipeError
        When the store does not hold what the recipe's front end takes, `model.init` does not fit the network, or there
        is none and the last layer is to be solved.
    BundleError
        When the file that `model.init` names cannot be read.
    CollectionError
        When the clips cannot be divided so, or the table is not of these clips or tears a recording apart.
    """
    check_source(recipe, store)
    _check_init(recipe, store.manifest.vocabulary.names)
    first = is_first_process()
    if not first:
        _wait_for(folder / "recipe.toml")
    if (folder / "recipe.toml").exists():
        if not resume and first:
            raise RunError(f"{folder}: holds a run already; continue it with --resume, or name another folder")
        if load_recipe(folder / "recipe.toml") != recipe:
            raise RunError(f"{folder}: was begun with another recipe (its recipe.toml); name another folder")
        numbers = read_folds(folder / "folds.csv", without_noisy(store.manifest).names)
        return Run(folder, recipe, store, _with_noisy(store.manifest, numbers))
    if folder.exists() and any(not (resume and _is_of_beginning(path)) for path in folder.iterdir()):
        raise RunError(f"{folder}: is not empty and holds no run; name a new folder")
    assigned, curated = assigned_folds(store.manifest, folds), without_noisy(store.manifest)
    folder.mkdir(parents=True, exist_ok=True)
    write_folds(folder / "folds.csv", curated.names, assigned[~is_noisy(store.manifest)])
    rows = [(clip.name, ",".join(clip.labels), clip.group or "", os.path.abspath(clip.path)) for clip in curated.clips]
    write_text_atomically(folder / "clips.csv", format_csv(("fname", "labels", "group", "path"), rows))
    write_text_atomically(folder / "recipe.toml", tomli_w.dumps(to_tables(recipe)))
    for name in (*BEGINNING, "recipe.toml"):
        remove_leftovers(folder / name)
    return Run(folder, recipe, store, assigned)


@contextmanager
def alone(path: Path, doing: str, *, wait: bool = False) -> Iterator[None]:
    """Keep other commands from a part of a run, and remove what killed ones have left half-written in it.

    Parameters
    ----------
    path
        A fold's folder, or a file.
    doing
        What each command does with it, for the message.
    wait
        Whether to wait for another command, rather than to refuse.

    Raises
    ------
    StoreError
        When another command is at it and is not to be waited for.
    """
    if not is_first_process():  # of several that train together, the first has it for all
        yield
        return
    with locked(path, wait=(lambda _: None) if wait else None, doing=doing):
        for leftover in filter(is_temporary, path.iterdir() if path.is_dir() else ()):
            leftover.unlink()
        yield


def _is_of_beginning(path: Path) -> bool:
    """Whether a file is one that a process which was killed before it had written the recipe leaves."""
    return path.name in BEGINNING or is_temporary(path)


def _check_init(recipe: Recipe, labels: tuple[str, ...]) -> None:
    """Say now, and not once the folder is made and the clips are read, that there is nothing to begin with."""
    if recipe.model.init:
        initialise(build_network(recipe.model, len(labels)), recipe.model, labels)
    elif recipe.fit.head == "solved":
        raise RecipeError(
            "fit.head is 'solved', which goes by what the layers before it have learned, and they are random; "
            "name a file of weights: --set model.init=mn04_as_mAP_432.pt, or another run's network.pt"
        )


def assigned_folds(manifest: Manifest, folds: int | Path | None) -> np.ndarray:
    """The fold of each clip, (n_clips,) int64, from what `open_run` takes; noisy clips are never held out.

    Folds are those that the curated clips would have without any noisy ones.
    """
    curated = without_noisy(manifest)
    if not isinstance(folds, Path):
        return _with_noisy(manifest, assign_folds(curated, folds))
    numbers = read_folds(folds, curated.names)
    given = zip(curated.clips, numbers.tolist(), strict=True)
    return _with_noisy(manifest, assign_folds(curated.only(replace(clip, fold=number) for clip, number in given)))


def is_noisy(manifest: Manifest) -> np.ndarray:
    """(n_clips,) bool: the clips that a machine labelled."""
    return np.array([clip.subset == "noisy" for clip in manifest.clips], dtype=bool)


def without_noisy(manifest: Manifest) -> Manifest:
    """The clips that folds are made of."""
    return manifest.only(clip for clip in manifest.clips if clip.subset != "noisy")


def _with_noisy(manifest: Manifest, folds_of_curated: np.ndarray) -> np.ndarray:
    """Folds of all clips from those of the curated ones."""
    folds = np.full(len(manifest), NEVER_HELD_OUT, dtype=np.int64)
    folds[~is_noisy(manifest)] = folds_of_curated
    return folds


def is_first_process() -> bool:
    """Whether this process, of those that train together, is the one that writes: by the environment they share.

    Lightning's launcher, torchrun and SLURM each say so in variables of their own.
    """
    of_all, of_each_machine = ("RANK", "SLURM_PROCID"), ("LOCAL_RANK", "NODE_RANK")
    ranks = of_all if any(name in os.environ for name in of_all) else of_each_machine
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def _wait_for(path: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not path.exists():
        if time.monotonic() > until:
            raise RunError(f"{path}: the first process has not begun the run within {PATIENCE_S:g} s; see its output")
        time.sleep(0.2)
