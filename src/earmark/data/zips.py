"""ZIP archives, in one file or split over several, as `zip -s` and Zenodo's larger collections have them.

A split archive is one ZIP cut into pieces. What its directory says of places is "byte 100 of piece 3", which Python's
`zipfile` does not read; here the pieces are read as one stream and such places become places in it. The format is that
of PKWARE's APPNOTE.TXT 6.3: local headers (4.3.7), directory (4.3.12), its end (4.3.16), ZIP64 (4.3.14, 4.3.15, 4.5.3).
"""

from __future__ import annotations

import io
import stat
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType

from earmark.data.archives import COPY_SIZE, MEBIBYTE, Unpacking, read_chunks
from earmark.errors import ArchiveError

END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
END64_LOCATOR = struct.Struct("<4sLQL")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")

FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
"""What stands in a field whose value is in the ZIP64 extra field."""

LARGEST_DIRECTORY = 256 * MEBIBYTE
"""It is read at once; that of a million entries is far smaller."""

ENCRYPTED, STRONGLY_ENCRYPTED, UTF8 = 1 << 0, 1 << 6, 1 << 11
STORED, DEFLATED = 0, 8
ZIP64, UNICODE_PATH = 0x0001, 0x7075
"""Kinds of extra fields."""
UNIX_LIKE = (3, 19)
"""Systems whose upper half of the external attributes is a file mode: Unix, Darwin."""


@dataclass(frozen=True)
class ZipEntry:
    """One entry of the directory.

    Parameters
    ----------
    name
        As it stands there; a folder's ends in a slash.
    flags, method, crc, mode
        Its general purpose bits, its compression, its CRC-32, its file mode or 0.
    packed_size, size
        In bytes, in the archive and unpacked.
    offset
        Of its local header in the pieces read as one.
    """

    name: str
    flags: int
    method: int
    crc: int
    mode: int
    packed_size: int
    size: int
    offset: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/") or stat.S_ISDIR(self.mode)


class Pieces(io.RawIOBase):
    """Files read as one, opened all together.

    Parameters
    ----------
    paths
        In order.

    Attributes
    ----------
    starts
        Where each file begins, in bytes.
    size
        Of all files together.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        sizes = [path.stat().st_size for path in paths]
        self.starts = [0, *accumulate(sizes)][: len(sizes)]
        self.size = sum(sizes)
        self._position = 0
        with ExitStack() as opened:
            self._files = [opened.enter_context(path.open("rb")) for path in paths]
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close all files."""
        self._opened.close()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read on at a place, counted from the start (or the present place, or the end)."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read a number of bytes, across the borders of files; fewer only at the end."""
        wanted = self.size - self._position if size < 0 else size
        chunks = []
        while wanted > 0 and 0 <= self._position < self.size:
            piece = bisect_right(self.starts, self._position) - 1
            file = self._files[piece]
            file.seek(self._position - self.starts[piece])
            chunk = file.read(wanted)
            if not chunk:
                break
            self._position += len(chunk)
            wanted -= len(chunk)
            chunks.append(chunk)
        return b"".join(chunks)


class ZipReader:
    """A ZIP archive, in one piece or several; a context manager.

    Parameters
    ----------
    parts
        Its files in order, the one with the directory's end last.

    Attributes
    ----------
    entries
        In the order of the directory.

    Raises
    ------
    ArchiveError
        If a piece is missing, the directory is damaged, or entries overlap.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self.name = parts[-1].name
        self.n_parts = len(parts)
        self.pieces = Pieces(parts)
        try:
            self.entries, self._directory_start = self._read_directory()
            self._ends = self._check_overlap()
        except BaseException:
            self.pieces.close()
            raise

    def __enter__(self) -> ZipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pieces.close()

    def _damaged(self, what: str) -> ArchiveError:
        return ArchiveError(f"{self.name}: is damaged or not a ZIP archive: {what}; fetch it again")

    def _at(self, offset: int, size: int, what: str) -> bytes:
        """Bytes at a place, all of them."""
        if not 0 <= offset <= offset + size <= self.pieces.size:
            raise self._damaged(f"{what} lies beyond the end")
        self.pieces.seek(offset)
        return self.pieces.read(size)

    def _absolute(self, piece: int, offset: int, what: str) -> int:
        """A place in the pieces read as one."""
        if piece >= self.n_parts:
            raise self._damaged(f"{what} lies in piece {piece + 1} of {self.n_parts}")
        return self.pieces.starts[piece] + offset

    def _read_directory(self) -> tuple[list[ZipEntry], int]:
        n_entries, size, start, end = self._find_directory()
        if start + size > end or n_entries * CENTRAL.size > size or size > LARGEST_DIRECTORY:
            raise self._damaged(f"a directory of {n_entries:,} entries does not fit where it says that it lies")
        directory = memoryview(self._at(start, size, "the directory"))
        entries, position = [], 0
        for _ in range(n_entries):
            entry, position = self._read_entry(directory, position)
            entries.append(entry)
        if position != size:
            raise self._damaged(f"its directory has {size - position:,} bytes more than its {n_entries:,} entries")
        return entries, start

    def _find_directory(self) -> tuple[int, int, int, int]:
        """Number of entries, size, place of the directory, and where what follows it begins."""
        tail_start = max(0, self.pieces.size - END.size - FULL16)
        tail = self._at(tail_start, self.pieces.size - tail_start, "the end")
        at = _rfind_end(tail)
        if at < 0:
            raise self._damaged("the end of its directory is not there")
        _, piece, start_piece, _, n_entries, size, offset, _ = END.unpack_from(tail, at)
        end = tail_start + at
        locator = self._at(end - END64_LOCATOR.size, END64_LOCATOR.size, "") if end >= END64_LOCATOR.size else b""
        if locator.startswith(b"PK\6\7"):
            return self._find_directory64(locator)
        if piece != self.n_parts - 1:
            raise ArchiveError(f"{self.name}: was split into {piece + 1} pieces, got {self.n_parts}; give all of them")
        return n_entries, size, self._absolute(start_piece, offset, "its directory"), end

    def _find_directory64(self, locator: bytes) -> tuple[int, int, int, int]:
        _, piece, offset, n_pieces = END64_LOCATOR.unpack(locator)
        if n_pieces != self.n_parts:
            raise ArchiveError(f"{self.name}: was split into {n_pieces} pieces, got {self.n_parts}; give all of them")
        end = self._absolute(piece, offset, "its directory's end")
        record = self._at(end, END64.size, "its directory's end")
        signature, *_, start_piece, _, n_entries, size, offset = END64.unpack(record)
        if signature != b"PK\6\6":
            raise self._damaged("the ZIP64 end of its directory is not where it should be")
        return n_entries, size, self._absolute(start_piece, offset, "its directory"), end

    def _read_entry(self, directory: memoryview, position: int) -> tuple[ZipEntry, int]:
        if position + CENTRAL.size > len(directory):
            raise self._damaged("its directory ends within an entry")
        (signature, made_by, _, flags, method, _, _, crc, packed_size, size, n_name, n_extra, n_comment, piece, _, attr,
         offset) = CENTRAL.unpack_from(directory, position)  # fmt: skip
        if signature != b"PK\1\2":
            raise self._damaged("an entry of its directory does not begin as one")
        position += CENTRAL.size
        after = position + n_name + n_extra + n_comment
        if after > len(directory):
            raise self._damaged("its directory ends within an entry")
        extra = bytes(directory[position + n_name : position + n_name + n_extra])
        unix = made_by >> 8 in UNIX_LIKE
        name = _name(bytes(directory[position : position + n_name]), bool(flags & UTF8), unix, extra)
        wide = {"size": size, "packed_size": packed_size, "offset": offset, "piece": piece}
        size, packed_size, offset, piece = self._widen(name, wide, extra)
        mode = attr >> 16 if unix else 0
        where = self._absolute(piece, offset, f"entry {name!r}")
        return ZipEntry(name, flags, method, crc, mode, packed_size, size, where), after

    def _widen(self, name: str, fields: dict[str, int], extra: bytes) -> list[int]:
        """The fields, those that are full taken from the ZIP64 extra field, where they stand in this order."""
        full = {"piece": FULL16}
        missing = [key for key, value in fields.items() if value == full.get(key, FULL32)]
        if missing:
            content = _extra_field(extra, ZIP64)
            layout = struct.Struct("<" + "".join("L" if key == "piece" else "Q" for key in missing))
            if content is None or len(content) < layout.size:
                raise self._damaged(f"entry {name!r} has no ZIP64 sizes where it should")
            fields = fields | dict(zip(missing, layout.unpack_from(content), strict=True))
        return list(fields.values())

    def _check_overlap(self) -> dict[int, int]:
        """Where each entry must end, by where it begins: where the next one begins."""
        entries = sorted(self.entries, key=lambda entry: entry.offset)
        ends = [*(entry.offset for entry in entries[1:]), self._directory_start]
        for entry, end in zip(entries, ends, strict=True):
            if entry.offset + LOCAL.size + entry.packed_size > end:
                raise ArchiveError(f"{self.name}: entry {entry.name!r} overlaps what follows it; expected them apart")
        return {entry.offset: end for entry, end in zip(entries, ends, strict=True)}

    def read(self, entry: ZipEntry) -> Iterator[bytes]:
        """Unpack an entry chunk by chunk, holding its CRC-32 against the directory's at the end.

        Raises
        ------
        ArchiveError
            If it is damaged. Content longer than declared is given up to one chunk more.
        """
        header = self._at(entry.offset, LOCAL.size, f"entry {entry.name!r}")
        signature, *_, n_name, n_extra = LOCAL.unpack(header)
        start = entry.offset + LOCAL.size + n_name + n_extra
        if signature != b"PK\3\4" or start + entry.packed_size > self._ends[entry.offset]:
            raise self._damaged(f"entry {entry.name!r} is not where the directory says")
        self.pieces.seek(start)
        packed = read_chunks(self.pieces, entry.packed_size)
        crc, size = 0, 0
        try:
            for chunk in packed if entry.method == STORED else _inflate(packed):
                crc, size = zlib.crc32(chunk, crc), size + len(chunk)
                yield chunk
                if size > entry.size:
                    return
        except zlib.error as error:
            raise self._damaged(f"entry {entry.name!r} cannot be unpacked ({error})") from error
        if size == entry.size and crc != entry.crc:
            raise self._damaged(f"entry {entry.name!r} has the CRC {crc:08x}, expected {entry.crc:08x}")


def _rfind_end(tail: bytes) -> int:
    """Where the end of the directory begins; its comment reaches exactly to the end."""
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + END.size <= len(tail) and at + END.size + END.unpack_from(tail, at)[-1] == len(tail):
            return at
        at = tail.rfind(b"PK\5\6", 0, at)
    return -1


def _name(raw: bytes, flagged: bool, unix: bool, extra: bytes) -> str:
    """An entry's name: UTF-8 if a flag says so, Info-ZIP's field has it so (4.6.9), or Unix wrote it; else DOS's."""
    field = _extra_field(extra, UNICODE_PATH)
    if field and len(field) > 5 and field[:5] == struct.pack("<BL", 1, zlib.crc32(raw)):
        raw, flagged = field[5:], True
    try:
        return raw.decode("utf-8" if flagged or unix else "cp437")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _extra_field(extra: bytes, wanted: int) -> bytes | None:
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, position)
        if kind == wanted:
            return extra[position + 4 : position + 4 + size]
        position += 4 + size
    return None


def _inflate(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack a raw deflate stream, never more than `COPY_SIZE` bytes at once."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in packed:
        while chunk and not inflate.eof:
            yield inflate.decompress(chunk, COPY_SIZE)
            chunk = inflate.unconsumed_tail
    while not inflate.eof and (rest := inflate.decompress(b"", COPY_SIZE)):
        yield rest
    if not inflate.eof:
        raise zlib.error("the packed data end too early")


def unpack_zip(parts: Sequence[Path], into: Unpacking, *, strip: str = "") -> None:
    """Unpack a ZIP archive; see `earmark.data.archives.unpack`.

    Raises
    ------
    ArchiveError
        If it is damaged, encrypted, or packed otherwise than by deflate, or an entry has no place in the folder.
    """
    with ZipReader(parts) as archive:
        into.limits.check_ratio(archive.name, sum(entry.size for entry in archive.entries), archive.pieces.size)
        claimed = []
        for entry in archive.entries:
            _check_kind(archive.name, entry)
            path = into.claim(archive.name, entry.name, entry.size, is_folder=entry.is_folder, strip=strip)
            claimed.append((entry, path))
        for entry, path in claimed:
            if path is None:
                continue
            if entry.is_folder:
                path.mkdir(parents=True, exist_ok=True)
            else:
                into.write(archive.name, entry.name, path, archive.read(entry), entry.size)


def _check_kind(archive: str, entry: ZipEntry) -> None:
    kind = stat.S_IFMT(entry.mode)
    if entry.flags & (ENCRYPTED | STRONGLY_ENCRYPTED):
        raise ArchiveError(f"{archive}: entry {entry.name!r} is encrypted; expected plain content")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a symbolic link" if kind == stat.S_IFLNK else f"a special file (mode {entry.mode:o})"
        raise ArchiveError(f"{archive}: entry {entry.name!r} is {what}; expected plain files and folders")
    if entry.method not in (STORED, DEFLATED):
        raise ArchiveError(
            f"{archive}: entry {entry.name!r} is packed by method {entry.method}; expected 0 or 8 (deflate)"
        )
    if entry.is_folder and entry.size:
        raise ArchiveError(f"{archive}: entry {entry.name!r} is a folder with {entry.size:,} bytes; expected none")
