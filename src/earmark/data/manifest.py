"""Manifests: which clips a collection has, where they lie, and what is said about them.

A manifest is also a table, `path,labels,subset,group,fold,duration_s,license`. Every table of a collection is read
through `read_rows`, so that all of them fail in the same words.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PureWindowsPath

import numpy as np

from earmark.atomic import write_text_atomically
from earmark.errors import CollectionError, LabelError, did_you_mean
from earmark.labels import Vocabulary

SUBSETS = ("curated", "noisy", "test")
"""What a clip is for: labelled by people, labelled by a machine, or to be tagged."""

COLUMNS = ("path", "labels", "subset", "group", "fold", "duration_s", "license")
"""Columns of a manifest's table, in order."""

NEVER_HELD_OUT = -1
"""The fold of a clip that is learned from in every fold, as scikit-learn's `PredefinedSplit` numbers it."""

_MAX_NAMES_IN_MESSAGE = 8


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
                    raise LabelError(f"clip '{clip.name}': {_unknown_label(label, self.vocabulary)}")

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

        A clip's name is its path as the table writes it. A blank `subset` means `curated`; a blank `group`, `fold`,
        `duration_s` or `license` means that it is not known. A `fold` of -1 is `NEVER_HELD_OUT`.

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
        labels = [_row_labels(row) for row in rows]
        if vocabulary is None:
            vocabulary = Vocabulary(sorted({label for clip_labels in labels for label in clip_labels}))
        for row, clip_labels in zip(rows, labels, strict=True):
            row.check_labels(clip_labels, vocabulary)
        clips = (_row_clip(row, clip_labels) for row, clip_labels in zip(rows, labels, strict=True))
        return cls(tuple(clips), vocabulary, csv_path.parent, layout)


@dataclass(frozen=True)
class Row:
    """One row of a collection's table, which knows where it stands.

    Parameters
    ----------
    file
        The table.
    line
        Number of the row's first line, from 1.
    cells
        Text of each column.
    """

    file: Path
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def get(self, column: str) -> str | None:
        """Text of a column; None when the table lacks it or the cell is blank."""
        return self.cells.get(column, "").strip() or None

    def error(self, message: str) -> CollectionError:
        """A `CollectionError` that names the table and the line."""
        return CollectionError(f"{self.file.name} line {self.line}: {message}")

    def audio_path(self, column: str, folder: Path) -> Path:
        """The file that a cell names, which must lie inside `folder`; `CollectionError` if it would not."""
        name = self.cells[column]
        as_windows = PureWindowsPath(name)  # knows both separators, so a table is as safe on every platform
        if not name.strip() or not as_windows.name or "\0" in name:
            raise self.error(f"{column} {name!r} names no file; write its path inside {folder}")
        if as_windows.anchor or ".." in as_windows.parts:
            raise self.error(f"{column} {name!r} leads out of {folder}; expected a path inside it, such as 'clip.wav'")
        return folder / name

    def labels(self, column: str = "labels") -> tuple[str, ...]:
        """Names in a comma-joined cell, none when it is blank; `CollectionError` if one is empty or repeated."""
        text = self.cells[column]
        names = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
        if "" in names:
            raise self.error(f"{column} {text!r} has an empty label; join names with single commas, 'Bark,Meow'")
        if len(set(names)) < len(names):
            raise self.error(f"{column} {text!r} has a label twice; give each label once")
        return names

    def check_labels(self, labels: Sequence[str], vocabulary: Vocabulary) -> None:
        """Raise a `LabelError` that names the line unless all labels are in the vocabulary."""
        for label in labels:
            if label not in vocabulary:
                raise LabelError(f"{self.file.name} line {self.line}: {_unknown_label(label, vocabulary)}")

    def whole_number(self, column: str) -> int | None:
        """A number of 0 or more, None when blank or without such a column; `CollectionError` if it is anything else."""
        text = self.get(column)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal()):
            raise self.error(f"{column} {text!r} is not a whole number of 0 or more, such as 3")
        return int(text)

    def fold(self) -> int | None:
        """The number in the column `fold`, `NEVER_HELD_OUT` among them; see `whole_number`."""
        return NEVER_HELD_OUT if self.get("fold") == str(NEVER_HELD_OUT) else self.whole_number("fold")

    def seconds(self, column: str) -> float | None:
        """Seconds of 0 or more, None when blank or without such a column; `CollectionError` if it is anything else."""
        text = self.get(column)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise self.error(f"{column} {text!r} is not a number of seconds of 0 or more, such as 4.25")
        return value


def read_rows(path: Path, columns: Sequence[str], *, unique: str | None = None) -> list[Row]:
    """The rows of a CSV file in UTF-8, each with its line.

    Parameters
    ----------
    path
        The table. A byte order mark is accepted, blank lines between rows are no rows.
    columns
        Columns that it must have; it may have more.
    unique
        The column whose cells must differ, if any.

    Returns
    -------
    list of Row
        At least one, in order.

    Raises
    ------
    CollectionError
        If the file cannot be read as UTF-8 CSV, has no rows, lacks a column, has a row of another length, or
        repeats a `unique` cell.
    """
    records = _records(path)
    _, header = next(records, (0, []))
    if not header:
        raise CollectionError(f"{path.name}: is empty; expected a header line with {_quoted(columns)}")
    _check_header(path, header, columns)
    rows: list[Row] = []
    first_line: dict[str, int] = {}
    for line, cells in records:
        if len(cells) != len(header):
            raise CollectionError(
                f"{path.name} line {line}: {len(cells)} cells; expected {len(header)}, {_quoted(header)}; "
                'put a cell that holds commas in quotes, "Bark,Meow"'
            )
        row = Row(path, line, dict(zip(header, cells, strict=True)))
        if unique is not None and first_line.setdefault(row[unique], line) != line:
            raise row.error(f"{unique} '{row[unique]}' stands already on line {first_line[row[unique]]}; list it once")
        rows.append(row)
    if not rows:
        raise CollectionError(f"{path.name}: has a header but no rows; expected one row a clip")
    return rows


def format_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    r"""Text of a CSV table with ``\n`` line ends, cells quoted where they must be."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and cells, of each record that is not a blank line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CollectionError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise CollectionError(
            f"{path.name} line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8; save the table as UTF-8"
        ) from error
    # Strict, because a quote that is never closed would otherwise swallow all the rows after it.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CollectionError(f"{path.name} line {start}: is not CSV ({error}); is a quote left open?") from error
        if cells:
            yield start, cells
        start = reader.line_num + 1


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in header:
            hint = did_you_mean(column, [name for name in header if name not in columns])
            if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
                hint = "; separate cells by commas"
            raise CollectionError(f"{path.name}: no column '{column}'; found {_quoted(header)}{hint}")
    twice = [column for column in header if header.count(column) > 1]
    if twice:
        raise CollectionError(f"{path.name}: column '{twice[0]}' stands twice; give each column a name of its own")


def _row_labels(row: Row) -> tuple[str, ...]:
    labels = row.labels()
    if not labels and row.get("subset") != "test":
        raise row.error("a clip to learn from has no labels; add them, or set its subset to 'test'")
    return labels


def _row_clip(row: Row, labels: tuple[str, ...]) -> Clip:
    subset = row.get("subset") or "curated"
    if subset not in SUBSETS:
        raise row.error(_unknown_subset(subset))
    path = row.audio_path("path", row.file.parent)
    duration_s, license_ = row.seconds("duration_s"), row.get("license")
    return Clip(row["path"], path, labels, subset, row.get("group"), row.fold(), duration_s, license_)


def _unknown_subset(name: str) -> str:
    return f"subset '{name}' is not known; expected {_quoted(SUBSETS)}{did_you_mean(name, SUBSETS)}"


def _unknown_label(label: str, vocabulary: Vocabulary) -> str:
    return f"label '{label}' is not in the vocabulary{did_you_mean(label, vocabulary)}"


def _quoted(names: Sequence[str]) -> str:
    """Names in quotes, joined by commas; of many, the first few and how many more."""
    shown = ", ".join(f"'{name}'" for name in names[:_MAX_NAMES_IN_MESSAGE])
    left_out = len(names) - _MAX_NAMES_IN_MESSAGE
    return f"{shown} and {left_out} more" if left_out > 0 else shown
