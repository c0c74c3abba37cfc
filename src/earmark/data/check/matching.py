"""Which clips share landmarks at one distance in time: every clip against every clip, without trying every pair.

All landmarks of all clips stand in one sorted array, so that equal ones are neighbours. Each equal pair is a vote for
two clips and for a distance in time between them; two clips of one recording get many votes for one distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from earmark.data.check.landmarks import CODE_BITS, FRAME_S

MAX_LANDMARKS = 1 << 26
"""Held at a time, 512 MB. What is more is thinned out evenly: by what the landmark is, so that twins keep the same."""

MAX_VOTES = 1 << 24
"""Sorted at a time, 128 MB; where there are more, clips are taken in several turns."""

MIN_VOTES = 3
"""Votes for one distance that make a pair worth a closer look."""

MANY_CLIPS = 1000
"""For as many clips and each ten times as many, one vote more is asked for: there are a hundred times as many pairs."""

LANDMARKS_PER_VOTE = 2000
"""One vote more is asked for so many landmarks in the clip that has fewer: the more, the more of them fit by chance."""

N_NEXT = 16
"""Of many equal landmarks, each is compared with so many that follow it: a chain still ties all of them together."""

MAX_CANDIDATES = 20
"""Pairs looked at for the sake of one clip, those with the most votes."""

CHUNK = 1 << 22
"""Landmarks compared at a time."""

POSITION_BITS = 64 - CODE_BITS
CLIP_BITS, DISTANCE_BITS = 20, 24
NO_DISTANCE = 1 << DISTANCE_BITS
"""How no distance is told, so that none is below 0."""

COARSE = 2
"""Distances are counted in steps of two frames, 8 ms; votes in two neighbouring steps count together."""


@dataclass(frozen=True)
class Candidate:
    """Two clips that may be of one recording.

    Attributes
    ----------
    first, second
        Numbers of the clips, `first` below `second`.
    offset_s
        When the second clip begins, in seconds from the beginning of the first, to some 10 ms; may be negative.
    n_votes
        Landmarks that say so.
    """

    first: int
    second: int
    offset_s: float
    n_votes: int


class LandmarkIndex:
    """Landmarks of many clips, in bounded memory.

    Parameters
    ----------
    max_landmarks
        How many to hold.

    Examples
    --------
    >>> index = LandmarkIndex()
    >>> for clip in range(2):
    ...     index.add(clip, np.arange(5, dtype=np.uint32), np.arange(5) + 100 * clip)
    >>> index.candidates()
    [Candidate(first=0, second=1, offset_s=-0.4, n_votes=5)]
    """

    def __init__(self, max_landmarks: int = MAX_LANDMARKS) -> None:
        self.max_landmarks = max_landmarks
        self._chunks: list[np.ndarray] = []
        self._n_held = 0
        self._halvings = 0
        self._clips: list[int] = []
        self._starts: list[int] = []
        self._counts: list[int] = []
        self._end = 0

    @property
    def kept_share(self) -> float:
        """The share of all landmarks that is held, 1 where memory is enough."""
        return 0.5**self._halvings

    def add(self, clip: int, codes: np.ndarray, frames: np.ndarray) -> None:
        """Take the fingerprint of a clip, as `fingerprint` gives it; clips come in the order of their numbers."""
        if not len(codes):
            return
        self._clips.append(clip)
        self._starts.append(self._end)
        self._counts.append(len(codes))
        entries = codes.astype(np.uint64) << np.uint64(POSITION_BITS) | (frames + self._end).astype(np.uint64)
        self._end += int(frames.max()) + 1
        self._chunks.append(_thinned(entries, self._halvings))
        self._n_held += len(self._chunks[-1])
        while self._n_held > self.max_landmarks:
            self._halvings += 1
            self._chunks = [_thinned(chunk, self._halvings) for chunk in self._chunks]
            self._n_held = sum(map(len, self._chunks))

    def candidates(self) -> list[Candidate]:
        """Find the pairs that may be of one recording; the index is empty afterwards.

        Returns
        -------
        list of Candidate
            In order of their clips.
        """
        entries, starts = self._sorted_entries(), np.array(self._starts, dtype=np.int64)
        if not len(starts):
            return []
        turns = (_elected(np.concatenate(list(_votes(entries, starts, clips)))) for clips in _turns(entries, starts))
        pairs, distances, counts = (np.concatenate(column) for column in zip(*turns, strict=True))
        first, second = pairs >> CLIP_BITS, pairs & ((1 << CLIP_BITS) - 1)
        n_landmarks = np.array(self._counts, dtype=np.int64)
        fewer = np.minimum(n_landmarks[first], n_landmarks[second]) * self.kept_share
        n_more = np.log10(max(1.0, 10 * len(starts) / MANY_CLIPS)) + fewer // LANDMARKS_PER_VOTE
        enough = counts >= MIN_VOTES + n_more.astype(np.int64)
        first, second, distances, counts = first[enough], second[enough], distances[enough], counts[enough]
        offsets_s = (COARSE * (distances + 1) - NO_DISTANCE) * FRAME_S
        order = np.lexsort((second, first))
        return [
            Candidate(self._clips[first[i]], self._clips[second[i]], float(offsets_s[i]), int(counts[i]))
            for i in order[_among_the_best(first[order], second[order], counts[order])]
        ]

    def _sorted_entries(self) -> np.ndarray:
        """Empty the index into one array, piece by piece, so that nothing is held twice; single landmarks left out."""
        entries = np.empty(self._n_held, dtype=np.uint64)
        end = self._n_held
        while self._chunks:
            chunk = self._chunks.pop()
            entries[end - len(chunk) : end] = chunk
            end -= len(chunk)
        self._n_held = 0
        entries.sort()
        return entries[_is_shared(entries)]


def _thinned(entries: np.ndarray, n_halvings: int) -> np.ndarray:
    """Keep the landmarks whose scrambled code (Knuth's multiplicative hash) begins with so many zero bits."""
    if not n_halvings:
        return entries
    scrambled = (entries >> np.uint64(POSITION_BITS)) * np.uint64(2_654_435_761) & np.uint64(0xFFFFFFFF)
    return entries[scrambled < np.uint64(1 << (32 - n_halvings))]


def _is_shared(entries: np.ndarray) -> np.ndarray:
    """Which entries are the same landmark as one beside them."""
    shared = np.zeros(len(entries), dtype=bool)
    for start in range(0, len(entries), CHUNK):
        codes = entries[start : start + CHUNK + 1] >> np.uint64(POSITION_BITS)
        equal = np.flatnonzero(codes[1:] == codes[:-1]) + start
        shared[equal] = shared[equal + 1] = True
    return shared


def _equal(entries: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of entries that are the same landmark, the one with the lower position first."""
    for start in range(0, len(entries), CHUNK):
        chunk = entries[start : start + CHUNK + N_NEXT]
        codes = chunk >> np.uint64(POSITION_BITS)
        for ahead in range(1, min(N_NEXT + 1, len(chunk))):
            one = np.flatnonzero(codes[ahead:] == codes[:-ahead])
            if not len(one):
                break
            one = one[one < CHUNK]
            yield chunk[one], chunk[one + ahead]


def _turns(entries: np.ndarray, starts: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of first clips whose votes are few enough to be sorted at once, each by where it begins and ends.

    The earlier a clip, the more others follow it: up to twice as many votes as on the average.
    """
    n_turns = -(-2 * sum(len(one) for one, _ in _equal(entries)) // MAX_VOTES)
    first = np.unique(np.linspace(0, len(starts), max(1, n_turns) + 1).astype(np.int64))
    edges = np.append(starts, np.iinfo(np.int64).max)[first].tolist()
    return list(pairwise(edges))


def _votes(entries: np.ndarray, starts: np.ndarray, clips: tuple[int, int]) -> Iterator[np.ndarray]:
    """Votes as uint64, from high bits to low ones: first clip, second clip, distance in time."""
    yield np.empty(0, dtype=np.uint64)
    for one, other in _equal(entries):
        position = _position(one)
        mine = (position >= clips[0]) & (position < clips[1])
        yield _vote(position[mine], _position(other[mine]), starts)


def _position(entries: np.ndarray) -> np.ndarray:
    return (entries & np.uint64((1 << POSITION_BITS) - 1)).astype(np.int64)


def _vote(one: np.ndarray, other: np.ndarray, starts: np.ndarray) -> np.ndarray:
    first, second = (np.searchsorted(starts, position, side="right") - 1 for position in (one, other))
    distance = ((one - starts[first]) - (other - starts[second]) + NO_DISTANCE) // COARSE
    votes = first << (CLIP_BITS + DISTANCE_BITS) | second << DISTANCE_BITS | distance
    return votes[first != second].astype(np.uint64)


def _elected(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair, distance and votes of each pair that has `MIN_VOTES` for one distance; the distance with the most."""
    votes.sort()
    begins = np.flatnonzero(np.append(np.ones(min(1, len(votes)), dtype=bool), votes[1:] != votes[:-1]))
    keys, counts = votes[begins].astype(np.int64), np.diff(begins, append=len(votes))
    counts[:-1] += np.where(keys[1:] == keys[:-1] + 1, counts[1:], 0)
    keys, counts = keys[counts >= MIN_VOTES], counts[counts >= MIN_VOTES]
    order = np.lexsort((-counts, keys >> DISTANCE_BITS))
    pairs = keys[order] >> DISTANCE_BITS
    top = order[np.diff(pairs, prepend=-1) != 0]
    return keys[top] >> DISTANCE_BITS, keys[top] & ((1 << DISTANCE_BITS) - 1), counts[top]


def _among_the_best(first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Positions of the pairs that are among the `MAX_CANDIDATES` best ones of either clip."""
    kept = np.zeros(len(counts), dtype=bool)
    for clips in (first, second):
        order = np.lexsort((-counts, clips))
        begins = np.diff(clips[order], prepend=-1) != 0
        since = np.arange(len(order)) - np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        kept[order[since < MAX_CANDIDATES]] = True
    return np.flatnonzero(kept)
