"""The page in a real browser: sounds dropped, chosen and recorded, lanes to click, downloads, errors, looks."""

from __future__ import annotations

import csv
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import soundfile
import uvicorn

from earmark.serving import running
from earmark.serving.app import Service, Settings
from earmark.serving.limits import Limits
from earmark.tagging.tagger import load

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Page, Browser, expect = playwright.Page, playwright.Browser, playwright.expect

LAPTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
RATE = 16_000
SERIOUS = {"serious", "critical"}


@pytest.fixture
def serve(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Serve the tiny bundle on a free port: `serve(tokens=("t",), max_body_bytes=…)` gives the address."""
    servers: Queue[uvicorn.Server] = Queue()
    original = uvicorn.Server.__init__

    def remembered(self: uvicorn.Server, *arguments: object) -> None:
        original(self, *arguments)
        servers.put(self)

    monkeypatch.setattr(uvicorn.Server, "__init__", remembered)
    monkeypatch.setattr(running, "FAREWELL_S", 0.05)
    monkeypatch.setattr(running, "log_to_standard_error", lambda: None)
    made = []

    def begin(tokens: tuple[str, ...] = (), **limits: Any) -> str:
        addresses: Queue[str] = Queue()
        service = Service(load(tiny_bundle, n_threads=1), Settings(Limits(**limits), tokens, model="tiny"))
        thread = threading.Thread(target=running.serve, args=(service, "127.0.0.1", 0, addresses.put), daemon=True)
        thread.start()
        made.append((addresses.get(timeout=30), servers.get(timeout=30), thread))
        return made[-1][0]

    yield begin
    for _, server, thread in made:
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address; the test fails when the page's program does, or breaks its own policy."""
    contexts, errors = [], []

    def open_(address: str, **how: object) -> Page:
        context = browser.new_context(**({"viewport": LAPTOP, "permissions": ["microphone"]} | how))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if "Security Policy" in said.text else None)
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def two_tones(tmp_path: Path) -> Path:
    """Three seconds of a low tone, then three of a high one."""
    time_s = np.arange(3 * RATE) / RATE
    path = tmp_path / "two, tones.wav"
    tones = [0.5 * np.sin(2 * np.pi * hz * time_s) for hz in (300, 5000)]
    soundfile.write(path, np.concatenate(tones), RATE)
    return path


def tagged(page: Page, *paths: Path) -> None:
    """Give files to the page, and wait until all of them are done."""
    page.set_input_files("#files", list(paths))
    expect(page.locator("#list li")).to_have_count(len(paths))
    for i in range(len(paths)):
        expect(page.locator("#list li").nth(i).locator("span")).not_to_have_text(
            re.compile("waiting|listening"), timeout=20_000
        )


def position(page: Page) -> float:
    return page.evaluate("document.getElementById('player').currentTime")


def lane(page: Page, label: str) -> Any:
    return page.locator(".lane", has=page.locator(".label", has_text=label)).locator(".track")


def test_a_sound_is_tagged_drawn_and_marked(
    serve: Callable[..., str], open_page: Callable[..., Page], two_tones: Path
) -> None:
    page = open_page(serve())
    expect(page.locator("#model")).to_have_text("names 3 kinds of sounds")
    tagged(page, two_tones)
    expect(page.locator("#name")).to_have_text("two, tones.wav")
    expect(page.locator("#tags li")).to_have_count(3)
    expect(page.locator("#status")).to_contain_text("two, tones.wav: ")
    expect(lane(page, "low").locator("button")).to_have_attribute("title", re.compile(r"low, 0\.0 to 3\.\d sec"))
    expect(lane(page, "high").locator("button")).to_have_attribute("title", re.compile(r"high, [23]\.\d to 6\.0 sec"))
    drawn = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert page.locator("#spectrogram").evaluate(drawn) > 50
    assert page.locator("#wave").evaluate(drawn) > 2


def test_a_click_on_a_lane_plays_that_moment(
    serve: Callable[..., str], open_page: Callable[..., Page], two_tones: Path
) -> None:
    page = open_page(serve())
    tagged(page, two_tones)
    track = lane(page, "mid")
    box = track.bounding_box()
    track.click(position={"x": 0.75 * box["width"], "y": 5})
    assert position(page) == pytest.approx(4.5, abs=0.3)
    expect(page.locator("#player")).to_have_js_property("paused", False)
    head = page.locator("#playhead").bounding_box()
    assert head["x"] >= box["x"] + 0.74 * box["width"]
    # a click into a marked stretch goes to the place that was clicked, too
    lane(page, "low").locator("button").click(position={"x": 0.25 * box["width"], "y": 5})
    assert position(page) == pytest.approx(1.5, abs=0.3)


def test_it_works_from_the_keyboard(serve: Callable[..., str], open_page: Callable[..., Page], two_tones: Path) -> None:
    page = open_page(serve())
    tagged(page, two_tones)
    lane(page, "high").locator("button").focus()
    page.keyboard.press("Enter")
    assert position(page) == pytest.approx(3, abs=0.7)
    page.locator("#name").focus()
    page.keyboard.press("Space")
    expect(page.locator("#player")).to_have_js_property("paused", True)
    page.locator("#seek").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#seek")).to_have_attribute("aria-valuenow", "2.0")
    expect(page.locator("#seek")).to_have_attribute("aria-valuetext", "2.0 of 6.0 seconds")


def test_what_is_marked_can_be_taken_along(
    serve: Callable[..., str], open_page: Callable[..., Page], two_tones: Path
) -> None:
    page = open_page(serve())
    tagged(page, two_tones)
    with page.expect_download() as download:
        page.click("#csv")
    assert download.value.suggested_filename == "two, tones.csv"
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert [(row["path"], row["tag"]) for row in rows] == [("two, tones.wav", "low"), ("two, tones.wav", "high")]
    assert 2 < float(rows[0]["end_s"]) < 4
    assert float(rows[1]["end_s"]) == 6
    with page.expect_download() as download:
        page.click("#audacity")
    lines = [line.split("\t") for line in Path(download.value.path()).read_text().splitlines()]
    assert [line[2].split()[0] for line in lines] == ["low", "high"]
    assert [float(line[0]) for line in lines] == sorted(float(line[0]) for line in lines)
    page.locator("#least").fill("0.05")
    assert page.locator(".track button").count() >= 2
    expect(page.locator("#least-said")).to_have_text("0.05")


def test_a_recording_from_the_microphone(serve: Callable[..., str], open_page: Callable[..., Page]) -> None:
    page = open_page(serve())
    page.click("#record")
    expect(page.locator("#record")).to_have_text(re.compile("Stop recording"))
    time.sleep(1.5)
    page.click("#record")
    expect(page.locator("#name")).to_have_text("recording 1.wav")
    expect(page.locator("#tags li")).to_have_count(3, timeout=20_000)
    duration = page.evaluate("document.getElementById('player').duration")
    assert 0.5 < duration < 6


def test_sounds_that_are_dropped(serve: Callable[..., str], open_page: Callable[..., Page], two_tones: Path) -> None:
    page = open_page(serve())
    content = list(two_tones.read_bytes())
    page.evaluate(
        """content => {
          const transfer = new DataTransfer();
          for (const name of ["a.wav", "b.wav"])
            transfer.items.add(new File([new Uint8Array(content)], name));
          const how = { dataTransfer: transfer, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent("drop", how));
        }""",
        content,
    )
    expect(page.locator("#list li")).to_have_count(2)
    expect(page.locator("#list li span").nth(1)).to_have_text(re.compile("low|high"), timeout=20_000)
    page.locator("#list button").first.click()
    expect(page.locator("#name")).to_have_text("a.wav")
    expect(page.locator("#list button").first).to_have_attribute("aria-current", "true")


def test_errors_that_a_person_understands(
    serve: Callable[..., str], open_page: Callable[..., Page], two_tones: Path, tmp_path: Path
) -> None:
    page = open_page(serve(max_body_bytes=5_000_000))
    expect(page.locator("#limits")).to_have_text("Up to 5.0 MB and 10 minutes a sound. Nothing is kept.")
    large, text = tmp_path / "large.wav", tmp_path / "letter.wav"
    soundfile.write(large, np.zeros(3_100_000), RATE)
    text.write_text("dear friend")
    tagged(page, large)
    expect(page.locator("#alert")).to_have_text(
        "large.wav: This file has 6.2 MB, and the server takes at most 5.0 MB. Cut it, or save it as MP3, Ogg or FLAC."
    )
    page.set_input_files("#files", [text, two_tones])
    expect(page.locator("#list .failed")).to_have_count(2, timeout=20_000)
    expect(page.locator("#alert")).to_have_text(
        "letter.wav: Cannot be read as audio (Format not recognised); is it a recording, and whole?"
    )
    expect(page.locator("#list li").nth(2).locator("span")).to_have_text(re.compile("low|high"), timeout=20_000)


def test_a_token_is_asked_for(serve: Callable[..., str], open_page: Callable[..., Page], two_tones: Path) -> None:
    page = open_page(serve(tokens=("secret",)))
    expect(page.locator("#alert")).to_have_text("This server wants a token: fill in the field at the top.")
    page.fill("#token", "secret")
    page.keyboard.press("Enter")
    expect(page.locator("#model")).to_have_text("names 3 kinds of sounds")
    tagged(page, two_tones)
    expect(page.locator("#tags li")).to_have_count(3)


def test_a_server_that_has_gone(serve: Callable[..., str], open_page: Callable[..., Page], two_tones: Path) -> None:
    page = open_page(serve())
    page.route("**/v1/tag**", lambda route: route.abort())
    tagged(page, two_tones)
    expect(page.locator("#alert")).to_contain_text("The server cannot be reached. Is it still running?")


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_everybody_can_use_it(
    serve: Callable[..., str], open_page: Callable[..., Page], two_tones: Path, size: dict[str, int], scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page(serve(), viewport=size, color_scheme=scheme)
    tagged(page, two_tones)
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    levels = [sum(map(int, colour[4:-1].split(","))) / 765 for colour in (ground, ink)]
    assert (levels[0] > 0.9 and levels[1] < 0.2) if scheme == "light" else (levels[0] < 0.2 and levels[1] > 0.85)
    for part in ("#choose", "#record", "#seek", "#csv", "#audacity", ".track >> nth=0"):
        box = page.locator(part).bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= size["width"]
    found = axe.Axe().run(page).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in SERIOUS] == []
