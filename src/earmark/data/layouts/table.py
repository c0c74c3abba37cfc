"""Recordings of one's own: a table with a row a clip, in any format, its columns called as they are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from earmark.data.layouts.formats import FORMATS, Wanted, read_table
from earmark.data.layouts.reading import Layout, Reading
from earmark.data.manifest import COLUMN_NAMES, COLUMNS, Clip, Manifest, check_labelled, row_clip
from earmark.data.rows import Row, quoted
from earmark.data.vocabulary import read_vocabulary
from earmark.errors import CollectionError, did_you_mean
from earmark.labels import Vocabulary

STEM = "clips"
"""Name of the table in a collection's folder, before its suffix."""

VOCABULARY = "vocabulary.csv"
"""A file beside the table, or the folders, that fixes the labels and their order."""

REQUIRED = ("path", "labels")


def read_table_of_clips(path: Path, how: Reading) -> Manifest:
    """A table with the columns `path,labels` and any of `subset,group,fold,duration_s,license`; see `Manifest.read`.

    A `vocabulary.csv` beside it fixes the labels and their order; otherwise they are those that occur, sorted.
    """
    table = _table_in(path) if path.is_dir() else path
    names = {**COLUMN_NAMES, **_checked_columns(how.columns)}
    rows = read_table(table, _wanted(names, how))
    labels = [how.row_labels(row, row[names["path"]], names["labels"], how.label_separator) for row in rows]
    vocabulary = how.vocabulary or beside(table.parent)
    if vocabulary is None:
        vocabulary = Vocabulary(sorted({label for clip_labels in labels for label in clip_labels}))
    base = how.audio_folder or table.parent
    clips = [
        _clip(row, clip_labels, vocabulary, base, names, how) for row, clip_labels in zip(rows, labels, strict=True)
    ]
    return how.manifest(clips, vocabulary, table.parent, "table")


def parse_columns(text: str) -> dict[str, str]:
    """Names of columns from `path=filename,labels=category`.

    Parameters
    ----------
    text
        Pairs joined by commas: a column of a manifest, and what the table calls it.

    Returns
    -------
    dict
        The table's name of each column that is mentioned.

    Raises
    ------
    CollectionError
        If it is not of this form, or has a column that a manifest has not.
    """
    columns: dict[str, str] = {}
    for pair in text.split(","):
        ours, equals, theirs = (part.strip() for part in pair.partition("="))
        if not (ours and equals and theirs):
            raise CollectionError(f"columns '{text}': '{pair}' names none; expected path=filename,labels=category")
        if ours in columns:
            raise CollectionError(f"columns '{text}': '{ours}' stands twice; give each column once")
        columns[ours] = theirs
    return _checked_columns(columns)


def beside(folder: Path) -> Vocabulary | None:
    """The vocabulary that a file in the folder fixes, if there is one."""
    return read_vocabulary(folder / VOCABULARY) if (folder / VOCABULARY).is_file() else None


def tables_in(folder: Path) -> list[Path]:
    """The tables of clips in a collection's folder."""
    return [folder / f"{STEM}{suffix}" for suffix in FORMATS if (folder / f"{STEM}{suffix}").is_file()]


def _table_in(folder: Path) -> Path:
    tables = tables_in(folder)
    if len(tables) > 1:
        found = " and ".join(table.name for table in tables)
        raise CollectionError(f"{folder}: more than one table, {found}; give the one to read instead of the folder")
    return tables[0]


def _checked_columns(columns: Mapping[str, str]) -> dict[str, str]:
    for column in columns:
        if column not in COLUMNS:
            guess = did_you_mean(column, COLUMNS)
            raise CollectionError(f"column '{column}' is none of a manifest's; expected {quoted(COLUMNS)}{guess}")
    return dict(columns)


def _wanted(names: Mapping[str, str], how: Reading) -> Wanted:
    # A column that the user names must be there, even one that tables may lack.
    asked = [names[column] for column in how.columns if column not in REQUIRED]
    columns = [*(names[column] for column in REQUIRED), *asked]
    optional = [name for column, name in names.items() if name not in columns]
    remedy = "; to read columns by their own names, say --columns path=…,labels=…"
    return Wanted(columns, optional, how.label_separator, how.problems, remedy)


def _clip(
    row: Row, labels: tuple[str, ...], vocabulary: Vocabulary, base: Path, names: Mapping[str, str], how: Reading
) -> Clip:
    name = row[names["path"]]
    try:
        check_labelled(row, labels, names)
    except CollectionError as error:
        how.report(error, "no labels", name)
    return row_clip(row, how.known_labels(row, name, labels, vocabulary), base, names)


def _is_table(path: Path) -> bool:
    return bool(tables_in(path)) if path.is_dir() else path.suffix.lower() in FORMATS


LAYOUTS = {
    "table": Layout(
        f"{STEM}.csv (or {', '.join(list(FORMATS)[1:])}), or such a table given itself",
        _is_table,
        read_table_of_clips,
    )
}
