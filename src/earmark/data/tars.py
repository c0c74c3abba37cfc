"""Tar archives, plain and gzipped."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from earmark.data.archives import MEBIBYTE, Unpacking, damage_is_named, read_chunks
from earmark.errors import ArchiveError

LARGEST_HEADER = 4 * MEBIBYTE
"""`tarfile` reads a long name or a PAX header at once; a larger one is there to fill the memory."""

DAMAGE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


class _SmallReads:
    """A stream that refuses to read much at once and keeps what it read last; content is copied in smaller chunks."""

    def __init__(self, stream: BinaryIO, archive: str) -> None:
        self.stream, self.archive = stream, archive
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_HEADER:
            raise ArchiveError(f"{self.archive}: a header of {size:,} bytes; expected no more than {LARGEST_HEADER:,}")
        self.last = self.stream.read(size)
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()


def unpack_tar(path: Path, into: Unpacking, *, strip: str = "") -> None:
    """Unpack a tar archive; see `earmark.data.archives.unpack`.

    Raises
    ------
    ArchiveError
        If it is damaged, or an entry is a link, a device, a pipe or sparse, or has no place in the folder.
    """
    with damage_is_named(path.name, DAMAGE), ExitStack() as opened:
        stream = cast("BinaryIO", opened.enter_context(path.open("rb")))
        if path.name.endswith("gz"):
            stream = cast("BinaryIO", opened.enter_context(gzip.GzipFile(fileobj=stream)))
        small = _SmallReads(stream, path.name)
        with tarfile.open(fileobj=cast("BinaryIO", small), mode="r:", encoding="utf-8") as archive:
            _unpack_entries(archive, path, into, strip)
        if small.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes damage in the middle for the end
            raise tarfile.ReadError("it ends without the block of zeros that ends a tar archive")
        for _ in read_chunks(stream, into.limits.total_size):  # gzip's own checksum stands at its end
            pass


def _unpack_entries(archive: tarfile.TarFile, path: Path, into: Unpacking, strip: str) -> None:
    total_size, archive_size = 0, path.stat().st_size
    for entry in archive:
        _check_kind(path.name, entry)
        destination = into.claim(path.name, entry.name, entry.size, is_folder=entry.isdir(), strip=strip)
        _check_with_tarfile(path.name, entry, into.folder)
        total_size += entry.size
        into.limits.check_ratio(path.name, total_size, archive_size)
        if destination is None:
            continue
        if entry.isdir():
            destination.mkdir(parents=True, exist_ok=True)
            continue
        content = archive.extractfile(entry)
        assert content is not None  # a plain file has content
        with content:
            chunks = read_chunks(cast("BinaryIO", content), entry.size)
            into.write(path.name, entry.name, destination, chunks, entry.size)


def _check_kind(archive: str, entry: tarfile.TarInfo) -> None:
    kinds = {
        "a symbolic link": entry.issym(),
        "a hard link": entry.islnk(),
        "a device": entry.ischr() or entry.isblk(),
        "a pipe": entry.isfifo(),
        "a sparse file": entry.issparse(),
    }
    found = [kind for kind, holds in kinds.items() if holds]
    if not found and not (entry.isreg() or entry.isdir()):
        found = [f"of the unknown type {entry.type!r}"]
    if found:
        raise ArchiveError(f"{archive}: entry {entry.name!r} is {found[0]}; expected plain files and folders")


def _check_with_tarfile(archive: str, entry: tarfile.TarInfo, folder: Path) -> None:
    """A second opinion: the filter of Python's own library, where this Python has it (3.11.4 and later)."""
    data_filter = getattr(tarfile, "data_filter", None)
    if data_filter is None:
        return
    try:
        data_filter(entry, str(folder))
    except tarfile.TarError as error:
        raise ArchiveError(f"{archive}: entry {entry.name!r} is refused: {error}") from error
