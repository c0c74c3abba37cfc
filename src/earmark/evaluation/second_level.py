"""A second-level model: from the logits of all candidates to those of the labels, by scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np

from earmark.bundle import Layer
from earmark.metrics import lwlrap

RIDGE_PENALTIES = (1e1, 1e2, 1e3, 1e4, 1e5)
"""Of which one is chosen by cross-validation over the folds at hand; features are standardised."""

DEFAULT_PENALTY = 1e3
"""Where there is one fold alone, which leaves nothing to choose it by."""

SLOPE = 4.0
"""Ridge predicts targets of 0 and 1; its scores are ``sigmoid(4 (prediction - 1/2))``, which has the slope 1 at 1/2."""

N_HIDDEN = 32
MLP_PENALTY = 1.0
MLP_ITERATIONS = 200


def fit_second_level(kind: str, features: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> tuple[Layer, ...]:
    """Learn a second-level model.

    Parameters
    ----------
    kind
        ``"ridge"`` or ``"mlp"``.
    features
        (n_clips, n_features) logits.
    targets
        (n_clips, n_labels), 0 or 1.
    folds
        (n_clips,) of these clips; ridge's penalty is chosen over them.

    Returns
    -------
    tuple of Layer
        For `earmark.bundle.Combination`.
    """
    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std > 0, std, 1.0)
    standard = (features - mean) / std
    layers = _ridge(standard, targets, folds) if kind == "ridge" else _mlp(standard, targets)
    weights, bias = layers[0]
    layers[0] = (weights / std[:, None], bias - (mean / std) @ weights)
    return tuple(Layer(tuple(map(tuple, w.astype(np.float32).tolist())), tuple(b.tolist())) for w, b in layers)


def _ridge(features: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.linear_model import Ridge

    numbers = np.unique(folds)
    figures = []
    for penalty in RIDGE_PENALTIES if len(numbers) > 1 else ():
        predicted = np.zeros(targets.shape)
        for fold in numbers:
            held = folds == fold
            predicted[held] = Ridge(alpha=penalty).fit(features[~held], targets[~held]).predict(features[held])
        figures.append(lwlrap(targets, predicted))
    penalty = RIDGE_PENALTIES[int(np.argmax(figures))] if figures else DEFAULT_PENALTY
    model = Ridge(alpha=penalty).fit(features, targets)
    return [(SLOPE * model.coef_.T, SLOPE * (model.intercept_ - 0.5))]


def _mlp(features: np.ndarray, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped early on purpose
        model = MLPClassifier((N_HIDDEN,), alpha=MLP_PENALTY, max_iter=MLP_ITERATIONS, random_state=0)
        model.fit(features, targets.astype(int))
    return list(zip(model.coefs_, model.intercepts_, strict=True))
