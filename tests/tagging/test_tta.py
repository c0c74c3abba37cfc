"""Test-time augmentation: the blend by hand, what decides on the draws, and both kinds of bundles."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from earmark.audio.picture import clip_log_mel
from earmark.audio.views import TtaSpec
from earmark.bundle import write_bundle
from earmark.tagging.tagger import Tagger, load
from earmark.tagging.tta import spectrogram_scores
from earmark.training.export.source import converted, graph_of_bundle

RATE = 16_000
NO_CHANGE = {"gain_db": 0.0, "shift_s": 0.0}


@pytest.fixture(scope="module")
def tagger(tiny_bundle: Path) -> Tagger:
    return load(tiny_bundle, n_threads=1)


@pytest.fixture
def clip(rng: np.random.Generator) -> np.ndarray:
    """Three seconds, the first half low, the second high."""
    time_s = np.arange(3 * RATE) / RATE
    tone = np.where(time_s < 1.5, np.sin(2 * np.pi * 300 * time_s), np.sin(2 * np.pi * 5000 * time_s))
    return (0.3 * tone + 0.01 * rng.standard_normal(3 * RATE)).astype(np.float32)


def test_the_weight_blends_plain_and_augmented(tagger: Tagger, clip: np.ndarray) -> None:
    plain = tagger.scores(clip, RATE)
    augmented = tagger.scores(clip, RATE, tta=TtaSpec(n=5, weight=1.0))
    assert np.abs(plain - augmented).max() > 1e-3
    blended = tagger.scores(clip, RATE, tta=TtaSpec(n=5, weight=0.3))
    np.testing.assert_allclose(blended, 0.7 * plain + 0.3 * augmented, atol=1e-6)
    np.testing.assert_allclose(tagger.scores(clip, RATE, tta=TtaSpec(n=5, weight=0.0)), plain, atol=1e-6)


def test_no_views_are_no_augmentation(tagger: Tagger, clip: np.ndarray) -> None:
    np.testing.assert_array_equal(tagger.scores(clip, RATE, tta=TtaSpec()), tagger.scores(clip, RATE))


def test_all_windows_of_an_unchanged_view_are_the_clip(tagger: Tagger, clip: np.ndarray) -> None:
    spec = TtaSpec(n=2, weight=1.0, windows="all", **NO_CHANGE)  # type: ignore[arg-type]
    np.testing.assert_allclose(tagger.scores(clip, RATE, tta=spec), tagger.scores(clip, RATE), atol=1e-6)


def test_many_random_windows_come_to_the_mean_over_all_places(tagger: Tagger, clip: np.ndarray) -> None:
    spec = TtaSpec(n=400, weight=1.0, **NO_CHANGE)  # type: ignore[arg-type]
    spectrogram = clip_log_mel(clip, tagger.picture_spec)
    dense = load(tagger.bundle.path, n_threads=1)
    dense.bundle.spec = msgspec.structs.replace(dense.bundle.spec, hop_frames=1)
    np.testing.assert_allclose(tagger.scores(clip, RATE, tta=spec), spectrogram_scores(dense, spectrogram), atol=2e-3)


def test_name_and_seed_decide_on_the_draws(tagger: Tagger, clip: np.ndarray) -> None:
    def scores(key: str, seed: int) -> list[float]:
        return tagger.scores(clip, RATE, tta=TtaSpec(n=2, seed=seed), key=key).tolist()

    assert scores("a.wav", 0) == scores("a.wav", 0)
    assert scores("a.wav", 0) != scores("b.wav", 0)
    assert scores("a.wav", 0) != scores("a.wav", 1)


def test_a_spectrogram_scores_as_its_clip_does(tagger: Tagger, clip: np.ndarray) -> None:
    spectrogram = clip_log_mel(clip, tagger.picture_spec)
    np.testing.assert_array_equal(spectrogram_scores(tagger, spectrogram), tagger.scores(clip, RATE))
    spec = TtaSpec(n=3)
    np.testing.assert_array_equal(
        spectrogram_scores(tagger, spectrogram, spec, "a.wav"), tagger.scores(clip, RATE, tta=spec, key="a.wav")
    )


@pytest.mark.parametrize("windows", ["random", "all"])
@pytest.mark.parametrize("seconds", [0.4, 3.0])
def test_a_bundle_of_waveforms_scores_as_one_of_pictures(
    tagger: Tagger, clip: np.ndarray, tmp_path: Path, windows: str, seconds: float
) -> None:
    graph, bundle_spec = converted(graph_of_bundle(tagger.bundle), tagger.bundle.spec, waveforms=True, precision="fp32")
    write_bundle(graph, bundle_spec, tmp_path / "waveforms.onnx")
    taught = load(tmp_path / "waveforms.onnx", n_threads=1)
    spec = TtaSpec(n=4, weight=0.6, windows=windows, shift_s=0.0)  # type: ignore[arg-type]
    part = clip[: round(seconds * RATE)]
    own, other = (one.scores(part, RATE, tta=spec, key="a") for one in (tagger, taught))
    np.testing.assert_allclose(other, own, atol=0.01)  # a frame at the edge of a placed clip hears what lies before it
