"""What `earmark tag --on ray` does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from tqdm import tqdm

from earmark.cli.terminal import say
from earmark.cli.timeline import given
from earmark.cluster import cluster
from earmark.tagging.choosing import Choice
from earmark.tagging.index import maker_of
from earmark.tagging.library import Library
from earmark.tagging.parts import MANIFEST, Manifest, PartsFolder, Source, next_number
from earmark.tagging.scale import (
    Done,
    Setting,
    jobs_of,
    known,
    make_parts,
    n_actors_of,
    sources_of,
)
from earmark.tagging.tagger import Tagger


def check_cluster_options(context: click.Context) -> None:
    """Raise a `UsageError` where a call to tag on a cluster has options that it has no use for."""
    if context.params["format_"] != "parquet" and given(context, "format_"):
        raise click.UsageError("--on writes a folder of Parquet files; leave --format out")
    if context.params["target"] is None:
        raise click.UsageError("--on writes a folder of Parquet files; name it with --output")
    unused = given(context, "index_path", "into_files", "dry_run", "embeddings")
    if unused:
        raise click.UsageError(f"{', '.join(unused)}: of work on this machine; leave it out, or leave out --on")


def tag_on(
    place: str,
    library: Library,
    taggers: Sequence[Tagger],
    choice: Choice,
    hop_s: float | None,
    options: Mapping[str, Any],
    output: str,
    n_workers: int | None,
) -> int:
    """Tag what is not done yet of a library on a cluster; give how many recordings could not be tagged."""
    sources, folder = sources_of(library), PartsFolder(output)
    maker = maker_of(taggers[0].bundle.path, options)
    models = [(str(tagger.bundle.path), tagger.bundle.path.read_bytes()) for tagger in taggers]
    there = output if folder.path is None else os.path.abspath(output)
    setting = Setting(models, choice, hop_s, maker, library.columns, os.getcwd(), there)
    with folder.alone():
        kept, stale = known(sources, folder, maker, library.columns)
        done = {source for found in kept for source, _ in found.part.heard}
        if done:
            say(f"{output}: {len(done)} recordings are done already")
        missing = [source for source in sources if source not in done]
        names = [found.name for found in kept]
        heard, failures = _make(place, folder, missing, names + stale, setting, n_workers) if missing else ([], [])
        for name in stale:
            folder.remove(name)
        n_done = len(done) + sum(one.n_heard for one in heard)
        parts = sorted([*names, *(one.name for one in heard if one.n_heard)])
        folder.write_manifest(Manifest(maker, library.columns, n_done, failures, parts))
    return len(failures)


def _make(
    place: str, folder: PartsFolder, missing: list[Source], there: list[str], setting: Setting, n_workers: int | None
) -> tuple[list[Done], list[str]]:
    """Tag recordings that no part has; give the parts that are made, and why recordings could not be tagged."""
    made: list[Done] = []
    failures: list[str] = []
    with _hint(folder.where), cluster(place, n_cores=n_workers) as ray:
        folder.remove(MANIFEST)  # what is there is not all any more
        n_actors = n_workers or n_actors_of(ray)
        jobs = jobs_of(missing, setting.maker, n_actors, first=next_number(there))
        with tqdm(total=len(missing), unit="file", disable=len(missing) < 2) as bar:
            for done in make_parts(ray, jobs, setting, n_actors):
                made.append(done)
                for failure in done.failures:
                    say(failure)
                failures += done.failures
                bar.update(done.n_heard + len(done.failures))
    return made, failures


@contextmanager
def _hint(output: str) -> Iterator[None]:
    """On Ctrl-C, tell that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"{output}: what is written is kept; the same call goes on")
        raise
