"""Recordings behind addresses: S3, Google's storage, HTTP and whatever else fsspec reads."""

from __future__ import annotations

import re
import time
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from earmark.audio.decode import SUFFIXES
from earmark.errors import AudioError, EarmarkError, MissingExtraError
from earmark.tagging.index import State

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_ONE_FILE = ("http", "https")
"""Servers that list no folders, and whose addresses may hold a '?'."""

_CHANGES = ("ETag", "etag", "mtime", "LastModified", "Last-Modified", "updated", "created")
"""Under what names file systems say that a file is another than it was."""

N_ATTEMPTS = 3
FIRST_PAUSE_S = 0.5


def is_address(name: str) -> bool:
    """Whether a name is an address such as ``s3://bucket/dog.wav``, and no path."""
    return _ADDRESS.match(name) is not None


def file_system(address: str) -> tuple[Any, str]:
    """Find who reads an address, and what the file is called there.

    Raises
    ------
    MissingExtraError
        When fsspec is not installed.
    EarmarkError
        When the kind of address is not known, or needs a library that is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{address}: an address", "ray") from error
    try:
        system, path = url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise EarmarkError(f"{address}: cannot be read ({error}); install what reads it, or copy the files") from error
    return system, path


def expand_address(address: str) -> tuple[list[str], str]:
    """Find the recordings that an address means.

    Parameters
    ----------
    address
        Of a file; of a folder, for every recording below it; or with wildcards (``*``). Over HTTP, of a file alone.

    Returns
    -------
    list of str
        Their addresses, sorted; that of a file as it is, whether it exists or not.
    str
        What is wrong when there are none.

    Raises
    ------
    EarmarkError
        As `file_system`, or when the folder cannot be listed.
    """
    scheme = address.partition("://")[0].lower()
    is_file = PurePosixPath(address).suffix.lower() in SUFFIXES and "*" not in address
    if scheme in _ONE_FILE or is_file:
        return [address], ""
    system, path = file_system(address)
    try:
        if "*" in address:
            return sorted(map(system.unstrip_protocol, system.glob(path))), "no file matches this pattern"
        below = system.find(path)
    except Exception as error:  # each library has exceptions of its own
        raise EarmarkError(f"{address}: cannot be listed ({_said(error)}); check the address and the keys") from error
    found = sorted(name for name in below if PurePosixPath(name).suffix.lower() in SUFFIXES)
    return [system.unstrip_protocol(name) for name in found], "no recordings at this address"


def state_of(name: str, root: str = "") -> str:
    """State of a path's or address's file, a text that changes with its content; empty when there is no such file."""
    if not is_address(name):
        state = State.of(Path(root, name))
        return "" if state is None else f"{state.n_bytes}:{state.mtime_ns}"
    system, path = file_system(name)
    try:
        said = system.info(path)
    except Exception:  # each library has exceptions of its own; the reading says what is wrong
        return ""
    changes = next((said[key] for key in _CHANGES if said.get(key) is not None), "")
    return f"{said.get('size')}:{changes}"


def fetch(name: str, root: str, folder: Path) -> Path:
    """Give a file to read: a path as it is, of what is behind an address a copy.

    Parameters
    ----------
    name
        A path or an address.
    root
        Where relative paths begin.
    folder
        Where a copy is to lie, under the name that the file has; made when it is needed.

    Raises
    ------
    AudioError
        When it cannot be fetched, though it was tried `N_ATTEMPTS` times.
    EarmarkError
        As `file_system`.
    """
    if not is_address(name):
        return Path(root, name)
    folder.mkdir(exist_ok=True)
    copy = folder / (PurePosixPath(unquote(urlsplit(name).path)).name or "recording")
    _fetch(name, copy)
    return copy


def _fetch(name: str, copy: Path) -> None:
    system, path = file_system(name)
    for attempt in range(N_ATTEMPTS):
        try:
            system.get_file(path, str(copy))
            return
        except FileNotFoundError as error:
            raise AudioError(f"{name}: no such file; check the address") from error
        except Exception as error:  # each library has exceptions of its own
            if attempt == N_ATTEMPTS - 1:
                raise AudioError(
                    f"{name}: cannot be fetched ({_said(error)}); check the address and the keys"
                ) from error
            time.sleep(FIRST_PAUSE_S * 2**attempt)


def _said(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
