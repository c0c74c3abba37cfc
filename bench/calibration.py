"""Whether the scores of runs are probabilities, before and after calibration, kept.

    python bench/calibration.py everyday26 runs/everyday26-fast runs/everyday26-small-grey

For each run it takes the out-of-fold scores, learns every calibration on all folds but one, judges it on that one, and
writes to `bench/results/<collection>/`: `calibration.json` with date, machine and versions, and the expected
calibration error, Brier score and lwlrap of each method and run; `calibration.md`, the same as a table; and
`reliability-<run>.png`, the diagram before and after Platt's calibration.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance
from tabulate import tabulate

from earmark.evaluation.calibrate import METHODS, at_thresholds, held_out, held_out_tags
from earmark.evaluation.library import Judged, read_judged
from earmark.evaluation.reliability import brier, draw_reliability, ece, ece_by_label, reliability
from earmark.metrics import lwlrap

RESULTS = Path(__file__).parent / "results"
DRAWN = "platt"
PRECISION = 0.9
PACKAGES = ("earmark", "numpy", "scipy", "scikit-learn")
COLUMNS = ("ece", "ece_by_label", "brier", "lwlrap")


def scored(judged: Judged, scores: np.ndarray) -> dict[str, float]:
    """What scores are as probabilities, and as a ranking."""
    targets = judged.targets
    functions = dict(zip(COLUMNS, (ece, ece_by_label, brier, lwlrap), strict=True))
    return {name: function(targets, scores) for name, function in functions.items()}


def figures_of(run: Path, results: Path) -> dict[str, Any]:
    """Judge a run before and after each calibration, and draw the diagram of one."""
    judged, table = read_judged(run)
    scores = table.scores.clip(0, 1)
    after = {method: held_out(judged, scores, method) for method in METHODS}
    diagrams = [reliability(judged.targets, found) for found in (scores, after[DRAWN])]
    target = results / f"reliability-{run.resolve().name}.png"
    draw_reliability(diagrams[0], diagrams[1], target, title=f"{run.resolve().name}, {DRAWN}, out of fold")
    tags = {
        "before, 0.5": scores >= 0.5,
        f"{DRAWN}, best F1": held_out_tags(judged, after[DRAWN], None),
        f"{DRAWN}, precision {PRECISION}": held_out_tags(judged, after[DRAWN], PRECISION),
    }
    return {
        "n_clips": len(judged.fnames),
        "n_folds": judged.n_folds,
        "scores": {name: scored(judged, found) for name, found in {"before": scores, **after}.items()},
        "tags": {name: asdict(at_thresholds(judged.targets, given)) for name, given in tags.items()},
    }


def as_table(runs: dict[str, Any]) -> str:
    """A row a run and method."""
    rows = [
        [run, method, *(found[column] for column in COLUMNS)]
        for run, figures in runs.items()
        for method, found in figures["scores"].items()
    ]
    return tabulate(
        rows, ["run", "scores", "ECE", "ECE by label", "Brier", "lwlrap"], floatfmt=".4f", tablefmt="github"
    )


def main() -> None:
    """Parse, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", help="name of the folder to write to")
    parser.add_argument("runs", nargs="+", type=Path)
    arguments = parser.parse_args()
    results = RESULTS / arguments.collection
    results.mkdir(parents=True, exist_ok=True)
    runs = {run.resolve().name: figures_of(run, results) for run in arguments.runs}
    command = f"python bench/calibration.py {arguments.collection} {' '.join(f'runs/{name}' for name in runs)}"
    content = {"command": command, **provenance(*PACKAGES), "runs": runs}
    (results / "calibration.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    said = f"Out of fold, each calibration learned on the other folds: `{command}`\n\n{as_table(runs)}\n"
    (results / "calibration.md").write_text(said, encoding="utf-8")


if __name__ == "__main__":
    main()
