"""Commands killed a few times; `bench/faults.py` does it hundreds of times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from . import sessions
from .conftest import Command
from .killing import Moment, Nursery, live, undisturbed
from .work import PACK_RATE, Work, packing, tagging, training, write_run


@pytest.mark.parametrize("make", [packing, tagging], ids=["pack", "tag"])
def test_what_is_killed_and_given_again_makes_the_same(
    make: Callable[[Path], Work], nursery: Nursery, collection: Path, tmp_path: Path
) -> None:
    work = make(collection)
    expected = undisturbed(nursery, work, tmp_path / "life")
    lives = [live(nursery, work, tmp_path / "life", seed, expected) for seed in range(4)]
    assert sum(len(life.kills) for life in lives) >= 3
    assert [life for life in lives if life.lost] == []


def test_a_training_that_is_killed_and_resumed_makes_the_same(
    nursery: Nursery, collection: Path, tmp_path: Path, command: Command
) -> None:
    command("data", "pack", collection, "-o", tmp_path / "store", *PACK_RATE)
    work = training(tmp_path / "store", n_folds=1)
    expected = undisturbed(nursery, work, tmp_path / "life")
    # before the recipe is in its place, which is what makes a folder a run; and while the fold is written
    moments = [Moment(operation=7), Moment(operation=expected.n_operations - 2)]
    life = live(nursery, work, tmp_path / "life", 0, expected, moments=moments)
    assert (life.kills, life.lost) == (moments, [])


def test_what_was_decided_at_an_audit_is_there_after_kills(nursery: Nursery, collection: Path, tmp_path: Path) -> None:
    run, names = write_run(tmp_path / "run", collection), [path.name for path in collection.glob("*.wav")]
    folder = tmp_path / "life"
    arguments = ("audit", run, "--serve", "--port", 0, "--corrections", folder / "out" / "corrections.csv")
    lives = [
        sessions.live(nursery, folder, seed, arguments, sessions.Deciding(names, seed), most_kills=2)
        for seed in range(2)
    ]
    assert all(life.kills for life in lives)
    assert [life for life in lives if life.lost] == []


def test_a_server_that_is_killed_answers_the_same_when_it_is_started_again(
    nursery: Nursery, collection: Path, tmp_path: Path
) -> None:
    bodies = [path.read_bytes() for path in sorted(collection.glob("*.wav"))]
    first = sessions.Tagging(bodies)
    sessions.live(nursery, tmp_path / "life", 0, ("serve", "--port", 0), first, 1)
    again = sessions.Tagging(bodies, first.answers)
    life = sessions.live(nursery, tmp_path / "life", 1, ("serve", "--port", 0), again, 2)
    assert life.kills
    assert life.lost == []
