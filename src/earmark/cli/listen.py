"""`earmark listen`."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import numpy as np

from earmark.audio.decode import stream
from earmark.cli.timeline import read_threshold
from earmark.errors import EarmarkError, MissingExtraError
from earmark.parallel import workers
from earmark.tagging.choosing import event_thresholds
from earmark.tagging.live import LiveTagger, Moment
from earmark.tagging.tagger import Threshold, load
from earmark.tagging.writers import clock

BLOCK_S = 0.1
"""What the sound card hands over at a time."""

WAITING_S = 10.0
"""How much sound may wait to be heard before some is lost."""


@click.command()
@click.option("--model", "-m", default=None, help="A bundle (.onnx) or a run's folder.  [default: the embedded model]")
@click.option("--threshold", metavar="X|auto", callback=read_threshold, help="From which score on a label is heard.")
@click.option(
    "--release",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of its threshold below which a label goes.",
)
@click.option(
    "--every",
    "every_s",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.05),
    help="How often the last window is heard; in seconds.",
)
@click.option("--device", help="Number or name of a microphone; python -m sounddevice lists them.")
@click.option("--from", "file", type=click.Path(path_type=Path), help="Hear this file instead of the microphone.")
def listen(
    model: str | None,
    threshold: Threshold,
    release: float,
    every_s: float,
    device: str | None,
    file: Path | None,
) -> None:
    """Name what the microphone hears, a line whenever that changes; Ctrl-C ends it.

    \b
    Examples:
      earmark listen
      earmark listen --threshold 0.3 --every 0.5
      earmark listen --from night.flac
    """
    tagger = load(model, n_threads=1)
    thresholds = event_thresholds(tagger, threshold)
    opened = _file(file) if file is not None else microphone(device)
    behind_s: list[float] = []
    with workers(1), opened as (blocks, sample_rate, card_s), suppress(KeyboardInterrupt):
        live = LiveTagger(tagger, sample_rate, thresholds, every_s=every_s, release=release)
        for moment in live.hear(blocks):
            behind_s.append(moment.behind_s)
            if moment.changed:
                click.echo(_line(moment))
    click.echo(_summary(behind_s, every_s, card_s), err=True)


def _line(moment: Moment) -> str:
    said = "  ".join(f"{tag.label} {tag.score:.2f}" for tag in moment.tags)
    return f"{clock(moment.time_s)}  {said or '(none)'}"


def _summary(behind_s: list[float], every_s: float, card_s: float) -> str:
    if not behind_s:
        return f"earmark: less than {every_s:g} s of sound came; nothing was heard"
    middle, most = 1e3 * np.median(behind_s), 1e3 * max(behind_s)
    card = f", {1e3 * card_s:.0f} ms in the sound card" if card_s else ""
    return (
        f"earmark: heard {len(behind_s)} times, each {every_s:g} s; from the last sample to the result "
        f"{middle:.1f} ms, {most:.1f} ms at the most{card}"
    )


Opened = tuple[Iterator[np.ndarray], int, float]
"""Blocks, (n_samples,) float32; their rate in Hz; and how long the sound card holds them back, in seconds."""


@contextmanager
def _file(path: Path) -> Iterator[Opened]:
    with stream(path, block_s=BLOCK_S) as blocks:
        yield blocks, blocks.sample_rate, 0.0


@contextmanager
def microphone(device: str | None) -> Iterator[Opened]:
    """Open a microphone; `EarmarkError` when there is none, or what it needs is not installed."""
    sounddevice = _sounddevice()
    waiting: queue.Queue[np.ndarray] = queue.Queue(round(WAITING_S / BLOCK_S))
    chosen = int(device) if device is not None and device.isdecimal() else device
    n_lost = 0

    def take(data: np.ndarray, n_frames: int, time: Any, status: Any) -> None:
        nonlocal n_lost
        try:
            waiting.put_nowait(data[:, 0].copy())
        except queue.Full:
            n_lost += 1
        if status:  # the card itself lost some
            n_lost += 1

    try:
        sample_rate = int(sounddevice.query_devices(chosen, "input")["default_samplerate"])
        card = sounddevice.InputStream(
            device=chosen,
            samplerate=sample_rate,
            channels=1,
            dtype="float32",
            blocksize=round(BLOCK_S * sample_rate),
            callback=take,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise EarmarkError(
            f"no microphone can be opened ({error}); choose one with --device, or hear a file with --from"
        ) from error
    try:
        with card:
            yield _endless(waiting), sample_rate, float(card.latency)
    finally:
        if n_lost:
            click.echo(f"earmark: {n_lost} blocks of {BLOCK_S:g} s were lost; hear less often, --every", err=True)


def _endless(waiting: queue.Queue[np.ndarray]) -> Iterator[np.ndarray]:
    while True:
        yield waiting.get()


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError("a microphone", "listen") from error
    except OSError as error:  # the package is there, the library is not
        raise EarmarkError(
            f"PortAudio is not installed ({error}); on Debian and Ubuntu: apt install libportaudio2"
        ) from error
    return sounddevice
