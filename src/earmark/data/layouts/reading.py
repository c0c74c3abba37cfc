"""What a layout is, and what all of them share: how labels are read, and where problems go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from earmark.data.manifest import Clip, Manifest
from earmark.data.problem import Problem
from earmark.data.rows import Row, read_rows
from earmark.errors import CollectionError, EarmarkError, LabelError
from earmark.labels import Vocabulary


@dataclass(frozen=True)
class Reading:
    """How one collection is to be read.

    Parameters
    ----------
    problems
        Where to put what is wrong with single clips; without it, the first of them is raised.
    vocabulary
        All labels that clips may have, in order; None for the collection's own.
    columns
        How a table calls the columns of a manifest, for the layout `table`; those left out have their own names.
    label_separator
        What joins the labels of a cell, for the layout `table`.
    audio_folder
        What paths are relative to, for the layout `table`; None for the table's folder.
    """

    problems: list[Problem] | None = None
    vocabulary: Vocabulary | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    label_separator: str = ","
    audio_folder: Path | None = None

    def report(self, error: EarmarkError, kind: str, *clips: str) -> None:
        """Raise an error about single clips, or put it where problems go."""
        if self.problems is None:
            raise error
        self.problems.append(Problem(kind, clips, str(error)))

    def rows(self, path: Path, columns: Sequence[str]) -> list[Row]:
        """Rows of a CSV table whose first column names clips; see `read_rows`."""
        return read_rows(path, columns, unique=columns[0], problems=self.problems)

    def row_labels(self, row: Row, name: str, column: str = "labels", separator: str = ",") -> tuple[str, ...]:
        """Labels in a cell of the clip `name`; where problems are gathered, those that can be made out."""
        try:
            return row.labels(column, separator)
        except CollectionError as error:
            self.report(error, "malformed labels", name)
        parts = (part.strip() for part in row[column].split(separator))
        return tuple(dict.fromkeys(part for part in parts if part and "," not in part))

    def known_labels(self, row: Row, name: str, labels: Iterable[str], vocabulary: Vocabulary) -> tuple[str, ...]:
        """Labels of the clip `name` that the vocabulary has; the others are problems."""
        kept = []
        for label in labels:
            try:
                row.check_labels((label,), vocabulary)
                kept.append(label)
            except LabelError as error:
                self.report(error, "unknown label", name)
        return tuple(kept)

    def occurring(self, rows: Iterable[Row]) -> Vocabulary:
        """The labels that rows have, sorted; what is wrong with them is told when their clips are read."""
        silent = replace(self, problems=None if self.problems is None else [])
        return Vocabulary(sorted({label for row in rows for label in silent.row_labels(row, "")}))

    def training_labels(self, row: Row, name: str, vocabulary: Vocabulary) -> tuple[str, ...]:
        """Labels of a clip to learn from, which must have some."""
        labels = self.row_labels(row, name)
        if not labels:
            self.report(row.error(f"'{name}' has no labels; add them, or remove the row"), "no labels", name)
        return self.known_labels(row, name, labels, vocabulary)

    def manifest(self, clips: Iterable[Clip], vocabulary: Vocabulary, folder: Path, layout: str) -> Manifest:
        """The manifest of all clips; where problems are gathered, a name or a file that stands again is one."""
        clips = tuple(clips)
        if self.problems is not None:
            clips = self._distinct(clips)
        return Manifest(clips, vocabulary, folder, layout)

    def _distinct(self, clips: tuple[Clip, ...]) -> tuple[Clip, ...]:
        kept: list[Clip] = []
        named: dict[str, Clip] = {}
        placed: dict[Path, Clip] = {}
        for clip in clips:
            twin = named.get(clip.name) or placed.get(clip.path)
            if twin is None:
                named[clip.name] = placed[clip.path] = clip
                kept.append(clip)
                continue
            where = f"as {twin.path} and {clip.path}" if twin.name == clip.name else f"also as '{twin.name}'"
            error = CollectionError(f"clip '{clip.name}' stands twice, {where}; list each clip once")
            self.report(error, "listed twice", clip.name)
        return tuple(kept)


@dataclass(frozen=True)
class Layout:
    """One way in which collections are laid out.

    Parameters
    ----------
    looks_for
        What tells the layout, in words for messages.
    detect
        Whether a path, which exists, is a collection of this layout.
    read
        The manifest of such a path, read as it is to be.
    last
        Whether it is a guess, tried only when nothing else fits.
    """

    looks_for: str
    detect: Callable[[Path], bool]
    read: Callable[[Path, Reading], Manifest]
    last: bool = False


@dataclass(frozen=True)
class Notes:
    """A table that says more about the clips of another one, such as their sources and licences.

    Parameters
    ----------
    file
        The table.
    says
        What it says, in words for messages.
    row_of
        Its row of each clip.
    """

    file: Path
    says: str
    row_of: Mapping[str, Row]

    @classmethod
    def read(cls, file: Path, says: str, columns: Sequence[str], how: Reading) -> Notes:
        """Read the table, which must have the columns; the first names the clips."""
        return cls(file, says, {row[columns[0]]: row for row in how.rows(file, columns)})

    def of(self, row: Row, name: str) -> Row:
        """The row of the clip `name`, which another table has as `row`; `CollectionError` when there is none."""
        if name not in self.row_of:
            raise row.error(
                f"'{name}' has no row in {self.file.name}, which names each clip's {self.says}; "
                f"add it, or remove that table to do without {self.says}s"
            )
        return self.row_of[name]


def first_of(folder: Path, *names: str) -> Path | None:
    """The first of these files and folders that exists in a folder, if any."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def any_of(*names: str) -> Callable[[Path], bool]:
    """Detect folders that hold one of these files."""
    return lambda folder: any((folder / name).is_file() for name in names)


def single_label(row: Row, column: str) -> str:
    """The only name in a cell; `CollectionError` if it is none, or more than one."""
    names = row.labels(column)
    if len(names) != 1:
        raise row.error(f"{column} {row[column]!r} is not one name; expected a name without commas")
    return names[0]


@dataclass
class NumberedClasses:
    """Classes that a table both names and numbers; the numbers are the order of the labels."""

    name_of: dict[int, str] = field(default_factory=dict)
    number_of: dict[str, int] = field(default_factory=dict)

    def read(self, row: Row, number_column: str, name_column: str) -> str:
        """The class of a row; `CollectionError` if its number or name is another's."""
        number, name = row.whole_number(number_column), single_label(row, name_column)
        if number is None:
            raise row.error(f"{number_column} is empty; expected the number of the {name_column}, such as 0")
        if self.name_of.setdefault(number, name) != name:
            raise row.error(
                f"{number_column} {number} is '{name}', but was '{self.name_of[number]}' above; expected one name"
            )
        if self.number_of.setdefault(name, number) != number:
            raise row.error(
                f"{name_column} '{name}' has {number_column} {number}, but had {self.number_of[name]} above; "
                "expected one number"
            )
        return name

    def vocabulary(self) -> Vocabulary:
        """The classes in the order of their numbers."""
        return Vocabulary(self.name_of[number] for number in sorted(self.name_of))


def official_fold(row: Row, example: str) -> int:
    """The number in a row's column `fold`, which must be there."""
    fold = row.whole_number("fold")
    if fold is None:
        raise row.error(f"fold is empty; expected a whole number, {example}")
    return fold
