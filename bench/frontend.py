"""Measure the way from a recording to tags, stage by stage, on one core.

    python bench/frontend.py              # a few minutes
    python bench/frontend.py --quick      # 10 s of audio, nothing is kept
    python bench/frontend.py --ten-hours  # and a ten-hour recording, which takes 1.6 GB of disk meanwhile

Three tables, printed and written to `bench/results/frontend.md` and, with date, machine, versions and seed,
`frontend.json`: log-mel spectrograms by earmark and by five others; decoding and resampling by format; and the share
of each stage in `earmark tag`. `--ten-hours` adds memory and speed where a long recording is streamed.

Everything is bound to one thread. Times are those that the process spent on the processor, so that a contender that
starts a thread nevertheless pays for it, and a busy machine disturbs less. Contenders take turns, A B C A B C …; what
is quoted is the median and range over the rounds, and of ratios the median of those within one round. Contenders that
are not installed are left out and named: `pip install librosa torchlibrosa nnAudio av`.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from contenders import Contender, contenders, largest_difference_db, reference
from provenance import provenance
from tabulate import tabulate

from earmark.audio.decode import decode, resample
from earmark.audio.logmel import LogMelSpec, log_mel_blocks

RESULTS = Path(__file__).parent / "results"
SEED = 0
OWN_PACKAGES = ("earmark", "numpy", "scipy", "soundfile", "soxr", "av", "onnxruntime")
PEERS = ("librosa", "torch", "torchlibrosa", "nnAudio")

FRONT_ENDS = (
    LogMelSpec(sample_rate=44_100, n_fft=2560, hop_length=694, n_mels=128, fmax=22_050),
    LogMelSpec(sample_rate=44_100, n_fft=4480, hop_length=746, n_mels=224, fmax=22_050),
    LogMelSpec(sample_rate=32_000, n_fft=1024, hop_length=320, n_mels=128, fmax=16_000),
)
CLIPS_S = (10, 1)

DECODED_TO_HZ = 32_000
STREAMED = LogMelSpec()
HOUR_S = 3600
NOISE_STREAMED = 1e-3
"""Deviation of the noise in the long recording: FLAC then takes 8 of 16 bits a sample."""


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes
    ----------
    log_mel_s
        Audio that each contender transforms in a round, in seconds, whatever the clips' length.
    file_s
        Length of the files that are decoded, in seconds.
    n_rounds
        After one that warms up.
    streamed_h
        Length of the long recording, in hours.
    """

    log_mel_s: int
    file_s: int
    n_rounds: int
    streamed_h: float


FULL = Scale(log_mel_s=30, file_s=60, n_rounds=9, streamed_h=10)
QUICK = Scale(log_mel_s=10, file_s=10, n_rounds=3, streamed_h=0.1)


@dataclass(frozen=True)
class AudioFormat:
    """What a file is written as; Opus knows no 44.1 kHz."""

    name: str
    suffix: str
    container: str
    subtype: str
    sample_rate: int = 44_100


FORMATS = (
    AudioFormat("WAV, 16 bit", ".wav", "WAV", "PCM_16"),
    AudioFormat("FLAC, 16 bit", ".flac", "FLAC", "PCM_16"),
    AudioFormat("MP3", ".mp3", "MP3", "MPEG_LAYER_III"),
    AudioFormat("Ogg Vorbis", ".ogg", "OGG", "VORBIS"),
    AudioFormat("Ogg Opus", ".opus", "OGG", "OPUS", 48_000),
    AudioFormat("AAC in m4a", ".m4a", "pyav", "aac"),
)


def noise_and_tones(n_samples: int, sample_rate: int, *, seed: int, noise: float = 0.05) -> np.ndarray:
    """(n_samples,) float32: noise, and five tones that come and go."""
    random = np.random.default_rng(seed)
    time_s = np.arange(n_samples) / sample_rate
    samples = noise * random.standard_normal(n_samples)
    for frequency_hz, beat_hz in zip(
        random.uniform(100, 0.45 * sample_rate, 5), random.uniform(0.2, 3, 5), strict=True
    ):
        samples += 2 * noise * np.sin(2 * np.pi * frequency_hz * time_s) * np.sin(np.pi * beat_hz * time_s) ** 2
    return samples.astype(np.float32)


def interleaved(tasks: dict[str, Callable[[], object]], n_rounds: int) -> dict[str, np.ndarray]:
    """Processor seconds of each task in each round, (n_rounds,); the tasks take turns, and a round before warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(1 + n_rounds):
        for name, task in tasks.items():
            began = time.process_time()
            task()
            seconds[name].append(time.process_time() - began)
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def spread(values: np.ndarray) -> dict[str, float]:
    """Median and range, to four digits."""
    figures = {"median": np.median(values), "lowest": values.min(), "highest": values.max()}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def shown(figures: dict[str, float]) -> str:
    """Median and range as text."""
    median, lowest, highest = (
        f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}" for value in figures.values()
    )
    return median if lowest == highest else f"{median} ({lowest} to {highest})"


def note(text: str) -> None:
    """Say how it goes, on standard error."""
    print(text, file=sys.stderr, flush=True)


def measure_log_mel(scale: Scale) -> list[dict[str, Any]]:
    """Time every contender at every front end and clip length; a row each."""
    rows = []
    for spec in FRONT_ENDS:
        ready = contenders(spec)
        for clip_s in CLIPS_S:
            note(f"log-mel: n_fft {spec.n_fft}, clips of {clip_s} s")
            n_clips = max(1, scale.log_mel_s // clip_s)
            clips = [
                noise_and_tones(clip_s * spec.sample_rate, spec.sample_rate, seed=SEED + i) for i in range(n_clips)
            ]
            tasks = {name: partial(over_clips, transform, clips) for name, transform in ready.items()}
            seconds = interleaved(tasks, scale.n_rounds)
            expected = reference(clips[0], spec)
            for name, transform in ready.items():
                rows.append(
                    {
                        **{key: getattr(spec, key) for key in ("sample_rate", "n_fft", "hop_length", "n_mels")},
                        "clip_s": clip_s,
                        "contender": name,
                        "times_real_time": spread(n_clips * clip_s / seconds[name]),
                        "time_over_earmarks": spread(seconds[name] / seconds["earmark"]),
                        "largest_difference_db": largest_difference_db(transform(clips[0]), expected),
                    }
                )
    return rows


def over_clips(transform: Contender, clips: list[np.ndarray]) -> None:
    """Transform clips one after the other."""
    for clip in clips:
        transform(clip)


def write_recording(path: Path, format_: AudioFormat, duration_s: int) -> None:
    """Write noise and tones, second by second: libsndfile's Vorbis crashes on minutes in one call."""
    samples = noise_and_tones(duration_s * format_.sample_rate, format_.sample_rate, seed=SEED)
    seconds = np.split(samples, duration_s)
    if format_.container == "pyav":
        write_by_pyav(path, format_, seconds)
        return
    with soundfile.SoundFile(
        path, "w", format_.sample_rate, 1, format=format_.container, subtype=format_.subtype
    ) as file:
        for second in seconds:
            file.write(second)


def write_by_pyav(path: Path, format_: AudioFormat, seconds: list[np.ndarray]) -> None:
    """Write what libsndfile cannot."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(format_.subtype, rate=format_.sample_rate, layout="mono")
        for second in seconds:
            frame = av.AudioFrame.from_ndarray(second[None], format="fltp", layout="mono")
            frame.sample_rate = format_.sample_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_recordings(folder: Path, scale: Scale) -> dict[AudioFormat, Path]:
    """Write a file in each format that can be written and read here."""
    files = {}
    for format_ in FORMATS:
        path = folder / f"recording{format_.suffix}"
        try:
            write_recording(path, format_, scale.file_s)
            decode(path)
        except Exception as error:  # of PyAV, of libsndfile, or earmark's: whatever it is, the others are measured
            note(f"left out: {format_.name} ({error})")
        else:
            files[format_] = path
    return files


def measure_decode(files: dict[AudioFormat, Path], scale: Scale) -> list[dict[str, Any]]:
    """Time decoding at the file's own rate and at the network's; a row each format."""
    note("decoding")
    tasks: dict[str, Callable[[], object]] = {}
    for format_, path in files.items():
        tasks[format_.name] = partial(decode, path)
        tasks[f"{format_.name}, resampled"] = partial(decode, path, DECODED_TO_HZ)
    seconds = interleaved(tasks, scale.n_rounds)
    return [
        {
            "format": format_.name,
            "sample_rate": format_.sample_rate,
            "bytes": path.stat().st_size,
            "times_real_time": spread(scale.file_s / seconds[format_.name]),
            "times_real_time_resampled": spread(scale.file_s / seconds[f"{format_.name}, resampled"]),
        }
        for format_, path in files.items()
    ]


def measure_tag(files: dict[AudioFormat, Path], model: Path, scale: Scale) -> list[dict[str, Any]]:
    """Time what `earmark tag` does with a file, and each stage of it alone; a row each format."""
    from earmark.tagging.tagger import load

    note("tagging")
    tagger = load(model, n_threads=1)
    rows = []
    for format_, path in files.items():
        stages = tag_stages(tagger, path)
        seconds = interleaved({"all": partial(tagger.tag, path), **stages}, scale.n_rounds)
        whole = sum(np.median(seconds[name]) for name in stages)
        shares = {name: round(float(np.median(seconds[name]) / whole), 4) for name in stages}
        rows.append(
            {"format": format_.name, "times_real_time": spread(scale.file_s / seconds["all"]), "shares": shares}
        )
    return rows


def tag_stages(tagger: Any, path: Path) -> dict[str, Callable[[], object]]:
    """The stages of `Tagger.tag`, each with what it takes from the one before."""
    from earmark.audio.picture import clip_log_mel, windows

    waveform = decode(path)
    rate, own_rate = waveform.sample_rate, tagger.sample_rate
    samples = resample(waveform.samples, rate, own_rate)
    bundle, spec = tagger.bundle, tagger.picture_spec

    def pictures() -> np.ndarray:
        return windows(clip_log_mel(samples, spec), spec, bundle.spec.window_frames, bundle.spec.hop_frames)

    cut = pictures()
    return {
        "decode": partial(decode, path),
        "resample": partial(resample, waveform.samples, rate, own_rate),
        "log-mel": pictures,
        "network": partial(tagger.score_windows, cut),
    }


def tagging_model(folder: Path) -> tuple[Path, str]:
    """The embedded model, or where there is none a network like it that has learned nothing; and what it is."""
    from earmark.tagging.tagger import model_path

    embedded = model_path(None)
    if embedded.is_file():
        return embedded, "the embedded model"
    import msgspec
    import torch

    from earmark.bundle import BundleSpec, write_bundle
    from earmark.training.export import to_onnx
    from earmark.training.models import build_network
    from earmark.training.recipe import load_recipe

    recipe = load_recipe("fast")
    labels = tuple(f"label-{i}" for i in range(28))
    torch.manual_seed(SEED)
    network = build_network(recipe.model, len(labels)).eval()
    spec = BundleSpec(
        labels=labels,
        front_end=msgspec.to_builtins(recipe.picture),
        window_frames=recipe.window_frames,
        hop_frames=recipe.hop_frames,
    )
    write_bundle(to_onnx(network, recipe.picture, recipe.window_frames), spec, folder / "model.onnx")
    return folder / "model.onnx", "the network of the recipe 'fast', untrained"


def measure_ten_hours(folder: Path, scale: Scale) -> dict[str, Any]:
    """Stream a long recording in a process of its own: memory and speed."""
    path = folder / "long.flac"
    note(f"writing {scale.streamed_h:g} hours")
    n_minutes = round(scale.streamed_h * 60)
    minute = noise_and_tones(60 * 44_100, 44_100, seed=SEED, noise=NOISE_STREAMED)
    with soundfile.SoundFile(path, "w", 44_100, 1, format="FLAC", subtype="PCM_16") as file:
        for _ in range(n_minutes):
            file.write(minute)
    note("streaming them")
    child = subprocess.run(
        [sys.executable, __file__, "--stream", str(path)], check=True, stdout=subprocess.PIPE, text=True
    )
    return {"hours": n_minutes / 60, "sample_rate": 44_100, "bytes": path.stat().st_size, **json.loads(child.stdout)}


def stream_alone(path: Path) -> dict[str, float]:
    """What the child does: a recording from file to log-mel spectrogram, of which nothing is kept."""
    from earmark.audio.decode import stream

    memory_before, memory_first_hour = peak_memory_bytes(), 0
    began, n_frames = time.process_time(), 0
    with stream(path, STREAMED.sample_rate) as samples:
        for block in log_mel_blocks(samples, STREAMED):
            n_frames += block.shape[1]
            if not memory_first_hour and n_frames >= HOUR_S * STREAMED.frame_rate:
                memory_first_hour = peak_memory_bytes()
    seconds = time.process_time() - began
    return {
        "n_frames": n_frames,
        "times_real_time": round(n_frames / STREAMED.frame_rate / seconds, 1),
        "peak_memory_bytes": peak_memory_bytes(),
        "peak_memory_bytes_first_hour": memory_first_hour or peak_memory_bytes(),
        "memory_bytes_before": memory_before,
    }


def peak_memory_bytes() -> int:
    """Most memory that this process has had resident."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts a parent's peak to its child's ru_maxrss
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


markdown = partial(tabulate, tablefmt="github", disable_numparse=True)


def log_mel_table(rows: list[dict[str, Any]]) -> str:
    """A row each front end, clip length and contender."""
    cells = [
        [
            f"{row['sample_rate'] / 1000:g} kHz, {row['n_fft']} / {row['hop_length']}, {row['n_mels']} bands",
            f"{row['clip_s']} s",
            row["contender"],
            shown(row["times_real_time"]),
            shown(row["time_over_earmarks"]),
            row["largest_difference_db"],
        ]
        for row in rows
    ]
    head = ["front end (n_fft / hop)", "clip", "by", "times real time", "time over earmark's", "largest difference, dB"]
    return markdown(cells, head)


def decode_table(rows: list[dict[str, Any]]) -> str:
    """A row each format."""
    cells = [
        [
            row["format"],
            f"{row['sample_rate'] / 1000:g} kHz",
            shown(row["times_real_time"]),
            shown(row["times_real_time_resampled"]),
        ]
        for row in rows
    ]
    head = ["format", "rate", "decode, times real time", f"decode and resample to {DECODED_TO_HZ / 1000:g} kHz"]
    return markdown(cells, head)


def tag_table(rows: list[dict[str, Any]]) -> str:
    """A row each format."""
    stages = list(rows[0]["shares"])
    cells = [
        [row["format"], shown(row["times_real_time"]), *(f"{row['shares'][stage]:.1%}" for stage in stages)]
        for row in rows
    ]
    return markdown(cells, ["format", "times real time", *stages])


def ten_hours_table(row: dict[str, Any]) -> str:
    """One row."""
    mib = {key: f"{row[key] / 2**20:,.0f} MiB" for key in row if key.startswith(("peak_memory", "memory"))}
    cells = [
        f"{row['hours']:g} h, {row['bytes'] / 1e9:.2f} GB of FLAC",
        f"{row['times_real_time']:,.0f}",
        *mib.values(),
    ]
    head = ["recording", "times real time", "peak memory", "within the first hour", "before it was opened"]
    return markdown([cells], head)


def measure(scale: Scale, *, with_ten_hours: bool) -> dict[str, Any]:
    """All that is asked for, with what is needed to repeat it."""
    begun = provenance(*OWN_PACKAGES, *PEERS)
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        folder = Path(name)
        files = write_recordings(folder, scale)
        model, what = tagging_model(folder)
        figures = {
            "command": "python bench/frontend.py" + " --quick" * (scale is QUICK) + " --ten-hours" * with_ten_hours,
            **begun,
            "load_average": os.getloadavg()[0],
            "seed": SEED,
            "parameters": {**asdict(scale), "n_threads": 1, "tagged_by": what},
            "log_mel": measure_log_mel(scale),
            "decode": measure_decode(files, scale),
            "tag": measure_tag(files, model, scale),
        }
        if with_ten_hours:
            figures["ten_hours"] = measure_ten_hours(folder, scale)
    return figures


def report(figures: dict[str, Any]) -> str:
    """The tables as Markdown."""
    parameters = figures["parameters"]
    made_with = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    parts = [
        f"`{figures['command']}`, {figures['date']}, {figures['machine']}, one thread. Median "
        f"(lowest to highest) of {parameters['n_rounds']} rounds, by processor time. {made_with}.",
        "## Log-mel spectrograms",
        log_mel_table(figures["log_mel"]),
        f"## Decoding {parameters['file_s']} s",
        decode_table(figures["decode"]),
        f"## `earmark tag` by {parameters['tagged_by']}: the share of each stage",
        tag_table(figures["tag"]),
    ]
    if "ten_hours" in figures:
        parts += ["## A long recording, streamed to its log-mel spectrogram", ten_hours_table(figures["ten_hours"])]
    return "\n\n".join(parts) + "\n"


def bind_to_one_thread() -> None:
    """Also what heeds no environment."""
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    torch.set_num_threads(1)


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 s of audio and few rounds; kept only with --output")
    parser.add_argument("--ten-hours", action="store_true", help="also stream a recording of ten hours")
    parser.add_argument("--output", type=Path, help=f"folder for the results  [default: {RESULTS.name}/ beside this]")
    parser.add_argument("--stream", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stream:
        print(json.dumps(stream_alone(arguments.stream)))
        return
    bind_to_one_thread()
    figures = measure(QUICK if arguments.quick else FULL, with_ten_hours=arguments.ten_hours)
    print(report(figures))
    folder = arguments.output or (None if arguments.quick else RESULTS)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "frontend.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        (folder / "frontend.md").write_text(report(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
