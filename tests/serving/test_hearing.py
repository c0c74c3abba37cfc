"""A tagger in a process of its own: what it says, and what ends it."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.decode import decode
from earmark.errors import ServingError
from earmark.serving import hearing
from earmark.serving.hearing import Asked, Heard, Hearer, hear
from earmark.serving.limits import Limits
from earmark.serving.problems import Problem
from earmark.serving.recordings import Abandoned
from earmark.serving.scoring import Scored, Scorer
from earmark.serving.spreading import Shares
from earmark.tagging.engine import Engine
from earmark.tagging.tagger import load

RATE = 16_000
DEADLY = 3


DEADLY_MODULE = f"""
import os, signal

class DeadlyNumber(int):
    \"\"\"A limit of channels that, compared with {DEADLY}, ends the process, as a decoder that crashes does.\"\"\"

    def __lt__(self, other):
        if other == {DEADLY}:
            os.kill(os.getpid(), signal.SIGKILL)
        return int(self) < other
"""


def nobody_left(_: int) -> bool:
    return False


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Asked]:
    """Write a tone: `write("a", hz=440, seconds=2, channels=1)`."""

    def written(name: str, hz: float = 1800, seconds: float = 2.0, channels: int = 1, timeline: bool = False) -> Asked:
        tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.repeat(tone[:, None], channels, axis=1), RATE)
        return Asked(path, timeline)

    return written


@pytest.fixture
def hearer(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hearer]:
    (tmp_path / "deadly.py").write_text(DEADLY_MODULE)
    monkeypatch.syspath_prepend(tmp_path)  # other processes have to find it as well
    number = importlib.import_module("deadly").DeadlyNumber(16)
    with closing(Hearer(tiny_bundle, Limits(max_channels=number, max_duration_s=200.0))) as made:
        yield made
    sys.modules.pop("deadly")


def assert_scored_alike(said: Sequence[object], asked: Sequence[Asked], scorer: Scorer) -> None:
    for one, (path, timeline) in zip(said, asked, strict=True):
        assert isinstance(one, Scored)
        [alone] = scorer.score([scorer.prepare(decode(path), timeline=timeline)])
        assert isinstance(alone, Scored)
        np.testing.assert_allclose(one.scores, alone.scores, rtol=0, atol=1e-6)
        assert one.duration_s == alone.duration_s
        assert (one.timeline is None) == (not timeline)
        if timeline:
            assert one.timeline is not None
            assert alone.timeline is not None
            np.testing.assert_allclose(one.timeline.scores, alone.timeline.scores, rtol=0, atol=1e-6)


def test_it_says_what_a_tagger_here_says(hearer: Hearer, write: Callable[..., Asked], tiny_bundle: Path) -> None:
    asked = [write("low", 300), write("high", 5000, 3.0, timeline=True), write("long", 1800, 150.0, timeline=True)]
    heard = hearer.hear(asked, nobody_left)
    scorer = Scorer(Engine([load(tiny_bundle)]))
    assert_scored_alike(heard.said, asked, scorer)
    assert heard.audio_s == [2.0, 3.0, 150.0]
    assert len(heard.decoding_s) == 3
    assert heard.n_together == 2  # the long one is heard by itself
    assert heard.scoring_s > 0


def test_one_that_cannot_be_read_does_not_harm_the_others(hearer: Hearer, write: Callable[..., Asked]) -> None:
    bad = write("bad")
    bad.path.write_bytes(b"no sound at all")
    too_long = write("endless", seconds=201.0)
    first, second, third, last = hearer.hear([write("a"), bad, too_long, write("b")], nobody_left).said
    assert isinstance(first, Scored)
    assert isinstance(last, Scored)
    assert isinstance(second, Problem)
    assert second.kind == "unreadable-recording"
    assert str(bad.path) not in second.detail
    assert isinstance(third, Problem)
    assert third.kind == "recording-too-long"
    assert third.status == 413


def test_what_nobody_waits_for_is_left_out(hearer: Hearer, write: Callable[..., Asked], tiny_bundle: Path) -> None:
    asked = [write("a"), write("b"), write("c")]
    scorer = Scorer(Engine([load(tiny_bundle)]))
    heard = hear(scorer, Limits(), asked, lambda place: place == 1)
    assert [type(said) for said in heard.said] == [Scored, Abandoned, Scored]
    assert heard.n_together == 2


def test_a_recording_that_ends_the_process_is_found_among_others(hearer: Hearer, write: Callable[..., Asked]) -> None:
    asked = [write("a"), write("deadly", channels=DEADLY), write("b")]
    first, deadly, last = hearer.hear(asked, nobody_left).said
    assert isinstance(first, Scored)
    assert isinstance(last, Scored)
    assert isinstance(deadly, Problem)
    assert (deadly.kind, deadly.status) == ("unreadable-recording", 422)
    assert "made its decoder crash" in deadly.detail
    assert isinstance(hearer.hear([write("after")], nobody_left).said[0], Scored)


def test_a_process_that_was_killed_meanwhile_harms_no_recording(hearer: Hearer, write: Callable[..., Asked]) -> None:
    hearer.wait()
    hearer._process.kill()
    hearer._process.join()
    assert isinstance(hearer.hear([write("a")], nobody_left).said[0], Scored)


def test_one_that_could_not_begin_again_tries_once_more(
    hearer: Hearer, write: Callable[..., Asked], tmp_path: Path
) -> None:
    asked, words = write("a"), hearer._words
    hearer.wait()
    hearer._words = (tmp_path / "none.onnx", words[1])
    hearer._process.kill()
    hearer._process.join()
    with pytest.raises(ServingError, match="does not start"):
        hearer.hear([asked], nobody_left)
    assert not hearer.reads(asked.path)
    hearer._words = words
    assert isinstance(hearer.hear([asked], nobody_left).said[0], Scored)


def test_one_that_has_ended_reads_nothing(hearer: Hearer, write: Callable[..., Asked]) -> None:
    asked = write("a")
    hearer.wait()
    hearer._process.kill()
    hearer._process.join()
    assert not hearer.reads(asked.path)
    assert isinstance(hearer.hear([asked], nobody_left).said[0], Scored)


def test_one_that_hangs_is_ended_when_nobody_waits(
    hearer: Hearer, write: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "PATIENCE_S", 0.5)
    hearer.wait()
    os.kill(hearer._process.pid or 0, signal.SIGSTOP)
    has_gone = threading.Event()
    timer = threading.Timer(0.5, has_gone.set)
    timer.start()
    [said] = hearer.hear([write("endless")], lambda _: has_gone.is_set()).said
    assert isinstance(said, Abandoned)
    assert isinstance(hearer.hear([write("after")], nobody_left).said[0], Scored)


def test_a_fault_of_the_server_says_where_it_came_from(
    write: Callable[..., Asked], tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError("none left")

    scorer = Scorer(Engine([load(tiny_bundle)]))
    monkeypatch.setattr(scorer, "score", fails)
    [said] = hear(scorer, Limits(), [write("a")], nobody_left).said
    assert isinstance(said, MemoryError)
    told = hearing._carried(said)
    assert str(told) == "MemoryError: none left"
    assert "in fails" in told.__notes__[0]


def test_one_that_cannot_begin_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (
        closing(Hearer(tmp_path / "none.onnx", Limits())) as hearer,
        pytest.raises(ServingError, match="--one-process"),
    ):
        hearer.wait()
    assert "none.onnx" in capfd.readouterr().err


def test_files_it_can_read(hearer: Hearer, write: Callable[..., Asked], tmp_path: Path) -> None:
    assert hearer.reads(write("a").path)
    assert not hearer.reads(tmp_path / "none.wav")


def test_parts_that_were_heard_alone_are_counted_together() -> None:
    parts = [
        Heard([Abandoned()], [0.1], [5.0], 0.2, 1),
        Heard([Abandoned()]),
        Heard([Abandoned()], [0.3], [1.0], 0.1, 1),
    ]
    joined = hearing._joined(parts)
    assert (joined.decoding_s, joined.audio_s, joined.n_together) == ([0.1, 0.3], [5.0, 1.0], 1)
    assert joined.scoring_s == pytest.approx(0.3)
    assert len(joined.said) == 3


class TestShares:
    def test_one_that_is_alone_is_taken_at_once(self) -> None:
        shares = Shares[int](2, 8)
        shares.add(1)
        assert shares.take() == [1]

    def test_each_gets_its_part_in_order(self) -> None:
        shares = Shares[int](2, 8)
        for number in range(7):
            shares.add(number)
        assert [shares.take() for _ in range(3)] == [[0, 1, 2, 3], [4, 5], [6]]

    def test_no_more_than_the_most(self) -> None:
        shares = Shares[int](1, 3)
        for number in range(5):
            shares.add(number)
        assert shares.take() == [0, 1, 2]
        assert shares.take() == [3, 4]

    def test_all_is_taken_before_takers_end(self) -> None:
        shares, taken = Shares[int](2, 4), []
        for number in range(20):
            shares.add(number)

        def work() -> None:
            while (share := shares.take()) is not None:
                taken.extend(share)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        shares.close()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert sorted(taken) == list(range(20))
