"""What `earmark data check`, `stats` and `folds` say of collections, kept.

    python bench/collection.py ../shared/data/everyday26 ../shared/data/esc10 ../shared/data/open28

Of each collection, by itself and without its test clips, it writes to `bench/results/<collection>/`:

- `check.json` and `check.txt`, `stats.json`, `stats.txt` and `stats.png`: what the commands give;
- `collection.json`: date, machine and versions; how long the check took; how many of the pairs that it found the
  collection's own groups confirm; and how even folds are, five by five seeds, beside iterative-stratification, which
  knows nothing of recordings. Official folds are reported where the collection has them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from provenance import provenance

from earmark.data.folds import assign_folds, fold_report
from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest

RESULTS = Path(__file__).parent / "results"
N_FOLDS, SEEDS = 5, range(5)
SUBSETS = ("curated", "noisy")
PACKAGES = ("earmark", "numpy", "scipy", "soundfile", "iterative-stratification")


def earmark(*arguments: str | Path, allowed: tuple[int, ...] = (0,)) -> str:
    """Run the command line as a user does; give what it prints."""
    command = [sys.executable, "-m", "earmark", *map(str, arguments)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if said.returncode not in allowed:
        raise SystemExit(f"{' '.join(command)}: exit status {said.returncode}")
    return said.stdout


def torn_sources(manifest: Manifest, folds: np.ndarray) -> int:
    """How many recordings have clips in more than one fold."""
    folds_of: dict[str, set[int]] = {}
    for clip, fold in zip(manifest.clips, folds.tolist(), strict=True):
        for source in (clip.group or "").split("+"):
            folds_of.setdefault(source.strip(), set()).add(fold)
    return sum(len(found) > 1 for source, found in folds_of.items() if source)


def fold_figures(manifest: Manifest, folds: np.ndarray) -> dict[str, Any]:
    """How even folds are, and how many recordings they tear apart."""
    report = fold_report(manifest.targets(), folds, [clip.group for clip in manifest.clips])
    worst = None if report.worst_label is None else manifest.vocabulary.names[report.worst_label]
    return {
        "n_clips": list(report.sizes),
        "largest_deviation": report.largest_deviation,
        "label_of_it": worst,
        "mean_deviation": float(report.deviations.mean()),
        "labels_absent_from_a_fold": len(report.absent),
        "recordings_in_several_folds": torn_sources(manifest, folds),
    }


def compare_folds(manifest: Manifest) -> dict[str, Any]:
    """The folds of this package beside those of iterative-stratification, over seeds."""
    if any(clip.fold is not None for clip in manifest.clips):
        return {"official": fold_figures(manifest, assign_folds(manifest))}
    targets = manifest.targets().astype(int)
    ours, theirs = [], []
    for seed in SEEDS:
        ours.append(fold_figures(manifest, assign_folds(manifest, N_FOLDS, seed=seed)))
        splitter = MultilabelStratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
        folds = np.empty(len(manifest), dtype=np.int64)
        for fold, (_, held_out) in enumerate(splitter.split(targets, targets)):
            folds[held_out] = fold
        theirs.append(fold_figures(manifest, folds))
    floors = fold_report(targets, folds, [clip.group for clip in manifest.clips]).floors
    return {
        "no_less_than": {"largest_deviation": float(floors.max()), "mean_deviation": float(floors.mean())},
        "grouped_by_recording": ours,
        "iterative_stratification_without_groups": theirs,
    }


def check_figures(report: dict[str, Any]) -> dict[str, Any]:
    """Count what was found, and how many pairs of curated clips are of one recording by the collection's own names."""
    pairs = report["near_duplicates"]
    named = [pair for pair in pairs if pair["subsets"] == ["curated"] * 2 and None not in pair["groups"]]
    sources = [[set(group.split("+")) for group in pair["groups"]] for pair in named]
    return {
        "errors": report["n_errors"],
        "warnings": report["n_warnings"],
        "pairs_of_one_recording": len(report["near_duplicates"]),
        "curated_pairs": len(named),
        "curated_pairs_that_the_names_confirm": sum(bool(one & other) for one, other in sources),
    }


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", type=Path)
    for collection in parser.parse_args().collections:
        manifest = read_collection(collection)
        subsets = [part for name in SUBSETS if len(manifest.subset(name)) for part in ("--subset", name)]
        folder = RESULTS / collection.name
        folder.mkdir(parents=True, exist_ok=True)
        begun = {"command": f"python bench/collection.py {collection.name}", **provenance(*PACKAGES)}
        picture = ["--picture", folder / "stats.png"]
        (folder / "stats.txt").write_text(earmark("data", "stats", collection, *subsets, *picture), encoding="utf-8")
        stats = earmark("data", "stats", collection, *subsets, "--format", "json")
        (folder / "stats.json").write_text(stats, encoding="utf-8")
        (folder / "check.txt").write_text(earmark("data", "check", collection, allowed=(0, 1)), encoding="utf-8")
        started = time.monotonic()
        check = earmark("data", "check", collection, "--format", "json", allowed=(0, 1))
        seconds = round(time.monotonic() - started, 1)
        (folder / "check.json").write_text(check, encoding="utf-8")
        figures = {
            **begun,
            "check": {"seconds": seconds, **check_figures(json.loads(check))},
            "folds": {"seeds": list(SEEDS), **compare_folds(manifest.subset("curated"))},
        }
        (folder / "collection.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
