"""Files that fix the labels of a collection and their order."""

from __future__ import annotations

from pathlib import Path

from earmark.data.rows import records
from earmark.errors import CollectionError, LabelError
from earmark.labels import Vocabulary

LABEL_COLUMNS = ("label", "labels", "display_name")
"""How a header calls the column of labels, if there is a header."""


def read_vocabulary(path: Path | str) -> Vocabulary:
    """Read a file with a label a row, or `index,label` with what may follow, as FSD50K's `vocabulary.csv` has it.

    Parameters
    ----------
    path
        A CSV file in UTF-8. A header is one when it has a column named in `LABEL_COLUMNS`, which then holds the
        labels.

    Returns
    -------
    Vocabulary
        The labels in the order of the rows.

    Raises
    ------
    CollectionError
        If the file cannot be read, is empty, or has rows of different lengths or numbers out of order.
    LabelError
        If a label is not usable, or stands twice.
    """
    path = Path(path)
    rows = list(records(path))
    if not rows:
        raise CollectionError(f"{path.name}: is empty; expected a label a row, or rows of index,label")
    header = [cell.strip().lower() for cell in rows[0][1]]
    place = next((header.index(name) for name in LABEL_COLUMNS if name in header), None)
    if place is not None:
        rows, number_place = rows[1:], header.index("index") if "index" in header else None
    else:
        place, number_place = (1, 0) if len(header) > 1 else (0, None)
    if not rows:
        raise CollectionError(f"{path.name}: has a header but no labels; expected a label a row")
    for line, cells in rows:
        if len(cells) != len(header):
            raise CollectionError(
                f"{path.name} line {line}: {len(cells)} cells; expected {len(header)}, as above; labels hold no commas"
            )
    if number_place is not None:
        _check_numbers(path, [(line, cells[number_place]) for line, cells in rows])
    try:
        return Vocabulary(cells[place] for _, cells in rows)
    except LabelError as error:
        raise LabelError(f"{path.name}: {error}") from None


def _check_numbers(path: Path, numbers: list[tuple[int, str]]) -> None:
    """Positions count from 0 or from 1, in the order of the rows."""
    first = 1 if numbers[0][1].strip() == "1" else 0
    for expected, (line, text) in enumerate(numbers, start=first):
        if text.strip() != str(expected):
            raise CollectionError(
                f"{path.name} line {line}: index '{text}'; expected {expected}, since labels stand in their order; "
                "sort the rows, or leave the column out"
            )
