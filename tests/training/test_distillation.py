"""A student learns from labels and a teacher, and its fold's folder says what the teacher said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earmark.data.store import Store
from earmark.errors import RunError
from earmark.labels import Vocabulary
from earmark.predictions import Predictions
from earmark.training.crossval import cross_validate, load_network
from earmark.training.distillation import TEACHER, soft_targets, targets_of
from earmark.training.recipe import Recipe
from earmark.training.run import open_run


def test_targets_by_hand() -> None:
    """Half the label, half the score at temperature 2: of 0.9, whose odds are 9, odds of 3, which are 0.75."""
    found = soft_targets(np.array([[1.0, 0.0, 1.0]]), np.array([[0.9, 0.1, 0.5]]))
    np.testing.assert_allclose(found, [[0.875, 0.125, 0.75]], rtol=1e-6)
    assert found.dtype == np.float32


def test_targets_stay_in_range_though_the_teacher_is_sure() -> None:
    found = soft_targets(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]], dtype=np.float32))
    assert 0.999 < found[0, 0] <= 1
    assert 0 <= found[0, 1] < 0.001


def test_without_a_teacher_there_are_none(tiny_store: Store, tmp_path: Path) -> None:
    assert targets_of(tmp_path, tiny_store.manifest, np.arange(3)) is None


def test_a_teacher_may_have_its_own_order(tiny_store: Store, tmp_path: Path, rng: np.random.Generator) -> None:
    manifest, indices = tiny_store.manifest, np.array([4, 2, 7])
    said = rng.random((3, 3)).astype(np.float32)
    names = tuple(manifest.names[i] for i in indices[::-1])
    Predictions(names, Vocabulary(manifest.vocabulary.names[::-1]), said[::-1, ::-1]).write(tmp_path / TEACHER)
    found = targets_of(tmp_path, manifest, indices)
    np.testing.assert_array_equal(found, soft_targets(manifest.targets()[indices], said))


def test_a_teacher_of_other_clips(tiny_store: Store, tmp_path: Path) -> None:
    manifest = tiny_store.manifest
    Predictions(tuple(manifest.names[:3]), manifest.vocabulary, np.zeros((3, 3))).write(tmp_path / TEACHER)
    with pytest.raises(RunError) as caught:
        targets_of(tmp_path, manifest, np.arange(1, 4))
    assert str(caught.value).startswith(
        f"{tmp_path / TEACHER}: 2 clips are in the table or in the fold's training alone; a teacher scores what"
    )


def test_what_a_teacher_says_is_learned(tiny_store: Store, tiny_recipe: Recipe, tmp_path: Path) -> None:
    """A teacher who knows nothing leaves a network less sure than labels alone do."""
    largest = {}
    for name in ("alone", "taught"):
        run = open_run(tmp_path / name, tiny_recipe, tiny_store, 2, resume=False)
        if name == "taught":
            learned = np.flatnonzero(run.folds != 0)
            names = tuple(tiny_store.manifest.names[i] for i in learned)
            run.fold_folder(0).mkdir()
            unsure = np.full((len(names), 3), 0.5)
            Predictions(names, tiny_store.manifest.vocabulary, unsure).write(run.fold_folder(0) / TEACHER)
        cross_validate(run, only_fold=0, progress=False)
        largest[name] = [p.detach().numpy() for p in load_network(run.fold_folder(0)).parameters()][-1]
    assert largest["taught"].mean() > largest["alone"].mean()  # the last layer's offsets are drawn towards one half
