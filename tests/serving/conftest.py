"""A browser of this machine; an audit of three clips, served on a free port."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import soundfile
import uvicorn

from earmark.audio.picture import PictureSpec
from earmark.data.manifest import Clip
from earmark.evaluation.audit.decisions import Decisions
from earmark.evaluation.audit.findings import Audit, Finding, Scored
from earmark.labels import Vocabulary
from earmark.serving import audit as serving

RATE = 16_000
LABELS = Vocabulary(["Bark", "Meow", "Purr", "Raindrop", "<b>Bold</b>"])
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER_OPTIONS = (
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine, with a microphone that beeps; nothing is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    named = os.environ.get("EARMARK_CHROMIUM")
    path = named or next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser found: none of {', '.join(BROWSERS)} on PATH; EARMARK_CHROMIUM may name one")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=path, args=list(BROWSER_OPTIONS))
        yield launched
        launched.close()


@dataclass
class Served:
    """A server that runs."""

    address: str
    corrections: Path
    decisions: Decisions
    audit: Audit


@pytest.fixture
def three_clips(tmp_path: Path) -> Audit:
    """Clips of half a second: `Bark` that sounds like `Meow`, two labels, and an AIFF file with a strange name."""
    time_s = np.arange(RATE // 2) / RATE
    names = ("bark.wav", "two.ogg", "odd, <i>.aiff")
    for number, name in enumerate(names):
        soundfile.write(tmp_path / name, 0.4 * np.sin(2 * np.pi * 500 * (number + 1) * time_s), RATE)
    findings = (
        _finding(tmp_path / names[0], 0.2, {"Bark": 0.1}, {"Meow": 0.8, "Purr": 0.3, "Raindrop": 0.0}),
        _finding(tmp_path / names[1], 0.4, {"Purr": 0.2, "Meow": 0.9}, {"Raindrop": 0.4, "Bark": 0.1}),
        _finding(tmp_path / names[2], 0.6, {"<b>Bold</b>": 0.3}, {"Bark": 0.4, "Meow": 0.1}),
    )
    return Audit("run", "0123", LABELS, findings, 2)


def _finding(path: Path, quality: float, given: dict[str, float], suggested: dict[str, float]) -> Finding:
    clip = Clip(path.name, path, tuple(given))
    return Finding(clip, quality, *(tuple(Scored(*pair) for pair in part.items()) for part in (given, suggested)))


@pytest.fixture
def start(three_clips: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    """Serve the audit: `start()` gives where; again, with `stop()` before it, as after a crash."""
    made: list[tuple[uvicorn.Server, threading.Thread, Decisions]] = []
    servers: Queue[uvicorn.Server] = Queue()
    original = uvicorn.Server.__init__

    def remembered(self: uvicorn.Server, *arguments: object) -> None:
        original(self, *arguments)
        servers.put(self)

    monkeypatch.setattr(uvicorn.Server, "__init__", remembered)

    def begin(port: int = 0) -> Served:
        corrections, addresses = tmp_path / "corrections.csv", Queue()
        names = [found.clip.name for found in three_clips.findings]
        decisions = Decisions(corrections, names, LABELS).__enter__()
        app = serving.create_app(three_clips, PictureSpec(), decisions)
        thread = threading.Thread(target=serving.serve, args=(app, "127.0.0.1", port, addresses.put), daemon=True)
        thread.start()
        address = addresses.get(timeout=30)
        made.append((servers.get(timeout=30), thread, decisions))
        return Served(address.rstrip("/"), corrections, decisions, three_clips)

    def stop() -> None:
        for server, thread, decisions in made:
            server.should_exit = True
            thread.join(30)
            decisions.__exit__()
        made.clear()

    begin.stop = stop  # type: ignore[attr-defined]
    yield begin
    stop()


@pytest.fixture
def served(start: Callable[..., Served]) -> Served:
    return start()
