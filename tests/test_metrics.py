"""Each metric against a hand-worked case, a perfect case, an empty case and independent references."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earmark import metrics
from earmark.errors import PredictionsError

Average = Literal["macro", "micro"]

ALL_METRICS = [
    metrics.lwlrap,
    metrics.mean_average_precision,
    metrics.roc_auc,
    metrics.d_prime,
    metrics.f1,
    metrics.accuracy,
]

# Three clips, three labels. Places of the positives: clip 0 has label 0 first and label 2 third, clip 1
# has label 1 second, clip 2 has label 2 first.
TARGETS = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 1]])
SCORES = np.array([[0.9, 0.5, 0.1], [0.8, 0.6, 0.2], [0.1, 0.2, 0.7]])


def random_tables(seed: int, n_clips: int, n_labels: int, n_levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sparse targets and float32 scores; `n_levels` distinct scores make ties."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n_clips, n_labels)) < 2 / n_labels
    scores = rng.random((n_clips, n_labels), dtype=np.float32)
    return targets, np.round(scores * n_levels) / n_levels if n_levels else scores


def lwlrap_by_definition(targets: np.ndarray, scores: np.ndarray) -> float:
    """Fonseca et al. 2019, read aloud: one loop over clips, one over the labels of a clip."""
    precisions = []
    for clip_targets, clip_scores in zip(targets.tolist(), scores.tolist(), strict=True):
        own = [score for target, score in zip(clip_targets, clip_scores, strict=True) if target]
        for score in own:
            place = sum(other >= score for other in clip_scores)
            precisions.append(sum(other >= score for other in own) / place)
    return sum(precisions) / len(precisions) if precisions else math.nan


def lwlrap_by_sklearn(targets: np.ndarray, scores: np.ndarray) -> float:
    return float(
        sklearn.metrics.label_ranking_average_precision_score(targets, scores, sample_weight=targets.sum(axis=1))
    )


def tables(max_value: int = 4) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Small tables whose few distinct scores make many ties."""
    shapes = st.tuples(st.integers(1, 6), st.integers(2, 5))
    return shapes.flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.int64, shape, elements=st.integers(0, 1)),
            hnp.arrays(np.int64, shape, elements=st.integers(0, max_value)).map(lambda x: x / max_value),
        )
    )


def message_of(call: Callable[[], object]) -> str:
    with pytest.raises(PredictionsError) as caught:
        call()
    return str(caught.value)


class TestLwlrap:
    def test_by_hand(self) -> None:
        assert metrics.lwlrap(TARGETS, SCORES) == pytest.approx((1 / 1 + 2 / 3 + 1 / 2 + 1 / 1) / 4, abs=1e-15)

    def test_per_label_by_hand(self) -> None:
        per_label, weight = metrics.lwlrap_per_label(TARGETS, SCORES)
        np.testing.assert_allclose(per_label, [1, 1 / 2, (2 / 3 + 1) / 2], rtol=1e-15)
        np.testing.assert_allclose(weight, [1 / 4, 1 / 4, 2 / 4], rtol=1e-15)

    def test_perfect(self) -> None:
        assert metrics.lwlrap(TARGETS, TARGETS) == 1

    def test_all_labels_on_every_clip_is_perfect_whatever_the_scores(self) -> None:
        assert metrics.lwlrap(np.ones_like(TARGETS), SCORES) == 1

    def test_the_worst_order(self) -> None:
        assert metrics.lwlrap([[1, 0, 0, 0]], [[0.0, 0.1, 0.2, 0.3]]) == 1 / 4

    def test_ties_take_the_lowest_of_their_places(self) -> None:
        assert metrics.lwlrap([[1, 0, 0, 0]], [[0.5, 0.5, 0.5, 0.1]]) == 1 / 3
        assert metrics.lwlrap([[1, 1, 0, 0]], [[0.5, 0.5, 0.5, 0.1]]) == 2 / 3
        assert metrics.lwlrap([[1, 0, 0, 0]], [[0.0, 0.0, 0.0, 0.0]]) == 1 / 4

    def test_empty_is_nan(self) -> None:
        assert math.isnan(metrics.lwlrap(np.zeros((0, 3)), np.zeros((0, 3))))
        assert math.isnan(metrics.lwlrap(np.zeros((2, 3)), np.zeros((2, 3))))
        assert math.isnan(metrics.lwlrap(np.zeros((2, 0)), np.zeros((2, 0))))

    def test_empty_per_label_is_nan_with_weight_0(self) -> None:
        per_label, weight = metrics.lwlrap_per_label(np.zeros((2, 3)), np.zeros((2, 3)))
        assert np.isnan(per_label).all()
        np.testing.assert_array_equal(weight, [0, 0, 0])

    def test_a_label_without_positives_is_nan_with_weight_0(self) -> None:
        per_label, weight = metrics.lwlrap_per_label([[1, 0]], [[0.2, 0.1]])
        np.testing.assert_array_equal(per_label, [1, math.nan])
        np.testing.assert_array_equal(weight, [1, 0])

    def test_clips_without_labels_have_no_say(self) -> None:
        targets, scores = np.vstack([TARGETS, np.zeros((2, 3))]), np.vstack([SCORES, np.ones((2, 3))])
        assert metrics.lwlrap(targets, scores) == metrics.lwlrap(TARGETS, SCORES)

    @given(tables())
    @settings(deadline=None)
    def test_equals_the_definition_and_sklearn(self, pair: tuple[np.ndarray, np.ndarray]) -> None:
        targets, scores = pair
        value = metrics.lwlrap(targets, scores)
        if not targets.any():
            assert math.isnan(value)
            return
        assert value == pytest.approx(lwlrap_by_definition(targets, scores), abs=1e-12)
        assert value == pytest.approx(lwlrap_by_sklearn(targets, scores), abs=1e-12)

    @pytest.mark.parametrize("n_levels", [0, 3, 100])
    def test_equals_sklearn_at_contest_width(self, n_levels: int) -> None:
        targets, scores = random_tables(0, 500, 80, n_levels)
        assert metrics.lwlrap(targets, scores) == pytest.approx(lwlrap_by_sklearn(targets, scores), abs=1e-12)

    @given(tables())
    @settings(deadline=None)
    def test_is_the_weighted_sum_over_labels(self, pair: tuple[np.ndarray, np.ndarray]) -> None:
        targets, scores = pair
        per_label, weight = metrics.lwlrap_per_label(targets, scores)
        if targets.any():
            assert weight.sum() == pytest.approx(1, abs=1e-12)
            assert np.nansum(per_label * weight) == pytest.approx(metrics.lwlrap(targets, scores), abs=1e-12)

    @given(tables())
    @settings(deadline=None)
    def test_only_the_order_counts(self, pair: tuple[np.ndarray, np.ndarray]) -> None:
        targets, scores = pair
        np.testing.assert_equal(metrics.lwlrap(targets, np.exp(3 * scores) - 7), metrics.lwlrap(targets, scores))

    def test_blocks_do_not_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        targets, scores = random_tables(1, 50, 10, n_levels=5)
        whole = metrics.lwlrap_per_label(targets, scores)
        for block_size in (1, 70, 10_000):
            monkeypatch.setattr(metrics, "_BLOCK_SIZE", block_size)
            np.testing.assert_array_equal(metrics.lwlrap_per_label(targets, scores), whole)


class TestMeanAveragePrecision:
    # Label 0: its two clips stand first and third, 1/1 and 2/3. Label 1: its clip stands second, 1/2.
    TARGETS = np.array([[1, 0], [0, 1], [1, 0]])
    SCORES = np.array([[0.9, 0.8], [0.7, 0.6], [0.2, 0.1]])

    def test_by_hand(self) -> None:
        value = metrics.mean_average_precision(self.TARGETS, self.SCORES)
        assert value == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2, abs=1e-15)

    def test_micro_by_hand(self) -> None:
        # All six as one list: positives stand first, fourth and fifth.
        value = metrics.mean_average_precision(self.TARGETS, self.SCORES, average="micro")
        assert value == pytest.approx((1 / 1 + 2 / 4 + 3 / 5) / 3, abs=1e-15)

    @pytest.mark.parametrize("average", ["macro", "micro"])
    def test_perfect(self, average: Average) -> None:
        assert metrics.mean_average_precision(TARGETS, TARGETS, average=average) == 1

    @pytest.mark.parametrize("average", ["macro", "micro"])
    def test_empty_is_nan(self, average: Average) -> None:
        assert math.isnan(metrics.mean_average_precision(np.zeros((2, 3)), np.zeros((2, 3)), average=average))
        assert math.isnan(metrics.mean_average_precision(np.zeros((0, 3)), np.zeros((0, 3)), average=average))

    def test_a_label_without_positives_is_left_out(self) -> None:
        targets = np.hstack([self.TARGETS, np.zeros((3, 1))])
        scores = np.hstack([self.SCORES, np.ones((3, 1))])
        expected = metrics.mean_average_precision(self.TARGETS, self.SCORES)
        assert metrics.mean_average_precision(targets, scores) == expected

    @pytest.mark.parametrize("average", ["macro", "micro"])
    @pytest.mark.parametrize("n_levels", [0, 5])
    def test_equals_sklearn(self, average: Average, n_levels: int) -> None:
        targets, scores = random_tables(3, 200, 10, n_levels)
        expected = sklearn.metrics.average_precision_score(targets, scores, average=average)
        assert metrics.mean_average_precision(targets, scores, average=average) == pytest.approx(expected, abs=1e-12)

    def test_equals_the_definition(self) -> None:
        targets, scores = random_tables(4, 60, 6)
        by_label = []
        for column in range(6):
            hits = targets[np.argsort(-scores[:, column]), column]
            by_label.append(np.mean(np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)))
        assert metrics.mean_average_precision(targets, scores) == pytest.approx(np.mean(by_label), abs=1e-12)

    def test_an_unknown_average_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"^average='weighted'; expected 'macro' or 'micro'$"):
            metrics.mean_average_precision(TARGETS, SCORES, average="weighted")  # type: ignore[arg-type]


class TestRocAuc:
    def test_by_hand(self) -> None:
        # Of the pairs (with, without) of label 0, one of two is in order; of label 1, one and a tie of two.
        targets = [[1, 0], [0, 1], [0, 0]]
        scores = [[0.5, 0.3], [0.9, 0.3], [0.1, 0.1]]
        assert metrics.roc_auc(targets, scores) == pytest.approx((1 / 2 + 1.5 / 2) / 2, abs=1e-15)

    def test_perfect_and_reversed(self) -> None:
        assert metrics.roc_auc(TARGETS, TARGETS) == 1
        assert metrics.roc_auc(TARGETS, -TARGETS) == 0

    def test_constant_scores_are_chance(self) -> None:
        assert metrics.roc_auc(TARGETS, np.zeros((3, 3))) == 0.5

    @pytest.mark.parametrize("targets", [np.zeros((2, 3)), np.ones((2, 3)), np.zeros((0, 3))])
    def test_no_label_with_both_kinds_is_nan(self, targets: np.ndarray) -> None:
        assert math.isnan(metrics.roc_auc(targets, np.zeros(targets.shape)))

    def test_a_label_of_one_kind_is_left_out(self) -> None:
        targets = np.hstack([TARGETS, np.zeros((3, 1)), np.ones((3, 1))])
        scores = np.hstack([SCORES, SCORES[:, :2]])
        assert metrics.roc_auc(targets, scores) == metrics.roc_auc(TARGETS, SCORES)

    @pytest.mark.parametrize("n_levels", [0, 5])
    def test_equals_sklearn_and_the_definition(self, n_levels: int) -> None:
        targets, scores = random_tables(5, 100, 8, n_levels)
        by_label = []
        for column in range(8):
            has, has_not = scores[targets[:, column], column], scores[~targets[:, column], column]
            by_label.append(np.mean((has[:, None] > has_not) + 0.5 * (has[:, None] == has_not)))
        value = metrics.roc_auc(targets, scores)
        assert value == pytest.approx(np.mean(by_label), abs=1e-12)
        assert value == pytest.approx(sklearn.metrics.roc_auc_score(targets, scores), abs=1e-12)


class TestDPrime:
    def test_by_hand(self) -> None:
        # Three pairs of four are in order: an area of 3/4, and Phi(0.6744898) = 3/4.
        value = metrics.d_prime([[1], [1], [0], [0]], [[0.9], [0.5], [0.6], [0.1]])
        assert value == pytest.approx(math.sqrt(2) * 0.6744897501960817, abs=1e-12)

    def test_is_the_distance_of_two_normal_laws(self) -> None:
        rng = np.random.default_rng(0)
        targets = np.repeat([1, 0], 200_000)[:, None]
        assert metrics.d_prime(targets, rng.normal(1.7 * targets)) == pytest.approx(1.7, abs=0.01)

    def test_perfect_reversed_and_chance(self) -> None:
        assert metrics.d_prime(TARGETS, TARGETS) == math.inf
        assert metrics.d_prime(TARGETS, -TARGETS) == -math.inf
        assert metrics.d_prime(TARGETS, np.zeros((3, 3))) == 0

    def test_empty_is_nan(self) -> None:
        assert math.isnan(metrics.d_prime(np.zeros((0, 3)), np.zeros((0, 3))))


class TestF1:
    def test_by_hand(self) -> None:
        # Label 0: one hit, one false alarm, 2/3. Label 1: one hit, one false alarm. Label 2: one hit, one miss.
        assert metrics.f1(TARGETS, SCORES) == pytest.approx(2 / 3, abs=1e-15)

    def test_perfect(self) -> None:
        assert metrics.f1(TARGETS, TARGETS) == 1

    def test_nothing_chosen_is_0(self) -> None:
        assert metrics.f1(TARGETS, np.zeros((3, 3))) == 0

    def test_empty_is_nan(self) -> None:
        assert math.isnan(metrics.f1(np.zeros((2, 3)), np.zeros((2, 3))))
        assert math.isnan(metrics.f1(np.zeros((0, 3)), np.zeros((0, 3))))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_a_score_on_the_threshold_is_chosen(self, dtype: type) -> None:
        assert metrics.f1([[1]], np.array([[0.3]], dtype), threshold=0.3) == 1

    @pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
    def test_equals_sklearn_on_labels_with_positives(self, threshold: float) -> None:
        targets, scores = random_tables(6, 40, 12)
        targets[:, 0] = False
        with_positives = np.flatnonzero(targets.any(axis=0)).tolist()
        expected = sklearn.metrics.f1_score(
            targets, scores >= threshold, average="macro", labels=with_positives, zero_division=0
        )
        assert metrics.f1(targets, scores, threshold) == pytest.approx(expected, abs=1e-12)

    def test_logits_are_refused(self) -> None:
        assert message_of(lambda: metrics.f1(TARGETS, SCORES * 10 - 5)) == (
            "scores run from -4 to 4; F1 compares them with a threshold and expects 0 to 1; "
            "did you give logits? Apply the sigmoid first"
        )

    @pytest.mark.parametrize("score", [-0.01, 1.01])
    def test_a_score_just_out_of_range_is_refused(self, score: float) -> None:
        text = message_of(lambda: metrics.f1([[1, 0]], [[0.5, score]]))
        assert text.startswith(f"scores run from {min(0.5, score)} to {max(0.5, score)}; ")

    @pytest.mark.parametrize("threshold", [-0.1, 1.5, math.nan])
    def test_a_threshold_out_of_range_is_refused(self, threshold: float) -> None:
        with pytest.raises(ValueError, match=rf"^threshold={threshold}; expected a number from 0 to 1$"):
            metrics.f1(TARGETS, SCORES, threshold)


class TestAccuracy:
    TARGETS = np.eye(3)[[0, 1, 2, 2]]
    SCORES = np.array([[0.9, 0.5, 0.1], [0.8, 0.6, 0.2], [0.1, 0.2, 0.7], [0.3, 0.2, 0.3]])

    def test_by_hand(self) -> None:
        # Right, second, right, and a tie for the first place, which is a miss.
        assert metrics.accuracy(self.TARGETS, self.SCORES) == 2 / 4

    def test_perfect(self) -> None:
        assert metrics.accuracy(self.TARGETS, self.TARGETS) == 1

    def test_empty_is_nan(self) -> None:
        assert math.isnan(metrics.accuracy(np.zeros((0, 3)), np.zeros((0, 3))))

    def test_equals_sklearn(self) -> None:
        rng = np.random.default_rng(7)
        classes, scores = rng.integers(0, 10, 200), rng.random((200, 10))
        expected = sklearn.metrics.accuracy_score(classes, scores.argmax(axis=1))
        assert metrics.accuracy(np.eye(10)[classes], scores) == pytest.approx(expected, abs=1e-12)

    def test_several_labels_on_a_clip_are_refused(self) -> None:
        assert message_of(lambda: metrics.accuracy([[1, 0], [1, 1], [0, 0]], np.zeros((3, 2)))) == (
            "row 1 of targets has 2 labels (2 such rows); accuracy expects exactly one label a clip; "
            "for several labels use lwlrap or mean_average_precision"
        )


class TestValidate:
    def test_gives_bool_and_float(self) -> None:
        targets, scores = metrics.validate([[1, 0]], [[3, 4]])
        assert targets.dtype == bool
        assert scores.dtype == np.float64

    def test_keeps_the_precision_of_scores(self) -> None:
        _, scores = metrics.validate(TARGETS, SCORES.astype(np.float32))
        assert scores.dtype == np.float32

    @pytest.mark.parametrize("metric", ALL_METRICS)
    def test_every_metric_validates(self, metric: Callable[..., float]) -> None:
        assert "row 0 of scores holds nan" in message_of(lambda: metric(np.eye(3), np.full((3, 3), math.nan)))

    @pytest.mark.parametrize(
        ("targets", "scores", "text"),
        [
            (
                np.zeros(3),
                np.zeros(3),
                "targets have shape (3,), scores (3,); expected (n_clips, n_labels) for both; "
                "did you give one clip? Give it as one row",
            ),
            (
                np.zeros((2, 3)),
                np.zeros((3, 2)),
                "targets have shape (2, 3), scores (3, 2); expected (n_clips, n_labels) for both; "
                "did you transpose one of them?",
            ),
            (
                np.zeros((2, 3)),
                np.zeros((5, 3)),
                "targets have shape (2, 3), scores (5, 3); expected (n_clips, n_labels) for both; "
                "did you give other clips? Predictions.align selects the rows",
            ),
            (
                np.zeros((2, 3)),
                np.zeros((2, 4)),
                "targets have shape (2, 3), scores (2, 4); expected (n_clips, n_labels) for both; "
                "did you use another vocabulary? Predictions.align orders the columns",
            ),
            (
                np.zeros((2, 2)),
                [[0.0, 1.0], [0.5, math.nan]],
                "row 1 of scores holds nan in column 1 (1 such scores); expected finite numbers; did training diverge?",
            ),
            (
                np.zeros((2, 2)),
                [[0.0, math.inf], [-math.inf, math.nan]],
                "row 0 of scores holds inf in column 1 (3 such scores); expected finite numbers; did training diverge?",
            ),
            (
                [[0, 1], [0.25, 1]],
                [[0.1, 0.2], [0.3, 0.4]],
                "row 1 of targets holds 0.25 in column 0; expected 0 or 1; "
                "did you give soft targets? Give those from before mixing or smoothing",
            ),
            (
                [[0.1, 0.2], [0.3, 0.4]],
                [[0, 1], [0, 1]],
                "row 0 of targets holds 0.1 in column 0; expected 0 or 1; did you swap targets and scores?",
            ),
            (
                [[math.nan, 0]],
                [[0.1, 0.2]],
                "row 0 of targets holds nan in column 0; expected 0 or 1; "
                "did you give soft targets? Give those from before mixing or smoothing",
            ),
            (
                [["Bark", "Meow"]],
                [[0.1, 0.2]],
                "targets are of type <U4; expected real numbers; "
                "did you give label names? Vocabulary.encode makes targets of them",
            ),
            ([[0, 1]], [[1j, 0]], "scores are of type complex128; expected real numbers"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, targets: object, scores: object, text: str) -> None:
        assert message_of(lambda: metrics.validate(targets, scores)) == text  # type: ignore[arg-type]


class TestEvaluate:
    def test_every_key_by_hand(self) -> None:
        result = metrics.evaluate(TARGETS, SCORES, ["Bark", "Meow", "Purr"])
        assert list(result) == [
            "n_clips",
            "lwlrap",
            "map",
            "map_micro",
            "roc_auc",
            "d_prime",
            "f1",
            "lwlrap_per_label",
        ]
        assert result["n_clips"] == 3
        assert result["lwlrap"] == pytest.approx(19 / 24)
        assert result["map"] == metrics.mean_average_precision(TARGETS, SCORES)
        assert result["map_micro"] == metrics.mean_average_precision(TARGETS, SCORES, "micro")
        assert result["roc_auc"] == metrics.roc_auc(TARGETS, SCORES)
        assert result["d_prime"] == metrics.d_prime(TARGETS, SCORES)
        assert result["f1"] == metrics.f1(TARGETS, SCORES)
        assert result["lwlrap_per_label"] == pytest.approx({"Bark": 1, "Meow": 1 / 2, "Purr": 5 / 6})

    def test_accuracy_only_when_every_clip_has_one_label(self) -> None:
        assert metrics.evaluate(np.eye(2), [[0.9, 0.1], [0.8, 0.2]], "ab")["accuracy"] == 1 / 2
        assert "accuracy" not in metrics.evaluate([[1, 1], [0, 1]], np.zeros((2, 2)), "ab")
        assert "accuracy" not in metrics.evaluate(np.zeros((0, 2)), np.zeros((0, 2)), "ab")

    def test_perfect(self) -> None:
        result = metrics.evaluate(np.eye(2), np.eye(2), "ab")
        assert {key: result[key] for key in ("lwlrap", "map", "roc_auc", "f1", "accuracy")} == dict.fromkeys(
            ("lwlrap", "map", "roc_auc", "f1", "accuracy"), 1
        )

    def test_empty_is_none(self) -> None:
        assert metrics.evaluate(np.zeros((2, 2)), np.zeros((2, 2)), "ab") == {
            "n_clips": 2,
            "lwlrap": None,
            "map": None,
            "map_micro": None,
            "roc_auc": None,
            "d_prime": None,
            "f1": None,
            "lwlrap_per_label": {"a": None, "b": None},
        }

    def test_logits_have_no_f1_and_the_same_ranks(self) -> None:
        scores, logits = (metrics.evaluate(TARGETS, x, "abc") for x in (SCORES, np.log(SCORES / (1 - SCORES))))
        assert logits == {**scores, "f1": None}

    def test_is_json(self) -> None:
        result = metrics.evaluate(TARGETS[:1].astype(np.float32), SCORES[:1].astype(np.float32), "abc")
        assert json.loads(json.dumps(result, allow_nan=False)) == result

    def test_names_that_do_not_fit_are_refused(self) -> None:
        assert message_of(lambda: metrics.evaluate(TARGETS, SCORES, ["Bark", "Meow"])) == (
            "there are 2 labels for 3 columns; give one label for each column"
        )

    def test_20000_clips_of_80_labels_take_less_than_a_second(self) -> None:
        targets, scores = random_tables(2, 20_000, 80)
        # Processor time of this process: another one on the same machine does not count.
        start = time.process_time()
        metrics.evaluate(targets, scores, [f"label {i}" for i in range(80)])
        assert time.process_time() - start < 1
