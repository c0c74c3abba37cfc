"""A collection into a store: decoded once, in memory that does not grow with it, and gone on with when interrupted."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from earmark.data.encoding import Encoding
from earmark.data.intake import HELD_BYTES, Taken, take_in
from earmark.data.manifest import Manifest
from earmark.data.partial import (
    Donor,
    Entry,
    Partial,
    clean,
    donor_of,
    entries_of,
    put_in_place,
    recover,
)
from earmark.data.plan import Plan, Source, audio_digest, label_digest, plan, sources_of
from earmark.data.sizes import in_words
from earmark.data.store import COLUMNS, VERSION, Store, digests_of, is_store, open_store
from earmark.errors import AudioError, CollectionError, StoreError
from earmark.locking import locked, sibling
from earmark.parallel import map_in_order, workers

N_ERRORS_SHOWN = 10

BUDGET_BYTES = 256 << 20
"""Float32 that may be in flight or waiting, by what headers say; with many workers, two long clips a worker."""

LEAST_BYTES = 1 << 20
"""What a clip weighs at the least, so that there are never too many."""

SPARE_WORKERS = 1
"""Threads beyond one a core, as one or another waits for the disk."""

READ_AHEAD_BYTES = 8 << 20
"""Of a recording that is soon to be decoded, asked of the disk in advance."""

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Packed:
    """What came of packing.

    Attributes
    ----------
    status
        ``"packed"``, ``"relabelled"`` (the recordings were packed already, what is said of them has changed), or
        ``"up to date"`` (nothing was done).
    n_clips
        Clips in the store.
    n_reused
        How many of them did not have to be decoded now.
    n_bytes
        Of the store's values.
    left_out
        What is wrong with each clip that could not be read, by its name.
    """

    status: str
    n_clips: int
    n_reused: int
    n_bytes: int
    left_out: dict[str, str]


@dataclass
class _Job:
    """A call of `pack`: what is to be packed, where, how, and what is known so far."""

    manifest: Manifest
    target: Path
    encoding: Encoding
    skip_bad: bool
    n_workers: int
    progress: bool
    say: Callable[[str], None]
    root: str = ""
    sources: list[Source] = field(default_factory=list)
    digests: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        self.root = os.path.abspath(self.manifest.root)
        self.sources = sources_of(self.manifest, self.root)
        self.digests = audio_digest(self.sources, self.encoding, self.root), label_digest(self.manifest)


def pack(
    manifest: Manifest,
    folder: Path,
    encoding: Encoding,
    *,
    skip_bad: bool = False,
    keep_on_bad: bool = True,
    n_workers: int | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda _: None,
    wait: bool = False,
) -> Packed:
    """Decode a collection into a store.

    A call that was killed, or ended by a full disk, is gone on with by the next one. A store of the same recordings
    in the same state is up to date; clips of an earlier store whose files have not changed are copied, not decoded.

    Parameters
    ----------
    manifest
        What to pack.
    folder
        Where; replaced as a whole when everything is packed, untouched when something fails.
    encoding
        What the store holds of each clip.
    skip_bad
        Whether recordings that cannot be read are left out, and named in the store and the result.
    keep_on_bad
        Whether what was decoded is kept for the next try when recordings cannot be read.
    n_workers
        Threads that decode; `None` for `default_workers`. It makes no difference to the store.
    progress
        Whether to show a bar on standard error.
    say
        Told what is about to be done, a line at a time.
    wait
        Whether to wait for another process that is packing the same store.

    Returns
    -------
    Packed
        What came of it.

    Raises
    ------
    CollectionError
        When there is no clip; or naming the recordings that cannot be read.
    StoreError
        When the folder holds something else, another process is packing it, or there is no room.
    """
    if not len(manifest):
        raise CollectionError(f"{manifest.root}: has no clips to pack")
    target = Path(os.path.realpath(folder))
    _refuse_other_things(target, folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target, wait=say if wait else None):
        recover(target)
        job = _Job(manifest, target, encoding, skip_bad, n_workers or default_workers(), progress, say)
        return _without_decoding(job) or _decoded(job, keep_on_bad)


def default_workers() -> int:
    """Threads that decode unless somebody says otherwise: one a core, and one that waits for the disk meanwhile."""
    return (os.cpu_count() or 1) + SPARE_WORKERS


def plan_pack(manifest: Manifest, folder: Path, encoding: Encoding, *, n_workers: int | None = None) -> Plan:
    """Say what `pack` would come to, without doing it; the arguments are those of `pack`."""
    sources = sources_of(manifest, os.path.abspath(manifest.root))
    return plan(sources, Path(os.path.realpath(folder)), encoding, n_workers=n_workers or default_workers())


def _refuse_other_things(target: Path, folder: Path) -> None:
    if target.is_dir() and (is_store(target) or not any(target.iterdir())):
        return
    if target.exists():
        kind = "holds files that are no packed store" if target.is_dir() else "is a file"
        raise StoreError(f"{folder}: {kind}; name a new folder, or that of a store that is to be replaced")


def _earlier(target: Path) -> tuple[Store, tuple[str, str]] | None:
    """The store that is to be replaced; `None` when it is of no use."""
    try:
        return open_store(target), digests_of(target)
    except CollectionError:
        return None


def _without_decoding(job: _Job) -> Packed | None:
    earlier = _earlier(job.target)
    if earlier is None:
        return None
    store, digests = earlier
    if digests[0] != job.digests[0] or (store.left_out and not job.skip_bad):
        return None
    if digests == job.digests:
        clean(job.target)
        return _result("up to date", store, len(store))
    folder = sibling(job.target, "relabelled")
    folder.mkdir()
    _link(job.target / job.encoding.file_name, folder / job.encoding.file_name)
    _write_index(job, folder, entries_of(store, job.root), store.left_out)
    put_in_place(folder, job.target)
    return _result("relabelled", open_store(job.target), len(store))


def _link(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError:  # a file system without links
        shutil.copyfile(path, other)


def _result(status: str, store: Store, n_reused: int) -> Packed:
    return Packed(status, len(store), n_reused, store.values.nbytes, store.left_out)


def _decoded(job: _Job, keep_on_bad: bool) -> Packed:
    expected = plan(job.sources, job.target, job.encoding, n_workers=job.n_workers)
    job.say(expected.summary())
    partial = Partial(job.target, job.encoding, job.root)
    try:
        with partial:
            n_reused, bad = _filled(job, partial, expected)
            if bad and not (job.skip_bad and partial.entries):
                if not keep_on_bad:
                    partial.discard()
                raise CollectionError(_unreadable(bad, len(job.sources)))
            partial.finish(lambda folder, entries: _write_index(job, folder, entries, bad))
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StoreError(_without_room(job, partial, expected, error)) from error
    return _result("packed", open_store(job.target), n_reused)


def _filled(job: _Job, partial: Partial, expected: Plan) -> tuple[int, dict[str, str]]:
    """Pack all recordings; give how many clips did not have to be decoded, and what is wrong with the others."""
    bad: dict[str, str] = {}
    first, donors = _take_up(job, partial, bad)
    n_kept = len(partial.entries)
    expected.check_room(job.target, partial.n_bytes)
    if n_kept:
        job.say(f"{n_kept} of {len(job.sources)} clips are packed already; going on from there")
    return n_kept + _fill(job, partial, first, donors, expected, bad), bad


def _take_up(job: _Job, partial: Partial, bad: dict[str, str]) -> tuple[int, list[Donor]]:
    """Keep what an earlier process has packed, as far as it is what is asked for.

    Returns
    -------
    first
        Position of the recording to go on with.
    donors
        Where those behind it can be copied from.
    """
    first, n_kept = _already_packed(job, partial, bad)
    donors = partial.keep(n_kept, {source.key for source in job.sources})
    if len(partial.entries) < n_kept:
        first = 0
        bad.clear()
    store, _ = _earlier(job.target) or (None, None)
    if store is not None and store.encoding == job.encoding and os.path.abspath(store.manifest.root) == job.root:
        donors.append(donor_of(job.target, store, job.root))
    return first, donors


def _already_packed(job: _Job, partial: Partial, bad: dict[str, str]) -> tuple[int, int]:
    """Count the recordings that are dealt with, and the clips that came of them, one behind the other."""
    n_kept = 0
    for index, source in enumerate(job.sources):
        if n_kept == len(partial.entries):
            return index, n_kept
        if partial.entries[n_kept].key == source.key:
            n_kept += 1
            continue
        outcome = _taken(source, job.encoding, partial.folder)
        if isinstance(outcome, Taken):  # it was not there, or could not be read, when the others were packed
            outcome.close()
            return index, n_kept
        bad[source.clip.name] = str(outcome)
    return len(job.sources), n_kept


def _fill(job: _Job, partial: Partial, first: int, donors: list[Donor], expected: Plan, bad: dict[str, str]) -> int:
    """Pack the recordings from one on, in order; give how many of them were copied."""
    n_copied = 0
    bar = tqdm(
        total=len(job.sources),
        initial=first,
        desc="pack",
        unit="clip",
        disable=not job.progress,
        mininterval=0.1 if sys.stderr.isatty() else 10.0,  # a log file is not to be filled with bars
    )
    with bar, closing(_outcomes(job, partial.folder, first, donors, expected)) as outcomes:
        for source, outcome in zip(job.sources[first:], outcomes, strict=True):
            if isinstance(outcome, Taken):
                with closing(outcome):
                    partial.append(source.key, outcome)
            elif isinstance(outcome, Donor):
                partial.copy(source.key, outcome)
                n_copied += 1
            else:
                bad[source.clip.name] = str(outcome)
            bar.update()
    return n_copied


def _outcomes(
    job: _Job, scratch: Path, first: int, donors: list[Donor], expected: Plan
) -> Generator[Taken | Donor | AudioError, None, None]:
    """What comes of each recording from one on, in order, read by all workers at once."""
    weights = np.nan_to_num(expected.durations_s, nan=np.inf) * 4 * job.encoding.sample_rate
    weights = np.clip(weights, LEAST_BYTES, HELD_BYTES)

    def outcome_of(index: int) -> Taken | Donor | AudioError:
        source = job.sources[index]
        donor = next((donor for donor in donors if source.key in donor.places), None)
        return donor or _taken(source, job.encoding, scratch)

    with workers(job.n_workers) as pool:
        yield from map_in_order(
            pool,
            outcome_of,
            _announced(job.sources, first),
            ahead=max(BUDGET_BYTES, 2 * job.n_workers * HELD_BYTES),
            weigh=lambda index: float(weights[index]),
        )


def _announced(sources: Sequence[Source], first: int) -> Iterator[int]:
    """Positions from one on; each recording is asked of the disk some time before, where the system can do that."""
    for index in range(first, len(sources)):
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError, ValueError):  # what cannot be opened is told when it is decoded
                descriptor = os.open(sources[index].clip.path, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    os.posix_fadvise(descriptor, 0, READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(descriptor)
        yield index


def _taken(source: Source, encoding: Encoding, scratch: Path) -> Taken | AudioError:
    try:
        return take_in(source.clip.path, encoding, scratch)
    except AudioError as error:
        return error


def _unreadable(bad: dict[str, str], n_clips: int) -> str:
    shown = "\n  ".join(list(bad.values())[:N_ERRORS_SHOWN])
    more = f"\n  and {len(bad) - N_ERRORS_SHOWN} more" if len(bad) > N_ERRORS_SHOWN else ""
    return (
        f"{len(bad)} of {n_clips} recordings cannot be packed; mend them, exclude them (--exclude FILE), or pack "
        f"without them ('earmark data pack --skip-bad'):\n  {shown}{more}"
    )


def _without_room(job: _Job, partial: Partial, expected: Plan, error: OSError) -> str:
    needed = in_words(max(0, expected.n_bytes - partial.n_bytes))
    free = in_words(shutil.disk_usage(job.target.parent).free)
    what = "the disk is full" if error.errno != errno.EFBIG else "no file may be so large here (limit or file system)"
    kept = "nothing is left behind"
    if partial.n_safe:
        kept = f"{partial.n_safe} clips are kept in {partial.folder}, and the same command goes on from there"
    return (
        f"{job.target}: {what} after {partial.n_safe} of {len(job.sources)} clips: about {needed} more are needed, "
        f"{free} are free; make room or name a folder on another disk; {kept}"
    )


def _write_index(job: _Job, folder: Path, entries: Sequence[Entry], bad: dict[str, str]) -> None:
    sources = iter(job.sources)
    offset = 0
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for entry in entries:
            clip, key = next(source for source in sources if source.key == entry.key).clip, entry.key
            said = (clip.group or "", _cell(clip.fold), _cell(clip.duration_s), clip.license or "")
            place = (offset, entry.length, repr(entry.scale), repr(entry.shift), key.n_bytes, key.mtime_ns)
            writer.writerow((clip.name, key.path, ",".join(clip.labels), clip.subset, *said, *place))
            offset += entry.length
    head = {
        "version": VERSION,
        **job.encoding.tables(),
        "layout": job.manifest.layout,
        "root": job.root,
        "labels": list(job.manifest.vocabulary),
        "left_out": bad,
        "audio_digest": job.digests[0],
        "label_digest": job.digests[1],
    }
    (folder / "store.json").write_text(json.dumps(head, indent=1), encoding="utf-8")


def _cell(number: float | None) -> object:
    return "" if number is None else number
