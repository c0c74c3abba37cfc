"""Copies are told from other takes; where they lie and how loud they are is measured."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.audio.resample import resample
from earmark.audio.synth import synthesize
from earmark.data.check.alignment import SEARCH, SHORTEST_S, align
from earmark.data.check.landmarks import SAMPLE_RATE


def sound(label: str = "Knock", seed: int = 0) -> np.ndarray:
    return synthesize(label, np.random.default_rng(seed), duration_s=2.0, sample_rate=SAMPLE_RATE)


def plucked(pitch_hz: float, seed: int) -> np.ndarray:
    """A string of ten partials, which start in phases of their own."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    partials = [
        np.sin(2 * np.pi * (n * pitch_hz * time_s + rng.random())) * np.exp(-n * time_s) / n for n in range(1, 11)
    ]
    return np.sum(partials, axis=0).astype(np.float32)


def test_a_copy_that_is_later_and_louder() -> None:
    first = sound()
    found = align(first, 2 * np.pad(first, (SEARCH + 100, SEARCH - 100)))
    assert found is not None
    assert found.shift_s == pytest.approx(-100 / SAMPLE_RATE, abs=1e-6)
    assert found.gain_db == pytest.approx(6.02, abs=0.01)
    assert found.correlation == pytest.approx(1, abs=1e-4)
    assert found.coherence == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("n_late", [1, 3, 5, 11])
def test_a_copy_that_is_later_by_part_of_a_sample(n_late: int) -> None:
    fine = synthesize("Hi-hat", np.random.default_rng(0), duration_s=2.0, sample_rate=8 * SAMPLE_RATE)
    first = resample(fine, 8 * SAMPLE_RATE, SAMPLE_RATE)
    late = resample(np.pad(fine, (n_late, 0))[: len(fine)], 8 * SAMPLE_RATE, SAMPLE_RATE)
    found = align(first, np.pad(late, SEARCH))
    assert found is not None
    assert found.shift_s == pytest.approx(-n_late / 8 / SAMPLE_RATE, abs=1 / 60 / SAMPLE_RATE)
    assert found.correlation > 0.999
    assert found.coherence > 0.98


def test_two_strings_of_one_pitch_are_not_one_recording() -> None:
    found = align(plucked(220, 0), np.pad(plucked(220.2, 1), SEARCH))
    assert found is not None
    assert found.correlation > 0.6  # the loudest partial fits
    assert found.coherence < 0.35
    itself = align(plucked(220, 0), np.pad(plucked(220, 0), SEARCH))
    assert itself is not None
    assert itself.coherence > 0.99


def test_two_takes_have_nothing_in_common() -> None:
    found = align(sound(seed=0), np.pad(sound(seed=1), SEARCH))
    assert found is None or found.coherence < 0.2


def test_a_part_that_is_the_same_shows() -> None:
    first, other = sound(seed=0), sound(seed=1)
    second = np.concatenate([other[: len(first) // 3], first[len(first) // 3 :]])
    found = align(first, np.pad(second, SEARCH))
    assert found is not None
    assert 0.35 < found.coherence < 0.95


def test_silence_and_the_shortest_overlaps_are_not_compared() -> None:
    first = sound()
    assert align(first, np.zeros(len(first) + 2 * SEARCH, dtype=np.float32)) is None
    assert align(np.zeros_like(first), np.pad(first, SEARCH)) is None
    short = first[: round(SHORTEST_S * SAMPLE_RATE) - 1]
    assert align(short, np.pad(short, SEARCH)) is None
