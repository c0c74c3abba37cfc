"""How many planted label errors the audit's list begins with, and what putting them right regains.

    python bench/audit.py all ../shared/data/esc10 --work work --recipe fast --seeds 0 1 2

In steps, where one machine trains and another has cleanlab (DATA may be a packed store):

    python bench/audit.py plant DATA --work work --seeds 0 1 2
    python bench/audit.py train DATA --work work --recipe fast --stages planted clean --jobs 8 --device cuda
    python bench/audit.py rank --work work --recipe fast
    python bench/audit.py train DATA --work work --recipe fast --stages corrected --jobs 8 --device cuda
    python bench/audit.py rank --work work --recipe fast

`plant` replaces a share of the labels, at most one a clip, by others drawn at random, and divides the clips by what
they are then labelled with. `train` cross-validates a recipe on the planted labels, on the collection's own, and on the
corrected ones. `rank` orders the clips by out-of-fold scores of the planted run, counts planted errors among the
first 8 % and 16 % of the list for every way to measure quality, and writes the corrections of somebody who hears the
first 16 % and is always right. It keeps `bench/results/<collection>/audit-<recipe>.json`; every lwlrap in it is held
against the collection's own labels.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
from provenance import provenance

from earmark.data.cache import training_manifest, training_store
from earmark.data.folds import assign_folds, write_folds
from earmark.data.manifest import Manifest
from earmark.data.rows import format_csv
from earmark.data.selection import Correction, read_corrections, select, write_corrections
from earmark.labels import Vocabulary
from earmark.metrics import lwlrap
from earmark.predictions import Predictions, read_labels

RESULTS = Path(__file__).parent / "results"
SHARES = (0.08, 0.16)
HEARD = 0.16
"""Of the list, by the listener whose corrections are learned from."""

STAGES = ("planted", "clean", "corrected")


def plant(data: Path, work: Path, seeds: Sequence[int], share: float) -> None:
    """Write what is planted for each seed: corrections that make labels wrong, and folds of the clips so labelled."""
    manifest = training_manifest(data)
    work.mkdir(parents=True, exist_ok=True)
    said = {"collection": manifest.root.name, "labels": list(manifest.vocabulary), "share_planted": share}
    (work / "collection.json").write_text(json.dumps(said, indent=1) + "\n")
    rows = [(clip.name, ",".join(clip.labels)) for clip in manifest.clips]
    (work / "truth.csv").write_text(format_csv(("fname", "labels"), rows), encoding="utf-8")
    for seed in seeds:
        folder = work / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        planted = planted_errors(manifest, share, seed)
        write_corrections(folder / "planted.csv", planted)
        mislabelled = select(manifest, corrections=planted).manifest
        write_folds(folder / "folds.csv", manifest.names, assign_folds(mislabelled))
        print(f"seed {seed}: {len(planted)} of {len(manifest)} clips mislabelled", file=sys.stderr)


def planted_errors(manifest: Manifest, share: float, seed: int) -> list[Correction]:
    """Replace a share of all labels, at most one a clip, each by another that the clip does not have."""
    rng = np.random.default_rng(seed)
    n_labels = sum(len(clip.labels) for clip in manifest.clips)
    chosen = rng.choice(len(manifest), size=round(share * n_labels), replace=False)
    planted = []
    for i in sorted(chosen.tolist()):
        clip = manifest.clips[i]
        wrong = str(rng.choice([label for label in manifest.vocabulary if label not in clip.labels]))
        replaced = int(rng.integers(len(clip.labels)))
        labels = (*clip.labels[:replaced], wrong, *clip.labels[replaced + 1 :])
        planted.append(Correction(clip.name, "relabel", labels, f"planted in the place of {clip.labels[replaced]}"))
    return planted


def train(data: Path, arguments: argparse.Namespace) -> None:
    """Cross-validate the recipe for each seed and stage, so many folds at a time."""
    from earmark.training.recipe import load_recipe
    from earmark.training.run import open_run

    recipe = load_recipe(arguments.recipe, arguments.set)
    settings = [part for setting in arguments.set for part in ("--set", setting)]
    commands = []
    for seed, stage in product(arguments.seeds, arguments.stages):
        folder = arguments.work / f"seed-{seed}"
        run, folds, corrections = run_folder(folder, arguments.recipe, stage), folder / "folds.csv", None
        if stage != "clean":
            corrections = folder / ("planted.csv" if stage == "planted" else f"{name_of(arguments.recipe)}-heard.csv")
        store = training_store(
            data,
            recipe.picture.log_mel.sample_rate,
            select=lambda manifest, table=corrections: (
                select(manifest, corrections=read_corrections(table)).manifest if table else manifest
            ),
        )
        begun = open_run(run, recipe, store, folds, resume=True)
        command = ["train", data, "-o", run, "--recipe", arguments.recipe, *settings, "--folds", folds, "--resume"]
        command += ["--corrections", corrections] if corrections else []
        commands += [[*command, "--fold", fold] for fold in range(begun.n_folds) if not begun.is_done(fold)]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if arguments.device == "cpu" else {}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda command: earmark(command, hidden), commands))


def earmark(arguments: Sequence[object], environment: dict[str, str]) -> None:
    """Run the command line as a user does, and show what it said when it fails."""
    command = [sys.executable, "-m", "earmark", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    print(" ".join(command[2:]), file=sys.stderr)


def name_of(recipe: str) -> str:
    """What files of a recipe are called."""
    return Path(recipe).stem


def run_folder(folder: Path, recipe: str, stage: str) -> Path:
    """Of one run of a seed."""
    return folder / f"{name_of(recipe)}-{stage}"


def rank(work: Path, recipe: str, seeds: Sequence[int], changed: Sequence[str]) -> None:
    """Count planted errors in the lists, write what a listener would correct, and keep the figures."""
    from earmark.evaluation.audit.ranking import Quality

    said = json.loads((work / "collection.json").read_text())
    vocabulary = Vocabulary(said["labels"])
    names, truth = read_labels(work / "truth.csv", vocabulary)
    of_seeds = [of_seed(work / f"seed-{seed}", recipe, vocabulary, names, truth) for seed in seeds]
    given = "".join(f" --set {setting}" for setting in changed) + f" --seeds {' '.join(map(str, seeds))}"
    figures = {
        "command": f"python bench/audit.py all {said['collection']} --work work --recipe {name_of(recipe)}{given}",
        **provenance("earmark", "cleanlab", "torch", "numpy"),
        **{key: said[key] for key in ("collection", "share_planted")},
        "recipe": name_of(recipe),
        "changed": list(changed),
        "seeds": list(seeds),
        "n_clips": len(names),
        "n_planted": [each["n_planted"] for each in of_seeds],
        "could_be_found": {key: [each["could_be_found"][key] for each in of_seeds] for key in map(percent, SHARES)},
        "quality_that_the_audit_uses": str(Quality()),
        "methods": summary([each["methods"] for each in of_seeds]),
        "lwlrap": {stage: [each["lwlrap"].get(stage) for each in of_seeds] for stage in STAGES},
        "lwlrap_regained": [regained(each["lwlrap"]) for each in of_seeds],
        "share_heard": HEARD,
    }
    folder = RESULTS / said["collection"]
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(figures, indent=1)
    (folder / f"audit-{name_of(recipe)}.json").write_text(content + "\n", encoding="utf-8")
    print(content)


def of_seed(
    folder: Path, recipe: str, vocabulary: Vocabulary, names: tuple[str, ...], truth: np.ndarray
) -> dict[str, Any]:
    """Figures of one seed; writes the corrections of the listener, by the quality that the audit uses."""
    from earmark.evaluation.audit.ranking import Quality

    planted = {each.fname: each for each in read_corrections(folder / "planted.csv")}
    is_planted = np.array([name in planted for name in names])
    run = run_folder(folder, recipe, "planted")
    scores = Predictions.read(run / "predictions.csv").align(names, vocabulary).scores
    targets = truth.copy()
    labels = [planted[name].labels for name in names if name in planted]
    targets[is_planted] = vocabulary.encode(labels)
    found = {str(quality): found_by(quality, targets, scores, is_planted) for quality in qualities()}
    first = order_of(Quality(), targets, scores)[: math.ceil(HEARD * len(names))]
    heard = {names[i] for i in first.tolist()}
    write_corrections(
        folder / f"{name_of(recipe)}-heard.csv", [each for name, each in planted.items() if name not in heard]
    )
    return {
        "n_planted": len(planted),
        "could_be_found": {percent(s): min(1.0, math.ceil(s * len(names)) / len(planted)) for s in SHARES},
        "methods": found,
        "lwlrap": {
            stage: lwlrap(truth, Predictions.read(path).align(names, vocabulary).scores)
            for stage in STAGES
            if (path := run_folder(folder, recipe, stage) / "predictions.csv").is_file()
        },
    }


def qualities() -> list[Any]:
    """Every way to measure the quality of a clip."""
    from earmark.evaluation.audit.ranking import Aggregation, Method, Quality

    ways = product(get_args(Method), (False, True), get_args(Aggregation))
    return [Quality(*way) for way in ways if not (way[0] == "confidence_weighted_entropy" and way[1])]


def order_of(quality: Any, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Numbers of the clips, the most suspicious first."""
    from earmark.evaluation.audit.ranking import clip_quality, label_quality

    return np.argsort(clip_quality(label_quality(targets, scores, quality), quality.aggregation), kind="stable")


def found_by(quality: Any, targets: np.ndarray, scores: np.ndarray, is_planted: np.ndarray) -> dict[str, float]:
    """Share of the planted errors among the first of the list."""
    hits = is_planted[order_of(quality, targets, scores)]
    return {percent(s): float(hits[: math.ceil(s * len(hits))].sum() / hits.sum()) for s in SHARES}


def percent(share: float) -> str:
    """A share in words."""
    return f"first {share:.0%}"


def summary(of_seeds: Sequence[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Mean and single values over seeds of each way, the best first."""
    rows = []
    for way in of_seeds[0]:
        values = {key: [each[way][key] for each in of_seeds] for key in map(percent, SHARES)}
        means = {f"mean {key}": round(statistics.mean(shares), 4) for key, shares in values.items()}
        rows.append({"quality": way, **means, **values})
    return sorted(rows, key=lambda row: -sum(value for key, value in row.items() if key.startswith("mean")))


def regained(of_stages: dict[str, float]) -> float | None:
    """Share of the lwlrap that the planted errors cost that the corrections bring back."""
    if not of_stages.keys() >= set(STAGES):
        return None
    return (of_stages["corrected"] - of_stages["planted"]) / (of_stages["clean"] - of_stages["planted"])


def main() -> None:
    """Parse, then one step or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("plant", "train", "rank", "all"))
    parser.add_argument("data", type=Path, nargs="?", help="a collection or a packed store; not for 'rank'")
    parser.add_argument("--work", type=Path, required=True, help="where labels, folds and runs are kept")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--share", type=float, default=0.08, help="of the labels that are replaced")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=["planted"])
    parser.add_argument("--jobs", type=int, default=1, help="folds that are learned at a time")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args()
    if arguments.data is None and arguments.step != "rank":
        parser.error(f"{arguments.step} needs DATA, a collection or a packed store")
    if arguments.step in ("plant", "all"):
        plant(arguments.data, arguments.work, arguments.seeds, arguments.share)
    if arguments.step == "train":
        train(arguments.data, arguments)
    if arguments.step == "all":
        for arguments.stages in (["planted", "clean"], ["corrected"]):
            train(arguments.data, arguments)
            rank(arguments.work, arguments.recipe, arguments.seeds, arguments.set)
    if arguments.step == "rank":
        rank(arguments.work, arguments.recipe, arguments.seeds, arguments.set)


if __name__ == "__main__":
    main()
