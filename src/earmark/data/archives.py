"""Unpacking archives that nobody vouches for: ZIP, split ZIP and tar, never outside one folder, never without end."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from earmark.errors import ArchiveError

MEBIBYTE = 1 << 20
COPY_SIZE = MEBIBYTE
"""Bytes that are held in memory at once."""

RATIO_COUNTS_FROM = 100 * MEBIBYTE


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


@dataclass(frozen=True)
class Limits:
    """What an archive may ask for before it is taken for a bomb.

    Parameters
    ----------
    total_size
        Bytes of all entries together, of all archives that are unpacked into the same folder.
    ratio
        How many times larger the entries of one archive may be than the archive. It counts only beyond
        `RATIO_COUNTS_FROM`: a minute of digital silence packs a thousand to one, and recordings do contain it.
    n_entries
        Files and folders, of all archives together.
    """

    total_size: int = 1 << 40
    ratio: int = 200
    n_entries: int = 200_000

    def check_ratio(self, archive: str, size: int, packed_size: int) -> None:
        """Make sure that an archive of `packed_size` bytes does not unpack to far more than its own size.

        Raises
        ------
        ArchiveError
            If `size` is more than `ratio` times that.
        """
        if size > RATIO_COUNTS_FROM and size > self.ratio * packed_size:
            raise ArchiveError(
                f"{archive}: {packed_size:,} bytes unpack to {size:,}, more than {self.ratio} times as many; "
                "this may be an archive made to fill the disk"
            )


@dataclass
class Unpacking:
    """A folder that archives are unpacked into: where each entry goes, and what has been written.

    Parameters
    ----------
    folder
        It must be new: nothing in it may be a link that leads out of it.
    limits
        See `Limits`.
    on_bytes
        Called with the number of bytes that were written.

    Attributes
    ----------
    written
        Size of each file in bytes, by its path in the folder, with slashes.
    """

    folder: Path
    limits: Limits = field(default_factory=Limits)
    on_bytes: Callable[[int], object] = lambda n_bytes: None
    written: dict[str, int] = field(default_factory=dict, init=False)
    _spelled: dict[str, str] = field(default_factory=dict, init=False)
    _total_size: int = field(default=0, init=False)
    _n_entries: int = field(default=0, init=False)

    def claim(self, archive: str, name: str, size: int, *, is_folder: bool, strip: str = "") -> Path | None:
        """Check an entry's name and size, and give the path that it goes to.

        Parameters
        ----------
        archive
            The archive's name, for messages.
        name
            As it stands in the archive.
        size
            In bytes, as the archive declares it.
        is_folder
            Whether the entry is a folder.
        strip
            Folder that is taken off the path; every entry must lie in it.

        Returns
        -------
        Path or None
            `None` for a folder that is the unpacking's own.

        Raises
        ------
        ArchiveError
            If the name leads out of the folder, is not plain text, or is taken, or a limit is exceeded.
        """
        parts = _strip(archive, name, safe_parts(archive, name), strip)
        self._count(archive, name, size)
        if not parts:
            if is_folder:
                return None
            raise ArchiveError(f"{archive}: entry {name!r} is a file, expected a folder")
        self._take_place(archive, name, parts, is_folder=is_folder)
        return self.folder.joinpath(*parts)

    def _count(self, archive: str, name: str, size: int) -> None:
        self._n_entries += 1
        self._total_size += size
        if self._n_entries > self.limits.n_entries:
            raise ArchiveError(f"{archive}: more than {self.limits.n_entries:,} entries, at entry {name!r}")
        if self._total_size > self.limits.total_size:
            raise ArchiveError(
                f"{archive}: with entry {name!r} its files have {self._total_size:,} bytes; "
                f"expected no more than {self.limits.total_size:,}, this may be an archive made to fill the disk"
            )

    def _take_place(self, archive: str, name: str, parts: tuple[str, ...], *, is_folder: bool) -> None:
        """Note the path and the folders above it; names that differ only in case are one name on many machines."""
        for end in range(1, len(parts) + 1):
            path = "/".join(parts[:end])
            folded = unicodedata.normalize("NFC", path).casefold()
            kind = "/" if end < len(parts) or is_folder else ""
            known = self._spelled.setdefault(folded, path + kind)
            new = known == path + kind and (kind or path not in self.written)
            if not new:
                raise ArchiveError(f"{archive}: entry {name!r} has the place of {known!r}; expected each name once")
        if not is_folder:
            self.written["/".join(parts)] = 0

    def write(self, archive: str, name: str, path: Path, chunks: Iterable[bytes], size: int) -> None:
        """Write a file that must not exist yet, and hold its size against what was declared.

        Parameters
        ----------
        archive, name
            For messages.
        path
            As `claim` gave it.
        chunks
            The content; it is not read any further when it turns out longer than declared.
        size
            In bytes, as the archive declares it.

        Raises
        ------
        ArchiveError
            If the content is longer or shorter than that.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with path.open("xb") as file:
            for chunk in chunks:
                written += len(chunk)
                if written > size:
                    break
                file.write(chunk)
                self.on_bytes(len(chunk))
        if written != size:
            more = "more than " if written > size else ""
            raise ArchiveError(
                f"{archive}: entry {name!r} holds {more}{min(written, size):,} bytes, but declares {size:,}; "
                "the archive is damaged or made to deceive"
            )
        self.written[path.relative_to(self.folder).as_posix()] = size


def safe_parts(archive: str, name: str) -> tuple[str, ...]:
    """Split an entry's name into the parts of a path that stays below where it starts.

    Parameters
    ----------
    archive
        The archive's name, for messages.
    name
        As it stands in the archive.

    Returns
    -------
    tuple of str
        Without ``.`` and empty parts; empty for the folder itself.

    Raises
    ------
    ArchiveError
        If the name is empty or absolute, names a drive, has a backslash or a part ``..``, holds what cannot be printed
        (NUL, control characters, marks that turn the reading direction), or a part is longer than 255 bytes.

    Examples
    --------
    >>> safe_parts("a.zip", "./audio//1.wav")
    ('audio', '1.wav')
    """
    wrong = _what_is_wrong(name)
    if wrong:
        raise ArchiveError(
            f"{archive}: entry {name!r} {wrong}; expected a path inside the archive; nothing of it is kept"
        )
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _what_is_wrong(name: str) -> str | None:
    """What makes a name unfit, in words; `None` when it is fit."""
    parts = name.split("/")
    faults = {
        "has no name": not name,
        "has characters that cannot be printed": not name.isprintable(),
        "has a backslash": "\\" in name,
        "is an absolute path": name.startswith("/"),
        "names a drive": bool(re.match(r"[A-Za-z]:", name)),
        "leads out of its folder by '..'": ".." in parts,
        "has a part of more than 255 bytes": any(len(part.encode("utf-8", "replace")) > 255 for part in parts),
    }
    return next((fault for fault, holds in faults.items() if holds), None)


def _strip(archive: str, name: str, parts: tuple[str, ...], strip: str) -> tuple[str, ...]:
    top = tuple(strip.split("/")) if strip else ()
    if parts[: len(top)] != top:
        raise ArchiveError(f"{archive}: entry {name!r} does not lie in {strip!r}; expected all entries there")
    return parts[len(top) :]


def unpack(parts: Sequence[Path], into: Unpacking, *, strip: str = "") -> None:
    """Unpack an archive.

    Every file is written anew with the user's own permissions; what the archive says of owners, modes and times is not
    taken over. All entries of a ZIP are checked before the first is written, those of a tar as they come.

    Parameters
    ----------
    parts
        The file, or the files of a split ZIP in order, its ``.zip`` last.
    into
        Where to; see `Unpacking`. What was written before an error stays there.
    strip
        Folder that all entries lie in and that is taken off their paths.

    Raises
    ------
    ArchiveError
        If the archive is damaged, encrypted or packed in a way that is not known, or an entry is not a plain file or
        folder with a name of its own inside the folder; the entry is named.
    """
    from earmark.data.tars import unpack_tar
    from earmark.data.zips import unpack_zip

    name = parts[-1].name
    if name.endswith(".zip"):
        unpack_zip(parts, into, strip=strip)
    elif name.endswith((".tar", ".tar.gz", ".tgz")) and len(parts) == 1:
        unpack_tar(parts[0], into, strip=strip)
    else:
        raise ArchiveError(f"{name}: is no archive that can be unpacked; expected .zip, .tar, .tar.gz or .tgz")


def read_chunks(stream: Readable, size: int, chunk_size: int = COPY_SIZE) -> Iterator[bytes]:
    """The next `size` bytes of a stream, fewer when it ends, in chunks."""
    while size > 0 and (chunk := stream.read(min(size, chunk_size))):
        size -= len(chunk)
        yield chunk


@contextlib.contextmanager
def damage_is_named(archive: str, kinds: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn the exceptions by which a library says that a file is damaged into an `ArchiveError`."""
    try:
        yield
    except kinds as error:
        raise ArchiveError(f"{archive}: is damaged or no such archive: {error}; fetch it again") from error
