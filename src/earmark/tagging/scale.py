"""A library over the cores of a cluster, by Ray and a pool of actors that each hold the networks.

Recordings are divided into parts. An actor tags a part and writes its rows itself, whole or not at all, so that little
more than names goes over the wire. Ray starts a lost actor anew and gives it the parts that it had not finished,
without an end; a recording that kills actors is found out and left out. A later call finds what is there and tags what
is missing.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from earmark.bundle import Bundle
from earmark.errors import AudioError, EarmarkError, RunError
from earmark.parallel import map_in_order
from earmark.tagging.addresses import fetch, is_address, state_of
from earmark.tagging.choosing import Choice, Chooser
from earmark.tagging.engine import Engine
from earmark.tagging.index import Maker
from earmark.tagging.library import Library
from earmark.tagging.parts import Found, Part, PartsFolder, Source, part_name
from earmark.tagging.tagger import Tag, Tagger
from earmark.tagging.writers import ParquetRows

PART_FILES = 256
"""Recordings of a part at the most: what a lost actor has to do again, and how large the files of the output are."""

PART_BYTES = 256 << 20
"""A part of long recordings ends with the one that makes it this large."""

PARTS_LEFT = 2
"""A part holds no more than what would leave so many as large for each actor: towards the end they get smaller, so that
all actors end at about the same time."""

PARTS_AHEAD = 2
"""Parts that an actor is given before the first is done, so that it never waits for the next."""

FETCHERS = 4
"""Files behind addresses that an actor fetches at a time."""

CORES_AN_ACTOR = 0.5
"""What an actor reserves of its core: where a machine is lost, the others have room for its actors."""

N_DEATHS = 2
"""How many actors may die over one recording, before it is left out and named."""


class Job(msgspec.Struct, frozen=True):
    """A part to be made."""

    name: str
    sources: list[Source]


class Done(msgspec.Struct, frozen=True):
    """What became of a part.

    Attributes
    ----------
    name
        Of the part.
    n_heard
        Recordings that have tags.
    failures
        Why others have none.
    problem
        Why the part could not be written; empty where it could.
    """

    name: str
    n_heard: int
    failures: list[str]
    problem: str = ""


class Setting(msgspec.Struct, frozen=True):
    """What is the same for all parts.

    Attributes
    ----------
    models
        Where each bundle lies, which is a name alone, and its bytes.
    choice
        Which tags are wanted.
    hop_s
        Seconds between windows; None for the models' own.
    maker
        Model and options, for the footers.
    columns
        Those of lists.
    root
        Where relative paths begin.
    output
        The folder's path or address.
    """

    models: list[tuple[str, bytes]]
    choice: Choice
    hop_s: float | None
    maker: Maker
    columns: tuple[str, ...]
    root: str
    output: str


class Ledger:
    """An actor that outlives the others, and knows over which recordings they died.

    Only an actor that was started anew notes its recordings, so that nothing is the slower for it as a rule.
    """

    def __init__(self) -> None:
        self._notes: dict[str, Counter[int]] = {}

    def begin(self, part: str) -> Counter[int]:
        """How often each recording of a part was begun and not survived."""
        return self._notes.setdefault(part, Counter())

    def note(self, part: str, number: int, ends: bool) -> None:
        """Note that a recording of a part is begun, or that it has been survived."""
        self._notes[part][number] += -1 if ends else 1


class Tagging:
    """An actor: networks that stay loaded, to tag part after part.

    Parameters
    ----------
    ledger
        A handle of the actor `Ledger`.
    setting
        A reference to a `Setting` in Ray's object store, in a list, so that it is not fetched for each part.
    """

    def __init__(self, ledger: Any, setting: list[Any]) -> None:
        import ray

        self._ray, self._ledger = ray, ledger
        self._setting: Setting = ray.get(setting[0])
        taggers = [Tagger(Bundle(path, n_threads=1, content=content)) for path, content in self._setting.models]
        if self._setting.hop_s is not None:
            for tagger in taggers:
                tagger.step(self._setting.hop_s)
        self._opened = ExitStack()
        self._choose = Chooser(self._opened.enter_context(Engine(taggers, 1)), self._setting.choice)
        self._folder = PartsFolder(self._setting.output)
        self._was_lost = ray.get_runtime_context().was_current_actor_reconstructed

    def begin(self) -> None:
        """Answer, once it is there."""

    def make(self, job: Job) -> Done:
        """Tag the recordings of a part, and write it."""
        rows = ParquetRows(self._setting.columns)
        heard: list[tuple[Source, str]] = []
        failures: list[str] = []
        for source, state, tags in self._heard(job):
            if isinstance(tags, AudioError):
                failures.append(str(tags))
            else:
                rows.add(source.name, source.cells, tags)
                heard.append((source, state))
        try:
            if heard:
                part = Part(self._setting.maker, self._setting.columns, heard)
                self._folder.write_part(job.name, rows.take(), part)
        except (OSError, EarmarkError) as error:
            return Done(job.name, 0, failures, str(error))
        return Done(job.name, len(heard), failures)

    def _heard(self, job: Job) -> Iterator[tuple[Source, str, list[Tag] | AudioError]]:
        """Recordings with the states in which they are heard, and their tags; some are fetched ahead."""
        begun: Counter[int] | None = self._ray.get(self._ledger.begin.remote(job.name)) if self._was_lost else None
        sources = job.sources
        with TemporaryDirectory(prefix="earmark-") as folder, ThreadPoolExecutor(FETCHERS) as fetchers:

            def opened(number: int) -> tuple[str, Path | AudioError]:
                name, root = sources[number].name, self._setting.root
                state = state_of(name, root)  # before it is heard, so that a later change shows
                try:
                    return state, fetch(name, root, Path(folder, str(number)))
                except AudioError as error:
                    return state, error

            files = map_in_order(fetchers, opened, range(len(sources)), ahead=2 * FETCHERS)
            for number, (source, (state, file)) in enumerate(zip(sources, files, strict=True)):
                if begun is None:
                    yield source, state, self._tags(source.name, file)
                elif begun[number] >= N_DEATHS:
                    yield source, state, AudioError(f"{source.name}: {N_DEATHS} workers died over it; look at it alone")
                else:
                    self._ray.get(self._ledger.note.remote(job.name, number, ends=False))
                    yield source, state, self._tags(source.name, file)
                    self._ray.get(self._ledger.note.remote(job.name, number, ends=True))
                if is_address(source.name) and isinstance(file, Path):
                    file.unlink()

    def _tags(self, name: str, file: Path | AudioError) -> list[Tag] | AudioError:
        if isinstance(file, AudioError):
            return file
        try:
            return self._choose(file).tags
        except AudioError as error:
            return AudioError(str(error).replace(str(file), name))


def known(
    sources: Sequence[Source], folder: PartsFolder, maker: Maker, columns: tuple[str, ...]
) -> tuple[list[Found], list[str]]:
    """Find what earlier calls have left of a library.

    Returns
    -------
    list of Found
        Parts all of whose recordings are asked for, and are as they were.
    list of str
        Names of the others, which are to be removed once theirs are tagged again.

    Raises
    ------
    RunError
        When the folder's tags are of another model or other options.
    """
    there = folder.found()
    for name, part in there:
        if difference := part.maker.differences(maker):
            raise RunError(
                f"{folder.where}: this call has {difference} (see {name}); give the same model and options, or name "
                "another folder"
            )
    wanted = set(sources)
    named = {source.name for _, part in there for source, _ in part.heard if source in wanted}
    with ThreadPoolExecutor(4 * FETCHERS) as pool:
        states = dict(zip(named, pool.map(state_of, named), strict=True))
    kept: list[Found] = []
    for found in there:
        current = all(source in wanted and states[source.name] == state for source, state in found.part.heard)
        if current and found.part.columns == columns:
            kept.append(found)
            wanted -= {source for source, _ in found.part.heard}  # each is in one part alone
    names = {found.name for found in kept}
    return kept, [found.name for found in there if found.name not in names]


def jobs_of(sources: Sequence[Source], maker: Maker, n_actors: int, first: int) -> list[Job]:
    """Divide recordings into parts, in their order; `first` is the number of the first part."""
    groups: list[list[Source]] = []
    n_bytes = n_most = 0
    for i, source in enumerate(sources):
        if not groups or len(groups[-1]) >= n_most or n_bytes >= PART_BYTES:
            groups.append([])
            n_bytes, n_most = 0, min(PART_FILES, max(1, (len(sources) - i) // (PARTS_LEFT * n_actors)))
        groups[-1].append(source)
        n_bytes += _size(source.name)
    return [Job(part_name(first + i, group, maker), group) for i, group in enumerate(groups)]


def make_parts(ray: Any, jobs: Sequence[Job], setting: Setting, n_actors: int) -> Iterator[Done]:
    """Make parts on a cluster; give what became of each, as they are done.

    Parameters
    ----------
    ray
        The module, connected to a cluster, of which this process may be part or not.
    jobs
        What is to be made.
    setting
        How.
    n_actors
        How many actors.

    Raises
    ------
    EarmarkError
        When a part cannot be written, or the cluster gives up.
    """
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    lasting = {"max_restarts": -1, "max_task_retries": -1}
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    ledger = ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=here, **lasting).remote()
    tagging = ray.remote(Tagging).options(num_cpus=CORES_AN_ACTOR, **lasting)
    given = [ray.put(setting)]
    actors = [tagging.remote(ledger, given) for _ in range(min(n_actors, len(jobs)))]
    waiting, n_left = deque(jobs), len(jobs)
    # one that the cluster has no room for yet gets no parts: the others make them
    working = {actor.begin.remote(): actor for actor in actors}
    try:
        while n_left:
            ready, _ = ray.wait(list(working))
            actor, done = working.pop(ready[0]), ray.get(ready[0])
            for _ in range(min(len(waiting), 1 if done else PARTS_AHEAD)):
                working[actor.make.remote(waiting.popleft())] = actor
            if done is None:
                continue
            if done.problem:
                raise EarmarkError(f"{done.name}: {done.problem}; what is written is kept, the same call goes on")
            n_left -= 1
            yield done
    except RayError as error:
        raise _gave_up(error) from error
    finally:
        for actor in actors:
            ray.kill(actor)


def _gave_up(error: Exception) -> EarmarkError:
    reason = str(error).strip().splitlines()[-1]
    return EarmarkError(f"the cluster gave up ({reason}); what is written is kept, the same call goes on")


def n_actors_of(ray: Any) -> int:
    """One actor a core of the cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def sources_of(library: Library) -> list[Source]:
    """All that a call means, those behind addresses last."""
    here = [Source(str(recording.path), recording.cells) for recording in library.recordings]
    return here + [Source(recording.address, recording.cells) for recording in library.remote]


def _size(name: str) -> int:
    try:
        return 0 if is_address(name) else os.path.getsize(name)
    except OSError:  # it is named when it is read
        return 0
