"""What is known is not heard again, what is heard is kept, and all comes in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from earmark.errors import AudioError
from earmark.tagging.embedding import Finding
from earmark.tagging.index import Maker, State, TagIndex
from earmark.tagging.job import Job
from earmark.tagging.library import Recording
from earmark.tagging.tagger import Tag

MAKER = Maker("0123", {})


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    for name in "abcd":
        (tmp_path / f"{name}.wav").write_text(name)
    return [Recording(tmp_path / f"{name}.wav", f"{name}.wav") for name in "abcd"]


class Engine:
    """Tags a file by its name, and notes which it was given."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, files: Iterable[Path]) -> Iterator[tuple[Path, Finding | AudioError]]:
        for path in files:
            self.heard.append(path.stem)
            bad = path.stem == "bad"
            yield path, AudioError(f"{path}: bad") if bad else Finding([Tag(path.stem, 0.5, 0.0, 1.0)])


def labels(job: Job, engine: Engine) -> list[str]:
    return [
        "error" if isinstance(outcome.tags, AudioError) else outcome.tags[0].label for outcome in job.outcomes(engine)
    ]


def test_without_an_index_all_are_heard(recordings: list[Recording]) -> None:
    engine = Engine()
    assert labels(Job(recordings), engine) == ["a", "b", "c", "d"] == engine.heard


def test_what_is_known_is_not_heard_and_the_order_stays(tmp_path: Path, recordings: list[Recording]) -> None:
    with TagIndex(tmp_path / "index", MAKER) as index:
        list(Job(recordings[1:3], index).outcomes(Engine()))
        job, engine = Job(recordings, index), Engine()
        assert job.known == [False, True, True, False]
        assert [outcome.is_new for outcome in job.outcomes(engine)] == [True, False, False, True]
        assert engine.heard == ["a", "d"]
        assert labels(Job(recordings, index), engine) == ["a", "b", "c", "d"]
        assert engine.heard == ["a", "d"]


def test_bad_ones_are_given_and_tried_again(tmp_path: Path, recordings: list[Recording]) -> None:
    recordings.insert(1, Recording(tmp_path / "bad.wav", "bad.wav"))
    with TagIndex(tmp_path / "index", MAKER) as index:
        assert labels(Job(recordings, index), Engine()) == ["a", "error", "b", "c", "d"]
        engine = Engine()
        assert labels(Job(recordings, index), engine) == ["a", "error", "b", "c", "d"]
        assert engine.heard == ["bad"]


def test_a_file_that_changes_while_it_is_heard_is_heard_again(tmp_path: Path, recordings: list[Recording]) -> None:
    def engine(files: Iterable[Path]) -> Iterator[tuple[Path, Finding | AudioError]]:
        for path in files:
            os.utime(path, ns=(0, 99))
            yield path, Finding([])

    with TagIndex(tmp_path / "index", MAKER) as index:
        list(Job(recordings, index).outcomes(engine))
        assert Job(recordings, index).known == [False] * 4


def test_what_is_written_into_files_does_not_make_them_new(tmp_path: Path, recordings: list[Recording]) -> None:
    written = []

    def write(path: Path, tags: list[Tag]) -> bool:
        changed = path.read_text() != tags[0].label * 2
        if changed:
            path.write_text(tags[0].label * 2)
        written.append((path.stem, changed))
        return changed

    twice = [*recordings, Recording(recordings[0].path, "a.wav", ("twice",))]
    with TagIndex(tmp_path / "index", MAKER) as index:
        list(Job(twice, index).outcomes(Engine(), write))
        assert Job(recordings, index).known == [True] * 4
        list(Job(recordings[:1], index).outcomes(Engine(), write))  # known ones as well
    assert written == [("a", True), ("b", True), ("c", True), ("d", True), ("a", False), ("a", False)]


def test_nothing() -> None:
    assert list(Job([]).outcomes(Engine())) == []


def test_the_state_of_no_file(tmp_path: Path) -> None:
    assert State.of(tmp_path / "none") is None
    assert State.of(Path("a\0b")) is None
