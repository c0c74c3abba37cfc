"""Folds of runs as tasks on a Ray cluster, each on cores and GPUs of its own.

A task reads the packed store and writes the fold's folder, which all machines must see under the same paths. One whose
worker is lost is started anew, elsewhere if need be, and goes on at the last state that is in the folder.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.manifest import Manifest
from earmark.errors import EarmarkError, TrainingError
from earmark.training.progress import TABLE
from earmark.training.recipe import Recipe
from earmark.training.run import Run

N_RETRIES = 5
"""How many workers may be lost over a fold, before it is given up."""

LOOK_EVERY_S = 1.0
"""How often the curves of the folds are looked at."""

SHOWN = ("lwlrap", "map", "accuracy", "minutes")


@dataclass(frozen=True)
class Share:
    """What a fold gets of the cluster: cores, and GPUs, which may be a part of one."""

    cores: float = 1
    gpus: float = 0


@dataclass(frozen=True)
class FoldTask:
    """A fold of a run, or its refit, as it is sent to another process.

    Attributes
    ----------
    folder
        The run's, absolute.
    recipe
        What is learned with.
    store
        Folder of the packed store, absolute.
    manifest
        The clips that are learned from.
    folds
        (n_clips,) int64.
    fold
        Which one; None for one network on all clips.
    """

    folder: Path
    recipe: Recipe
    store: Path
    manifest: Manifest
    folds: np.ndarray
    fold: int | None

    @classmethod
    def of(cls, run: Run, fold: int | None) -> FoldTask:
        """What a process elsewhere needs to know of a fold."""
        folder = Path(os.path.abspath(run.folder))
        return cls(folder, run.recipe, run.store.folder, run.store.manifest, run.folds, fold)

    @property
    def name(self) -> str:
        """Of the run, then of the fold."""
        return f"{self.folder.name} {'refit' if self.fold is None else f'fold {self.fold}'}"

    @property
    def own_folder(self) -> Path:
        """Where the fold's files lie."""
        return self.folder / ("refit" if self.fold is None else f"fold-{self.fold}")

    @property
    def is_done(self) -> bool:
        """Whether its last file is there."""
        return (self.own_folder / ("model.onnx" if self.fold is None else "metrics.json")).is_file()

    def learn(self) -> None:
        """Learn the fold here, from its last state if it has one."""
        from earmark.data.store import open_store
        from earmark.training.crossval import learn_folds, refit

        run = Run(self.folder, self.recipe, open_store(self.store).restricted(self.manifest), self.folds)
        if self.fold is None:
            refit(run, progress=False)
        else:
            learn_folds(run, [self.fold], progress=False)


def share_of(ray: Any, cores: float | None, gpus: float | None) -> Share:
    """What each fold gets: what is asked for, or one core, and one GPU where the cluster has any.

    Raises
    ------
    EarmarkError
        When no machine of the cluster has as much.
    """
    machines: list[dict[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    has_gpus = any(machine.get("GPU", 0) for machine in machines)
    share = Share(1 if cores is None else cores, float(has_gpus) if gpus is None else gpus)
    if not any(machine.get("CPU", 0) >= share.cores and machine.get("GPU", 0) >= share.gpus for machine in machines):
        largest = max(machines, key=lambda machine: (machine.get("GPU", 0), machine.get("CPU", 0)))
        raise EarmarkError(
            f"no machine of the cluster has {share.cores:g} cores and {share.gpus:g} GPUs for a fold; the largest has "
            f"{largest.get('CPU', 0):g} and {largest.get('GPU', 0):g}; lower --cores or --gpus"
        )
    return share


def learn_on(ray: Any, tasks: Sequence[FoldTask], share: Share, say: Callable[[str], None]) -> None:
    """Learn folds on a cluster, as many at a time as it has room for.

    Parameters
    ----------
    ray
        The module, connected to a cluster.
    tasks
        In the order in which they are begun.
    share
        What each gets.
    say
        Told what the held-out clips say of a fold as it goes on, and what it came to.

    Raises
    ------
    TrainingError
        When folds could not be learned; the others are.
    """
    from ray.exceptions import RayError

    learn = ray.remote(FoldTask.learn).options(num_cpus=share.cores, num_gpus=share.gpus, max_retries=N_RETRIES)
    running = {learn.remote(task): task for task in tasks}
    curves = {task.name: _Seen(task) for task in tasks}
    failed: list[str] = []
    while running:
        done, _ = ray.wait(list(running), timeout=LOOK_EVERY_S)
        for task in running.values():
            curves[task.name].tell(say)
        for reference in done:
            task = running.pop(reference)
            try:
                ray.get(reference)
                say(f"{task.name}: {_came_to(task)}")
            except RayError as error:
                failed.append(f"{task.name}: {_reason(error)}")
                say(failed[-1])
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(tasks)} could not be learned; the others are done, and the same call with "
            f"--resume goes on: {'; '.join(failed)}"
        )


class _Seen:
    """What has been told of a fold's curve."""

    def __init__(self, task: FoldTask) -> None:
        self.task = task
        self.n_rows = len(self._rows())

    def _rows(self) -> list[dict[str, str]]:
        try:
            text = (self.task.own_folder / TABLE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [row for row in csv.DictReader(text.splitlines()) if row["validation_lwlrap"]]

    def tell(self, say: Callable[[str], None]) -> None:
        """Tell the points that are new."""
        rows = self._rows()
        for row in rows[self.n_rows :]:
            epoch = f"epoch {int(row['epoch']) + 1} of {self.task.recipe.fit.epochs}"
            say(f"{self.task.name}, {epoch}: lwlrap {float(row['validation_lwlrap']):.3f}")
        self.n_rows = len(rows)


def _came_to(task: FoldTask) -> str:
    if task.fold is None:
        return f"done, {task.own_folder / 'model.onnx'}"
    figures = json.loads((task.own_folder / "metrics.json").read_text(encoding="utf-8"))
    return "done, " + ", ".join(f"{name} {figures[name]:.4g}" for name in SHOWN if name in figures)


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None)
    if isinstance(cause, EarmarkError):
        return str(cause)
    return f"{type(cause or error).__name__}: {str(cause or error).strip().splitlines()[-1]}"
