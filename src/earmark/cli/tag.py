"""`earmark tag`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from earmark import __version__
from earmark.cli.library import Memory, count, preview, run, say
from earmark.tagging.job import Job
from earmark.tagging.library import Patterns, find_library
from earmark.tagging.mapping import read_label_names
from earmark.tagging.metadata import check_installed
from earmark.tagging.tagger import AUTO, Tag, Threshold, load
from earmark.tagging.writers import WRITERS, Destination


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
@click.option("--include", multiple=True, metavar="PATTERN", help="Only recordings that match, such as '*.wav'.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No recordings that match, such as 'old/**'.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Where lists' paths begin.")
@click.option("--labels", type=click.Path(path_type=Path), help="A CSV of other names for labels: label,name.")
@click.option("--only-mapped", is_flag=True, help="Leave out labels that --labels has no name for.")
@click.option("--resume", is_flag=True, help="Take up an interrupted call that had the same --output.")
@click.option("--index", "index_path", type=click.Path(path_type=Path), help="Keep tags here; skip unchanged files.")
@click.option("--write-tags", "into_files", is_flag=True, help="Write tags into the files' own metadata as well.")
@click.option("--dry-run", is_flag=True, help="Only count; with --write-tags, show what would be written.")
def tag(
    paths: tuple[str, ...],
    model: str | None,
    top_k: int,
    threshold: Threshold,
    format_: str,
    output: Path | None,
    workers: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    root: Path | None,
    labels: Path | None,
    only_mapped: bool,
    resume: bool,
    index_path: Path | None,
    into_files: bool,
    dry_run: bool,
) -> None:
    """Name what is heard in recordings: files, folders with all that is in them, patterns, or lists.

    A list is @list.txt with a path a line, @list.csv with a column 'path', 'fname' or 'filename' whose other columns
    go to the output, or - for standard input. A file that cannot be read is named on standard error, the others are
    tagged, and the exit status is 1.

    \b
    Examples:
      earmark tag dog.wav
      earmark tag recordings/ --format csv -o tags.csv
      earmark tag *.flac --model run/ --threshold 0.5
      earmark tag *.flac --model run/ --threshold auto
      earmark tag archive/ --exclude 'old/**' --index archive.index --format csv -o tags.csv
      find . -name '*.mp3' -print0 | earmark tag - --write-tags --dry-run
    """
    memory = Memory(output, index_path, resume)
    if only_mapped and not labels:
        raise click.UsageError("--only-mapped leaves out what --labels has no name for; name such a file")
    if into_files:
        check_installed()
    library = find_library(
        paths, patterns=Patterns(include, exclude), root=root, read_input=lambda: sys.stdin.buffer.read()
    )
    for error in library.errors:
        say(str(error))
    # files are spread over the cores, so each network call keeps to one
    tagger = load(model, n_threads=1 if len(library.recordings) > 1 else 0)
    if threshold is not None:
        tagger.thresholds(threshold)  # says before all the work that a bundle has none
    names = read_label_names(labels, tagger.labels, only_mapped=only_mapped) if labels else None

    def choose(path: Path) -> list[Tag]:
        if names:
            return names.tag(tagger, path, top_k=top_k, threshold=threshold)
        return tagger.tag(path, top_k=top_k, threshold=threshold)

    options = {"earmark": __version__, "top": top_k, "threshold": threshold, "labels": names.digest if names else None}
    if dry_run and into_files:
        n_failures = preview(library, choose, workers)
    elif dry_run:
        n_failures = count(library, Job(library.recordings, memory.peek(tagger.bundle.path, options)), workers)
    else:
        band = tagger.picture_spec.log_mel
        destination = Destination(output, library.recordings, library.columns, band.fmin, band.fmax)
        index = memory.open(tagger.bundle.path, options)
        n_failures = run(library, memory, index, choose, format_, destination, n_workers=workers, into_files=into_files)
    if n_failures or library.errors:
        done = "tagged or written into" if into_files else "tagged"
        n_asked = len(library.recordings) + len(library.errors)
        say(f"{n_failures + len(library.errors)} of {n_asked} files could not be {done}")
        sys.exit(1)
