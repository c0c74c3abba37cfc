"""Fetching what the catalog names: download, verify, unpack, and put it in its place all at once."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

import msgspec
from tqdm import tqdm

from earmark.atomic import write_text_atomically
from earmark.data.archives import Limits, Unpacking, unpack
from earmark.data.catalog import Entry, RemoteFile
from earmark.data.download import Patience, download_verified, need_pooch
from earmark.data.sizes import in_words
from earmark.data.zenodo import complete, read_record
from earmark.errors import EarmarkError, FetchError

RECORD_NAME = ".earmark-fetch.json"
LOCK_NAME = "lock"
NOTE_NAME = "LICENSE-NOTE.txt"
BRIEFLY = Patience(connect_s=5.0, read_s=10.0, n_attempts=1)
"""How Zenodo is asked for checksums when the files come from a mirror: that machine may have no network."""

HEADROOM = 2
"""How many times the catalog's unpacked size an archive may unpack to: that size is reckoned, not counted."""
LARGEST_GROWTH = 20
"""How many times the archives' size they may unpack to where the catalog knows no unpacked size."""


class FetchedFile(msgspec.Struct):
    """A file as it was fetched: `verified` says whether its checksum was published or only computed here."""

    name: str
    url: str
    size: int
    checksum: str
    verified: bool


class Fetched(msgspec.Struct):
    """What was fetched under a name, and the size in bytes of each file that came of it, by its path."""

    name: str
    home: str
    license: str
    files: list[FetchedFile]
    contents: dict[str, int]


class _Record(msgspec.Struct):
    fetched: dict[str, Fetched]


@dataclass(frozen=True)
class Mirror:
    """A copy of the published files: a folder, or an address that their names are put behind."""

    folder: Path | None = None
    base_url: str | None = None

    def url(self, name: str) -> str:
        """Where the mirror has a file."""
        return self.folder.joinpath(name).as_uri() if self.folder else f"{self.base_url}/{quote(name)}"


def read_mirror(text: str) -> Mirror:
    """Read what ``--mirror`` says.

    Parameters
    ----------
    text
        A folder, its ``file://`` address, or an address of the web that the names of files are put behind.

    Raises
    ------
    EarmarkError
        If it is an address of another kind, or there is no such folder.
    """
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme in ("http", "https"):
        return Mirror(base_url=text.rstrip("/"))
    if scheme not in ("", "file"):
        raise EarmarkError(f"--mirror {text}: expected a folder, or an address with file://, http:// or https://")
    folder = Path(url2pathname(urlsplit(text).path) if scheme else text).absolute()
    if not folder.is_dir():
        raise EarmarkError(f"--mirror {text}: no such folder; expected one that holds the published files")
    return Mirror(folder=folder)


def license_note(entry: Entry) -> str:
    """What may be done with an entry and whom to cite, as it is shown before the download and written beside it."""
    return (
        f"{entry.title}\n{entry.home}\n\nLicence: {entry.license}\n{entry.license_notes.strip()}\n\n"
        f"Please cite:\n{entry.citation.strip()}\n"
    )


def fetch(
    entry: Entry,
    folder: Path | str | None = None,
    *,
    mirror: str | None = None,
    keep_archives: bool = False,
    patience: Patience | None = None,
    say: Callable[[str], object] = lambda text: None,
    progress: bool = False,
) -> Path:
    """Have an entry of the catalog in a folder: downloaded, verified, unpacked, or found there from an earlier call.

    What is under way lies in a hidden folder beside the target, so that after a call that was interrupted, even killed,
    the next one goes on where it was. The target of a collection appears all at once, when everything is unpacked.

    Parameters
    ----------
    entry
        See `earmark.data.catalog.find_entry`.
    folder
        Where to; by default a folder of the entry's name in the working directory. That of a collection must be new,
        empty, or what an earlier call has made; weights are put beside what is there.
    mirror
        See `read_mirror`; what comes from it is verified in the same way.
    keep_archives
        Keep what was downloaded, in ``<folder>.archives``, from which ``mirror`` fetches again.
    patience
        How long servers are waited for.
    say
        Called with each sentence for the user: what is not verified, what is asked for again, what is under way.
    progress
        Whether bars are drawn on standard error, where that is a terminal.

    Returns
    -------
    Path
        The folder, or the one file of weights.

    Raises
    ------
    FetchError
        If something cannot be downloaded, is not what was published, or there is no room for it.
    ArchiveError
        If an archive is damaged or hostile.
    EarmarkError
        If the folder holds something else, or another process fetches into it.
    MissingExtraError
        If pooch is not installed.
    """
    need_pooch()
    target = Path(folder if folder is not None else entry.name).resolve()
    place = target / entry.files[0].name if entry.kind == "weights" else target
    if _is_there(entry, target):
        say(f"{place}: is there, fetched by an earlier call")
        return place
    job = _Job(entry, target, read_mirror(mirror) if mirror else None, patience or Patience(), say, progress)
    work = target.parent / f".{target.name}.fetch"
    with _room_is_needed(work), _only_one(work, target):
        job.run(work)
        if keep_archives and entry.kind == "collection" and not job.copies:
            _keep(entry, work, target.with_name(f"{target.name}.archives"))
        for path in work.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return place


def _is_there(entry: Entry, target: Path) -> bool:
    """Whether an earlier call has finished; an error when what it made is damaged, or something else is there."""
    fetched = _read_record(target).fetched.get(entry.name)
    if fetched is None:
        if target.exists() and not target.is_dir():
            raise EarmarkError(f"{target}: is a file; expected a folder, name another with -o")
        if entry.kind == "collection" and target.is_dir() and any(target.iterdir()):
            raise EarmarkError(f"{target}: is a folder that holds other files; name a new or empty one with -o")
        return entry.kind == "weights" and _is_published(entry.files[0], target)
    lost = [path for path, size in fetched.contents.items() if not _has_size(target / path, size)]
    if lost:
        raise EarmarkError(
            f"{target}: {len(lost):,} of the {len(fetched.contents):,} files that were fetched are gone or changed, "
            f"the first is {lost[0]}; remove the folder and fetch again, or name another with -o"
        )
    return True


def _is_published(file: RemoteFile, target: Path) -> bool:
    """Whether a file that no call has put there is the published one all the same; an error when it is another."""
    path = target / file.name
    if not path.exists():
        return False
    if file.known_hash is None:
        raise EarmarkError(f"{path}: is there, and no checksum is known to verify it by; remove it to fetch it")
    try:
        _verify_copy(file, path)
    except FetchError as error:
        raise EarmarkError(f"{error}; remove it to fetch it, or name another folder with -o") from error
    return True


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _read_record(target: Path) -> _Record:
    path = target / RECORD_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Record)
    except OSError:
        return _Record({})
    except msgspec.DecodeError as error:
        raise EarmarkError(f"{path}: cannot be read ({error}); remove the folder and fetch again") from error


@contextmanager
def _only_one(work: Path, target: Path) -> Iterator[None]:
    """Keep other processes out of the work folder; the system lets go of the lock when a process is killed."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        yield
        _tidy(work)
        return
    with (work / LOCK_NAME).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise EarmarkError(f"{target}: another process is fetching it; wait until it has finished") from error
        try:
            yield
        finally:
            _tidy(work)


@contextmanager
def _room_is_needed(work: Path) -> Iterator[None]:
    """Make the work folder, and say what to do when the disk is full."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise
        raise FetchError(
            f"{work.parent}: the disk is full; what was downloaded is kept, make room and call again"
        ) from error


def _tidy(work: Path) -> None:
    """Remove the work folder when it holds nothing to go on with."""
    if work.is_dir() and all(path.name == LOCK_NAME for path in work.iterdir()):
        shutil.rmtree(work, ignore_errors=True)


def _keep(entry: Entry, work: Path, archives: Path) -> None:
    archives.mkdir(exist_ok=True)
    for file in entry.files:
        os.replace(work / file.name, archives / file.name)


@dataclass
class _Job:
    """One call of `fetch`, once it is known that there is something to do."""

    entry: Entry
    target: Path
    mirror: Mirror | None
    patience: Patience
    say: Callable[[str], object]
    progress: bool

    @property
    def copies(self) -> bool:
        """Whether the files lie in a folder of the mirror, and are used where they lie."""
        return self.mirror is not None and self.mirror.folder is not None

    def run(self, work: Path) -> None:
        for stray in work.glob("tmp*"):  # pooch's, of a call that was killed
            stray.unlink()
        staging = work / "unpacked"
        shutil.rmtree(staging, ignore_errors=True)
        files = self._published()
        self._check_room(files, work)
        paths = self._download(files, work)
        fetched = [_as_fetched(file, path, self._url(file)) for file, path in zip(files, paths, strict=True)]
        for file in fetched:
            if not file.verified:
                self.say(f"{file.name}: no checksum is known to verify it by; it has {file.checksum}")
        staging.mkdir()
        if self.entry.kind == "weights":
            self._place_weights(fetched, paths[0], staging)
        else:
            self._place_collection(fetched, {path.name: path for path in paths}, staging)

    def _url(self, file: RemoteFile) -> str:
        return self.mirror.url(file.name) if self.mirror else file.url

    def _published(self) -> list[RemoteFile]:
        """The files, with what the Zenodo record says where the catalog does not."""
        files = list(self.entry.files)
        if self.entry.record is None or all(file.size and file.known_hash for file in files):
            return files
        patience = self.patience if self.mirror is None else BRIEFLY
        try:
            published = read_record(self.entry.record, patience)
        except FetchError as error:
            if self.mirror is None and not all(file.known_hash for file in files):
                raise
            self.say(f"the sizes and checksums that Zenodo publishes could not be read: {error}")
            return files
        return [complete(file, published, self.entry.record) for file in files]

    def _check_room(self, files: Sequence[RemoteFile], work: Path) -> None:
        missing = 0 if self.copies else sum(max((file.size or 0) - _there(work, file), 0) for file in files)
        unpacked = (self.entry.unpacked_size or 0) if self.entry.kind == "collection" else 0
        free = shutil.disk_usage(work).free
        if missing + unpacked > free:
            raise FetchError(
                f"{self.target}: about {in_words(missing + unpacked)} are needed ({in_words(missing)} to download, "
                f"{in_words(unpacked)} unpacked), {in_words(free)} are free; make room, or name a folder "
                "elsewhere with -o"
            )

    def _bar(self, total: int | None, what: str, initial: int = 0) -> Any:
        return tqdm(
            total=total, initial=initial, desc=what, unit="B", unit_scale=True, disable=None if self.progress else True
        )

    def _download(self, files: Sequence[RemoteFile], work: Path) -> list[Path]:
        if self.mirror and self.mirror.folder:
            return [_verify_copy(file, self.mirror.folder / file.name) for file in files]
        sizes = [file.size for file in files]
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        paths = []
        with self._bar(total, self.entry.name, sum(_there(work, file) for file in files)) as bar:
            for file in files:
                path = download_verified(
                    file, self._url(file), work, patience=self.patience, on_bytes=bar.update, say=self.say
                )
                paths.append(path)
        return paths

    def _place_collection(self, fetched: list[FetchedFile], paths: dict[str, Path], staging: Path) -> None:
        packed = sum(file.size for file in fetched)
        known = self.entry.unpacked_size
        limits = Limits(total_size=HEADROOM * known if known else LARGEST_GROWTH * packed)
        try:
            with self._bar(known, "unpacking") as bar:
                into = Unpacking(staging, limits, on_bytes=bar.update)
                for archive in self.entry.archives:
                    unpack([paths[name] for name in archive.parts], into, strip=archive.strip)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        (staging / NOTE_NAME).write_text(license_note(self.entry), encoding="utf-8")
        self._write_record(staging, _Record({}), fetched, into.written)
        if self.target.is_dir():
            self.target.rmdir()  # it is empty
        os.replace(staging, self.target)

    def _place_weights(self, fetched: list[FetchedFile], path: Path, staging: Path) -> None:
        self.target.mkdir(exist_ok=True)
        staged = staging / path.name
        shutil.copyfile(path, staged)
        os.replace(staged, self.target / path.name)
        write_text_atomically(self.target / f"LICENSE-NOTE-{self.entry.name}.txt", license_note(self.entry))
        self._write_record(self.target, _read_record(self.target), fetched, {path.name: fetched[0].size})

    def _write_record(
        self, folder: Path, record: _Record, fetched: list[FetchedFile], contents: dict[str, int]
    ) -> None:
        entry = self.entry
        record.fetched[entry.name] = Fetched(entry.name, entry.home, entry.license, fetched, contents)
        write_text_atomically(folder / RECORD_NAME, msgspec.json.format(msgspec.json.encode(record), indent=1).decode())


def _there(work: Path, file: RemoteFile) -> int:
    """Bytes of a file that an earlier call has left."""
    for path in (work / file.name, work / f"{file.name}.part"):
        if path.is_file():
            return path.stat().st_size
    return 0


def _verify_copy(file: RemoteFile, path: Path) -> Path:
    """Verify a file of a mirror where it lies."""
    if not path.is_file():
        raise FetchError(f"{path}: is not in the mirror; expected the published file under this name")
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise FetchError(f"{path}: has {size:,} bytes, expected {file.size:,}; this is not the published file")
    if file.known_hash is not None:
        algorithm = file.known_hash.partition(":")[0]
        got = f"{algorithm}:{need_pooch().file_hash(str(path), alg=algorithm)}"
        if got != file.known_hash:
            raise FetchError(
                f"{path}: the checksum is {got}, expected {file.known_hash}; this is not the published file"
            )
    return path


def _as_fetched(file: RemoteFile, path: Path, url: str) -> FetchedFile:
    verified = file.known_hash is not None
    checksum = file.known_hash or f"sha256:{need_pooch().file_hash(str(path), alg='sha256')}"
    return FetchedFile(file.name, url, path.stat().st_size, checksum, verified)
