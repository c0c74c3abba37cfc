"""The pictures of the README: the page in light and dark and on a phone, and the page of an audit.

    python bench/screenshots.py                    # docs/pictures/*.png
    python bench/screenshots.py --work kept        # keeps what was learned, and takes it again

All of it from nothing: sounds are synthesised, a small model learns them for some minutes, a tenth of the labels are
exchanged so that an audit has something to find, and a headless Chromium (on PATH, or named by EARMARK_CHROMIUM) looks
at what `earmark serve` and `earmark audit --serve` show. Pictures have 256 colours, so that each is below 300 KB.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 300_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
LAPTOP, PHONE = {"width": 1120, "height": 1130}, {"width": 390, "height": 844}
AUDIT = {"width": 1120, "height": 860}

N_CLIPS = 360
EXCHANGED = 10
"""One label in so many is exchanged for that of another clip."""
SETTINGS = ("fit.epochs=30", "model.width=0.25", "window_s=2.0", "hop_s=0.5")
SCENE = ("Cricket", "Church_bell", "Knock", "Chirp_and_tweet", "Accordion", "Clapping")
"""Heard one after the other in the recording that is shown."""
PORT = 8765


def earmark(*arguments: object) -> None:
    """Run a command; the pictures end where it does."""
    subprocess.run([sys.executable, "-m", "earmark", *map(str, arguments)], check=True, env=environment())


def environment() -> dict[str, str]:
    """With the package of these sources."""
    return os.environ | {"PYTHONPATH": str(ROOT / "src")}


def learn(work: Path) -> None:
    """Sounds, of which a tenth are labelled wrongly, and a run that learned them."""
    collection = work / "sounds"
    earmark("data", "synth", collection, "--curated", N_CLIPS, "--noisy", 12)
    exchange(collection / "train_curated.csv")
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    earmark("train", collection, "-o", work / "run", "--recipe", "small-grey", "--folds", 3, *settings)


def exchange(path: Path) -> None:
    """Give one clip in ten the labels of another."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    chosen = np.random.default_rng(0).permutation(len(rows))[: len(rows) // EXCHANGED]
    labels = [rows[i][1] for i in np.roll(chosen, 1)]
    for i, label in zip(chosen, labels, strict=True):
        rows[i][1] = label
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_scene(work: Path) -> list[Path]:
    """Three recordings to be shown: first one in which several things are heard after each other, then two others."""
    test = work / "sounds" / "test"
    with (work / "sounds" / "test_labels.csv").open(newline="") as file:
        of_label: dict[str, list[str]] = {}
        for row in csv.DictReader(file):
            of_label.setdefault(row["labels"], []).append(row["fname"])
    missing = [label for label in SCENE if label not in of_label]
    if missing:
        raise SystemExit(f"no test clip has the label {missing[0]} alone; choose others for SCENE")
    parts = []
    for label in SCENE:
        samples, rate = soundfile.read(test / of_label[label][0], dtype="float32")
        samples = np.resize(samples, round(3.5 * rate))  # repeated where it is shorter
        parts.append(0.5 * samples / np.abs(samples).max())
    paths = [work / "garden in the morning.wav", work / "by the door.wav", work / "street music.wav"]
    soundfile.write(paths[0], np.concatenate(parts), rate)
    for path, label in zip(paths[1:], ("Knock", "Accordion"), strict=True):
        shutil.copyfile(test / of_label[label][-1], path)
    return paths


@contextmanager
def running(*arguments: object) -> Iterator[str]:
    """A command that serves; gives its address."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "earmark", *map(str, arguments)]
        process = subprocess.Popen(command, stderr=log, stdout=log, env=environment())
        try:
            while True:
                log.seek(0)
                said = log.read()
                if found := re.search(r"http://[^/\s]+/", said):
                    yield found[0]
                    return
                if process.poll() is not None:
                    raise SystemExit(said)
                time.sleep(0.1)
        finally:
            process.terminate()
            process.wait(60)


def take(page: Any, name: str) -> None:
    """Write a picture of what the window shows, in 256 colours."""
    page.wait_for_timeout(500)
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size / 1000:.0f} KB", file=sys.stderr)
    if size > MOST_BYTES:
        raise SystemExit(f"{path}: has {size} bytes; expected at most {MOST_BYTES}; show less")


def until_tagged(page: Any) -> None:
    """Wait for the answers; the page's policy forbids Playwright's own way of asking for anything."""
    for _ in range(600):
        said = page.locator("#list").text_content()
        if said and not re.search("waiting|listening", said):
            return
        page.wait_for_timeout(100)
    raise SystemExit("the page's sounds are not tagged within a minute")


def show_page(browser: Any, address: str, paths: list[Path]) -> None:
    """The page with three recordings, in each of its looks."""
    for name, size, scheme in (
        ("page", LAPTOP, "light"),
        ("page-dark", LAPTOP, "dark"),
        ("page-phone", PHONE, "light"),
    ):
        page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1.5 if size is PHONE else 1)
        page.goto(address)
        page.set_input_files("#files", paths[:1] if size is PHONE else paths)
        until_tagged(page)
        page.locator("#list button").first.evaluate("button => button.click()")
        page.evaluate("document.getElementById('player').currentTime = 5.2")
        page.locator("#name" if size is PHONE else "header").evaluate("part => part.scrollIntoView()")
        take(page, name)
        page.close()


def show_audit(browser: Any, address: str) -> None:
    """The page on which suspected clips are heard and decided on."""
    page = browser.new_page(viewport=AUDIT, color_scheme="light")
    page.goto(address)
    page.wait_for_load_state("networkidle")
    take(page, "audit")
    page.close()


def main() -> None:
    """Learn, serve, look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="a folder that is kept; a run that is in it is taken again")
    asked = parser.parse_args()
    from playwright.sync_api import sync_playwright

    found = (shutil.which(name) for name in BROWSERS)
    path = os.environ.get("EARMARK_CHROMIUM") or next(filter(None, found), None)
    if path is None:
        raise SystemExit(f"no browser found: none of {', '.join(BROWSERS)} on PATH; EARMARK_CHROMIUM may name one")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        work = asked.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "run" / "model.onnx").exists():
            learn(work)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        with running("serve", "--model", work / "run", "--port", 0) as address:
            show_page(browser, address, write_scene(work))
        with running("audit", work / "run", "--serve", "--port", PORT) as address:
            show_audit(browser, address)
        browser.close()


if __name__ == "__main__":
    main()
