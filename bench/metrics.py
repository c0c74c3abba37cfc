"""Every metric at the contest's size: how long it takes, and how far it lies from scikit-learn's.

    python bench/metrics.py

Scores are random, 20,000 clips by 80 labels, 1.15 labels a clip. Times are the quickest of some calls on one thread.
Differences are the largest over random, tied, perfect and single-label tables; where nothing has a label, metrics are
undefined and scikit-learn's are not asked. Writes `bench/results/metrics.json` and `metrics.md`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.metrics
from provenance import provenance
from tabulate import tabulate

from earmark import metrics
from earmark.evaluation.bootstrap import interval

RESULTS = Path(__file__).parent / "results"
N_CLIPS, N_LABELS, N_SOURCES = 20_000, 80, 5_000
LABELS_PER_CLIP = 1.15
N_CALLS = 5
N_LEVELS = 8
SEED = 0

Table = tuple[np.ndarray, np.ndarray]


def lwlrap_of_sklearn(targets: np.ndarray, scores: np.ndarray) -> float:
    """Label ranking average precision, each clip weighted by its number of labels."""
    weight = targets.sum(axis=1)
    return float(sklearn.metrics.label_ranking_average_precision_score(targets, scores, sample_weight=weight))


def f1_of_sklearn(targets: np.ndarray, scores: np.ndarray) -> float:
    """Macro F1 at 0.5; every label of these tables has a positive."""
    return float(sklearn.metrics.f1_score(targets, scores >= 0.5, average="macro"))


METRICS: dict[str, tuple[Callable[..., float], Callable[..., float]]] = {
    "lwlrap": (metrics.lwlrap, lwlrap_of_sklearn),
    "map": (metrics.mean_average_precision, sklearn.metrics.average_precision_score),
    "map_micro": (
        lambda t, s: metrics.mean_average_precision(t, s, "micro"),
        lambda t, s: sklearn.metrics.average_precision_score(t, s, average="micro"),
    ),
    "roc_auc": (metrics.roc_auc, sklearn.metrics.roc_auc_score),
    "f1": (metrics.f1, f1_of_sklearn),
}


def tables(rng: np.random.Generator) -> dict[str, Table]:
    """Targets and scores, by what is special about them."""
    single = np.eye(N_LABELS, dtype=bool)[rng.permutation(np.arange(N_CLIPS) % N_LABELS)]
    targets = single | (rng.random(single.shape) < (LABELS_PER_CLIP - 1) / N_LABELS)
    scores = rng.random(targets.shape, dtype=np.float32)
    return {
        "random": (targets, scores),
        "tied": (targets, np.round(scores * N_LEVELS) / N_LEVELS),
        "perfect": (targets, targets.astype(np.float32)),
        "single": (single, scores),
    }


def seconds(call: Callable[[], object], n_calls: int = N_CALLS) -> float:
    """The quickest of some calls."""
    quickest = np.inf
    for _ in range(n_calls):
        began = time.perf_counter()
        call()
        quickest = min(quickest, time.perf_counter() - began)
    return float(quickest)


def measure() -> list[dict[str, Any]]:
    """A row a metric, and all of them together."""
    kinds = tables(np.random.default_rng(SEED))
    targets, scores = kinds["random"]
    rows: list[dict[str, Any]] = []
    for name, (own, other) in METRICS.items():
        rows.append(
            {
                "metric": name,
                "s": seconds(lambda own=own: own(targets, scores)),
                "sklearn_s": seconds(lambda other=other: other(targets, scores), 1),
                "apart": max(abs(own(*table) - other(*table)) for table in kinds.values()),
            }
        )
    names = [f"label {i}" for i in range(N_LABELS)]
    rows.append({"metric": "all, and lwlrap a label", "s": seconds(lambda: metrics.evaluate(targets, scores, names))})
    sources = np.random.default_rng(SEED).integers(N_SOURCES, size=N_CLIPS)
    for what, groups in (("clips", None), ("sources", sources)):
        took = seconds(lambda groups=groups: interval(metrics.lwlrap, targets, scores, groups=groups), 2)
        rows.append({"metric": f"lwlrap's interval, 1000 draws of {what}", "s": took})
    return rows


def as_page(figures: dict[str, Any]) -> str:
    """The figures for people."""
    rows = [
        [
            row["metric"],
            f"{row['s']:.3f}",
            f"{row['sklearn_s']:.3f}" if "sklearn_s" in row else "",
            f"{row['apart']:.0e}" if "apart" in row else "",
        ]
        for row in figures["metrics"]
    ]
    head = ["metric", "s", "scikit-learn, s", "apart, at most"]
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    end = f"`{figures['command']}`, {figures['date']}: {figures['machine']}, one thread; {versions}."
    size = f"{figures['n_clips']:,} clips by {figures['n_labels']} labels."
    table = tabulate(rows, head, tablefmt="github", disable_numparse=True, colalign=("left", *3 * ("right",)))
    return "\n".join(["# Metrics", "", size, "", table, "", end, ""])


def main() -> None:
    """Measure and write."""
    figures = {
        "command": "python bench/metrics.py",
        **provenance("earmark", "numpy", "scikit-learn"),
        "n_clips": N_CLIPS,
        "n_labels": N_LABELS,
        "metrics": measure(),
    }
    (RESULTS / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "metrics.md").write_text(as_page(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
