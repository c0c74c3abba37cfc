"""ZIP, split ZIP and tar: the good comes out byte for byte, the hostile is named and never leaves its folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.data.archives import Limits, Unpacking, safe_parts, unpack
from earmark.data.zips import Pieces, ZipReader
from earmark.errors import ArchiveError

from .packing import DEVICE, SYMLINK, Member, plain_zip, split_zip, tar, tar_entry

CONTENTS = {
    "top/noise.wav": random.Random(0).randbytes(20_000),
    "top/sub/silence.wav": bytes(50_000),
    "top/empty.txt": b"",
    "top/größe.txt": b"hello",
}


@pytest.fixture
def into(tmp_path: Path) -> Unpacking:
    return Unpacking(tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_members(files: dict[str, bytes] = CONTENTS, **more: bool) -> list[Member]:
    return [Member("top/"), *(Member(name, content, **more) for name, content in files.items())]


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("piece_size", [None, 300, 1000, 4096])
def test_a_zip_in_any_number_of_pieces(into: Unpacking, tmp_path: Path, piece_size: int | None, zip64: bool) -> None:
    parts = split_zip(tmp_path, as_members(zip64=zip64), piece_size)
    assert (len(parts) > 4) == (piece_size is not None)
    unpack(parts, into)
    assert contents(into.folder) == CONTENTS
    assert into.written == {name: len(content) for name, content in CONTENTS.items()}


def test_zipfile_reads_the_tests_own_zips(tmp_path: Path) -> None:
    for wide in (False, True):
        (path,) = split_zip(tmp_path, as_members(zip64=wide))
        with zipfile.ZipFile(path) as archive:
            assert {name: archive.read(name) for name in CONTENTS} == CONTENTS


@pytest.mark.skipif(shutil.which("zip") is None, reason="there is no Info-ZIP here")
def test_a_zip_split_by_info_zip(into: Unpacking, tmp_path: Path) -> None:
    for name, content in CONTENTS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(50_000) + content)
    subprocess.run(["zip", "-q", "-r", "-s", "64k", "a.zip", "top"], cwd=tmp_path, check=True)
    parts = [*sorted(tmp_path.glob("a.z[0-9]*")), tmp_path / "a.zip"]
    assert len(parts) == 4
    unpack(parts, into)
    assert contents(into.folder / "top") == contents(tmp_path / "top")


def test_a_zip_by_python(into: Unpacking, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(plain_zip(CONTENTS))
    unpack([path], into, strip="top")
    assert contents(into.folder) == {name.removeprefix("top/"): content for name, content in CONTENTS.items()}


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz"])
def test_a_tar(into: Unpacking, tmp_path: Path, suffix: str) -> None:
    folder = tar_entry("./top", kind=tarfile.DIRTYPE)
    path = tmp_path / f"a.{suffix}"
    entries = [folder, *(tar_entry(f"./{name}", content) for name, content in CONTENTS.items())]
    path.write_bytes(tar(entries, "w" if suffix == "tar" else "w:gz"))
    unpack([path], into, strip="top")
    assert contents(into.folder) == {name.removeprefix("top/"): content for name, content in CONTENTS.items()}


def test_modes_are_not_taken_over(into: Unpacking, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar([tar_entry("tool", b"#!", mode=0o6777)], "w"))
    unpack([path], into)
    assert (into.folder / "tool").stat().st_mode & 0o7111 == 0


def test_several_archives_into_one_folder(into: Unpacking, tmp_path: Path) -> None:
    for name in ("a", "b"):
        unpack(split_zip(tmp_path, [Member("audio/"), Member(f"audio/{name}.wav", b"x")], name=name), into)
    assert sorted(contents(into.folder)) == ["audio/a.wav", "audio/b.wav"]
    with pytest.raises(ArchiveError, match=r"c\.zip: entry 'audio/a\.wav' has the place of 'audio/a\.wav'"):
        unpack(split_zip(tmp_path, [Member("audio/a.wav", b"x")], name="c"), into)


def test_bytes_are_reported(tmp_path: Path) -> None:
    seen: list[int] = []
    unpack(split_zip(tmp_path, as_members()), Unpacking(tmp_path / "out", on_bytes=seen.append))
    assert sum(seen) == sum(map(len, CONTENTS.values()))


UNICODE_PATH = struct.pack("<HHBL", 0x7075, 5 + 6, 1, zlib.crc32(b"gr\x94.txt")) + "grö.x".encode()


@pytest.mark.parametrize(
    ("raw", "system", "extra", "name"),
    [
        (b"gr\x94.txt", 0, b"", "grö.txt"),  # as DOS writes it
        ("grö.txt".encode(), 3, b"", "grö.txt"),  # as Unix does
        (b"gr\x94.txt", 3, b"", "grö.txt"),
        (b"gr\x94.txt", 0, UNICODE_PATH, "grö.x"),  # Info-ZIP's field, which is of this name
        (b"GR\x94.txt", 0, UNICODE_PATH, "GRö.txt"),  # and which is of another
        (b"a\xff", 3, b"", "a\u00a0"),
    ],
)
def test_names_in_three_alphabets(tmp_path: Path, raw: bytes, system: int, extra: bytes, name: str) -> None:
    parts = split_zip(tmp_path, [Member("", b"x", raw_name=raw, system=system, extra=extra)])
    with ZipReader(parts) as archive:
        assert [entry.name for entry in archive.entries] == [name]


HOSTILE_NAMES = {
    "/etc/passwd": "is an absolute path",
    "../evil.wav": "leads out of its folder by '..'",
    "a/../../evil.wav": "leads out of its folder by '..'",
    "C:evil.wav": "names a drive",
    "c:/evil.wav": "names a drive",
    "a\\..\\evil.wav": "has a backslash",
    "a\nb.wav": "has characters that cannot be printed",
    "a\x1b[2J.wav": "has characters that cannot be printed",
    "a\u202evaw.exe": "has characters that cannot be printed",
    "x" * 256: "has a part of more than 255 bytes",
}


@pytest.mark.parametrize(("name", "fault"), HOSTILE_NAMES.items())
@pytest.mark.parametrize("pack", ["zip", "tar"])
def test_a_hostile_name(tmp_path: Path, into: Unpacking, pack: str, name: str, fault: str) -> None:
    path = tmp_path / f"a.{pack}"
    if pack == "zip":
        split_zip(tmp_path, [Member("good.wav", b"good"), Member(name, b"evil")])
    else:
        path.write_bytes(tar([tar_entry("good.wav", b"good"), tar_entry(name, b"evil")], "w"))
    before = {file for file in tmp_path.rglob("*") if into.folder not in file.parents}
    with pytest.raises(ArchiveError) as caught:
        unpack([path], into)
    said = f"a.{pack}: entry {name!r} {fault}; expected a path inside the archive; nothing of it is kept"
    assert str(caught.value) == said
    after = {file for file in tmp_path.rglob("*") if into.folder not in file.parents}
    assert after - before <= {into.folder}
    assert not any(b"evil" in content for content in contents(into.folder).values())


def test_nul_and_no_name() -> None:
    with pytest.raises(ArchiveError, match=r"entry 'a\\x00b' has characters that cannot be printed"):
        safe_parts("a.zip", "a\0b")
    with pytest.raises(ArchiveError, match="entry '' has no name"):
        safe_parts("a.zip", "")
    assert safe_parts("a.zip", "./a//b/./c.wav") == ("a", "b", "c.wav")
    assert safe_parts("a.zip", "./") == ()


PLACES_TAKEN = {
    "twice": ("a.wav", "a.wav", "a.wav"),
    "in another case": ("A.wav", "a.WAV", "A.wav"),
    "composed otherwise": ("\u00e4.wav", "a\u0308.wav", "\u00e4.wav"),
    "folder in another case": ("Audio/1.wav", "audio/2.wav", "Audio/"),
    "file as a folder": ("a", "a/b.wav", "a"),
    "folder as a file": ("a/b.wav", "a", "a/"),
}


@pytest.mark.parametrize(("first", "second", "place"), PLACES_TAKEN.values(), ids=PLACES_TAKEN)
def test_two_entries_in_one_place(tmp_path: Path, into: Unpacking, first: str, second: str, place: str) -> None:
    parts = split_zip(tmp_path, [Member(first, b"1"), Member(second, b"2")])
    with pytest.raises(ArchiveError) as caught:
        unpack(parts, into)
    assert str(caught.value) == f"a.zip: entry {second!r} has the place of {place!r}; expected each name once"
    assert not into.folder.exists()


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (Member("l", b"/etc/passwd", mode=SYMLINK), "entry 'l' is a symbolic link; expected plain files and folders"),
        (Member("d", mode=DEVICE), r"entry 'd' is a special file \(mode 20600\); expected plain files and folders"),
        (Member("e", b"x", flags=1), "entry 'e' is encrypted; expected plain content"),
        (Member("e", b"x", flags=1 << 6), "entry 'e' is encrypted; expected plain content"),
        (Member("m", b"x", method=14), r"entry 'm' is packed by method 14; expected 0 or 8 \(deflate\)"),
        (Member("f/", b"x"), "entry 'f/' is a folder with 1 bytes; expected none"),
        (Member("c", b"x" * 9, crc=1), "entry 'c' has the CRC [0-9a-f]{8}, expected 00000001; fetch it again"),
        (Member("s", b"x" * 9, size=8), "entry 's' holds more than 8 bytes, but declares 8; the archive is damaged or"),
        (Member("s", b"x" * 9, size=10), "entry 's' holds 9 bytes, but declares 10; the archive is damaged or made"),
        (Member("p", b"x" * 9, offset=1), "entry 'p' is not where the directory says; fetch it again"),
    ],
)
@pytest.mark.parametrize("zip64", [False, True])
def test_an_entry_of_a_zip_that_is_refused(
    tmp_path: Path, into: Unpacking, member: Member, said: str, zip64: bool
) -> None:
    member.zip64 = zip64
    with pytest.raises(ArchiveError, match=rf"^a\.zip: (is damaged or not a ZIP archive: )?{said}"):
        unpack(split_zip(tmp_path, [member, Member("after", bytes(99))]), into)


KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    b"Z": "of the unknown type b'Z'",
}


@pytest.mark.parametrize(("kind", "what"), KINDS.items())
def test_an_entry_of_a_tar_that_is_no_file(tmp_path: Path, into: Unpacking, kind: bytes, what: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar([tar_entry("good", b"good"), tar_entry("x", b"", kind, "good")], "w"))
    with pytest.raises(ArchiveError, match=f"^a.tar: entry 'x' is {what}; expected plain files and folders$"):
        unpack([path], into)


def test_a_link_and_then_a_file_through_it(tmp_path: Path, into: Unpacking) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tar([tar_entry("l", b"", tarfile.SYMTYPE, str(outside)), tar_entry("l/evil", b"evil")]))
    with pytest.raises(ArchiveError, match="entry 'l' is a symbolic link"):
        unpack([path], into)
    assert list(outside.iterdir()) == []


def test_a_sparse_file(tmp_path: Path, into: Unpacking) -> None:
    entry, _ = tar_entry("s")
    entry.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,0", "GNU.sparse.size": str(10**12)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry)
    path = tmp_path / "a.tar"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ArchiveError, match="entry 's' is a sparse file; expected plain files and folders"):
        unpack([path], into)


def test_a_header_that_would_fill_the_memory(tmp_path: Path, into: Unpacking) -> None:
    entry, _ = tar_entry("././@LongLink", kind=tarfile.GNUTYPE_LONGNAME)
    entry.size = 1 << 40
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    with pytest.raises(ArchiveError, match=r"a header of 1,099,511,627,776 bytes; expected no more than 4,194,304"):
        unpack([path], into)


@pytest.mark.parametrize("pack", ["zip", "tar.gz"])
def test_a_bomb_by_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str) -> None:
    path = tmp_path / f"a.{pack}"
    half = bytes(1 << 19)
    if pack == "zip":
        split_zip(tmp_path, [Member(str(number), half) for number in range(3)])
    else:
        path.write_bytes(tar([tar_entry(str(number), half) for number in range(3)]))
    unpack([path], Unpacking(tmp_path / "small"))  # a silent recording does this
    monkeypatch.setattr("earmark.data.archives.RATIO_COUNTS_FROM", 1 << 20)
    said = (
        rf"^a\.{pack}: [0-9,]+ bytes unpack to 1,572,864, more than 200 times as many; this may be an archive made to"
    )
    with pytest.raises(ArchiveError, match=said):
        unpack([path], Unpacking(tmp_path / "large"))


@pytest.mark.parametrize("pack", ["zip", "tar"])
def test_a_bomb_by_size_and_number(tmp_path: Path, pack: str) -> None:
    path = tmp_path / f"a.{pack}"
    if pack == "zip":
        split_zip(tmp_path, [Member("1", bytes(60)), Member("2", bytes(60))])
    else:
        path.write_bytes(tar([tar_entry("1", bytes(60)), tar_entry("2", bytes(60))], "w"))
    with pytest.raises(
        ArchiveError,
        match=r"with entry '2' its files have 120 bytes; expected no more than 100, this may be an archive",
    ):
        unpack([path], Unpacking(tmp_path / "a", Limits(total_size=100)))
    with pytest.raises(ArchiveError, match=r"more than 1 entries, at entry '2'"):
        unpack([path], Unpacking(tmp_path / "b", Limits(n_entries=1)))
    unpack([path], Unpacking(tmp_path / "c", Limits(total_size=120, n_entries=2)))


def test_a_zip_that_unpacks_to_more_than_it_declares_stops_there(tmp_path: Path, into: Unpacking) -> None:
    parts = split_zip(tmp_path, [Member("bomb", bytes(50 << 20), size=10)])
    with pytest.raises(ArchiveError, match="entry 'bomb' holds more than 10 bytes, but declares 10"):
        unpack(parts, into)
    assert (into.folder / "bomb").stat().st_size == 0


def test_overlapping_entries(tmp_path: Path, into: Unpacking) -> None:
    parts = split_zip(tmp_path, [Member("a", b"x" * 500, method=0), Member("b", b"x" * 400, method=0, offset=0)])
    with pytest.raises(ArchiveError, match=r"entry 'a' overlaps what follows it; expected them apart"):
        unpack(parts, into)


def test_an_entry_outside_what_strip_takes_off(tmp_path: Path, into: Unpacking) -> None:
    parts = split_zip(tmp_path, [Member("top/a", b"1"), Member("topical/b", b"2")])
    with pytest.raises(ArchiveError, match="entry 'topical/b' does not lie in 'top'; expected all entries there"):
        unpack(parts, into, strip="top")
    with pytest.raises(ArchiveError, match="entry 'top' is a file, expected a folder"):
        unpack(split_zip(tmp_path, [Member("top", b"1")]), Unpacking(tmp_path / "b"), strip="top")


def test_pieces_that_are_missing_or_damaged(tmp_path: Path, into: Unpacking) -> None:
    for wide in (False, True):
        parts = split_zip(tmp_path, as_members(zip64=wide), 4096)
        n = len(parts)
        with pytest.raises(ArchiveError, match=rf"a\.zip: was split into {n} pieces, got 1; give all of them"):
            unpack(parts[-1:], into)
        with pytest.raises(ArchiveError, match=rf"was split into {n} pieces, got {n - 1}; give all of them"):
            unpack(parts[1:], into)
    with pytest.raises(ArchiveError, match=r"^a\.zip: "):
        unpack([parts[1], parts[0], *parts[2:]], into)
    parts[1].write_bytes(parts[1].read_bytes()[:-1])
    with pytest.raises(ArchiveError, match=r"is damaged or not a ZIP archive|overlaps what follows"):
        unpack(parts, Unpacking(tmp_path / "b"))


def damaged_zip(change: Callable[[bytearray], object], tmp_path: Path) -> list[Path]:
    (path,) = split_zip(tmp_path, [Member("a", b"hello" * 99), Member("b", b"x")])
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return [path]


def put(at: int, value: bytes) -> Callable[[bytearray], object]:
    def change(content: bytearray) -> None:
        place = at % len(content)
        content[place : place + len(value)] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.clear(), "the end of its directory is not there"),
        (put(-22, b"XXXX"), "the end of its directory is not there"),
        (put(-10, b"\xff\xff"), "a directory of 2 entries does not fit where it says that it lies"),
        (put(-10, b"\x20"), "a directory of 2 entries does not fit where it says that it lies"),
        (put(-12, b"\3\0"), "a directory of 3 entries does not fit where it says that it lies"),
        (put(-12, b"\1\0"), "its directory has 47 bytes more than its 1 entries"),
        (put(-22 - 94, b"XXXX"), "an entry of its directory does not begin as one"),
        (put(-22 - 94 + 28, b"\xff"), "its directory ends within an entry"),
        (put(-22 - 94 + 34, b"\7"), "entry 'a' lies in piece 8 of 1"),
        (put(-22 - 94 + 20, b"\xff\xff\xff\xff"), "entry 'a' has no ZIP64 sizes where it should"),
        (put(0, b"XX"), "entry 'a' is not where the directory says"),
        (put(31, b"\xff\xff\xff"), r"entry 'a' cannot be unpacked \(Error -3 while decompressing data"),
    ],
)
def test_a_damaged_zip(tmp_path: Path, into: Unpacking, change: Callable[[bytearray], object], said: str) -> None:
    parts = damaged_zip(change, tmp_path)
    with pytest.raises(ArchiveError, match=rf"^a\.zip: is damaged or not a ZIP archive: {said}"):
        unpack(parts, into)


def test_no_damage_to_a_zip_goes_unseen(tmp_path: Path) -> None:
    """Each byte of a small ZIP in turn is changed: it unpacks to the same, or is refused; never to something else."""
    (path,) = split_zip(tmp_path, [Member("a", b"hello" * 9), Member("b", b"xyz", method=0)])
    whole = path.read_bytes()
    n_refused = 0
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0xFF
        path.write_bytes(changed)
        into = Unpacking(tmp_path / f"out{at}")
        try:
            unpack([path], into)
        except ArchiveError:
            n_refused += 1
            continue
        assert sorted(contents(into.folder).values()) == [b"hello" * 9, b"xyz"]
    assert n_refused > 100


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:],
        lambda whole: b"no archive at all",
        lambda whole: b"",
        lambda whole: gzip.compress(gzip.decompress(whole)[:700]),
        lambda whole: gzip.compress(gzip.decompress(whole)[:1536]),
        lambda whole: gzip.compress(gzip.decompress(whole)[:1024] + b"X" * 512 + gzip.decompress(whole)[1024:]),
    ],
)
def test_a_damaged_tar(tmp_path: Path, into: Unpacking, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.tar.gz"
    noise = random.Random(1).randbytes(300)
    path.write_bytes(change(tar([tar_entry("a", noise), tar_entry("b", b"x")])))
    with pytest.raises(ArchiveError, match=r"^a\.tar\.gz: is damaged or no such archive: .*; fetch it again"):
        unpack([path], into)


def test_what_is_no_archive(tmp_path: Path, into: Unpacking) -> None:
    with pytest.raises(ArchiveError, match=r"a\.rar: is no archive that can be unpacked; expected \.zip, \.tar, \.tar"):
        unpack([tmp_path / "a.rar"], into)


def test_pieces_read_as_one(tmp_path: Path) -> None:
    whole = random.Random(2).randbytes(1000)
    paths = [tmp_path / str(number) for number in range(4)]
    for path, (start, end) in zip(paths, [(0, 300), (300, 300), (300, 301), (301, 1000)], strict=True):
        path.write_bytes(whole[start:end])
    with Pieces(paths) as pieces:
        assert pieces.readable()
        assert pieces.seekable()
        assert pieces.read() == whole
        assert pieces.read(5) == b""
        for start, size in ((0, 1), (299, 3), (300, 1), (999, 5), (100, 600)):
            assert pieces.seek(start) == start == pieces.tell()
            assert pieces.read(size) == whole[start : start + size]
        pieces.seek(-3, io.SEEK_END)
        pieces.seek(1, io.SEEK_CUR)
        assert pieces.read(9) == whole[-2:]


def test_reading_needs_little_memory(tmp_path: Path) -> None:
    parts = split_zip(tmp_path, [Member("a", bytes(30 << 20))])
    with ZipReader(parts) as archive:
        (entry,) = archive.entries
        digest = hashlib.sha256()
        for chunk in archive.read(entry):
            assert len(chunk) <= 1 << 20
            digest.update(chunk)
    assert digest.digest() == hashlib.sha256(bytes(30 << 20)).digest()
