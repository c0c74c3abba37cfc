"""Strategies: what a network learns of noisy clips, and which networks are asked before.

Noisy clips are never held out and judge nothing. For fold k, every network that is asked has learned from fold k's
training part alone, so that no clip which fold k holds out has a say in what is learned. And a noisy clip is scored by
networks alone that never saw it:

- the *teacher*, in `teacher/`, learns from the curated clips of the training part and no noisy one;
- in each further round, noisy clips are divided by chance into two halves, recordings whole; the network in
  `round-R-0/` learns from the curated clips and the second half, with the labels of the round before, and scores the
  first half; that in `round-R-1/` the other way round.

What they say is in `noisy-0.csv`, `noisy-1.csv` and so on. From the second round on, a clip has had a say in the labels
of the other half, which taught the network that scores it; in the first round, not even that.

The labels that are hardest are found by networks in `inner-0/`, `inner-1/`, …: the curated clips of the training part
are divided again, recordings whole, and each part is scored by a network that learned from the others (`inner.csv`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from earmark.data.folds import assign_folds, components
from earmark.metrics import lwlrap_per_label
from earmark.training.models import TaggingNetwork
from earmark.training.noisy.lessons import Learning, Lesson

Relabel = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Makes targets of given labels and scores, all (n_clips, n_labels)."""


def prepare(learning: Learning) -> tuple[Lesson, TaggingNetwork]:
    """Do what a run's strategy wants done before.

    Parameters
    ----------
    learning
        The fold.

    Returns
    -------
    lesson, network
        What is learned, and the network that learns it, with the weights that it begins with.
    """
    strategy = learning.run.recipe.noisy.strategy
    if strategy == "ignore" or not len(learning.noisy):
        return learning.lesson(), learning.beginning()
    if strategy == "pretrain":
        return learning.lesson(), _pretrained(learning)
    return learning.lesson(_TARGETS[strategy](learning)), learning.beginning()


def _given(learning: Learning) -> np.ndarray:
    return learning.targets(learning.noisy)


def _pretrained(learning: Learning) -> TaggingNetwork:
    """The network after it learned from noisy clips alone."""
    epochs = learning.run.recipe.noisy.pretrain_epochs
    learned = learning.helper("pretrained", Lesson(learning.noisy, _given(learning)), epochs=epochs)
    network = learning.beginning()
    network.load_state_dict(learned.state_dict())
    return network


def _of_hard_labels(learning: Learning) -> np.ndarray:
    """Labels of the noisy clips that have one alone, which is among the hardest."""
    hard, given = hard_labels(learning), _given(learning)
    single = given.sum(axis=1) == 1
    return given * (single & given[:, hard].any(axis=1))[:, None]


def hard_labels(learning: Learning) -> np.ndarray:
    """The labels that networks tell worst of curated clips that they never saw.

    How well a label is told is its lwlrap, out of fold within the training part: of the clips that have it, how much of
    what is ranked as high or higher is right. The recipe's `hard_share` says how many labels are taken, rounded up.

    Returns
    -------
    np.ndarray
        Positions in the vocabulary, the hardest first.
    """
    noisy = learning.run.recipe.noisy
    per_label, _ = lwlrap_per_label(learning.targets(learning.curated), inner_scores(learning))
    n_hard = math.ceil(noisy.hard_share * len(per_label))
    hardest = np.argsort(per_label, kind="stable")[:n_hard]  # a label that no clip has, NaN, comes last
    return hardest[~np.isnan(per_label[hardest])]


def inner_scores(learning: Learning) -> np.ndarray:
    """(n_curated, n_labels): each curated clip of the training part by a network that learned from others of them."""
    manifest, curated = learning.run.store.manifest, learning.curated
    clips = manifest.only(replace(manifest.clips[clip], fold=None) for clip in curated)

    def scored() -> np.ndarray:
        parts = assign_folds(clips, learning.run.recipe.noisy.inner_folds, seed=learning.seed)
        scores = np.zeros((len(curated), len(manifest.vocabulary)), np.float32)
        for part in range(int(parts.max()) + 1):
            others = curated[parts != part]
            network = learning.helper(f"inner-{part}", Lesson(others, learning.targets(others)))
            scores[parts == part] = learning.scores(network, curated[parts == part])
        return scores

    return learning.table("inner", curated, scored)


def _agreed(learning: Learning) -> np.ndarray:
    noisy = learning.run.recipe.noisy
    return cross_fitted(learning, lambda given, scores: supported(given, scores, noisy.agree_top, noisy.agree_score))


def _relabelled(learning: Learning) -> np.ndarray:
    weight = learning.run.recipe.noisy.given_weight
    return cross_fitted(learning, lambda given, scores: weight * given + (1 - weight) * scores)


def supported(given: np.ndarray, scores: np.ndarray, top: int, least: float) -> np.ndarray:
    """Given labels that are among a clip's best by its scores, and score enough.

    Parameters
    ----------
    given
        (n_clips, n_labels), 0 or 1.
    scores
        (n_clips, n_labels) in [0, 1].
    top
        A label counts that fewer labels than this score higher than.
    least
        Lowest score that counts.

    Returns
    -------
    np.ndarray
        (n_clips, n_labels), `given` with 0 where it is not supported.

    Examples
    --------
    >>> supported(np.array([[1.0, 1.0, 0.0]]), np.array([[0.2, 0.6, 0.7]]), top=2, least=0.1)
    array([[0., 1., 0.]])
    """
    n_higher = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
    return given * ((n_higher < top) & (scores >= least))


def cross_fitted(learning: Learning, relabel: Relabel) -> np.ndarray:
    """Targets of the noisy clips by networks that never saw them; see the module.

    Parameters
    ----------
    learning
        The fold.
    relabel
        Makes targets of given labels and scores, in each round.

    Returns
    -------
    np.ndarray
        (n_noisy, n_labels) in [0, 1].
    """
    given, noisy = _given(learning), learning.noisy
    scores = learning.table(
        "noisy-0", noisy, lambda: learning.scores(learning.helper("teacher", learning.lesson()), noisy)
    )
    for number in range(1, learning.run.recipe.noisy.rounds + 1):
        scores = learning.table(f"noisy-{number}", noisy, _by_halves(learning, number, relabel(given, scores)))
    return relabel(given, scores)


def _by_halves(learning: Learning, number: int, targets: np.ndarray) -> Callable[[], np.ndarray]:
    half_of = halves(learning, number)

    def scored() -> np.ndarray:
        scores = np.zeros_like(targets, dtype=np.float32)
        for half in (0, 1):
            lesson = learning.lesson(targets * (half_of != half)[:, None])
            network = learning.helper(f"round-{number}-{half}", lesson)
            scores[half_of == half] = learning.scores(network, learning.noisy[half_of == half])
        return scores

    return scored


def halves(learning: Learning, number: int) -> np.ndarray:
    """(n_noisy,) int64, 0 or 1: the half that each noisy clip is in, in a round; clips of one recording are in one."""
    clips = learning.run.store.manifest.clips
    parts = components([clips[clip].group for clip in learning.noisy])
    shuffled = np.random.default_rng([learning.seed, number]).permutation(int(parts.max()) + 1)
    sizes = np.bincount(parts)[shuffled]
    second = np.cumsum(sizes) - sizes / 2 > len(parts) / 2
    half_of_part = np.empty(len(shuffled), dtype=np.int64)
    half_of_part[shuffled] = second
    return half_of_part[parts]


_TARGETS: dict[str, Callable[[Learning], np.ndarray]] = {
    "all": _given,
    "two-heads": _given,
    "soft": _given,
    "hard-classes": _of_hard_labels,
    "agree": _agreed,
    "relabel": _relabelled,
}
"""Targets of the noisy clips by each strategy, (n_noisy, n_labels); clips without a positive one are left out."""
