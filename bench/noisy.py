"""What each strategy for noisy clips gains: cross-validated on the same folds, over several seeds.

    python bench/noisy.py ../shared/data/everyday26 --seeds 0 1 2
    python bench/noisy.py store/ --strategies ignore all relabel:rounds=2,given_weight=0.5 --jobs 8 --device cuda
    python bench/noisy.py store/ --strategies ignore all --set fit.epochs=40 --minutes 8

The collection may be a packed store, and then nothing is decoded. Each run is a folder of its own below `--runs`; one
that is there is gone on with, at the fold, and the batch, where it was. A strategy may have options of the recipe's
table `[noisy]` behind a colon. Jobs are folds of runs, each in a process; `--minutes` begins none after that time. The
network that learned by `ignore` is the teacher of `agree` and `relabel` with the same seed and fold, and is taken over.

From all finished runs it writes `bench/results/<collection>/noisy.json` and `noisy.md`, into which what was measured
elsewhere by the same recipe is taken over: lwlrap of all clips out of fold, its mean and standard deviation over seeds,
and the difference to `ignore` by the same seed. A run's out-of-fold predictions are in its `predictions.csv`; what
networks that never saw a noisy clip say of it, in `fold-K/noisy-R.csv` (see `bench/noisy_ranking.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import torch
from provenance import provenance
from tabulate import tabulate

from earmark.data.cache import training_store
from earmark.data.store import Store
from earmark.training.crossval import cross_validate
from earmark.training.noisy.recipe import Strategy
from earmark.training.recipe import load_recipe, to_tables
from earmark.training.run import Run, open_run

RESULTS = Path(__file__).parent / "results"
FIRST = "ignore"
TAUGHT = ("agree", "relabel")
SEEDS_APART = 100
"""Fold i of a run is seeded with the run's seed + i, so seeds of runs must be further apart than there are folds."""


@dataclass(frozen=True)
class Variant:
    """A strategy with its options, and a seed."""

    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return f"{self.strategy.replace(':', '-').replace(',', '-')}-seed{self.seed}"

    @property
    def settings(self) -> list[str]:
        """What it changes in a recipe."""
        name, _, options = self.strategy.partition(":")
        values = [f"noisy.{option}" for option in options.split(",") if option]
        return [f"noisy.strategy={name}", *values, f"fit.seed={self.seed * SEEDS_APART}"]


@dataclass(frozen=True)
class Plan:
    """What is the same in all runs."""

    data: Path
    recipe: str
    settings: list[str]
    runs: Path

    def folder(self, variant: Variant) -> Path:
        """Of a run."""
        return self.runs / variant.name

    def open(self, variant: Variant, stores: dict[bool, Store]) -> Run:
        """Begin a run, or take it up."""
        recipe = load_recipe(self.recipe, [*self.settings, *variant.settings])
        noisy = recipe.noisy.strategy != FIRST
        if noisy not in stores:
            rate = recipe.picture.log_mel.sample_rate
            stores[noisy] = training_store(self.data, rate, noisy=noisy, progress=False)
        return open_run(self.folder(variant), recipe, stores[noisy], None, resume=True)


STORES: dict[bool, Store] = {}
"""What a process has opened."""


def limit(n_threads: int) -> None:
    """Leave the other processes their cores."""
    torch.set_num_threads(n_threads)


def learn(plan: Plan, variant: Variant, fold: int) -> float:
    """One fold of one run, in a process of its own; gives the seconds it took."""
    began = time.monotonic()
    run = plan.open(variant, STORES)
    first = plan.folder(Variant(FIRST, variant.seed)) / f"fold-{fold}" / "network.pt"
    teacher = run.fold_folder(fold) / "teacher" / "network.pt"
    if variant.strategy.partition(":")[0] in TAUGHT and first.exists() and not teacher.exists():
        teacher.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(first, teacher)
    cross_validate(run, only_fold=fold, progress=False)
    return time.monotonic() - began


def learn_all(plan: Plan, variants: list[Variant], n_jobs: int, until: float) -> None:
    """Every fold of the runs that is not done, so many at a time."""
    runs = {variant: plan.open(variant, STORES) for variant in variants}
    jobs = [(v, fold) for v, run in runs.items() for fold in range(run.n_folds) if not run.is_done(fold)]
    n_threads = max(1, (os.cpu_count() or 1) // n_jobs)
    with ProcessPoolExecutor(
        n_jobs, mp_context=get_context("spawn"), initializer=limit, initargs=(n_threads,)
    ) as processes:
        waiting, running, n_done = jobs[::-1], {}, 0
        while (waiting and time.monotonic() < until) or running:
            while waiting and len(running) < n_jobs and time.monotonic() < until:
                variant, fold = waiting.pop()
                running[processes.submit(learn, plan, variant, fold)] = (variant, fold)
            done = next(as_completed(running))
            variant, fold = running.pop(done)
            n_done += 1
            error = done.exception()
            said = f"failed: {error}" if error else f"{done.result():.0f} s"
            print(f"{n_done} of {len(jobs)}: {variant.name} fold {fold}: {said}", flush=True)


def figures_of(run: Run) -> dict[str, Any]:
    """What is kept of a finished run."""
    metrics = json.loads((run.folder / "metrics.json").read_text())
    kept = ("lwlrap", "map", "date", "device", "torch", "folds")
    return {name: metrics[name] for name in kept}


def merged(path: Path, head: dict[str, Any], measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All figures by one recipe: those of this machine, and those that the results have of others."""
    known: dict[str, dict[str, Any]] = {}
    if path.exists():
        earlier = json.loads(path.read_text())
        if (earlier["recipe"], earlier["changed"]) == (head["recipe"], head["changed"]):
            known = {name: found["seeds"] for name, found in earlier["strategies"].items()}
    for name, seeds in measured.items():
        known[name] = {**known.get(name, {}), **seeds}
    first = known.get(FIRST, {})
    strategies = {name: summary(seeds, first) for name, seeds in known.items()}
    return {**head, "strategies": dict(sorted(strategies.items(), key=lambda item: -item[1]["lwlrap_mean"]))}


def summary(seeds: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Mean and spread of a strategy over its seeds, and what it gains on `ignore` by the same seeds."""
    values = [figures["lwlrap"] for figures in seeds.values()]
    gains = [figures["lwlrap"] - first[seed]["lwlrap"] for seed, figures in seeds.items() if seed in first]
    return {
        "lwlrap_mean": statistics.mean(values),
        "lwlrap_standard_deviation_over_seeds": statistics.stdev(values) if len(values) > 1 else None,
        "gain_on_ignore_mean": statistics.mean(gains) if gains else None,
        "gains_on_ignore": gains,
        "minutes_a_run": statistics.mean(sum(figures["folds"]["minutes"]) for figures in seeds.values()),
        "seeds": dict(sorted(seeds.items())),
    }


def table(results: dict[str, Any]) -> str:
    """The figures as a page."""
    rows = []
    for name, found in results["strategies"].items():
        spread, gains = found["lwlrap_standard_deviation_over_seeds"], found["gains_on_ignore"]
        rows.append(
            [
                f"`{name}`",
                len(found["seeds"]),
                f"{found['lwlrap_mean']:.4f}",
                "" if spread is None else f"{spread:.4f}",
                f"{found['gain_on_ignore_mean']:+.4f}" if gains and name != FIRST else "",
                f"{min(gains):+.4f} to {max(gains):+.4f}" if gains and name != FIRST else "",
                f"{found['minutes_a_run']:.1f}",
            ]
        )
    columns = [
        "strategy",
        "seeds",
        "lwlrap",
        "standard deviation",
        "gain on `ignore`",
        "of single seeds",
        "minutes a run",
    ]
    changed = ", ".join(results["changed"]) or "nothing"
    head = f"`{results['command']}`, {results['date']}; recipe `{results['recipe']}`, changed: {changed}."
    body = tabulate(rows, columns, tablefmt="github", disable_numparse=True)
    return f"# Strategies for noisy clips\n\n{head}\n\n{body}\n"


def write(plan: Plan, variants: list[Variant], command: str) -> None:
    """Figures of all finished runs, in `noisy.json` and `noisy.md`."""
    measured: dict[str, dict[str, Any]] = {}
    name = ""
    for variant in variants:
        run = plan.open(variant, STORES)
        name = run.store.manifest.root.name
        if (run.folder / "metrics.json").is_file():
            figures = {**figures_of(run), "noisy": to_tables(run.recipe)["noisy"]}
            measured.setdefault(variant.strategy, {})[str(variant.seed)] = figures
        else:
            print(f"{variant.name}: {sum(map(run.is_done, range(run.n_folds)))} of {run.n_folds} folds are done")
    if not measured:
        return
    folder = RESULTS / name
    folder.mkdir(parents=True, exist_ok=True)
    head = {"command": command, "recipe": plan.recipe, "changed": plan.settings, **provenance("earmark", "torch")}
    results = merged(folder / "noisy.json", head, measured)
    (folder / "noisy.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "noisy.md").write_text(table(results), encoding="utf-8")
    print(table(results))


def main() -> None:
    """Parse, learn, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--strategies", nargs="+", default=list(get_args(Strategy)), metavar="NAME[:KEY=VALUE,...]")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="auto", help="cpu, or cuda, or cuda:N")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no fold after that time")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "noisy")
    parser.add_argument("--only-write", action="store_true", help="learn nothing, write what the runs say")
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif ":" in arguments.device:
        os.environ["CUDA_VISIBLE_DEVICES"] = arguments.device.partition(":")[2]
    # so many short trainings of a small network do not win back what compiling takes
    settings = ["fit.compile=off", *arguments.settings]
    plan = Plan(arguments.data, arguments.recipe, settings, arguments.runs)
    until = time.monotonic() + 60 * arguments.minutes
    variants = [Variant(strategy, seed) for seed in arguments.seeds for strategy in arguments.strategies]
    if not arguments.only_write:
        learn_all(plan, [v for v in variants if v.strategy == FIRST], arguments.jobs, until)
        learn_all(plan, [v for v in variants if v.strategy != FIRST], arguments.jobs, until)
    given = [f"--strategies {' '.join(arguments.strategies)}", f"--seeds {' '.join(map(str, arguments.seeds))}"]
    given += [f"--set {setting}" for setting in arguments.settings]
    write(plan, variants, f"python bench/noisy.py {arguments.data.name} --recipe {plan.recipe} {' '.join(given)}")


if __name__ == "__main__":
    main()
