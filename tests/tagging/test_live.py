"""Sound that comes in blocks: the last window is what counts, labels come and go by two thresholds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.errors import AudioError
from earmark.tagging.live import LiveTagger, Moment
from earmark.tagging.tagger import Tagger, load

MakeBundle = Callable[..., Path]
RATE = 16_000


@pytest.fixture
def tagger(tiny_bundle: Path) -> Tagger:
    return load(tiny_bundle, n_threads=1)


def tone(frequency_hz: float, duration_s: float, rate: int = RATE) -> np.ndarray:
    time_s = np.arange(round(duration_s * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def heard(tagger: Tagger, sound: np.ndarray, n_block: int, **options: float) -> list[Moment]:
    live = LiveTagger(tagger, RATE, np.full(3, 0.7, dtype=np.float32), **options)
    return list(live.hear(sound[i : i + n_block] for i in range(0, len(sound), n_block)))


def test_scores_are_those_of_the_last_window(tagger: Tagger) -> None:
    sound = np.concatenate([tone(300, 1.7), tone(5000, 1.3)])
    last = heard(tagger, sound, 700, every_s=1.5)[-1]
    window = sound[-99 * 160 :]
    assert len(last.tags) == 1
    assert last.tags[0].label == "high"
    assert last.tags[0].score == pytest.approx(tagger.scores(window, RATE)[2], abs=1e-6)


@pytest.mark.parametrize("n_block", [1, 333, 8000, 100_000])
def test_blocks_of_any_length_are_the_same_sound(tagger: Tagger, n_block: int) -> None:
    sound = np.concatenate([tone(300, 0.5), np.zeros(RATE, dtype=np.float32)])
    moments = heard(tagger, sound, n_block, every_s=0.5)
    assert [moment.time_s for moment in moments] == [0.5, 1.0, 1.5]
    assert [tag.label for tag in moments[0].tags] == ["low"]


def test_what_comes_and_goes(tagger: Tagger) -> None:
    sound = np.concatenate([np.zeros(2 * RATE, dtype=np.float32), tone(300, 3), tone(5000, 3)])
    moments = heard(tagger, sound, 1600, release=1.0)
    said = {moment.time_s: [tag.label for tag in moment.tags] for moment in moments}
    assert said[2.0] == []
    assert said[4.0] == said[5.0] == ["low"]
    assert said[8.0] == ["high"]
    assert [moment.time_s for moment in moments if moment.changed] == [3.0, 6.0]
    assert moments[4].tags[0].start_s == 2.0
    assert moments[4].tags[0].end_s == 5.0
    assert min(moment.behind_s for moment in moments) > 0


def test_a_label_stays_on_until_it_falls_below_the_release(tagger: Tagger) -> None:
    silence = np.zeros(2 * RATE, dtype=np.float32)  # where every label scores 0.5
    sound = np.concatenate([tone(300, 2), silence])
    assert [tag.label for tag in heard(tagger, sound, RATE, release=0.5)[-1].tags] == ["low"]
    assert heard(tagger, sound, RATE, release=0.8)[-1].tags == []


def test_another_rate(tagger: Tagger) -> None:
    sound = tone(1800, 2.0, 44_100)
    live = LiveTagger(tagger, 44_100, np.full(3, 0.7, dtype=np.float32))
    assert [[tag.label for tag in moment.tags] for moment in live.hear([sound])] == [["mid"], ["mid"]]


def test_less_than_a_moment(tagger: Tagger) -> None:
    assert heard(tagger, tone(300, 0.9), 500) == []
    assert heard(tagger, np.zeros(0, dtype=np.float32), 500) == []


def test_memory_is_a_window(tagger: Tagger) -> None:
    live = LiveTagger(tagger, RATE, np.ones(3, dtype=np.float32))
    list(live.hear(tone(300, 1) for _ in range(20)))
    assert len(live._ears[0]._held) == 99 * 160


def test_what_is_no_sound(tagger: Tagger) -> None:
    bad = tone(300, 1.5)
    bad[20_000] = np.nan
    with pytest.raises(AudioError, match=r"the sound: sample 20000 \(1\.250 s\) is nan"):
        heard(tagger, bad, 3000)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"every_s": 0.0}, "every_s=0.0; expected a number"), ({"release": 0.0}, "release=0.0; expected a share")],
)
def test_what_is_out_of_range(tagger: Tagger, options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        heard(tagger, tone(300, 1), 100, **options)
