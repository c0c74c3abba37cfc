"""Views: where their windows lie, how loud they are, and that a view without change is the clip."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec, clip_log_mel, windows
from earmark.audio.views import TtaSpec, View, draw_views, view_pictures, view_waveforms
from earmark.audio.waveform_windows import waveform_windows

LOG_MEL = LogMelSpec(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=24, fmin=50.0, fmax=8000.0)
SPEC = PictureSpec(log_mel=LOG_MEL)
WINDOW = 50


def drawn(n_frames: int, spec: TtaSpec, seed: int = 0) -> list[View]:
    return draw_views(n_frames, WINDOW, 100.0, spec, np.random.default_rng(seed))


def test_windows_are_spread_over_the_clip_and_stay_in_it() -> None:
    starts = [view.start for seed in range(200) for view in drawn(149, TtaSpec(n=4), seed)]
    assert (min(starts), max(starts)) == (0, 99)
    by_view = np.array(starts).reshape(200, 4)
    assert (by_view // 25 == np.arange(4)).all()  # 100 starts in four parts


def test_a_short_clip_is_placed_anywhere_in_the_window() -> None:
    starts = {view.start for seed in range(400) for view in drawn(40, TtaSpec(n=2), seed)}
    assert starts == set(range(-10, 1))


def test_gain_and_turn_are_within_their_bounds_and_use_them() -> None:
    views = [view for seed in range(200) for view in drawn(150, TtaSpec(n=4, gain_db=2.0, shift_s=0.05), seed)]
    gains = [view.gain_db for view in views]
    assert -2 <= min(gains) < -1.9
    assert 1.9 < max(gains) <= 2
    assert {view.n_turned for view in views} == set(range(-5, 6))


def test_no_views() -> None:
    assert drawn(150, TtaSpec()) == []


@pytest.mark.parametrize("normalization", ["affine", "clip", "minmax"])
@pytest.mark.parametrize("seconds", [0.2, 1.3])
def test_a_view_that_changes_nothing_is_the_clip(normalization: str, seconds: float, rng: np.random.Generator) -> None:
    spec = PictureSpec(log_mel=LOG_MEL, normalization=normalization)  # type: ignore[arg-type]
    spectrogram = clip_log_mel(rng.standard_normal(round(16_000 * seconds)).astype(np.float32) / 10, spec)
    own = windows(spectrogram, spec, WINDOW, 10_000)
    starts = [0] if seconds < 1 else [0, spectrogram.shape[1] - WINDOW]
    np.testing.assert_array_equal(view_pictures(spectrogram, spec, WINDOW, starts, View(0, 0, 0.0)), own)


def test_gain_is_added_down_to_silence(rng: np.random.Generator) -> None:
    spec = PictureSpec(log_mel=LOG_MEL, mean=0.0, std=1.0)
    spectrogram = clip_log_mel(rng.standard_normal(16_000).astype(np.float32) / 10, spec)
    louder = view_pictures(spectrogram, spec, WINDOW, [7], View(0, 0, 2.5))
    np.testing.assert_allclose(louder[0, 0], spectrogram[:, 7:57] + 2.5, atol=1e-5)
    silent = np.full((24, 60), LOG_MEL.silence, dtype=np.float32)
    quieter = view_pictures(silent, spec, WINDOW, [0], View(0, 0, -2.5))
    np.testing.assert_array_equal(quieter[0, 0], silent[:, :WINDOW])


def test_a_turn_brings_the_end_to_the_beginning() -> None:
    spectrogram = np.tile(np.arange(60, dtype=np.float32), (24, 1))
    spec = PictureSpec(log_mel=LOG_MEL, mean=0.0, std=1.0)
    turned = view_pictures(spectrogram, spec, WINDOW, [0], View(0, 3, 0.0))
    assert turned[0, 0, 0, :6].tolist() == [57, 58, 59, 0, 1, 2]


@pytest.mark.parametrize(("short", "before"), [("constant", LOG_MEL.silence), ("wrap", 35.0)])
def test_a_short_clip_that_begins_later(short: str, before: float) -> None:
    spectrogram = np.tile(np.arange(40, dtype=np.float32), (24, 1))
    spec = PictureSpec(log_mel=LOG_MEL, mean=0.0, std=1.0, short=short)  # type: ignore[arg-type]
    placed = view_pictures(spectrogram, spec, WINDOW, [-5], View(-5, 0, 0.0))[0, 0, 0]
    assert placed[0] == np.float32(before)
    assert placed[5:45].tolist() == list(range(40))


def test_waveforms_are_turned_louder_and_placed_as_pictures_are(rng: np.random.Generator) -> None:
    waveform = rng.standard_normal(16_000).astype(np.float32)
    cut = view_waveforms(waveform, SPEC, WINDOW, [3, 40], View(3, 2, 6.0))
    expected = waveform_windows(np.roll(waveform, 320) * np.float32(10**0.3), LOG_MEL, WINDOW)[[3, 40]]
    np.testing.assert_array_equal(cut, expected)
    short = view_waveforms(waveform[:4000], SPEC, WINDOW, [-4], View(-4, 0, 0.0))
    later = np.concatenate([np.zeros(640, np.float32), waveform[:4000]])
    np.testing.assert_array_equal(short, waveform_windows(later, LOG_MEL, WINDOW))


@pytest.mark.parametrize("change", [{"n": -1}, {"weight": 1.5}, {"gain_db": -1.0}, {"windows": "some"}, {"m": 1}])
def test_what_is_out_of_range_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(change, TtaSpec)
