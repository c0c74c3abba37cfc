"""Cross-validate recipes on a collection and keep the figures.

    python bench/crossval.py ../shared/data/esc10 fast
    python bench/crossval.py ../shared/data/everyday26 fast small-grey small-colour
    python bench/crossval.py ../shared/data/everyday26 seed-resnet34-grey-224 --fold 0 --batch-size 32 --cycle 3

For each recipe it trains all folds (a run that is there is continued), or one where a recipe is too heavy for the
machine, then writes to `bench/results/<collection>/`:
`crossval-<recipe>.json` with every fold's figures, date, machine, versions and seed; `submission-<recipe>.csv` where
the collection has test clips; and `held-out-tags-<recipe>.csv`, what the first clips of each fold are tagged as by the
bundle that was learned without that fold. `--cycle` shortens each of a recipe's stages to so many epochs. What was
changed of a recipe stands in its results.
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
from earmark.training.crossval import SUMMARY
from earmark.training.recipe import Recipe, load_recipe, to_tables

RESULTS = Path(__file__).parent / "results"
FIGURES = ("n_clips", "lwlrap", "map", "roc_auc", "f1", "accuracy", "folds", "lwlrap_per_label")
N_TAGGED_PER_FOLD = 2


def earmark(*arguments: str | Path) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "earmark", *map(str, arguments)], check=True)


def figures_of(run: Path, recipe: str, command: str, fold: int | None) -> dict[str, Any]:
    """What is kept of a run, or of the one fold that was learned."""
    metrics = json.loads(((run if fold is None else run / f"fold-{fold}") / "metrics.json").read_text())
    if fold is not None:
        metrics["folds"] = {name: [metrics[name]] for name in SUMMARY if name in metrics}
        metrics["only_fold"] = fold
    folds = metrics["folds"]
    spread = {name: statistics.stdev(v) for name, v in folds.items() if name != "minutes" and len(v) > 1}
    provenance = {name: value for name, value in metrics.items() if name not in FIGURES}
    return {
        "recipe": recipe,
        "command": command,
        "seed": load_recipe(run / "recipe.toml").fit.seed,
        "changed": changes(load_recipe(recipe), load_recipe(run / "recipe.toml")),
        "machine": processor(),
        **provenance,
        **{name: metrics[name] for name in FIGURES if name in metrics},
        "mean_over_folds": {name: statistics.mean(values) for name, values in folds.items()},
        "standard_deviation_over_folds": spread,
        "minutes_in_all": sum(folds["minutes"]),
    }


def changes(published: Recipe, learned: Recipe) -> dict[str, Any]:
    """What of a recipe's optimisation was changed for the measurement."""
    before, after = to_tables(published)["fit"], to_tables(learned)["fit"]
    return {f"fit.{name}": value for name, value in after.items() if before[name] != value}


def settings_of(recipe: Recipe, batch_size: int | None, cycle: int | None) -> list[str]:
    """Arguments of `train` that make a recipe lighter."""
    settings = [] if batch_size is None else [f"fit.batch_size={batch_size}"]
    if cycle is not None:
        stages = [f"{{epochs={cycle}, lr_lowest={stage.lr_lowest}}}" for stage in recipe.fit.stages]
        settings += [f"fit.epochs={cycle * len(stages)}", f"fit.stages=[{', '.join(stages)}]"]
    return [part for setting in settings for part in ("--set", setting)]


def tag_held_out(run: Path, manifest: Manifest, target: Path) -> None:
    """Tag some clips of every fold with the bundle that never heard it."""
    folds: dict[str, list[str]] = {}
    for line in (run / "folds.csv").read_text().splitlines()[1:]:
        name, fold = line.rsplit(",", 1)
        folds.setdefault(fold, []).append(name)
    clips = {clip.name: clip for clip in manifest.clips}
    rows = ["fname,fold,labels,tags"]
    for fold, names in sorted(folds.items()):
        if not (run / f"fold-{fold}" / "model.onnx").is_file():
            continue
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
    parser.add_argument("--fold", type=int, help="learn this one alone")
    parser.add_argument("--batch-size", type=int, help="instead of the recipe's")
    parser.add_argument("--cycle", type=int, help="epochs of each of the recipe's stages")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs are kept")
    arguments = parser.parse_args()
    manifest = read_collection(arguments.collection)
    results = RESULTS / arguments.collection.name
    results.mkdir(parents=True, exist_ok=True)
    for recipe in arguments.recipes:
        run = arguments.runs / f"{arguments.collection.name}-{recipe}"
        resume = ["--resume"] if run.exists() else []
        lighter = settings_of(load_recipe(recipe), arguments.batch_size, arguments.cycle)
        one = [] if arguments.fold is None else ["--fold", str(arguments.fold)]
        earmark("train", arguments.collection, "--recipe", recipe, "-o", run, *lighter, *one, *resume)
        options = {"--fold": arguments.fold, "--batch-size": arguments.batch_size, "--cycle": arguments.cycle}
        given = [f" {name} {value}" for name, value in options.items() if value is not None]
        command = f"python bench/crossval.py {arguments.collection.name} {recipe}{''.join(given)}"
        content = json.dumps(figures_of(run, recipe, command, arguments.fold), indent=1)
        (results / f"crossval-{recipe}.json").write_text(content + "\n", encoding="utf-8")
        tag_held_out(run, manifest, results / f"held-out-tags-{recipe}.csv")
        if arguments.fold is None and len(manifest.subset("test")):
            earmark("predict", run, arguments.collection, "-o", results / f"submission-{recipe}.csv")


if __name__ == "__main__":
    main()
