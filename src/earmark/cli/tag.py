"""`earmark tag`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click
from tqdm import tqdm

from earmark.atomic import atomic_path
from earmark.errors import AudioError
from earmark.tagging.files import find_recordings, over_files
from earmark.tagging.tagger import AUTO, Threshold, load
from earmark.tagging.writers import HEADERS, WRITERS


def _threshold(context: click.Context, parameter: click.Parameter, text: str | None) -> Threshold:
    if text is None or text == AUTO:
        return AUTO if text else None
    found: float = click.FloatRange(0, 1)(text, parameter, context)
    return found


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option("--model", "-m", default=None, help="A bundle (.onnx) or a run's folder.  [default: the embedded model]")
@click.option("--top", "top_k", default=3, show_default=True, type=click.IntRange(1), help="Labels a file.")
@click.option(
    "--threshold",
    metavar="X|auto",
    callback=_threshold,
    help="Give all labels with at least this score instead; auto: with at least their own, as 'calibrate' stored them.",
)
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(list(WRITERS)))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write to this file instead of the terminal.")
@click.option("--workers", type=click.IntRange(1), help="Files at a time.  [default: one a core]")
def tag(
    paths: tuple[str, ...],
    model: str | None,
    top_k: int,
    threshold: Threshold,
    format_: str,
    output: Path | None,
    workers: int | None,
) -> None:
    """Name what is heard in recordings: files, folders with all that is in them, or patterns.

    A file that cannot be read is named on standard error, the others are tagged, and the exit status is 1.

    \b
    Examples:
      earmark tag dog.wav
      earmark tag recordings/ --format csv -o tags.csv
      earmark tag *.flac --model run/ --threshold 0.5
      earmark tag *.flac --model run/ --threshold auto
    """
    files, errors = find_recordings(paths)
    # files are spread over the cores, so each network call keeps to one
    tagger = load(model, n_threads=1 if len(files) > 1 else 0)
    if threshold is not None:
        tagger.thresholds(threshold)  # says before all the work that a bundle has none
    n_asked = len(files) + len(errors)
    for error in errors:
        click.echo(f"earmark: {error}", err=True)
    progress = tqdm(total=len(files), unit="file", disable=len(files) < 2 or (output is None and sys.stdout.isatty()))
    with progress, _opened(output) as out:
        out.write(HEADERS[format_])
        tagged = over_files(lambda p: tagger.tag(p, top_k=top_k, threshold=threshold), files, n_workers=workers)
        for path, tags in tagged:
            progress.update()
            if isinstance(tags, AudioError):
                errors.append(tags)
                tqdm.write(f"earmark: {tags}", file=sys.stderr)
                continue
            out.writelines(WRITERS[format_](str(path), tags))
            out.flush()
    if errors:
        click.echo(f"earmark: {len(errors)} of {n_asked} files could not be tagged", err=True)
        sys.exit(1)


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with atomic_path(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file
