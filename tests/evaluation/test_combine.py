"""What is reported of a combination is of clips that it was not chosen on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.bundle import Combination
from earmark.evaluation.chance import chance_lwlrap
from earmark.evaluation.combine import AUTO, KINDS, Chooser, choose, pruned
from earmark.evaluation.library import Candidate, Judged
from earmark.evaluation.mixing import combined
from earmark.metrics import lwlrap

MakeJudged = Callable[..., Judged]
Knowing = Callable[..., np.ndarray]


def candidates_of(tables: list[np.ndarray]) -> list[Candidate]:
    return [Candidate(f"run{i}", Path(f"run{i}"), table.astype(np.float32)) for i, table in enumerate(tables)]


@pytest.fixture
def judged(make_judged: MakeJudged) -> Judged:
    return make_judged()


@pytest.fixture
def candidates(judged: Judged, knowing: Knowing) -> list[Candidate]:
    return candidates_of([knowing(judged.targets, noise=1.5, seed=seed) for seed in range(4)])


@pytest.mark.parametrize("kind", [*KINDS, AUTO, "single"])
def test_a_fold_has_no_say_in_what_scores_it(judged: Judged, candidates: list[Candidate], kind: str) -> None:
    """Other labels in fold 1 change no score of fold 1, and change some elsewhere."""
    other = judged.targets.copy()
    held = judged.folds == 1
    other[held] = np.roll(other[held], 2, axis=1)
    everything = np.ones(len(held), dtype=bool)

    def nested(of: Judged) -> np.ndarray:
        chooser = Chooser(of, candidates)
        if kind == "single":
            return chooser.held_out(chooser.single, everything)
        if kind == AUTO:
            return choose(of, candidates, AUTO).scores
        return chooser.nested(kind, everything)

    before, after = nested(judged), nested(replace(judged, targets=other))
    np.testing.assert_array_equal(before[held], after[held])
    if kind != "single":
        assert (before[~held] != after[~held]).any()


def test_of_noise_the_choice_looks_good_and_the_report_does_not(judged: Judged, rng: np.random.Generator) -> None:
    tables = [rng.random(judged.targets.shape) for _ in range(12)]
    chosen = choose(judged, candidates_of(tables))
    chance = chance_lwlrap(judged.targets)
    seen = combined(chosen.combination, [tables[i] for i in chosen.members])
    assert lwlrap(judged.targets, seen) > chance + 0.1
    assert chosen.figure.lwlrap.value < chance + 0.05
    assert max(chosen.singles.values()) > chosen.single.value


def test_independent_candidates_are_better_together(judged: Judged, candidates: list[Candidate]) -> None:
    chosen = choose(judged, candidates)
    assert chosen.figure.difference.low > 0
    assert len(chosen.members) > 1
    assert chosen.figure.lwlrap.value == pytest.approx(lwlrap(judged.targets, chosen.scores))
    assert chosen.figure.difference.value == pytest.approx(chosen.figure.lwlrap.value - chosen.single.value)
    assert set(chosen.by_kind) == set(KINDS)
    np.testing.assert_array_equal(chosen.scores, chosen.scores_of_kind)


def test_the_kind_may_be_chosen_too(judged: Judged, candidates: list[Candidate]) -> None:
    chosen = choose(judged, candidates, AUTO)
    best = max(KINDS, key=lambda kind: chosen.by_kind[kind].lwlrap.value)
    assert chosen.combination.kind == best
    assert lwlrap(judged.targets, chosen.scores_of_kind) == chosen.by_kind[best].lwlrap.value


def test_a_second_level_finds_a_candidate_that_is_right_upside_down(judged: Judged, knowing: Knowing) -> None:
    upside_down = 1 - knowing(judged.targets, noise=0.3)
    chooser = Chooser(judged, candidates_of([upside_down]))
    everything = np.ones(len(judged.folds), dtype=bool)
    for kind in ("ridge", "mlp"):
        assert lwlrap(judged.targets, chooser.nested(kind, everything)) > 0.9
    assert lwlrap(judged.targets, chooser.nested("arithmetic", everything)) < 0.5


def test_one_candidate_is_itself(judged: Judged, candidates: list[Candidate]) -> None:
    chosen = choose(judged, candidates[:1])
    np.testing.assert_array_equal(chosen.scores, candidates[0].scores)
    assert (chosen.figure.difference.low, chosen.figure.difference.high) == (0, 0)


def test_two_folds_are_enough(judged: Judged, candidates: list[Candidate]) -> None:
    chosen = choose(replace(judged, folds=judged.folds % 2), candidates, AUTO)
    assert np.isfinite(chosen.figure.lwlrap.value)


def test_members_without_weight_are_left_out() -> None:
    whole = Combination(
        members=("a", "b", "c"), kind="rank", weights=(0.25, 0.0, 0.75), quantiles=(((0.0,),), ((0.1,),), ((0.2,),))
    )
    kept, positions = pruned(whole)
    assert (kept.members, kept.weights, kept.quantiles) == (("a", "c"), (0.25, 0.75), (((0.0,),), ((0.2,),)))
    assert positions == (0, 2)
