"""Tables of scores, clips by labels, and the labels that they are held against.

A table of predictions is a CSV file in UTF-8: a header of `fname` and the label names, then a row a
clip. Submissions have the same form.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.atomic import atomic_path
from earmark.errors import CollectionError, EarmarkError, LabelError, PredictionsError, did_you_mean
from earmark.labels import Vocabulary

# The headers under which a table of labels is accepted: name of the clip, its labels.
_LABEL_COLUMNS = (("fname", "labels"), ("path", "labels"), ("filename", "category"))
_N_NAMED_IN_ERRORS = 3


@dataclass(frozen=True, eq=False)
class Predictions:
    """A score for each clip and label.

    Parameters
    ----------
    fnames
        The n_clips names of clips, each once.
    labels
        The n_labels labels, in the order of the columns.
    scores
        (n_clips, n_labels) finite real numbers, kept as float32. Probabilities in [0, 1] as a rule;
        others (logits) are accepted, since they rank as well.

    Raises
    ------
    PredictionsError
        If the shape does not fit the names, a name is empty, repeated, not UTF-8 or of several lines,
        or a score is not a finite float32.

    Examples
    --------
    >>> table = Predictions(("a.wav", "b.wav"), Vocabulary(["Bark", "Meow"]), np.array([[0.9, 0.1], [0.2, 0.7]]))
    >>> table.align(["b.wav", "a.wav"], Vocabulary(["Meow", "Bark"])).scores
    array([[0.7, 0.2],
           [0.1, 0.9]], dtype=float32)
    """

    fnames: tuple[str, ...]
    labels: Vocabulary
    scores: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "fnames", tuple(self.fnames))
        given = np.asarray(self.scores)
        if given.dtype.kind not in "biuf":
            raise PredictionsError(f"scores are of type {given.dtype}; expected real numbers")
        expected = (len(self.fnames), len(self.labels))
        if given.shape != expected:
            guess = "; did you transpose them?" if given.shape == expected[::-1] else ""
            raise PredictionsError(
                f"scores have shape {given.shape}; expected {expected} for {expected[0]} clips "
                f"and {expected[1]} labels{guess}"
            )
        _check_fnames(self.fnames)
        with np.errstate(over="ignore"):
            object.__setattr__(self, "scores", np.ascontiguousarray(given, dtype=np.float32))
        bad = np.argwhere(~np.isfinite(self.scores))
        if len(bad):
            row, column = bad[0]
            raise PredictionsError(
                f"clip '{self.fnames[row]}' scores {given[row, column]} for '{self.labels.names[column]}' "
                f"({len(bad)} such scores); expected finite numbers of float32"
            )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Predictions:
        """Read a table that `write`, or anyone else, has written.

        Parameters
        ----------
        path
            A CSV file in UTF-8 with the columns `fname` and one a label. A score outside [0, 1] is
            accepted; a blank line is passed over.

        Returns
        -------
        Predictions
            Rows and columns in the order of the file.

        Raises
        ------
        PredictionsError
            If there is no such file, it is empty, its first column is not `fname`, its other columns
            are no usable labels, a row has too few or too many cells, a score is not a finite number,
            or a clip is there twice. The message names line and column.
        """
        path = Path(path)
        rows = _read_rows(path, PredictionsError)
        _, header = next(rows)
        labels = _score_columns(path, header)
        fnames: list[str] = []
        scores: list[np.ndarray] = []
        for line, row in _records(path, rows, header, PredictionsError):
            fnames.append(row[0])
            scores.append(_parse_scores(path, line, row, labels))
        return cls(tuple(fnames), labels, np.stack(scores))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV, whole or not at all.

        Nine significant digits are written, which give back every float32 exactly.

        Parameters
        ----------
        path
            The file to write; one that is there is replaced.

        Raises
        ------
        EarmarkError
            If its folder does not exist, or it is a folder.
        """
        with atomic_path(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["fname", *self.labels])
            for fname, row in zip(self.fnames, self.scores, strict=True):
                writer.writerow([fname, *(f"{score:.9g}" for score in row.tolist())])

    def align(self, fnames: Iterable[str], labels: Vocabulary) -> Predictions:
        """The same scores with rows and columns in another order.

        Parameters
        ----------
        fnames
            All clips of this table, in the order asked for.
        labels
            All labels of this table, in the order asked for.

        Returns
        -------
        Predictions
            A new table; the scores are copied.

        Raises
        ------
        PredictionsError
            If a clip or label that is asked for is missing here, or one that is here is not asked for.
        """
        asked = tuple(fnames)
        columns = _positions("label", self.labels.names, labels.names)
        rows = _positions("clip", self.fnames, asked)
        return Predictions(asked, labels, self.scores[np.ix_(rows, columns)])


def mean(tables: Sequence[Predictions]) -> Predictions:
    """The plain mean of several tables over the same clips and labels.

    Parameters
    ----------
    tables
        At least one; each may have its own order.

    Returns
    -------
    Predictions
        In the order of the first table.

    Raises
    ------
    PredictionsError
        If there is no table, or one has other clips or labels than the first.

    Examples
    --------
    >>> labels = Vocabulary(["Bark"])
    >>> mean([Predictions(("a.wav",), labels, [[0.5]]), Predictions(("a.wav",), labels, [[1.0]])]).scores
    array([[0.75]], dtype=float32)
    """
    if not tables:
        raise PredictionsError("no predictions to average; give at least one table")
    first = tables[0]
    total = first.scores.astype(np.float64)
    for number, table in enumerate(tables[1:], start=2):
        try:
            total += table.align(first.fnames, first.labels).scores
        except PredictionsError as error:
            raise PredictionsError(f"table {number} of {len(tables)} does not fit the first: {error}") from None
    return Predictions(first.fnames, first.labels, total / len(tables))


def read_labels(path: str | os.PathLike[str], vocabulary: Vocabulary) -> tuple[tuple[str, ...], np.ndarray]:
    """Read what each clip is labelled with.

    Parameters
    ----------
    path
        A CSV file in UTF-8 with the columns `fname` and `labels`, `path` and `labels`, or `filename`
        and `category`; others are passed over. Commas separate the labels of a clip; a clip may have
        none.
    vocabulary
        The labels that may occur.

    Returns
    -------
    fnames : tuple of str
        The n_clips names, as the file has them and in its order.
    targets : np.ndarray
        (n_clips, n_labels) float32, 1 where the clip has the label; columns in the vocabulary's order.

    Raises
    ------
    LabelError
        If a label is not in the vocabulary; names the line and the nearest label.
    CollectionError
        If there is no such file, it is empty, a column is missing, a row has too few or too many
        cells, a list of labels has a gap, or a clip is there twice.
    """
    path = Path(path)
    rows = _read_rows(path, CollectionError)
    _, header = next(rows)
    name_column, labels_column = _label_columns(path, header, vocabulary)
    fnames: list[str] = []
    names: list[list[str]] = []
    for line, row in _records(path, rows, header, CollectionError, name_column):
        fnames.append(row[name_column])
        names.append(_parse_labels(path, line, row[labels_column], vocabulary))
    return tuple(fnames), vocabulary.encode(names)


def read_groups(path: str | os.PathLike[str], column: str) -> tuple[str, ...]:
    """Read the source of each clip from a table that `read_labels` reads.

    Parameters
    ----------
    path
        A CSV file in UTF-8.
    column
        Name of the column that says which clips belong together.

    Returns
    -------
    tuple of str
        (n_clips,) in the order of the file; empty where it is not known.

    Raises
    ------
    CollectionError
        If there is no such file or column, or a row has too few or too many cells.
    """
    path = Path(path)
    rows = _read_rows(path, CollectionError)
    _, header = next(rows)
    if column not in header:
        near = did_you_mean(column, header)
        raise CollectionError(f"{path} line 1: columns {_some(header)}; expected '{column}' among them{near}")
    key = next((header.index(name) for name, _ in _LABEL_COLUMNS if name in header), 0)
    return tuple(row[header.index(column)].strip() for _, row in _records(path, rows, header, CollectionError, key))


def _check_fnames(fnames: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for row, fname in enumerate(fnames):
        if not fname:
            raise PredictionsError(f"row {row} has an empty fname; give each clip a name")
        if fname in seen:
            raise PredictionsError(f"clip '{fname}' stands twice (again in row {row}); give each clip once")
        if "\n" in fname or "\r" in fname:
            raise PredictionsError(f"clip {fname!r} has a line break in its name; rename the file")
        if not fname.isascii():
            try:
                fname.encode("utf-8")
            except UnicodeEncodeError:
                raise PredictionsError(f"clip {fname!r} has a name that is not UTF-8; rename the file") from None
        seen.add(fname)


def _positions(what: str, have: Sequence[str], asked: Sequence[str]) -> list[int]:
    """Where each asked name stands among those at hand; both must be the same set."""
    position = {name: i for i, name in enumerate(have)}
    wanted = set(asked)
    missing = [name for name in asked if name not in position]
    extra = [name for name in have if name not in wanted]
    if missing:
        raise PredictionsError(
            f"predictions lack {len(missing)} of {len(asked)} {what}s asked for: {_some(missing)}"
            f"{did_you_mean(missing[0], extra)}"
        )
    if extra:
        raise PredictionsError(
            f"predictions have {len(extra)} of {len(have)} {what}s that were not asked for: {_some(extra)}; "
            "leave them out of the predictions, or ask for them"
        )
    return [position[name] for name in asked]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_N_NAMED_IN_ERRORS])
    return f"{shown}, …" if len(names) > _N_NAMED_IN_ERRORS else shown


def _read_rows(path: Path, error: type[EarmarkError]) -> Iterator[tuple[int, list[str]]]:
    """Header, then rows, each with the number of its last line; blank lines are passed over."""
    line, empty = 0, True
    try:
        # Spreadsheets begin UTF-8 with a byte-order mark, which is no part of the first column's name.
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                line = reader.line_num
                if row:
                    empty = False
                    yield line, row
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror}); expected a CSV file") from None
    except UnicodeDecodeError as problem:
        byte = problem.object[problem.start]
        raise error(f"{path} is not UTF-8 (it holds the byte 0x{byte:02x}); save it as CSV in UTF-8") from None
    except csv.Error as problem:
        raise error(f"{path} line {line + 1}: {problem}; expected CSV with commas and double quotes") from None
    if empty:
        raise error(f"{path} is empty; expected a header and a row for each clip")


def _records(
    path: Path, rows: Iterator[tuple[int, list[str]]], header: list[str], error: type[EarmarkError], key: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """The rows below the header, each as wide as it, each naming its clip once in column `key`."""
    seen: dict[str, int] = {}
    for line, row in rows:
        if len(row) != len(header):
            remedy = "; put a cell that holds commas in double quotes" if len(row) > len(header) else ""
            raise error(f"{path} line {line}: {len(row)} cells; expected {len(header)} as in the header{remedy}")
        fname = row[key]
        if not fname:
            raise error(f"{path} line {line}: the {header[key]} is empty; expected the name of a clip")
        if fname in seen:
            raise error(
                f"{path} line {line}: clip '{fname}' is there already in line {seen[fname]}; give each clip once"
            )
        seen[fname] = line
        yield line, row
    if not seen:
        raise error(f"{path} has a header and no clips; expected a row for each clip")


def _score_columns(path: Path, header: list[str]) -> Vocabulary:
    if header[0] != "fname":
        guess = "; did pandas write its index? Use to_csv(index=False)" if "fname" in header else ""
        raise PredictionsError(
            f"{path} line 1: the first column is '{header[0]}'; expected 'fname', then a column for each label{guess}"
        )
    if header[1:2] == ["labels"]:
        raise PredictionsError(
            f"{path} line 1: column 'labels'; expected a column for each label; did you give a table of labels?"
        )
    if len(header) == 1:
        raise PredictionsError(f"{path} line 1: only 'fname'; expected a column for each label, separated by commas")
    try:
        return Vocabulary(header[1:])
    except LabelError as problem:
        raise PredictionsError(f"{path} line 1: {problem}") from None


def _parse_scores(path: Path, line: int, row: list[str], labels: Vocabulary) -> np.ndarray:
    scores = _to_float32(row[1:])
    if np.isfinite(scores).all():
        return scores
    name, cell = next(
        (name, cell) for name, cell in zip(labels, row[1:], strict=True) if not np.isfinite(_to_float32([cell])).all()
    )
    raise PredictionsError(f"{path} line {line}, column '{name}': the score is {cell!r}; expected a finite number")


def _to_float32(cells: Sequence[str]) -> np.ndarray:
    """The cells as numbers; all NaN where any is no number, and infinite what float32 cannot hold."""
    try:
        with np.errstate(over="ignore"):
            return np.array([float(cell) for cell in cells], dtype=np.float32)
    except ValueError:
        return np.full(len(cells), np.nan, dtype=np.float32)


def _label_columns(path: Path, header: list[str], vocabulary: Vocabulary) -> tuple[int, int]:
    for name, labels in _LABEL_COLUMNS:
        if name in header and labels in header:
            return header.index(name), header.index(labels)
    if header[0] == "fname" and any(column in vocabulary for column in header[1:]):
        guess = "; did you give predictions?"
    else:
        accepted = ["fname", "path", "filename", "labels", "category"]
        near = (did_you_mean(column, accepted) for column in header if column not in accepted)
        guess = next((text for text in near if text), "")
    raise CollectionError(
        f"{path} line 1: columns {_some(header)}; expected fname and labels, path and labels, "
        f"or filename and category{guess}"
    )


def _parse_labels(path: Path, line: int, cell: str, vocabulary: Vocabulary) -> list[str]:
    names = [name.strip() for name in cell.split(",")] if cell.strip() else []
    for name in names:
        if not name:
            raise CollectionError(f"{path} line {line}: labels '{cell}' have a gap; put one comma between two labels")
        if name not in vocabulary:
            raise LabelError(
                f"{path} line {line}: label '{name}' is not in the vocabulary{did_you_mean(name, vocabulary)}"
            )
    return names
