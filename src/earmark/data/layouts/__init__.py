"""Layouts: how collections lie on disk, and how each becomes a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from earmark.data.layouts import classes, folders, fsd50k, fsdkaggle, table
from earmark.data.layouts.reading import Layout as Layout
from earmark.data.layouts.reading import Reading as Reading
from earmark.data.manifest import Clip, Manifest
from earmark.data.problem import Problem
from earmark.data.store import is_store
from earmark.data.vocabulary import read_vocabulary
from earmark.errors import CollectionError, did_you_mean

LAYOUTS: dict[str, Layout] = {
    **classes.LAYOUTS,
    **fsdkaggle.LAYOUTS,
    **fsd50k.LAYOUTS,
    **table.LAYOUTS,
    **folders.LAYOUTS,
}
"""Layouts by name. `read_collection` recognises whatever stands here."""

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


def read_collection(
    folder: Path | str,
    *,
    layout: str | None = None,
    problems: list[Problem] | None = None,
    vocabulary: Path | str | None = None,
    columns: Mapping[str, str] | None = None,
    label_separator: str = ",",
    audio_folder: Path | str | None = None,
) -> Manifest:
    """Read a collection of recordings.

    Audio is not opened; `missing_files` lists what is not there, `packed_audio` what still lies in archives.

    Parameters
    ----------
    folder
        The collection's folder; for the layout `table` also the table itself.
    layout
        A name in `LAYOUTS`; without it, the one that fits.
    problems
        Where to put what is wrong with single clips, instead of raising it: labels that are unknown, malformed or
        missing, clips that are listed twice, audio that is still packed. Such a clip stays, without those labels; of
        one that is listed twice, the first stays.
    vocabulary
        A file that says which labels there may be, in order; see `read_vocabulary`. Without it, the collection's own.
    columns
        How a table calls the columns of a manifest, as `{"labels": "category"}`; for the layout `table`.
    label_separator
        What joins labels in a table's cell; for the layout `table`.
    audio_folder
        What a table's paths are relative to; None for the table's folder; for the layout `table`.

    Returns
    -------
    Manifest
        All clips of all subsets, in the order of the collection's tables.

    Raises
    ------
    CollectionError
        If the folder does not exist, its layout is not the named one, or is none or more than one of those known,
        one of its tables is malformed, or all its audio still lies in archives.
    LabelError
        If a label is unusable or not in the collection's vocabulary.
    """
    folder = Path(folder)
    layout = _layout(folder, layout)
    if layout != "table" and (columns or label_separator != "," or audio_folder is not None):
        raise CollectionError(
            f"{folder}: has the layout '{layout}', whose columns and folders are known; columns, a separator of labels "
            "and a folder of audio are said of tables only: leave them out, or give the table itself"
        )
    how = Reading(
        problems=problems,
        vocabulary=None if vocabulary is None else read_vocabulary(vocabulary),
        columns=columns or {},
        label_separator=label_separator,
        audio_folder=None if audio_folder is None else Path(audio_folder),
    )
    manifest = LAYOUTS[layout].read(folder, how)
    _tell_packed(manifest, problems)
    return manifest


def missing_files(manifest: Manifest) -> list[Clip]:
    """The clips whose audio file does not exist, in order."""
    return [clip for clip in manifest.clips if not clip.path.is_file()]


def packed_audio(manifest: Manifest) -> dict[Path, int]:
    """Archives that lie where folders of audio should be, each with the number of clips that have no folder for it.

    Parameters
    ----------
    manifest
        A collection in its folder.

    Returns
    -------
    dict
        Number of clips by the archive's path; empty when all folders are there, or nothing is in their place.
    """
    n_clips = Counter(clip.path.parent for clip in manifest.clips)
    packed: dict[Path, int] = {}
    for folder, n in n_clips.items():
        archive = None if folder.is_dir() else _archive_of(folder, manifest.root)
        if archive is not None:
            packed[archive] = packed.get(archive, 0) + n
    return packed


def _archive_of(folder: Path, root: Path) -> Path | None:
    """The archive beside a folder that is not there, or beside one above it in the collection."""
    for place in (folder, *folder.parents):
        if place == root or place.is_dir():
            return None
        for suffix in ARCHIVE_SUFFIXES:
            archive = place.with_name(place.name + suffix)
            if archive.is_file():
                return archive
    return None


def _tell_packed(manifest: Manifest, problems: list[Problem] | None) -> None:
    """Raise when there is no audio but in archives; of a part that is packed, one may do without."""
    packed = packed_audio(manifest)
    names = ", ".join(archive.name for archive in packed)
    if packed and sum(packed.values()) == len(manifest):
        raise CollectionError(
            f"{manifest.root}: the audio of all {len(manifest)} clips is still packed, in {names}; "
            "unpack it there first"
        )
    if packed and problems is not None:
        clips = tuple(clip.name for clip in manifest.clips if not clip.path.parent.is_dir())
        message = f"the audio of {len(clips)} clips is still packed, in {names}; unpack it there to use them"
        problems.append(Problem("audio still packed", clips, message, "warning"))


def _layout(folder: Path, layout: str | None) -> str:
    if layout is not None and layout not in LAYOUTS:
        known = ", ".join(f"'{name}'" for name in LAYOUTS)
        raise CollectionError(f"layout '{layout}' is not known; expected {known}{did_you_mean(layout, LAYOUTS)}")
    if not folder.exists():
        raise CollectionError(
            f"{folder}: no such folder; expected the folder of a collection, "
            "check the path, or fetch a public one with 'earmark data fetch'"
        )
    if is_store(folder):
        raise CollectionError(
            f"{folder}: is a packed store, which 'train', 'predict' and 'data folds' take; expected the "
            "collection that it was made from"
        )
    if layout is None:
        return _detect(folder)
    if not LAYOUTS[layout].last and not LAYOUTS[layout].detect(folder):
        raise CollectionError(
            f"{folder}: is not of the layout '{layout}', there is no {LAYOUTS[layout].looks_for}; "
            "check the path, or leave the layout out to have it detected"
        )
    return layout


def _detect(folder: Path) -> str:
    fitting = _fitting(folder)
    if not fitting:
        _refuse_one_above(folder)
        fitting = [name for name, layout in LAYOUTS.items() if layout.last and layout.detect(folder)]
    if not fitting:
        looked_for = "; ".join(f"{layout.looks_for} ({name})" for name, layout in LAYOUTS.items())
        raise CollectionError(
            f"{folder}: no layout recognised; looked for {looked_for}; {_archive_hint(folder)}"
            "to describe recordings of your own, write a clips.csv with the columns path,labels"
        )
    if len(fitting) > 1:
        found = " and ".join(f"{LAYOUTS[name].looks_for} ({name})" for name in fitting)
        raise CollectionError(f"{folder}: more than one layout fits, found {found}; name the layout to use")
    return fitting[0]


def _fitting(folder: Path) -> list[str]:
    """The layouts that fit for certain, not by a guess."""
    return [name for name, layout in LAYOUTS.items() if not layout.last and layout.detect(folder)]


def _refuse_one_above(folder: Path) -> None:
    """Say where the collection is, when it was unpacked into a folder of its own below this one."""
    if not folder.is_dir():
        return
    children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    found = [(child, names) for child in children if (names := _fitting(child))]
    if found:
        listed = ", ".join(f"{child.name} ({', '.join(names)})" for child, names in found)
        raise CollectionError(
            f"{folder}: no collection itself, but holds {listed}; give {'it' if len(found) == 1 else 'one of them'}, "
            f"such as {found[0][0]}"
        )


def _archive_hint(folder: Path) -> str:
    files = [folder] if folder.is_file() else sorted(folder.iterdir())
    archives = [file.name for file in files if file.name.endswith(ARCHIVE_SUFFIXES)]
    if not archives:
        return ""
    shown = ", ".join(archives[:3]) + (f" and {len(archives) - 3} more" if len(archives) > 3 else "")
    return f"{shown} must be unpacked first; "
