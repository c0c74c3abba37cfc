"""What tagging and training cost as they grow, on this machine and over Ray, and what is lost when parts of it die.

    python bench/scaling.py                                        # everything: twenty minutes on two idle cores
    python bench/scaling.py --part ray --part nodes                # some parts; the others' figures stay
    python bench/scaling.py --files 200 --clips 60 --minutes 2 --results /tmp/trial   # a trial

Parts:

`ray`      `earmark tag` on so many files with all cores, then `--on ray` with as many actors, then the same with one
           actor killed (SIGKILL) once half of the parts are there: rows equal, and the rates of the whole calls.
`nodes`    two Ray nodes of one core each, in network namespaces of their own where the system allows it, else as
           processes; once half of the parts are there, the second is cut off (its link goes down, or it is killed).
`files`    files a second against the number of files.
`hours`    times real time against the length of one recording.
`labels`   files a second against the number of labels, by networks of the recipe `fast` that have learned nothing.
`workers`  files a second against `--workers`, here and on Ray.
`stages`   seconds of a core that decoding, log-mel and network take of a 10-second clip.
`clips`    seconds of `earmark train` against the number of clips, one epoch of two folds of the recipe `fast`.
`gpu`      clips a second of networks alone on a CUDA device, where there is one; not decoding, not log-mel.

Files are links to some synthesised clips of 10 s, so that the disk's cache serves them. Ray's start is part of a call's
seconds; `start_s` says how much it is, by a call with two files. Every part is written as soon as it is measured, to
`bench/results/scaling.json` and `.md`, and into `docs/scaling.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from families import descendants
from provenance import provenance
from scaling_nodes import is_actor, kill_an_actor, quiet, two_nodes
from scaling_page import as_page, into_docs

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs" / "scaling.md"
EARMARK = [sys.executable, "-m", "earmark"]
CLIP_S, RATE = 10.0, 32_000
N_DISTINCT = 32
PARTS = ("ray", "nodes", "files", "hours", "labels", "workers", "stages", "clips", "gpu")
PACKAGES = ("earmark", "ray", "numpy", "onnxruntime", "torch", "pyarrow", "fsspec")


@dataclass
class Bench:
    """What is measured, where things lie, and what is known."""

    arguments: argparse.Namespace
    folder: Path
    figures: dict[str, Any]

    def keep(self, part: str, figures: Any) -> None:
        """Write a part's figures beside the others."""
        about = {"command": f"python bench/scaling.py {' '.join(sys.argv[1:])}".strip(), **provenance(*PACKAGES)}
        self.figures[part] = {"figures": figures, "about": about}
        self.arguments.results.mkdir(parents=True, exist_ok=True)
        path = self.arguments.results / "scaling.json"
        path.write_text(json.dumps(self.figures, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(as_page(self.figures), encoding="utf-8")
        if self.arguments.results == RESULTS:
            into_docs(DOCS, as_page(self.figures))

    def library(self, n_files: int) -> Path:
        """A folder of so many clips."""
        folder = self.folder / f"{n_files}-files"
        if not folder.exists():
            distinct = clips(self.folder)
            folder.mkdir()
            for i in range(n_files):
                os.link(distinct[i % len(distinct)], folder / f"{i:07}.wav")
        return folder


def clips(folder: Path) -> list[Path]:
    """Some synthesised clips of 10 s."""
    from earmark.audio.synth import LABELS, synthesize

    below = folder / "distinct"
    if not below.exists():
        below.mkdir()
        for i in range(N_DISTINCT):
            sound = synthesize(LABELS[i % len(LABELS)], np.random.default_rng(i), duration_s=CLIP_S)
            samples = np.zeros(round(CLIP_S * RATE), dtype=np.float32)
            samples[: len(sound)] = sound[: len(samples)]
            samples += np.random.default_rng(1000 + i).normal(0, 1e-3, len(samples)).astype(np.float32)
            soundfile.write(below / f"{i:03}.wav", samples, RATE)
    return sorted(below.iterdir())


def timed(command: list[Any], environment: dict[str, str] | None = None, allowed: tuple[int, ...] = (0,)) -> float:
    """Seconds that a command takes from the call to the end; an error when it ends otherwise."""
    begun = time.perf_counter()
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=quiet(environment), check=False)
    if done.returncode not in allowed:
        raise RuntimeError(f"{command[:6]}: {done.stderr[-2000:]}")
    return time.perf_counter() - begun


def tag(files: Path, output: Path, *options: Any) -> list[Any]:
    """A command that tags a folder into Parquet."""
    remove(output)
    return [*EARMARK, "tag", files, "-o", output, *options]


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def rows(place: Path) -> list[tuple[Any, ...]]:
    """All rows of a Parquet file or of a folder of them, sorted."""
    from pyarrow.dataset import dataset

    table = dataset(place, format="parquet").to_table()
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=str)


def measure_ray(bench: Bench) -> dict[str, Any]:
    """Local against Ray, and Ray with a worker killed."""
    n, n_cores = bench.arguments.files, len(os.sched_getaffinity(0))
    files, few = bench.library(n), bench.library(2)
    local, there = bench.folder / "local.parquet", bench.folder / "ray"
    on = ("--on", "ray", "--workers", n_cores)
    here = ("--format", "parquet", "--workers", n_cores)
    rounds = []
    for _ in range(bench.arguments.rounds):
        local_s = timed(tag(files, local, *here))
        rounds.append({"local_s": local_s, "ray_s": timed(tag(files, there, *on))})
    expected = rows(local)
    figures: dict[str, Any] = {
        "n_files": n,
        "n_cores": n_cores,
        "rounds": rounds,
        "rows": len(expected),
        "rows_equal": rows(there) == expected,
        "start_s": {"local": timed(tag(few, local, *here)), "ray": timed(tag(few, there, *on))},
        "rate_ratio": statistics.median(one["local_s"] / one["ray_s"] for one in rounds),
    }
    killed_s, n_killed = tag_and_break(tag(files, there, *on), there, n, kill_an_actor)
    figures["killed"] = {"n_killed": n_killed, "seconds": killed_s, "rows_equal": rows(there) == expected}
    return figures


def tag_and_break(
    command: list[Any],
    output: Path,
    n_files: int,
    breaking: Callable[[int], int],
    environment: dict[str, str] | None = None,
) -> tuple[float, int]:
    """Run a call that tags on Ray, break something once half of its files are done; seconds, and what `breaking` gave.

    `breaking` is given the call's process.
    """
    begun, n_broken = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(list(map(str, command)), stderr=said, text=True, env=quiet(environment))
        while process.poll() is None:
            time.sleep(0.1)
            if not n_broken and heard_in(output) >= n_files / 2:
                n_broken = breaking(process.pid)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read()[-2000:])
    return time.perf_counter() - begun, n_broken


def heard_in(folder: Path) -> int:
    """Recordings that the parts in a folder hold."""
    from pyarrow.parquet import read_schema

    from earmark.tagging.parts import FOOTER

    n = 0
    for path in folder.glob("part-*.parquet"):
        n += len(json.loads((read_schema(path).metadata or {})[FOOTER])["heard"])
    return n


def measure_nodes(bench: Bench) -> dict[str, Any]:
    """Two nodes, one of which is cut off half-way."""
    n = bench.arguments.files
    files, local, there = bench.library(n), bench.folder / "local.parquet", bench.folder / "nodes"
    timed(tag(files, local, "--format", "parquet"))
    with two_nodes() as nodes:
        command = [*nodes.prefix, *tag(files, there, "--on", "ray")]
        whole_s, _ = tag_and_break(command, there, n, lambda _: 1, nodes.environment)
        equal = rows(there) == rows(local)
        command = [*nodes.prefix, *tag(files, there, "--on", "ray")]
        n_actors: list[int] = []

        def cut(_: int) -> int:
            n_actors.append(sum(is_actor(pid) for pid in descendants(nodes.second)))
            nodes.cut()
            return 1

        cut_s, n_cut = tag_and_break(command, there, n, cut, nodes.environment)
    return {
        "n_files": n,
        "kind": nodes.kind,
        "seconds_whole": whole_s,
        "rows_equal_whole": equal,
        "n_cut_off": n_cut,
        "actors_on_what_was_cut_off": n_actors,
        "seconds_cut": cut_s,
        "rows_equal_cut": rows(there) == rows(local),
    }


def measure_files(bench: Bench) -> list[dict[str, float]]:
    """Seconds by number of files, all cores."""
    numbers = [max(1, bench.arguments.files // share) for share in (100, 10, 2, 1)]
    output = bench.folder / "curve.parquet"
    return [{"n_files": n, "s": timed(tag(bench.library(n), output, "--format", "parquet"))} for n in numbers]


def measure_hours(bench: Bench) -> list[dict[str, float]]:
    """Seconds by the length of one recording, all cores."""
    figures = []
    for share in (60, 6, 1):
        n_minutes = max(bench.arguments.minutes / share, CLIP_S / 60)
        path = bench.folder / f"{n_minutes:.3g}-minutes.wav"
        blocks = [soundfile.read(clip, dtype="float32")[0] for clip in clips(bench.folder)]
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for i in range(round(n_minutes * 60 / CLIP_S)):
                file.write(blocks[i % len(blocks)])
        figures.append({"minutes": n_minutes, "s": timed(tag(path, bench.folder / "h.parquet", "--format", "parquet"))})
    return figures


def measure_labels(bench: Bench) -> list[dict[str, float]]:
    """Seconds by the number of labels, all cores."""
    import msgspec

    from earmark.bundle import BundleSpec, write_bundle
    from earmark.training.export import to_onnx
    from earmark.training.models import build_network
    from earmark.training.recipe import load_recipe

    recipe, files, figures = load_recipe("fast"), bench.library(max(1, bench.arguments.files // 5)), []
    picture = msgspec.structs.replace(recipe.picture, mean=0.0, std=1.0)
    for n_labels in (10, 80, 527):
        path = bench.folder / f"{n_labels}-labels.onnx"
        labels = tuple(f"label{i}" for i in range(n_labels))
        network = build_network(recipe.model, n_labels).eval()
        spec = BundleSpec(
            labels=labels,
            front_end=msgspec.to_builtins(picture),
            window_frames=recipe.window_frames,
            hop_frames=recipe.hop_frames,
        )
        write_bundle(to_onnx(network, picture, recipe.window_frames), spec, path)
        command = tag(files, bench.folder / "l.parquet", "--format", "parquet", "--model", path)
        figures.append({"n_labels": n_labels, "n_files": len(list(files.iterdir())), "s": timed(command)})
    return figures


def measure_workers(bench: Bench) -> list[dict[str, Any]]:
    """Seconds by the number of workers, here and on Ray."""
    n = max(1, bench.arguments.files // 5)
    figures = []
    for n_workers in range(1, len(os.sched_getaffinity(0)) + 1):
        for where, options in (("here", ("--format", "parquet")), ("ray", ("--on", "ray"))):
            command = tag(bench.library(n), bench.folder / f"w-{where}", *options, "--workers", n_workers)
            few = tag(bench.library(2), bench.folder / f"w2-{where}", *options, "--workers", n_workers)
            s, start_s = timed(command), timed(few)
            figures.append({"n_workers": n_workers, "where": where, "n_files": n, "s": s, "start_s": start_s})
    return figures


def measure_stages(bench: Bench) -> dict[str, float]:
    """Seconds of one core by stage, a clip of 10 s, the median over the distinct ones."""
    from threadpoolctl import threadpool_limits

    from earmark.audio.decode import decode
    from earmark.audio.logmel import log_mel
    from earmark.tagging.tagger import load

    tagger = load(n_threads=1)
    spec, times = tagger.picture_spec.log_mel, []
    with threadpool_limits(1):
        for path in clips(bench.folder):
            marks = [time.thread_time()]
            waveform = decode(path, tagger.sample_rate)
            marks.append(time.thread_time())
            log_mel(waveform.samples, spec)
            marks.append(time.thread_time())
            tagger.scores(waveform.samples, waveform.sample_rate)
            marks.append(time.thread_time())
            times.append(np.diff(marks))
    decode_s, log_mel_s, scores_s = np.median(times, axis=0)
    return {"decode_s": decode_s, "log_mel_s": log_mel_s, "network_s": scores_s - log_mel_s}


def measure_clips(bench: Bench) -> list[dict[str, float]]:
    """Seconds of training by the number of clips."""
    from earmark.audio.synth import LABELS

    figures = []
    for n in sorted({max(20, bench.arguments.clips // share) for share in (10, 3, 1)}):
        collection = bench.folder / f"{n}-clips"
        collection.mkdir()
        table = ["path,labels"]
        for i in range(n):
            os.link(clips(bench.folder)[i % N_DISTINCT], collection / f"{i:05}.wav")
            table.append(f"{i:05}.wav,{LABELS[i % N_DISTINCT % len(LABELS)]}")
        (collection / "clips.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
        store, run = bench.folder / f"{n}-store", bench.folder / f"{n}-run"
        pack_s = timed([*EARMARK, "data", "pack", collection, "-o", store])
        command = [*EARMARK, "train", store, "-o", run, "--folds", "2", "--set", "fit.epochs=1"]
        figures.append({"n_clips": n, "pack_s": pack_s, "train_s": timed(command)})
    return figures


def measure_gpu(bench: Bench) -> dict[str, Any] | None:
    """Clips of 10 s a second through networks alone on a CUDA device."""
    import torch

    from earmark.training.models import build_network
    from earmark.training.recipe import load_recipe

    if not torch.cuda.is_available():
        return None
    found = {}
    for name in ("fast", "mobile"):
        recipe = load_recipe(name)
        network = build_network(recipe.model, 28).eval().cuda()
        shape = (256, recipe.picture.n_channels, recipe.picture.height, recipe.window_frames)
        pictures = torch.randn(shape, device="cuda")
        windows_a_clip = CLIP_S / (recipe.hop_frames / recipe.picture.log_mel.frame_rate)
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            for n_rounds in (10, 200):  # the first to warm up
                torch.cuda.synchronize()
                begun = time.perf_counter()
                for _ in range(n_rounds):
                    network(pictures)
                torch.cuda.synchronize()
        found[name] = 256 * 200 / (time.perf_counter() - begun) / windows_a_clip
    return {"device": torch.cuda.get_device_name(), "clips_per_s": found}


MEASURES: dict[str, Callable[[Bench], Any]] = {name: globals()[f"measure_{name}"] for name in PARTS}


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where files may be written  [default: a temporary one]")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    path = arguments.results / "scaling.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="scaling-") as folder:
        bench = Bench(arguments, Path(folder), figures)
        for part in arguments.part or PARTS:
            print(part, file=sys.stderr, flush=True)
            bench.keep(part, MEASURES[part](bench))


if __name__ == "__main__":
    main()
