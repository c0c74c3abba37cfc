"""The catalog is whole, says where its checksums come from, and finds what is meant."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec
import pytest

from earmark.data.catalog import HEX_DIGITS, Entry, catalog, find_entry, read_catalog
from earmark.errors import CatalogError

ENTRIES = list(catalog().values())
FILES = [(entry, file) for entry in ENTRIES for file in entry.files]

WANTED = (
    *("FSDKaggle2019", "FSDKaggle2018", "FSD50K", "ESC-50", "UrbanSound8K"),
    *("mn04_as", "mn05_as", "mn10_as", "mn20_as", "mn40_as", "resnet18", "resnet34"),
)


def test_what_must_be_there_is_there() -> None:
    assert set(WANTED) <= set(catalog())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_is_complete(entry: Entry) -> None:
    for text in (entry.title, entry.about, entry.license, entry.license_notes, entry.citation, entry.layout):
        assert text.strip()
    assert entry.home.startswith("https://")
    assert entry.record is None or re.fullmatch(r"https://zenodo\.org/api/records/\d+", entry.record)
    assert re.search(r"\b(19|20)\d\d\b", entry.citation)
    assert len({file.name for file in entry.files}) == len(entry.files) > 0
    if entry.kind == "collection":
        assert (entry.unpacked_size is None) == (entry.unpacked_source == "not known")
        assert entry.unpacked_size is None or entry.unpacked_size > (entry.size or 0)


@pytest.mark.parametrize(("entry", "file"), FILES, ids=lambda one: getattr(one, "name", ""))
def test_a_file_is_complete(entry: Entry, file) -> None:
    assert file.url.startswith("https://")
    assert file.name in file.url or entry.name == "ESC-50"
    assert file.size is None or file.size > 0
    assert len(file.checksum_source) > 20
    if file.known_hash is None:
        assert entry.record or file.checksum_source.startswith("not published")
    else:
        algorithm, _, digits = file.known_hash.partition(":")
        assert re.fullmatch(rf"[0-9a-f]{{{HEX_DIGITS[algorithm]}}}", digits)
        assert len(digits) == hashlib.new(algorithm).digest_size * 2


def test_checksums_and_files_are_all_different() -> None:
    known = [file.known_hash for _, file in FILES if file.known_hash]
    assert len(set(known)) == len(known)
    urls = [file.url for _, file in FILES]
    assert len(set(urls)) == len(urls)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_torchvisions_checksums_begin_as_the_names_of_its_files_say(name: str) -> None:
    (file,) = catalog()[name].files
    published = re.fullmatch(rf"{name}-([0-9a-f]{{8}})\.pth", file.name)
    assert published is not None
    assert file.checksum.startswith(f"sha256:{published[1]}")


def test_pieces_of_split_archives_are_in_order() -> None:
    pieces = [archive.parts for entry in ENTRIES for archive in entry.archives if len(archive.parts) > 1]
    assert [len(parts) for parts in pieces] == [7, 6, 2]
    for parts in pieces:
        stem = parts[-1].removesuffix(".zip")
        assert parts == (*(f"{stem}.z{number:02d}" for number in range(1, len(parts))), f"{stem}.zip")


@pytest.mark.real_data
def test_the_checksum_that_was_computed_is_that_of_the_file(real_data: Path) -> None:
    (file,) = catalog()["mn04_as"].files
    content = (real_data.parent / "models" / file.name).read_bytes()
    assert len(content) == file.size
    assert file.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("name", ["ESC-50", "esc50", "ESC50", "Esc_50", "mn10_as", "MN10-AS", "urbansound8k"])
def test_names_are_found_whatever_their_case(name: str) -> None:
    assert find_entry(name).name in ("ESC-50", "mn10_as", "UrbanSound8K")


def test_a_name_that_is_none() -> None:
    with pytest.raises(CatalogError) as caught:
        find_entry("FSDKagle2019")
    assert str(caught.value) == (
        "nothing named 'FSDKagle2019' can be fetched; did you mean 'FSDKaggle2019'?; "
        "'earmark data fetch --list' lists what can be"
    )


WHOLE = """
[[entry]]
name = "a"
kind = "collection"
title = "t"
about = "b"
home = "h"
license = "l"
license_notes = "n"
citation = "c"
layout = "y"
[[entry.file]]
name = "a.zip"
url = "https://a.example/a.zip"
size = 5
checksum = "md5:00000000000000000000000000000000"
checksum_source = "s"
[[entry.archive]]
parts = ["a.zip"]
"""


def test_the_smallest_catalog() -> None:
    (entry,) = read_catalog(WHOLE)
    assert (entry.name, entry.size, entry.archives[0].parts) == ("a", 5, ("a.zip",))
    assert entry.files[0].known_hash == "md5:" + "0" * 32
    without = msgspec.structs.replace(entry, files=(msgspec.structs.replace(entry.files[0], size=None),))
    assert without.size is None


FILE = "the catalog's entry 'a', file 'a.zip':"
SUMS = "expected md5: and 32, sha1: and 40, sha256: and 64 hexadecimal digits, or 'none'"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[[entry]]", "[[entry]", "the catalog is malformed: "),
        ("title", "titel", "the catalog is malformed: Object contains unknown field `titel`"),
        ("size = 5", "size = 'five'", "the catalog is malformed: Expected `int | null`, got `str`"),
        ('kind = "collection"', 'kind = "model"', "the catalog is malformed: Invalid enum value 'model'"),
        ("size = 5", "size = 0", f"{FILE} size 0 is not positive"),
        ("https://a", "http://a", f"{FILE} address 'http://a.example/a.zip' does not begin with https://"),
        (
            'name = "a.zip"',
            'name = "../a.zip"',
            "the catalog's entry 'a', file '../a.zip': is not a plain name of a file",
        ),
        ("md5:0", "md5:", f"{FILE} checksum 'md5:{'0' * 31}' is none; {SUMS}"),
        ("md5:0", "md5:G", f"{FILE} checksum 'md5:G{'0' * 31}' is none; {SUMS}"),
        ("md5:", "crc:", f"{FILE} checksum 'crc:{'0' * 32}' is none; {SUMS}"),
        ('parts = ["a.zip"]', "parts = []", "the catalog's entry 'a': its archives have other parts than its files"),
        ("collection", "weights", "the catalog's entry 'a': weights are one file and no archive"),
    ],
)
def test_a_malformed_catalog(old: str, new: str, said: str) -> None:
    assert old in WHOLE
    with pytest.raises(CatalogError) as caught:
        read_catalog(WHOLE.replace(old, new, 1))
    assert str(caught.value).startswith(said)


def test_a_name_twice() -> None:
    with pytest.raises(CatalogError, match=r"^the catalog has 'a' and 'A'; expected each name once$"):
        read_catalog(WHOLE + WHOLE.replace('name = "a"', 'name = "A"'))
