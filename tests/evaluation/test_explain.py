from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from earmark.audio.mel import band_edges_hz
from earmark.audio.picture import PictureSpec
from earmark.bundle import INPUT_NAME, Bundle, write_bundle
from earmark.errors import AudioError, LabelError
from earmark.evaluation.explain import LONGEST_S, occlude, patches

RATE = 16_000


def two_tones(duration_s: float = 1.0) -> np.ndarray:
    """300 Hz from 0.2 to 0.4 s, 5000 Hz from 0.6 to 0.8 s, over a noise 60 dB below them."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    sound = 0.0005 * np.random.default_rng(0).standard_normal(len(time_s))
    for frequency_hz, start_s in ((300, 0.2), (5000, 0.6)):
        within = (time_s >= start_s) & (time_s < start_s + 0.2)
        sound += 0.5 * within * np.sin(2 * np.pi * frequency_hz * time_s)
    return sound.astype(np.float32)


def front_end_of(bundle: Bundle) -> PictureSpec:
    return msgspec.convert(bundle.spec.front_end, PictureSpec)


def share_within(
    importance: np.ndarray, front_end: PictureSpec, hz: tuple[float, float], seconds: tuple[float, float]
) -> float:
    """How much of a map lies in the bands that hear a range of Hz, and in a range of seconds."""
    log_mel = front_end.log_mel
    edges = band_edges_hz(log_mel.n_mels, log_mel.fmin, log_mel.fmax, log_mel.mel_scale)
    bands = (edges[2:] > hz[0]) & (edges[:-2] < hz[1])
    times = np.arange(importance.shape[1]) / log_mel.frame_rate
    frames = (times >= seconds[0]) & (times <= seconds[1])
    return float(importance[np.ix_(bands, frames)].sum() / importance.sum())


@pytest.fixture(scope="module")
def loud_bundle(
    tiny_bundle: Path, make_tiny_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny bundle, hearing nothing of what is below -20 dB, 0.7 as its pictures are normalised."""
    model = onnx.load(tiny_bundle)
    nodes = [
        helper.make_node("Sub", [INPUT_NAME, "least"], ["above"]),
        helper.make_node("Relu", ["above"], ["loud"]),
        *model.graph.node,
    ]
    nodes[2].input[:] = ["loud"]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.float32([0.7]), "least"))
    return make_tiny_bundle(tmp_path_factory.mktemp("loud") / "tiny.onnx", model=model)


@pytest.fixture(scope="module")
def waveform_bundle(loud_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle, taking waveforms."""
    from earmark.training.export.source import converted

    path = tmp_path_factory.mktemp("waveforms") / "tiny.onnx"
    spec = Bundle(loud_bundle).spec
    write_bundle(*converted(onnx.load(loud_bundle), spec, waveforms=True, precision="fp32"), path)
    return path


@pytest.mark.parametrize(
    ("kind", "label", "hz", "seconds"),
    [
        ("loud_bundle", "low", (150, 600), (0.15, 0.45)),
        ("loud_bundle", "high", (3500, 7000), (0.55, 0.85)),
        ("waveform_bundle", "high", (3500, 7000), (0.5, 0.9)),
    ],
)
def test_a_map_lies_where_the_labels_part_of_a_mixture_is(
    kind: str, label: str, hz: tuple[float, float], seconds: tuple[float, float], request: pytest.FixtureRequest
) -> None:
    bundle = Bundle(request.getfixturevalue(kind), n_threads=1)
    front_end = front_end_of(bundle)
    found = occlude(bundle, front_end, two_tones(), label, patch_s=0.08 if kind == "loud_bundle" else 0.16)
    assert found.importance.shape == found.spectrogram.shape == (24, 101)
    assert share_within(found.importance, front_end, hz, seconds) > 0.9
    assert found.importance.max() > 0


def test_what_is_lost_is_the_logit_of_what_was_turned_down(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    # one patch is the whole clip: all bands fall alike, so that their contrasts, the logits, fall to what they are then
    bundle = Bundle(make_tiny_bundle(tmp_path / "tiny.onnx", hop_frames=100), n_threads=1)
    front_end = front_end_of(bundle)
    found = occlude(bundle, front_end, two_tones(), "high", patch_s=10.0, patch_share=1.0)
    db = found.spectrogram.astype(np.float64)
    floor = min(np.median(db), db.max() - 40)
    down = np.minimum(db, np.maximum(db - 40, floor))

    def logit(spectrogram: np.ndarray) -> float:
        windows = [spectrogram[:, :100], spectrogram[:, 1:]]  # 101 frames
        thirds = np.array([((w + 40) / 28).mean(axis=1).reshape(3, 8).mean(axis=1) for w in windows])
        score = np.mean(1 / (1 + np.exp(-(3 * thirds[:, 2] - thirds.sum(axis=1)))))
        return float(np.log(score / (1 - score)))

    assert found.importance == pytest.approx(max(0, logit(db) - logit(down)), abs=1e-4)


def test_a_longer_clip_is_scored_window_by_window(loud_bundle: Path) -> None:
    bundle = Bundle(loud_bundle, n_threads=1)
    front_end = front_end_of(bundle)
    late = np.concatenate([two_tones()[: RATE // 10].repeat(20) * 0, two_tones()])  # 2 s of nothing before
    found = occlude(bundle, front_end, late, "high", patch_s=0.08)
    assert share_within(found.importance, front_end, (3500, 7000), (2.55, 2.85)) > 0.9


def test_where_nothing_speaks_for_a_label_the_map_is_zero(loud_bundle: Path) -> None:
    bundle = Bundle(loud_bundle, n_threads=1)
    found = occlude(bundle, front_end_of(bundle), np.zeros(RATE, dtype=np.float32), "low")
    assert not found.importance.any()


def test_patches_cover_everything() -> None:
    covered = np.zeros((24, 101), dtype=int)
    for patch in patches(covered.shape, 100.0, 0.2, 1 / 8):
        covered[patch.first_band : patch.last_band, patch.first_frame : patch.last_frame] += 1
        assert 0 <= patch.first_band < patch.last_band <= 24
        assert 0 <= patch.first_frame < patch.last_frame <= 101
    assert covered.min() >= 1


def test_a_long_recording_is_to_be_cut(tiny_bundle: Path) -> None:
    bundle = Bundle(tiny_bundle, n_threads=1)
    long = np.zeros(round((LONGEST_S + 1) * RATE), dtype=np.float32)
    with pytest.raises(AudioError, match=r"lasts 61.0 s; .* in 60 s at the most; name a part with --start and --end"):
        occlude(bundle, front_end_of(bundle), long, "low")


def test_an_unknown_label_is_named(tiny_bundle: Path) -> None:
    bundle = Bundle(tiny_bundle, n_threads=1)
    with pytest.raises(LabelError, match="label 'hihg' is not in the vocabulary; did you mean 'high'"):
        occlude(bundle, front_end_of(bundle), two_tones(), "hihg")
