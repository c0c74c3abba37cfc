"""How probably each label of each noisy clip is right, by networks that never saw that clip.

    python bench/noisy_ranking.py ../shared/data/everyday26 runs/noisy/relabel-seed*
    python bench/noisy_ranking.py ../shared/data/everyday26 runs/everyday26-small-grey runs/noisy/relabel-seed0

A run of the strategy `agree` or `relabel` asks such networks: in each fold, one for either half of the noisy clips; its
last round counts, as the mean over folds. A run of the strategy `ignore` saw no noisy clip at all, and its bundle is
asked. What is written is the mean over the runs, each of which counts alike. Only sound is used: neither names, sources
nor licences. Writes `bench/results/<collection>/noisy_ranking.csv` (`fname,label,p_correct`, the surest first),
or `-o FILE`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.data.rows import format_csv
from earmark.data.store import is_store, open_store
from earmark.predictions import Predictions
from earmark.tagging.predict import predict_clips
from earmark.tagging.tagger import load
from earmark.training.recipe import load_recipe

RESULTS = Path(__file__).parent / "results"


def last_round(fold: Path) -> Path:
    """The scores of noisy clips that a fold made last."""
    tables = sorted(fold.glob("noisy-*.csv"), key=lambda path: int(path.stem.removeprefix("noisy-")))
    if not tables:
        raise SystemExit(f"{fold}: no noisy-0.csv; expected a run of the strategy 'agree' or 'relabel'")
    return tables[-1]


def scores_of(run: Path, noisy: Manifest) -> np.ndarray:
    """What a run says of noisy clips that it never saw: (n_clips, n_labels)."""
    if load_recipe(run / "recipe.toml").noisy.strategy == "ignore":
        table, errors = predict_clips(load(run, n_threads=1), noisy)
        if errors:
            raise errors[0]
        return table.scores
    tables = [Predictions.read(last_round(fold)) for fold in sorted(run.glob("fold-*"))]
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for table in tables:
        aligned = table.align(table.fnames, noisy.vocabulary)
        for name, scores in zip(aligned.fnames, aligned.scores, strict=True):
            found[name].append(scores)
    return np.stack([np.mean(found[name], axis=0) for name in noisy.names])


def main() -> None:
    """Parse, average, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", dest="output", type=Path)
    arguments = parser.parse_args()
    manifest = open_store(arguments.data).manifest if is_store(arguments.data) else read_collection(arguments.data)
    noisy = manifest.subset("noisy")
    scores = np.mean([scores_of(run, noisy) for run in arguments.runs], axis=0)
    rows = [
        (clip.name, label, float(own[noisy.vocabulary.index(label)]))
        for clip, own in zip(noisy.clips, scores, strict=True)
        for label in clip.labels
    ]
    rows.sort(key=lambda row: -row[2])
    output = arguments.output or RESULTS / manifest.root.name / "noisy_ranking.csv"
    text = format_csv(("fname", "label", "p_correct"), [(name, label, f"{p:.6f}") for name, label, p in rows])
    output.write_text(text, encoding="utf-8")
    print(f"{output}: {len(rows)} labels of {len(noisy)} clips")


if __name__ == "__main__":
    main()
