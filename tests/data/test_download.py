"""Downloads over a line that breaks, from a server that stalls, refuses, changes its mind or lies."""

from __future__ import annotations

import email.utils
import errno
import gzip
import hashlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from earmark.data.catalog import RemoteFile
from earmark.data.download import Patience, ResumingDownloader, download_verified
from earmark.errors import FetchError, MissingExtraError

from .loopback import Loopback, all_of_it, breaks_off, etag, other, part, says, stalls

CONTENT = random.Random(3).randbytes(100_000)
IMPATIENT = Patience(connect_s=2.0, read_s=0.3, n_attempts=3, pause_s=0.0)
Load = Callable[..., Path]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Loopback({"a.bin": CONTENT}) as loopback:
        yield loopback


@pytest.fixture
def seen() -> list[int]:
    """Numbers of bytes that were reported."""
    return []


@pytest.fixture
def load(server: Loopback, tmp_path: Path, seen: list[int]) -> Load:
    """Download the server's `a.bin` with its right checksum, or as `changes` say."""

    def download(patience: Patience = IMPATIENT, url: str | None = None, **changes: object) -> Path:
        known = {"checksum": f"md5:{hashlib.md5(CONTENT).hexdigest()}", "size": len(CONTENT)} | changes
        file = RemoteFile("a.bin", "https://a.example/a.bin", checksum_source="computed", **known)  # type: ignore[arg-type]
        (tmp_path / "to").mkdir(exist_ok=True)
        return download_verified(
            file, url or server.url("a.bin"), tmp_path / "to", patience=patience, on_bytes=seen.append
        )

    return download


def left(tmp_path: Path) -> dict[str, int]:
    """What lies in the folder: sizes by name."""
    return {path.name: path.stat().st_size for path in sorted((tmp_path / "to").iterdir())}


def test_a_good_server(load: Load, server: Loopback, tmp_path: Path, seen: list[int]) -> None:
    assert load() == tmp_path / "to" / "a.bin"
    assert load().read_bytes() == CONTENT
    assert [asked.status for asked in server.asked] == [200]  # once: the second call found it
    assert server.asked[0].headers["Accept-Encoding"] == "identity"
    assert sum(seen) == len(CONTENT)
    assert left(tmp_path) == {"a.bin": len(CONTENT)}


def test_a_line_that_breaks(load: Load, server: Loopback, seen: list[int]) -> None:
    server.answers["a.bin"] = [breaks_off(40_000), breaks_off(70_000), breaks_off(70_001)]
    assert load().read_bytes() == CONTENT
    assert server.ranges("a.bin") == [None, "bytes=40000-", "bytes=70000-", "bytes=70001-"]
    assert {asked.headers.get("If-Range") for asked in server.asked[1:]} == {etag(CONTENT)}
    assert server.served("a.bin") == len(CONTENT) == sum(seen)


def test_a_server_that_stalls(load: Load, server: Loopback) -> None:
    server.answers["a.bin"] = [stalls(40_000)]
    start = time.monotonic()
    assert load().read_bytes() == CONTENT
    assert time.monotonic() - start < 5
    assert server.ranges("a.bin")[1] == "bytes=40000-"
    assert server.served("a.bin") == len(CONTENT)


def test_a_second_call_goes_on_where_the_first_gave_up(load: Load, server: Loopback, tmp_path: Path) -> None:
    server.answers["a.bin"] = [breaks_off(40_000), *[breaks_off(40_000)] * 3]
    with pytest.raises(FetchError) as caught:
        load()
    assert str(caught.value) == (
        f"{server.url('a.bin')}: the line broke after 40,000 bytes; 3 attempts in a row came no further; "
        "40,000 bytes are kept, call again to go on from there, or give a copy with --mirror"
    )
    assert left(tmp_path)["a.bin.part"] == 40_000
    assert load().read_bytes() == CONTENT
    assert server.ranges("a.bin")[-1] == "bytes=40000-"
    assert server.served("a.bin") == len(CONTENT)


def test_each_byte_further_renews_the_patience(load: Load, server: Loopback) -> None:
    server.answers["a.bin"] = [breaks_off(10_000 * number) for number in range(1, 10)]
    assert load(Patience(pause_s=0.0, n_attempts=1)).read_bytes() == CONTENT
    assert len(server.asked) == 10


def test_a_server_that_knows_no_ranges(load: Load, server: Loopback, seen: list[int]) -> None:
    server.answers["a.bin"] = [breaks_off(40_000), all_of_it(60_000), all_of_it()]
    assert load().read_bytes() == CONTENT
    assert server.served("a.bin") == 200_000
    assert sum(seen) == len(CONTENT)


def test_a_server_that_knows_no_ranges_and_always_breaks_off(load: Load, server: Loopback) -> None:
    server.answers["a.bin"] = [all_of_it(40_000)] * 9
    with pytest.raises(FetchError, match="the line broke after 40,000 bytes; 3 attempts in a row came no further"):
        load()
    assert len(server.asked) == 4


@pytest.mark.parametrize("checksum", ["none", "right"])
def test_a_file_that_changes_between_two_attempts(load: Load, server: Loopback, checksum: str) -> None:
    """The server has another file when it is asked for the rest: nothing of the first may remain."""
    first = random.Random(4).randbytes(100_000)
    server.answers["a.bin"] = [lambda handler, _: breaks_off(40_000)(handler, first)]
    sums = {"checksum": "none"} if checksum == "none" else {}
    assert load(**sums).read_bytes() == CONTENT
    assert server.asked[1].headers["If-Range"] == etag(first)
    assert [asked.status for asked in server.asked] == [200, 200]


@pytest.mark.parametrize("tag", [etag(b"another"), None])
def test_a_server_that_gives_the_rest_of_another_file(load: Load, server: Loopback, tag: str | None) -> None:
    """It takes no heed of If-Range. Without a checksum a rest that does not say of what it is is not trusted either."""
    server.answers["a.bin"] = [breaks_off(40_000), part(40_000, tag)]
    assert load(checksum="none").read_bytes() == CONTENT
    assert server.ranges("a.bin") == [None, "bytes=40000-", None]


def test_with_a_checksum_a_rest_without_etag_is_tried(load: Load, server: Loopback) -> None:
    server.answers["a.bin"] = [breaks_off(40_000), part(40_000)]
    assert load().read_bytes() == CONTENT
    assert server.served("a.bin") == len(CONTENT)


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_without_checksum_or_validator_nothing_is_gone_on_with(load: Load, server: Loopback, size: int | None) -> None:
    server.answers["a.bin"] = [all_of_it(40_000), all_of_it(ETag='W/"weak"')]
    assert load(checksum="none", size=size).read_bytes() == CONTENT
    assert server.ranges("a.bin") == [None, None]


def test_last_modified_serves_where_there_is_no_strong_etag(load: Load, server: Loopback) -> None:
    date = "Tue, 01 Jan 2030 00:00:00 GMT"
    server.answers["a.bin"] = [all_of_it(40_000, **{"ETag": 'W/"weak"', "Last-Modified": date})]
    load(checksum="none")
    assert server.asked[1].headers["If-Range"] == date


@pytest.mark.parametrize("start", [39_999, 40_001, 0])
def test_a_server_that_gives_another_part_than_was_asked_for(load: Load, server: Loopback, start: int) -> None:
    server.answers["a.bin"] = [breaks_off(40_000), part(start, etag(CONTENT))]
    assert load().read_bytes() == CONTENT
    assert server.asked[-1].status in (200, 206)


def test_a_part_that_does_not_say_where_it_begins(load: Load, server: Loopback) -> None:
    server.answers["a.bin"] = [breaks_off(40_000), says(206, Content_Range="lines 1-2/3")]
    assert load().read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(load: Load, server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.bin.part").write_bytes(CONTENT + b"more")
    assert load().read_bytes() == CONTENT
    assert server.ranges("a.bin") == [None]


def test_416_when_nothing_is_missing(load: Load, server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.bin.part").write_bytes(CONTENT)
    assert load(size=None).read_bytes() == CONTENT
    assert [asked.status for asked in server.asked] == [416]


def test_416_when_the_part_is_longer_than_the_file(load: Load, server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.bin.part").write_bytes(CONTENT + b"more")
    assert load(size=None).read_bytes() == CONTENT
    assert [asked.status for asked in server.asked] == [416, 200]


def test_a_whole_part_is_not_asked_for_again(load: Load, server: Loopback, tmp_path: Path) -> None:
    """As after a kill while the checksum was taken."""
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.bin.part").write_bytes(CONTENT)
    assert load().read_bytes() == CONTENT
    assert server.asked == []
    assert left(tmp_path) == {"a.bin": len(CONTENT)}


def test_a_note_that_is_damaged_is_done_without(load: Load, server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.bin.part").write_bytes(CONTENT[:40_000])
    (tmp_path / "to" / "a.bin.part.json").write_text("{")
    assert load().read_bytes() == CONTENT
    assert server.ranges("a.bin") == ["bytes=40000-"]


def test_a_part_from_elsewhere_is_gone_on_with_under_a_checksum(load: Load, server: Loopback) -> None:
    server.files["copy"] = CONTENT
    server.answers["a.bin"] = [breaks_off(40_000), says(404)]
    with pytest.raises(FetchError):
        load()
    assert load(url=server.url("copy")).read_bytes() == CONTENT
    assert server.asked[-1].headers["Range"] == "bytes=40000-"
    assert "If-Range" not in server.asked[-1].headers  # that was of the other server's file


def test_wrong_bytes_once(load: Load, server: Loopback, tmp_path: Path, seen: list[int]) -> None:
    server.answers["a.bin"] = [other(CONTENT[::-1])]
    said: list[str] = []
    file = RemoteFile("a.bin", "https://a.example", f"md5:{hashlib.md5(CONTENT).hexdigest()}", "computed", len(CONTENT))
    (tmp_path / "to").mkdir()
    path = download_verified(
        file, server.url("a.bin"), tmp_path / "to", patience=IMPATIENT, say=said.append, on_bytes=seen.append
    )
    assert path.read_bytes() == CONTENT
    wrong, right = hashlib.md5(CONTENT[::-1]).hexdigest(), hashlib.md5(CONTENT).hexdigest()
    assert said == [
        f"a.bin: the checksum is md5:{wrong}, expected md5:{right}; it was removed and is downloaded once more"
    ]
    assert sum(seen) == len(CONTENT)


def test_wrong_bytes_always(load: Load, server: Loopback, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT[::-1]
    with pytest.raises(FetchError) as caught:
        load()
    wrong, right = hashlib.md5(CONTENT[::-1]).hexdigest(), hashlib.md5(CONTENT).hexdigest()
    assert str(caught.value) == (
        f"a.bin from {server.url('a.bin')}: the checksum is md5:{wrong}, expected md5:{right}, twice; it was removed. "
        "Either the file was replaced, or something on the way changes it; try another network, or give a good copy "
        "with --mirror"
    )
    assert left(tmp_path) == {}
    assert len(server.asked) == 2


def test_a_part_with_wrong_bytes_is_found_out_and_removed(load: Load, server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.bin.part").write_bytes(b"x" * 40_000)
    assert load().read_bytes() == CONTENT
    assert server.ranges("a.bin") == ["bytes=40000-", None]


def test_a_file_that_is_there_but_wrong_is_replaced(load: Load, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.bin").write_bytes(CONTENT[::-1])
    assert load().read_bytes() == CONTENT
    (tmp_path / "to" / "a.bin").write_bytes(b"short")
    assert load(checksum="none").read_bytes() == CONTENT


def test_another_size_than_expected_is_not_even_taken(load: Load, server: Loopback, seen: list[int]) -> None:
    server.files["a.bin"] = CONTENT + b"more"
    with pytest.raises(
        FetchError, match=r"the server's file has 100,004 bytes, expected 100,000, twice; it was removed"
    ):
        load()
    assert not any(seen)


def test_more_than_expected_from_a_server_that_does_not_say_how_much(load: Load, server: Loopback) -> None:
    def endless(handler, content: bytes) -> None:
        handler.head(200, {})
        handler.give(content + content)

    server.answers["a.bin"] = [endless, endless]
    with pytest.raises(FetchError, match=r"the server gave more than 100,000 bytes, twice"):
        load()


def test_a_server_that_says_no_size(load: Load, server: Loopback) -> None:
    def unsized(handler, content: bytes) -> None:
        handler.head(200, {})
        handler.give(content)

    server.answers["a.bin"] = [unsized]
    assert load(size=None).read_bytes() == CONTENT


def test_content_that_is_packed_all_the_same(load: Load, server: Loopback) -> None:
    packed = gzip.compress(CONTENT)

    def packs(handler, content: bytes) -> None:
        handler.head(200, {"Content-Encoding": "gzip", "Content-Length": str(len(packed)), "ETag": '"p"'})
        handler.give(packed)

    server.answers["a.bin"] = [packs]
    assert load().read_bytes() == CONTENT
    server.answers["a.bin"] = [breaks_off(40_000), part(40_000, **{"Content-Encoding": "gzip"})]
    (load().parent / "a.bin").unlink()
    with pytest.raises(FetchError, match=r"the server sends a part of a packed file \(gzip\); use --mirror"):
        load()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were slept; none are."""
    slept: list[float] = []
    monkeypatch.setattr("earmark.data.download.time", SimpleNamespace(sleep=slept.append, time=time.time))
    return slept


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(load: Load, server: Loopback, pauses: list[float], status: int) -> None:
    server.answers["a.bin"] = [says(status), says(status)]
    assert load(Patience(pause_s=1.5, longest_pause_s=2.0)).read_bytes() == CONTENT
    assert pauses == [1.5, 2.0]


def test_a_server_says_when_to_come_back(load: Load, server: Loopback, pauses: list[float]) -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    after = ["7", in_a_minute, "9999", "soon"]
    server.answers["a.bin"] = [says(429, Retry_After=said) for said in after]
    load(Patience(pause_s=1.0, longest_wait_s=300.0))
    assert pauses[0] == 7.0
    assert 55 < pauses[1] <= 60
    assert pauses[2:] == [300.0, 8.0]


def test_a_server_that_stays_in_trouble(load: Load, server: Loopback) -> None:
    server.answers["a.bin"] = [says(503)] * 3
    with pytest.raises(
        FetchError, match=r": the server says 503 Service Unavailable; 3 attempts in a row came no furth"
    ):
        load()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "404 Not Found; the file is no longer there, give a copy with --mirror"),
        (403, "the server says 403 Forbidden; expected the file, give a copy with --mirror"),
        (204, "the server says 204 No Content; expected the file, give a copy with --mirror"),
    ],
)
def test_a_server_that_refuses(load: Load, server: Loopback, status: int, said: str) -> None:
    server.answers["a.bin"] = [says(status)]
    with pytest.raises(FetchError) as caught:
        load()
    assert str(caught.value) == f"{server.url('a.bin')}: {said}"
    assert len(server.asked) == 1


def test_no_server(load: Load, server: Loopback) -> None:
    with Loopback() as gone:
        url = gone.url("a.bin")
    with pytest.raises(FetchError) as caught:
        load(url=url)
    assert str(caught.value).startswith(
        f"{url}: the line broke ([Errno {errno.ECONNREFUSED}] Connection refused); 3 att"
    )
    assert "object at" not in str(caught.value)


def test_a_server_that_says_nothing(load: Load, server: Loopback) -> None:
    server.answers["a.bin"] = [lambda handler, _: handler.loopback.released.wait(20) and None] * 3
    with pytest.raises(
        FetchError, match=r": the server says nothing; 3 attempts in a row came no further; 0 bytes are"
    ):
        load()


def test_a_redirect_is_followed(load: Load, server: Loopback) -> None:
    server.files["there/b.bin"] = CONTENT
    server.answers["a.bin"] = [says(302, Location="/there/b.bin"), says(301, Location=server.url("there/b.bin"))]
    server.answers["there/b.bin"] = [breaks_off(40_000)]
    assert load().read_bytes() == CONTENT
    assert server.ranges("there/b.bin") == [None, "bytes=40000-"]


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a.bin", "gopher://127.0.0.1/"])
def test_a_redirect_out_of_the_web(load: Load, server: Loopback, to: str) -> None:
    server.answers["a.bin"] = [says(302, Location=to)]
    with pytest.raises(FetchError) as caught:
        load()
    assert str(caught.value) == (
        f"{server.url('a.bin')}: leads to {to!r}; expected an address that begins with http:// or https://"
    )


def test_a_redirect_from_https_to_http(tmp_path: Path) -> None:
    answer = SimpleNamespace(is_redirect=True, headers={"Location": "http://b.example/a"}, close=lambda: None)
    session = SimpleNamespace(get=lambda *_, **__: answer)
    loader = ResumingDownloader(tmp_path / "a.part")
    with pytest.raises(FetchError, match=r"leads from https to http://b\.example/a; expected https throughout"):
        loader._get(session, "https://a.example/a", {})  # type: ignore[arg-type]


def test_redirects_without_end(load: Load, server: Loopback) -> None:
    server.answers["a.bin"] = [says(302, Location="/a.bin")] * 20
    with pytest.raises(FetchError, match=r"leads on and on, more than 8 times; the last was http"):
        load()


@pytest.mark.parametrize("url", ["ftp://a.example/a.bin", "file:///etc/passwd", "a.bin"])
def test_only_the_web(load: Load, url: str) -> None:
    with pytest.raises(FetchError) as caught:
        load(url=url)
    assert str(caught.value) == f"a.bin: lies at {url!r}; expected an address that begins with http:// or https://"


def test_an_address_that_is_none(load: Load) -> None:
    with pytest.raises(FetchError, match=r"^http://: cannot be asked for: .*; give a copy with --mirror$"):
        load(url="http://")


def test_a_file_system_without_hard_links(load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    assert load().read_bytes() == CONTENT
    assert left(tmp_path) == {"a.bin": len(CONTENT)}


def test_without_pooch(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError) as caught:
        load()
    assert str(caught.value) == "fetching (pooch) needs libraries that are not installed: pip install 'earmark[data]'"
