"""The audit page in a real browser: keys, decisions, two tabs, a server that goes away; served and static."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from earmark.audio.picture import PictureSpec
from earmark.data.selection import Correction, read_corrections
from earmark.evaluation.audit.findings import Audit
from earmark.evaluation.audit.page import write_page

from .conftest import Served

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Page, Browser, expect = playwright.Page, playwright.Browser, playwright.expect

LAPTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address; the test fails when the page's program does."""
    contexts, errors = [], []

    def open_(address: str, beside: Page | None = None, **how: object) -> Page:
        context = beside.context if beside else browser.new_context(**({"viewport": LAPTOP} | how))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        expect(page.locator("#name")).not_to_be_empty()
        return page

    yield open_
    for context in set(contexts):
        context.close()
    assert errors == []


@pytest.fixture
def static_page(three_clips: Audit, tmp_path: Path) -> str:
    folder = tmp_path / "page"
    assert write_page(folder, three_clips, PictureSpec(), progress=False) == []
    return (folder / "index.html").as_uri()


def decided(page: Page, name: str) -> None:
    """Wait until the clip is the one that is shown."""
    expect(page.locator("#name")).to_have_text(name)


def test_keys_decide_and_go_on(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address)
    page.select_option("#group", "all clips")
    page.keyboard.press("k")
    decided(page, "two.ogg")
    page.keyboard.press("d")
    decided(page, "odd, <i>.aiff")
    page.keyboard.press("1")
    expect(page.locator("#count")).to_have_text("3 of 3 decided: 1 kept, 1 relabelled, 1 dropped")
    expect(page.locator("#status")).to_have_text("All clips here are decided on.")
    assert read_corrections(served.corrections) == (
        Correction("bark.wav", "keep", (), "listened to"),
        Correction("two.ogg", "drop", (), "listened to"),
        Correction("odd, <i>.aiff", "relabel", ("Bark",), "listened to"),
    )


def test_a_digit_replaces_the_least_probable_label_and_shift_adds(
    served: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page(served.address)
    page.keyboard.press("Shift+Digit1")
    decided(page, "two.ogg")
    page.keyboard.press("1")
    expect(page.locator("#count")).to_contain_text("2 relabelled")
    assert [each.labels for each in read_corrections(served.corrections)] == [("Bark", "Meow"), ("Meow", "Raindrop")]


def test_a_label_can_be_taken_off_again(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address)
    page.keyboard.press("ArrowRight")
    decided(page, "two.ogg")
    page.locator("#given button").first.click()
    expect(page.locator("#state")).to_have_text("relabelled")
    assert read_corrections(served.corrections)[0].labels == ("Meow",)


def test_search_finds_any_label(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address)
    page.keyboard.press("/")
    page.keyboard.type("drop")  # letters in the field are no commands
    expect(page.locator("#matches li")).to_have_text(["Raindrop"])
    page.keyboard.press("Enter")
    decided(page, "two.ogg")
    assert read_corrections(served.corrections)[0].labels == ("Raindrop",)


def test_escape_leaves_the_search(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address)
    page.keyboard.press("/")
    page.keyboard.type("me")
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    assert not served.corrections.exists()


def test_undo_takes_back_one_decision_after_the_other(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address)
    page.keyboard.press("k")
    decided(page, "two.ogg")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("d")
    decided(page, "two.ogg")
    page.keyboard.press("z")
    decided(page, "bark.wav")
    expect(page.locator("#state")).to_have_text("kept")
    page.keyboard.press("z")
    expect(page.locator("#state")).to_be_empty()
    expect(page.locator("#undo")).to_be_disabled()
    assert served.corrections.read_text() == "fname,action,labels,why\n"


def test_space_plays_and_pauses_and_presses_no_button(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address)
    page.uncheck("#autoplay")
    page.reload()
    page.uncheck("#autoplay")
    page.wait_for_function("sound.readyState === 4")
    page.evaluate("sound.pause(); sound.loop = true")
    page.locator("#drop").focus()
    page.keyboard.press(" ")
    page.wait_for_function("!sound.paused && sound.currentTime > 0")
    page.keyboard.press(" ")
    page.wait_for_function("sound.paused")
    assert not served.corrections.exists()


def test_every_clip_has_its_picture_and_its_sound(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address)
    page.select_option("#group", "all clips")
    for name in ("bark.wav", "two.ogg", "odd, <i>.aiff"):
        decided(page, name)
        page.wait_for_function("picture.complete && picture.naturalHeight === 64 && sound.duration > 0.4")
        page.keyboard.press("ArrowRight")


def test_a_click_on_the_picture_plays_from_there(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address)
    page.wait_for_function("sound.readyState === 4")
    page.evaluate("() => { sound.pause(); sound.play = () => Promise.resolve(); }")
    box = page.locator("#seek").bounding_box()
    page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 20)
    assert page.evaluate("sound.currentTime / sound.duration") == pytest.approx(0.6, abs=0.02)


def test_two_tabs_see_each_other(served: Served, open_page: Callable[..., Page]) -> None:
    first = open_page(served.address)
    second = open_page(served.address)
    first.keyboard.press("k")
    expect(second.locator("#state")).to_have_text("kept", timeout=15_000)


def test_two_tabs_do_not_overwrite_each_other(served: Served, open_page: Callable[..., Page]) -> None:
    first = open_page(served.address)
    second = open_page(served.address)
    second.evaluate(
        """() => {  // it sees no news
             const fetchNow = fetch;
             window.fetch = (where, how) => (how ? fetchNow(where, how) : new Promise(() => {}));
           }"""
    )
    first.keyboard.press("k")
    decided(first, "two.ogg")
    second.keyboard.press("d")
    expect(second.locator("#status")).to_contain_text("Decided on elsewhere in the meantime")
    expect(second.locator("#state")).to_have_text("kept")
    assert [each.action for each in read_corrections(served.corrections)] == ["keep"]
    second.keyboard.press("d")  # now in view of what the other has decided
    decided(second, "two.ogg")
    assert [each.action for each in read_corrections(served.corrections)] == ["drop"]


def test_a_server_that_is_away_is_said_and_nothing_lost(
    start: Callable[..., Served], open_page: Callable[..., Page]
) -> None:
    served = start()
    page = open_page(served.address)
    page.keyboard.press("k")
    decided(page, "two.ogg")
    start.stop()  # type: ignore[attr-defined]
    page.keyboard.press("d")
    expect(page.locator("#status")).to_contain_text("Not saved")
    decided(page, "two.ogg")
    start(int(served.address.rsplit(":", 1)[1]))
    page.keyboard.press("d")
    expect(page.locator("#count")).to_contain_text("1 dropped")
    assert [each.action for each in read_corrections(served.corrections)] == ["keep", "drop"]


def test_keys_in_haste_are_done_in_turn(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address)
    page.select_option("#group", "all clips")
    page.evaluate(
        """for (const key of ["k", "d", "k"])
             document.dispatchEvent(new KeyboardEvent("keydown", { key, code: "", bubbles: true }))"""
    )
    expect(page.locator("#count")).to_have_text("3 of 3 decided: 2 kept, 0 relabelled, 1 dropped")
    assert [each.action for each in read_corrections(served.corrections)] == ["keep", "drop", "keep"]


def test_a_static_page_keeps_decisions_and_gives_them_as_a_file(
    static_page: str, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(static_page)
    page.select_option("#group", "all clips")
    page.keyboard.press("k")
    decided(page, "two.ogg")
    page.keyboard.press("Shift+Digit1")
    decided(page, "odd, <i>.aiff")
    page.keyboard.press("d")
    expect(page.locator("#count")).to_contain_text("3 of 3 decided")
    page.reload()
    page.select_option("#group", "all clips")
    expect(page.locator("#count")).to_contain_text("3 of 3 decided")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "corrections.csv")
    assert read_corrections(tmp_path / "corrections.csv") == (
        Correction("bark.wav", "keep", (), "listened to"),
        Correction("two.ogg", "relabel", ("Purr", "Meow", "Raindrop"), "listened to"),
        Correction("odd, <i>.aiff", "drop", (), "listened to"),
    )


def test_two_tabs_of_a_static_page(static_page: str, open_page: Callable[..., Page]) -> None:
    first = open_page(static_page)
    second = open_page(static_page, beside=first)
    first.keyboard.press("k")
    expect(second.locator("#state")).to_have_text("kept")
    # what the second tab has not seen yet, it does not overwrite
    second.evaluate("keeper.seen.set('bark.wav', UNDECIDED)")
    second.keyboard.press("d")
    expect(second.locator("#status")).to_contain_text("Decided on elsewhere in the meantime")


def test_a_static_page_knows_what_was_decided_before(
    three_clips: Audit, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    before = (Correction("bark.wav", "drop", (), "too loud, by far"), Correction("gone.wav", "keep"))
    write_page(tmp_path / "page", three_clips, PictureSpec(), before, progress=False)
    page = open_page((tmp_path / "page" / "index.html").as_uri())
    decided(page, "two.ogg")  # passes over the first
    with page.expect_download() as download:
        page.click("#download")
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert [(row["fname"], row["action"], row["why"]) for row in rows] == [
        ("bark.wav", "drop", "too loud, by far"),
        ("gone.wav", "keep", ""),
    ]


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(
    served: Served, open_page: Callable[..., Page], size: dict[str, int], scheme: str
) -> None:
    page = open_page(served.address, viewport=size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    levels = [sum(map(int, colour[4:-1].split(","))) / 765 for colour in (ground, ink)]
    assert (levels[0] > 0.9 and levels[1] < 0.2) if scheme == "light" else (levels[0] < 0.2 and levels[1] > 0.85)
    for button in ("#keep", "#drop", "#undo", "#search", "#next"):
        box = page.locator(button).bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= size["width"]
    page.click("#keep")
    decided(page, "two.ogg")
