"""A combination's bundle tags like any other: each member hears the clip its own way, then scores become one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from earmark.audio.views import TtaSpec
from earmark.bundle import FORMAT_VERSION, Bundle, BundleSpec, Calibration, Combination, Thresholds, write_bundle
from earmark.errors import BundleError
from earmark.tagging.tagger import AUTO, Tagger, load
from earmark.training.export.members import contents_of, graph_of_members

MakeBundle = Callable[..., Path]
WriteTone = Callable[..., Path]
RATE = 22_050


@pytest.fixture
def members(make_tiny_bundle: MakeBundle, tiny_bundle: Path, tmp_path: Path) -> list[Path]:
    """The tiny bundle; and one at another rate, with other frames and longer windows further apart."""
    front_end = Bundle(tiny_bundle).spec.front_end
    log_mel = front_end["log_mel"] | {"sample_rate": 22_050, "n_fft": 1024, "hop_length": 294, "fmax": 8000.0}
    coarse = make_tiny_bundle(
        tmp_path / "coarse.onnx",
        model=_any_length(onnx.load(tiny_bundle)),
        front_end=front_end | {"log_mel": log_mel},
        window_frames=150,
        hop_frames=130,
        windows_weight=0.5,
    )
    return [tiny_bundle, coarse]


def _any_length(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "n_frames"
    return model


@pytest.fixture
def make_combination(members: list[Path], tmp_path: Path) -> Callable[..., Path]:
    """`make_combination(weights=(0.25, 0.75), calibration=…)` writes a bundle of the two members."""

    def make(
        kind: str = "arithmetic",
        weights: tuple[float, ...] = (0.25, 0.75),
        tta: tuple[object, ...] = (),
        **changes: object,
    ) -> Path:
        spec: BundleSpec = msgspec.structs.replace(
            Bundle(members[1]).spec,
            combination=Combination(members=("fine", "coarse"), kind=kind, weights=weights, tta=tta),
            **changes,
        )
        path = tmp_path / "both.onnx"
        write_bundle(graph_of_members([member.read_bytes() for member in members]), spec, path)
        return path

    return make


def noise_and_tone(rng: np.random.Generator, duration_s: float = 3.3) -> np.ndarray:
    time_s = np.arange(round(duration_s * RATE)) / RATE
    tone = np.sin(2 * np.pi * 1800 * time_s) * (time_s > 2)
    return (0.3 * tone + 0.05 * rng.standard_normal(len(time_s))).astype(np.float32)


@pytest.mark.parametrize("kind", ["arithmetic", "geometric"])
def test_scores_are_the_mean_of_the_members_own(
    make_combination: Callable[..., Path], members: list[Path], rng: np.random.Generator, kind: str
) -> None:
    waveform = noise_and_tone(rng)
    one, other = (load(member).scores(waveform, RATE) for member in members)
    expected = 0.25 * one + 0.75 * other if kind == "arithmetic" else one**0.25 * other**0.75
    found = load(make_combination(kind)).scores(waveform, RATE)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == np.float32
    assert found.shape == (3,)
    assert np.abs(one - other).max() > 1e-3


def test_a_member_has_the_augmentation_that_it_was_chosen_with(
    make_combination: Callable[..., Path], members: list[Path], rng: np.random.Generator
) -> None:
    waveform, tta = noise_and_tone(rng), TtaSpec(n=3, weight=0.5)
    path = make_combination(tta=(None, msgspec.to_builtins(tta)))
    plain, other = load(members[0]).scores(waveform, RATE), load(members[1])
    expected = 0.25 * plain + 0.75 * other.scores(waveform, RATE, tta=tta, key="a.wav")
    found = load(path).scores(waveform, RATE, key="a.wav")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(found - 0.25 * plain - 0.75 * other.scores(waveform, RATE)).max() > 1e-4
    both = [load(member).scores(waveform, RATE, tta=tta, key="a.wav") for member in members]
    asked = load(path).scores(waveform, RATE, tta=tta, key="a.wav")
    np.testing.assert_allclose(asked, 0.25 * both[0] + 0.75 * both[1], rtol=1e-5)


def test_a_combination_makes_its_own_spectrograms(make_combination: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match="is a combination, whose members make spectrograms of their own"):
        load(make_combination()).spectrogram_scores(np.zeros((24, 100), dtype=np.float32), TtaSpec(), "a.wav")


def test_a_timeline_has_the_windows_of_the_member_that_weighs_most(
    make_combination: Callable[..., Path], members: list[Path], write_tone: WriteTone
) -> None:
    path = write_tone(duration_s=3.7)
    fine, coarse = (load(member).timeline(path) for member in members)
    found = load(make_combination()).timeline(path)
    np.testing.assert_array_equal(found.starts_s, coarse.starts_s)
    np.testing.assert_array_equal(found.ends_s, coarse.ends_s)
    for i, (start, end) in enumerate(zip(found.starts_s, found.ends_s, strict=True)):
        shared = np.minimum(end, fine.ends_s) - np.maximum(start, fine.starts_s)
        own = np.average(fine.scores, axis=0, weights=shared.clip(0))
        np.testing.assert_allclose(found.scores[i], 0.25 * own + 0.75 * coarse.scores[i], atol=1e-5)


def test_the_same_sound_all_along_has_the_same_scores_all_along(
    make_combination: Callable[..., Path], write_tone: WriteTone
) -> None:
    scores = load(make_combination(weights=(0.75, 0.25))).timeline(write_tone(duration_s=4.0)).scores
    assert len(scores) > 3
    np.testing.assert_allclose(scores, np.broadcast_to(scores[0], scores.shape), atol=0.01)


def test_it_says_what_it_is(make_combination: Callable[..., Path], members: list[Path]) -> None:
    bundle = Bundle(make_combination())
    assert bundle.spec.format_version == FORMAT_VERSION == 3
    assert [member.spec for member in bundle.members] == [Bundle(member).spec for member in members]
    assert bundle.output_names == ("member0", "member1")
    assert contents_of(bundle.path) == [member.read_bytes() for member in members]
    onnx.checker.check_model(onnx.load(bundle.path))


def test_scores_are_calibrated_last(
    make_combination: Callable[..., Path], write_tone: WriteTone, rng: np.random.Generator
) -> None:
    waveform, path = noise_and_tone(rng), write_tone(duration_s=2.0)
    plain = load(make_combination())
    before, timeline = plain.scores(waveform, RATE), plain.timeline(path).scores
    logits = [np.log(found / (1 - found)) for found in (before, timeline)]
    line = Calibration(method="platt", slopes=(0.5, 1.0, 2.0), offsets=(0.0, 1.0, -1.0))
    after = load(make_combination(calibration=line))
    expected = [1 / (1 + np.exp(-(found * [0.5, 1.0, 2.0] + [0, 1, -1]))) for found in logits]
    np.testing.assert_allclose(after.scores(waveform, RATE), expected[0], rtol=1e-4)
    np.testing.assert_allclose(after.timeline(path).scores, expected[1], rtol=1e-4)


def test_one_network_is_calibrated_the_same_way(
    make_tiny_bundle: MakeBundle, tiny_bundle: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    points = (((), ()), ((0.0, 1.0), (0.2, 0.4)), ((0.0, 0.5, 1.0), (0.0, 0.1, 1.0)))
    isotonic = Calibration(method="isotonic", points=points)
    tagger = load(make_tiny_bundle(tmp_path / "a.onnx", calibration=isotonic))
    waveform = noise_and_tone(rng)
    before = load(tiny_bundle).scores(waveform, RATE)
    expected = [before[0], 0.2 + 0.2 * before[1], np.interp(before[2], [0, 0.5, 1], [0, 0.1, 1])]
    np.testing.assert_allclose(tagger.scores(waveform, RATE), expected, rtol=1e-5)
    assert tagger.bundle.spec.format_version == 3


class TestThresholds:
    def test_each_label_has_its_own(self, make_tiny_bundle: MakeBundle, tmp_path: Path) -> None:
        own = Thresholds(rule="f1", values=(0.5, 0.9, None))
        tagger = Tagger(Bundle(make_tiny_bundle(tmp_path / "a.onnx", thresholds=own)))
        scores = np.array([0.6, 0.8, 1.0], dtype=np.float32)
        assert [tag.label for tag in tagger.choose(scores, 1.0, top_k=3, threshold=AUTO)] == ["low"]
        assert [tag.label for tag in tagger.choose(scores, 1.0, top_k=3, threshold=0.7)] == ["high", "mid"]

    def test_thresholds_alone_are_no_new_format(self, make_tiny_bundle: MakeBundle, tmp_path: Path) -> None:
        own = Thresholds(rule="f1", values=(0.5, 0.9, None))
        assert Bundle(make_tiny_bundle(tmp_path / "a.onnx", thresholds=own)).spec.format_version == 1

    def test_a_bundle_without_any(self, tiny_bundle: Path, write_tone: WriteTone) -> None:
        with pytest.raises(BundleError) as caught:
            load(tiny_bundle).tag(write_tone(), threshold=AUTO)
        assert str(caught.value) == (
            f"{tiny_bundle}: has no thresholds of its own; give a number, or find them with 'earmark calibrate'"
        )


class TestErrors:
    def test_more_members_named_than_there_are(self, make_combination: Callable[..., Path], tmp_path: Path) -> None:
        path = make_combination()
        spec = Bundle(path).spec
        write_bundle(graph_of_members(contents_of(path)[:1]), spec, path)
        assert "holds ['member0'], but 2 members are named" in self.error_of(path)

    def test_members_of_other_labels(self, make_combination: Callable[..., Path]) -> None:
        path = make_combination(labels=("low", "mid", "squeaky"))
        assert self.error_of(path).startswith(f"{path}:fine: is itself a combination, or has other labels")

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"thresholds": Thresholds(rule="f1", values=(0.5,))}, "1 thresholds"),
            ({"calibration": Calibration(method="platt", slopes=(1.0,), offsets=())}, "1 slopes, 0 offsets"),
            ({"calibration": Calibration(method="isotonic")}, "0 calibration points"),
        ],
    )
    def test_a_specification_of_other_lengths(
        self, make_tiny_bundle: MakeBundle, tmp_path: Path, changes: dict[str, object], said: str
    ) -> None:
        path = make_tiny_bundle(tmp_path / "a.onnx", **changes)
        assert self.error_of(path) == (
            f"{path}: {said} for 3 labels; the file was changed by other hands: take the original"
        )

    @staticmethod
    def error_of(path: Path) -> str:
        with pytest.raises(BundleError) as caught:
            Bundle(path)
        return str(caught.value)
