"""Recordings sorted into folders: one folder a label, and maybe one above them for each subset."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from earmark.audio.suffixes import SUFFIXES
from earmark.data.layouts.reading import Layout, Reading
from earmark.data.layouts.table import VOCABULARY, beside
from earmark.data.manifest import SUBSET_OF_WORD, Clip, Manifest
from earmark.errors import CollectionError, LabelError, did_you_mean
from earmark.labels import Vocabulary

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx"})
"""A folder with such a file says its labels there, so that its folders are no labels."""

NO_LABEL = re.compile(
    r"(fold|split|part)[-_ ]?\d+|train_(curated|noisy)|val|valid|validation|dev|clips|wavs?"
    r"|(.*\.)?(audio|(dev|eval|train|test)_audio|audio_(dev|eval|train|test).*)",
    re.IGNORECASE,
)
"""Names that folders of recordings have in published collections, where they are neither labels nor subsets."""


@dataclass(frozen=True)
class _Place:
    """A folder of recordings, with what it says of them."""

    folder: Path
    label: str | None
    subset: str


def read_folders(folder: Path, how: Reading) -> Manifest:
    """One folder a label, `Bark/a.wav`, or below one a subset: `train` or `curated`, `noisy`, `test` or `eval`.

    Recordings lie at any depth below their label; those of a test may lie in its folder itself, without labels.
    A clip's name is its path below `folder`. Hidden files and those whose suffix is of no recording are not looked at.
    A `vocabulary.csv` fixes the labels and their order; otherwise they are those of the folders, sorted.
    """
    places = _places(folder)
    labels = {place.label for place in places if place.label is not None}
    vocabulary = how.vocabulary or beside(folder) or _vocabulary(folder, labels)
    clips = [clip for place in places for clip in _clips(place, folder, vocabulary, how)]
    return how.manifest(clips, vocabulary, folder, "folders")


def is_folders(folder: Path) -> bool:
    """Whether a folder has recordings in two folders or more, none beside those, and no table."""
    if not folder.is_dir() or _loose(folder):
        return False
    with_audio = [child for child in _children(folder) if _has_audio(child)]
    without = [child for child in _children(folder) if child not in with_audio]
    subsets = [child for child in with_audio if child.name in SUBSET_OF_WORD]
    if any(_has_table(place) for place in (folder, *without, *subsets)):
        return False
    if with_audio and subsets == with_audio:
        with_audio = [label for child in subsets for label in _children(child) if _has_audio(label)]
    return len({child.name for child in with_audio}) > 1


def _places(folder: Path) -> list[_Place]:
    if not folder.is_dir():
        raise CollectionError(f"{folder}: is a file; expected a folder with a folder for each label")
    children = [child for child in _children(folder) if _has_audio(child)]
    _refuse_loose(folder, folder)
    _refuse_unclear(folder, [child.name for child in children])
    places: list[_Place] = []
    for child in children:
        subset = SUBSET_OF_WORD.get(child.name)
        if subset is None:
            places.append(_Place(child, child.name, "curated"))
            continue
        if subset == "test" and _loose(child):
            places.append(_Place(child, None, subset))
        else:
            _refuse_loose(child, folder)
        places += [_Place(below, below.name, subset) for below in _children(child) if _has_audio(below)]
    labels = sorted({place.label for place in places if place.label is not None})
    if len(labels) < 2:
        found = f"'{labels[0]}' alone" if labels else "none"
        raise CollectionError(f"{folder}: folders with recordings are {found}; expected two or more, one a label")
    return places


def _refuse_loose(folder: Path, root: Path) -> None:
    loose = _loose(folder)
    if loose:
        raise CollectionError(
            f"{root}: '{loose[0].relative_to(root)}' lies in no label's folder; move it into one, such as "
            f"'{(folder / 'Bark' / loose[0].name).relative_to(root)}'"
        )


def _refuse_unclear(folder: Path, names: list[str]) -> None:
    subsets = [name for name in names if name in SUBSET_OF_WORD]
    others = [name for name in names if name not in SUBSET_OF_WORD]
    if subsets and others:
        raise CollectionError(
            f"{folder}: '{subsets[0]}' is a subset, but '{others[0]}' beside it is a label; "
            "put all labels below folders of subsets, or none"
        )
    for name in others:
        if NO_LABEL.fullmatch(name):
            known = ", ".join(f"'{word}'" for word in SUBSET_OF_WORD)
            raise CollectionError(
                f"{folder}: folder '{name}' looks like no label, and is no subset ({known}); rename it, or list the "
                "clips in a table"
            )


def _vocabulary(folder: Path, labels: set[str]) -> Vocabulary:
    for label in sorted(labels):
        if "," in label:
            better = "_and_".join(part.strip().replace(" ", "_") for part in label.split(","))
            raise LabelError(f"{folder}: folder '{label}' is no label, it holds a comma; rename it, to '{better}'")
    try:
        return Vocabulary(sorted(labels))
    except LabelError as error:
        raise LabelError(f"{folder}: {error}; rename its folder") from None


def _clips(place: _Place, root: Path, vocabulary: Vocabulary, how: Reading) -> Iterator[Clip]:
    files = _loose(place.folder) if place.label is None else sorted(_recordings(place.folder))
    names = [file.relative_to(root).as_posix() for file in files]
    labels = () if place.label is None else (place.label,)
    if place.label is not None and place.label not in vocabulary:
        error = LabelError(
            f"{place.folder}: label '{place.label}' is not in the vocabulary{did_you_mean(place.label, vocabulary)}"
        )
        how.report(error, "unknown label", *names)
        labels = ()
    return (Clip(name, file, labels, place.subset) for name, file in zip(names, files, strict=True))


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _loose(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if _is_recording(file.name) and file.is_file())


def _recordings(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if _is_recording(name))


def _has_audio(folder: Path) -> bool:
    return next(_recordings(folder), None) is not None


def _is_recording(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _has_table(folder: Path) -> bool:
    return any(
        file.suffix.lower() in TABLE_SUFFIXES and file.name != VOCABULARY and not file.name.startswith(".")
        for file in folder.iterdir()
    )


LAYOUTS = {"folders": Layout("two folders or more with recordings, one a label", is_folders, read_folders, last=True)}
