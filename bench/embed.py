"""Learn the embedded model from openly licensed clips, measure it, and put it into the package.

    python bench/embed.py ../shared/data/open28 --work embed

Learns the recipe `embedded` on the clips and on synthesised sounds that are none of the labels (`bench/negatives.py`),
which are a label more while the network learns and are cut off afterwards. Calibration and thresholds come from the
out-of-fold scores of clips and negatives together. Then convolutions are made to compute with 8-bit integers, by ranges
measured on clips, for `src/earmark/models/embedded.onnx`, and what is in the package is measured:
`bench/results/open28/embedded.json` has the grouped cross-validation by the clips alone, label by label, the thresholds
held out, and the false tags in a minute of each kind of sound that it should say nothing about; `docs/model-card.md`
says it to people. A call that was interrupted is gone on with.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from embed_card import as_card
from negatives import LABEL, write_test, write_training
from provenance import provenance
from torch import nn

from earmark import load
from earmark.audio.picture import PictureSpec, windows
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.data.layouts import read_collection
from earmark.data.store import open_store
from earmark.evaluation.bootstrap import interval
from earmark.evaluation.calibrate import at_thresholds, find_thresholds, fit_calibration, held_out, held_out_tags
from earmark.evaluation.library import Judged
from earmark.evaluation.reliability import reliability
from earmark.labels import Vocabulary
from earmark.metrics import evaluate, lwlrap
from earmark.predictions import Predictions
from earmark.training.crossval import load_network
from earmark.training.export.graph import to_onnx
from earmark.training.export.source import converted

TARGET = Path(__file__).parents[1] / "src" / "earmark" / "models" / "embedded.onnx"
RESULTS = Path(__file__).parent / "results"
CARD = Path(__file__).parents[1] / "docs" / "model-card.md"
LARGEST_BYTES = 4_000_000
LICENCE = "MIT. Learned from clips under CC0, CC-BY, CC-BY-SA, MIT and GPL; none of them is in the file."
DATA = "893 openly licensed clips of 28 labels, and 300 synthesised sounds that are none of them"
RECIPE = "embedded"
METHOD = "platt"
N_CALIBRATING = 200
"""Windows that the ranges of 8-bit values are measured on."""


def earmark(*arguments: str | Path, threads: int | None = None) -> None:
    """Run the command line as a user does."""
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    subprocess.run([sys.executable, "-m", "earmark", *map(str, arguments)], check=True, env=environment)


def gather(collection: Path, work: Path) -> Path:
    """One collection of the clips and of what is none of them, by links; gives its folder."""
    folder = work / "collection"
    negatives = work / "negatives"
    if not (negatives / "clips.csv").is_file():
        write_training(negatives)
    folder.mkdir(parents=True, exist_ok=True)
    rows, labels = [], set()
    for name, source in (("clips", collection), ("negatives", negatives)):
        link = folder / name
        if not link.exists():
            link.symlink_to(source.resolve(), target_is_directory=True)
        with (source / "clips.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows.append((f"{name}/{row['path']}", row["labels"], row["group"], row["license"]))
                labels |= set(row["labels"].split(","))
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "labels", "group", "license"), *rows])
    names = [*sorted(labels - {LABEL}), LABEL]
    (folder / "vocabulary.csv").write_text("label\n" + "\n".join(names) + "\n", encoding="utf-8")
    return folder


def learn(collection: Path, work: Path, n_jobs: int) -> Path:
    """All folds, so many at a time, and the network on all clips; gives the run's folder."""
    store, run = work / "store", work / "run"
    if not (store / "store.json").is_file():
        earmark("data", "pack", collection, "-o", store, "--log-mel", RECIPE)
    train = ("train", store, "--recipe", RECIPE, "-o", run)
    waiting = [f for f in range(5) if not (run / f"fold-{f}" / "metrics.json").is_file()]
    if not run.exists():
        earmark(*train, "--fold", str(waiting.pop(0)))
    with ThreadPoolExecutor(n_jobs) as pool:
        jobs = [pool.submit(earmark, *train, "--resume", "--fold", str(fold), threads=1) for fold in waiting]
        for job in jobs:
            job.result()
    earmark(*train, "--resume", "--refit")
    return run


def without_last_label(network: nn.Module) -> nn.Module:
    """The same network without the label that stands for none of the others."""
    whole: nn.Linear = network.fc  # type: ignore[assignment]
    kept = nn.Linear(whole.in_features, whole.out_features - 1)
    with torch.no_grad():
        kept.weight.copy_(whole.weight[:-1])
        kept.bias.copy_(whole.bias[:-1])
    network.fc = kept
    return network


def judged_of(run: Path) -> tuple[Judged, np.ndarray, np.ndarray]:
    """Clips and negatives with the labels that are shipped, their out-of-fold scores, and which are clips."""
    rows = list(csv.DictReader((run / "clips.csv").open(encoding="utf-8")))
    fold_of = {r["fname"]: int(r["fold"]) for r in csv.DictReader((run / "folds.csv").open(encoding="utf-8"))}
    names = tuple(row["fname"] for row in rows)
    with (run / "predictions.csv").open(encoding="utf-8") as file:
        whole = Vocabulary(next(csv.reader(file))[1:])
    labels = Vocabulary([name for name in whole if name != LABEL])
    scores = Predictions.read(run / "predictions.csv").align(names, whole).scores[:, : len(labels)]
    targets = whole.encode([tuple(row["labels"].split(",")) for row in rows])[:, : len(labels)]
    folds = np.array([fold_of[name] for name in names])
    judged = Judged(names, labels, targets, folds, tuple(row["group"] for row in rows))
    return judged, scores, targets.any(axis=1)


def windows_of(store: Path, picture: PictureSpec, n_frames: int) -> np.ndarray:
    """Windows from the beginnings of clips, spread evenly over a store of spectrograms."""
    clips = open_store(store)
    places = np.linspace(0, len(clips) - 1, N_CALIBRATING).astype(int)
    return np.concatenate([windows(clips.spectrogram(i), picture, n_frames, n_frames)[:1] for i in places])


def ship(run: Path, store: Path, judged: Judged, scores: np.ndarray, precision: float) -> None:
    """Write the bundle that is in the package."""
    learned = Bundle(run / "refit" / "model.onnx").spec
    picture = msgspec.convert(learned.front_end, PictureSpec)
    model = to_onnx(without_last_label(load_network(run / "refit")), picture, learned.window_frames)
    after = held_out(judged, scores, METHOD)
    spec: BundleSpec = msgspec.structs.replace(
        learned,
        labels=judged.labels.names,
        calibration=fit_calibration(METHOD, scores, judged.targets),
        thresholds=find_thresholds(after, judged.targets, precision),
        metrics={},
        data=DATA,
        licence=LICENCE,
    )
    TARGET.parent.mkdir(exist_ok=True)
    pictures = windows_of(store, picture, learned.window_frames)
    model, spec = converted(
        model, spec, waveforms=False, precision="int8-static", pictures=pictures, source="the run of bench/embed.py"
    )
    write_bundle(model, spec, TARGET)
    if TARGET.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{TARGET}: {TARGET.stat().st_size:,} bytes; the package takes at most {LARGEST_BYTES:,}")


def rounding(run: Path, work: Path) -> dict[str, Any]:
    """What computing with 8 bits costs, on the clips that the first fold holds out."""
    target = work / "fold-0.onnx"
    data = ("--data", work / "collection")
    earmark("export", run, "--fold", "0", "--precision", "int8-static", *data, "-o", target, threads=1)
    said = Bundle(target).spec.export
    return {name: said[name] for name in ("n_clips", "lwlrap_before", "lwlrap_after", "largest", "mean", "same_best")}


def false_tags(work: Path) -> dict[str, Any]:
    """Tags above their thresholds in a minute of each kind of sound that has none, and which."""
    folder, tagger, found = work / "negatives-test", load(), {}
    if not folder.is_dir():
        write_test(folder)
    thresholds = [2.0 if t is None else t for t in tagger.bundle.spec.thresholds.values]
    for path in sorted(folder.glob("*.flac")):
        timeline = tagger.timeline(path)
        above = np.asarray(timeline.scores) >= np.array(thresholds)
        # a tag that goes on is one tag, as in `earmark tag --timeline`
        begun = above & ~np.vstack([np.zeros((1, above.shape[1]), bool), above[:-1]])
        which = {name: int(n) for name, n in zip(tagger.labels, begun.sum(axis=0), strict=True) if n}
        found[path.stem] = {"false_tags": int(begun.sum()), "labels": which}
    return found


def measure(
    run: Path, work: Path, judged: Judged, scores: np.ndarray, is_clip: np.ndarray, precision: float
) -> dict[str, Any]:
    """Everything that the model card says."""
    clips, names = np.flatnonzero(is_clip), judged.labels.names
    targets, of_clips = judged.targets[clips], scores[clips]
    groups = [judged.groups[i] or judged.fnames[i] for i in clips]
    after = held_out(judged, scores, METHOD)
    given = held_out_tags(judged, after, precision)
    tags = at_thresholds(targets, given[clips])
    figures = evaluate(targets, of_clips, judged.labels)
    ranged = interval(lwlrap, targets, of_clips, groups=groups)
    found = find_thresholds(after, judged.targets, precision).values
    rows = [
        {
            "label": name,
            "clips": int(targets[:, i].sum()),
            "sources": len({g for g, t in zip(groups, targets[:, i], strict=True) if t}),
            "lwlrap": round(figures["lwlrap_per_label"][name], 4),
            "threshold": None if found[i] is None else round(found[i], 4),
            "precision": _share(targets[:, i], given[clips][:, i], of=given[clips][:, i]),
            "recall": _share(targets[:, i], given[clips][:, i], of=targets[:, i]),
        }
        for i, name in enumerate(names)
    ]
    negatives = given[~is_clip].any(axis=1)
    return {
        "command": f"python bench/embed.py open28 --precision {precision:g}",
        **provenance("earmark", "torch", "onnxruntime", "numpy"),
        "bytes": TARGET.stat().st_size,
        "seed": 0,
        "lwlrap": {"value": ranged.value, "low": ranged.low, "high": ranged.high, "level": ranged.level},
        **{name: figures[name] for name in ("map", "roc_auc") if name in figures},
        "ece": {
            "before": reliability(judged.targets, scores).ece,
            "after, held out": reliability(judged.targets, after).ece,
        },
        "at_thresholds_held_out": {"precision": tags.precision, "recall": tags.recall, "f1": tags.f1},
        "clips_without_a_tag": float((~given[clips].any(axis=1)).mean()),
        "negatives_with_a_tag": float(negatives.mean()),
        "eight_bits": rounding(run, work),
        "a_minute_of": false_tags(work),
        "labels": rows,
    }


def _share(targets: np.ndarray, given: np.ndarray, of: np.ndarray) -> float | None:
    return round(float((targets.astype(bool) & given.astype(bool)).sum() / of.sum()), 4) if of.sum() else None


def main() -> None:
    """Parse, train, convert, check, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/embed"), help="where everything on the way is kept")
    parser.add_argument("--jobs", type=int, default=1, help="folds at a time")
    parser.add_argument("--precision", type=float, default=0.75, help="that thresholds are to reach")
    arguments = parser.parse_args()
    read_collection(arguments.collection)  # says what is wrong with it before anything long begins
    run = learn(gather(arguments.collection, arguments.work), arguments.work, arguments.jobs)
    judged, scores, is_clip = judged_of(run)
    ship(run, arguments.work / "store", judged, scores, arguments.precision)
    figures = measure(run, arguments.work, judged, scores, is_clip, arguments.precision)
    target = RESULTS / "open28" / "embedded.json"
    target.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    CARD.write_text(as_card(figures, arguments.precision), encoding="utf-8")
    print(json.dumps({k: v for k, v in figures.items() if k != "labels"}, indent=1))


if __name__ == "__main__":
    main()
