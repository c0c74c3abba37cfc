"""Decisions are on disk at once, once, and in the order in which people saw them: after a crash, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from earmark.data.selection import Correction, read_corrections, write_corrections
from earmark.errors import CollectionError, DecisionError, LabelError, StoreError
from earmark.evaluation.audit.decisions import Decisions, State
from earmark.labels import Vocabulary

NAMES = ("a.wav", "b.wav", "c.wav")
LABELS = Vocabulary(["low", "mid", "high"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "corrections.csv"


@pytest.fixture
def decisions(path: Path) -> Iterator[Decisions]:
    with Decisions(path, NAMES, LABELS) as opened:
        yield opened


def keep(fname: str) -> Correction:
    return Correction(fname, "keep", (), "listened to")


def test_a_decision_is_what_training_reads_at_once(decisions: Decisions, path: Path) -> None:
    relabel = Correction("b.wav", "relabel", ("mid", "high"), "a, b")
    decisions.decide("b.wav", 0, relabel)
    assert read_corrections(path) == (relabel,)
    decisions.decide("a.wav", 0, Correction("a.wav", "drop"))
    assert [each.action for each in read_corrections(path)] == ["relabel", "drop"]


def test_nothing_is_written_before_a_decision(decisions: Decisions, path: Path) -> None:
    assert not path.exists()
    assert decisions.snapshot() == State(0, 0, {})


def test_a_second_tab_is_told_what_it_has_not_seen(decisions: Decisions, path: Path) -> None:
    first = decisions.decide("a.wav", 0, keep("a.wav"))
    with pytest.raises(DecisionError, match=r"clip 'a.wav' has been decided on elsewhere since \(decision 1, .* saw 0"):
        decisions.decide("a.wav", 0, Correction("a.wav", "drop"))
    assert read_corrections(path) == (keep("a.wav"),)
    assert decisions.decide("a.wav", first.revision, Correction("a.wav", "drop")).revision == 2


def test_of_many_at_the_same_moment_one_decides(decisions: Decisions) -> None:
    def attempt(_: int) -> bool:
        try:
            decisions.decide("a.wav", 0, keep("a.wav"))
        except DecisionError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(24))) == 1


def test_a_decision_that_is_taken_back_is_no_row(decisions: Decisions, path: Path) -> None:
    decisions.decide("a.wav", 0, keep("a.wav"))
    undone = decisions.decide("a.wav", 1, None)
    assert (undone.revision, undone.correction) == (2, None)
    assert path.read_text() == "fname,action,labels,why\n"


def test_numbers_go_on_where_they_were(path: Path) -> None:
    with Decisions(path, NAMES, LABELS) as first:
        first.decide("a.wav", 0, keep("a.wav"))
        first.decide("a.wav", 1, None)
    with Decisions(path, NAMES, LABELS) as second:
        assert second.revision == 2
        with pytest.raises(DecisionError):
            second.decide("a.wav", 1, keep("a.wav"))
        assert second.decide("a.wav", 2, keep("a.wav")).revision == 3


def test_what_was_decided_by_other_means_stays(path: Path) -> None:
    before = (Correction("z.wav", "drop", (), "noise"), Correction("a.wav", "relabel", ("high",), "by hand"))
    write_corrections(path, before)
    with Decisions(path, NAMES, LABELS) as decisions:
        assert {name: each.correction for name, each in decisions.snapshot().known.items()} == {"a.wav": before[1]}
        decisions.decide("b.wav", 0, keep("b.wav"))
    assert read_corrections(path) == (*before, keep("b.wav"))


def test_a_crash_between_journal_and_table_loses_nothing(path: Path) -> None:
    with Decisions(path, NAMES, LABELS) as decisions:
        decisions.decide("a.wav", 0, keep("a.wav"))
        before = path.read_bytes()
        decisions.decide("b.wav", 0, Correction("b.wav", "relabel", ("high",), "w"))
    path.write_bytes(before)  # as if the last rename had not come about
    with Decisions(path, NAMES, LABELS) as decisions:
        assert decisions.snapshot().known["b.wav"].revision == 2
    assert read_corrections(path) == (keep("a.wav"), Correction("b.wav", "relabel", ("high",), "w"))


def test_a_crash_at_the_very_first_decision(path: Path) -> None:
    with Decisions(path, NAMES, LABELS) as decisions:
        decisions.decide("a.wav", 0, keep("a.wav"))
    path.unlink()
    with Decisions(path, NAMES, LABELS):
        assert read_corrections(path) == (keep("a.wav"),)


def test_a_line_of_the_journal_that_was_cut_short_was_no_decision(path: Path) -> None:
    with Decisions(path, NAMES, LABELS) as decisions:
        decisions.decide("a.wav", 0, keep("a.wav"))
        journal = decisions.journal_path
    with journal.open("ab") as file:
        file.write(b'{"revision": 2, "fname": "b.w')
    with Decisions(path, NAMES, LABELS) as decisions:
        assert decisions.revision == 1
        decisions.decide("b.wav", 0, keep("b.wav"))
    assert [json.loads(line)["fname"] for line in journal.read_text().splitlines()] == ["a.wav", "b.wav"]


KILLED = """
import os, sys
from pathlib import Path
from earmark.data.selection import Correction
from earmark.evaluation.audit import decisions as module
from earmark.labels import Vocabulary
path, moment = Path(sys.argv[1]), sys.argv[2]
with module.Decisions(path, ["a.wav", "b.wav"], Vocabulary(["low"])) as decisions:
    decisions.decide("a.wav", 0, Correction("a.wav", "keep"))
    dying = lambda *_: os._exit(9)
    if moment == "before the table":
        decisions._write = dying
    else:
        os.replace = dying
    decisions.decide("b.wav", 0, Correction("b.wav", "drop"))
"""


@pytest.mark.parametrize("moment", ["before the table", "before the rename"])
def test_a_process_that_is_killed(path: Path, moment: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), moment], check=False)
    assert done.returncode == 9
    assert [each.fname for each in read_corrections(path)] == ["a.wav"]
    with Decisions(path, NAMES, LABELS):
        assert [each.fname for each in read_corrections(path)] == ["a.wav", "b.wav"]


def test_a_full_disk_leaves_all_as_it_was(decisions: Decisions, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decisions.decide("a.wav", 0, keep("a.wav"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            decisions.decide("b.wav", 0, keep("b.wav"))
    assert len(decisions.journal_path.read_text().splitlines()) == 1
    assert decisions.decide("b.wav", 0, keep("b.wav")).revision == 2
    assert [each.fname for each in read_corrections(path)] == ["a.wav", "b.wav"]


def test_a_table_edited_by_hand_counts_and_outdates_every_page(decisions: Decisions, path: Path) -> None:
    decisions.decide("a.wav", 0, keep("a.wav"))
    write_corrections(path, [Correction("a.wav", "drop", (), "by hand")])
    with pytest.raises(DecisionError):
        decisions.decide("b.wav", 0, keep("b.wav"))
    state = decisions.snapshot()
    assert state.known["a.wav"].correction == Correction("a.wav", "drop", (), "by hand")
    decisions.decide("b.wav", state.undecided, keep("b.wav"))
    assert [each.action for each in read_corrections(path)] == ["drop", "keep"]


def test_a_table_edited_between_two_sessions_counts(path: Path) -> None:
    with Decisions(path, NAMES, LABELS) as decisions:
        decisions.decide("a.wav", 0, keep("a.wav"))
    write_corrections(path, [Correction("c.wav", "drop", (), "by hand")])
    with Decisions(path, NAMES, LABELS) as decisions:
        assert {
            name: each.correction and each.correction.action for name, each in decisions.snapshot().known.items()
        } == {
            "a.wav": None,
            "c.wav": "drop",
        }


def test_one_process_at_a_time(decisions: Decisions, path: Path) -> None:
    with pytest.raises(StoreError, match=r"another process \(PID \d+\) is deciding on these corrections"):
        Decisions(path, NAMES, LABELS).__enter__()
    assert decisions.revision == 0


def test_unknown_clips_and_labels_are_refused(decisions: Decisions, path: Path) -> None:
    with pytest.raises(CollectionError, match=r"clip 'a.wv' is not in the audit; did you mean 'a.wav'\?"):
        decisions.decide("a.wv", 0, keep("a.wv"))
    with pytest.raises(LabelError, match=r"the label 'hihg', which is not in the vocabulary; did you mean 'high'\?"):
        decisions.decide("a.wav", 0, Correction("a.wav", "relabel", ("hihg",)))
    assert not path.exists()


def test_a_journal_that_is_none(path: Path) -> None:
    Path(f"{path}.journal").write_text("hello\n")
    with pytest.raises(CollectionError, match=r"journal line 1: is no decision .*; move the journal away"):
        Decisions(path, NAMES, LABELS).__enter__()
