"""Cross-validate recipes on a collection and keep the figures.

    python bench/crossval.py ../shared/data/esc10 fast
    python bench/crossval.py ../shared/data/everyday26 fast small-grey small-colour

For each recipe it trains all folds (a run that is there is continued), then writes to `bench/results/<collection>/`:
`crossval-<recipe>.json` with every fold's figures, date, machine, versions and seed; `submission-<recipe>.csv` where
the collection has test clips; and `held-out-tags-<recipe>.csv`, what the first clips of each fold are tagged as by the
bundle that was learned without that fold.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from provenance import processor

from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.tagging.tagger import load
from earmark.training.recipe import load_recipe

RESULTS = Path(__file__).parent / "results"
FIGURES = ("n_clips", "lwlrap", "map", "roc_auc", "f1", "accuracy", "folds", "lwlrap_per_label")
N_TAGGED_PER_FOLD = 2


def earmark(*arguments: str | Path) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "earmark", *map(str, arguments)], check=True)


def figures_of(run: Path, collection: Path, recipe: str) -> dict[str, Any]:
    """What is kept of a run."""
    metrics = json.loads((run / "metrics.json").read_text())
    folds = metrics["folds"]
    spread = {name: statistics.stdev(values) for name, values in folds.items() if name != "minutes"}
    provenance = {name: value for name, value in metrics.items() if name not in FIGURES}
    return {
        "recipe": recipe,
        "command": f"python bench/crossval.py {collection.name} {recipe}",
        "seed": load_recipe(run / "recipe.toml").fit.seed,
        "machine": processor(),
        **provenance,
        **{name: metrics[name] for name in FIGURES if name in metrics},
        "mean_over_folds": {name: statistics.mean(values) for name, values in folds.items()},
        "standard_deviation_over_folds": spread,
        "minutes_in_all": sum(folds["minutes"]),
    }


def tag_held_out(run: Path, manifest: Manifest, target: Path) -> None:
    """Tag some clips of every fold with the bundle that never heard it."""
    folds: dict[str, list[str]] = {}
    for line in (run / "folds.csv").read_text().splitlines()[1:]:
        name, fold = line.rsplit(",", 1)
        folds.setdefault(fold, []).append(name)
    clips = {clip.name: clip for clip in manifest.clips}
    rows = ["fname,fold,labels,tags"]
    for fold, names in sorted(folds.items()):
        tagger = load(run / f"fold-{fold}" / "model.onnx")
        for name in names[:: len(names) // N_TAGGED_PER_FOLD][:N_TAGGED_PER_FOLD]:
            said = " ".join(f"{tag.label}:{tag.score:.4f}" for tag in tagger.tag(clips[name].path))
            rows.append(f"{name},{fold},{' '.join(clips[name].labels)},{said}")
    target.write_text("\n".join(rows) + "\n", encoding="utf-8")


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs are kept")
    arguments = parser.parse_args()
    manifest = read_collection(arguments.collection)
    results = RESULTS / arguments.collection.name
    results.mkdir(parents=True, exist_ok=True)
    for recipe in arguments.recipes:
        run = arguments.runs / f"{arguments.collection.name}-{recipe}"
        resume = ["--resume"] if run.exists() else []
        earmark("train", arguments.collection, "--recipe", recipe, "-o", run, *resume)
        content = json.dumps(figures_of(run, arguments.collection, recipe), indent=1)
        (results / f"crossval-{recipe}.json").write_text(content + "\n", encoding="utf-8")
        tag_held_out(run, manifest, results / f"held-out-tags-{recipe}.csv")
        if len(manifest.subset("test")):
            earmark("predict", run, arguments.collection, "-o", results / f"submission-{recipe}.csv")


if __name__ == "__main__":
    main()
