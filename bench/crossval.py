"""Cross-validate recipes on a collection and keep the figures.

    python bench/crossval.py ../shared/data/esc10 fast
    python bench/crossval.py ../shared/data/everyday26 fast small-grey small-colour
    python bench/crossval.py ../shared/data/everyday26 seed-resnet34-grey-224 --fold 0 --batch-size 32 --cycle 3
    python bench/crossval.py ../shared/data/esc10 fast mobile --seeds 0 100 200 --jobs 6
    python bench/crossval.py ../shared/data/everyday26 pretrained --set model.init=mn04_as_mAP_432.pt

For each recipe it trains all folds (a run that is there is continued), or one where a recipe is too heavy for the
machine, then writes to `bench/results/<collection>/`:
`crossval-<recipe>.json` with every fold's figures of the first seed, what all seeds came to, date, machine, versions;
`submission-<recipe>.csv` where the collection has test clips; and `held-out-tags-<recipe>.csv`, what the first clips of
each fold are tagged as by the bundle that was learned without that fold; both of the first seed. `--cycle` shortens
each of a recipe's stages to so many epochs. What was changed of a recipe stands in its results. With `--jobs`, so many
trainings run side by side, first seeds first, and each one's minutes are longer for the others; with `--within`, what
is not done by then is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provenance import processor

from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.tagging.tagger import load
from earmark.training.crossval import SUMMARY
from earmark.training.recipe import Recipe, load_recipe, to_tables

RESULTS = Path(__file__).parent / "results"
FIGURES = ("n_clips", "lwlrap", "map", "map_micro", "roc_auc", "d_prime", "f1", "accuracy", "folds", "lwlrap_per_label")
N_TAGGED_PER_FOLD = 2


@dataclass(frozen=True)
class Job:
    """One training: a recipe with one seed on all folds of a collection, or on one of them."""

    collection: Path
    recipe: str
    seed: int
    run: Path
    options: argparse.Namespace

    def train(self, until: float) -> None:
        """Run the command line as a user does, up to a time of the monotonic clock; a fold that is done then stays."""
        options = self.options
        lighter = settings_of(load_recipe(self.recipe), options.batch_size, options.cycle)
        lighter += [part for setting in options.set for part in ("--set", setting)]
        lighter += ["--set", f"fit.seed={self.seed}", *(["--set", "fit.compile=off"] if options.jobs > 1 else [])]
        one = [] if options.fold is None else ["--fold", str(options.fold)]
        resume = ["--resume"] if self.run.exists() else []
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // options.jobs))} if options.jobs > 1 else {}
        arguments = ["train", self.collection, "--recipe", self.recipe, "-o", self.run, *lighter, *one, *resume]
        remaining = until - time.monotonic()
        if remaining <= 0:
            return
        try:
            earmark(*arguments, timeout=remaining, environment=threads)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            print(f"{self.run} is not done: {error}", file=sys.stderr)

    @property
    def figures(self) -> Path:
        """Where its metrics are once it is done."""
        return (self.run if self.options.fold is None else self.run / f"fold-{self.options.fold}") / "metrics.json"


def earmark(*arguments: str | Path, timeout: float | None = None, environment: dict[str, str] | None = None) -> None:
    """Run the command line as a user does."""
    subprocess.run(
        [sys.executable, "-m", "earmark", *map(str, arguments)],
        check=True,
        timeout=timeout if timeout != float("inf") else None,
        env={**os.environ, **(environment or {})},
    )


def figures_of(jobs: list[Job]) -> dict[str, Any]:
    """What is kept of a recipe's jobs, one a seed: all of the first, and what the seeds came to."""
    first = jobs[0]
    metrics = json.loads(first.figures.read_text())
    if first.options.fold is not None:
        metrics["folds"] = {name: [metrics[name]] for name in SUMMARY if name in metrics}
        metrics["only_fold"] = first.options.fold
    folds = metrics["folds"]
    provenance = {name: value for name, value in metrics.items() if name not in FIGURES}
    return {
        "recipe": first.recipe,
        "command": command_of(first),
        "seed": first.seed,
        "changed": changes(load_recipe(first.recipe), load_recipe(first.run / "recipe.toml")),
        "machine": processor(),
        "trainings_side_by_side": first.options.jobs,
        **provenance,
        **{name: metrics[name] for name in FIGURES if name in metrics},
        "mean_over_folds": {name: statistics.mean(values) for name, values in folds.items()},
        "standard_deviation_over_folds": spread(folds),
        "minutes_in_all": sum(folds["minutes"]),
        "seeds": over_seeds(jobs),
    }


def spread(figures: dict[str, list[float]]) -> dict[str, float]:
    """Standard deviations of figures that there are several of."""
    return {name: statistics.stdev(v) for name, v in figures.items() if name != "minutes" and len(v) > 1}


def over_seeds(jobs: list[Job]) -> dict[str, Any]:
    """Figures over all clips (or the one fold) of every seed, their mean and their spread."""
    of_seeds = [json.loads(job.figures.read_text()) for job in jobs]
    figures = {name: [one[name] for one in of_seeds] for name in SUMMARY if name in of_seeds[0] and name != "minutes"}
    return {
        "seeds": [job.seed for job in jobs],
        **figures,
        "mean": {name: statistics.mean(values) for name, values in figures.items()},
        "standard_deviation": spread(figures),
    }


def command_of(job: Job) -> str:
    """What a person types to get the figures again."""
    plain: dict[str, Any] = {"fold": None, "batch_size": None, "cycle": None, "seeds": [0], "jobs": 1}
    given = {name: getattr(job.options, name) for name in plain}
    shown = [
        f" --{name.replace('_', '-')} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in given.items()
        if value != plain[name]
    ]
    shown += [f" --set {setting}" for setting in job.options.set]
    return f"python bench/crossval.py {job.collection.name} {job.recipe}{''.join(shown)}"


def changes(published: Recipe, learned: Recipe) -> dict[str, Any]:
    """What of a recipe was changed for the measurement."""
    before, after = to_tables(published), to_tables(learned)
    return {
        f"{table}.{name}": value
        for table in ("model", "augment", "loss", "noisy", "fit")
        for name, value in after[table].items()
        if before[table].get(name) != value
    }


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


def keep(jobs: list[Job], manifest: Manifest, results: Path) -> None:
    """Write a recipe's results, of the seeds that are done."""
    recipe, first = jobs[0].recipe, jobs[0]
    (results / f"crossval-{recipe}.json").write_text(json.dumps(figures_of(jobs), indent=1) + "\n", encoding="utf-8")
    tag_held_out(first.run, manifest, results / f"held-out-tags-{recipe}.csv")
    if first.options.fold is None and len(manifest.subset("test")) and not first.options.no_submission:
        earmark("predict", first.run, first.collection, "-o", results / f"submission-{recipe}.csv")


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--fold", type=int, help="learn this one alone")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every recipe")
    parser.add_argument("--batch-size", type=int, help="instead of the recipe's")
    parser.add_argument("--cycle", type=int, help="epochs of each of the recipe's stages")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--within", type=float, default=float("inf"), help="seconds for all trainings")
    parser.add_argument("--no-submission", action="store_true", help="do not score the test clips")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results are kept")
    options = parser.parse_args()
    manifest = read_collection(options.collection)
    results = options.results / options.collection.name
    results.mkdir(parents=True, exist_ok=True)
    jobs = [
        Job(options.collection, recipe, seed, options.runs / run_name(options.collection, recipe, seed), options)
        for seed in options.seeds
        for recipe in options.recipes
    ]
    until = time.monotonic() + options.within
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda job: job.train(until), jobs))
    for recipe in options.recipes:
        if done := [job for job in jobs if job.recipe == recipe and job.figures.is_file()]:
            keep(done, manifest, results)


def run_name(collection: Path, recipe: str, seed: int) -> str:
    """Folder of a run."""
    return f"{collection.name}-{recipe}" + (f"-seed{seed}" if seed else "")


if __name__ == "__main__":
    main()
