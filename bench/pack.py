"""Pack a collection of the contest's size, beside the usual way.

    python bench/pack.py --folder /tmp/pack

Generates a collection in FSDKaggle2019's layout (25,000 clips, 100 hours, 44.1 kHz WAV, 32 GB; one that is there
already is used), then measures in one run:

- what two processes decode and resample together, doing nothing else, on a sample of the clips held in memory;
- `earmark data pack` on all clips: wall time and peak memory;
- on the same sample, `librosa.load` and `numpy.save` spread by joblib;

these in turn, some rounds, and at last the same packing again, when nothing is to be done.

Writes `bench/results/pack.json` and `pack.md`. The store (23 GB) and the sample's arrays are removed at the end.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from provenance import provenance
from tabulate import tabulate
from tqdm import tqdm

from earmark.audio.decode import decode
from earmark.audio.synth import LABELS, synthesize

RESULTS = Path(__file__).parent / "results"
RATE, PACKED_RATE = 44_100, 32_000
SHORTEST_S = 0.3
CURATED_SHARE = 0.2
SEED = 0
CLIPS_PER_TASK = 100
PACKAGES = ("earmark", "numpy", "soundfile", "soxr", "librosa", "joblib")


def generate(folder: Path, n_clips: int, hours: float) -> None:
    """Write the collection: excerpts of synthesised sounds at random places and levels, with noise of their own."""
    rng = np.random.default_rng(SEED)
    longest_s = 2 * hours * 3600 / n_clips - SHORTEST_S
    durations_s = rng.uniform(SHORTEST_S, longest_s, n_clips)
    durations_s *= hours * 3600 / durations_s.sum()
    n_curated = round(CURATED_SHARE * n_clips)
    subsets = np.array(["train_curated"] * n_curated + ["train_noisy"] * (n_clips - n_curated))
    names = [f"{number:08x}.wav" for number in range(n_clips)]
    labels = [LABELS[number % len(LABELS)] for number in range(n_clips)]
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for subset in ("train_curated", "train_noisy"):
        (partial / subset).mkdir(parents=True)
        rows = [[n, label] for n, label, of in zip(names, labels, subsets, strict=True) if of == subset]
        with (partial / f"{subset}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([["fname", "labels"], *rows])
    bank = np.concatenate([synthesize(label, rng, sample_rate=RATE) for label in LABELS for _ in range(4)])
    np.save(partial / "bank.npy", bank.astype(np.float32))
    clips = [
        (partial / subset / name, round(d * RATE)) for subset, name, d in zip(subsets, names, durations_s, strict=True)
    ]
    tasks = [
        (partial / "bank.npy", start, clips[start : start + CLIPS_PER_TASK])
        for start in range(0, n_clips, CLIPS_PER_TASK)
    ]
    with ProcessPoolExecutor() as pool:
        list(tqdm(pool.map(write_clips, tasks), total=len(tasks), desc="generate", unit=f"{CLIPS_PER_TASK} clips"))
    (partial / "bank.npy").unlink()
    partial.rename(folder)


def write_clips(task: tuple[Path, int, list[tuple[Path, int]]]) -> None:
    """Write some of the clips."""
    bank_file, number, clips = task
    bank, rng = np.load(bank_file, mmap_mode="r"), np.random.default_rng([SEED, number])
    for path, n_samples in clips:
        start = int(rng.integers(len(bank)))
        excerpt = bank.take(np.arange(start, start + n_samples), mode="wrap")
        hiss = rng.integers(-8, 9, n_samples, dtype=np.int16)
        samples = np.rint(excerpt * rng.uniform(0.05, 0.9) * 32_000).astype(np.int16) + hiss
        soundfile.write(path, samples, RATE, subtype="PCM_16")


def decode_rate(files: list[Path], n_processes: int) -> float:
    """Seconds of sound that so many processes decode and resample together in a second, files being in memory."""
    for file in files:
        file.read_bytes()  # from memory, so that it is the processor's rate and not the disk's
    parts = [files[offset::n_processes] for offset in range(n_processes)]
    command = [sys.executable, __file__, "--decode-alone"]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in parts]
    for child, part in zip(children, parts, strict=True):
        child.stdin.write("\n".join(map(str, part)))
        child.stdin.close()
    rates = [float(child.stdout.read()) for child in children]
    if any(child.wait() for child in children):
        raise SystemExit("decoding alone failed")
    return sum(rates)


def decode_alone() -> None:
    """Decode and resample the files that standard input names, and print the rate."""
    files = sys.stdin.read().splitlines()
    decode(files[0], PACKED_RATE)
    begun = time.perf_counter()
    seconds = sum(len(decode(file, PACKED_RATE).samples) for file in files) / PACKED_RATE
    print(seconds / (time.perf_counter() - begun))


def run_measured(*command: str | Path) -> dict[str, float]:
    """Run a command; give its wall time, processor time, and peak memory."""
    begun = time.perf_counter()
    child = subprocess.Popen(list(map(str, command)))
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {child.returncode}")
    return {
        "wall_s": time.perf_counter() - begun,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_memory_bytes": usage.ru_maxrss * 1024,
    }


def load_and_save(source: Path, target: Path) -> int:
    """The usual way with one clip; give its samples."""
    import librosa

    samples, _ = librosa.load(source, sr=PACKED_RATE)
    np.save(target, samples)
    return len(samples)


def librosa_rate(files: list[Path], folder: Path, n_processes: int) -> float:
    """Seconds of sound that librosa and joblib turn into arrays on disk in a second, once they are warm."""
    from joblib import Parallel, delayed

    folder.mkdir()
    for file in files:  # to be read from the disk, as by packing
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with Parallel(n_jobs=n_processes) as pool:
        pool(delayed(load_and_save)(file, folder / "warm.npy") for file in files[:n_processes])
        begun = time.perf_counter()
        n_samples = pool(delayed(load_and_save)(file, folder / f"{file.name}.npy") for file in files)
        os.sync()  # a store is on the disk when it is done, too
        wall_s = time.perf_counter() - begun
    shutil.rmtree(folder)
    return sum(n_samples) / PACKED_RATE / wall_s


def measure(folder: Path, n_clips: int, hours: float, n_sample: int, n_rounds: int) -> dict[str, Any]:
    """All of it."""
    collection, store = folder / f"collection-{n_clips}", folder / "store"
    if not collection.exists():
        generate(collection, n_clips, hours)
    files = sorted(collection.glob("train_*/*.wav"))
    sample = files[:: max(1, len(files) // n_sample)][:n_sample]
    n_cores = os.cpu_count() or 1
    pack = [sys.executable, "-m", "earmark", "data", "pack", collection, "-o", store, "--sample-rate", str(PACKED_RATE)]
    begun = provenance(*PACKAGES)
    rounds, alone, usual = [], [decode_rate(sample, n_cores)], []
    for _ in range(n_rounds):
        shutil.rmtree(store, ignore_errors=True)
        os.sync()
        packed = run_measured(*pack)
        rounds.append(packed | {"times_real_time": hours * 3600 / packed["wall_s"]})
        alone.append(decode_rate(sample, n_cores))
        usual.append(librosa_rate(sample, folder / "arrays", n_cores))
    n_bytes = sum(file.stat().st_size for file in store.iterdir())
    again = run_measured(*pack)
    shutil.rmtree(store)
    around = [statistics.mean(pair) for pair in itertools.pairwise(alone)]
    return {
        "command": "python bench/pack.py",
        **begun,
        "seed": SEED,
        "n_clips": len(files),
        "hours": hours,
        "n_sample": len(sample),
        "bytes": n_bytes,
        "n_processes": n_cores,
        "decode_and_resample_times_real_time": alone,
        "pack": rounds,
        "pack_over_decode": [one["times_real_time"] / rate for one, rate in zip(rounds, around, strict=True)],
        "pack_again": again,
        "librosa_and_joblib_times_real_time": usual,
        "pack_over_librosa": [one["times_real_time"] / rate for one, rate in zip(rounds, usual, strict=True)],
    }


def report(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    made_with = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    walls = [one["wall_s"] for one in figures["pack"]]
    rates = [one["times_real_time"] for one in figures["pack"]]
    peak = max(one["peak_memory_bytes"] for one in figures["pack"]) / 2**20
    rows = [
        [
            f"decode and resample alone, {figures['n_processes']} processes, files in memory (sample)",
            spread(figures["decode_and_resample_times_real_time"]),
        ],
        ["`earmark data pack`, from disk to disk", spread(rates), spread(walls), f"{peak:.0f}"],
        ["the same call again", "", f"{figures['pack_again']['wall_s']:.1f}"],
        ["`librosa.load`, `numpy.save`, joblib (sample)", spread(figures["librosa_and_joblib_times_real_time"])],
    ]
    return (
        f"`{figures['command']}`, {figures['date']}, {figures['machine']}, {made_with}. "
        f"{figures['n_clips']:,} clips, {figures['hours']:g} hours, 44.1 kHz WAV to {PACKED_RATE / 1000:g} kHz, "
        f"{figures['bytes'] / 1e9:.1f} GB; a sample of {figures['n_sample']:,} clips where it says so. "
        f"Median (lowest to highest) of {len(walls)} rounds.\n\n"
        + tabulate(rows, ["", "times real time", "wall s", "peak MiB"], tablefmt="github")
        + f"\n\nPacking goes at {spread(figures['pack_over_decode'], 2)} of the rate of decoding and resampling alone, "
        f"measured before and after it, and {spread(figures['pack_over_librosa'], 2)} times as fast as librosa with "
        "joblib.\n"
    )


def spread(values: list[float], digits: int = 0) -> str:
    """Median, lowest and highest."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where 60 GB can be written; the collection stays there")
    parser.add_argument("--clips", type=int, default=25_000)
    parser.add_argument("--hours", type=float, default=100.0)
    parser.add_argument("--sample", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--output", type=Path, help="folder for the results  [default: results/, of the full size alone]"
    )
    parser.add_argument("--decode-alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.decode_alone:
        decode_alone()
        return
    if arguments.folder is None:
        parser.error("--folder is needed")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    figures = measure(arguments.folder, arguments.clips, arguments.hours, arguments.sample, arguments.rounds)
    print(report(figures))
    full = (arguments.clips, arguments.hours) == (25_000, 100.0)
    if output := arguments.output or (RESULTS if full else None):
        output.mkdir(parents=True, exist_ok=True)
        (output / "pack.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        (output / "pack.md").write_text(report(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
