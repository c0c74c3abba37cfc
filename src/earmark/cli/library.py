"""What `earmark tag` does with a library: count it, tag it, or show what would be written into it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from earmark.atomic import remove_leftovers
from earmark.cli.terminal import say as say
from earmark.errors import AudioError
from earmark.tagging.embedding import Embedding, Finding
from earmark.tagging.files import over_files
from earmark.tagging.index import TagIndex, maker_of, open_index, open_journal
from earmark.tagging.job import Job
from earmark.tagging.library import Library
from earmark.tagging.metadata import write_tags
from earmark.tagging.survey import survey
from earmark.tagging.tagger import Tag
from earmark.tagging.writers import WRITERS, Destination, Tagged

if TYPE_CHECKING:
    from earmark.tagging.search import About

Choose = Callable[[Path], Finding]
"""Tags a file, and embeds it where that is wanted."""


@dataclass(frozen=True)
class Embeddings:
    """Where embeddings go, what is said of them, and how long they are."""

    path: Path
    about: About
    n_features: int

    def opened(self) -> AbstractContextManager[Callable[[Path, Embedding], None]]:
        """The file, which takes one recording after the other."""
        from earmark.tagging.search import embeddings_file  # only where it is needed, for a quick start

        return embeddings_file(self.path, self.about, self.n_features)


@dataclass(frozen=True)
class Memory:
    """Where tags are kept between calls.

    Attributes
    ----------
    output
        Of the call; None for standard output.
    index
        The file that the user named for it.
    resume
        Whether to take up an interrupted call.
    """

    output: Path | None
    index: Path | None
    resume: bool

    def __post_init__(self) -> None:
        if self.resume and self.output is None and self.index is None:
            raise click.UsageError("--resume takes up what is beside an --output; name the one of the interrupted call")

    def open(self, model: Path, options: Mapping[str, Any]) -> TagIndex | None:
        """The tags that are known, and where new ones are kept; None where nothing is."""
        if self.index is not None:
            return open_index(self.index, maker_of(model, options), say=say)
        if self.output is not None:
            return open_journal(self.output, maker_of(model, options), resume=self.resume, say=say)
        return None

    def peek(self, model: Path, options: Mapping[str, Any]) -> TagIndex | None:
        """The tags that are known, only to look at."""
        return self.open(model, options) if self.resume or self.index is not None else None

    @contextmanager
    def hint(self) -> Iterator[None]:
        """On Ctrl-C, tell that nothing is lost."""
        try:
            yield
        except KeyboardInterrupt:
            if self.index is None and self.output is not None:
                say(f"{self.output}: what is tagged is kept; the same call with --resume goes on")
            raise

    def close(self, index: TagIndex | None, job: Job) -> None:
        """After all is done, keep what the next call can use."""
        if index is None:
            return
        if self.index is None:
            index.remove()
            return
        n_vanished = index.tidy()
        n_known = sum(job.known)
        say(f"{self.index}: {n_known} unchanged, {len(job.known) - n_known} new or changed, {n_vanished} vanished")


def count(library: Library, job: Job, n_workers: int | None) -> int:
    """Print what would be tagged; give how many cannot be."""
    found = survey(library.recordings, job.known, n_workers=n_workers)
    click.echo(str(found))
    if library.n_left_out:
        click.echo(f"{library.n_left_out} left out by patterns")
    for error in found.errors:
        say(str(error))
    return len(found.errors)


def run(
    library: Library,
    memory: Memory,
    index: TagIndex | None,
    choose: Choose,
    format_: str,
    destination: Destination,
    *,
    n_workers: int | None,
    into_files: bool,
    embeddings: Embeddings | None = None,
) -> int:
    """Tag a library; give how many files could not be tagged, or written into."""
    failures: list[AudioError] = []

    def fail(error: AudioError) -> None:
        failures.append(error)
        say(str(error))

    def write_into(path: Path, tags: list[Tag]) -> bool:
        try:
            return bool(write_tags(path, tags))
        except AudioError as error:
            fail(error)
            return False

    with nullcontext() if index is None else index, memory.hint():
        if index is not None and destination.output is not None:
            remove_leftovers(destination.output)  # no other process writes to it, since the index is ours
        if index is not None and embeddings is not None:
            remove_leftovers(embeddings.path)
        job = Job(library.recordings, index)
        outcomes = job.outcomes(_engine(choose, n_workers), write_into if into_files else None)
        embedded = nullcontext() if embeddings is None else embeddings.opened()
        with _bar(job, destination.output) as bar, embedded as keep, WRITERS[format_](destination) as write:
            for outcome in outcomes:
                bar.update(outcome.is_new)
                if isinstance(outcome.tags, AudioError):
                    fail(outcome.tags)
                else:
                    if keep is not None and outcome.embedding is not None:
                        keep(outcome.recording.path, outcome.embedding)
                    write(Tagged(outcome.recording, outcome.tags))
        memory.close(index, job)
    return len(failures)


def preview(library: Library, choose: Choose, n_workers: int | None) -> int:
    """Print what would be written into the files' metadata; give how many files it could not be written to."""
    n_failures = n_changes = 0
    for outcome in Job(library.recordings).outcomes(_engine(choose, n_workers)):
        try:
            if isinstance(outcome.tags, AudioError):
                raise outcome.tags
            change = write_tags(outcome.recording.path, outcome.tags, dry_run=True)
        except AudioError as error:
            n_failures += 1
            say(str(error))
            continue
        n_changes += bool(change)
        click.echo(f"{outcome.recording.path}  {change}")
    say(f"{n_changes} of {len(library.recordings)} files would be changed; leave --dry-run out to do it")
    return n_failures


def _engine(choose: Choose, n_workers: int | None) -> Callable[[Iterable[Path]], Iterator[tuple[Path, Any]]]:
    return lambda files: over_files(choose, files, n_workers=n_workers)


def _bar(job: Job, output: Path | None) -> tqdm:
    n_known = sum(job.known)
    quiet = len(job.known) - n_known < 2 or (output is None and sys.stdout.isatty())
    return tqdm(total=len(job.known), initial=n_known, unit="file", disable=quiet)
