from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from earmark.data.folds import components, read_folds
from earmark.data.store import Store
from earmark.predictions import Predictions
from earmark.training import crossval
from earmark.training import fit as fitting
from earmark.training.crossval import cross_validate, load_network, refit
from earmark.training.feed import Feed
from earmark.training.noisy import strategies
from earmark.training.noisy.lessons import Learning, Lesson
from earmark.training.noisy.strategies import halves, hard_labels, prepare, supported
from earmark.training.run import Run

STRATEGIES = ("all", "hard-classes", "pretrain", "two-heads", "agree", "relabel", "soft")
QUICK = {"pretrain": ("noisy.pretrain_epochs=1",), "hard-classes": ("noisy.inner_folds=2", "noisy.hard_share=0.5")}

Begin = Callable[..., Run]


class Seen:
    """Stands in for training, and notes what each network learned from, and what it was asked about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.learned: list[tuple[Path, Lesson]] = []
        self.clips_of: dict[int, set[int]] = {}
        self.networks: list[nn.Module] = []  # kept, so that no identity is given twice
        self.scored: list[tuple[Path, np.ndarray, set[int]]] = []
        self.held_out: dict[Path, np.ndarray] = {}
        seen = self

        def learn(learning: Learning, lesson: Lesson, network: Any, *_: Any, **options: Any) -> Any:
            folder = options.get("folder") or learning.folder
            seen.learned.append((folder, lesson))
            seen.clips_of[id(network)] = set(lesson.clips.tolist())
            seen.networks.append(network)
            return network.eval()

        def scores(learning: Learning, network: nn.Module, clips: np.ndarray) -> np.ndarray:
            seen.scored.append((learning.folder, clips, seen.clips_of[id(network)]))
            rng = np.random.default_rng(len(clips))
            return rng.random((len(clips), 3)).astype(np.float32)

        monkeypatch.setattr(Learning, "learn", learn)
        monkeypatch.setattr(Learning, "scores", scores)
        monkeypatch.setattr(crossval, "_judge", lambda *_, **__: None)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_noisy_clips_are_never_held_out_and_held_out_clips_teach_nobody(
    strategy: str, begin: Begin, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(strategy, *QUICK.get(strategy, ()))
    judged: dict[int, list[str]] = {}

    def judge(run: Run, fold: int, learned: crossval.Learned) -> None:
        names = [run.store.manifest.names[i] for i in np.flatnonzero(run.folds == fold)]
        assert len(learned.validation.pictures) == len(names)
        judged[fold] = names

    monkeypatch.setattr(crossval, "_judge", judge)
    for fold in range(run.n_folds):
        cross_validate(run, only_fold=fold, progress=False)
    noisy = set(run.store.manifest.subset("noisy").names)
    assert sorted(judged[0] + judged[1]) == sorted(run.store.manifest.subset("curated").names)
    assert not noisy & set(judged[0] + judged[1])
    sources = components([clip.group for clip in run.store.manifest.clips])
    assert len(seen.learned) >= 2
    for folder, lesson in seen.learned:
        fold = 0 if "fold-0" in str(folder) else 1
        held_out = np.flatnonzero(run.folds == fold)
        assert not set(sources[lesson.clips].tolist()) & set(sources[held_out].tolist()), folder
        assert run.noisy[lesson.clips].sum() == lesson.n_noisy or strategy == "pretrain"
        assert not run.noisy[lesson.clips[: len(lesson.clips) - lesson.n_noisy]].any() or strategy == "pretrain"


@pytest.mark.parametrize("strategy", ["agree", "relabel"])
def test_noisy_clips_are_scored_by_networks_that_never_saw_them(strategy: str, begin: Begin, seen: Seen) -> None:
    run = begin(strategy, "noisy.rounds=2")
    cross_validate(run, only_fold=0, progress=False)
    # the last noisy clip shares a recording with a curated clip, which one of the folds holds out
    n_left_out = int(run.folds[0] == 0)
    assert len(seen.scored) == 1 + 2 + 2
    for _, clips, learned_from in seen.scored:
        assert run.noisy[clips].all()
        assert not set(clips.tolist()) & learned_from
    teacher = seen.scored[0]
    assert len(teacher[1]) == 24 - n_left_out
    assert not run.noisy[list(teacher[2])].any()
    for number in (1, 3):
        first, second = seen.scored[number][1], seen.scored[number + 1][1]
        assert sorted([*first, *second]) == sorted(teacher[1])
        groups = [{run.store.manifest.clips[i].group for i in half} for half in (first, second)]
        assert not groups[0] & groups[1]
        assert abs(len(first) - len(second)) <= 2
    assert {path.name for path in run.fold_folder(0).glob("*.csv")} == {"noisy-0.csv", "noisy-1.csv", "noisy-2.csv"}


def test_hard_labels_are_found_by_networks_that_never_saw_the_clips(begin: Begin, seen: Seen) -> None:
    run = begin("hard-classes", "noisy.inner_folds=3", "noisy.hard_share=0.3")
    cross_validate(run, only_fold=0, progress=False)
    training_part = set(np.flatnonzero((run.folds != 0) & ~run.noisy).tolist())
    sources = components([clip.group for clip in run.store.manifest.clips])
    scored = [set(clips.tolist()) for _, clips, _ in seen.scored]
    assert set.union(*scored) == training_part
    assert sum(map(len, scored)) == len(training_part)
    for _, clips, learned_from in seen.scored:
        assert learned_from | set(clips.tolist()) == training_part
        assert not set(sources[clips].tolist()) & set(sources[list(learned_from)].tolist())


def learning_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> Learning:
    """What fold 0 of a run may learn from."""
    caught: list[Learning] = []

    def caught_learning(learning: Learning) -> Any:
        caught.append(learning)
        raise StopIteration

    monkeypatch.setattr(crossval, "prepare", caught_learning)
    with pytest.raises(StopIteration):
        cross_validate(run, only_fold=0, progress=False)
    return caught[0]


def test_the_hardest_label_is_the_one_that_is_ranked_worst(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    learning = learning_of(begin("hard-classes", "noisy.hard_share=0.3"), monkeypatch)
    truth = learning.targets(learning.curated)
    scores = truth.copy()
    scores[truth[:, 1] > 0] = [1.0, 0.5, 0.7]  # whatever is label 1 is taken for label 0
    monkeypatch.setattr(strategies, "inner_scores", lambda _: scores)
    assert hard_labels(learning).tolist() == [1]
    lesson, _ = prepare(learning)
    labels = lesson.targets[len(lesson.targets) - lesson.n_noisy :]
    singles = [clip for clip in learning.noisy if learning.run.store.manifest.clips[clip].labels == ("low",)]
    assert lesson.n_noisy == len(singles) > 0
    assert lesson.clips[-lesson.n_noisy :].tolist() == singles
    np.testing.assert_array_equal(labels, np.tile([0.0, 1.0, 0.0], (len(singles), 1)))


def test_supported_labels_of_a_case_worked_by_hand() -> None:
    given = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]], dtype=np.float32)
    scores = np.array([[0.3, 0.2, 0.9, 0.1], [0.4, 0.3, 0.2, 0.0], [0.05, 0.0, 0.0, 0.0]])
    kept = supported(given, scores, top=2, least=0.1)
    # of the first clip, one is second best; of the second, it is third; of the third, best, but next to nothing
    assert kept.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_agreement_keeps_what_is_supported_and_leaves_out_clips_without(
    begin: Begin, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("agree", "noisy.agree_top=1", "noisy.rounds=0")

    def only_high(learning: Learning, network: nn.Module, clips: np.ndarray) -> np.ndarray:
        return np.tile(np.array([[0.9, 0.2, 0.1]], np.float32), (len(clips), 1))

    monkeypatch.setattr(Learning, "scores", only_high)
    cross_validate(run, only_fold=0, progress=False)
    lesson = seen.learned[-1][1]
    kept = [run.store.manifest.clips[clip] for clip in lesson.clips[-lesson.n_noisy :]]
    assert all("high" in clip.labels for clip in kept)
    allowed = [c for c in run.store.manifest.subset("noisy").clips if "high" in c.labels and c.group != "source0"]
    assert {clip.name for clip in allowed} <= {clip.name for clip in kept}
    np.testing.assert_array_equal(lesson.targets[-lesson.n_noisy :], np.tile([1.0, 0.0, 0.0], (len(kept), 1)))


def test_relabelled_targets_are_given_ones_and_scores_by_their_weights(
    begin: Begin, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("relabel", "noisy.given_weight=0.25", "noisy.rounds=0")
    half = np.array([[0.5, 0.25, 0.0]], np.float32)
    monkeypatch.setattr(Learning, "scores", lambda _, __, clips: np.tile(half, (len(clips), 1)))
    cross_validate(run, only_fold=0, progress=False)
    lesson = seen.learned[-1][1]
    given = run.store.manifest.targets()[lesson.clips[-lesson.n_noisy :]]
    np.testing.assert_allclose(lesson.targets[-lesson.n_noisy :], 0.25 * given + 0.75 * half)
    np.testing.assert_array_equal(
        lesson.targets[: -lesson.n_noisy], run.store.manifest.targets()[lesson.clips[: -lesson.n_noisy]]
    )


def test_halves_change_with_the_round(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    learning = learning_of(begin("relabel"), monkeypatch)
    first, again, second = halves(learning, 1), halves(learning, 1), halves(learning, 2)
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != second.tolist()
    assert set(first.tolist()) == {0, 1}


def test_folds_are_those_without_noisy_clips(begin: Begin) -> None:
    plain, mixed = begin("ignore", folder="plain"), begin("all", folder="mixed")
    names = plain.store.manifest.names
    np.testing.assert_array_equal(
        read_folds(plain.folder / "folds.csv", names), read_folds(mixed.folder / "folds.csv", names)
    )
    assert (plain.folder / "clips.csv").read_bytes() == (mixed.folder / "clips.csv").read_bytes()
    again = begin("all", folder="mixed")
    np.testing.assert_array_equal(again.folds, mixed.folds)
    assert (mixed.folds[mixed.noisy] == -1).all()
    assert mixed.judged.names == names


def test_the_teacher_is_the_network_that_learned_without_noisy_clips(begin: Begin) -> None:
    plain, taught = begin("ignore", folder="plain"), begin("agree", "noisy.rounds=0", folder="taught")
    for run in (plain, taught):
        cross_validate(run, only_fold=0, progress=False)
    own, teacher = load_network(plain.fold_folder(0)), load_network(taught.fold_folder(0) / "teacher")
    for name, value in own.state_dict().items():
        assert torch.equal(value, teacher.state_dict()[name]), name
    table = Predictions.read(taught.fold_folder(0) / "noisy-0.csv")
    assert set(table.fnames) <= set(taught.store.manifest.subset("noisy").names)


class KilledError(RuntimeError):
    pass


@pytest.mark.parametrize(
    ("strategy", "calls"), [("relabel", (2, 5, 4)), ("pretrain", (2, 3)), ("two-heads", (3,)), ("soft", (3,))]
)
def test_killed_wherever_it_is_it_ends_in_the_same_weights_to_the_bit(
    strategy: str, calls: tuple[int, ...], begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SAVE_EVERY_S", 0.0)
    settings = QUICK.get(strategy, ())
    whole = begin(strategy, *settings, folder="whole")
    batch, called, fatal = Feed.batch, [0], [0]

    def counted(*arguments: Any, **options: Any) -> Any:
        called[0] += 1
        if called[0] == fatal[0]:
            raise KilledError
        return batch(*arguments, **options)

    monkeypatch.setattr(Feed, "batch", counted)
    cross_validate(whole, only_fold=0, progress=False)
    n_steps = called[0]
    for call in calls:
        called[0], fatal[0] = 0, call
        with pytest.raises(KilledError):
            cross_validate(begin(strategy, *settings, folder="killed"), only_fold=0, progress=False)
    called[0], fatal[0] = 0, 0
    cross_validate(begin(strategy, *settings, folder="killed"), only_fold=0, progress=False)
    assert 0 < called[0] < n_steps
    networks = [load_network(whole.folder.parent / name / "fold-0") for name in ("whole", "killed")]
    for name, value in networks[0].state_dict().items():
        assert torch.equal(value, networks[1].state_dict()[name]), name


def test_refit_learns_from_all_curated_and_all_noisy_clips(
    begin: Begin, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossval, "_keep", lambda *_: None)
    run = begin("all")
    refit(run, progress=False)
    (_, lesson) = seen.learned[0]
    assert sorted(lesson.clips.tolist()) == list(range(54))
    assert lesson.n_noisy == 24


def test_spectrograms_do_as_well_as_waveforms(mixed_store: Store, begin: Begin) -> None:
    run = begin("all", "augment.polarity.probability=0.5")
    cross_validate(run, only_fold=0, progress=False)
    assert (run.fold_folder(0) / "predictions.csv").is_file()
