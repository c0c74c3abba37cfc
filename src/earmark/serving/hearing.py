"""A tagger in a process of its own, which is handed some recordings at a time and answers with their scores.

Decoding and features are many short steps, for each of which a thread has to have the interpreter's lock: threads of
one process that hear side by side wait for it, and for the one that talks to clients. A process a core does not. And a
recording that crashes a decoder ends a process that is started again, not the server.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from ctypes import c_bool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from earmark.errors import AudioError, ServingError
from earmark.serving.limits import Limits
from earmark.serving.problems import Problem
from earmark.serving.recordings import NAMELESS, Abandoned, read, unreadable
from earmark.serving.scoring import Prepared, Scored, Scorer
from earmark.tagging.engine import Engine
from earmark.tagging.tagger import load

MOST_AT_ONCE = 8
"""Recordings that a process is handed at a time, at the most."""

LOOKS_S = 0.25
"""How often it is looked whether somebody still waits for what is being heard, in seconds."""

PATIENCE_S = 10.0
"""How long a process may take to notice that nobody waits any more, in seconds; then it is ended."""

STARTS_WITHIN_S = 120.0
"""How long a process may take until it can hear, in seconds, on a machine that has much else to do."""

IsAbandoned = Callable[[int], bool]
"""Whether nobody waits any more for the recording in this place."""


class Asked(NamedTuple):
    """A recording, and whether its scores over time are wanted."""

    path: Path
    timeline: bool


@dataclass
class Heard:
    """What comes of some recordings.

    Attributes
    ----------
    said
        Of each, in order: its scores, or why there are none.
    decoding_s, audio_s
        What each that was decoded took, and how long it is, in seconds.
    scoring_s
        What the network took, in seconds.
    n_together
        Recordings that shared its calls.
    """

    said: list[Scored | Exception]
    decoding_s: list[float] = field(default_factory=list)
    audio_s: list[float] = field(default_factory=list)
    scoring_s: float = 0.0
    n_together: int = 0


def hear(scorer: Scorer, limits: Limits, asked: Sequence[Asked], is_abandoned: IsAbandoned) -> Heard:
    """Decode recordings one by one, and score them together.

    Parameters
    ----------
    scorer
        Its recordings of more than `whole_s` are heard alone, block by block.
    limits
        Of a recording.
    asked
        Which.
    is_abandoned
        Asked now and then.
    """
    heard = Heard([Abandoned() for _ in asked])
    ready: dict[int, Prepared] = {}
    for place, one in enumerate(asked):
        started = time.perf_counter()
        try:
            found, duration_s = prepared(scorer, limits, one, partial(_at, is_abandoned, place))
        except Exception as error:
            heard.said[place] = error
            continue
        heard.decoding_s.append(time.perf_counter() - started)
        heard.audio_s.append(duration_s)
        if isinstance(found, Scored):
            heard.said[place] = found
        else:
            ready[place] = found
    ready = {place: windows for place, windows in ready.items() if not is_abandoned(place)}
    if ready:
        started = time.perf_counter()
        for place, said in zip(ready, scored(scorer, list(ready.values())), strict=True):
            heard.said[place] = said
        heard.scoring_s, heard.n_together = time.perf_counter() - started, len(ready)
    return heard


def prepared(
    scorer: Scorer, limits: Limits, asked: Asked, is_abandoned: Callable[[], bool]
) -> tuple[Prepared | Scored, float]:
    """From a file to windows, or at once to scores where it is too long for that; and its length in seconds.

    Raises
    ------
    Problem
        When it cannot be read, or is beyond a limit.
    Abandoned
        When nobody waits for it.
    """
    if is_abandoned():
        raise Abandoned
    waveform, duration_s = read(asked.path, limits, scorer.whole_s, is_abandoned)
    if waveform is not None:
        return scorer.prepare(waveform, timeline=asked.timeline), duration_s
    try:
        return scorer.listen(asked.path, timeline=asked.timeline), duration_s
    except AudioError as error:
        raise unreadable(error, asked.path) from error


def scored(scorer: Scorer, ready: Sequence[Prepared]) -> Sequence[Scored | Exception]:
    """Score recordings together; what fails as a whole is the answer to each."""
    try:
        return scorer.score(ready)
    except Exception as error:
        return [error for _ in ready]


class Hearer:
    """A process that hears, for one thread; it is started again when a recording has ended it.

    It ends with the process that started it, however that ends, and takes no notice of signals that are meant for both.

    Parameters
    ----------
    model
        What `earmark.tagging.tagger.load` takes.
    limits
        Of a recording.
    """

    def __init__(self, model: str | Path | None, limits: Limits) -> None:
        self._words = (model, limits)
        self._context = multiprocessing.get_context("spawn")
        self._abandoned = self._context.RawArray(c_bool, MOST_AT_ONCE)
        self._start()

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        words = (theirs, self._abandoned, *self._words)
        self._process = self._context.Process(target=_hear_for, args=words, name="earmark-hearer", daemon=True)
        self._process.start()
        theirs.close()
        self._is_ready = False

    def wait(self) -> None:
        """Until it can hear; `ServingError` when it does not begin. One that could not begin is started again."""
        if self._is_ready:
            return
        if not self._process.is_alive():
            self._start_again()
        try:
            if not self._connection.poll(STARTS_WITHIN_S):
                raise EOFError
            self._connection.recv()
        except (EOFError, OSError):
            self._process.kill()  # where it has not ended by itself
            self._process.join()
            raise ServingError(
                "a process that hears recordings does not start; is there memory for it? --one-process does without"
            ) from None
        self._is_ready = True

    def reads(self, path: Path) -> bool:
        """Whether it can read a file; no where it has just ended."""
        try:
            self.wait()
            self._connection.send(path)
            return bool(self._connection.recv())
        except (EOFError, OSError, ServingError):
            return False

    def hear(self, asked: Sequence[Asked], is_abandoned: IsAbandoned) -> Heard:
        """Hear some recordings, `MOST_AT_ONCE` at the most.

        Where the process ends over them, each is heard again by itself; one that ends it again cannot be read.
        """
        try:
            heard: Heard = self._told(asked, is_abandoned)
        except (EOFError, OSError):
            self._start_again()
            heard = _joined([self._alone(one, partial(_at, is_abandoned, place)) for place, one in enumerate(asked)])
        return heard

    def _alone(self, asked: Asked, is_abandoned: IsAbandoned) -> Heard:
        try:
            heard: Heard = self._told([asked], is_abandoned)
        except (EOFError, OSError):
            self._start_again()
            heard = Heard([Abandoned() if is_abandoned(0) else _crashed()])
        return heard

    def _start_again(self) -> None:
        self.close()
        self._start()

    def _told(self, asked: Sequence[Asked], is_abandoned: IsAbandoned) -> Any:
        """What the process answers; an `OSError` when nobody waits for it any more, and it goes on."""
        self.wait()
        for place in range(len(asked)):
            self._abandoned[place] = is_abandoned(place)
        self._connection.send(list(asked))
        since: float | None = None
        while not self._connection.poll(LOOKS_S):
            for place in range(len(asked)):
                self._abandoned[place] = is_abandoned(place)
            if since is None and all(self._abandoned[: len(asked)]):
                since = time.monotonic()
            if since is not None and time.monotonic() - since > PATIENCE_S:
                raise TimeoutError
        return self._connection.recv()

    def close(self) -> None:
        """End the process, at once where it is at work."""
        self._connection.close()
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()


def _crashed() -> Problem:
    return Problem(
        "unreadable-recording", f"{NAMELESS}: made its decoder crash; convert it to WAV or FLAC, and send that"
    )


def _at(is_abandoned: IsAbandoned, place: int, _: int = 0) -> bool:
    """Whether nobody waits for the recording in one place, asked about it alone."""
    return is_abandoned(place)


def _joined(parts: Sequence[Heard]) -> Heard:
    return Heard(
        [said for part in parts for said in part.said],
        [seconds for part in parts for seconds in part.decoding_s],
        [seconds for part in parts for seconds in part.audio_s],
        sum(part.scoring_s for part in parts),
        max(part.n_together for part in parts),
    )


def _hear_for(connection: Connection, abandoned: Any, model: str | Path | None, limits: Limits) -> None:
    """What the process does, until the one that started it closes the connection, or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with threadpool_limits(1, user_api="blas"), suppress(EOFError, OSError):
        scorer = Scorer(Engine([load(model, n_threads=1)], 1))
        connection.send(None)
        while True:
            asked = connection.recv()
            if isinstance(asked, Path):
                connection.send(_is_readable(asked))
                continue
            heard = hear(scorer, limits, asked, lambda place: bool(abandoned[place]))
            heard.said = [_carried(said) if isinstance(said, Exception) else said for said in heard.said]
            connection.send(heard)


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _carried(error: Exception) -> Exception:
    """An error as one that another process can be told, with where it came from."""
    if isinstance(error, Problem | Abandoned):
        return error
    told = RuntimeError(f"{type(error).__name__}: {error}")
    told.add_note("".join(traceback.format_exception(error)))
    return told
