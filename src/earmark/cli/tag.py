"""`earmark tag`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from earmark import __version__
from earmark.cli.library import Embeddings, Memory, count, preview, run, say
from earmark.cli.place import on_option
from earmark.cli.scaling import check_cluster_options, tag_on
from earmark.cli.timeline import NAMES, event_options, given, read_threshold
from earmark.tagging.choosing import Choice, Chooser
from earmark.tagging.embedding import n_features
from earmark.tagging.engine import Engine
from earmark.tagging.events import EventSpec
from earmark.tagging.index import maker_of
from earmark.tagging.job import Job
from earmark.tagging.library import Library, Patterns, find_library
from earmark.tagging.mapping import read_label_names
from earmark.tagging.metadata import check_installed
from earmark.tagging.tagger import Tagger, Threshold, load
from earmark.tagging.writers import WRITERS, Destination


def _npz(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix != ".npz":
        raise click.BadParameter(f"'{path}': expected a name that ends in .npz, NumPy's format")
    return path


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    help="A bundle (.onnx) or a run's folder; several hear a file that is read once.  [default: the embedded model]",
)
@click.option("--top", "top_k", default=3, show_default=True, type=click.IntRange(1), help="Labels a file.")
@click.option(
    "--threshold",
    metavar="X|auto",
    callback=read_threshold,
    help="Give all labels with at least this score instead; auto: with at least their own, as 'calibrate' stored them.",
)
@click.option(
    "--hop",
    "hop_s",
    type=click.FloatRange(0, min_open=True),
    help="Seconds between windows.  [default: the model's own]",
)
@click.option("--timeline", is_flag=True, help="Give events with start and end, by the threshold.")
@event_options
@click.option("--format", "format_", default="table", show_default=True, type=click.Choice(list(WRITERS)))
@click.option("--output", "-o", "target", type=click.Path(), help="Write to this file instead of the terminal.")
@click.option("--workers", type=click.IntRange(1), help="Files at a time.  [default: one a core]")
@on_option
@click.option("--include", multiple=True, metavar="PATTERN", help="Only recordings that match, such as '*.wav'.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No recordings that match, such as 'old/**'.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Where lists' paths begin.")
@click.option("--labels", type=click.Path(path_type=Path), help="A CSV of other names for labels: label,name.")
@click.option("--only-mapped", is_flag=True, help="Leave out labels that --labels has no name for.")
@click.option("--resume", is_flag=True, help="Take up an interrupted call that had the same --output.")
@click.option("--index", "index_path", type=click.Path(path_type=Path), help="Keep tags here; skip unchanged files.")
@click.option(
    "--embeddings",
    type=click.Path(path_type=Path),
    callback=_npz,
    help="Write what each file sounds like here as well, an .npz for 'earmark search'; with --timeline, each window.",
)
@click.option("--write-tags", "into_files", is_flag=True, help="Write tags into the files' own metadata as well.")
@click.option("--dry-run", is_flag=True, help="Only count; with --write-tags, show what would be written.")
@click.pass_context
def tag(
    context: click.Context,
    paths: tuple[str, ...],
    models: tuple[str, ...],
    top_k: int,
    threshold: Threshold,
    hop_s: float | None,
    timeline: bool,
    smooth: int,
    release: float,
    max_gap_s: float,
    min_duration_s: float,
    format_: str,
    target: str | None,
    workers: int | None,
    place: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    root: Path | None,
    labels: Path | None,
    only_mapped: bool,
    resume: bool,
    index_path: Path | None,
    embeddings: Path | None,
    into_files: bool,
    dry_run: bool,
) -> None:
    """Name what is heard in recordings: files, folders with all that is in them, patterns, or lists.

    A list is @list.txt with a path a line, @list.csv with a column 'path', 'fname' or 'filename' whose other columns
    go to the output, or - for standard input. A file that cannot be read is named on standard error, the others are
    tagged, and the exit status is 1. Of several models, each label begins with its model's name: embedded:Bark.

    \b
    Examples:
      earmark tag dog.wav
      earmark tag recordings/ --format csv -o tags.csv
      earmark tag *.flac --model run/ --threshold 0.5
      earmark tag *.flac --model run/ --threshold auto
      earmark tag night.flac --timeline --format audacity -o night.txt
      earmark tag archive/ --exclude 'old/**' --index archive.index --format csv -o tags.csv
      earmark tag archive/ --embeddings archive.npz --format csv -o tags.csv
      find . -name '*.mp3' -print0 | earmark tag - --write-tags --dry-run
      earmark tag s3://bucket/archive/ --on ray -o tags
    """
    _check_options(context, timeline, into_files)
    output = None if target is None else Path(target)
    memory = Memory(output or embeddings, index_path, resume)
    library = find_library(
        paths,
        patterns=Patterns(include, exclude),
        root=root,
        read_input=lambda: sys.stdin.buffer.read(),
        remote=place is not None,
    )
    for error in library.errors:
        say(str(error))
    # files and parts of long ones are spread over the cores, so each network call keeps to one
    taggers = [load(model, n_threads=1, embeds=embeddings is not None) for model in models or (None,)]
    if hop_s is not None:
        _step(taggers, hop_s)
    names = read_label_names(labels, taggers[0].labels, only_mapped=only_mapped) if labels else None
    spec = EventSpec(smooth=smooth, release=release, max_gap_s=max_gap_s, min_duration_s=min_duration_s)
    choice = Choice(top_k=top_k, threshold=threshold, timeline=spec if timeline else None, names=names)
    first, *others = [tagger.bundle.path for tagger in taggers]
    options = {
        "earmark": __version__,
        **choice.options(),
        "hop": hop_s,
        "with": [maker_of(path, {}).model for path in others],
        **({} if embeddings is None else {"embeddings": True}),
    }
    with Engine(taggers, workers) as engine:
        choose = Chooser(engine, choice)
        if place is not None and target is not None:
            n_failures = tag_on(place, library, taggers, choice, hop_s, options, target, workers)
        elif dry_run and into_files:
            n_failures = preview(library, choose, workers)
        elif dry_run:
            n_failures = count(library, Job(library.recordings, memory.peek(first, options)), workers)
        else:
            destination = _destination(output, library, taggers, timed=timeline)
            index = memory.open(first, options)
            n_failures = run(
                library,
                memory,
                index,
                choose,
                format_,
                destination,
                n_workers=workers,
                into_files=into_files,
                embeddings=_embeddings(embeddings, taggers[0], hop_s, timeline),
            )
    if n_failures or library.errors:
        done = "tagged or written into" if into_files else "tagged"
        n_asked = len(library.recordings) + len(library.remote) + len(library.errors)
        say(f"{n_failures + len(library.errors)} of {n_asked} files could not be {done}")
        sys.exit(1)


def _check_options(context: click.Context, timeline: bool, into_files: bool) -> None:
    if timeline and into_files:
        raise click.UsageError("--write-tags writes what is heard in a whole file; leave out --timeline")
    if timeline and given(context, "top_k"):
        raise click.UsageError("--top is of whole files; with --timeline, give a --threshold")
    if not timeline and (unused := given(context, *NAMES)):
        raise click.UsageError(f"{', '.join(unused)}: of events; give --timeline as well")
    if context.params["embeddings"] is not None and len(context.params["models"]) > 1:
        raise click.UsageError("--embeddings are of one model; give one --model")
    if context.params["only_mapped"] and not context.params["labels"]:
        raise click.UsageError("--only-mapped leaves out what --labels has no name for; name such a file")
    if context.params["place"] is not None:
        check_cluster_options(context)
    if into_files:
        check_installed()


def _step(taggers: Sequence[Tagger], hop_s: float) -> None:
    try:
        for tagger in taggers:
            tagger.step(hop_s)
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("hop_s="), param_hint="--hop") from error


def _embeddings(path: Path | None, tagger: Tagger, hop_s: float | None, timed: bool) -> Embeddings | None:
    if path is None:
        return None
    from earmark.tagging.search import about  # only where it is needed, for a quick start

    return Embeddings(path, about(tagger, hop_s=hop_s, timed=timed), n_features(tagger))


def _destination(output: Path | None, library: Library, taggers: Sequence[Tagger], *, timed: bool) -> Destination:
    bands = [network.picture_spec.log_mel for tagger in taggers for network in tagger.networks]
    low_hz, high_hz = min(band.fmin for band in bands), max(band.fmax for band in bands)
    return Destination(output, library.recordings, library.columns, low_hz, high_hz, timed)
