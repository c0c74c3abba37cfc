"""Fingerprints: what they depend on, and what not."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.audio.synth import synthesize
from earmark.data.check import landmarks
from earmark.data.check.landmarks import CODE_BITS, HOP_LENGTH, N_REPEATS, SAMPLE_RATE, fingerprint


@pytest.fixture
def knock() -> np.ndarray:
    return synthesize("Knock", np.random.default_rng(0), duration_s=3.0, sample_rate=SAMPLE_RATE)


def entries(samples: np.ndarray) -> set[tuple[int, int]]:
    codes, frames = fingerprint([samples])
    return set(zip(codes.tolist(), frames.tolist(), strict=True))


def test_codes_are_sorted_numbers_of_31_bits_and_frames_lie_in_the_clip(knock: np.ndarray) -> None:
    codes, frames = fingerprint([knock])
    assert codes.dtype == np.uint32
    assert len(codes) == len(frames) > 300
    assert (np.diff(codes.astype(np.int64)) >= 0).all()
    assert codes.max() < 1 << CODE_BITS
    assert 0 <= frames.min() <= frames.max() <= len(knock) / HOP_LENGTH


@pytest.mark.parametrize("samples", [np.zeros(16_000), np.zeros(0), np.full(10, 0.5), np.full(16_000, 1e-7)])
def test_silence_and_next_to_nothing_have_no_landmarks(samples: np.ndarray) -> None:
    codes, frames = fingerprint([samples.astype(np.float32)])
    assert len(codes) == len(frames) == 0
    assert fingerprint([])[0].dtype == np.uint32


def test_level_changes_nothing(knock: np.ndarray) -> None:
    assert entries(knock / 4) == entries(knock)


def test_pieces_of_any_length_change_nothing(knock: np.ndarray) -> None:
    codes, frames = fingerprint(np.split(knock, [1, 700, 701, 20_000]))
    assert set(zip(codes.tolist(), frames.tolist(), strict=True)) == entries(knock)


def test_long_recordings_are_the_same_in_blocks(knock: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = entries(np.tile(knock, 2))
    monkeypatch.setattr(landmarks, "BLOCK_FRAMES", 173)
    assert entries(np.tile(knock, 2)) == whole


def test_what_comes_later_moves_by_that(knock: np.ndarray) -> None:
    late = np.concatenate([np.zeros(10 * HOP_LENGTH, dtype=np.float32), knock])
    moved = {(code, frame - 10) for code, frame in entries(late)}
    assert len(moved & entries(knock)) > 0.95 * len(moved)


def test_a_landmark_stands_a_few_times_at_the_most() -> None:
    click = np.zeros(SAMPLE_RATE // 8, dtype=np.float32)
    click[:40] = np.random.default_rng(0).normal(size=40) * np.hanning(40)
    codes, _ = fingerprint([np.tile(click, 80)])
    _, counts = np.unique(codes, return_counts=True)
    assert counts.max() == N_REPEATS
