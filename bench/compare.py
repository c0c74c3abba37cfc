"""Compare runs on a collection, with and without test-time augmentation, and keep the figures.

    python bench/compare.py ../shared/data/everyday26 runs/everyday26-fast runs/everyday26-small-grey

The runs are those of `bench/crossval.py`, or any. Where one has no out-of-fold predictions with test-time augmentation,
they are made first (`--tta` views). Writes `compare.json`, `compare.md` and, where the collection has test clips,
`best-single.csv` to `bench/results/<collection>/`: the best of them scores the test, with augmentation where it
was the better so, its folds averaged.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from provenance import provenance

from earmark.data.layouts import read_collection
from earmark.evaluation.candidates import TTA_PREDICTIONS
from earmark.evaluation.compare import as_figures, as_table, compare

RESULTS = Path(__file__).parent / "results"


def earmark(*arguments: str | Path) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "earmark", *map(str, arguments)], check=True)


def main() -> None:
    """Parse, predict, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--tta", type=int, default=8, help="views of each clip")
    arguments = parser.parse_args()
    for run in arguments.runs:
        if not (run / TTA_PREDICTIONS).is_file():
            earmark("predict", run, arguments.collection, "--out-of-fold", "--tta", str(arguments.tta))
    comparison = compare(arguments.runs)
    results = RESULTS / arguments.collection.name
    results.mkdir(parents=True, exist_ok=True)
    figures = {
        "command": " ".join(["python bench/compare.py", arguments.collection.name, *map(str, sys.argv[2:])]),
        **provenance("earmark", "numpy", "onnxruntime"),
        **as_figures(comparison),
    }
    (results / "compare.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    end = f"`{figures['command']}`, {figures['date']}: {figures['machine']}; {versions}."
    page = ["# Runs compared", "", "```", as_table(comparison), "```", "", end, ""]
    (results / "compare.md").write_text("\n".join(page), encoding="utf-8")
    if len(read_collection(arguments.collection).subset("test")):
        best = comparison.rows[0].candidate
        views = ["--tta", str(best.settings["tta.n"])] if best.with_tta else []
        earmark("predict", best.run, arguments.collection, *views, "-o", results / "best-single.csv")


if __name__ == "__main__":
    main()
