"""A recording that is streamed in chunks over threads scores as one that is heard at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from earmark.audio import sndfile
from earmark.audio.decode import decode
from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.bundle import Bundle
from earmark.errors import AudioError
from earmark.tagging import engine as engine_module
from earmark.tagging import listener
from earmark.tagging.engine import Engine
from earmark.tagging.tagger import Tagger, Timeline, load

MakeBundle = Callable[..., Path]

TINY_PICTURE = PictureSpec(
    log_mel=LogMelSpec(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=24, fmin=50.0, fmax=8000.0)
)

FRONT_ENDS: dict[str, dict[str, Any]] = {
    "affine": {},
    "clip": {"normalization": "clip"},
    "minmax": {"normalization": "minmax", "n_levels": 256},
    "trimmed": {"trim_top_db": 40.0},
    "trimmed and by the clip": {"trim_top_db": 40.0, "normalization": "clip"},
}
LOG_MELS: dict[str, dict[str, Any]] = {
    "zeros": {},
    "reflect": {"padding": "reflect"},
    "pre-emphasis": {"pre_emphasis": 0.97, "padding": "reflect"},
}


@pytest.fixture(autouse=True)
def _short_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings of more than two seconds are streamed, in small blocks and chunks."""
    monkeypatch.setattr(engine_module, "WHOLE_S", 2.0)
    monkeypatch.setattr(sndfile, "FRAMES_PER_READ", round(0.7 * 22_050))
    monkeypatch.setattr(listener, "CHUNK_S", 4.0)


@pytest.fixture
def recording(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Fourteen seconds at 22.05 kHz that change all the time, with silence at both ends."""
    time_s = np.arange(round(14.03 * 22_050)) / 22_050
    loudness = np.interp(time_s, np.linspace(1.3, 12.6, 12), rng.random(12) ** 2, left=0, right=0)
    sound = loudness * (np.sin(300 * time_s**2) + 0.1 * rng.standard_normal(len(time_s)))
    path = tmp_path / "long.wav"
    soundfile.write(path, 0.3 * sound, 22_050, subtype="FLOAT")
    return path


def at_once(tagger: Tagger, path: Path) -> np.ndarray:
    waveform = decode(path)
    return tagger.scores(waveform.samples, waveform.sample_rate, key=path.name)


def timeline_at_once(tagger: Tagger, path: Path) -> Timeline:
    waveform = decode(path)
    return tagger.joined([network.network_timeline(waveform) for network in tagger.networks])


def check(tagger: Tagger, path: Path) -> None:
    with Engine([tagger], n_workers=3) as engine:
        [scores], duration_s = engine.scores(path)
        [timeline] = engine.timelines(path)
    assert duration_s == decode(path).duration_s
    np.testing.assert_allclose(scores, at_once(tagger, path), atol=2e-6)
    assert scores.dtype == np.float32
    expected = timeline_at_once(tagger, path)
    np.testing.assert_array_equal(timeline.starts_s, expected.starts_s)
    np.testing.assert_array_equal(timeline.ends_s, expected.ends_s)
    np.testing.assert_allclose(timeline.scores, expected.scores, atol=2e-6)


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_every_front_end(
    front_end: str, weight: float, recording: Path, tmp_path: Path, make_tiny_bundle: MakeBundle
) -> None:
    said = msgspec.to_builtins(TINY_PICTURE) | FRONT_ENDS[front_end]
    path = make_tiny_bundle(tmp_path / "a.onnx", front_end=said, windows_weight=weight)
    check(load(path, n_threads=1), recording)


@pytest.mark.parametrize("hop_frames", [50, 130])
@pytest.mark.parametrize("log_mel", LOG_MELS)
def test_every_border(
    log_mel: str, hop_frames: int, recording: Path, tmp_path: Path, make_tiny_bundle: MakeBundle
) -> None:
    said = msgspec.to_builtins(TINY_PICTURE)
    said["log_mel"] |= LOG_MELS[log_mel]
    check(load(make_tiny_bundle(tmp_path / "a.onnx", front_end=said, hop_frames=hop_frames)), recording)


def loudness_model() -> onnx.ModelProto:
    """Takes waveforms; three scores of how loud they are."""
    nodes = [
        helper.make_node("Abs", ["waveforms"], ["loud"]),
        helper.make_node("ReduceMean", ["loud"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["mean", "mean", "mean"], ["scores"], axis=1),
    ]
    waveforms = helper.make_tensor_value_info("waveforms", TensorProto.FLOAT, ["n", "n_samples"])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "loudness", [waveforms], [scores])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("log_mel", LOG_MELS)
def test_networks_that_take_waveforms(
    log_mel: str, recording: Path, tmp_path: Path, make_tiny_bundle: MakeBundle
) -> None:
    said = msgspec.to_builtins(TINY_PICTURE)
    said["log_mel"] |= LOG_MELS[log_mel]
    path = make_tiny_bundle(tmp_path / "a.onnx", model=loudness_model(), front_end=said, input="waveforms")
    check(load(path), recording)


@pytest.mark.parametrize("kept_s", [0.4, 1.5])
def test_a_long_recording_of_which_little_is_left(kept_s: float, tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
    """After trimming, a clip may be shorter than a window, or than its front end's least duration."""
    said = msgspec.to_builtins(TINY_PICTURE) | {"trim_top_db": 40.0, "min_duration_s": 1.2}
    tagger = load(make_tiny_bundle(tmp_path / "a.onnx", front_end=said))
    sound = np.zeros(16_000 * 9)
    sound[30_000 : 30_000 + round(kept_s * 16_000)] = 0.5 * np.sin(np.arange(round(kept_s * 16_000)))
    path = tmp_path / "little.wav"
    soundfile.write(path, sound, 16_000)
    check(tagger, path)


def test_views_are_drawn_from_the_whole(recording: Path, tiny_bundle: Path, make_combination: MakeBundle) -> None:
    tagger = load(make_combination(tta=({"n": 4, "weight": 0.7}, None)))
    [scores], _ = Engine([tagger]).scores(recording)
    np.testing.assert_allclose(scores, at_once(tagger, recording), atol=2e-6)
    assert np.abs(scores - load(tiny_bundle).scores(decode(recording).samples, 22_050)).max() > 1e-4


def test_combinations(recording: Path, make_combination: MakeBundle) -> None:
    check(load(make_combination()), recording)


def test_another_member_s_windows_count_by_the_time_they_share(
    recording: Path, make_combination: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = load(make_combination())
    expected = tagger.timeline(recording)
    monkeypatch.setattr("earmark.tagging.sharing.WINDOWS_SHARED", 2)
    np.testing.assert_allclose(tagger.timeline(recording).scores, expected.scores, atol=1e-6)


def test_several_taggers_hear_a_file_that_is_read_once(
    recording: Path, tmp_path: Path, make_tiny_bundle: MakeBundle, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taggers = [load(tiny_bundle), load(make_tiny_bundle(tmp_path / "a.onnx", hop_frames=31))]
    expected = [at_once(tagger, recording) for tagger in taggers]
    opened: list[Path] = []
    stream = engine_module.stream

    def counted(path: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(path)
        return stream(path, *arguments, **options)

    monkeypatch.setattr(engine_module, "stream", counted)
    monkeypatch.setattr(listener, "stream", counted)
    scores, _ = Engine(taggers).scores(recording)
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    assert opened == [recording]


def test_a_recording_is_not_held_in_memory(recording: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are read no faster than they are heard, however long that takes."""
    read, heard = [0], [0]
    real_stream, score = engine_module.stream, Bundle.outputs

    class Counted:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._blocks = real_stream(*arguments, **options)
            self.sample_rate = self._blocks.sample_rate

        def __enter__(self) -> Counted:
            return self

        def __exit__(self, *error: object) -> None:
            self._blocks.close()

        def __iter__(self) -> Iterator[np.ndarray]:
            for block in self._blocks:
                read[0] += 1
                assert read[0] * 0.7 <= heard[0] * 0.5 + 2 + 2 * 2 * 4 + 2 * 0.7 + 4
                yield block

    def slow(self: Bundle, windows: np.ndarray) -> np.ndarray:
        scores: np.ndarray = score(self, windows)
        heard[0] += len(windows)
        return scores

    monkeypatch.setattr(engine_module, "stream", Counted)
    monkeypatch.setattr(Bundle, "outputs", slow)
    with Engine([load(tiny_bundle)], n_workers=2) as engine:
        engine.timelines(recording)
    assert read[0] == 21


def test_a_file_that_breaks_off_in_the_middle(recording: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    sound, rate = soundfile.read(recording)
    whole = tmp_path / "whole.flac"
    soundfile.write(whole, sound, rate)
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with (
        Engine([load(tiny_bundle)], n_workers=2) as engine,
        pytest.raises(AudioError, match=r"cut\.flac: cannot be read"),
    ):
        engine.timelines(cut)
