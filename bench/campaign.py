"""A campaign: many short trainings of recipes that differ in one thing, as many at a time as the machine takes.

    python bench/campaign.py run bench/campaigns/factors.toml --stores stores --work runs/factors --jobs 16 --minutes 4
    python bench/campaign.py report bench/campaigns/factors.toml --work runs/factors

A campaign file says which trials there are, and what they have in common:

    [base]
    collections = ["esc10", "everyday26"]
    recipe = "fast"
    set = ["fit.epochs=80"]

    [[trial]]
    name = "base"

    [[trial]]
    name = "wide"
    question = "Is the network too narrow?"
    prediction = "+0.01 on both"
    set = ["model.width=1.0"]
    seeds = [0, 100]
    against = "base"

Stores are packed collections (`earmark data pack`), a folder each, named as the trials name them; one whose recordings
a recipe does not change may hold spectrograms. Each fold of a trial is a job for one of the processes, in the order of
the file; none begins after so many minutes, and what is done already is not done again. A job leaves the scores of the
clips that its fold held out, and of the store's test clips, and of its noisy clips where none was learned from; with
`keep = true`, also its network, as `earmark train` writes it.

`report` puts together what all folds of a trial came to, against another trial on the same clips and by the same seeds,
and writes it to `bench/results/<collection>/campaign-<name of the file>.json`. Intervals are bootstrapped by recording.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
import tomllib
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from provenance import provenance

from earmark.data.store import Store, open_store
from earmark.evaluation.bootstrap import paired_difference
from earmark.metrics import accuracy, evaluate, lwlrap
from earmark.training.crossval import learn_fold
from earmark.training.kept import save_network
from earmark.training.pictures import Pictures
from earmark.training.recipe import load_recipe
from earmark.training.run import Run, is_noisy, open_run
from earmark.training.scoring import score_clips

RESULTS = Path(__file__).parent / "results"
SCORES = "scores.npz"


@dataclass(frozen=True)
class Trial:
    """A recipe as a campaign changes it, on some collections."""

    name: str
    recipe: str
    collections: list[str]
    set: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])
    question: str = ""
    prediction: str = ""
    against: str = ""
    keep: bool = False


@dataclass(frozen=True)
class Job:
    """One fold of a trial on a collection by one seed."""

    trial: Trial
    collection: str
    seed: int
    fold: int
    work: Path

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.work / self.collection / f"{self.trial.name}-seed{self.seed}"

    @property
    def scores(self) -> Path:
        """What the job leaves."""
        return self.run / f"fold-{self.fold}" / SCORES


STORES: dict[str, Store] = {}
SPECTROGRAMS: dict[str, list[np.ndarray]] = {}
"""By collection; filled before the processes are forked, which share them."""


def read_campaign(path: Path, only: Sequence[str] = ()) -> list[Trial]:
    """The trials of a file, in order."""
    tables = tomllib.loads(path.read_text("utf-8"))
    base = tables.get("base", {})
    trials = [
        Trial(**{**base, **table, "set": [*base.get("set", []), *table.get("set", [])]}) for table in tables["trial"]
    ]
    return [trial for trial in trials if not only or trial.name in only]


def opened(job: Job) -> tuple[Run, np.ndarray]:
    """A job's run, and where the clips of its store are in the collection's."""
    whole = STORES[job.collection]
    recipe = load_recipe(job.trial.recipe, [*job.trial.set, f"fit.seed={job.seed}"])
    subsets = ("curated", "noisy") if recipe.noisy.strategy != "ignore" else ("curated",)
    manifest = whole.manifest.only(clip for subset in subsets for clip in whole.manifest.subset(subset).clips)
    run = open_run(job.run, recipe, whole.restricted(manifest), None, resume=True)
    place = {name: index for index, name in enumerate(whole.manifest.names)}
    return run, np.array([place[name] for name in manifest.names])


def learn(job: Job) -> float:
    """Do a job, in a process of its own; gives the seconds that it took."""
    torch.set_num_threads(1)
    began = time.monotonic()
    run, places = opened(job)
    spectrograms = SPECTROGRAMS[job.collection]
    learned = learn_fold(run, job.fold, [spectrograms[i] for i in places], progress=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = learned.network.to(device)
    held_out = score_clips(network, learned.validation.pictures, run.recipe, device)
    parts = {"names": np.array([run.store.manifest.names[i] for i in np.flatnonzero(run.folds == job.fold)])}
    for subset in others(run, STORES[job.collection]):
        manifest = STORES[job.collection].manifest
        chosen = [i for i, clip in enumerate(manifest.clips) if clip.subset == subset]
        pictures = Pictures([spectrograms[i] for i in chosen], learned.picture)
        parts[subset] = score_clips(network, pictures, run.recipe, device)
        parts[f"{subset}_names"] = np.array([manifest.names[i] for i in chosen])
    if job.trial.keep:
        save_network(network.cpu(), run.recipe, run.store.manifest.vocabulary.names, job.scores.parent)
    (job.scores.parent / "state.pt").unlink(missing_ok=True)
    seconds = time.monotonic() - began
    with open(job.scores.with_suffix(".part"), "wb") as file:
        np.savez_compressed(file, held_out=held_out, minutes=learned.minutes, **parts)
    os.replace(job.scores.with_suffix(".part"), job.scores)
    return seconds


def others(run: Run, whole: Store) -> list[str]:
    """Subsets that a run's networks score though no fold holds them out: those that none of them learned from."""
    present = {clip.subset for clip in whole.manifest.clips}
    return [s for s in ("test", "noisy") if s in present and not (s == "noisy" and is_noisy(run.store.manifest).any())]


def run_all(jobs: Sequence[Job], n_jobs: int, until: float) -> None:
    """Do jobs in order, so many at a time, and begin none after a time; what a dying process took along is redone."""
    waiting, tries = list(jobs)[::-1], dict.fromkeys((job.scores for job in jobs), 0)
    while waiting and time.monotonic() < until:
        with ProcessPoolExecutor(n_jobs, mp_context=multiprocessing.get_context("fork")) as processes:
            running: dict[Any, Job] = {}
            try:
                while (waiting and time.monotonic() < until) or running:
                    while waiting and len(running) < n_jobs and time.monotonic() < until:
                        job = waiting.pop()
                        tries[job.scores] += 1
                        running[processes.submit(learn, job)] = job
                    done = next(as_completed(running))
                    job, error = running.pop(done), done.exception()
                    if isinstance(error, BrokenProcessPool):
                        running[done] = job
                        raise error
                    said = "".join(traceback.format_exception(error)) if error else f"{done.result():.1f} s"
                    print(f"{job.run.name} {job.collection} fold {job.fold}: {said}", flush=True)
            except BrokenProcessPool:
                print(f"a process died; of its {len(running)} jobs those tried once are tried again", flush=True)
                waiting += [job for job in running.values() if tries[job.scores] < 2]


def jobs_of(trials: Iterable[Trial], work: Path) -> list[Job]:
    """All that is not done."""
    jobs = []
    for trial in trials:
        for collection in trial.collections:
            for seed in trial.seeds:
                first = Job(trial, collection, seed, 0, work)
                n_folds = opened(first)[0].n_folds
                jobs += [Job(trial, collection, seed, fold, work) for fold in range(n_folds)]
    return [job for job in jobs if not job.scores.is_file()]


def out_of_fold(job: Job, names: Sequence[str], targets: np.ndarray) -> dict[str, Any] | None:
    """What a trial's folds by one seed say together: scores of the clips held out, in order."""
    folds = sorted(job.run.glob(f"fold-*/{SCORES}"), key=lambda path: int(path.parent.name.removeprefix("fold-")))
    parts = [dict(np.load(path)) for path in folds]
    if not parts:
        return None
    scored = dict(
        zip(
            np.concatenate([p["names"] for p in parts]).tolist(),
            np.concatenate([p["held_out"] for p in parts]),
            strict=True,
        )
    )
    if set(scored) != set(names):
        return None
    place = {name: i for i, name in enumerate(names)}
    judged = [(targets[[place[name] for name in p["names"].tolist()]], p["held_out"]) for p in parts]
    by_fold = {"lwlrap": [round(lwlrap(*pair), 4) for pair in judged]}
    if (targets.sum(axis=1) == 1).all():
        by_fold["accuracy"] = [round(accuracy(*pair), 4) for pair in judged]
    scores = np.stack([scored[name] for name in names])
    return {"scores": scores, "minutes": float(sum(p["minutes"] for p in parts)), "folds": by_fold}


def report(path: Path, trials: Sequence[Trial], stores: Path, work: Path) -> None:
    """Put together what is done, a file a collection."""
    for collection in sorted({name for trial in trials for name in trial.collections}):
        manifest = open_store(stores / collection).manifest.subset("curated")
        targets, groups = manifest.targets(), [clip.group or clip.name for clip in manifest.clips]
        done: dict[str, dict[int, np.ndarray]] = {}
        rows = []
        for trial in trials:
            if collection not in trial.collections:
                continue
            found = {s: out_of_fold(Job(trial, collection, s, 0, work), manifest.names, targets) for s in trial.seeds}
            complete = {seed: each for seed, each in found.items() if each}
            if not complete:
                continue
            done[trial.name] = {seed: each["scores"] for seed, each in complete.items()}
            rows.append(row_of(trial, complete, targets, manifest, done.get(trial.against, {}), groups))
        figures = {
            "command": f"python bench/campaign.py run {path} --stores stores --work work",
            **provenance("earmark", "torch", "pytorch-lightning", "numpy"),
            "collection": collection,
            "n_clips": len(manifest),
            "trials": rows,
        }
        target = RESULTS / collection / f"campaign-{path.stem}.json"
        target.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        for row in rows:
            print(
                collection,
                row["name"],
                {k: v for k, v in row.items() if k in ("lwlrap", "accuracy", "minutes", "gain")},
            )


def row_of(
    trial: Trial,
    complete: dict[int, Any],
    targets: np.ndarray,
    manifest: Any,
    against: dict[int, np.ndarray],
    groups: list[str],
) -> dict[str, Any]:
    """What is kept of a trial."""
    figures = [evaluate(targets, each["scores"], manifest.vocabulary) for each in complete.values()]
    row: dict[str, Any] = {
        "name": trial.name,
        "question": trial.question,
        "prediction": trial.prediction,
        "recipe": trial.recipe,
        "set": trial.set,
        "seeds": list(complete),
        "minutes": [round(each["minutes"], 2) for each in complete.values()],
        "folds": [each["folds"] for each in complete.values()],
    }
    for name in ("lwlrap", "map", "accuracy"):
        values = [f[name] for f in figures if name in f]
        if values:
            row[name] = [round(v, 4) for v in values]
            row[f"{name}_mean"] = round(statistics.mean(values), 4)
    shared = [seed for seed in complete if seed in against]
    if shared:
        pairs = [(complete[seed]["scores"], against[seed]) for seed in shared]
        differences = [paired_difference(lwlrap, targets, *pair, groups=groups) for pair in pairs]
        row["gain"] = {
            "against": trial.against,
            "lwlrap": round(statistics.mean(each.value for each in differences), 4),
            "by_seed": [str(each) for each in differences],
        }
    return row


def main() -> None:
    """Parse, then run or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("run", "report"))
    parser.add_argument("campaign", type=Path)
    parser.add_argument("--stores", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no training after that")
    parser.add_argument("--only", nargs="*", default=[], help="these trials")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.minutes * 60
    trials = read_campaign(arguments.campaign, arguments.only)
    if arguments.step == "run":
        for name in {name for trial in trials for name in trial.collections}:
            STORES[name] = open_store(arguments.stores / name)
            SPECTROGRAMS[name] = [STORES[name].spectrogram(i) for i in range(len(STORES[name]))]
        run_all(jobs_of(trials, arguments.work), arguments.jobs, until)
    else:
        report(arguments.campaign, trials, arguments.stores, arguments.work)


if __name__ == "__main__":
    main()
