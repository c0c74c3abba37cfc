"""`earmark search`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec

from earmark.atomic import write_text_atomically
from earmark.tagging.search import EmbeddingIndex, Match, searching_tagger
from earmark.tagging.writers import clock


def _table(matches: Sequence[Match], timed: bool) -> str:
    lines = []
    for match in matches:
        when = f"  {clock(match.start_s)} to {clock(match.end_s)}" if timed else ""
        lines.append(f"{match.similarity:.3f}  {match.path}{when}\n")
    return "".join(lines)


def _csv(matches: Sequence[Match], timed: bool) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "start_s", "end_s", "similarity"])
    rows.writerows([m.path, f"{m.start_s:.3f}", f"{m.end_s:.3f}", f"{m.similarity:.4f}"] for m in matches)
    return text.getvalue()


def _jsonl(matches: Sequence[Match], timed: bool) -> str:
    said = [
        {
            "path": match.path,
            "start_s": round(match.start_s, 3),
            "end_s": round(match.end_s, 3),
            "similarity": round(match.similarity, 4),
        }
        for match in matches
    ]
    return "".join(f"{msgspec.json.encode(one).decode()}\n" for one in said)


FORMATS: dict[str, Callable[[Sequence[Match], bool], str]] = {"table": _table, "csv": _csv, "jsonl": _jsonl}


@click.command()
@click.argument("query")
@click.argument("index", type=click.Path(path_type=Path))
@click.option("--top", "top_k", default=10, show_default=True, type=click.IntRange(1), help="Recordings at the most.")
@click.option("--start", "start_s", type=click.FloatRange(0), help="Where the sound in QUERY begins, in seconds.")
@click.option("--end", "end_s", type=click.FloatRange(0, min_open=True), help="Where it ends.")
@click.option("--model", "-m", help="The model that made the index.  [default: where it was when it made it]")
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(list(FORMATS)))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write to this file instead of the terminal.")
def search(
    query: str,
    index: Path,
    top_k: int,
    start_s: float | None,
    end_s: float | None,
    model: str | None,
    format_: str,
    output: Path | None,
) -> None:
    """Find the recordings that sound like QUERY, a recording, in INDEX, a file that 'earmark tag --embeddings' wrote.

    Nearest first, with the cosine of the angle between the two embeddings: 1 for the same sound. A QUERY that is in the
    INDEX, under the very path that it has there, is not heard again, and is left out of what is found. In an INDEX that
    was made with --timeline, what is found is the nearest window of each recording.

    \b
    Examples:
      earmark tag archive/ --embeddings archive.npz -o tags.txt
      earmark search dog.wav archive.npz
      earmark search night.flac archive.npz --start 754.5 --end 757 --top 3
    """
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise click.BadParameter(f"{end_s} is not behind --start {start_s}", param_hint="--end")
    known = EmbeddingIndex(index)
    place = known.place(query)
    if place is not None and start_s is None and end_s is None and model is None:
        vector = known.vector(place)
    else:
        vector = searching_tagger(known, model).embed(query, start_s=start_s or 0.0, end_s=end_s)
    text = FORMATS[format_](known.nearest(vector, top_k=top_k, without=place), known.about.timed)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text_atomically(output, text)
