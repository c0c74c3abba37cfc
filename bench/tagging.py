"""How fast recordings are tagged, decode included, beside other taggers; with one core and with two.

    python bench/tagging.py                                   # everything: about half an hour on two cores
    python bench/tagging.py --part speed --part stages        # some parts; the others' figures stay
    python bench/tagging.py --minutes-of-audio 2 --files 200 --results /tmp/trial   # a trial

Parts:

`speed`   times real time of `earmark tag` on an hour of WAV, FLAC, MP3 and Ogg at 44.1 kHz, start-up included, with the
          embedded model and with mn04; peers without their start-up, which is their libraries', and therefore on a
          share of the hour (`--peers-share`). Earmark and YAMNet are measured in turn, several times (`--rounds`), and
          stand by their medians, as a machine is not equally quick from one minute to the next.
`stages`  where the time of one core goes, and what each stage takes by itself.
`short`   files a second, of 0.5 to 10 s, a quarter in each format.
`long`    a recording three times as long: time, and the most memory.
`cold`    `earmark tag one.wav`, from the call to the first line.

Sounds are earmark's synthesised ones, or those of `--audio FOLDER`, joined. Each measurement runs in a process of its
own, bound to its cores, and is written as soon as it is made, so that an interrupted call loses one; with `--missing`
those that are there already are not made again. Needs the extras train and bench for the peers; what is not installed
is left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from provenance import provenance
from tabulate import tabulate

RESULTS = Path(__file__).parent / "results"
MODELS = Path(__file__).parents[2] / "shared" / "models"
RATE = 44_100
FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "mp3": None, "ogg": None}
OURS = {"earmark, embedded": "embedded", "earmark, mn04": "mn04.onnx"}
QUICK = (*OURS, "YAMNet, LiteRT")
"""Those that are near each other, and measured in turn."""
PARTS = ("speed", "stages", "short", "long", "cold")
N_COLD = 9
STREAMED_MINUTES = 4.0
BLOCK_S = 10.0


@dataclass(frozen=True)
class Bench:
    """What is measured, where things lie, and what is known."""

    arguments: argparse.Namespace
    folder: Path
    figures: dict[str, Any]

    @property
    def path(self) -> Path:
        """Where the figures are kept."""
        return self.arguments.results / "tagging.json"

    def measure(self, part: str, name: str, make: Callable[[], Any]) -> None:
        """Make a measurement, unless it is there and only missing ones are asked for; keep it."""
        kept = self.figures.setdefault(part, {})
        if self.arguments.missing and name in kept:
            return
        print(f"{part}: {name}", file=sys.stderr, flush=True)
        kept[name] = make()
        about = ("earmark", "numpy", "onnxruntime", "ai-edge-litert", "panns-inference", "torch", "soundfile", "soxr")
        self.figures["about"] = provenance(*about) | {"minutes_of_audio": self.arguments.minutes_of_audio}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.figures, indent=1) + "\n", encoding="utf-8")
        self.path.with_suffix(".md").write_text(as_page(self.figures), encoding="utf-8")

    def recording(self, suffix: str, *, times: float = 1) -> Path:
        """The recording in a format, so many times as long; made when it is first asked for."""
        path = self.folder / f"{self.arguments.minutes_of_audio * times:g}-minutes.{suffix}"
        if not path.exists():
            n_left = round(60 * self.arguments.minutes_of_audio * times * RATE)
            with soundfile.SoundFile(path, "w", RATE, 1, FORMATS[suffix]) as file:  # in blocks, as Ogg needs it
                for block in sounds(self.arguments.audio):
                    file.write(block[:n_left])
                    n_left -= len(block[:n_left])
                    if not n_left:
                        break
        return path

    def model(self, name: str) -> str:
        """What --model takes; mn04 is imported when it is first asked for."""
        if name == "embedded":
            return name
        path = self.folder / name
        if not path.exists():
            checkpoint = self.arguments.models / "mn04_as_mAP_432.pt"
            subprocess.run([*EARMARK, "import", "efficientat", checkpoint, "-o", path], check=True, capture_output=True)
        return str(path)


EARMARK = [sys.executable, "-m", "earmark"]


def sounds(folder: Path | None) -> Iterator[np.ndarray]:
    """Blocks of sound without end, (n_samples,) float32 at `RATE`."""
    if folder is None:
        from earmark.audio.synth import LABELS, synthesize

        made = [synthesize(name, np.random.default_rng(i), duration_s=BLOCK_S) for i, name in enumerate(LABELS)]
    else:
        from earmark.audio.decode import decode

        made = [decode(path, RATE).samples for path in sorted(folder.rglob("*"))[:200] if path.is_file()]
    while True:
        for block in made:
            for start in range(0, len(block), round(BLOCK_S * RATE)):
                yield block[start : start + round(BLOCK_S * RATE)]


def run(command: list[object], n_cores: int) -> tuple[float, float, str]:
    """Run a command on the first cores: seconds, the most memory in MiB, standard output."""
    cores = set(sorted(os.sched_getaffinity(0))[:n_cores])
    environment = os.environ | {"OMP_NUM_THREADS": str(n_cores), "OPENBLAS_NUM_THREADS": str(n_cores)}
    with tempfile.TemporaryFile() as errors:  # a pipe that nobody reads fills up with progress
        begun = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        errors.seek(0)
        if status:
            raise RuntimeError(f"{command[:4]} …: {errors.read().decode()[-2000:]}")
    return seconds, usage.ru_maxrss / 1024, output.decode()


def measured_here(what: str, *words: object, n_cores: int, models: Path) -> dict[str, Any]:
    """Have this script measure something in a process of its own."""
    own = [sys.executable, __file__, "--models", models, "--measure", what, *words, n_cores]
    return json.loads(run(own, n_cores)[2].splitlines()[-1])


def speed(bench: Bench) -> None:
    """Times real time, by format, tagger and cores; of those that take seconds, the median of several in turn."""
    from tagging_peers import PEERS

    for suffix in FORMATS:
        for n_cores in (1, 2):
            makes: dict[str, Callable[[], float | None]] = {
                name: partial(_own, bench, model, suffix, n_cores) for name, model in OURS.items()
            }
            makes |= {name: partial(_peer, bench, name, suffix, n_cores) for name in PEERS}
            turns = Turns({name: makes[name] for name in QUICK}, bench.arguments.rounds)
            for name, make in makes.items():
                what = partial(turns.median, name) if name in QUICK else make
                bench.measure("speed", f"{name} | {suffix} | {n_cores}", what)


class Turns:
    """Measurements that are made in turn, several times, so that what else the machine does is shared by all."""

    def __init__(self, makes: dict[str, Callable[[], float | None]], n_rounds: int) -> None:
        self._makes, self._n_rounds = makes, n_rounds
        self._found: dict[str, list[float]] = {}

    def median(self, name: str) -> float | None:
        """Of one of them; none where it cannot be made. The first that is asked for has all be made."""
        if not self._found:
            rounds = [{each: make() for each, make in self._makes.items()} for _ in range(self._n_rounds)]
            self._found = {each: [v for one in rounds if (v := one[each]) is not None] for each in self._makes}
        return statistics.median(self._found[name]) if self._found[name] else None


def _own(bench: Bench, model: str, suffix: str, n_cores: int) -> float:
    command = [*EARMARK, "tag", bench.recording(suffix), "--model", bench.model(model), "--workers", n_cores]
    return 60 * bench.arguments.minutes_of_audio / run(command, n_cores)[0]


def _peer(bench: Bench, name: str, suffix: str, n_cores: int) -> float | None:
    path = bench.recording(suffix, times=bench.arguments.peers_share)
    try:
        found = measured_here("peer", name, path, n_cores=n_cores, models=bench.arguments.models)
    except RuntimeError as error:
        print(f"left out: {name} ({str(error).splitlines()[-1]})", file=sys.stderr)
        return None
    return 60 * bench.arguments.minutes_of_audio * bench.arguments.peers_share / found["seconds"]


def measure_peer(name: str, path: str, models: Path, n_threads: int) -> dict[str, Any]:
    """Seconds that a peer takes for a file, after half a minute of the same to warm up."""
    from tagging_peers import BLOCK_S as MINUTE_S
    from tagging_peers import PEERS

    hear = PEERS[name](n_threads, models)
    with tempfile.TemporaryDirectory() as folder:
        warm = Path(folder) / "warm.wav"
        soundfile.write(warm, np.random.default_rng(0).uniform(-0.1, 0.1, round(MINUTE_S * RATE)), RATE)
        hear(warm)
    begun = time.perf_counter()
    scores = hear(Path(path))
    return {"seconds": time.perf_counter() - begun, "n_windows": len(scores)}


def stages(bench: Bench) -> None:
    """Where the time of one core goes, of a recording that is long enough to be streamed."""
    times = max(1, ceil(STREAMED_MINUTES / bench.arguments.minutes_of_audio))
    for suffix in FORMATS:
        path = bench.recording(suffix, times=times)
        for name, model in OURS.items():
            words = (path, bench.model(model))
            bench.measure(
                "stages",
                f"{name} | {suffix}",
                lambda words=words: measured_here("stages", *words, n_cores=1, models=bench.arguments.models),
            )


def measure_stages(path: str, model: str, n_threads: int) -> dict[str, Any]:
    """Seconds of each stage within a call, those that each takes by itself, and those of the whole."""
    from threadpoolctl import threadpool_limits

    from earmark.audio.decode import stream
    from earmark.audio.logmel import frames_log_mel
    from earmark.audio.resample import resample
    from earmark.bundle import Bundle
    from earmark.tagging import listener
    from earmark.tagging.engine import Engine
    from earmark.tagging.tagger import load

    tagger = load(model, n_threads=n_threads)
    spec, log_mel = tagger.bundle.spec, tagger.picture_spec.log_mel
    alone: dict[str, float] = {}
    with threadpool_limits(n_threads, user_api="blas"):
        Engine([tagger]).scores(path)  # warm
        begun = time.perf_counter()
        Engine([tagger]).scores(path)
        whole_s = time.perf_counter() - begun

        begun = time.perf_counter()
        with stream(path, block_s=None) as blocks:
            rate, n_samples = blocks.sample_rate, sum(map(len, blocks))
        alone["decode"] = time.perf_counter() - begun

        minute = np.random.default_rng(0).standard_normal(60 * rate).astype(np.float32) / 10
        n_minutes = n_samples / len(minute)
        alone["resample"] = n_minutes * quickest(lambda: resample(minute, rate, tagger.sample_rate))
        waveform = resample(minute, rate, tagger.sample_rate)
        n_frames = (len(waveform) - log_mel.n_fft) // log_mel.hop_length
        alone["features"] = n_minutes * quickest(lambda: frames_log_mel(waveform, n_frames, log_mel))
        cut = np.ascontiguousarray(tagger.cut(waveform)[: tagger.windows_per_call])
        n_windows = 60 * log_mel.frame_rate / spec.hop_frames * n_minutes
        alone["network"] = n_windows / len(cut) * quickest(lambda: tagger.bundle.scores(cut))

        within: dict[str, float] = dict.fromkeys(("resample", "features", "network"), 0.0)

        def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                begun = time.perf_counter()
                result = function(*arguments, **options)
                within[stage] += time.perf_counter() - begun
                return result

            return call

        listener.StreamResampler.push = timed("resample", listener.StreamResampler.push)  # type: ignore[method-assign]
        listener.frames_log_mel = timed("features", listener.frames_log_mel)
        Bundle.outputs = timed("network", Bundle.outputs)  # type: ignore[method-assign]
        begun = time.perf_counter()
        Engine([tagger]).scores(path)
        watched_s = time.perf_counter() - begun
    within["decode"] = alone["decode"]
    within["rest"] = watched_s - sum(within.values())
    return {"whole_s": whole_s, "within_s": within, "alone_s": alone, "of_limit": sum(alone.values()) / whole_s}


def quickest(call: Callable[[], Any], n_calls: int = 7) -> float:
    """Seconds of the quickest of some calls."""
    found = []
    for _ in range(n_calls):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return min(found)


def short(bench: Bench) -> None:
    """Files a second."""
    folder = bench.folder / f"{bench.arguments.files}-files"
    if not folder.exists():
        write_short(folder, bench.arguments.files, bench.arguments.audio)
    for n_cores in (1, 2):
        output = bench.folder / "tags.csv"
        command = [*EARMARK, "tag", folder, "--format", "csv", "-o", output, "--workers", n_cores]

        def files_a_second(command: list[object] = command, n_cores: int = n_cores) -> float:
            return bench.arguments.files / run(command, n_cores)[0]

        bench.measure("short", f"{bench.arguments.files} files | {n_cores}", files_a_second)


def write_short(folder: Path, n_files: int, audio: Path | None) -> None:
    """Write files of 0.5 to 10 s, the formats in turn."""
    folder.mkdir()
    rng, suffixes = np.random.default_rng(0), list(FORMATS)
    for i, block in zip(range(n_files), sounds(audio), strict=False):
        n_samples = round(rng.uniform(0.5, 10.0) * RATE)
        suffix = suffixes[i % len(suffixes)]
        soundfile.write(folder / f"{i:06}.{suffix}", np.resize(block, n_samples), RATE, FORMATS[suffix])


def long(bench: Bench) -> None:
    """A recording three times as long, as a clip and as events."""
    path = bench.recording("flac", times=3)
    hours = 3 * bench.arguments.minutes_of_audio / 60
    for n_cores in (1, 2):
        for said in ([], ["--timeline"]):
            command = [*EARMARK, "tag", path, *said, "--format", "csv", "--workers", n_cores]

            def figures(command: list[object] = command, n_cores: int = n_cores) -> dict[str, float]:
                seconds, megabytes, _ = run(command, n_cores)
                return {"seconds_an_hour": seconds / hours, "peak_mib": megabytes, "hours": hours}

            bench.measure("long", f"{' '.join(['tag', *said])} | {n_cores}", figures)


def cold(bench: Bench) -> None:
    """Seconds from the call to the first line."""
    path = bench.folder / "one.wav"
    soundfile.write(path, next(sounds(bench.arguments.audio))[: 5 * RATE], RATE)

    def first_line() -> float:
        begun = time.perf_counter()
        with subprocess.Popen([*EARMARK, "tag", str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            return time.perf_counter() - begun

    def times() -> dict[str, float]:
        found = [first_line() for _ in range(N_COLD)]
        return {"median_s": statistics.median(found), "worst_s": max(found), "best_s": min(found)}

    bench.measure("cold", "earmark tag one.wav", times)


def as_page(figures: dict[str, Any]) -> str:
    """The figures for people."""
    parts = {"speed": _speed_page, "stages": _stages_page, "short": _short_page, "long": _long_page, "cold": _cold_page}
    about = figures["about"]
    lines = ["# Tagging", ""]
    for name, page in parts.items():
        if name in figures:
            lines += [*page(figures[name]), ""]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines.append(
        f"`python bench/tagging.py --minutes-of-audio {about['minutes_of_audio']:g}`, {about['date']}: "
        f"{about['machine']}; {versions}."
    )
    return "\n".join([*lines, ""])


def _speed_page(found: dict[str, float | None]) -> list[str]:
    keys = [key.split(" | ") for key in found]
    names = list(dict.fromkeys(name for name, _, _ in keys))
    columns = list(dict.fromkeys((suffix, n) for _, suffix, n in keys))
    rows = [[name, *(_number(found.get(f"{name} | {s} | {n}"), ".0f") for s, n in columns)] for name in names]
    lines = [
        "## Times real time, from file to tags",
        "",
        "Of earmark and YAMNet medians of several rounds in turn.",
        "",
        _table(rows, ["", *(f"{s}, {n} core(s)" for s, n in columns)]),
    ]
    ratios = []
    for ours, theirs in (
        ("earmark, embedded", "YAMNet, LiteRT"),
        ("earmark, mn04", "YAMNet, LiteRT"),
        ("earmark, mn04", "mn04, PyTorch"),
    ):
        both = [(found.get(f"{ours} | {s} | {n}"), found.get(f"{theirs} | {s} | {n}")) for s, n in columns]
        ratios.append([f"{ours} / {theirs}", *(_number(a / b, ".2f") if a and b else "" for a, b in both)])
    return [*lines, "", _table(ratios, ["", *(f"{s}, {n} core(s)" for s, n in columns)])]


def _stages_page(found: dict[str, Any]) -> list[str]:
    names = ("decode", "resample", "features", "network", "rest")
    rows = []
    for key, one in found.items():
        shares = [f"{100 * one['within_s'][name] / sum(one['within_s'].values()):.0f} %" for name in names]
        limits = [
            f"{one['alone_s'][name] / one['within_s'][name]:.2f}" if one["within_s"].get(name) else ""
            for name in names[1:4]
        ]
        rows.append([*key.split(" | "), *shares, *limits, f"{one['of_limit']:.2f}"])
    head = ["", "format", *names, *(f"{name}, of its limit" for name in names[1:4]), "whole, of the limits' sum"]
    return ["## Where one core's time goes", "", _table(rows, head)]


def _short_page(found: dict[str, float]) -> list[str]:
    rows = [[*key.split(" | "), f"{value:.1f}"] for key, value in found.items()]
    return ["## Short files", "", _table(rows, ["", "cores", "files a second"])]


def _long_page(found: dict[str, dict[str, float]]) -> list[str]:
    rows = [
        [*key.split(" | "), f"{one['hours']:.2f}", f"{one['seconds_an_hour']:.1f}", f"{one['peak_mib']:.0f}"]
        for key, one in found.items()
    ]
    head = ["", "cores", "hours of FLAC", "seconds an hour", "most memory, MiB"]
    return ["## A long recording, embedded model", "", _table(rows, head)]


def _cold_page(found: dict[str, dict[str, float]]) -> list[str]:
    rows = [[key, *(f"{one[name]:.2f}" for name in ("best_s", "median_s", "worst_s"))] for key, one in found.items()]
    return ["## From the call to the first line", "", _table(rows, ["", "best, s", "median, s", "worst, s"])]


def _number(value: float | None, format_: str) -> str:
    return "" if value is None else format(value, format_)


def _table(rows: list[list[str]], head: list[str]) -> str:
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be given several times")
    parser.add_argument("--minutes-of-audio", type=float, default=60.0)
    parser.add_argument("--peers-share", type=float, default=0.1, help="of the recording that peers are given")
    parser.add_argument("--rounds", type=int, default=3, help="of taggers that take seconds, in turn; their medians")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--audio", type=Path, help="a folder of recordings to join, instead of synthesised sounds")
    parser.add_argument("--models", type=Path, default=MODELS, help="where the peers' weights are")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--keep", type=Path, help="a folder for the recordings, to be used again")
    parser.add_argument("--missing", action="store_true", help="only measurements that are not there")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, *words, n_threads = arguments.measure
        made = (
            measure_peer(*words, arguments.models, int(n_threads))
            if what == "peer"
            else measure_stages(*words, int(n_threads))
        )
        print(json.dumps(made))
        return
    known = arguments.results / "tagging.json"
    figures = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(arguments, folder, figures)
        for part in arguments.part or PARTS:
            {"speed": speed, "stages": stages, "short": short, "long": long, "cold": cold}[part](bench)


if __name__ == "__main__":
    main()
