"""A tagger gives the mean of its windows' scores, and tags from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import soundfile

import earmark
from earmark.audio.decode import resample
from earmark.audio.picture import PictureSpec, picture, window_starts
from earmark.bundle import Bundle
from earmark.errors import AudioError, BundleError
from earmark.tagging import tagger as tagger_module
from earmark.tagging.tagger import WINDOWS_PER_CALL, Tag, Tagger, load, model_path

MakeBundle = Callable[..., Path]
WriteTone = Callable[..., Path]
RATE = 16_000


@pytest.fixture(scope="module")
def tagger(tiny_bundle: Path) -> Tagger:
    return load(tiny_bundle, n_threads=1)


def tone(frequency_hz: float, duration_s: float = 1.0, rate: int = RATE) -> np.ndarray:
    time_s = np.arange(round(duration_s * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def contrast(whole: np.ndarray) -> np.ndarray:
    """What the tiny network says of a (1, 24, n_frames) picture, computed anew."""
    bands = whole[0].mean(axis=1)
    thirds = bands.reshape(3, 8).mean(axis=1)
    return 1 / (1 + np.exp(-(3 * thirds - thirds.sum())))


def error_of(call: Callable[[], object], kind: type[Exception] = AudioError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


class TestScores:
    @pytest.mark.parametrize("duration_s", [1.0, 1.2, 2.0, 3.7])
    def test_are_the_mean_over_windows(self, tagger: Tagger, rng: np.random.Generator, duration_s: float) -> None:
        waveform = tone(1800, duration_s) * np.linspace(0, 1, round(duration_s * RATE), dtype=np.float32)
        waveform += 0.01 * rng.standard_normal(len(waveform)).astype(np.float32)
        whole = picture(waveform, tagger.picture_spec)
        starts = window_starts(whole.shape[-1], 100, 50)
        expected = np.mean([contrast(whole[..., start : start + 100]) for start in starts], axis=0)
        scores = tagger.scores(waveform, RATE)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert scores.shape == (3,)
        assert scores.dtype == np.float32
        assert ((scores >= 0) & (scores <= 1)).all()

    def test_more_windows_than_go_into_one_call(self, tagger: Tagger) -> None:
        n_windows = 2 * WINDOWS_PER_CALL + 3
        waveform = tone(300, 0.5 * (n_windows + 1) - 0.1)
        whole = picture(waveform, tagger.picture_spec)
        starts = window_starts(whole.shape[-1], 100, 50)
        assert len(starts) == n_windows
        expected = np.mean([contrast(whole[..., start : start + 100]) for start in starts], axis=0)
        np.testing.assert_allclose(tagger.scores(waveform, RATE), expected, atol=1e-5)

    def test_large_windows_are_fewer_in_a_call(self, tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
        assert tagger.windows_per_call == WINDOWS_PER_CALL
        monkeypatch.setattr(tagger_module, "PIXELS_PER_CALL", 3 * 24 * 100)
        waveform = tone(300, 4.2)
        n_given = []
        outputs = Bundle.outputs
        monkeypatch.setattr(Bundle, "outputs", lambda own, cut: n_given.append(len(cut)) or outputs(own, cut))
        tagger.scores(waveform, RATE)
        assert n_given == [3, 3, 2]
        monkeypatch.setattr(tagger_module, "PIXELS_PER_CALL", 100)
        assert tagger.windows_per_call == 1

    def test_a_short_clip_is_filled_up_with_silence(self, tagger: Tagger) -> None:
        waveform = tone(5000, 0.3)
        whole = picture(waveform, tagger.picture_spec)
        assert whole.shape == (1, 24, 31)
        filled = np.full((1, 24, 100), (-100 + 40) / 28)
        filled[..., :31] = whole
        np.testing.assert_allclose(tagger.scores(waveform, RATE), contrast(filled), atol=1e-5)
        assert np.argmax(tagger.scores(waveform, RATE)) == 2

    def test_or_with_itself(self, tmp_path: Path, make_tiny_bundle: MakeBundle, tagger: Tagger) -> None:
        front_end = msgspec.to_builtins(tagger.picture_spec) | {"short": "wrap"}
        repeating = load(make_tiny_bundle(tmp_path / "a.onnx", front_end=front_end))
        waveform = tone(5000, 0.3)
        filled = np.resize(np.moveaxis(picture(waveform, tagger.picture_spec), -1, 0), (100, 1, 24))
        np.testing.assert_allclose(repeating.scores(waveform, RATE), contrast(np.moveaxis(filled, 0, -1)), atol=1e-5)

    @pytest.mark.parametrize("normalization", ["clip", "minmax"])
    def test_windows_are_normalised_by_the_whole_clip(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, tagger: Tagger, normalization: str
    ) -> None:
        front_end = msgspec.to_builtins(tagger.picture_spec) | {"normalization": normalization}
        tagger = load(make_tiny_bundle(tmp_path / "a.onnx", front_end=front_end))
        waveform = np.concatenate([tone(300, 1.2), 0.01 * tone(5000, 1.2)])
        whole = picture(waveform, tagger.picture_spec)
        starts = window_starts(whole.shape[-1], 100, 50)
        expected = np.mean([contrast(whole[..., start : start + 100]) for start in starts], axis=0)
        np.testing.assert_allclose(tagger.scores(waveform, RATE), expected, atol=1e-5)

    @pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
    @pytest.mark.parametrize("duration_s", [0.5, 2.3])
    def test_the_window_in_the_middle_has_a_weight_of_its_own(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, tagger: Tagger, weight: float, duration_s: float
    ) -> None:
        weighing = load(make_tiny_bundle(tmp_path / "a.onnx", windows_weight=weight))
        sounds = [tone(hz, duration_s / 3) for hz in (300, 5000, 1800)]
        waveform = np.concatenate(sounds)
        expected = tagger.scores(waveform, RATE)
        whole = picture(waveform, tagger.picture_spec)
        if whole.shape[-1] > 100:
            start = (whole.shape[-1] - 100) // 2
            expected = weight * expected + (1 - weight) * contrast(whole[..., start : start + 100])
        np.testing.assert_allclose(weighing.scores(waveform, RATE), expected, atol=1e-5)

    def test_a_timeline_has_windows_in_order_whatever_they_weigh(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, tagger: Tagger, write_tone: WriteTone
    ) -> None:
        weighing = load(make_tiny_bundle(tmp_path / "a.onnx", windows_weight=0.5))
        path = write_tone(duration_s=3.2)
        np.testing.assert_array_equal(weighing.timeline(path).scores, tagger.timeline(path).scores)

    @pytest.mark.parametrize(("frequency_hz", "winner"), [(300, 0), (1800, 1), (5000, 2)])
    @pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
    def test_at_any_rate_a_tone_is_itself(self, tagger: Tagger, frequency_hz: float, winner: int, rate: int) -> None:
        waveform = tone(frequency_hz, rate=rate)
        scores = tagger.scores(waveform, rate)
        assert np.argmax(scores) == winner
        np.testing.assert_array_equal(scores, tagger.scores(resample(waveform, rate, RATE), RATE))

    def test_channels_are_averaged(self, tagger: Tagger) -> None:
        left, right = tone(300), tone(5000)
        both = np.column_stack([left, right])
        np.testing.assert_array_equal(tagger.scores(both, RATE), tagger.scores((left + right) / 2, RATE))
        np.testing.assert_array_equal(tagger.scores(left[:, None], RATE), tagger.scores(left, RATE))

    def test_other_precisions_are_taken(self, tagger: Tagger) -> None:
        waveform = tone(300)
        expected = tagger.scores(waveform, RATE)
        np.testing.assert_array_equal(tagger.scores(waveform.astype(np.float64), RATE), expected)
        np.testing.assert_array_equal(tagger.scores(waveform.tolist(), np.int64(RATE)), expected)
        np.testing.assert_allclose(tagger.scores(waveform.astype(np.float16), RATE), expected, atol=0.1)

    def test_silence_says_nothing_for_or_against(self, tagger: Tagger) -> None:
        np.testing.assert_allclose(tagger.scores(np.zeros(RATE, dtype=np.float32), RATE), 0.5, atol=1e-5)

    def test_one_sample(self, tagger: Tagger) -> None:
        scores = tagger.scores(np.array([0.5]), 44_100)
        assert scores.shape == (3,)
        assert np.isfinite(scores).all()

    def test_silence_at_the_ends_is_trimmed_where_the_front_end_says_so(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, tagger: Tagger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("earmark.audio.picture.trim_silence", lambda samples, *, top_db: samples[RATE:])
        front_end = msgspec.to_builtins(tagger.picture_spec) | {"trim_top_db": 60.0}
        trimming = load(make_tiny_bundle(tmp_path / "a.onnx", front_end=front_end))
        waveform = np.concatenate([tone(300, 1.0), tone(5000, 1.0)])
        np.testing.assert_array_equal(trimming.scores(waveform, RATE), tagger.scores(waveform[RATE:], RATE))

    def test_a_tagger_may_be_used_twice(self, tagger: Tagger) -> None:
        np.testing.assert_array_equal(tagger.scores(tone(300), RATE), tagger.scores(tone(300), RATE))

    def test_labels_are_in_the_order_of_scores(self, tagger: Tagger) -> None:
        assert tagger.labels == ("low", "mid", "high")


class TestBadWaveforms:
    @pytest.mark.parametrize("shape", [(), (0,), (0, 2), (2, 0), (10, 2, 1)])
    def test_shape(self, tagger: Tagger, shape: tuple[int, ...]) -> None:
        assert error_of(lambda: tagger.scores(np.zeros(shape, dtype=np.float32), RATE)) == (
            f"a waveform has shape {shape}; expected (n_samples,) or (n_samples, n_channels), not empty"
        )

    def test_channels_first(self, tagger: Tagger) -> None:
        assert error_of(lambda: tagger.scores(np.zeros((2, 16_000), dtype=np.float32), RATE)) == (
            "a waveform has shape (2, 16000); expected (n_samples, n_channels); did you give channels first? "
            "Transpose it"
        )

    @pytest.mark.parametrize("kind", ["int16", "int32", "uint8", "bool", "complex64"])
    def test_integers(self, tagger: Tagger, kind: str) -> None:
        assert error_of(lambda: tagger.scores(np.zeros(100, dtype=kind), RATE)) == (
            f"a waveform is of type {kind}; expected floating point with full scale at ±1; did you give the integers "
            "of a file? Divide 16-bit ones by 32768"
        )

    @pytest.mark.parametrize(
        ("value", "said"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e20, "1e+20"), (1e300, "inf")]
    )
    def test_samples_that_are_no_numbers(self, tagger: Tagger, value: float, said: str) -> None:
        waveform = np.zeros((RATE, 2))
        waveform[8000, 1] = value
        text = (
            f"a waveform: sample 8000 (0.500 s) is {said}; expected finite numbers with full scale at ±1; "
            "export it again, as integers"
        )
        assert error_of(lambda: tagger.scores(waveform, RATE)) == text
        assert error_of(lambda: tagger.scores(waveform[:, 1], RATE)) == text

    @pytest.mark.parametrize("rate", [0, -1, 16_000.5])
    def test_sample_rate(self, tagger: Tagger, rate: int) -> None:
        assert error_of(lambda: tagger.scores(tone(300), rate)) == (
            f"the sample rate is {rate} Hz; expected a whole number above 0, such as 44100"
        )


class TestTag:
    def test_best_first_over_the_whole_clip(self, tagger: Tagger, write_tone: WriteTone) -> None:
        path = write_tone("high.wav", 5000, 1.5)
        tags = tagger.tag(path)
        assert tags[0].label == "high"
        assert [tag.score for tag in tags] == sorted((tag.score for tag in tags), reverse=True)
        assert {(tag.start_s, tag.end_s) for tag in tags} == {(0.0, 1.5)}
        samples, rate = soundfile.read(path, dtype="float32")
        scores = dict(zip(tagger.labels, tagger.scores(samples, rate).tolist(), strict=True))
        assert {tag.label: tag.score for tag in tags} == scores
        assert all(type(tag.score) is float for tag in tags)

    @pytest.mark.parametrize(("top_k", "n_tags"), [(1, 1), (2, 2), (3, 3), (10, 3)])
    def test_top_k(self, tagger: Tagger, write_tone: WriteTone, top_k: int, n_tags: int) -> None:
        assert len(tagger.tag(write_tone(), top_k=top_k)) == n_tags

    @pytest.mark.parametrize(
        ("threshold", "labels"),
        [(0.0, ["b", "a", "c"]), (0.5, ["b", "a"]), (0.9, ["b"]), (0.91, []), (1.0, [])],
    )
    def test_a_threshold_is_reached_by_what_equals_it(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, threshold: float, labels: list[str]
    ) -> None:
        tagger = load(make_tiny_bundle(tmp_path / "a.onnx", labels=("a", "b", "c")))
        scores = np.array([0.5, 0.9, 0.1], dtype=np.float32)
        for top_k in (1, 3):
            chosen = tagger.choose(scores, 2.0, top_k=top_k, threshold=threshold)
            assert [tag.label for tag in chosen] == labels

    def test_choose_by_hand(self, tagger: Tagger) -> None:
        scores = np.array([0.25, 0.75, 0.5], dtype=np.float32)
        chosen = tagger.choose(scores, 4.5, top_k=2, threshold=None)
        assert chosen == [Tag("mid", 0.75, 0.0, 4.5), Tag("high", 0.5, 0.0, 4.5)]

    def test_equal_scores_stand_in_the_labels_order(self, tagger: Tagger) -> None:
        chosen = tagger.choose(np.full(3, 0.5, dtype=np.float32), 1.0, top_k=3, threshold=None)
        assert [tag.label for tag in chosen] == ["low", "mid", "high"]

    @pytest.mark.parametrize("top_k", [0, -1])
    def test_top_k_of_none(self, tagger: Tagger, write_tone: WriteTone, top_k: int) -> None:
        assert error_of(lambda: tagger.tag(write_tone(), top_k=top_k), ValueError) == (
            f"top_k={top_k}; expected at least 1"
        )

    @pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
    def test_threshold_out_of_range(self, tagger: Tagger, write_tone: WriteTone, threshold: float) -> None:
        assert error_of(lambda: tagger.tag(write_tone(), threshold=threshold), ValueError) == (
            f"threshold={threshold}; expected a number from 0 to 1"
        )

    def test_a_file_that_is_missing(self, tagger: Tagger, tmp_path: Path) -> None:
        assert error_of(lambda: tagger.tag(tmp_path / "none.wav")).startswith(f"{tmp_path / 'none.wav'}: no such file")


class TestTimeline:
    def test_each_window_has_its_scores(self, tagger: Tagger, tmp_path: Path) -> None:
        waveform = np.concatenate([tone(300, 1.5), tone(5000, 1.5)])
        soundfile.write(tmp_path / "a.wav", waveform, RATE, subtype="FLOAT")
        timeline = tagger.timeline(tmp_path / "a.wav")
        # 301 frames: windows of 100 each 50, and one that ends with the clip
        np.testing.assert_allclose(timeline.starts_s, [0.0, 0.5, 1.0, 1.5, 2.0, 2.01])
        np.testing.assert_allclose(timeline.ends_s, [1.0, 1.5, 2.0, 2.5, 3.0, 3.0])
        assert timeline.labels == ("low", "mid", "high")
        assert timeline.scores.shape == (6, 3)
        assert timeline.scores.dtype == np.float32
        assert [timeline.labels[i] for i in timeline.scores.argmax(axis=1)[[0, 1, -2, -1]]] == ["low"] * 2 + [
            "high"
        ] * 2
        np.testing.assert_allclose(timeline.scores.mean(axis=0), tagger.scores(waveform, RATE), atol=1e-6)

    @pytest.mark.parametrize("duration_s", [0.2, 1.0])
    def test_a_short_clip_ends_when_it_ends(self, tagger: Tagger, write_tone: WriteTone, duration_s: float) -> None:
        timeline = tagger.timeline(write_tone(duration_s=duration_s))
        assert timeline.starts_s[0] == 0.0
        assert timeline.ends_s[-1] == duration_s

    def test_nothing_is_trimmed_or_lengthened(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, tagger: Tagger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("earmark.audio.picture.trim_silence", lambda samples, *, top_db: samples[RATE:])
        front_end = msgspec.to_builtins(tagger.picture_spec) | {"trim_top_db": 60.0, "min_duration_s": 30.0}
        trimming = load(make_tiny_bundle(tmp_path / "a.onnx", front_end=front_end))
        waveform = np.concatenate([tone(300, 1.0), tone(5000, 1.0)])
        soundfile.write(tmp_path / "a.wav", waveform, RATE, subtype="FLOAT")
        timeline, expected = trimming.timeline(tmp_path / "a.wav"), tagger.timeline(tmp_path / "a.wav")
        np.testing.assert_array_equal(timeline.starts_s, expected.starts_s)
        np.testing.assert_array_equal(timeline.ends_s, expected.ends_s)
        np.testing.assert_array_equal(timeline.scores, expected.scores)

    def test_at_another_rate_times_are_the_files(self, tagger: Tagger, write_tone: WriteTone) -> None:
        timeline = tagger.timeline(write_tone(duration_s=2.5, sample_rate=44_100))
        assert timeline.ends_s[-1] == 2.5
        np.testing.assert_allclose(timeline.starts_s[:4], [0.0, 0.5, 1.0, 1.5])


class TestLoad:
    def test_by_path_or_run(self, tiny_bundle: Path, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "model.onnx").write_bytes(tiny_bundle.read_bytes())
        for model in (tiny_bundle, str(tiny_bundle), tmp_path / "run", str(tmp_path / "run")):
            assert load(model).labels == ("low", "mid", "high")
        assert earmark.load(tiny_bundle).labels == ("low", "mid", "high")
        assert earmark.Tagger is Tagger
        assert earmark.Tag is Tag

    def test_the_embedded_model_is_in_the_package(self) -> None:
        assert model_path(None) == model_path("embedded")
        assert model_path(None).parts[-3:] == ("earmark", "models", "embedded.onnx")

    def test_a_run_without_a_model(self, tmp_path: Path) -> None:
        assert error_of(lambda: load(tmp_path), BundleError) == (
            f"{tmp_path}: holds no model.onnx; finish the run with 'earmark train … --resume'"
        )

    @pytest.mark.parametrize(("name", "guess"), [("embeded", "; did you mean 'embedded'?"), ("xyz", "")])
    def test_a_name_that_is_not_known(self, name: str, guess: str) -> None:
        assert error_of(lambda: load(name), BundleError) == (
            f"no model '{name}'{guess}; expected 'embedded', an .onnx file or a run"
        )

    def test_a_file_that_is_not_there(self) -> None:
        assert error_of(lambda: load("none.onnx"), BundleError).startswith("none.onnx: no such model file; ")

    def test_a_name_that_the_package_has_not(self) -> None:
        with pytest.raises(AttributeError, match="module 'earmark' has no attribute 'tagger_of'"):
            earmark.tagger_of  # noqa: B018


class TestFrontEnd:
    def test_of_a_later_release(self, tmp_path: Path, make_tiny_bundle: MakeBundle, tagger: Tagger) -> None:
        front_end = msgspec.to_builtins(tagger.picture_spec) | {"channels": "stereo"}
        path = make_tiny_bundle(tmp_path / "a.onnx", front_end=front_end)
        assert error_of(lambda: load(path), BundleError) == (
            f"{path}: its front end is not known here (Invalid enum value 'stereo' - at `$.channels`); upgrade earmark"
        )

    def test_of_another_network(self, tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
        path = make_tiny_bundle(tmp_path / "a.onnx", front_end=msgspec.to_builtins(PictureSpec()))
        assert error_of(lambda: load(path), BundleError) == (
            f"{path}: the network takes pictures of shape (1, 24, 100), its front end makes (1, 64, 100); "
            "the file was changed by other hands: take the original"
        )

    def test_waveforms_of_one_length_only(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, tiny_bundle: Path
    ) -> None:
        model = onnx.load(tiny_bundle)
        model.graph.input[0].name = model.graph.node[0].input[0] = "waveforms"
        path = make_tiny_bundle(tmp_path / "a.onnx", model=model, input="waveforms")
        assert error_of(lambda: load(path), BundleError) == (
            f"{path}: the network takes waveforms of shape ('n', 1, 24, 100); expected (n_windows, n_samples) of any "
            "length up to a window; export it again with 'earmark export'"
        )

    def test_windows_of_another_length(self, tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
        path = make_tiny_bundle(tmp_path / "a.onnx", window_frames=50)
        assert "its front end makes (1, 24, 50)" in error_of(lambda: load(path), BundleError)

    def test_a_network_that_takes_any_length(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, tiny_bundle: Path
    ) -> None:
        model = onnx.load(tiny_bundle)
        model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "n_frames"
        tagger = Tagger(Bundle(make_tiny_bundle(tmp_path / "a.onnx", model=model, window_frames=50)))
        assert np.argmax(tagger.scores(tone(1800), RATE)) == 1
