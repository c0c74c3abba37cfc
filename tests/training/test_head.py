from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from earmark.data.store import Store
from earmark.errors import RecipeError
from earmark.predictions import Predictions
from earmark.training.crossval import cross_validate, load_network
from earmark.training.head import last_layer, solved
from earmark.training.recipe import load_recipe
from earmark.training.run import open_run

from .conftest import TINY

SOLVED = (*TINY, "fit.epochs=0", "fit.head=solved")


@pytest.fixture(scope="module")
def points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of different sizes, one of which says nothing; labels; and what each row counts for."""
    rng = np.random.default_rng(0)
    features = rng.normal(3, 1, (200, 6)) * np.array([1, 10, 0.1, 1, 1, 0])
    labels = (features[:, :2] / [1, 10] + rng.normal(0, 1, (200, 2)) > 3).astype(np.float32)
    return features.astype(np.float32), labels, rng.uniform(0.2, 2, 200).astype(np.float32)


@pytest.mark.parametrize("penalty", [0.5, 30.0])
def test_it_is_the_logistic_regression_of_scikit_learn(
    points: tuple[np.ndarray, np.ndarray, np.ndarray], penalty: float
) -> None:
    features, labels, counts = points
    weight, bias = solved(*map(torch.from_numpy, points), penalty)
    mean = np.average(features, axis=0, weights=counts)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=counts))
    spread[spread < 1e-6] = 1
    for label in range(2):
        model = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000)
        model.fit((features - mean) / spread, labels[:, label], sample_weight=counts)
        expected = model.decision_function((features - mean) / spread)
        found = features @ weight[label].numpy() + float(bias[label])
        assert np.abs(found - expected).max() < 1e-3


def test_soft_targets_are_those_that_are_true_so_often() -> None:
    features, targets = torch.zeros(10, 1), torch.full((10, 1), 0.3)
    weight, bias = solved(features, targets, torch.ones(10), 1.0)
    assert float(weight) == 0
    assert float(torch.sigmoid(bias)) == pytest.approx(0.3, abs=1e-4)


def test_a_row_counts_as_often_as_its_weight_says(points: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    features, labels = (torch.from_numpy(points[i]) for i in range(2))
    twice = torch.cat([features, features[:50]]), torch.cat([labels, labels[:50]]), torch.ones(250)
    once = features, labels, torch.cat([torch.full((50,), 2.0), torch.ones(150)])
    for a, b in zip(solved(*twice, 1.0), solved(*once, 1.0), strict=True):
        assert torch.allclose(a, b, atol=1e-3)


def test_a_probe_changes_the_last_layer_and_nothing_else(tiny_store: Store, tmp_path: Path) -> None:
    recipe = load_recipe("fast", [*TINY, "fit.epochs=3"])
    cross_validate(open_run(tmp_path / "first", recipe, tiny_store, 2, resume=False), only_fold=0, progress=False)
    weights = tmp_path / "first" / "fold-0" / "network.pt"
    recipe = load_recipe("fast", [*SOLVED, f"model.init={weights}", "fit.head_penalty=1"])
    run = open_run(tmp_path / "run", recipe, tiny_store, 2, resume=False)
    cross_validate(run, progress=False)
    before, after = load_network(weights.parent), load_network(tmp_path / "run" / "fold-0")
    last = {f"fc.{name}" for name in last_layer(after).state_dict()}
    for name, value in after.state_dict().items():
        assert torch.equal(value, before.state_dict()[name]) == (name not in last), name
    scores = Predictions.read(tmp_path / "run" / "predictions.csv")
    targets = tiny_store.manifest.targets()
    right = scores.align(tiny_store.manifest.names, tiny_store.manifest.vocabulary).scores.argmax(1) == targets.argmax(
        1
    )
    assert right.mean() > 0.9


def test_a_training_begins_with_what_is_solved(tiny_store: Store, tmp_path: Path) -> None:
    recipe = load_recipe("fast", [*TINY, "fit.epochs=40"])
    cross_validate(open_run(tmp_path / "first", recipe, tiny_store, 2, resume=False), only_fold=0, progress=False)
    saved = torch.load(tmp_path / "first" / "fold-0" / "network.pt", weights_only=True)
    for name in ("fc.weight", "fc.bias"):
        saved["network"][name].zero_()
    torch.save(saved, tmp_path / "headless.pt")
    losses = {}
    for head in ("learned", "solved"):
        settings = [f"model.init={tmp_path / 'headless.pt'}", "fit.lr=1e-6", "fit.epochs=1", "fit.head_penalty=1"]
        recipe = load_recipe("fast", [*TINY, *settings, f"fit.head={head}"])
        cross_validate(open_run(tmp_path / head, recipe, tiny_store, 2, resume=False), only_fold=0, progress=False)
        with (tmp_path / head / "fold-0" / "metrics.csv").open() as file:
            losses[head] = float(next(csv.DictReader(file))["train_loss"])
    assert losses["solved"] < losses["learned"]


def test_nothing_is_solved_over_random_layers(tiny_store: Store, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="have learned, and they are random; name a file of weights"):
        open_run(tmp_path / "run", load_recipe("fast", SOLVED), tiny_store, 2, resume=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["fit.head=learned"], "epochs is 0, which is for a head that is solved"),
        (["augment.noise.probability=1.0"], "leave out what changes their waveforms"),
        (["model.pooling=attention"], "take another pooling"),
        (["noisy.strategy=soft"], "noisy.strategy 'soft' wants epochs"),
    ],
)
def test_what_cannot_be_solved_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("fast", [*SOLVED, *settings])
