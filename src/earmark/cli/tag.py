"""`earmark tag`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class _Asked:
    """What a call asks for: each option by its parameter's name."""

    paths: tuple[str, ...]
    models: tuple[str, ...]
    top_k: int
    threshold: Threshold
    hop_s: float | None
    timeline: bool
    smooth: int
    release: float
    max_gap_s: float
    min_duration_s: float
    format_: str
    target: str | None
    workers: int | None
    place: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    root: Path | None
    labels: Path | None
    only_mapped: bool
    resume: bool
    index_path: Path | None
    embeddings: Path | None
    into_files: bool
    dry_run: bool

    @property
    def output(self) -> Path | None:
        return None if self.target is None else Path(self.target)

    def library(self) -> Library:
        """The recordings, and what could not be found of them."""
        return find_library(
            self.paths,
            patterns=Patterns(self.include, self.exclude),
            root=self.root,
            read_input=lambda: sys.stdin.buffer.read(),
            remote=self.place is not None,
        )

    def taggers(self) -> list[Tagger]:
        """One a model; files and parts of long ones are spread over the cores, so each network call keeps to one."""
        embeds = self.embeddings is not None
        taggers = [load(model, n_threads=1, embeds=embeds) for model in self.models or (None,)]
        if self.hop_s is not None:
            try:
                for tagger in taggers:
                    tagger.step(self.hop_s)
            except ValueError as error:
                raise click.BadParameter(str(error).removeprefix("hop_s="), param_hint="--hop") from error
        return taggers

    def choice(self, labels: Sequence[str]) -> Choice:
        """Which of the scores become tags, by what names."""
        names = read_label_names(self.labels, labels, only_mapped=self.only_mapped) if self.labels else None
        spec = EventSpec(
            smooth=self.smooth,
            release=self.release,
            max_gap_s=self.max_gap_s,
            min_duration_s=self.min_duration_s,
        )
        timeline = spec if self.timeline else None
        return Choice(top_k=self.top_k, threshold=self.threshold, timeline=timeline, names=names)

    def options(self, taggers: Sequence[Tagger], choice: Choice) -> dict[str, Any]:
        """All that tags depend on beside the recording and the first model: kept tags are good for the same alone."""
        others = [maker_of(tagger.bundle.path, {}).model for tagger in taggers[1:]]
        embeds = {} if self.embeddings is None else {"embeddings": True}
        return {"earmark": __version__, **choice.options(), "hop": self.hop_s, "with": others, **embeds}


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
def tag(context: click.Context, /, **params: Any) -> None:
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
    asked = _Asked(**params)
    _check_options(context, asked)
    memory = Memory(asked.output or asked.embeddings, asked.index_path, asked.resume)
    library = asked.library()
    for error in library.errors:
        say(str(error))
    taggers = asked.taggers()
    choice = asked.choice(taggers[0].labels)
    with Engine(taggers, asked.workers) as engine:
        n_failures = _perform(asked, memory, library, engine, choice)
    if n_failures or library.errors:
        done = "tagged or written into" if asked.into_files else "tagged"
        n_asked = len(library.recordings) + len(library.remote) + len(library.errors)
        say(f"{n_failures + len(library.errors)} of {n_asked} files could not be {done}")
        sys.exit(1)


def _perform(asked: _Asked, memory: Memory, library: Library, engine: Engine, choice: Choice) -> int:
    """Count, preview or tag, here or on a cluster; give how many files it could not be done with."""
    taggers, choose = engine.taggers, Chooser(engine, choice)
    options, first = asked.options(taggers, choice), taggers[0].bundle.path
    if asked.place is not None and asked.target is not None:
        return tag_on(asked.place, library, taggers, choice, asked.hop_s, options, asked.target, asked.workers)
    if asked.dry_run and asked.into_files:
        return preview(library, choose, asked.workers)
    if asked.dry_run:
        return count(library, Job(library.recordings, memory.peek(first, options)), asked.workers)
    destination = _destination(asked.output, library, taggers, timed=asked.timeline)
    return run(
        library,
        memory,
        memory.open(first, options),
        choose,
        asked.format_,
        destination,
        n_workers=asked.workers,
        into_files=asked.into_files,
        embeddings=_embeddings(asked, taggers[0]),
    )


def _check_options(context: click.Context, asked: _Asked) -> None:
    if asked.timeline and asked.into_files:
        raise click.UsageError("--write-tags writes what is heard in a whole file; leave out --timeline")
    if asked.timeline and given(context, "top_k"):
        raise click.UsageError("--top is of whole files; with --timeline, give a --threshold")
    if not asked.timeline and (unused := given(context, *NAMES)):
        raise click.UsageError(f"{', '.join(unused)}: of events; give --timeline as well")
    if asked.embeddings is not None and len(asked.models) > 1:
        raise click.UsageError("--embeddings are of one model; give one --model")
    if asked.only_mapped and not asked.labels:
        raise click.UsageError("--only-mapped leaves out what --labels has no name for; name such a file")
    if asked.place is not None:
        check_cluster_options(context)
    if asked.into_files:
        check_installed()


def _embeddings(asked: _Asked, tagger: Tagger) -> Embeddings | None:
    if asked.embeddings is None:
        return None
    from earmark.tagging.search import about  # only where it is needed, for a quick start

    about_them = about(tagger, hop_s=asked.hop_s, timed=asked.timeline)
    return Embeddings(asked.embeddings, about_them, n_features(tagger))


def _destination(output: Path | None, library: Library, taggers: Sequence[Tagger], *, timed: bool) -> Destination:
    bands = [network.picture_spec.log_mel for tagger in taggers for network in tagger.networks]
    low_hz, high_hz = min(band.fmin for band in bands), max(band.fmax for band in bands)
    return Destination(output, library.recordings, library.columns, low_hz, high_hz, timed)
