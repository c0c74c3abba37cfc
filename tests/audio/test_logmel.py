"""The log-mel spectrogram is librosa's, and behaves as physics says."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from earmark.audio.logmel import FRAMES_PER_BLOCK, LogMelSpec, hz_to_mel, log_mel, mel_filters, mel_to_hz
from earmark.errors import AudioError, RecipeError

TOLERANCE_DB = 2e-3
RANGE_DB = 80.0
SPEC = LogMelSpec()


def sine(frequency_hz: float, n_samples: int = 32_000, sample_rate: int = 32_000, amplitude: float = 0.5) -> np.ndarray:
    time_s = np.arange(n_samples) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def of_librosa(waveform: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    librosa = pytest.importorskip("librosa")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clips shorter than a frame
        power = librosa.feature.melspectrogram(
            y=waveform.astype(np.float64),
            sr=spec.sample_rate,
            n_fft=spec.n_fft,
            hop_length=spec.hop_length,
            n_mels=spec.n_mels,
            fmin=spec.fmin,
            fmax=spec.fmax,
            pad_mode="constant",
        )
    return librosa.power_to_db(power, amin=10 ** (spec.floor_db / 10), top_db=None)


def assert_is_librosa(waveform: np.ndarray, spec: LogMelSpec) -> None:
    ours, reference = log_mel(waveform, spec), of_librosa(waveform, spec)
    # of an odd n_fft and a whole number of hops, librosa gives no last frame
    assert ours.shape[1] - reference.shape[1] in ({0, 1} if spec.n_fft % 2 else {0})
    ours = ours[:, : reference.shape[1]]
    heard = reference >= reference.max() - RANGE_DB
    assert heard.any()
    assert np.abs(ours - reference)[heard].max() < TOLERANCE_DB


class TestReference:
    @pytest.mark.parametrize(
        ("sample_rate", "n_fft", "hop_length", "n_mels", "fmin", "fmax"),
        [
            (32_000, 1024, 320, 64, 20.0, 16_000.0),
            (32_000, 1024, 640, 64, 20.0, 16_000.0),
            (44_100, 2560, 694, 128, 20.0, 22_050.0),
            (44_100, 4096, 441, 192, 0.0, 22_050.0),
            (32_000, 2048, 512, 120, 50.0, 14_000.0),
            (16_000, 400, 160, 40, 125.0, 7500.0),
            (16_000, 512, 1000, 1, 50.0, 8000.0),
            (8000, 255, 77, 20, 50.0, 4000.0),
            (22_050, 1001, 333, 32, 20.0, 11_025.0),
        ],
    )
    def test_any_shape_of_transform(
        self, sample_rate: int, n_fft: int, hop_length: int, n_mels: int, fmin: float, fmax: float
    ) -> None:
        spec = LogMelSpec(
            sample_rate=sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels, fmin=fmin, fmax=fmax
        )
        rng = np.random.default_rng(n_fft)
        for n_samples in (12_345, 20 * hop_length):
            noise = 0.1 * rng.standard_normal(n_samples)
            assert_is_librosa(noise.astype(np.float32), spec)
            assert_is_librosa(sine(fmax / 3, n_samples, sample_rate), spec)

    @pytest.mark.parametrize(
        "waveform",
        [
            pytest.param(sine(1000) + sine(3333.3) * 0.01, id="tones"),
            pytest.param(sine(1000) * np.linspace(0, 1, 32_000, dtype=np.float32) ** 4, id="crescendo"),
            pytest.param(np.full(32_000, 0.25, dtype=np.float32), id="direct current"),
            pytest.param(np.sign(sine(440)), id="full scale"),
            pytest.param(sine(440, amplitude=3.0), id="beyond full scale"),
            pytest.param(np.eye(1, 9000, 4321, dtype=np.float32)[0], id="click"),
            pytest.param(sine(1000, 1000), id="shorter than a frame"),
            pytest.param(sine(1000, 100), id="shorter than a hop"),
            pytest.param(np.array([0.5], dtype=np.float32), id="one sample"),
            pytest.param(np.random.default_rng(1).uniform(-1, 1, 100_003).astype(np.float32), id="noise"),
        ],
    )
    def test_any_sound(self, waveform: np.ndarray) -> None:
        assert_is_librosa(waveform, SPEC)

    @pytest.mark.parametrize("n_samples", [319, 320, 321, 320 * FRAMES_PER_BLOCK - 1, 320 * FRAMES_PER_BLOCK, 20_801])
    def test_any_length(self, n_samples: int, rng: np.random.Generator) -> None:
        assert_is_librosa(rng.standard_normal(n_samples).astype(np.float32), SPEC)

    def test_the_filters(self) -> None:
        librosa = pytest.importorskip("librosa")
        reference = librosa.filters.mel(sr=32_000, n_fft=1024, n_mels=64, fmin=20.0, fmax=16_000.0)
        np.testing.assert_allclose(mel_filters(SPEC), reference, rtol=1e-5, atol=1e-9)
        assert mel_filters(SPEC).dtype == np.float32

    def test_the_mel_scale(self) -> None:
        librosa = pytest.importorskip("librosa")
        hz = np.array([0.0, 20.0, 999.0, 1000.0, 1001.0, 16_000.0])
        np.testing.assert_allclose(hz_to_mel(hz), librosa.hz_to_mel(hz), rtol=1e-12)
        np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, rtol=1e-12)


class TestByHand:
    def test_one_frame_of_an_impulse(self) -> None:
        # an impulse of 1 at the window's peak, where the Hann window is 1: every bin has power 1, so that a band has
        # the sum of its weights
        spec = LogMelSpec(sample_rate=8000, n_fft=256, hop_length=256, n_mels=8, fmin=100.0, fmax=4000.0)
        expected = 10 * np.log10(mel_filters(spec).sum(axis=1))
        np.testing.assert_allclose(log_mel(np.array([1.0]), spec)[:, 0], expected, rtol=0, atol=1e-4)

    def test_a_filter_has_unit_area(self) -> None:
        spec = LogMelSpec(n_fft=8192)
        np.testing.assert_allclose(mel_filters(spec).sum(axis=1) * 32_000 / 8192, 1, atol=0.05)

    def test_1000_hz_is_15_mel(self) -> None:
        assert float(hz_to_mel(1000.0)) == pytest.approx(15.0)
        assert float(mel_to_hz(np.array(15.0))) == pytest.approx(1000.0)


class TestPhysics:
    @pytest.mark.parametrize("frequency_hz", [200.0, 1000.0, 4000.0, 12_000.0])
    def test_a_tone_peaks_in_its_band(self, frequency_hz: float) -> None:
        edges = mel_to_hz(np.linspace(hz_to_mel(SPEC.fmin), hz_to_mel(SPEC.fmax), SPEC.n_mels + 2))
        for band in np.argmax(log_mel(sine(frequency_hz), SPEC)[:, 5:-5], axis=0):
            assert edges[band] < frequency_hz < edges[band + 2]

    def test_twice_the_amplitude_is_6_db_more(self, rng: np.random.Generator) -> None:
        noise = 0.1 * rng.standard_normal(32_000).astype(np.float32)
        np.testing.assert_allclose(log_mel(2 * noise, SPEC) - log_mel(noise, SPEC), 20 * np.log10(2), atol=1e-3)

    def test_a_shift_by_a_hop_shifts_a_column(self, rng: np.random.Generator) -> None:
        noise = 0.1 * rng.standard_normal(32_000).astype(np.float32)
        whole, shifted = log_mel(noise, SPEC), log_mel(noise[SPEC.hop_length :], SPEC)
        # in between, no frame reaches over an end
        np.testing.assert_allclose(whole[:, 3:-2], shifted[:, 2:-2], atol=1e-3)

    def test_time_goes_to_the_right(self) -> None:
        late = np.concatenate([np.zeros(16_000, dtype=np.float32), sine(1000, 16_000)])
        level = log_mel(late, SPEC).max(axis=0)
        assert level[:45].max() == pytest.approx(SPEC.floor_db)
        assert level[55:].min() > 0

    def test_silence_is_the_floor(self) -> None:
        for floor_db in (-100.0, -60.0, 0.0):
            spec = LogMelSpec(floor_db=floor_db)
            np.testing.assert_allclose(log_mel(np.zeros(5000), spec), floor_db, atol=1e-4)

    def test_nothing_is_below_the_floor(self) -> None:
        assert log_mel(sine(1000), LogMelSpec(floor_db=-60.0)).min() == pytest.approx(-60.0, abs=1e-4)

    def test_the_loudest_sample_that_decoding_lets_pass_is_finite(self) -> None:
        assert np.isfinite(log_mel(np.full(70_000, 1e12, dtype=np.float32), LogMelSpec(n_fft=65_536))).all()


class TestShape:
    @pytest.mark.parametrize("n_fft", [1024, 1023, 1025])
    @pytest.mark.parametrize("n_samples", [1, 2, 319, 320, 321, 640, 32_000])
    def test_a_frame_each_hop_and_one_at_the_start(self, n_fft: int, n_samples: int) -> None:
        spec = LogMelSpec(n_fft=n_fft)
        made = log_mel(np.zeros(n_samples, dtype=np.float32), spec)
        assert made.shape == (64, 1 + n_samples // 320) == (64, spec.n_frames(n_samples))
        assert made.dtype == np.float32

    def test_frame_rate(self) -> None:
        assert LogMelSpec(sample_rate=32_000, hop_length=320).frame_rate == 100.0

    def test_double_precision_and_lists_are_taken(self) -> None:
        waveform = sine(1000, 1000)
        expected = log_mel(waveform, SPEC)
        np.testing.assert_array_equal(log_mel(waveform.astype(np.float64), SPEC), expected)
        np.testing.assert_array_equal(log_mel(waveform.tolist(), SPEC), expected)

    def test_the_waveform_stays_as_it_is(self) -> None:
        waveform = sine(1000)
        waveform.setflags(write=False)
        log_mel(waveform, SPEC)

    def test_threads_do_not_disturb_each_other(self) -> None:
        tones = [sine(100.0 * i) for i in range(1, 9)]
        with ThreadPoolExecutor(4) as pool:
            for tone, made in zip(tones, pool.map(lambda tone: log_mel(tone, SPEC), tones), strict=True):
                np.testing.assert_array_equal(made, log_mel(tone, SPEC))


class TestErrors:
    @pytest.mark.parametrize("shape", [(0,), (2, 100), (100, 2), ()])
    def test_a_waveform_of_another_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(AudioError) as caught:
            log_mel(np.zeros(shape), SPEC)
        assert str(caught.value) == (
            f"a waveform has shape {shape}; expected (n_samples,) with at least one; mix to mono"
        )

    def test_bands_narrower_than_a_bin(self) -> None:
        with pytest.raises(RecipeError) as caught:
            mel_filters(LogMelSpec(n_fft=256, n_mels=128))
        assert str(caught.value) == (
            "27 of 128 bands hold no bin of the transform (the first at 48 Hz); use fewer n_mels or a larger n_fft "
            "than 256"
        )

    @pytest.mark.parametrize(("fmin", "fmax"), [(20.0, 16_001.0), (500.0, 500.0), (600.0, 500.0)])
    def test_frequencies_that_do_not_fit(self, fmin: float, fmax: float) -> None:
        with pytest.raises(ValueError, match="do not fit") as caught:
            LogMelSpec(fmin=fmin, fmax=fmax)
        assert str(caught.value) == (
            f"fmin {fmin:g} Hz and fmax {fmax:g} Hz do not fit: expected fmin < fmax <= 16000 Hz, half the sample rate"
        )

    @pytest.mark.parametrize(
        ("key", "value", "text"),
        [
            ("n_fft", 8, "Expected `int` >= 16 - at `$.n_fft`"),
            ("hop_length", 0, "Expected `int` >= 1 - at `$.hop_length`"),
            ("n_mels", 0, "Expected `int` >= 1 - at `$.n_mels`"),
            ("floor_db", 3.0, "Expected `float` <= 0.0 - at `$.floor_db`"),
            ("n_mel", 64, "Object contains unknown field `n_mel`"),
        ],
    )
    def test_values_out_of_range(self, key: str, value: float, text: str) -> None:
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.convert({key: value}, LogMelSpec)
        assert str(caught.value) == text
