"""Tags as people and programs read them: one writer a format behind one dictionary.

A writer is a function from rows to lines; rows are given file by file, so that output begins with the first file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence

import msgspec

from earmark.tagging.tagger import Tag

CSV_HEADER = "path,start_s,end_s,tag,score\n"


def table(path: str, tags: Sequence[Tag]) -> Iterator[str]:
    """One line a file for people: its path, then each tag with its score."""
    said = "  ".join(f"{tag.label} {tag.score:.2f}" for tag in tags)
    yield f"{path}  {said or '(none)'}\n"


def csv_rows(path: str, tags: Sequence[Tag]) -> Iterator[str]:
    """One row a tag, best first: path, start and end in seconds, tag, score; a file without tags has one empty row."""
    if not tags:
        yield _csv_line([path, "", "", "", ""])
    for tag in tags:
        yield _csv_line([path, f"{tag.start_s:.3f}", f"{tag.end_s:.3f}", tag.label, f"{tag.score:.4f}"])


def jsonl(path: str, tags: Sequence[Tag]) -> Iterator[str]:
    """One JSON object a file: `path`, and `tags` with label, score, start_s and end_s."""
    said = [
        {"label": t.label, "score": round(t.score, 4), "start_s": round(t.start_s, 3), "end_s": round(t.end_s, 3)}
        for t in tags
    ]
    yield msgspec.json.encode({"path": path, "tags": said}).decode() + "\n"


def _csv_line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


WRITERS: dict[str, Callable[[str, Sequence[Tag]], Iterator[str]]] = {"table": table, "csv": csv_rows, "jsonl": jsonl}
HEADERS = {"table": "", "csv": CSV_HEADER, "jsonl": ""}
