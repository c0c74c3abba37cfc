"""The three ways to make a picture agree with the definition: NumPy's, torch's, and torch's as an ONNX graph.

Each is held against `exact`, in double precision, so that it is known which one is off. Bounds count wherever a clip is
within 80 dB of its maximum. A bare tone or level has nothing in its quiet bands but its window's side lobes and the
rounding of float32, which therefore shows.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest
import torch

from earmark.audio.logmel import LogMelSpec, log_mel
from earmark.audio.picture import N_CHANNELS, PictureSpec, picture, windows
from earmark.audio.synth import synthesize
from earmark.training.efficientat import FRONT_END
from earmark.training.frontend import LogMel, RealDft, WaveformPictures, bounded, delta, to_channels

from .exact import exact_channels, exact_log_mel, exact_normalized

RANGE_DB = 80.0
BOUND_DB = {"numpy": 2e-3, "torch": 2e-3, "onnx": 2e-3}

LENGTHS = (1, 2, 5, 300, 700, 5000, 64_000)
BAND_RAMP = tuple(np.linspace(-70, -40, 128).tolist())
BAND_SPREAD = tuple(np.linspace(8, 20, 128).tolist())
CONTEST = {"sample_rate": 44_100, "fmax": 22_050.0}

CASES = {
    "grey, affine": PictureSpec(log_mel=LogMelSpec(n_fft=2560, hop_length=694, n_mels=128, **CONTEST)),
    "delta, clip": PictureSpec(
        log_mel=LogMelSpec(n_fft=4480, hop_length=746, n_mels=224, **CONTEST), channels="delta", normalization="clip"
    ),
    "frequency map, band": PictureSpec(
        log_mel=LogMelSpec(n_mels=128, mel_scale="htk"),
        channels="frequency-map",
        normalization="band",
        mean=BAND_RAMP,
        std=BAND_SPREAD,
    ),
    "colour, minmax, magnitude": PictureSpec(
        log_mel=LogMelSpec(
            sample_rate=16_000,
            n_fft=512,
            win_length=400,
            hop_length=160,
            n_mels=63,
            fmax=8000.0,
            padding="reflect",
            spectrum="magnitude",
            scale="ln",
        ),
        channels="colour",
        normalization="minmax",
    ),
    "EfficientAT": FRONT_END,
}

MakePicture = Callable[[np.ndarray], np.ndarray]


def exported(module: torch.nn.Module) -> onnxruntime.InferenceSession:
    """The module as ONNX Runtime runs it, for any number of clips of any length."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    any_length = {0: torch.export.Dim("n_clips"), 1: torch.export.Dim("n_samples")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            module.eval(), (torch.zeros(2, 32_000),), dynamic_shapes=(any_length,), dynamo=True, verbose=False
        )
    logger.setLevel(level)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options)


class Case:
    """A specification with the three ways to make its pictures."""

    def __init__(self, spec: PictureSpec) -> None:
        self.spec = spec
        self.module = WaveformPictures(spec)
        self.session = exported(self.module)
        self.ways: dict[str, MakePicture] = {
            "numpy": lambda waveform: picture(waveform, spec),
            "torch": lambda waveform: self.module(torch.from_numpy(waveform)[None])[0].numpy(),
            "onnx": lambda waveform: self.of_batch(waveform[None])[0],
        }

    def of_batch(self, waveforms: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.session.get_inputs()[0].name: waveforms})[0]

    def errors_db(self, waveform: np.ndarray) -> dict[str, float]:
        """The largest error of each way within 80 dB of the clip's maximum, in dB."""
        exact = exact_log_mel(waveform, self.spec.log_mel)
        normalized, unit_db = exact_normalized(exact, self.spec)
        _, db_per_unit = exact_normalized(exact, PictureSpec(log_mel=self.spec.log_mel, std=1.0))
        heard = exact >= exact.max() - RANGE_DB / db_per_unit
        errors = {}
        for way, make in self.ways.items():
            made = make(waveform)
            assert made.shape == exact_channels(normalized, self.spec).shape
            assert made.dtype == np.float32
            values = made.reshape(exact.shape) if self.spec.channels == "colour" else made[0]
            errors[way] = (np.abs(values - normalized) * unit_db)[heard].max()
        return errors


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(CASES[request.param])


def noise(n_samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(n_samples).standard_normal(n_samples).astype(np.float32)


def tone(frequency_hz: float, sample_rate: int, amplitude: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(sample_rate // 2) / sample_rate)).astype(np.float32)


def assert_within(errors: dict[str, float], bounds: dict[str, float]) -> None:
    assert {way: error for way, error in errors.items() if not error < bounds[way]} == {}


class TestAgainstTheDefinition:
    @pytest.mark.parametrize("n_samples", LENGTHS)
    def test_noise_of_any_length(self, case: Case, n_samples: int) -> None:
        assert_within(case.errors_db(noise(n_samples)), BOUND_DB)

    @pytest.mark.parametrize("label", ["Acoustic_guitar", "Church_bell", "Cricket", "Drip", "Hi-hat"])
    def test_sounds(self, case: Case, label: str) -> None:
        rate = case.spec.log_mel.sample_rate
        assert_within(case.errors_db(synthesize(label, np.random.default_rng(3), sample_rate=rate)), BOUND_DB)

    def test_full_scale_and_clicks(self, case: Case) -> None:
        square = np.sign(tone(440, case.spec.log_mel.sample_rate))
        for waveform in (square, 3 * square, np.eye(1, 9000, 4321, dtype=np.float32)[0]):
            assert_within(case.errors_db(waveform), BOUND_DB)

    def test_bare_tones_and_levels(self, case: Case) -> None:
        rate = case.spec.log_mel.sample_rate
        for frequency_hz in np.geomspace(100, 0.45 * rate, 6):
            assert_within(case.errors_db(tone(frequency_hz, rate)), BOUND_DB)
        assert_within(case.errors_db(np.full(rate // 2, 0.9, dtype=np.float32)), BOUND_DB)

    @pytest.mark.parametrize("n_samples", [1, 700, 5000])
    def test_silence(self, case: Case, n_samples: int) -> None:
        waveform = np.zeros(n_samples, dtype=np.float32)
        normalized, _ = exact_normalized(exact_log_mel(waveform, case.spec.log_mel), case.spec)
        for make in case.ways.values():
            # a clip of one level may be off by its rounding over the smallest deviation
            np.testing.assert_allclose(make(waveform), exact_channels(normalized, case.spec), atol=0.01)

    @pytest.mark.parametrize("n_samples", LENGTHS)
    def test_every_channel(self, case: Case, n_samples: int) -> None:
        waveform = noise(n_samples)
        normalized, _ = exact_normalized(exact_log_mel(waveform, case.spec.log_mel), case.spec)
        for make in case.ways.values():
            np.testing.assert_allclose(make(waveform), exact_channels(normalized, case.spec), atol=2e-3)

    def test_batches(self, case: Case) -> None:
        waveforms = np.stack([noise(5000), 0.01 * noise(5000)[::-1], noise(5001)[1:]])
        expected = np.stack([picture(waveform, case.spec) for waveform in waveforms])
        np.testing.assert_allclose(case.module(torch.from_numpy(waveforms)).numpy(), expected, atol=2e-3)
        np.testing.assert_allclose(case.of_batch(waveforms), expected, atol=2e-3)


class TestRealDft:
    @pytest.mark.parametrize("n_fft", [16, 17, 255, 400, 512, 1021, 2560, 4480])
    def test_is_the_sum_that_defines_it(self, n_fft: int, rng: np.random.Generator) -> None:
        frames = rng.standard_normal((2, 3, n_fft)).astype(np.float32)
        k, n = np.arange(n_fft // 2 + 1)[:, None], np.arange(n_fft)
        expected = frames.astype(np.float64) @ np.exp(-2j * np.pi * (k * n % n_fft) / n_fft).T
        real, imag = RealDft(n_fft)(torch.from_numpy(frames).double())
        assert real.shape == imag.shape == (2, 3, n_fft // 2 + 1)
        np.testing.assert_allclose(real.numpy() + 1j * imag.numpy(), expected, atol=1e-10)

    def test_splits_the_length_as_evenly_as_it_can(self) -> None:
        assert [(RealDft(n).n_first, RealDft(n).n_second) for n in (1024, 2560, 4480, 97)] == [
            (32, 32),
            (40, 64),
            (64, 70),
            (1, 97),
        ]


class TestLogMel:
    @pytest.mark.parametrize(
        "options",
        [
            {"n_fft": 255, "hop_length": 77},
            {"n_fft": 509, "hop_length": 700, "padding": "reflect"},
            {"win_length": 401},
            {"floor": "add", "floor_db": -30.0},
            {"spectrum": "magnitude", "pre_emphasis": 0.5},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("n_samples", LENGTHS)
    def test_makes_what_numpy_makes(self, options: dict[str, Any], n_samples: int) -> None:
        said = {"sample_rate": 8000, "n_fft": 512, "hop_length": 100, "n_mels": 20, "fmax": 4000.0, "fmin": 50.0}
        spec = LogMelSpec(**(said | options))
        made = LogMel(spec)(torch.from_numpy(noise(n_samples))[None])[0].numpy()
        expected = log_mel(noise(n_samples), spec)
        assert made.shape == expected.shape == (20, spec.n_frames(n_samples))
        heard = expected > expected.max() - RANGE_DB
        np.testing.assert_allclose(made[heard], expected[heard], atol=BOUND_DB["torch"])

    def test_stays_float32_where_a_trainer_computes_with_less(self) -> None:
        spec, waveforms = LogMelSpec(n_mels=32), torch.from_numpy(noise(5000))[None]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = LogMel(spec)(waveforms)
        assert made.dtype == torch.float32
        assert torch.equal(made, LogMel(spec)(waveforms))

    def test_has_nothing_to_learn_or_to_keep(self) -> None:
        module = WaveformPictures(CASES["frequency map, band"])
        assert list(module.parameters()) == []
        assert module.state_dict() == {}

    def test_lets_gradients_through(self) -> None:
        waveforms = torch.from_numpy(noise(1000))[None].requires_grad_()
        WaveformPictures(PictureSpec(log_mel=LogMelSpec(n_mels=32)))(waveforms).sum().backward()
        assert waveforms.grad is not None
        assert torch.isfinite(waveforms.grad).all()


class TestPictures:
    @pytest.mark.parametrize("channels", N_CHANNELS)
    @pytest.mark.parametrize("normalization", ["affine", "band", "clip", "minmax", "levels"])
    def test_are_numpys(self, channels: Any, normalization: Any, rng: np.random.Generator) -> None:
        n_levels, normalization = (256, "minmax") if normalization == "levels" else (0, normalization)
        spec = PictureSpec(
            log_mel=LogMelSpec(n_mels=48), channels=channels, normalization=normalization, n_levels=n_levels
        )
        if normalization == "band":
            mean, std = tuple(rng.uniform(-70, -40, 48).tolist()), tuple(rng.uniform(5, 20, 48).tolist())
            spec = msgspec.structs.replace(spec, mean=mean, std=std)
        for n_samples in (1, 300, 5000):
            made = WaveformPictures(spec)(torch.from_numpy(noise(n_samples))[None])[0].numpy()
            off = np.abs(made - picture(noise(n_samples), spec))
            # a value next to the middle between two levels may go to either
            assert off.max() < (1.01 / 255 if n_levels else 1e-3)
            assert (off > 1e-3).mean() < 0.01

    @pytest.mark.parametrize("channels", N_CHANNELS)
    def test_of_silence_are_numpys(self, channels: Any) -> None:
        for normalization in ("affine", "clip", "minmax"):
            spec = PictureSpec(log_mel=LogMelSpec(n_mels=48), channels=channels, normalization=normalization)
            made = WaveformPictures(spec)(torch.zeros(1, 5000))[0].numpy()
            np.testing.assert_allclose(made, picture(np.zeros(5000), spec), atol=0.01)

    @pytest.mark.parametrize("channels", N_CHANNELS)
    @pytest.mark.parametrize("n_frames", [1, 3, 20])
    def test_channels_are_those_of_the_definition(self, channels: Any, n_frames: int, rng: np.random.Generator) -> None:
        spec = PictureSpec(log_mel=LogMelSpec(n_mels=12), channels=channels)
        normalized = rng.standard_normal((2, 12, n_frames))
        made = to_channels(torch.from_numpy(normalized.astype(np.float32)), spec)
        expected = np.stack([exact_channels(values, spec) for values in normalized])
        np.testing.assert_allclose(made.numpy(), expected, atol=1e-6)

    def test_delta_by_hand(self) -> None:
        step = torch.tensor([[[0.0] * 5 + [1.0] * 5]])
        slope = torch.tensor([[[0, 4, 7, 9, 10, 10, 9, 7, 4, 0]]]) / 60
        torch.testing.assert_close(delta(step), slope)

    def test_bounds_are_for_minmax_alone(self) -> None:
        values = torch.tensor([-0.5, 0.1, 0.4, 0.8, 2.0])
        spec = PictureSpec(normalization="minmax")
        assert bounded(values, PictureSpec()) is values
        assert bounded(values, spec).tolist() == pytest.approx([0, 0.1, 0.4, 0.8, 1])
        in_levels = bounded(values, msgspec.structs.replace(spec, n_levels=3))
        assert in_levels.tolist() == [0, 0, 0.5, 1, 1]

    def test_windows_of_a_clips_length_are_pictures(self) -> None:
        spec = CASES["delta, clip"]
        spectrogram = log_mel(noise(5000), spec.log_mel)
        np.testing.assert_array_equal(
            windows(spectrogram, spec, spectrogram.shape[1], 1)[0], picture(noise(5000), spec)
        )
