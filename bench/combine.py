"""Combine runs on a collection, and keep what the combination comes to beside the best single run.

    python bench/combine.py ../shared/data/everyday26 runs/everyday26-small-grey runs/everyday26-small-colour

A run that has out-of-fold predictions with test-time augmentation (`bench/compare.py` makes them) counts twice. Writes
to `bench/results/<collection>/`: `combine.json` with the nested figures of every kind of combination, their differences
to the best single run with intervals by source, date, machine and versions; `combine.md`, the same as a table; and,
where the collection has test clips, `best-combination.csv`. The bundle is written beside the runs. With `--name
pretrained`, for runs that go on from outside data, the files are `combine-pretrained.json`, `.md` and `pretrained.csv`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from provenance import provenance
from tabulate import tabulate

from earmark.data.layouts import read_collection
from earmark.evaluation.assembling import run_beside

RESULTS = Path(__file__).parent / "results"
KEPT = ("n_clips", "kind", "chosen", "nested", "nested_by_kind", "nested_best_single", "singles")


def earmark(*arguments: str | Path) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "earmark", *map(str, arguments)], check=True)


def span(found: dict[str, Any], sign: str = "") -> str:
    """A figure with its interval."""
    return f"{found['value']:{sign}.4f} ({found['low']:{sign}.4f} to {found['high']:{sign}.4f})"


def page(content: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = [
        [kind + (", written" if kind == content["kind"] else ""), span(found["lwlrap"]), span(found["difference"], "+")]
        for kind, found in content["nested_by_kind"].items()
    ]
    rows.append(["best single run", span(content["nested_best_single"]), ""])
    weights = [[name, f"{weight:.3f}"] for name, weight in content["chosen"].get("weights", {}).items()]
    singles = [[name, f"{value:.4f}"] for name, value in sorted(content["singles"].items(), key=lambda pair: -pair[1])]
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    return "\n".join(
        [
            "# Runs combined",
            "",
            f"`{content['command']}`, {content['date']}: {content['machine']}; {versions}. Out of fold on "
            f"{content['n_clips']} clips, each choice made without the fold it is judged by; 95 % intervals by source.",
            "",
            tabulate(rows, ["combination", "lwlrap, nested", "to the best single run"], tablefmt="github"),
            "",
            tabulate(weights, ["member", "weight"], tablefmt="github"),
            "",
            "Every candidate by itself, on all clips:",
            "",
            tabulate(singles, ["candidate", "lwlrap"], tablefmt="github", disable_numparse=True),
            "",
        ]
    )


def main() -> None:
    """Parse, combine, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--name", default="", help="of what is combined, in the names of the files")
    arguments = parser.parse_args()
    results, name = RESULTS / arguments.collection.name, arguments.name
    results.mkdir(parents=True, exist_ok=True)
    parts = [arguments.collection.name, *([name] if name else []), "combination"]
    model = arguments.runs[0].parent / f"{'-'.join(parts)}.onnx"
    earmark("combine", *arguments.runs, "-o", model)
    found = json.loads((run_beside(model) / "metrics.json").read_text())
    named = ["--name", name] if name else []
    command = " ".join(["python bench/combine.py", arguments.collection.name, *map(str, arguments.runs), *named])
    content = {
        "command": command,
        **provenance("earmark", "numpy", "scipy", "scikit-learn", "onnxruntime"),
        **{name: found[name] for name in KEPT},
    }
    stem = f"combine-{name}" if name else "combine"
    (results / f"{stem}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (results / f"{stem}.md").write_text(page(content), encoding="utf-8")
    if len(read_collection(arguments.collection).subset("test")):
        earmark("predict", model, arguments.collection, "-o", results / f"{name or 'best-combination'}.csv")


if __name__ == "__main__":
    main()
