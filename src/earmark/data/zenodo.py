"""What Zenodo publishes of a record's files: their sizes and checksums."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from earmark.data.catalog import RemoteFile, check_checksum
from earmark.data.download import Patience, download_verified
from earmark.errors import CatalogError, FetchError

LARGEST_DESCRIPTION = 8 << 20
"""In bytes; a description has some kilobytes."""


class _PublishedFile(msgspec.Struct):
    """One file, in either of the two forms that Zenodo's API has had: ``key, size`` or ``filename, filesize``."""

    checksum: str
    key: str = ""
    filename: str = ""
    size: int = 0
    filesize: int = 0

    @property
    def name(self) -> str:
        return self.key or self.filename

    @property
    def known_hash(self) -> str:
        """With the algorithm, which the second form leaves out."""
        return self.checksum if ":" in self.checksum else f"md5:{self.checksum}"


class _ZenodoRecord(msgspec.Struct):
    files: list[_PublishedFile]


def read_record(url: str, patience: Patience) -> dict[str, tuple[int, str]]:
    """Ask Zenodo for the sizes and checksums of a record's files.

    Parameters
    ----------
    url
        The record's description in JSON, such as ``https://zenodo.org/api/records/3612637``.
    patience
        How long the server is waited for.

    Returns
    -------
    dict
        Size in bytes and ``algorithm:digits`` of each file, by its name.

    Raises
    ------
    FetchError
        If it cannot be read, or is not as Zenodo describes records.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = RemoteFile("record.json", url, "none", "a description")
        path = download_verified(file, url, Path(folder), patience=patience)
        text = path.read_bytes()[: LARGEST_DESCRIPTION + 1]
    try:
        files = msgspec.json.decode(text, type=_ZenodoRecord).files
        for one in files:
            check_checksum(one.known_hash, one.name)
    except (msgspec.DecodeError, CatalogError) as error:
        raise FetchError(
            f"{url}: is not the description of a Zenodo record: {error}; give copies with --mirror"
        ) from error
    return {one.name: (one.size or one.filesize, one.known_hash) for one in files}


def complete(file: RemoteFile, published: dict[str, tuple[int, str]], record: str) -> RemoteFile:
    """Fill in the size and checksum that a catalog's file lacks.

    Parameters
    ----------
    file
        As it stands in the catalog.
    published
        As `read_record` gives it.
    record
        Its address, for messages.

    Raises
    ------
    FetchError
        If the record has no such file, or says something else than the catalog.
    """
    if file.name not in published:
        raise FetchError(f"{record}: has no file {file.name}; expected it there, give copies with --mirror")
    size, checksum = published[file.name]
    for known, said in ((file.size, size), (file.known_hash, checksum)):
        if known is not None and known != said:
            raise FetchError(f"{record}: says {said} of {file.name}, expected {known}; give a copy with --mirror")
    return msgspec.structs.replace(file, size=size, checksum=checksum)
