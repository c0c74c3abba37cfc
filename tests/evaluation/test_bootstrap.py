import math
import time

import numpy as np
import pytest

from earmark.errors import PredictionsError
from earmark.evaluation.bootstrap import Interval, interval, lwlrap_intervals, paired_difference
from earmark.metrics import accuracy, lwlrap, lwlrap_per_label, mean_average_precision


def tables(n_clips: int = 60, n_labels: int = 6, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = (rng.random((n_clips, n_labels)) < 0.25).astype(np.float32)
    targets[np.arange(n_clips), rng.integers(n_labels, size=n_clips)] = 1
    return targets, (0.5 * targets + rng.random(targets.shape)).astype(np.float32)


def test_two_clips_by_hand() -> None:
    # precision 1 and 1/2; of four equally likely draws one is all 1, one all 1/2, two 3/4
    found = interval(lwlrap, [[1, 0], [1, 0]], [[0.9, 0.1], [0.1, 0.9]], n_resamples=4000, level=0.4)
    assert found == Interval(0.75, 0.75, 0.75, 0.4, 4000)
    wide = interval(lwlrap, [[1, 0], [1, 0]], [[0.9, 0.1], [0.1, 0.9]], n_resamples=4000, level=0.6)
    assert (wide.low, wide.high) == (0.5, 1.0)


@pytest.mark.parametrize("groups", [None, [i // 3 for i in range(60)]])
@pytest.mark.parametrize("metric", [lwlrap, accuracy])
def test_sums_give_what_drawing_the_clips_themselves_gives(metric, groups) -> None:
    targets, scores = tables()
    if metric is accuracy:
        targets = np.eye(6)[targets.argmax(axis=1)]
    by_sums = interval(metric, targets, scores, groups=groups, n_resamples=300)
    by_clips = interval(lambda t, s: metric(t, s), targets, scores, groups=groups, n_resamples=300)
    np.testing.assert_allclose([by_sums.low, by_sums.high], [by_clips.low, by_clips.high], rtol=0, atol=1e-12)
    assert by_sums.value == by_clips.value == metric(targets, scores)
    assert by_sums.low < by_sums.value < by_sums.high


def test_width_is_that_of_the_normal_law() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(900) < 0.7
    targets = np.tile([1.0, 0.0], (900, 1))
    found = interval(accuracy, targets, np.where(right[:, None], [0.9, 0.1], [0.1, 0.9]), n_resamples=4000)
    deviation = math.sqrt(found.value * (1 - found.value) / 900)
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.06)


def test_interval_holds_the_true_value_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(300):
        right = rng.random(80) < 0.6
        scores = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
        found = interval(accuracy, np.tile([1.0, 0.0], (80, 1)), scores, n_resamples=300, level=0.9, seed=seed)
        held += found.low <= 0.6 <= found.high
    assert 0.85 <= held / 300 <= 0.95


def test_copies_of_one_recording_are_one() -> None:
    targets, scores = tables()
    alone = interval(lwlrap, targets, scores)
    copied, sources = (np.repeat(table, 4, axis=0) for table in (targets, scores)), np.repeat(np.arange(60), 4)
    of_sources = interval(lwlrap, *copied, groups=sources)
    assert (of_sources.low, of_sources.high) == pytest.approx((alone.low, alone.high), abs=1e-12)
    of_clips = interval(lwlrap, np.repeat(targets, 4, axis=0), np.repeat(scores, 4, axis=0))
    assert of_clips.high - of_clips.low == pytest.approx((alone.high - alone.low) / 2, rel=0.2)


@pytest.mark.parametrize("unknown", [None, ""])
def test_a_clip_of_unknown_source_is_a_source(unknown) -> None:
    targets, scores = tables(20)
    assert interval(lwlrap, targets, scores, groups=[unknown] * 20) == interval(lwlrap, targets, scores)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    targets, scores = tables()
    assert interval(lwlrap, targets, scores, seed=7) == interval(lwlrap, targets, scores, seed=7)
    assert interval(lwlrap, targets, scores, seed=7).low != interval(lwlrap, targets, scores, seed=8).low


def test_perfect_scores_leave_no_doubt() -> None:
    targets, _ = tables()
    found = interval(lwlrap, targets, targets)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_without_positives_all_is_undefined() -> None:
    found = interval(lwlrap, np.zeros((3, 2)), np.ones((3, 2)))
    assert all(math.isnan(number) for number in (found.value, found.low, found.high))


def test_any_metric_has_an_interval() -> None:
    targets, scores = tables()
    found = interval(mean_average_precision, targets, scores, n_resamples=50)
    assert found.low < found.value < found.high


def test_a_table_against_itself_differs_by_nothing() -> None:
    targets, scores = tables()
    found = paired_difference(lwlrap, targets, scores, scores)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_pairing_sees_what_two_intervals_cannot() -> None:
    targets, scores = tables(200)
    better = scores + 0.1 * targets
    one, other = interval(lwlrap, targets, better), interval(lwlrap, targets, scores)
    assert one.low < other.high  # they overlap
    found = paired_difference(lwlrap, targets, better, scores)
    assert found.value == pytest.approx(lwlrap(targets, better) - lwlrap(targets, scores))
    assert 0 < found.low < found.value < found.high
    back = paired_difference(lwlrap, targets, scores, better)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_labels_have_intervals_of_their_own() -> None:
    targets, scores = tables()
    targets[:, 4] = 0
    found = lwlrap_intervals(targets, scores, n_resamples=200)
    per_label, _ = lwlrap_per_label(targets, scores)
    np.testing.assert_allclose([one.value for one in found], per_label, atol=1e-12)
    assert math.isnan(found[4].low)
    by_clips = interval(lambda t, s: float(lwlrap_per_label(t, s)[0][2]), targets, scores, n_resamples=200)
    assert (found[2].low, found[2].high) == pytest.approx((by_clips.low, by_clips.high), abs=1e-12)


@pytest.mark.parametrize("n_clips", [0, 1])
def test_nothing_to_draw_from(n_clips: int) -> None:
    with pytest.raises(PredictionsError, match=f"clips: {n_clips}, sources: {n_clips}; an interval needs at least two"):
        interval(lwlrap, np.ones((n_clips, 2)), np.ones((n_clips, 2)))


def test_a_single_source() -> None:
    with pytest.raises(PredictionsError, match=r"clips: 5, sources: 1;.*draw clips instead"):
        interval(lwlrap, np.ones((5, 2)), np.ones((5, 2)), groups=["a"] * 5)


def test_groups_that_do_not_fit() -> None:
    with pytest.raises(PredictionsError, match="2 groups for 3 clips"):
        interval(lwlrap, np.ones((3, 2)), np.ones((3, 2)), groups=["a", "b"])


@pytest.mark.parametrize(("name", "value"), [("n_resamples", 0), ("level", 0.0), ("level", 1.0)])
def test_numbers_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        interval(lwlrap, np.ones((3, 2)), np.ones((3, 2)), **{name: value})


def test_a_contest_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    targets = np.eye(80, dtype=np.float32)[rng.integers(80, size=20_000)]
    scores = rng.random(targets.shape, dtype=np.float32)
    began = time.process_time()
    interval(lwlrap, targets, scores, groups=rng.integers(5000, size=20_000))
    assert time.process_time() - began < 10
