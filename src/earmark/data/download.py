"""Downloading one file over a bad line: it goes on where it was, and what comes out is what was published.

pooch names, verifies and places the files; its own downloader begins anew whenever the line breaks, so it is given one
that keeps what has come in a ``.part`` file and asks for the rest (RFC 9110, section 14: `Range`, `If-Range`).
"""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import msgspec

from earmark.atomic import write_text_atomically
from earmark.data.catalog import RemoteFile
from earmark.errors import FetchError, MissingExtraError

if TYPE_CHECKING:
    import requests

CHUNK_SIZE = 256 * 1024
MOST_REDIRECTS = 8
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""States of a server that pass: it is asked again."""

HOW_TO_GO_ON = "call again to go on from there, or give a copy with --mirror"


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, in seconds.

    Parameters
    ----------
    connect_s, read_s
        Until it answers, and between two pieces of its answer.
    n_attempts
        Failures in a row, none of which brought a byte further, before giving up.
    pause_s, longest_pause_s
        After the first failure, doubled with each further one up to the longest.
    longest_wait_s
        Of the times that a server asks to be left alone for, the longest that is granted.
    """

    connect_s: float = 15.0
    read_s: float = 60.0
    n_attempts: int = 6
    pause_s: float = 1.0
    longest_pause_s: float = 60.0
    longest_wait_s: float = 300.0


class WrongContentError(ValueError):
    """A file is not what was published; a `ValueError`, as pooch's own finding is."""


class _PassingError(Exception):
    """What may be over when the server is asked again."""

    def __init__(self, what: str, wait_s: float | None = None) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class _Part(msgspec.Struct):
    """What is known of a file that has partly come, kept beside it."""

    url: str
    validator: str | None = None
    total: int | None = None


def need_pooch() -> Any:
    """Import pooch, or say how to install it.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"fetching ({error.name})", "data") from error
    return pooch


class ResumingDownloader:
    """A downloader for pooch that keeps what has come and asks for the rest.

    Parameters
    ----------
    part
        Where the file grows; what is there already is gone on from.
    size
        Of the whole file in bytes, if that is known.
    verified
        Whether a checksum will be held against the whole. Without one, a file is only gone on with when the server says
        that it is still the same.
    patience
        See `Patience`.
    on_bytes
        Called with the number of bytes that came, negative when some are thrown away.
    """

    def __init__(
        self,
        part: Path,
        *,
        size: int | None = None,
        verified: bool = True,
        patience: Patience | None = None,
        on_bytes: Callable[[int], object] = lambda n_bytes: None,
    ) -> None:
        self.part, self.size, self.verified = part, size, verified
        self.patience = patience or Patience()
        self.on_bytes = on_bytes
        self._note = part.with_name(part.name + ".json")

    def __call__(self, url: str, output_file: str | Path, pooch: object = None) -> None:
        """Download `url` and place it at `output_file`; the ``.part`` file stays until `forget`.

        Raises
        ------
        FetchError
            If the server refuses, fails `n_attempts` times in a row, or leads to what is neither http nor https.
        WrongContentError
            If the file is of another size than expected.
        """
        self.download(url)
        output = Path(output_file)
        output.unlink(missing_ok=True)
        try:
            os.link(self.part, output)  # a kill while the checksum is taken then loses nothing
        except OSError:  # a file system without hard links
            os.replace(self.part, output)

    def forget(self) -> None:
        """Remove what has come."""
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def download(self, url: str) -> None:
        """Let the ``.part`` file grow until it is whole; see `__call__`."""
        import requests

        furthest, failures = self.there, 0
        with requests.Session() as session:
            session.headers["User-Agent"] = "earmark data fetch"
            while not self._is_whole(url):
                try:
                    if self._attempt(session, url):
                        return
                    passing = _PassingError(_in_words(None, self.there))
                except _PassingError as error:
                    passing = error
                failures = 0 if self.there > furthest else failures + 1
                furthest = max(furthest, self.there)
                if failures >= self.patience.n_attempts:
                    raise FetchError(
                        f"{url}: {passing}; {failures} attempts in a row came no further; "
                        f"{self.there:,} bytes are kept, {HOW_TO_GO_ON}"
                    )
                time.sleep(self._pause(failures, passing.wait_s))

    @property
    def there(self) -> int:
        """Bytes that have come."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def _pause(self, failures: int, wait_s: float | None) -> float:
        if wait_s is not None:
            return min(max(wait_s, 0.0), self.patience.longest_wait_s)
        return min(self.patience.pause_s * 2 ** max(failures - 1, 0), self.patience.longest_pause_s)

    def _read_note(self, url: str) -> _Part:
        """What is known of the part; nothing when it came from elsewhere."""
        try:
            note = msgspec.json.decode(self._note.read_bytes(), type=_Part)
        except (OSError, msgspec.DecodeError):
            return _Part(url)
        return note if note.url == url else _Part(url)

    def _is_whole(self, url: str) -> bool:
        """Whether all has come; a part that is too long, or that may not be gone on with, is thrown away."""
        note = self._read_note(url)
        total = self.size or note.total
        if self.there and not self.verified and note.validator is None and self.there != note.total:
            self._restart()
        if total is not None and self.there > total:
            self._restart()
        return total is not None and self.there == total > 0

    def _restart(self) -> None:
        self.on_bytes(-self.there)
        self.forget()

    def _attempt(self, session: requests.Session, url: str) -> bool:
        """Ask once for what is missing; whether it came to the end."""
        import requests
        import urllib3

        there, note = self.there, self._read_note(url)
        headers = {"Accept-Encoding": "identity"}
        if there:
            headers["Range"] = f"bytes={there}-"
            if note.validator:
                headers["If-Range"] = note.validator
        try:
            with self._get(session, url, headers) as response:
                if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{there}":
                    return True  # nothing is missing
                if not self._prepare(response, url, there, note):
                    return False
                return self._take(response, self._read_note(url).total)
        except urllib3.exceptions.HTTPError as error:  # while the content is read
            raise _PassingError(_in_words(error, self.there)) from error
        except (requests.Timeout, requests.ConnectionError) as error:
            if isinstance(error, requests.exceptions.SSLError):
                raise FetchError(f"{url}: the server's certificate is refused: {error}") from error
            raise _PassingError(_in_words(error)) from error
        except requests.RequestException as error:
            raise FetchError(f"{url}: cannot be asked for: {error}; give a copy with --mirror") from error

    def _get(self, session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
        """Ask for an address and follow where it leads, as long as that is the web and no less safe than before."""
        at = url
        for _ in range(MOST_REDIRECTS):
            timeout = (self.patience.connect_s, self.patience.read_s)
            response = session.get(at, headers=headers, stream=True, timeout=timeout, allow_redirects=False)
            if not response.is_redirect:
                return response
            response.close()
            to = urljoin(at, response.headers["Location"])
            check_scheme(to, f"{url}: leads to")
            if urlsplit(at).scheme == "https" and urlsplit(to).scheme != "https":
                raise FetchError(f"{url}: leads from https to {to}; expected https throughout")
            at = to
        raise FetchError(f"{url}: leads on and on, more than {MOST_REDIRECTS} times; the last was {at}")

    def _prepare(self, response: requests.Response, url: str, there: int, note: _Part) -> bool:
        """Judge an answer before its content is read: whether that is what is missing."""
        _refuse_failures(response, url)
        validator, (start, total) = _validator(response), _extent(response)
        known = validator and note.validator if self.verified else True
        changed = bool(start and known and validator != note.validator)
        if response.status_code == 416 or start not in (0, there) or changed:
            self._restart()  # not the piece that was asked for, or of another file than what has come
            return False
        if self.size is not None and total is not None and total != self.size:
            raise WrongContentError(f"the server's file has {total:,} bytes, expected {self.size:,}")
        if there and not start:
            self._restart()  # the server gives all of it
        self._write_note(_Part(url, validator, total))
        return True

    def _write_note(self, note: _Part) -> None:
        write_text_atomically(self._note, msgspec.json.encode(note).decode())

    def _take(self, response: requests.Response, total: int | None) -> bool:
        limit = self.size or total
        with self.part.open("ab") as file:
            position = file.tell()
            for chunk in _chunks(response):
                position += len(chunk)
                if limit is not None and position > limit:
                    raise WrongContentError(f"the server gave more than {limit:,} bytes")
                file.write(chunk)
                file.flush()
                self.on_bytes(len(chunk))
        return limit is None or position == limit


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The content as it comes: what `iter_content` has gathered when the line breaks is lost, here nothing is."""
    read = getattr(response.raw, "read1", None)
    if read is None:  # urllib3 1, which does not gather
        yield from response.iter_content(CHUNK_SIZE)
        return
    while chunk := read(CHUNK_SIZE, decode_content=True):
        yield chunk


def check_scheme(url: str, where: str) -> None:
    """Make sure that an address is of the web.

    Raises
    ------
    FetchError
        If it is not; the message begins with `where`.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise FetchError(f"{where} {url!r}; expected an address that begins with http:// or https://")


def _refuse_failures(response: requests.Response, url: str) -> None:
    status, said = response.status_code, f"{response.status_code} {response.reason}"
    if status in PASSING:
        raise _PassingError(f"the server says {said}", _retry_after_s(response))
    if status == 404:
        raise FetchError(f"{url}: {said}; the file is no longer there, give a copy with --mirror")
    if status not in (200, 206, 416):
        raise FetchError(f"{url}: the server says {said}; expected the file, give a copy with --mirror")
    if status == 206 and _coding(response) != "identity":
        raise FetchError(f"{url}: the server sends a part of a packed file ({_coding(response)}); use --mirror")


def _coding(response: requests.Response) -> str:
    return response.headers.get("Content-Encoding") or "identity"


def _retry_after_s(response: requests.Response) -> float | None:
    """Seconds that a server asks to wait, given as a number or as a date."""
    said = response.headers.get("Retry-After", "")
    if said.strip().isdecimal():
        return float(said)
    try:
        return email.utils.parsedate_to_datetime(said).timestamp() - time.time()
    except (TypeError, ValueError):
        return None


def _validator(response: requests.Response) -> str | None:
    """What tells this version of the file from others; a weak ETag does not tell bytes apart."""
    if _coding(response) != "identity":
        return None  # places in what is sent are not places in the file
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _extent(response: requests.Response) -> tuple[int, int | None]:
    """Where the answer's content begins in the file, and the size of the whole file if the server says it."""
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None:
            return -1, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length") if _coding(response) == "identity" else None
    return 0, int(length) if length and length.isdecimal() else None


def _in_words(error: Exception | None, there: int | None = None) -> str:
    """What went wrong: silence, an end too early, or the innermost cause, without the objects that requests prints."""
    if "timed out" in str(error).lower():
        return "the server says nothing"
    if there is not None or error is None:
        return f"the line broke after {there or 0:,} bytes"
    cause: BaseException = error
    while inner := cause.__cause__ or cause.__context__:
        cause = inner
    return f"the line broke ({cause})"


@contextmanager
def _quiet(pooch: Any) -> Iterator[None]:
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def download_verified(
    file: RemoteFile,
    url: str,
    folder: Path,
    *,
    patience: Patience | None = None,
    on_bytes: Callable[[int], object] = lambda n_bytes: None,
    say: Callable[[str], object] = lambda text: None,
) -> Path:
    """Have a file in a folder, whole and verified; downloaded unless it is there.

    Parameters
    ----------
    file
        What it is called and its checksum and size, as far as they are known.
    url
        Where it is downloaded from.
    folder
        Where to; what an earlier call has left is gone on from.
    patience, on_bytes
        See `ResumingDownloader`.
    say
        Called with a sentence when the content was wrong and is asked for again.

    Returns
    -------
    Path
        ``folder / file.name``.

    Raises
    ------
    FetchError
        If it cannot be downloaded, or is twice not what was published.
    """
    pooch = need_pooch()
    check_scheme(url, f"{file.name}: lies at")
    path = folder / file.name
    if file.size is not None and path.is_file() and path.stat().st_size != file.size:
        path.unlink()
    verified = file.known_hash is not None
    loader = ResumingDownloader(
        folder / f"{file.name}.part", size=file.size, verified=verified, patience=patience, on_bytes=on_bytes
    )
    keeper = pooch.create(
        path=folder, base_url="", registry={file.name: file.known_hash}, urls={file.name: url}, retry_if_failed=0
    )
    for attempt in (1, 2):
        try:
            with _quiet(pooch):
                keeper.fetch(file.name, downloader=loader)
        except ValueError as error:
            on_bytes(-loader.there)
            loader.forget()
            wrong = _wrong_content(error)
            if attempt == 2:
                raise FetchError(
                    f"{file.name} from {url}: {wrong}, twice; it was removed. Either the file was replaced, or "
                    "something on the way changes it; try another network, or give a good copy with --mirror"
                ) from error
            say(f"{file.name}: {wrong}; it was removed and is downloaded once more")
        else:
            loader.forget()
            break
    return path


def _wrong_content(error: ValueError) -> str:
    found = re.search(r"expected (\S+) but got (\w+)", str(error))
    if found is None:
        return str(error)
    algorithm = found[1].partition(":")[0]
    return f"the checksum is {algorithm}:{found[2]}, expected {found[1]}"
