"""How probably each label of each noisy clip is right, by networks that never saw that clip.

    python bench/noisy_ranking.py ../shared/data/everyday26 runs/noisy/relabel-seed*

The runs are of the strategy `agree` or `relabel`, which ask such networks: in each fold, one for either half of the
noisy clips. The last round of each run counts, as the mean over folds and runs. Only sound is used: neither names,
sources nor licences. Writes `bench/results/<collection>/noisy_ranking.csv` (`fname,label,p_correct`, the surest first),
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

RESULTS = Path(__file__).parent / "results"


def last_round(fold: Path) -> Path:
    """The scores of noisy clips that a fold made last."""
    tables = sorted(fold.glob("noisy-*.csv"), key=lambda path: int(path.stem.removeprefix("noisy-")))
    if not tables:
        raise SystemExit(f"{fold}: no noisy-0.csv; expected a run of the strategy 'agree' or 'relabel'")
    return tables[-1]


def mean_scores(runs: list[Path], manifest: Manifest) -> dict[str, np.ndarray]:
    """(n_labels,) of each noisy clip, over all folds of all runs in which it is scored."""
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for run in runs:
        for fold in sorted(run.glob("fold-*")):
            table = Predictions.read(last_round(fold))
            table = table.align(table.fnames, manifest.vocabulary)
            for name, scores in zip(table.fnames, table.scores, strict=True):
                found[name].append(scores)
    return {name: np.mean(scores, axis=0) for name, scores in found.items()}


def main() -> None:
    """Parse, average, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", dest="output", type=Path)
    arguments = parser.parse_args()
    manifest = open_store(arguments.data).manifest if is_store(arguments.data) else read_collection(arguments.data)
    noisy, scores = manifest.subset("noisy"), mean_scores(arguments.runs, manifest)
    position = {label: index for index, label in enumerate(manifest.vocabulary)}
    rows = [
        (clip.name, label, float(scores[clip.name][position[label]])) for clip in noisy.clips for label in clip.labels
    ]
    rows.sort(key=lambda row: -row[2])
    output = arguments.output or RESULTS / manifest.root.name / "noisy_ranking.csv"
    text = format_csv(("fname", "label", "p_correct"), [(name, label, f"{p:.6f}") for name, label, p in rows])
    output.write_text(text, encoding="utf-8")
    print(f"{output}: {len(rows)} labels of {len(noisy)} clips")


if __name__ == "__main__":
    main()
