"""Tags in the recordings' own metadata: beside what is there, with the sound untouched.

They are the values of one field of our own, `EARMARK_TAG`, each ``Label:0.98``; no field of another program is changed.
Where it lies depends on the format: a Vorbis comment (FLAC, Ogg, Opus), an ID3 frame `TXXX:EARMARK_TAG` (MP3; WAV and
AIFF in a chunk of theirs), an MP4 atom ``----:com.apple.iTunes:EARMARK_TAG``, an ASF attribute (WMA).
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from stat import S_IWGRP, S_IWOTH, S_IWUSR
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

from earmark.atomic import atomic_path, remove_leftovers
from earmark.audio.decode import properties
from earmark.errors import AudioError, MissingExtraError
from earmark.tagging.tagger import Tag

if TYPE_CHECKING:
    from mutagen import FileType

FIELD = "EARMARK_TAG"
MP4_FIELD = f"----:com.apple.iTunes:{FIELD}"
ID3_FIELD = f"TXXX:{FIELD}"

ID3V1_BYTES = 128
BLOCK_BYTES = 1 << 20
"""Compared at a time."""


class Change(NamedTuple):
    """What is written to a recording: the values of its field before and after."""

    before: list[str]
    after: list[str]

    def __bool__(self) -> bool:
        """Whether there is something to write."""
        return self.before != self.after

    def __str__(self) -> str:
        """As a person reads it."""
        before, after = (", ".join(values) or "(none)" for values in self)
        return f"{FIELD} {before} -> {after}" if self else f"{FIELD} stays {after}"


def check_installed() -> None:
    """Raise a `MissingExtraError` when mutagen, which writes the metadata, is not installed."""
    try:
        import mutagen  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("--write-tags", "tags") from error


def values_of(tags: Sequence[Tag]) -> list[str]:
    """Values of the field: each label once with its best score, best first.

    Examples
    --------
    >>> values_of([Tag("Bark", 0.4, 0.0, 1.0), Tag("Bark", 0.976, 3.0, 4.0), Tag("Wind", 0.5, 0.0, 9.0)])
    ['Bark:0.98', 'Wind:0.50']
    """
    best: dict[str, float] = {}
    for tag in sorted(tags, key=lambda tag: -tag.score):
        best.setdefault(tag.label, tag.score)
    return [f"{label}:{score:.2f}" for label, score in best.items()]


def write_tags(path: Path, tags: Sequence[Tag], *, dry_run: bool = False) -> Change:
    """Write tags to a recording's metadata, in the place of those that an earlier call wrote.

    The file is copied, the copy changed and put in its place, so that a crash never harms it; where all is as it should
    be, nothing is written.

    Parameters
    ----------
    path
        The recording.
    tags
        In any order; none to remove the field.
    dry_run
        Only say what would change.

    Returns
    -------
    Change
        What was written, or would be.

    Raises
    ------
    AudioError
        When the format has no place for them, the file may not be written, or its sound would change.
    """
    import mutagen

    path = path.resolve()  # of a link, the file is changed and the link stays
    try:
        change = Change(_open(path).values(), values_of(tags))
        if not change:
            return change
        _check_writable(path)
        if not dry_run:
            _replace(path, change.after)
    except (mutagen.MutagenError, OSError, struct.error) as error:  # the last where a size does not fit its field
        raise _refusal(path, str(error) or type(error).__name__) from error
    return change


def _replace(path: Path, values: list[str]) -> None:
    remove_leftovers(path)
    with atomic_path(path) as temporary:
        shutil.copy2(path, temporary)
        times = path.stat()
        _open(temporary).set(values)
        _check_sound(path, temporary)
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        if temporary.stat().st_mtime_ns == times.st_mtime_ns:  # a coarse clock: the change must show
            os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns + 1))


def _check_sound(path: Path, copy: Path) -> None:
    """Raise an `AudioError` unless the sound of a copy is that of the file, as far as its structure shows.

    An MP3 may state no length, and what is guessed then depends on the size of its tags, so all of its bytes count.
    """
    before, after = properties(path), properties(copy)
    if before.format_name == "MP3":
        if not _same_behind_id3(path, copy):
            raise _refusal(path, "its sound would change")
    elif before != after:
        raise _refusal(path, f"its sound would change, from {before.duration_s} s to {after.duration_s} s")


def _same_behind_id3(path: Path, other: Path) -> bool:
    with path.open("rb") as a, other.open("rb") as b:
        _skip_id3(a)
        _skip_id3(b)
        while True:
            block = a.read(BLOCK_BYTES)
            if block != b.read(BLOCK_BYTES):
                return False
            if not block:
                return True


def _skip_id3(file: BinaryIO) -> None:
    """Go behind the ID3v2 that a file begins with; its size stands in four bytes of seven bits."""
    header = file.read(10)
    size = sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(header[6:10]))
    footer = 10 if header[5:6] and header[5] & 0x10 else 0
    file.seek(10 + size + footer if header.startswith(b"ID3") else 0)


def _check_writable(path: Path) -> None:
    may = path.stat().st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)
    if not may or not os.access(path, os.W_OK):
        raise _refusal(path, "the file is read-only")


def _refusal(path: Path, reason: str) -> AudioError:
    return AudioError(
        f"{path}: its tags cannot be written into it ({reason}); take them from the output, or write to a copy"
    )


class _Metadata(Protocol):
    """The field in the metadata of an opened file."""

    def values(self) -> list[str]:
        """What it holds."""

    def set(self, values: list[str]) -> None:
        """Give it other values, none to remove it, and save the file."""


class _Comments:
    """Vorbis comments, or ASF attributes: a list of text a field."""

    def __init__(self, file: FileType) -> None:
        self._file = file

    def values(self) -> list[str]:
        return [str(value) for value in _got(self._file.tags, FIELD)]

    def set(self, values: list[str]) -> None:
        if self._file.tags is None:
            self._file.add_tags()
        _put(self._file.tags, FIELD, values)
        self._file.save()


class _Atoms:
    """Atoms of MP4."""

    def __init__(self, file: FileType) -> None:
        self._file = file

    def values(self) -> list[str]:
        return [bytes(value).decode("utf-8", "replace") for value in _got(self._file.tags, MP4_FIELD)]

    def set(self, values: list[str]) -> None:
        from mutagen import mp4

        if self._file.tags is None:
            self._file.add_tags()
        make: Any = mp4.MP4FreeForm  # without types
        atoms = [make(value.encode(), dataformat=mp4.AtomDataType.UTF8) for value in values]
        _put(self._file.tags, MP4_FIELD, atoms)
        self._file.save()


class _Frames:
    """Frames of ID3, which stay in the version they are in: 2.3 as 2.3; of an older one, 2.4 is made."""

    def __init__(self, path: Path, file: FileType) -> None:
        self._path, self._kind = path, type(file)
        self._file = self._read(translate=False, load_v1=False)
        version = self._file.tags.version if self._file.tags is not None else (2, 4, 0)
        self._version = 3 if version[:2] == (2, 3) else 4
        if version[:2] < (2, 3):
            self._file = self._read(load_v1=False)
        elif self._file.tags is None and path.suffix.lower() == ".mp3":
            self._file = self._read()  # where there is but an ID3v1, its fields are taken into the newer one

    def _read(self, **how: bool) -> FileType:
        return self._kind(self._path, **how)

    def values(self) -> list[str]:
        frame: Any = _got(self._file.tags, ID3_FIELD)
        return [str(value) for value in frame.text] if frame else []

    def set(self, values: list[str]) -> None:
        from mutagen import id3

        if self._file.tags is None:
            self._file.add_tags()
        make: Any = id3.TXXX  # without types
        encoding = id3.Encoding.UTF8 if self._version == 4 else id3.Encoding.UTF16  # the best that 2.3 knows
        _put(self._file.tags, ID3_FIELD, make(encoding=encoding, desc=FIELD, text=values) if values else None)
        old_end = _end_of(self._path)
        self._file.save(self._path, v2_version=self._version, v23_sep=None)
        if old_end.startswith(b"TAG"):  # an ID3v1, which mutagen would write anew in its own way
            with self._path.open("r+b") as file:
                file.seek(-ID3V1_BYTES, os.SEEK_END)
                file.write(old_end)


def _end_of(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(ID3V1_BYTES, path.stat().st_size), os.SEEK_END)
        return file.read()


def _got(tags: Any, key: str) -> Any:
    return tags[key] if tags is not None and key in tags else []


def _put(tags: Any, key: str, value: Any) -> None:
    if value:
        tags[key] = value
    elif key in tags:
        del tags[key]


def _open(path: Path) -> _Metadata:
    """Open the metadata of a file; `AudioError` for a format that has no place for the field."""
    import mutagen
    from mutagen.aiff import AIFF
    from mutagen.asf import ASF
    from mutagen.flac import FLAC
    from mutagen.mp3 import MP3
    from mutagen.mp4 import MP4
    from mutagen.ogg import OggFileType
    from mutagen.wave import WAVE

    file = mutagen.File(path)
    if isinstance(file, (FLAC, OggFileType, ASF)):
        return _Comments(file)
    if isinstance(file, MP4):
        return _Atoms(file)
    if isinstance(file, (MP3, WAVE, AIFF)):
        return _Frames(path, file)
    raise _refusal(path, f"no place for them is known in {path.suffix or 'such'} files")
