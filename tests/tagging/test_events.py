"""Events by hand: medians, two thresholds, borders in the middle between windows, gaps and durations."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.tagging.events import EventSpec, cells, events, hysteresis, merged, runs, smoothed
from earmark.tagging.tagger import Tag, Timeline

PLAIN = EventSpec(smooth=1)


def timeline(*columns: list[float], length_s: float = 1.0) -> Timeline:
    scores = np.array(columns, dtype=np.float32).T
    starts = np.arange(len(scores), dtype=np.float64)
    return Timeline(tuple("abc"[: len(columns)]), starts, starts + length_s, scores)


def spans(found: list[Tag]) -> list[tuple[str, float, float]]:
    return [(tag.label, tag.start_s, tag.end_s) for tag in found]


class TestEvents:
    def test_by_hand(self) -> None:
        scores = timeline([0.1, 0.6, 0.9, 0.3, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1, 0.1, 0.8])
        found = events(scores, np.array([0.5, 0.75]), PLAIN)
        assert spans(found) == [("a", 1, 4), ("b", 5, 6)]  # 0.3 is above half of 0.5; 0.7 never reaches 0.75
        assert [tag.score for tag in found] == pytest.approx([0.9, 0.8])

    def test_release_of_one_is_one_threshold(self) -> None:
        found = events(timeline([0.1, 0.6, 0.9, 0.3]), np.array([0.5]), EventSpec(smooth=1, release=1))
        assert spans(found) == [("a", 1, 3)]

    def test_at_the_threshold_is_heard(self) -> None:
        assert spans(events(timeline([0, 0.5, 0]), np.array([0.5]), PLAIN)) == [("a", 1, 2)]

    def test_a_label_whose_threshold_is_infinite_never_is(self) -> None:
        assert events(timeline([1, 1, 1]), np.array([np.inf]), PLAIN) == []

    def test_a_threshold_of_nothing_is_always_reached(self) -> None:
        assert spans(events(timeline([0, 0, 0]), np.array([0.0]), PLAIN)) == [("a", 0, 3)]

    def test_overlapping_windows_meet_in_the_middle(self) -> None:
        # centres at 2, 3, 4, 5 s
        found = events(timeline([0, 1, 0, 0], [0, 0, 1, 1], length_s=4), np.array([0.5, 0.5]), PLAIN)
        assert spans(found) == [("a", 2.5, 3.5), ("b", 3.5, 7)]

    def test_a_single_window_spans_the_recording(self) -> None:
        assert spans(events(timeline([0.9], length_s=0.3), np.array([0.5]))) == [("a", 0, 0.3)]

    def test_no_windows(self) -> None:
        empty = Timeline(("a",), np.zeros(0), np.zeros(0), np.zeros((0, 1), dtype=np.float32))
        assert events(empty, np.array([0.5])) == []

    def test_smoothing_removes_what_one_window_says_alone(self) -> None:
        scores = timeline([0, 1, 0, 0, 1, 1, 0, 1, 1])
        assert spans(events(scores, np.array([0.5]), EventSpec(smooth=3))) == [("a", 4, 9)]

    def test_gaps_are_closed_before_short_ones_are_dropped(self) -> None:
        scores = timeline([1, 0, 1, 0, 0, 1])
        spec = EventSpec(smooth=1, max_gap_s=1, min_duration_s=2)
        assert spans(events(scores, np.array([0.5]), spec)) == [("a", 0, 3)]

    def test_labels_do_not_merge_with_each_other(self) -> None:
        found = events(timeline([1, 0], [0, 1]), np.array([0.5, 0.5]), EventSpec(smooth=1, max_gap_s=10))
        assert spans(found) == [("a", 0, 1), ("b", 1, 2)]

    def test_those_that_begin_together_are_best_first(self) -> None:
        assert [tag.label for tag in events(timeline([0.6], [0.9]), np.array([0.5, 0.5]))] == ["b", "a"]

    def test_thresholds_are_one_a_label(self) -> None:
        with pytest.raises(ValueError, match=r"thresholds have shape \(2,\); expected one for each of 1"):
            events(timeline([1]), np.array([0.5, 0.5]))


class TestParts:
    def test_median_by_hand(self) -> None:
        scores = np.array([[5.0, 1], [1, 1], [2, 9], [9, 1]])
        assert smoothed(scores, 3).tolist() == [[5, 1], [2, 1], [2, 1], [9, 1]]  # ends: 5 5 1, and 2 9 9
        assert smoothed(scores, 1) is scores

    def test_hysteresis_by_hand(self) -> None:
        scores = np.array([0.4, 0.4, 0.8, 0.4, 0.1, 0.4])[:, None]
        heard = hysteresis(scores, np.array([0.7]), np.array([0.3]))
        assert heard[:, 0].tolist() == [True, True, True, True, False, False]

    def test_runs(self) -> None:
        assert runs(np.zeros(0, dtype=bool)) == []
        assert runs(np.array([False, True, True, False, True])) == [(1, 3), (4, 5)]

    def test_cells_of_a_last_window_that_lies_closer(self) -> None:
        assert cells(np.array([0.0, 2, 3]), np.array([4.0, 6, 7])).tolist() == [0, 3, 4.5, 7]

    def test_merging_keeps_the_best_score(self) -> None:
        found = [Tag("a", 0.5, 0, 1), Tag("a", 0.8, 1.5, 2), Tag("a", 0.6, 3, 4)]
        assert merged(found, 0.5) == [Tag("a", 0.8, 0, 2), Tag("a", 0.6, 3, 4)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"smooth": 2}, "smooth=2; expected an odd number of windows"),
        ({"smooth": 0}, "smooth=0; expected an odd number of windows"),
        ({"release": 0.0}, "release=0.0; expected a share above 0"),
        ({"release": 1.1}, "release=1.1; expected a share above 0"),
        ({"max_gap_s": -1.0}, "max_gap_s=-1.0; expected a number of seconds"),
        ({"min_duration_s": float("nan")}, "min_duration_s=nan; expected a number of seconds"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EventSpec(**wrong)  # type: ignore[arg-type]
