"""The table of what can be reached on a collection: the seed, the best single run, the best combination, pretrained.

    python bench/overview.py ../shared/data/esc10 "best single=runs/esc10-best" "pretrained=runs/esc10-pretrained"

Each row is a name and a run's folder: of `bench/crossval.py`, or what `bench/combine.py` writes beside its bundle. A
run with out-of-fold predictions with test-time augmentation is judged with and without. Writes `overview.json` and
`overview.md` to `bench/results/<collection>/`: lwlrap and, where every clip has one label, accuracy, over all clips out
of fold with 95 % intervals by source; the minutes of all folds that were learned for it; the command that measures it
again.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance
from tabulate import tabulate

from earmark.evaluation.bootstrap import interval
from earmark.evaluation.candidates import PREDICTIONS, TTA_PREDICTIONS
from earmark.metrics import accuracy, lwlrap
from earmark.predictions import Predictions, read_groups, read_labels

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Parse, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("rows", nargs="+", metavar="NAME=RUN")
    arguments = parser.parse_args()
    name = arguments.collection.name
    results = RESULTS / name
    rows = [row for given in arguments.rows for row in rows_of(*given.split("=", 1), results)]
    given = " ".join(f'"{row}"' for row in arguments.rows)
    figures = {
        "command": f"python bench/overview.py {name} {given}",
        **provenance("earmark", "numpy"),
        "rows": rows,
    }
    (results / "overview.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (results / "overview.md").write_text(page(figures), encoding="utf-8")
    print(page(figures))


def rows_of(name: str, folder: str, results: Path) -> list[dict[str, Any]]:
    """A row of a run, and another with test-time augmentation where it has such predictions."""
    run = Path(folder)
    plain = row_of(name, run, PREDICTIONS, results)
    if not (run / TTA_PREDICTIONS).is_file():
        return [plain]
    views = tomllib.loads((run / "predictions-tta.toml").read_text(encoding="utf-8"))["n"]
    return [plain, row_of(f"{name}, {views} views of each clip", run, TTA_PREDICTIONS, results)]


def row_of(name: str, run: Path, table: str, results: Path) -> dict[str, Any]:
    """Figures of a run by one of its tables of predictions."""
    predictions = Predictions.read(run / table)
    names, targets = read_labels(run / "clips.csv", predictions.labels)
    scores = predictions.align(names, predictions.labels).scores
    groups = list(read_groups(run / "clips.csv", "group"))
    judged = {"lwlrap": interval(lwlrap, targets, scores, groups=groups)}
    if np.all(np.asarray(targets).sum(axis=1) == 1):
        judged["accuracy"] = interval(accuracy, targets, scores, groups=groups)
    measured, n_trainings = cost_of(run)
    return {
        "name": name,
        "run": run.name,
        "n_clips": len(names),
        **{key: {"value": found.value, "low": found.low, "high": found.high} for key, found in judged.items()},
        "minutes": measured,
        "trainings": n_trainings,
        "command": command_of(run, results),
    }


def cost_of(run: Path) -> tuple[float, int]:
    """Minutes of all folds of a run, or of the runs that a combination has chosen; and how many trainings that is."""
    figures = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    if "chosen" not in figures:
        minutes = figures["folds"]["minutes"]
        return round(sum(minutes), 1), len(minutes)
    members = {member.removesuffix("+tta") for member in figures["chosen"]["weights"]}
    costs = [cost_of(run.parent / Path(member).name) for member in members]
    return round(sum(minutes for minutes, _ in costs), 1), sum(n for _, n in costs)


def command_of(run: Path, results: Path) -> str:
    """What measures a run again, by the file that says so."""
    figures = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("c*.json")]
    same = [one for one in kept if figures["lwlrap"] in (one.get("lwlrap"), nested_of(one))]
    if not same:
        raise SystemExit(f"{run}: no file in {results} has its lwlrap, {figures['lwlrap']}; measure it first")
    return str(same[0]["command"])


def nested_of(figures: dict[str, Any]) -> float | None:
    """The lwlrap of what `bench/combine.py` kept; None of other files."""
    return figures["nested"]["lwlrap"]["value"] if "nested" in figures else None


def page(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    keys = [key for key in ("accuracy", "lwlrap") if any(key in row for row in figures["rows"])]
    rows = [
        [row["name"], *(span(row.get(key)) for key in keys), f"{row['minutes']} ({row['trainings']})", row["command"]]
        for row in figures["rows"]
    ]
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    heads = ["", *keys, "minutes (trainings)", "command"]
    end = f"`{figures['command']}`, {figures['date']}: {figures['machine']}; {versions}."
    about = "Over all clips, out of fold; 95 % intervals by source."
    return "\n".join(["# What is reached", "", about, "", tabulate(rows, heads, tablefmt="github"), "", end, ""])


def span(found: dict[str, float] | None) -> str:
    """A figure with its interval."""
    return "" if found is None else f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


if __name__ == "__main__":
    main()
