"""Rows of tables in CSV, TSV, JSON Lines and Parquet, all alike."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.data.problem import Problem
from earmark.data.rows import Row, check_columns, distinct_rows, read_rows, read_text
from earmark.errors import CollectionError, MissingExtraError


@dataclass(frozen=True)
class Wanted:
    """What a table is to hold.

    Parameters
    ----------
    columns
        Columns that it must have; the first names the clips, which must differ, the second their labels.
    optional
        Columns that may also be there.
    label_separator
        What joins labels in a cell; lists of labels are joined by it too.
    problems
        Where to put clips that are listed twice; without it, they are errors.
    remedy
        What to advise when a column is missing; see `read_rows`.
    """

    columns: Sequence[str]
    optional: Sequence[str] = ()
    label_separator: str = ","
    problems: list[Problem] | None = None
    remedy: str = ""


def read_table(path: Path, wanted: Wanted) -> list[Row]:
    """Read a table in the format that its suffix says.

    Parameters
    ----------
    path
        With a suffix in `FORMATS`.
    wanted
        What it is to hold.

    Returns
    -------
    list of Row
        At least one, in order. Rows of Parquet are counted from 1.

    Raises
    ------
    CollectionError
        If the table cannot be read, has no rows, lacks a column, lists a clip twice, or has a cell that is neither
        text nor a number.
    MissingExtraError
        If it is Parquet and pyarrow is not installed.
    """
    return FORMATS[path.suffix.lower()](path, wanted)


def _read_csv(path: Path, wanted: Wanted) -> list[Row]:
    return _read_delimited(path, wanted, ",")


def _read_tsv(path: Path, wanted: Wanted) -> list[Row]:
    return _read_delimited(path, wanted, "\t")


def _read_delimited(path: Path, wanted: Wanted, delimiter: str) -> list[Row]:
    unique = wanted.columns[0]
    return read_rows(
        path, wanted.columns, unique=unique, delimiter=delimiter, problems=wanted.problems, remedy=wanted.remedy
    )


def _read_json_lines(path: Path, wanted: Wanted) -> list[Row]:
    rows = []
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        row = Row(path, line, {})
        record = _json_object(row, text)
        missing = [column for column in wanted.columns if column not in record]
        if missing:
            check_columns(Path(row.place), list(record), wanted.columns, wanted.remedy)
        rows.append(_with_cells(row, record, wanted))
    if not rows:
        raise CollectionError(f"{path.name}: has no rows; expected an object a line, one a clip")
    return distinct_rows(rows, wanted.columns[0], wanted.problems)


def _json_object(row: Row, text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise row.error(f"is not JSON ({error.msg} at character {error.pos + 1}); write one object a line") from error
    if not isinstance(record, dict):
        raise row.error('is not an object; write each clip as {"path": "a.wav", "labels": ["Bark"]}')
    return record


def _read_parquet(path: Path, wanted: Wanted) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingExtraError("reading Parquet", "data") from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            check_columns(path, names, wanted.columns, wanted.remedy)
            columns = [name for name in names if name in (*wanted.columns, *wanted.optional)]
            records = file.read(columns=columns).to_pylist()
    except (ArrowException, OSError) as error:
        raise CollectionError(f"{path.name}: cannot be read as Parquet ({error}); write it again") from error
    if not records:
        raise CollectionError(f"{path.name}: has columns but no rows; expected one row a clip")
    rows = [_with_cells(Row(path, n, {}, "row"), record, wanted) for n, record in enumerate(records, start=1)]
    return distinct_rows(rows, wanted.columns[0], wanted.problems)


def _with_cells(row: Row, record: Mapping[str, Any], wanted: Wanted) -> Row:
    """The row with the text of the cells that are wanted."""
    cells = {}
    for column in (*wanted.columns, *wanted.optional):
        if column in record:
            value = record[column]
            is_labels = column == wanted.columns[1]
            cells[column] = (
                _joined(row, column, value, wanted.label_separator)
                if is_labels and isinstance(value, list)
                else _text(row, column, value)
            )
    return Row(row.file, row.line, cells, row.unit)


def _joined(row: Row, column: str, labels: list[Any], separator: str) -> str:
    for label in labels:
        if not isinstance(label, str) or not label.strip():
            raise row.error(f"{column} {labels!r} holds {label!r}; expected names of labels")
        if separator in label:
            raise row.error(f"{column}: label {label!r} holds {separator!r}, which joins labels; write it without")
    return separator.join(labels)


def _text(row: Row, column: str, value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Whole numbers in a column with gaps come as floats from data frames.
        return str(int(value)) if float(value).is_integer() else str(value)
    raise row.error(f"{column} is of type {type(value).__name__}; expected text or a number")


FORMATS: dict[str, Callable[[Path, Wanted], list[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
"""How to read a table, by its suffix."""
