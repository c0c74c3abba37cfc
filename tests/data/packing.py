"""Archives made by hand: split ZIPs as `zip -s` makes them, and damaged or hostile ones."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Member:
    """An entry of a ZIP; fields left out are as they should be."""

    name: str
    content: bytes = b""
    mode: int = 0
    method: int | None = None
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    zip64: bool = False
    offset: int | None = None
    raw_name: bytes | None = None
    extra: bytes = b""
    system: int = 3


def split_zip(folder: Path, members: Sequence[Member], piece_size: int | None = None, name: str = "a") -> list[Path]:
    """Write a ZIP in pieces of at most `piece_size` bytes (local headers stay whole), and give them in order."""
    pieces = [bytearray(b"PK\7\x08" if piece_size else b"")]

    def add(data: bytes, *, undivided: bool) -> tuple[int, int]:
        if piece_size and undivided and len(pieces[-1]) + len(data) > piece_size:
            pieces.append(bytearray())
        place = len(pieces) - 1, len(pieces[-1])
        while data:
            room = piece_size - len(pieces[-1]) if piece_size else len(data)
            pieces[-1] += data[:room]
            data = data[room:]
            if data:
                pieces.append(bytearray())
        return place

    central = []
    for member in members:
        encoded = member.name.encode() if member.raw_name is None else member.raw_name
        method = member.method if member.method is not None else (8 if member.content else 0)
        packed = zlib.compress(member.content, wbits=-15) if method == 8 else member.content
        crc = zlib.crc32(member.content) if member.crc is None else member.crc
        size = len(member.content) if member.size is None else member.size
        flags = member.flags | (1 << 11 if member.raw_name is None else 0)
        local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, method, 0, 33, crc, len(packed), size, len(encoded), 0)
        piece, offset = add(local + encoded, undivided=True)
        add(packed, undivided=False)
        offset = offset if member.offset is None else member.offset
        fields, extra = (len(packed), size, offset, piece), member.extra
        if member.zip64:
            extra += struct.pack("<2H", 1, 28) + struct.pack("<QQQL", size, len(packed), offset, piece)
            fields = (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFF)
        made_by = (member.system << 8) | 20
        central.append(
            struct.pack(
                "<4s6H3L5H2L", b"PK\1\2", made_by, 20, flags, method, 0, 33, crc, fields[0], fields[1],
                len(encoded), len(extra), 0, fields[3], 0, member.mode << 16, fields[2],
            )
            + encoded
            + extra
        )  # fmt: skip
    places = [add(entry, undivided=True) for entry in central]
    directory = b"".join(central)
    start_piece, start = places[0] if places else (len(pieces) - 1, len(pieces[-1]))
    _add_end(pieces, add, len(members), len(directory), start_piece, start, any(one.zip64 for one in members))
    return _write(folder, name, pieces)


def _add_end(
    pieces: list[bytearray], add: Callable[..., tuple[int, int]], n: int, size: int, piece: int, start: int, wide: bool
) -> None:
    if wide:
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, len(pieces) - 1, piece, n, n, size, start)
        at_piece, at = add(record, undivided=True)
        last = len(pieces) - 1
        add(struct.pack("<4sLQL", b"PK\6\7", at_piece, at, last + 1), undivided=True)
        assert len(pieces) - 1 == last, "choose another size of the pieces"
        n, size, start, piece = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFF
    end = struct.pack("<4s4H2LH", b"PK\5\6", len(pieces) - 1, piece, n, n, size, start, 0)
    before = len(pieces)
    add(end, undivided=True)
    assert len(pieces) == before, "choose another size of the pieces"


def _write(folder: Path, name: str, pieces: Sequence[bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.z{number:02d}" for number in range(1, len(pieces))] + [folder / f"{name}.zip"]
    for path, content in zip(paths, pieces, strict=True):
        path.write_bytes(content)
    return paths


def plain_zip(files: dict[str, bytes]) -> bytes:
    """A ZIP by Python's own library."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tar_entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644):
    """A header and its content."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname, entry.mode = len(content), kind, link, mode
    return entry, content


def tar(entries: Sequence[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> bytes:
    """A tar archive of such entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for entry, content in entries:
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


SYMLINK = stat.S_IFLNK | 0o777
DEVICE = stat.S_IFCHR | 0o600
