"""Rows: the tables of collections, each cell knowing where it stands.

Every table of a collection is read through `read_rows`, so that all of them fail in the same words.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from earmark.data.problem import Problem
from earmark.errors import CollectionError, LabelError, did_you_mean
from earmark.labels import Vocabulary

_MAX_NAMES_IN_MESSAGE = 8

MOST_DIGITS = 18
"""Of a whole number, which then has 64 bits at the most."""


@dataclass(frozen=True)
class Row:
    """One row of a collection's table, which knows where it stands.

    Parameters
    ----------
    file
        The table.
    line
        Number of the row's first line, from 1; of the row itself where a file has no lines.
    cells
        Text of each column.
    unit
        What `line` counts, for messages.
    """

    file: Path
    line: int
    cells: Mapping[str, str]
    unit: str = "line"

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def get(self, column: str) -> str | None:
        """Text of a column; None when the table lacks it or the cell is blank."""
        return self.cells.get(column, "").strip() or None

    @property
    def place(self) -> str:
        """The table and the line, as messages begin."""
        return f"{self.file.name} {self.unit} {self.line}"

    def error(self, message: str) -> CollectionError:
        """A `CollectionError` that names the table and the line."""
        return CollectionError(f"{self.place}: {message}")

    def audio_path(self, column: str, folder: Path) -> Path:
        """The file that a cell names, which must lie inside `folder`; `CollectionError` if it would not."""
        name = self.cells[column]
        as_windows = PureWindowsPath(name)  # knows both separators, so a table is as safe on every platform
        if not name.strip() or not as_windows.name or "\0" in name:
            raise self.error(f"{column} {name!r} names no file; write its path inside {folder}")
        if as_windows.anchor or ".." in as_windows.parts:
            raise self.error(f"{column} {name!r} leads out of {folder}; expected a path inside it, such as 'clip.wav'")
        return folder / name

    def labels(self, column: str = "labels", separator: str = ",") -> tuple[str, ...]:
        """Names in a cell that joins them by `separator`, none when it is blank.

        Raises
        ------
        CollectionError
            If a name is empty, is repeated, or holds a comma.
        """
        text = self.cells[column]
        names = tuple(part.strip() for part in text.split(separator)) if text.strip() else ()
        if "" in names:
            joined = "single commas, 'Bark,Meow'" if separator == "," else f"{separator!r}, 'Bark{separator}Meow'"
            raise self.error(f"{column} {text!r} has an empty label; join names with {joined}")
        for name in names:
            if "," in name:
                raise self.error(f"{column}: label {name!r} holds a comma; write it without, as {_no_comma(name)!r}")
        if len(set(names)) < len(names):
            raise self.error(f"{column} {text!r} has a label twice; give each label once")
        return names

    def check_labels(self, labels: Sequence[str], vocabulary: Vocabulary) -> None:
        """Raise a `LabelError` that names the line unless all labels are in the vocabulary."""
        for label in labels:
            if label not in vocabulary:
                raise LabelError(f"{self.place}: {unknown_label(label, vocabulary)}")

    def whole_number(self, column: str) -> int | None:
        """A number of 0 or more, None when blank or without such a column; `CollectionError` if it is anything else."""
        text = self.get(column)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal()) or len(text) > MOST_DIGITS:
            raise self.error(f"{column} {text!r} is not a whole number of 0 or more, such as 3")
        return int(text)

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


def read_rows(
    path: Path,
    columns: Sequence[str],
    *,
    unique: str | None = None,
    delimiter: str = ",",
    problems: list[Problem] | None = None,
    remedy: str = "",
) -> list[Row]:
    """The rows of a CSV file in UTF-8, each with its line.

    Parameters
    ----------
    path
        The table. A byte order mark is accepted, blank lines between rows are no rows.
    columns
        Columns that it must have; it may have more.
    unique
        The column whose cells must differ, if any.
    delimiter
        What stands between cells: a comma, or a tab.
    problems
        Where to put rows that repeat a `unique` cell, which are then left out; without it, they are errors.
    remedy
        What to advise when a column is missing and none has a name like it, to follow the message.

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
    read = records(path, delimiter)
    _, header = next(read, (0, []))
    if not header:
        raise CollectionError(f"{path.name}: is empty; expected a header line with {quoted(columns)}")
    if len(header) == 1 and any(other in header[0] for other in {";", "\t", ","} - {delimiter}):
        remedy = "; separate cells by commas" if delimiter == "," else "; separate cells by tabs"
    check_columns(path, header, columns, remedy)
    rows: list[Row] = []
    for line, cells in read:
        if len(cells) != len(header):
            what, example = ("commas", ', "Bark,Meow"') if delimiter == "," else ("tabs", "")
            raise CollectionError(
                f"{path.name} line {line}: {len(cells)} cells; expected {len(header)}, {quoted(header)}; "
                f"put a cell that holds {what} in quotes{example}"
            )
        rows.append(Row(path, line, dict(zip(header, cells, strict=True))))
    if not rows:
        raise CollectionError(f"{path.name}: has a header but no rows; expected one row a clip")
    return rows if unique is None else distinct_rows(rows, unique, problems)


def check_columns(path: Path, header: Sequence[str], columns: Sequence[str], remedy: str = "") -> None:
    """Raise a `CollectionError` unless a table has all of `columns`, and each of its own once; see `read_rows`."""
    for column in columns:
        if column not in header:
            guess = did_you_mean(column, [name for name in header if name not in columns])
            raise CollectionError(f"{path.name}: no column '{column}'; found {quoted(header)}{guess or remedy}")
    twice = [column for column in header if header.count(column) > 1]
    if twice:
        raise CollectionError(f"{path.name}: column '{twice[0]}' stands twice; give each column a name of its own")


def distinct_rows(rows: Sequence[Row], unique: str, problems: list[Problem] | None = None) -> list[Row]:
    """The rows, of which no two may have the same cell in the column `unique`; see `read_rows`."""
    first: dict[str, Row] = {}
    for row in rows:
        twin = first.setdefault(row[unique], row)
        if twin is not row:
            error = row.error(f"{unique} '{row[unique]}' stands already on {twin.unit} {twin.line}; list it once")
            if problems is None:
                raise error
            problems.append(Problem("listed twice", (row[unique],), str(error)))
    return list(first.values())


def format_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    r"""Text of a CSV table with ``\n`` line ends, cells quoted where they must be."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark; `CollectionError` if it cannot be read, or is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CollectionError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise CollectionError(
            f"{path.name} line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8; save the table as UTF-8"
        ) from error


def records(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and cells, of each record of a CSV file that is not a blank line; see `read_rows`."""
    text = read_text(path)
    # Strict, because a quote that is never closed would otherwise swallow all the rows after it.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
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


def _no_comma(label: str) -> str:
    return "_and_".join(part.strip().replace(" ", "_") for part in label.split(",") if part.strip())


def unknown_label(label: str, vocabulary: Vocabulary) -> str:
    """What is wrong with a label that a vocabulary lacks, and which one may be meant."""
    return f"label '{label}' is not in the vocabulary{did_you_mean(label, vocabulary)}"


def quoted(names: Sequence[str]) -> str:
    """Names in quotes, joined by commas; of many, the first few and how many more."""
    shown = ", ".join(f"'{name}'" for name in names[:_MAX_NAMES_IN_MESSAGE])
    left_out = len(names) - _MAX_NAMES_IN_MESSAGE
    return f"{shown} and {left_out} more" if left_out > 0 else shown
