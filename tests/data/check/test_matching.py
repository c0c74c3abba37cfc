"""Pairs that share landmarks at one distance, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.data.check import matching
from earmark.data.check.landmarks import CODE_BITS, FRAME_S
from earmark.data.check.matching import Candidate, LandmarkIndex


def codes(seed: int, n_codes: int = 50) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).integers(0, 1 << CODE_BITS, n_codes, dtype=np.uint32))


def frames(seed: int, n_codes: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, n_codes)


def test_two_clips_with_the_same_landmarks_later() -> None:
    index = LandmarkIndex()
    index.add(3, codes(0), frames(0) + 200)
    index.add(5, codes(1), frames(1))
    index.add(8, codes(0), frames(0))
    (found,) = index.candidates()
    assert (found.first, found.second, found.n_votes) == (3, 8, 50)
    assert found.offset_s == pytest.approx(200 * FRAME_S, abs=3 * FRAME_S)


def test_offsets_before_the_beginning_are_negative() -> None:
    index = LandmarkIndex()
    index.add(0, codes(0), frames(0))
    index.add(1, codes(0), frames(0) + 77)
    (found,) = index.candidates()
    assert found.offset_s == pytest.approx(-77 * FRAME_S, abs=3 * FRAME_S)


def test_the_distance_with_the_most_votes_wins() -> None:
    index = LandmarkIndex()
    index.add(0, codes(0), frames(0))
    later = frames(0) + 300
    later[:20] += 100
    index.add(1, codes(0), later)
    (found,) = index.candidates()
    assert found.n_votes == 30
    assert found.offset_s == pytest.approx(-300 * FRAME_S, abs=3 * FRAME_S)


def test_votes_for_neighbouring_distances_count_together() -> None:
    index = LandmarkIndex()
    index.add(0, codes(0, 4), np.zeros(4, dtype=np.int64) + 50)
    index.add(1, codes(0, 4), np.array([50, 50, 52, 52]))
    assert [found.n_votes for found in index.candidates()] == [4]


def test_too_few_votes_are_chance() -> None:
    index = LandmarkIndex()
    for clip in range(2):
        index.add(clip, np.concatenate([codes(9, 2), codes(clip)]), np.zeros(52, dtype=np.int64))
    assert index.candidates() == []


def test_the_more_landmarks_the_more_votes_are_asked_for() -> None:
    def found(n_others: int) -> list[Candidate]:
        index = LandmarkIndex()
        for clip in range(2):
            index.add(clip, np.concatenate([codes(9, 3), codes(clip, n_others)]), np.zeros(3 + n_others, dtype=int))
        return index.candidates()

    assert len(found(100)) == 1
    assert found(2000) == []


def test_a_clip_is_no_candidate_with_itself_and_no_clips_have_no_candidates() -> None:
    index = LandmarkIndex()
    index.add(0, np.repeat(codes(0), 2), np.arange(100))
    index.add(1, np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.int64))
    assert index.candidates() == []
    assert LandmarkIndex().candidates() == []


def test_memory_is_bounded_and_twins_are_still_found() -> None:
    index = LandmarkIndex(max_landmarks=2000)
    for clip in range(20):
        index.add(clip, codes(clip % 19, 400), frames(clip % 19, 400))
        assert index._n_held <= 2000
    assert index.kept_share == 0.25
    (found,) = index.candidates()
    assert (found.first, found.second) == (0, 19)
    assert 60 < found.n_votes < 140  # of 400, a quarter


def test_many_votes_are_counted_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[Candidate]:
        index = LandmarkIndex()
        for clip in range(12):
            index.add(clip, codes(clip % 5), frames(clip % 5) + clip)
        return index.candidates()

    at_once = found()
    assert len(at_once) == 9  # 3 + 3 + 1 + 1 + 1 pairs
    monkeypatch.setattr(matching, "MAX_VOTES", 64)
    monkeypatch.setattr(matching, "CHUNK", 50)
    assert found() == at_once


def test_a_landmark_that_all_clips_have_still_ties_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "N_NEXT", 2)
    index = LandmarkIndex()
    for clip in range(30):
        index.add(clip, codes(0, 5), frames(0, 5))
    pairs = {(found.first, found.second) for found in index.candidates()}
    assert {(clip, clip + 1) for clip in range(29)} <= pairs
    assert len(pairs) < 60


def test_each_clip_gets_its_best_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MAX_CANDIDATES", 1)
    index = LandmarkIndex()
    for clip in range(6):
        index.add(clip, codes(0, 50)[: 50 - 5 * clip], frames(0, 50)[: 50 - 5 * clip])
    pairs = [(found.first, found.second) for found in index.candidates()]
    assert set(pairs) == {(0, other) for other in range(1, 6)} | {(one, one + 1) for one in range(5)}
