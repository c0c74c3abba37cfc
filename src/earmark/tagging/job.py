"""Tagging a library: what is known already is not heard again, and what is heard is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from earmark.errors import AudioError
from earmark.tagging.embedding import Embedding, Finding
from earmark.tagging.index import State, TagIndex
from earmark.tagging.library import Recording
from earmark.tagging.tagger import Tag

Engine = Callable[[Iterable[Path]], Iterator[tuple[Path, Finding | AudioError]]]
"""Tags recordings: gives each with what is found in it, or with the error it met, in their order."""


class Outcome(NamedTuple):
    """What became of a recording.

    Attributes
    ----------
    recording
        The recording.
    tags
        What is heard in it, or why that is not known.
    is_new
        Whether it was tagged now, rather than known already.
    embedding
        Where it lies in the network's space, if that is wanted and it could be read.
    """

    recording: Recording
    tags: list[Tag] | AudioError
    is_new: bool
    embedding: Embedding | None = None


class Job:
    """The recordings of a call, of which some are known already.

    Parameters
    ----------
    recordings
        All of them, in the order wanted.
    index
        Tags that are known, and where new ones are kept; None for none.

    Attributes
    ----------
    known
        Which of them are known.
    """

    def __init__(self, recordings: Sequence[Recording], index: TagIndex | None = None) -> None:
        self.recordings, self.index = recordings, index
        self.known = [index is not None and recording.path in index for recording in recordings]

    def outcomes(self, engine: Engine, write: Callable[[Path, list[Tag]], bool] | None = None) -> Iterator[Outcome]:
        """Tag what is not known; give all recordings in order.

        Parameters
        ----------
        engine
            Tags files.
        write
            Writes tags into a file, known ones as well; says whether it changed the file. None to leave files alone.

        Yields
        ------
        Outcome
            One a recording; a new one is kept before it is given.
        """
        states: deque[State | None] = deque()

        def new_paths() -> Iterator[Path]:
            for recording, known in zip(self.recordings, self.known, strict=True):
                if not known:
                    states.append(State.of(recording.path))  # before it is heard, so that a later change shows
                    yield recording.path

        heard = engine(new_paths())
        for recording, known in zip(self.recordings, self.known, strict=True):
            path = recording.path
            if known and self.index is not None:
                found: Finding | AudioError = self.index.finding(path)
                state = None
            else:
                found = next(heard)[1]
                state = states.popleft()
            if isinstance(found, AudioError):
                yield Outcome(recording, found, not known)
                continue
            changed = write is not None and write(path, found.tags)
            self._keep(path, State.of(path) if changed else state, found)
            yield Outcome(recording, found.tags, not known, found.embedding)

    def _keep(self, path: Path, state: State | None, found: Finding) -> None:
        """Keep what was made of a file in a state; None for what is kept already."""
        if self.index is not None and state is not None and path not in self.index:
            self.index.add(path, state, found.tags, found.embedding)
