"""Manifests: which clips a collection has, where they lie, and what is said about them.

A manifest is also a table, `path,labels,subset,group,fold,duration_s,license`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from earmark.atomic import write_text_atomically
from earmark.data.rows import Row, format_csv, quoted, read_rows, unknown_label
from earmark.errors import CollectionError, LabelError, did_you_mean
from earmark.labels import Vocabulary

SUBSETS = ("curated", "noisy", "test")
"""What a clip is for: labelled by people, labelled by a machine, or to be tagged."""

SUBSET_OF_WORD = {"curated": "curated", "train": "curated", "noisy": "noisy", "test": "test", "eval": "test"}
"""What tables and folders call the subsets."""

COLUMNS = ("path", "labels", "subset", "group", "fold", "duration_s", "license")
"""Columns of a manifest's table, in order."""

NEVER_HELD_OUT = -1
"""The fold of a clip that is learned from in every fold, as scikit-learn's `PredefinedSplit` numbers it."""

COLUMN_NAMES: Mapping[str, str] = {column: column for column in COLUMNS}
"""How a table calls each column of a manifest, unless somebody says otherwise."""


@dataclass(frozen=True)
class Clip:
    """One recording of a collection.

    Parameters
    ----------
    name
        Unique key, as tables of predictions have it (`fname`).
    path
        The audio file.
    labels
        Names of the clip's labels; none when they are not known.
    subset
        `curated`, `noisy` or `test`.
    group
        The recording that the clip was cut from; `a+b` for a mix of two. None when it is not known.
    fold
        The official fold, as the collection numbers it; `NEVER_HELD_OUT` for a clip that is learned from in every
        fold and judged in none; None when there is none.
    duration_s
        Length in seconds; None when it is not known.
    license
        What may be done with the clip, as its collection writes it; None when that is not said.

    Raises
    ------
    CollectionError
        If `subset` is not one of `SUBSETS`.
    """

    name: str
    path: Path
    labels: tuple[str, ...]
    subset: str = "curated"
    group: str | None = None
    fold: int | None = None
    duration_s: float | None = None
    license: str | None = None

    def __post_init__(self) -> None:
        if self.subset not in SUBSETS:
            raise CollectionError(f"clip '{self.name}': {_unknown_subset(self.subset)}")


@dataclass(frozen=True)
class Manifest:
    """The clips of a collection, in the order of its tables.

    Parameters
    ----------
    clips
        Clips with distinct names.
    vocabulary
        All labels that clips may have, in the order of targets and scores.
    root
        The collection's folder.
    layout
        Name of the layout that it was read from.

    Raises
    ------
    CollectionError
        If two clips share a name or a file.
    LabelError
        If a clip has a label that is not in the vocabulary.
    """

    clips: tuple[Clip, ...]
    vocabulary: Vocabulary
    root: Path
    layout: str

    def __post_init__(self) -> None:
        named: dict[str, Clip] = {}
        placed: dict[Path, Clip] = {}
        for clip in self.clips:
            twin = named.setdefault(clip.name, clip)
            if twin is not clip:
                raise CollectionError(
                    f"clip '{clip.name}' stands twice, as {twin.path} and {clip.path}; give each clip a name of its own"
                )
            twin = placed.setdefault(clip.path, clip)
            if twin is not clip:
                raise CollectionError(
                    f"clips '{twin.name}' and '{clip.name}' are the same file, {clip.path}; list each file once"
                )
            for label in clip.labels:
                if label not in self.vocabulary:
                    raise LabelError(f"clip '{clip.name}': {unknown_label(label, self.vocabulary)}")

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of each clip, in order."""
        return tuple(clip.name for clip in self.clips)

    @property
    def is_single_label(self) -> bool:
        """Whether there are clips to learn from (curated or noisy) and each of them has exactly one label."""
        counts = {len(clip.labels) for clip in self.clips if clip.subset != "test"}
        return counts == {1}

    def subset(self, name: str) -> Manifest:
        """The clips of one subset, with the same vocabulary.

        Parameters
        ----------
        name
            `curated`, `noisy` or `test`.

        Returns
        -------
        Manifest
            Without clips when the collection has none of this subset.

        Raises
        ------
        CollectionError
            If there is no subset of this name.
        """
        if name not in SUBSETS:
            raise CollectionError(_unknown_subset(name))
        return self.only(clip for clip in self.clips if clip.subset == name)

    def only(self, clips: Iterable[Clip]) -> Manifest:
        """Some of the clips, or such with other labels, with the same vocabulary; see the class for what is raised."""
        return replace(self, clips=tuple(clips))

    def targets(self) -> np.ndarray:
        """Multi-hot targets, (n_clips, n_labels) float32: 1 where the clip has the label."""
        return self.vocabulary.encode([clip.labels for clip in self.clips])

    def write(self, csv_path: Path | str) -> None:
        """Write the table `path,labels,subset,group,fold,duration_s,license`, atomically.

        Paths are relative to the table's folder, so that both can move together.

        Parameters
        ----------
        csv_path
            The table; an existing one is replaced.

        Raises
        ------
        CollectionError
            If a clip does not lie in the table's folder, or below it.
        """
        csv_path = Path(csv_path)
        folder = os.path.abspath(csv_path.parent)
        rows = []
        for clip in self.clips:
            path = Path(os.path.abspath(clip.path))
            if not path.is_relative_to(folder):
                raise CollectionError(
                    f"{csv_path.name}: clip '{clip.name}' lies outside the table's folder, at {clip.path}; "
                    f"write the table into {self.root}"
                )
            fields = (path.relative_to(folder).as_posix(), ",".join(clip.labels), clip.subset)
            known = ("" if field is None else field for field in (clip.group, clip.fold, clip.duration_s, clip.license))
            rows.append((*fields, *known))
        write_text_atomically(csv_path, format_csv(COLUMNS, rows))

    @classmethod
    def read(cls, csv_path: Path | str, *, vocabulary: Vocabulary | None = None, layout: str = "table") -> Manifest:
        """Read a table with the columns `path,labels` and any of `subset,group,fold,duration_s,license`.

        A clip's name is its path as the table writes it. A blank `subset` means `curated`, as `train` does, and `eval`
        means `test`; a blank `group`, `fold`, `duration_s` or `license` means that it is not known. A `fold` of -1 is
        `NEVER_HELD_OUT`.

        Parameters
        ----------
        csv_path
            The table; paths in it are relative to its folder.
        vocabulary
            The labels that may occur, in the order of targets; without it, those of the table, sorted.
        layout
            Name of the layout to give to the manifest.

        Returns
        -------
        Manifest
            One clip a row, in order.

        Raises
        ------
        CollectionError
            If the table is not as described; the message names its line.
        LabelError
            If a label is unusable or not in `vocabulary`.
        """
        csv_path = Path(csv_path)
        rows = read_rows(csv_path, ("path", "labels"), unique="path")
        labels = [row.labels() for row in rows]
        for row, clip_labels in zip(rows, labels, strict=True):
            check_labelled(row, clip_labels)
        if vocabulary is None:
            vocabulary = Vocabulary(sorted({label for clip_labels in labels for label in clip_labels}))
        for row, clip_labels in zip(rows, labels, strict=True):
            row.check_labels(clip_labels, vocabulary)
        folder = csv_path.parent
        clips = (row_clip(row, clip_labels, folder) for row, clip_labels in zip(rows, labels, strict=True))
        return cls(tuple(clips), vocabulary, folder, layout)


def check_labelled(row: Row, labels: Sequence[str], columns: Mapping[str, str] = COLUMN_NAMES) -> None:
    """Raise a `CollectionError` when a clip to learn from has no labels; see `row_clip`."""
    if not labels and _subset(row, columns) != "test":
        raise row.error("a clip to learn from has no labels; add them, or set its subset to 'test'")


def row_clip(row: Row, labels: tuple[str, ...], folder: Path, columns: Mapping[str, str] = COLUMN_NAMES) -> Clip:
    """The clip that a row of a manifest's table describes.

    Parameters
    ----------
    row
        With the columns of a manifest, those that it must have at least.
    labels
        The clip's.
    folder
        What its path is relative to.
    columns
        How the table calls each of `COLUMNS`.

    Returns
    -------
    Clip
        Named by its path as the row writes it.

    Raises
    ------
    CollectionError
        If a cell is not what its column says.
    """
    path = row.audio_path(columns["path"], folder)
    duration_s, license_ = row.seconds(columns["duration_s"]), row.get(columns["license"])
    group, subset = row.get(columns["group"]), _subset(row, columns)
    return Clip(row[columns["path"]], path, labels, subset, group, row_fold(row, columns["fold"]), duration_s, license_)


def row_fold(row: Row, column: str = "fold") -> int | None:
    """The fold in a cell, `NEVER_HELD_OUT` for -1, None when it is blank; `CollectionError` if it is anything else."""
    return NEVER_HELD_OUT if row.get(column) == str(NEVER_HELD_OUT) else row.whole_number(column)


def _subset(row: Row, columns: Mapping[str, str]) -> str:
    word = row.get(columns["subset"]) or "curated"
    if word not in SUBSET_OF_WORD:
        raise row.error(_unknown_subset(word))
    return SUBSET_OF_WORD[word]


def _unknown_subset(name: str) -> str:
    return f"subset '{name}' is not known; expected {quoted(SUBSETS)}{did_you_mean(name, SUBSETS)}"
