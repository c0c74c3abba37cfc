"""Tags as people and programs read them: one writer a format behind one dictionary.

A writer is given recordings one by one, so that output begins with the first. Files appear whole or not at all.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import msgspec

from earmark.atomic import atomic_path, write_text_atomically
from earmark.errors import EarmarkError, MissingExtraError
from earmark.tagging.library import Recording
from earmark.tagging.tagger import Tag

CSV_COLUMNS = ("path", "start_s", "end_s", "tag", "score")
RAVEN_COLUMNS = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Tag", "Score"),
)

ROWS_A_GROUP = 65_536
"""Rows of a Parquet file that are held in memory until they are written."""


class Tagged(NamedTuple):
    """A recording and what is heard in it."""

    recording: Recording
    tags: Sequence[Tag]


@dataclass(frozen=True)
class Destination:
    """Where tags go.

    Attributes
    ----------
    output
        The file or folder; None for standard output.
    recordings
        All that are to come.
    columns
        What lists say of them.
    low_hz, high_hz
        The range of frequencies that the model hears.
    timed
        Whether tags are events with times of their own, rather than of whole files.
    """

    output: Path | None = None
    recordings: Sequence[Recording] = ()
    columns: tuple[str, ...] = ()
    low_hz: float = 0.0
    high_hz: float = 0.0
    timed: bool = False


Write = Callable[[Tagged], None]
"""Takes the next recording; after the last, the writer's context ends."""

Lines = Callable[[Tagged, Destination], Iterator[str]]


def table(tagged: Tagged, destination: Destination) -> Iterator[str]:
    """One line a file for people: its path, then each tag with its score, then what its list says of it.

    Events have a line each, with when they begin and end.
    """
    said = [f"{tag.label} {tag.score:.2f}" for tag in tagged.tags]
    if destination.timed and tagged.tags:
        times = [f"{clock(tag.start_s)} to {clock(tag.end_s)}" for tag in tagged.tags]
        lines = [f"{time}  {one}" for time, one in zip(times, said, strict=True)]
    else:
        lines = ["  ".join(said) or "(none)"]
    cells = zip(destination.columns, tagged.recording.cells, strict=True)
    listed = "".join(f"  {column}={cell}" for column, cell in cells if cell)
    for line in lines:
        yield f"{tagged.recording.path}  {line}{listed}\n"


def clock(seconds: float) -> str:
    """Time as people read it.

    Examples
    --------
    >>> clock(3725.24)
    '1:02:05.2'
    """
    tenths = round(10 * seconds)
    return f"{tenths // 36_000}:{tenths // 600 % 60:02}:{tenths // 10 % 60:02}.{tenths % 10}"


def csv_rows(tagged: Tagged, destination: Destination) -> Iterator[str]:
    """One row a tag, best first: `CSV_COLUMNS`, then the list's; a file without tags has one row, without tag."""
    path, cells = str(tagged.recording.path), tagged.recording.cells
    if not tagged.tags:
        yield _joined([path, "", "", "", "", *cells])
    for tag in tagged.tags:
        yield _joined([path, f"{tag.start_s:.3f}", f"{tag.end_s:.3f}", tag.label, f"{tag.score:.4f}", *cells])


def jsonl(tagged: Tagged, destination: Destination) -> Iterator[str]:
    """One JSON object a file: `path`, the list's columns, and `tags` with label, score, start_s and end_s."""
    said = [
        {"label": t.label, "score": round(t.score, 4), "start_s": round(t.start_s, 3), "end_s": round(t.end_s, 3)}
        for t in tagged.tags
    ]
    listed = dict(zip(destination.columns, tagged.recording.cells, strict=True))
    yield msgspec.json.encode({"path": str(tagged.recording.path), **listed, "tags": said}).decode() + "\n"


def audacity(tagged: Tagged, destination: Destination) -> Iterator[str]:
    """A label track: start and end in seconds, then the label with its score."""
    for tag in tagged.tags:
        yield f"{tag.start_s:.6f}\t{tag.end_s:.6f}\t{tag.label} {tag.score:.2f}\n"


def raven(tagged: Tagged, destination: Destination) -> Iterator[str]:
    """A selection table: `RAVEN_COLUMNS`, then those of the list; a selection spans all that the model hears."""
    yield _raven_line([*RAVEN_COLUMNS, *destination.columns])
    for number, tag in enumerate(tagged.tags, start=1):
        bounds = (f"{tag.start_s:.6f}", f"{tag.end_s:.6f}", f"{destination.low_hz:.1f}", f"{destination.high_hz:.1f}")
        cells = [str(number), "Spectrogram 1", "1", *bounds, tag.label, f"{tag.score:.4f}", *tagged.recording.cells]
        yield _raven_line(cells)


def _raven_line(cells: Sequence[str]) -> str:
    """Cells with tabs between them; blanks in a cell become single spaces, as Raven knows no quotes."""
    return "\t".join(" ".join(cell.split()) for cell in cells) + "\n"


def _joined(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def csv_header(destination: Destination) -> str:
    """Names of the columns of `csv_rows`."""
    return _joined([*CSV_COLUMNS, *destination.columns])


def no_header(destination: Destination) -> str:
    """Nothing, of formats that begin with the first recording."""
    return ""


@contextmanager
def one_text(lines: Lines, header: Callable[[Destination], str], destination: Destination) -> Iterator[Write]:
    """All recordings in one text, in a file or on standard output."""
    with _opened(destination.output) as file:
        file.write(header(destination))

        def write(tagged: Tagged) -> None:
            file.writelines(lines(tagged, destination))
            file.flush()

        yield write


@contextmanager
def text_a_recording(lines: Lines, suffix: str, destination: Destination) -> Iterator[Write]:
    """Each recording in a file of its own in the folder `output`; a single one may go to a file or standard output.

    A file is called as its recording with the suffix, and lies as that does below the folder that was searched.

    Raises
    ------
    EarmarkError
        When there are several recordings and no folder for them, or two would have the same file.
    """
    output, recordings = destination.output, destination.recordings
    if output is None or (output.suffix and not output.is_dir()):
        if len(recordings) > 1:
            raise EarmarkError(
                f"this format has a file a recording, got {len(recordings)} recordings and "
                f"{f'the file {output}' if output else 'no --output'}; name a folder with --output"
            )
        with one_text(lines, no_header, destination) as write:
            yield write
        return
    paths = _label_paths(recordings, output, suffix)
    if not output.parent.is_dir():
        raise EarmarkError(f"{output}: cannot be made, there is no folder {output.parent}; make it first")
    output.mkdir(exist_ok=True)

    def write_file(tagged: Tagged) -> None:
        path = paths[tagged.recording]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, "".join(lines(tagged, destination)))

    yield write_file


def _label_paths(recordings: Sequence[Recording], folder: Path, suffix: str) -> dict[Recording, Path]:
    paths: dict[Recording, Path] = {}
    owners: dict[Path, Recording] = {}
    for recording in recordings:
        paths[recording] = folder / f"{recording.place}{suffix}"
        twin = owners.setdefault(paths[recording], recording)
        if twin is not recording:
            raise EarmarkError(
                f"{paths[recording]}: both {twin.path} and {recording.path} would be written to it; tag a folder that "
                "holds both, or one after the other"
            )
    return paths


@contextmanager
def parquet(destination: Destination) -> Iterator[Write]:
    """All recordings in one Parquet file, a row a tag, columns as in CSV; those of lists are text.

    Raises
    ------
    EarmarkError
        Without an output, as it is no text for a terminal.
    MissingExtraError
        When pyarrow is not installed.
    """
    if destination.output is None:
        raise EarmarkError("--format parquet is no text; name a file with --output")
    try:
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise MissingExtraError("--format parquet", "parquet") from error
    rows = ParquetRows(destination.columns)
    with atomic_path(destination.output) as temporary, ParquetWriter(temporary, rows.schema()) as file:

        def write(tagged: Tagged) -> None:
            rows.add(str(tagged.recording.path), tagged.recording.cells, tagged.tags)
            if len(rows) >= ROWS_A_GROUP:
                file.write_table(rows.take())

        yield write
        if len(rows):
            file.write_table(rows.take())


@dataclass
class ParquetRows:
    """Rows of a Parquet file that wait to be written.

    Attributes
    ----------
    columns
        Those of lists.
    """

    columns: tuple[str, ...]
    _rows: list[tuple[Any, ...]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._rows)

    def schema(self) -> Any:
        """Names and kinds of all columns."""
        import pyarrow

        kinds = (pyarrow.string(), pyarrow.float64(), pyarrow.float64(), pyarrow.string(), pyarrow.float32())
        listed = [(name, pyarrow.string()) for name in self.columns]
        return pyarrow.schema([*zip(CSV_COLUMNS, kinds, strict=True), *listed])

    def add(self, path: str, cells: Sequence[str], tags: Sequence[Tag]) -> None:
        """Add a recording: a row a tag, or one without."""
        if not tags:
            self._rows.append((path, None, None, None, None, *cells))
        self._rows += [(path, tag.start_s, tag.end_s, tag.label, tag.score, *cells) for tag in tags]

    def take(self) -> Any:
        """The rows as a table; none wait after it."""
        import pyarrow

        columns = [list(column) for column in zip(*self._rows, strict=True)] or [[] for _ in self.schema()]
        self._rows = []
        return pyarrow.table(columns, schema=self.schema())


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with atomic_path(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


WRITERS: dict[str, Callable[[Destination], AbstractContextManager[Write]]] = {
    "table": partial(one_text, table, no_header),
    "csv": partial(one_text, csv_rows, csv_header),
    "jsonl": partial(one_text, jsonl, no_header),
    "parquet": parquet,
    "audacity": partial(text_a_recording, audacity, ".txt"),
    "raven": partial(text_a_recording, raven, ".selections.txt"),
}
"""A writer by the name of its format: given where tags go, it is a context that gives what takes each recording."""
