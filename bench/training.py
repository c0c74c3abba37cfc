"""Preparing a collection and learning from it, beside the contest entry's way and a plain DataLoader.

    python bench/training.py ../shared/data/everyday26

Two parts, each in rounds in which every contender has its turn:

- files to what training reads, for two of the contest entry's front ends: earmark's packing and log-mels, as `train`
  does it; its packing straight to log-mels; and librosa by joblib, as in `bench/contest.py`;
- clips a second through training, for ResNet18, ResNet34 and mobile04: the bare step of the same network on one batch
  that is in memory, earmark's whole training loop, the contest entry's pictures in memory through PIL and a
  DataLoader, and a DataLoader that makes every picture from its file by librosa.

The step is the same for all: network, input, loss, optimiser, precision and memory layout. The contest entry trained in
float32 and in torch's usual layout, and the same contender is measured so as well. Where there is a GPU, one
network is compiled too. Writes `bench/results/training.json` and `training.md`, or `training-gpu.json` and
`training-gpu.md`; `--part` measures one of the two alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from contest import Pictures, batches, picture_of, prepare
from provenance import provenance
from tabulate import tabulate
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from earmark.data.encoding import Encoding
from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.data.pack import pack
from earmark.data.spectrograms import log_mel_encoding
from earmark.data.store import Store, open_store
from earmark.training.feed import Feed, feed_of
from earmark.training.fit import fit, precision_of
from earmark.training.losses import loss_of
from earmark.training.models import build_network
from earmark.training.pictures import spectrograms_of
from earmark.training.rates import optimizer_of
from earmark.training.recipe import Recipe, load_recipe

RESULTS = Path(__file__).parent / "results"
PREPARED = ("seed-resnet18-grey-128", "seed-resnet18-grey-224")
TRAINED = {"seed-resnet18-grey-128": (32, 8), "seed-resnet34-grey-224": (16, 3), "mobile": (32, 20)}
"""Recipes with the batch size and the steps of an epoch that are measured with: two cores have neither room nor time
for the contest entry's 160."""

ON_GPU = (160, 8)
"""The same on a GPU."""

COMPILED = "seed-resnet18-grey-128"
"""The recipe that is compiled too, where there is a GPU."""

SETTINGS = ("fit.stages=[]", "fit.epochs=2", "fit.compile=off")
MATRIX = 8192 if torch.cuda.is_available() else 4096
"""Rows and columns of the bf16 matrices whose product says what the chip can do."""

PACKAGES = ("earmark", "torch", "pytorch-lightning", "numpy", "librosa", "joblib", "pillow", "soundfile")


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def preparation(manifest: Manifest, rounds: int) -> list[dict[str, Any]]:
    """Seconds from files to what training reads, by each way, for each front end."""
    rows = []
    for name in PREPARED:
        recipe = load_recipe(name)
        ways: dict[str, Callable[[], Any]] = {
            "earmark": lambda recipe=recipe: by_earmark(manifest, recipe),
            "earmark, straight to log-mels": lambda recipe=recipe: straight(manifest, recipe),
            "librosa, joblib": lambda recipe=recipe: prepare([clip.path for clip in manifest.clips], recipe),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in tqdm(range(rounds), desc=f"preparing for {name}"):
            for way, call in ways.items():
                times[way].append(timed(call))
        rows.append({"recipe": name, "seconds": times})
    return rows


def by_earmark(manifest: Manifest, recipe: Recipe) -> list[np.ndarray]:
    """What the first `earmark train` does: waveforms into a store, log-mels from there into memory."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        pack(manifest, store, Encoding.waveform(recipe.picture.log_mel.sample_rate), progress=False)
        return spectrograms_of(open_store(store), np.arange(len(manifest)), recipe.picture, progress=False)


def straight(manifest: Manifest, recipe: Recipe) -> list[np.ndarray]:
    """What `earmark data pack --log-mel` and `earmark train` on its store do."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        pack(manifest, store, log_mel_encoding(recipe.picture), progress=False)
        return spectrograms_of(open_store(store), np.arange(len(manifest)), recipe.picture, progress=False)


def settle() -> None:
    """Wait until the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Step:
    """A network with its optimiser, and one step of its training: what every contender has to feed."""

    def __init__(self, recipe: Recipe, n_labels: int, *, as_entry: bool = False) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.recipe = recipe
        self.half = precision_of(recipe) == "bf16-mixed" and not as_entry
        self.layout = torch.contiguous_format if as_entry else torch.channels_last
        torch.manual_seed(0)
        network = build_network(recipe.model, n_labels).to(self.device)
        self.network = network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.optimizer = optimizer_of(recipe.fit, network.layer_groups())

    def __call__(self, pictures: Tensor, targets: Tensor) -> None:
        """Learn from one batch."""
        pictures = pictures.to(self.device).contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits = self.network(pictures)
        loss = loss_of(logits, targets.to(self.device), self.recipe.loss)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def rate(self, fed: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Clips a second, over all batches but those of the first step."""
        n_clips, began = 0, 0.0
        for number, (pictures, targets) in enumerate(fed):
            self(pictures, targets)
            if number == 0:
                settle()
                began = time.perf_counter()
            else:
                n_clips += len(targets)
        settle()
        return n_clips / (time.perf_counter() - began)


def loop_rates(recipe: Recipe, feed: Feed, n_labels: int) -> list[float]:
    """Clips a second of earmark's training, averaging, curve and all, in each epoch."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        fit(recipe, build_network(recipe.model, n_labels), feed, None, Path(folder), seed=0)
        with (Path(folder) / "metrics.csv").open() as file:
            return [float(row["clips_per_s"]) for row in csv.DictReader(file)]


def compiled(name: str, batch_size: int, feed: Feed, n_labels: int) -> dict[str, float]:
    """Clips a second once the network is compiled, and the seconds that compiling takes."""
    recipe = load_recipe(name, [*SETTINGS, f"fit.batch_size={batch_size}", "fit.compile=on"])
    first, *_, last = loop_rates(recipe, feed, n_labels)
    return {"clips_per_s": last, "compiling_s": len(feed) / first - len(feed) / last}


def feeding_share(recipe: Recipe, feed: Feed, clips_per_s: float) -> float:
    """Share of a step that making its batch takes."""
    draws, clips = torch.Generator().manual_seed(0), torch.arange(recipe.fit.batch_size) % len(feed)
    feed.batch(clips, draws)

    def twenty() -> None:
        for _ in range(20):
            feed.batch(clips, draws)
        settle()

    settle()
    seconds = timed(twenty) / 20
    return seconds / (recipe.fit.batch_size / clips_per_s)


def training(store: Store, files: list[Path], name: str, rounds: int) -> dict[str, Any]:
    """Clips a second by each way, for one recipe."""
    on_gpu = torch.cuda.is_available()
    batch_size, n_steps = ON_GPU if on_gpu else TRAINED[name]
    recipe = load_recipe(name, [*SETTINGS, f"fit.batch_size={batch_size}"])
    n_clips, n_labels = batch_size * n_steps, len(store.manifest.vocabulary)
    chosen = np.arange(n_clips) % len(store)
    feed = feed_of(recipe, store, chosen, recipe.picture, progress=False)
    whole = prepare([files[i] for i in np.unique(chosen)], recipe)
    in_memory = Pictures(lambda i: whole[chosen[i]], feed.targets, recipe)
    from_files = Pictures(lambda i: picture_of(files[chosen[i]], recipe), feed.targets, recipe)
    ready = feed.batch(torch.arange(batch_size), torch.Generator().manual_seed(0))
    ways: dict[str, Callable[[], float]] = {
        "bare step": lambda: Step(recipe, n_labels).rate([ready] * (n_steps + 1)),
        "earmark": lambda: loop_rates(recipe, feed, n_labels)[-1],
        "contest entry's pictures, our step": lambda: Step(recipe, n_labels).rate(batches(in_memory, batch_size)),
        "contest entry": lambda: Step(recipe, n_labels, as_entry=True).rate(batches(in_memory, batch_size)),
        "DataLoader, librosa on the fly": lambda: Step(recipe, n_labels).rate(batches(from_files, batch_size)),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in tqdm(range(rounds), desc=name):
        for way, call in ways.items():
            rates[way].append(call())
    flops = flops_of(recipe, n_labels, ready[0])
    return {
        "recipe": name,
        "batch_size": batch_size,
        "steps": n_steps,
        "picture": list(ready[0].shape[1:]),
        "precision": precision_of(recipe),
        "clips_per_s": rates,
        **({"compiled": compiled(name, batch_size, feed, n_labels)} if on_gpu and name == COMPILED else {}),
        "feeding_share": feeding_share(recipe, feed, statistics.median(rates["earmark"])),
        "flops_per_clip": flops,
        "share_of_matrix_rate": statistics.median(rates["earmark"]) * flops / matrix_rate(),
    }


def flops_of(recipe: Recipe, n_labels: int, pictures: Tensor) -> int:
    """Floating-point operations of one clip's way forth and back, which is three times the way forth.

    The counter takes the way back through convolutions of one channel each for whole ones.
    """
    network = build_network(recipe.model, n_labels)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(pictures.cpu())
    return 3 * counter.get_total_flops() // len(pictures)


def matrix_rate() -> float:
    """Operations a second of the device's bf16 matrix product, the best of some."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = torch.randn(2, MATRIX, MATRIX, device=device, dtype=torch.bfloat16)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        product: Tensor = left @ right
        float(product[0, 0])
        best = max(best, 2 * MATRIX**3 / (time.perf_counter() - began))
    return best


def ratios(measured: dict[str, list[float]], of: str, to: str, *, inverse: bool = False) -> str:
    """One contender's figure over another's, round by round: median (lowest to highest)."""
    values = sorted((b / a if inverse else a / b) for a, b in zip(measured[of], measured[to], strict=True))
    return f"{statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})"


def span(values: list[float]) -> str:
    """Median (lowest to highest)."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def table(content: dict[str, Any]) -> str:
    """The results as Markdown."""
    prepared = [
        [row["recipe"], way, span(row["seconds"][way]), ratios(row["seconds"], way, "librosa, joblib", inverse=True)]
        for row in content["preparation"]
        for way in row["seconds"]
    ]
    trained = [
        [row["recipe"], way, span(row["clips_per_s"][way])]
        + [ratios(row["clips_per_s"], way, to) for to in ("bare step", "contest entry")]
        for row in content["training"]
        for way in row["clips_per_s"]
    ]
    notes = [
        [
            row["recipe"],
            f"{row['batch_size']} x {tuple(row['picture'])}",
            row["precision"],
            f"{100 * row['feeding_share']:.1f} %",
            f"{100 * row['share_of_matrix_rate']:.0f} %",
        ]
        for row in content["training"]
    ]
    for row, note in zip(content["training"], notes, strict=True):
        if "compiled" in row:
            note += ["{clips_per_s:,.0f} after {compiling_s:.0f} s".format(**row["compiled"])]
    about = content["provenance"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return "\n".join(
        [
            f"`{content['command']}`, {about['date']}, {about['machine']}, {content['device']}, {versions}. Median",
            f"(lowest to highest) of {content['rounds']} rounds.",
            "",
            *preparation_lines(content, prepared),
            *training_lines(trained, notes),
        ]
    )


def preparation_lines(content: dict[str, Any], rows: list[list[str]]) -> list[str]:
    """The first part's table, where it was measured."""
    if not rows:
        return []
    return [
        f"Files to what training reads: {content['n_clips']:,} clips, {content['hours']:.1f} hours.",
        "",
        tabulate(rows, ["front end of", "way", "s", "times as fast as librosa, joblib"], tablefmt="github"),
        "",
    ]


def training_lines(rows: list[list[str]], notes: list[list[str]]) -> list[str]:
    """The second part's tables, where it was measured."""
    if not rows:
        return []
    columns = ["recipe", "batch", "precision", "share of a step spent on its batch", "of the bf16 matrix rate"]
    with_compiled = len(notes[0]) > len(columns)
    return [
        "Training:",
        "",
        tabulate(rows, ["recipe", "way", "clips/s", "of the bare step", "of the entry"], tablefmt="github"),
        "",
        tabulate(notes, [*columns, *(["compiled, clips/s"] if with_compiled else [])], tablefmt="github"),
        "",
    ]


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", choices=("preparation", "training", "both"), default="both")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results are kept")
    arguments = parser.parse_args()
    manifest = read_collection(arguments.collection)
    manifest = manifest.only(clip for clip in manifest.clips if clip.subset != "test")
    only = "" if arguments.part == "both" else f" --part {arguments.part}"
    content = {
        "command": f"python bench/training.py {arguments.collection.name} --rounds {arguments.rounds}{only}",
        "provenance": provenance(*PACKAGES),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "rounds": arguments.rounds,
        "n_clips": len(manifest),
        "hours": sum(soundfile.info(clip.path).duration for clip in manifest.clips) / 3600,
        "preparation": preparation(manifest, arguments.rounds) if arguments.part != "training" else [],
        "training": all_training(manifest, arguments.rounds) if arguments.part != "preparation" else [],
    }
    name = "training-gpu" if torch.cuda.is_available() else "training"
    arguments.results.mkdir(exist_ok=True)
    (arguments.results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (arguments.results / f"{name}.md").write_text(table(content), encoding="utf-8")
    print(table(content))


def all_training(manifest: Manifest, rounds: int) -> list[dict[str, Any]]:
    """The second part, for every recipe."""
    rows, curated = [], manifest.subset("curated")
    for name in TRAINED:
        recipe, folder = load_recipe(name), Path(tempfile.mkdtemp())
        pack(curated, folder / "store", Encoding.waveform(recipe.picture.log_mel.sample_rate), progress=False)
        store = open_store(folder / "store")
        rows.append(training(store, [clip.path for clip in curated.clips], name, rounds))
        shutil.rmtree(folder)
    return rows


if __name__ == "__main__":
    main()
