"""The catalog: public collections and weights by name, with where they lie, their checksums and their licences."""

from __future__ import annotations

import functools
import re
import tomllib
from importlib import resources
from typing import Literal

import msgspec

from earmark.errors import CatalogError, did_you_mean

HEX_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}
"""Algorithms of checksums, with the length of a sum in hexadecimal digits."""


class RemoteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file as it is published.

    Parameters
    ----------
    name
        Its name here, and in a mirror.
    url
        Where it is published, ``https``.
    checksum
        ``algorithm:digits`` in lower case, or ``"none"``.
    checksum_source
        Who says so, or why there is none.
    size
        In bytes; `None` where it is not known.
    """

    name: str
    url: str
    checksum: str
    checksum_source: str
    size: int | None = None

    @property
    def known_hash(self) -> str | None:
        """The checksum, or `None` where there is none."""
        return None if self.checksum == "none" else self.checksum


class ArchiveParts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One archive to be unpacked.

    Parameters
    ----------
    parts
        Names of the files that it lies in, in order; of a split ZIP the ``.zip`` is the last.
    strip
        The folder that all its entries lie in and that is taken off their paths; ``""`` takes nothing off.
    """

    parts: tuple[str, ...]
    strip: str = ""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be fetched under one name.

    Parameters
    ----------
    name
        As it is written; case, hyphens and underscores do not matter when it is looked up.
    kind
        ``"collection"``, archives that become a folder of recordings and tables, or ``"weights"``, one file.
    title, about, home
        What it is, in a line each, and its page.
    license, license_notes, citation
        What may be done with it, and what its authors ask to be cited.
    layout
        What lies in the folder in the end.
    files
        All files to be downloaded; the TOML key is ``file``.
    archives
        How those of a collection are unpacked; the TOML key is ``archive``.
    record
        Address of the Zenodo record's description in JSON, for what the catalog does not know of sizes and checksums.
    unpacked_size
        Bytes that it takes when unpacked, about; `None` where it is not known.
    unpacked_source
        Where that number comes from.
    """

    name: str
    kind: Literal["collection", "weights"]
    title: str
    about: str
    home: str
    license: str
    license_notes: str
    citation: str
    layout: str
    files: tuple[RemoteFile, ...] = msgspec.field(name="file")
    archives: tuple[ArchiveParts, ...] = msgspec.field(name="archive", default=())
    record: str | None = None
    unpacked_size: int | None = None
    unpacked_source: str = "not known"

    @property
    def size(self) -> int | None:
        """Bytes of all files together; `None` where the size of one is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


class _Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entries: tuple[Entry, ...] = msgspec.field(name="entry")


def read_catalog(text: str) -> tuple[Entry, ...]:
    """Read a catalog in TOML and check that it is whole.

    Parameters
    ----------
    text
        A table ``[[entry]]`` for each name; see `Entry`.

    Returns
    -------
    tuple of Entry
        In the order of the text.

    Raises
    ------
    CatalogError
        If it is not TOML, a key is missing, unknown or of the wrong type, a checksum is none of those known, an address
        is not ``https``, a name is there twice, or archives name other files than the entry has.
    """
    try:
        entries = msgspec.convert(tomllib.loads(text), _Catalog).entries
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CatalogError(f"the catalog is malformed: {error}") from error
    names: dict[str, str] = {}
    for entry in entries:
        if (key := _key(entry.name)) in names:
            raise CatalogError(f"the catalog has '{names[key]}' and '{entry.name}'; expected each name once")
        names[key] = entry.name
        _check(entry)
    return entries


def _check(entry: Entry) -> None:
    for file in entry.files:
        _check_file(file, f"the catalog's entry '{entry.name}', file '{file.name}'")
    names = [file.name for file in entry.files]
    unpacked = [name for archive in entry.archives for name in archive.parts]
    if entry.kind == "weights" and (len(names) != 1 or unpacked):
        raise CatalogError(f"the catalog's entry '{entry.name}': weights are one file and no archive")
    if entry.kind == "collection" and sorted(unpacked) != sorted(names):
        raise CatalogError(f"the catalog's entry '{entry.name}': its archives have other parts than its files")


def _check_file(file: RemoteFile, where: str) -> None:
    if not file.url.startswith("https://"):
        raise CatalogError(f"{where}: address '{file.url}' does not begin with https://")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file.name):
        raise CatalogError(f"{where}: is not a plain name of a file")
    if file.size is not None and file.size < 1:
        raise CatalogError(f"{where}: size {file.size} is not positive")
    check_checksum(file.checksum, where)


def check_checksum(checksum: str, where: str) -> None:
    """Make sure that a checksum is ``"none"`` or an algorithm of `HEX_DIGITS` with as many digits as it has.

    Raises
    ------
    CatalogError
        If it is not; the message begins with `where`.
    """
    if checksum == "none":
        return
    algorithm, _, digits = checksum.partition(":")
    if len(digits) != HEX_DIGITS.get(algorithm, -1) or not re.fullmatch(r"[0-9a-f]+", digits):
        known = ", ".join(f"{name}: and {length}" for name, length in HEX_DIGITS.items())
        raise CatalogError(f"{where}: checksum '{checksum}' is none; expected {known} hexadecimal digits, or 'none'")


@functools.cache
def catalog() -> dict[str, Entry]:
    """What this release can fetch, by name, in the order in which it is listed."""
    text = resources.files("earmark.data").joinpath("catalog.toml").read_text(encoding="utf-8")
    return {entry.name: entry for entry in read_catalog(text)}


def find_entry(name: str) -> Entry:
    """Look a name up, whatever its case and with or without its hyphens and underscores.

    Parameters
    ----------
    name
        Such as ``"ESC-50"``, ``"esc50"`` or ``"mn10_as"``.

    Raises
    ------
    CatalogError
        If nothing has this name; the nearest one is guessed.
    """
    by_key = {_key(known): entry for known, entry in catalog().items()}
    if (entry := by_key.get(_key(name))) is None:
        guess = did_you_mean(name, catalog())
        raise CatalogError(
            f"nothing named '{name}' can be fetched{guess}; 'earmark data fetch --list' lists what can be"
        )
    return entry


def _key(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).casefold()
