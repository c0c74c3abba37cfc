"""Fetching whole entries: verified, unpacked all at once, resumed after a kill, from servers and from copies."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from earmark.cli.data import fetch as command_module
from earmark.data import catalog as catalog_module
from earmark.data.catalog import ArchiveParts, Entry, RemoteFile, catalog
from earmark.data.download import Patience
from earmark.data.fetch import NOTE_NAME, RECORD_NAME, fetch, license_note, read_mirror
from earmark.data.layouts import read_collection
from earmark.data.zenodo import read_record
from earmark.errors import ArchiveError, EarmarkError, FetchError

from .loopback import Loopback, all_of_it, breaks_off, other, says
from .packing import Member, plain_zip, split_zip, tar, tar_entry

AUDIO = {f"esc/audio/{number}.wav": random.Random(number).randbytes(30_000) for number in range(4)}
META = {"esc/meta/esc50.csv": b"filename,fold,target,category\n0.wav,1,0,dog\n1.wav,2,0,dog\n"}
HURRIED = Patience(connect_s=2.0, read_s=0.3, n_attempts=2, pause_s=0.0)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Loopback() as loopback:
        yield loopback


def published(server: Loopback, files: dict[str, bytes], **changes: object) -> Entry:
    """An entry of the catalog whose files the server has."""
    server.files |= files
    remote = [
        RemoteFile(name, server.url(name), f"md5:{hashlib.md5(content).hexdigest()}", "computed", len(content))
        for name, content in files.items()
    ]
    known = {
        "name": "Tiny",
        "kind": "collection",
        "title": "Tiny: four noises",
        "about": "noise",
        "home": "https://tiny.example",
        "license": "CC0",
        "license_notes": "None.",
        "citation": "Nobody 2020",
        "layout": "as ESC-50",
        "files": tuple(remote),
        "archives": tuple(ArchiveParts((name,), "esc") for name in files),
    }
    return Entry(**(known | changes))  # type: ignore[arg-type]


@pytest.fixture
def tiny(server: Loopback, tmp_path: Path) -> Entry:
    """Audio in a split ZIP, a table in a tar, a text in a ZIP."""
    parts = split_zip(tmp_path / "made", [Member(name, content) for name, content in AUDIO.items()], 50_000, "audio")
    files = {path.name: path.read_bytes() for path in parts}
    table = tar([tar_entry(name, content) for name, content in META.items()])
    files |= {"meta.tar.gz": table, "doc.zip": plain_zip({"esc/README.md": b"tiny"})}
    archives = [ArchiveParts(tuple(path.name for path in parts), "esc")]
    archives += [ArchiveParts(("meta.tar.gz",), "esc"), ArchiveParts(("doc.zip",), "esc")]
    return published(server, files, archives=tuple(archives), unpacked_size=130_000)


@pytest.fixture
def weights(server: Loopback) -> Entry:
    return published(server, {"w.pt": random.Random(9).randbytes(9000)}, name="w_as", kind="weights", archives=())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_top(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix("esc/"): content for name, content in files.items()}


UNPACKED = without_top(AUDIO | META | {"esc/README.md": b"tiny"})


def test_a_collection(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    folder = fetch(tiny, tmp_path / "a" / "tiny", patience=HURRIED)
    assert folder == tmp_path / "a" / "tiny"
    got = contents(folder)
    assert got.pop(NOTE_NAME).decode() == license_note(tiny)
    record = json.loads(got.pop(RECORD_NAME))["fetched"]["Tiny"]
    assert got == UNPACKED
    assert record["contents"] == {name: len(content) for name, content in UNPACKED.items()}
    assert [(file["name"], file["checksum"], file["verified"]) for file in record["files"]] == [
        (file.name, file.checksum, True) for file in tiny.files
    ]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["tiny"]  # nothing is left beside it
    assert [clip.path.name for clip in read_collection(folder).clips] == ["0.wav", "1.wav"]


def test_a_second_call_asks_nobody(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    fetch(tiny, tmp_path / "tiny", patience=HURRIED)
    (tmp_path / "tiny" / "folds.csv").write_text("one's own")
    n_asked = len(server.asked)
    said: list[str] = []
    assert fetch(tiny, tmp_path / "tiny", say=said.append) == tmp_path / "tiny"
    assert len(server.asked) == n_asked == len(tiny.files)
    assert said == [f"{tmp_path / 'tiny'}: is there, fetched by an earlier call"]
    (tmp_path / "tiny" / "audio" / "0.wav").unlink()
    (tmp_path / "tiny" / "audio" / "1.wav").write_bytes(b"short")
    with pytest.raises(EarmarkError) as caught:
        fetch(tiny, tmp_path / "tiny")
    assert str(caught.value) == (
        f"{tmp_path / 'tiny'}: 2 of the 6 files that were fetched are gone or changed, the first is audio/0.wav; "
        "remove the folder and fetch again, or name another with -o"
    )


def test_the_folders_default_is_the_entrys_name(tiny: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert fetch(tiny, patience=HURRIED) == tmp_path / "here" / "Tiny"


def test_an_empty_folder_is_filled(tiny: Entry, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    assert (fetch(tiny, tmp_path / "tiny", patience=HURRIED) / "audio" / "0.wav").is_file()


def test_a_folder_or_a_file_in_the_way(tiny: Entry, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(EarmarkError) as caught:
        fetch(tiny, tmp_path / "full")
    assert str(caught.value) == (
        f"{tmp_path / 'full'}: is a folder that holds other files; name a new or empty one with -o"
    )
    with pytest.raises(EarmarkError, match=r"mine\.txt: is a file; expected a folder, name another with -o"):
        fetch(tiny, tmp_path / "full" / "mine.txt")
    assert contents(tmp_path / "full") == {"mine.txt": b"mine"}


def test_a_record_that_cannot_be_read(tiny: Entry, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / RECORD_NAME).write_text("{")
    with pytest.raises(
        EarmarkError, match=r"earmark-fetch\.json: cannot be read \(.*\); remove the folder and fetch a"
    ):
        fetch(tiny, tmp_path / "tiny")


def test_an_error_leaves_what_came_and_the_next_call_goes_on(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    last = tiny.files[-1].name
    server.answers[last] = [says(404)]
    with pytest.raises(FetchError, match=f"/{last}: 404 Not Found; the file is no longer there"):
        fetch(tiny, tmp_path / "tiny", patience=HURRIED)
    assert not (tmp_path / "tiny").exists()
    fetch(tiny, tmp_path / "tiny", patience=HURRIED)
    assert [asked.path for asked in server.asked].count(f"/{tiny.files[0].name}") == 1
    assert (tmp_path / "tiny" / "README.md").read_bytes() == b"tiny"


def test_wrong_bytes_once_are_said(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    server.answers["doc.zip"] = [other(server.files["doc.zip"][::-1])]
    said: list[str] = []
    fetch(tiny, tmp_path / "tiny", patience=HURRIED, say=said.append)
    assert len(said) == 1
    assert said[0].startswith("doc.zip: the checksum is md5:")


KILLED = """
    import sys
    from pathlib import Path
    import msgspec
    from earmark.data.catalog import Entry
    from earmark.data.fetch import fetch
    fetch(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Entry), sys.argv[2])
"""


def test_a_kill_in_the_middle(server: Loopback, tmp_path: Path) -> None:
    """A real process is killed without a chance to tidy up, a real server half through; the next call goes on."""
    files = {"a.zip": plain_zip({"esc/a": random.Random(5).randbytes(300_000)}), "b.zip": plain_zip({"esc/b": b"b"})}
    entry = published(server, files)
    asked = tmp_path / "entry.json"
    asked.write_bytes(msgspec.json.encode(entry))
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(asked), str(tmp_path / "tiny")]

    def half(handler, content: bytes) -> None:
        breaks_off(150_000)(handler, content)
        handler.wfile.flush()
        handler.loopback.released.wait(30)

    server.answers["a.zip"] = [half]
    process = subprocess.Popen(command)
    grown = tmp_path / ".tiny.fetch" / "a.zip.part"
    deadline = time.monotonic() + 30
    while not (grown.exists() and grown.stat().st_size == 150_000):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "tiny").exists()
    assert server.served("a.zip") == 150_000
    subprocess.run(command, check=True, timeout=60)
    assert server.ranges("a.zip") == [None, "bytes=150000-"]
    assert server.served("a.zip") == len(files["a.zip"])
    assert (tmp_path / "tiny" / "a").read_bytes() == random.Random(5).randbytes(300_000)
    assert not (tmp_path / ".tiny.fetch").exists()


def test_what_a_killed_call_left_is_tidied(tiny: Entry, tmp_path: Path) -> None:
    work = tmp_path / ".tiny.fetch"
    (work / "unpacked" / "esc").mkdir(parents=True)
    (work / "unpacked" / "esc" / "half.wav").write_bytes(b"half")
    (work / "tmpabc").write_bytes(b"pooch's")
    folder = fetch(tiny, tmp_path / "tiny", patience=HURRIED)
    assert not list(folder.rglob("half.wav"))
    assert not work.exists()


def test_two_at_once(tiny: Entry, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    work = tmp_path / ".tiny.fetch"
    work.mkdir()
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EarmarkError) as caught:
            fetch(tiny, tmp_path / "tiny")
    assert str(caught.value) == f"{tmp_path / 'tiny'}: another process is fetching it; wait until it has finished"
    assert work.is_dir()  # it is the other's
    fetch(tiny, tmp_path / "tiny", patience=HURRIED)


def test_a_hostile_archive(server: Loopback, tmp_path: Path) -> None:
    for name, content in (("a.zip", plain_zip({"esc/good": b"", "esc/../../evil": b""})), ("a.tar.gz", None)):
        content = content or tar([tar_entry("esc/good"), tar_entry("../evil", b"evil")])
        with pytest.raises(ArchiveError, match=rf"^{name}: entry '.*evil' leads out of its folder by '\.\.'"):
            fetch(published(server, {name: content}), tmp_path / "tiny", patience=HURRIED)
        assert not (tmp_path / "tiny").exists()
        assert not list(tmp_path.rglob("evil"))
        assert not (tmp_path / ".tiny.fetch" / "unpacked").exists()


@pytest.mark.parametrize(("unpacked_size", "limit"), [(50, 100), (None, None)])
def test_an_archive_larger_than_the_catalog_says(
    server: Loopback, tmp_path: Path, unpacked_size: int | None, limit: int | None
) -> None:
    content = plain_zip({"esc/a": bytes(9999)})
    entry = published(server, {"a.zip": content}, unpacked_size=unpacked_size)
    limit = limit or 20 * len(content)
    with pytest.raises(ArchiveError, match=rf"its files have 9,999 bytes; expected no more than {limit:,}"):
        fetch(entry, tmp_path / "tiny", patience=HURRIED)


def test_two_archives_with_the_same_file(server: Loopback, tmp_path: Path) -> None:
    entry = published(server, {"a.zip": plain_zip({"esc/a": b"1"}), "b.zip": plain_zip({"esc/A": b"2"})})
    with pytest.raises(ArchiveError, match=r"^b\.zip: entry 'esc/A' has the place of 'a'; expected each name once$"):
        fetch(entry, tmp_path / "tiny", patience=HURRIED)


Usage = namedtuple("Usage", "total used free")


def test_too_little_room(tiny: Entry, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(file.size or 0 for file in tiny.files)
    free = size + 130_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))
    monkeypatch.setattr("earmark.data.fetch.in_words", str)
    free -= 1
    with pytest.raises(FetchError) as caught:
        fetch(tiny, tmp_path / "tiny", patience=HURRIED)
    assert str(caught.value) == (
        f"{tmp_path / 'tiny'}: about {free + 1} are needed ({size} to download, 130000 unpacked), {free} are free; "
        "make room, or name a folder elsewhere with -o"
    )
    assert server.asked == []
    assert list(tmp_path.glob(".*")) == []
    free += 1
    fetch(tiny, tmp_path / "tiny", patience=HURRIED)


def test_what_came_already_needs_no_room(tiny: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / ".tiny.fetch"
    work.mkdir()
    for file in tiny.files[:-1]:
        shutil.copy(tmp_path / "made" / file.name, work) if (tmp_path / "made" / file.name).exists() else None
    (work / "doc.zip.part").write_bytes(b"")
    came = sum(path.stat().st_size for path in work.iterdir())
    size = sum(file.size or 0 for file in tiny.files)
    assert 100_000 < came < size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, size - came + 130_000))
    fetch(tiny, tmp_path / "tiny", patience=HURRIED)


def test_a_disk_that_fills_up(tiny: Entry, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("earmark.data.archives.Unpacking.write", full)
    with pytest.raises(FetchError) as caught:
        fetch(tiny, tmp_path / "tiny", patience=HURRIED)
    assert str(caught.value) == (f"{tmp_path}: the disk is full; what was downloaded is kept, make room and call again")
    monkeypatch.undo()
    n_asked = len(server.asked)
    fetch(tiny, tmp_path / "tiny", patience=HURRIED)
    assert len(server.asked) == n_asked


def test_other_errors_of_the_system_are_passed_on(tiny: Entry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        fetch(tiny, tmp_path / "file" / "tiny")


def test_weights(weights: Entry, server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.pt").write_bytes(b"mine")
    path = fetch(weights, tmp_path / "models", patience=HURRIED)
    assert path == tmp_path / "models" / "w.pt"
    assert path.read_bytes() == server.files["w.pt"]
    second = published(server, {"v.pt": b"vvv"}, name="v_as", kind="weights", archives=())
    fetch(second, tmp_path / "models", patience=HURRIED)
    assert sorted(contents(tmp_path / "models")) == sorted(
        [RECORD_NAME, "LICENSE-NOTE-v_as.txt", "LICENSE-NOTE-w_as.txt", "mine.pt", "v.pt", "w.pt"]
    )
    n_asked = len(server.asked)
    for entry in (weights, second):
        fetch(entry, tmp_path / "models", patience=HURRIED)
    assert len(server.asked) == n_asked
    assert [one.name for one in tmp_path.iterdir()] == ["models"]


def test_weights_that_lie_there_already(weights: Entry, server: Loopback, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(server.files["w.pt"])
    assert fetch(weights, tmp_path) == path
    assert server.asked == []
    path.write_bytes(server.files["w.pt"][::-1])
    right, wrong = weights.files[0].checksum, hashlib.md5(path.read_bytes()).hexdigest()
    with pytest.raises(EarmarkError) as caught:
        fetch(weights, tmp_path)
    assert str(caught.value) == (
        f"{path}: the checksum is md5:{wrong}, expected {right}; this is not the published file; "
        "remove it to fetch it, or name another folder with -o"
    )
    unknown = msgspec.structs.replace(weights, files=(unverified(weights.files[0]),))
    with pytest.raises(
        EarmarkError, match=r"w\.pt: is there, and no checksum is known to verify it by; remove it to f"
    ):
        fetch(unknown, tmp_path)


def unverified(file: RemoteFile) -> RemoteFile:
    return msgspec.structs.replace(file, checksum="none", size=None)


def test_what_cannot_be_verified_is_said(weights: Entry, server: Loopback, tmp_path: Path) -> None:
    said: list[str] = []
    entry = msgspec.structs.replace(weights, files=(unverified(weights.files[0]),))
    fetch(entry, tmp_path, patience=HURRIED, say=said.append)
    digest = hashlib.sha256(server.files["w.pt"]).hexdigest()
    assert said == [f"w.pt: no checksum is known to verify it by; it has sha256:{digest}"]
    (file,) = json.loads((tmp_path / RECORD_NAME).read_bytes())["fetched"]["w_as"]["files"]
    assert (file["checksum"], file["verified"]) == (f"sha256:{digest}", False)


def test_a_folder_as_mirror(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    copies = tmp_path / "Kopien für alle"
    copies.mkdir()
    for name, content in server.files.items():
        (copies / name).write_bytes(content)
    before = contents(copies)
    fetch(tiny, tmp_path / "a", mirror=str(copies))
    fetch(tiny, tmp_path / "b", mirror=copies.as_uri(), keep_archives=True)
    assert contents(tmp_path / "a" / "audio") == contents(tmp_path / "b" / "audio") != {}
    assert contents(copies) == before
    assert server.asked == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Kopien für alle", "a", "b", "made"]
    (copies / "doc.zip").write_bytes(server.files["doc.zip"][::-1])
    with pytest.raises(FetchError, match=r"doc\.zip: the checksum is md5:\w+, expected md5:\w+; this is not the publ"):
        fetch(tiny, tmp_path / "c", mirror=str(copies))
    (copies / "doc.zip").write_bytes(b"short")
    with pytest.raises(FetchError, match=r"doc\.zip: has 5 bytes, expected \d+; this is not the published file"):
        fetch(tiny, tmp_path / "c", mirror=str(copies))
    (copies / "doc.zip").unlink()
    with pytest.raises(
        FetchError, match=r"doc\.zip: is not in the mirror; expected the published file under this name"
    ):
        fetch(tiny, tmp_path / "c", mirror=str(copies))


def test_an_address_as_mirror(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    for file in tiny.files:
        server.files[f"copies/{file.name}"] = server.files.pop(file.name)
    fetch(tiny, tmp_path / "tiny", mirror=server.url("copies/"), patience=HURRIED)
    assert [asked.path for asked in server.asked] == [f"/copies/{file.name}" for file in tiny.files]
    server.files["copies/doc.zip"] = server.files["copies/doc.zip"][::-1]
    with pytest.raises(
        FetchError, match=r"doc\.zip from http.*/copies/doc\.zip: the checksum is .*, twice; it was remo"
    ):
        fetch(tiny, tmp_path / "b", mirror=server.url("copies"), patience=HURRIED)


@pytest.mark.parametrize("mirror", ["ftp://a.example", "s3://bucket", "sftp://a.example/x"])
def test_a_mirror_that_is_none(mirror: str) -> None:
    with pytest.raises(EarmarkError) as caught:
        read_mirror(mirror)
    assert str(caught.value) == (
        f"--mirror {mirror}: expected a folder, or an address with file://, http:// or https://"
    )


def test_a_mirror_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        EarmarkError, match=r"^--mirror .*/none: no such folder; expected one that holds the published f"
    ):
        read_mirror(str(tmp_path / "none"))


def test_archives_that_are_kept_serve_as_mirror(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    fetch(tiny, tmp_path / "tiny", keep_archives=True, patience=HURRIED)
    kept = tmp_path / "tiny.archives"
    assert contents(kept) == {file.name: server.files[file.name] for file in tiny.files}
    n_asked = len(server.asked)
    fetch(tiny, tmp_path / "again", mirror=str(kept))
    assert len(server.asked) == n_asked


def described(server: Loopback, tiny: Entry, **changes: str) -> Entry:
    """An entry that knows neither sizes nor checksums; the server describes it as Zenodo does."""
    files = [
        {"key": file.name, "size": file.size, "checksum": changes.get(file.name, file.checksum), "links": {}}
        for file in tiny.files
    ]
    server.files["api"] = json.dumps({"id": 1, "files": files}).encode()
    return msgspec.structs.replace(tiny, files=tuple(map(unverified, tiny.files)), record=server.url("api"))


def test_what_zenodo_publishes_fills_what_the_catalog_lacks(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    entry = described(server, tiny)
    server.answers["doc.zip"] = [other(server.files["doc.zip"][::-1])]
    said: list[str] = []
    fetch(entry, tmp_path / "tiny", patience=HURRIED, say=said.append)
    assert [asked.path for asked in server.asked].count("/doc.zip") == 2
    record = json.loads((tmp_path / "tiny" / RECORD_NAME).read_bytes())["fetched"]["Tiny"]
    assert all(file["verified"] for file in record["files"])
    assert len(said) == 1


def test_a_complete_entry_does_not_ask_zenodo(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    fetch(msgspec.structs.replace(tiny, record=server.url("api")), tmp_path / "tiny", patience=HURRIED)
    assert "/api" not in [asked.path for asked in server.asked]


def test_zenodo_says_otherwise_than_the_catalog(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    wrong = f"md5:{'0' * 32}"
    entry = described(server, tiny, **{"doc.zip": wrong})
    (right,) = [file for file in tiny.files if file.name == "doc.zip"]
    pinned = tuple(right if file.name == "doc.zip" else file for file in entry.files)
    with pytest.raises(FetchError) as caught:
        fetch(msgspec.structs.replace(entry, files=pinned), tmp_path / "tiny", patience=HURRIED)
    assert str(caught.value) == (
        f"{server.url('api')}: says {wrong} of doc.zip, expected {right.checksum}; give a copy with --mirror"
    )


def test_zenodo_does_not_answer(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    """Without checksums nothing is fetched unverified, unless from a copy; sizes can be done without."""
    entry = described(server, tiny)
    del server.files["api"]
    with pytest.raises(FetchError, match=r"/api: 404 Not Found"):
        fetch(entry, tmp_path / "tiny", patience=HURRIED)
    assert {asked.path for asked in server.asked} == {"/api"}
    said: list[str] = []
    sums_only = tuple(msgspec.structs.replace(file, size=None) for file in tiny.files)
    fetch(msgspec.structs.replace(entry, files=sums_only), tmp_path / "tiny", patience=HURRIED, say=said.append)
    assert len(said) == 1
    assert said[0].startswith("the sizes and checksums that Zenodo publishes could not be read: http")
    copies = tmp_path / "copies"
    copies.mkdir()
    for file in tiny.files:
        (copies / file.name).write_bytes(server.files[file.name])
    said.clear()
    fetch(entry, tmp_path / "from copies", mirror=str(copies), say=said.append)
    assert len(said) == 1 + len(tiny.files)
    assert said[1].startswith(f"{tiny.files[0].name}: no checksum is known to verify it by; it has sha256:")


def test_both_forms_of_zenodos_descriptions(server: Loopback) -> None:
    digits = "0123456789abcdef" * 2
    server.files["api"] = json.dumps(
        {
            "files": [
                {"key": "a.zip", "size": 5, "checksum": f"md5:{digits}", "links": {"self": "https://z.example"}},
                {"filename": "b.zip", "filesize": 6, "checksum": digits, "id": "1"},
            ]
        }
    ).encode()
    assert read_record(server.url("api"), HURRIED) == {"a.zip": (5, f"md5:{digits}"), "b.zip": (6, f"md5:{digits}")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"<html>", "is not the description of a Zenodo record: "),
        (b'{"files": 1}', "is not the description of a Zenodo record: Expected `array`"),
        (
            b'{"files": [{"key": "a", "size": 1, "checksum": "md5:0"}]}',
            "is not the description .*: a: checksum 'md5:0'",
        ),
    ],
)
def test_a_description_that_is_none(server: Loopback, text: bytes, said: str) -> None:
    server.files["api"] = text
    with pytest.raises(FetchError, match=rf"/api: {said}.*; give copies with --mirror$"):
        read_record(server.url("api"), HURRIED)


def test_a_file_that_the_record_does_not_have(tiny: Entry, server: Loopback, tmp_path: Path) -> None:
    entry = described(server, tiny)
    server.files["api"] = b'{"files": []}'
    with pytest.raises(FetchError, match=r"/api: has no file audio\.z01; expected it there, give copies with --mirror"):
        fetch(entry, tmp_path / "tiny", patience=HURRIED)


@pytest.fixture
def only_tiny(tiny: Entry, weights: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command know these two."""
    known = {"Tiny": tiny, "w_as": weights}
    for module in (catalog_module, command_module):
        monkeypatch.setattr(module, "catalog", lambda: known)


@pytest.mark.usefixtures("only_tiny")
def test_the_command(run_earmark: Run, tiny: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run_earmark("data", "fetch", "TINY", "-o", "got")
    assert (status, out) == (0, "got\n")
    assert err == license_note(tiny) + "\n"
    assert (tmp_path / "got" / "meta" / "esc50.csv").is_file()
    status, out, err = run_earmark("data", "fetch", "tiny", "-o", tmp_path / "got")
    assert (status, out) == (0, "got\n")
    assert err.endswith(f"earmark: {tmp_path / 'got'}: is there, fetched by an earlier call\n")
    status, out, _ = run_earmark("data", "fetch", "w_as", "-o", tmp_path.parent / "elsewhere")
    assert (status, out) == (0, f"{tmp_path.parent / 'elsewhere' / 'w.pt'}\n")
    shutil.rmtree(tmp_path.parent / "elsewhere")


@pytest.mark.usefixtures("only_tiny")
def test_the_commands_exit_status(run_earmark: Run, server: Loopback, tmp_path: Path) -> None:
    status, out, err = run_earmark("data", "fetch", "Tinny")
    assert (status, out) == (2, "")
    assert err == (
        "earmark: nothing named 'Tinny' can be fetched; did you mean 'Tiny'?; "
        "'earmark data fetch --list' lists what can be\n"
    )
    status, out, err = run_earmark("data", "fetch", "Tiny", "-o", tmp_path)
    assert (status, out) == (2, "")
    assert "is a folder that holds other files" in err
    server.files["audio.z01"] = server.files["audio.z01"][::-1]
    status, out, err = run_earmark("data", "fetch", "Tiny", "-o", tmp_path / "got")
    assert (status, out) == (1, "")
    assert "audio.z01 from " in err


@pytest.mark.usefixtures("only_tiny")
def test_a_dry_run(run_earmark: Run, server: Loopback, tiny: Entry, tmp_path: Path) -> None:
    status, out, err = run_earmark("data", "fetch", "tiny", "--dry-run", "-o", tmp_path / "got")
    assert (status, err) == (0, "")
    assert out.startswith(license_note(tiny))
    for file in tiny.files:
        assert file.name in out
        assert file.checksum in out
        assert server.url(file.name) in out
    assert "checksum: computed\n" in out
    assert "unpacked: about 130.0 kB, not known\n" in out
    assert out.endswith(f"target:   {tmp_path / 'got'}, in the end as ESC-50\n")
    assert server.asked == []
    assert not (tmp_path / "got").exists()
    status, out, _ = run_earmark("data", "fetch", "tiny", "--dry-run", "--mirror", "https://b.example/x/")
    assert "https://b.example/x/doc.zip" in out


@pytest.mark.parametrize("arguments", [(), ("--list",), ("ESC-50", "--list")])
def test_the_list(run_earmark: Run, arguments: tuple[str, ...]) -> None:
    status, out, err = run_earmark("data", "fetch", *arguments)
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[2:]] == list(catalog())
    assert "FSD50K         24.7 GB" in out


@pytest.mark.parametrize("name", catalog())
def test_every_entry_has_a_plan(run_earmark: Run, name: str) -> None:
    status, out, _ = run_earmark("data", "fetch", name, "--dry-run")
    assert status == 0
    assert license_note(catalog()[name]) in out


@pytest.mark.real_data
def test_real_weights_from_a_copy(run_earmark: Run, real_data: Path, tmp_path: Path) -> None:
    copies = real_data.parent / "models"
    status, out, _ = run_earmark("data", "fetch", "mn04_as", "--mirror", copies, "-o", tmp_path)
    path = tmp_path / "mn04_as_mAP_432.pt"
    assert (status, out) == (0, f"{path}\n")
    assert path.read_bytes() == (copies / path.name).read_bytes()


@pytest.mark.real_data
def test_a_real_collection_in_the_form_of_esc50s_archive(server: Loopback, real_data: Path, tmp_path: Path) -> None:
    """ESC-10's table and some of its clips, packed as GitHub packs ESC-50; the line breaks twice."""
    source = real_data / "esc10"
    names = ["meta/esc50.csv", *sorted(f"audio/{path.name}" for path in (source / "audio").iterdir())[:8]]
    packed = plain_zip({f"ESC-50-abc/{name}": (source / name).read_bytes() for name in names})
    entry = published(server, {"e.zip": packed}, archives=(ArchiveParts(("e.zip",), "ESC-50-abc"),))
    server.answers["e.zip"] = [breaks_off(len(packed) // 3), all_of_it(len(packed) // 2)]
    folder = fetch(entry, tmp_path / "esc", patience=HURRIED)
    for name in names:
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    assert len(read_collection(folder).clips) == len(read_collection(source).clips)
