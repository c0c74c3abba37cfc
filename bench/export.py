"""What every export of a bundle weighs, takes and gives: size, time a window, scores.

    python bench/export.py ../shared/data/esc10 --model mn04.onnx
    python bench/export.py open28 --model embedded-run --fold 0    # `collection` and `run` in bench/embed.py's folder

Exports a run or a bundle (but not one of 8 bits, such as the embedded model) as log-mel and waveform in all precisions
with `earmark export`, and writes `bench/results/<collection>/export-<model>.json` and `.md`. Scores are compared on the
clips of the collection, with `--fold` on those that the fold held out; a model that learned from them is compared with
its exports, nothing more. Times are of as many windows as are scored at a time, on one thread, the quickest of many
calls, taken in turn so that what else the machine does falls on all alike; the waveform's include the front end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance
from tabulate import tabulate

from earmark.bundle import PRECISIONS, Bundle
from earmark.data.layouts import read_collection
from earmark.tagging.tagger import Tagger, load, model_path

RESULTS = Path(__file__).parent / "results"
N_CALLS = 60


def left_out(collection: Path, every: int, folder: Path) -> list[str]:
    """The option that leaves all but every so many-th clip of a collection out."""
    names = read_collection(collection).names
    listed = folder / "left-out.txt"
    listed.write_text("".join(f"{name}\n" for i, name in enumerate(names) if i % every), encoding="utf-8")
    return ["--exclude", str(listed)] if every > 1 else []


def ms_a_window(paths: list[Path]) -> list[float]:
    """Time of each network for a window of noise, in milliseconds, on one thread."""
    taggers = [load(path, n_threads=1) for path in paths]
    quickest = [np.inf] * len(taggers)
    for _ in range(N_CALLS):
        for i, tagger in enumerate(taggers):
            cut = windows_of_noise(tagger)
            begun = time.perf_counter()
            tagger.bundle.scores(cut)
            quickest[i] = min(quickest[i], (time.perf_counter() - begun) / len(cut))
    return [1e3 * seconds for seconds in quickest]


def windows_of_noise(tagger: Tagger) -> np.ndarray:
    """As many windows as a tagger scores at a time."""
    spec = tagger.bundle.spec
    n_frames = spec.window_frames + (tagger.windows_per_call - 1) * spec.hop_frames
    n_samples = (n_frames - 1) * tagger.picture_spec.log_mel.hop_length
    cut = tagger.cut(np.random.default_rng(0).standard_normal(n_samples).astype(np.float32) / 10)
    assert len(cut) == tagger.windows_per_call
    return np.ascontiguousarray(cut)


def measure(source: list[str], data: list[str], input_: str, precision: str, target: Path) -> dict[str, Any]:
    """Export once, and gather what the command found and what the file weighs."""
    command = ["export", *source, "-o", target, "--input", input_, "--precision", precision, *data]
    subprocess.run([sys.executable, "-m", "earmark", *map(str, command), "--workers", "1"], check=True)
    said = Bundle(target).spec.export
    figures = {name: said[name] for name in said if name not in {"source", "waveforms", "notes"}}
    return {"input": input_, **figures, "megabytes": target.stat().st_size / 1e6}


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--every", type=int, default=1, help="compare on every so many-th clip")
    arguments = parser.parse_args()
    source = [arguments.model, *(["--fold", str(arguments.fold)] if arguments.fold is not None else [])]
    kinds = [(input_, precision) for input_ in ("log-mel", "waveform") for precision in PRECISIONS]
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        data = ["--data", str(arguments.collection), *left_out(arguments.collection, arguments.every, Path(folder))]
        targets = [Path(folder) / f"{input_}-{precision}.onnx" for input_, precision in kinds]
        rows = [measure(source, data, *kind, path) for kind, path in zip(kinds, targets, strict=True)]
        for row, ms in zip(rows, ms_a_window(targets), strict=True):
            row["ms_a_window"] = ms
    part = Path(arguments.model) / f"fold-{arguments.fold}" / "model.onnx" if arguments.fold is not None else None
    name = Path(arguments.model).stem
    figures = {
        "command": " ".join(["python bench/export.py", arguments.collection.name, *sys.argv[2:]]),
        "model": " ".join(source),
        "model_megabytes": (part or model_path(arguments.model)).stat().st_size / 1e6,
        **provenance("earmark", "numpy", "onnx", "onnxruntime", "torch"),
        "measured_on": rows[0]["measured_on"],
        "exports": rows,
    }
    results = RESULTS / arguments.collection.name
    results.mkdir(parents=True, exist_ok=True)
    (results / f"export-{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (results / f"export-{name}.md").write_text(as_page(figures), encoding="utf-8")


def as_page(figures: dict[str, Any]) -> str:
    """The figures for people."""
    rows = [
        [
            row["input"],
            row["precision"],
            f"{row['megabytes']:.2f}",
            f"{row['ms_a_window']:.2f}",
            f"{row['largest']:.1e}",
            f"{row['mean']:.1e}",
            f"{100 * row['same_best']:.1f} %",
            f"{row['lwlrap_after']:.4f}" if "lwlrap_after" in row else "",
        ]
        for row in figures["exports"]
    ]
    head = ["input", "precision", "MB", "ms a window", "apart, largest", "apart, mean", "same best label", "lwlrap"]
    table = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    first = figures["exports"][0]
    said = [
        f"Measured on {figures['measured_on']}, one thread; a window's time is the network's, and for waveforms the "
        "front end's with it.",
        f"The model itself: {first['source_precision']}, {figures['model_megabytes']:.2f} MB"
        + (f", lwlrap {first['lwlrap_before']:.4f}." if "lwlrap_before" in first else "."),
    ]
    if "none learned from" not in figures["measured_on"]:
        said.append("It may have learned from these clips: only what changes from row to row counts.")
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    end = f"`{figures['command']}`, {figures['date']}: {figures['machine']}; {versions}."
    return "\n".join([f"# Exports of {figures['model']}", "", *said, "", table, "", end, ""])


if __name__ == "__main__":
    main()
