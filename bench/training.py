"""Preparing a collection and learning from it, beside the contest entry's way and a plain DataLoader.

    python bench/training.py ../shared/data/everyday26

Two parts, each in rounds in which every contender has its turn:

- files to what training reads, for two of the contest entry's front ends: earmark's packing and log-mels, as `train`
  does it; its packing straight to log-mels; and librosa by joblib, as in `bench/contest.py`;
- clips a second through training, for ResNet18, ResNet34 and mobile04: the bare step of the same network on one batch
  that is in memory, earmark's whole training loop, the contest entry's pictures in memory through PIL and a
  DataLoader, and a DataLoader that makes every picture from its file by librosa.

The step is the same for all: network, input, loss, optimiser, precision and memory layout. The contest entry trained in
float32 and in torch's usual layout, and the same contender is measured so as well. Writes `bench/results/training.json`
and `training.md`.
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
TRAINED = {"seed-resnet18-grey-128": (32, 8), "seed-resnet34-grey-224": (16, 3), "mobile": (32, 12)}
"""Recipes with the batch size and the steps of an epoch that are measured with: two cores have neither room nor time
for the contest entry's 160."""

SETTINGS = ("fit.stages=[]", "fit.epochs=2")
MATRIX = 4096
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


def loop_rate(recipe: Recipe, feed: Feed, n_labels: int) -> float:
    """Clips a second of earmark's training, averaging, curve and all; the second epoch's."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        fit(recipe, build_network(recipe.model, n_labels), feed, None, Path(folder), seed=0)
        with (Path(folder) / "metrics.csv").open() as file:
            return float(list(csv.DictReader(file))[-1]["clips_per_s"])


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
    batch_size, n_steps = TRAINED[name]
    recipe = load_recipe(name, [*SETTINGS, f"fit.batch_size={batch_size}"])
    n_clips, n_labels = batch_size * n_steps, len(store.manifest.vocabulary)
    chosen = np.arange(n_clips) % len(store)
    feed = feed_of(recipe, store, chosen, recipe.picture, progress=False)
    whole = [picture_of(files[i], recipe) for i in chosen]
    in_memory = Pictures(lambda i: whole[i], feed.targets, recipe)
    from_files = Pictures(lambda i: picture_of(files[chosen[i]], recipe), feed.targets, recipe)
    ready = feed.batch(torch.arange(batch_size), torch.Generator().manual_seed(0))
    ways: dict[str, Callable[[], float]] = {
        "bare step": lambda: Step(recipe, n_labels).rate([ready] * (n_steps + 1)),
        "earmark": lambda: loop_rate(recipe, feed, n_labels),
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
    about = content["provenance"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return "\n".join(
        [
            f"`{content['command']}`, {about['date']}, {about['machine']}, {content['device']}, {versions}. Median",
            f"(lowest to highest) of {content['rounds']} rounds.",
            "",
            f"Files to what training reads: {content['n_clips']:,} clips, {content['hours']:.1f} hours.",
            "",
            tabulate(prepared, ["front end of", "way", "s", "times as fast as librosa, joblib"], tablefmt="github"),
            "",
            "Training:",
            "",
            tabulate(trained, ["recipe", "way", "clips/s", "of the bare step", "of the entry"], tablefmt="github"),
            "",
            tabulate(
                notes,
                ["recipe", "batch", "precision", "share of a step spent on its batch", "of the bf16 matrix rate"],
                tablefmt="github",
            ),
            "",
        ]
    )


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    manifest = read_collection(arguments.collection)
    manifest = manifest.only(clip for clip in manifest.clips if clip.subset != "test")
    prepared = preparation(manifest, arguments.rounds)
    trained = []
    for name in TRAINED:
        recipe, folder = load_recipe(name), Path(tempfile.mkdtemp())
        curated = manifest.subset("curated")
        pack(curated, folder / "store", Encoding.waveform(recipe.picture.log_mel.sample_rate), progress=False)
        store = open_store(folder / "store")
        trained.append(training(store, [clip.path for clip in curated.clips], name, arguments.rounds))
        shutil.rmtree(folder)
    content = {
        "command": f"python bench/training.py {arguments.collection.name}",
        "provenance": provenance(*PACKAGES),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "rounds": arguments.rounds,
        "n_clips": len(manifest),
        "hours": sum(soundfile.info(clip.path).duration for clip in manifest.clips) / 3600,
        "preparation": prepared,
        "training": trained,
    }
    (RESULTS / "training.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "training.md").write_text(table(content), encoding="utf-8")
    print(table(content))


if __name__ == "__main__":
    main()
