"""The log-mel spectrogram is librosa's, and behaves as physics says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio import logmel
from earmark.audio.logmel import FRAMES_PER_BLOCK, LogMelSpec, log_mel, log_mel_blocks, mel_filters, window_of
from earmark.audio.mel import band_edges_hz
from earmark.audio.synth import LABELS, synthesize
from earmark.errors import AudioError

TOLERANCE_DB = 2e-3
RANGE_DB = 80.0

SPEC = LogMelSpec()
SMALL = LogMelSpec(sample_rate=8000, n_fft=256, hop_length=100, n_mels=20, fmin=50.0, fmax=4000.0)
CONTEST_GREY = LogMelSpec(sample_rate=44_100, n_fft=2560, hop_length=694, n_mels=128, fmax=22_050.0)
CONTEST_COLOUR = LogMelSpec(sample_rate=44_100, n_fft=4480, hop_length=746, n_mels=224, fmax=22_050.0)
DENSE = LogMelSpec(n_mels=128)
KALDIS = LogMelSpec(
    n_mels=128,
    win_length=800,
    fmin=0.0,
    fmax=15_000.0,
    mel_scale="kaldi",
    mel_norm="peak",
    window="hann-symmetric",
    padding="reflect",
    pre_emphasis=0.97,
    scale="ln",
    floor_db=-50.0,
    floor="add",
)


def changed(spec: LogMelSpec, **options: Any) -> LogMelSpec:
    return msgspec.structs.replace(spec, **options)


def sine(frequency_hz: float, n_samples: int = 32_000, sample_rate: int = 32_000, amplitude: float = 0.5) -> np.ndarray:
    time_s = np.arange(n_samples) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)


def of_librosa(waveform: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """The same in librosa's double precision, in the specification's unit."""
    librosa = pytest.importorskip("librosa")
    samples = waveform.astype(np.float64)
    if spec.pre_emphasis:
        samples = librosa.effects.preemphasis(samples, coef=spec.pre_emphasis)[1:]
    length = spec.win_length or spec.n_fft
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clips shorter than a frame
        mel = librosa.feature.melspectrogram(
            y=samples,
            sr=spec.sample_rate,
            n_fft=spec.n_fft,
            hop_length=spec.hop_length,
            win_length=length,
            window=scipy.signal.windows.hann(length, sym=spec.window == "hann-symmetric"),
            pad_mode="constant" if spec.padding == "zeros" else "reflect",
            power=2.0 if spec.spectrum == "power" else 1.0,
            n_mels=spec.n_mels,
            fmin=spec.fmin,
            fmax=spec.fmax,
            htk=spec.mel_scale == "htk",
            norm="slaney" if spec.mel_norm == "area" else None,
        )
    floor = 10 ** (spec.floor_db / (10 if spec.spectrum == "power" else 20))
    mel = np.maximum(mel, floor) if spec.floor == "clip" else mel + floor
    if spec.scale == "ln":
        return np.log(mel)
    return (10 if spec.spectrum == "power" else 20) * np.log10(mel)


def assert_is_librosa(waveform: np.ndarray, spec: LogMelSpec, tolerance_db: float = TOLERANCE_DB) -> None:
    ours, reference = log_mel(waveform, spec), of_librosa(waveform, spec)
    # of an odd n_fft and a whole number of hops, librosa gives no last frame
    assert ours.shape[1] - reference.shape[1] in ({0, 1} if spec.n_fft % 2 else {0})
    ours = ours[:, : reference.shape[1]]
    db_per_unit = 1.0
    if spec.scale == "ln":
        db_per_unit = 4.3429448 if spec.spectrum == "power" else 8.6858896
    heard = reference >= reference.max() - RANGE_DB / db_per_unit
    assert heard.any()
    assert np.abs(ours - reference)[heard].max() * db_per_unit < tolerance_db


class TestReference:
    @pytest.mark.parametrize(
        ("sample_rate", "n_fft", "hop_length", "n_mels", "fmin", "fmax"),
        [
            (32_000, 1024, 320, 64, 20.0, 16_000.0),
            (32_000, 1024, 640, 64, 20.0, 16_000.0),
            (32_000, 1024, 320, 128, 20.0, 16_000.0),
            (44_100, 2560, 694, 128, 20.0, 22_050.0),
            (44_100, 4480, 746, 224, 20.0, 22_050.0),
            (44_100, 4096, 441, 192, 0.0, 22_050.0),
            (32_000, 2048, 512, 120, 50.0, 14_000.0),
            (16_000, 400, 160, 40, 125.0, 7500.0),
            (16_000, 512, 1000, 1, 50.0, 8000.0),
            (8000, 255, 77, 20, 50.0, 4000.0),
            (22_050, 1001, 333, 32, 20.0, 11_025.0),
        ],
    )
    @pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
    def test_any_shape_of_transform(
        self, sample_rate: int, n_fft: int, hop_length: int, n_mels: int, fmin: float, fmax: float, mel_scale: Any
    ) -> None:
        spec = LogMelSpec(
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            n_mels=n_mels,
            fmin=fmin,
            fmax=fmax,
            mel_scale=mel_scale,
        )
        for n_samples in (12_345, 20 * hop_length):
            assert_is_librosa(noise(n_samples), spec)
            assert_is_librosa(sine(fmax / 3, n_samples, sample_rate), spec)

    @pytest.mark.parametrize(
        "options",
        [
            {"win_length": 800},
            {"win_length": 801},
            {"padding": "reflect"},
            {"padding": "reflect", "n_fft": 1023},
            {"window": "hann-symmetric"},
            {"mel_norm": "peak"},
            {"spectrum": "magnitude"},
            {"spectrum": "magnitude", "floor": "add"},
            {"scale": "ln"},
            {"scale": "ln", "spectrum": "magnitude"},
            {"scale": "ln", "floor": "add", "floor_db": -50.0},
            {"pre_emphasis": 0.97},
            {"win_length": 640, "padding": "reflect", "window": "hann-symmetric", "pre_emphasis": 0.9, "scale": "ln"},
        ],
        ids=lambda options: ",".join(f"{key}={value}" for key, value in options.items()),
    )
    @pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
    def test_any_option(self, options: dict[str, Any], mel_scale: str) -> None:
        spec = changed(SPEC, mel_scale=mel_scale, **options)
        rng = np.random.default_rng(5)
        for waveform in (noise(20_000), noise(700), synthesize("Cricket", rng, duration_s=1.0, sample_rate=32_000)):
            assert_is_librosa(waveform, spec)

    @pytest.mark.parametrize("spec", [CONTEST_GREY, CONTEST_COLOUR, DENSE], ids=["2560", "4480", "1024"])
    @pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
    def test_sounds_of_every_label(self, spec: LogMelSpec, mel_scale: str) -> None:
        rng = np.random.default_rng(7)
        for label in LABELS[::3]:
            waveform = synthesize(label, rng, duration_s=0.6, sample_rate=spec.sample_rate)
            assert_is_librosa(waveform, changed(spec, mel_scale=mel_scale))

    @pytest.mark.parametrize("spec", [SPEC, CONTEST_GREY, CONTEST_COLOUR, DENSE], ids=["64", "2560", "4480", "1024"])
    @pytest.mark.parametrize(
        "waveform",
        [
            pytest.param(sine(1000) + sine(3333.3) * 0.01, id="tones"),
            pytest.param(sine(1000) * np.linspace(0, 1, 32_000, dtype=np.float32) ** 4, id="crescendo"),
            pytest.param(np.sign(sine(440)), id="full scale"),
            pytest.param(sine(440, amplitude=3.0), id="beyond full scale"),
            pytest.param(np.eye(1, 9000, 4321, dtype=np.float32)[0], id="click"),
            pytest.param(np.zeros(5000, dtype=np.float32), id="silence"),
            pytest.param(sine(1000, 1000), id="shorter than a frame"),
            pytest.param(sine(1000, 100), id="shorter than a hop"),
            pytest.param(np.array([0.5], dtype=np.float32), id="one sample"),
            pytest.param(np.random.default_rng(1).uniform(-1, 1, 100_003).astype(np.float32), id="noise"),
        ],
    )
    def test_any_sound(self, spec: LogMelSpec, waveform: np.ndarray) -> None:
        assert_is_librosa(waveform, spec)

    @pytest.mark.parametrize("amplitude", [0.01, 0.1, 1.0])
    @pytest.mark.parametrize("floor", ["add", "clip"])
    def test_bare_tones_over_a_high_floor(self, floor: Any, amplitude: float) -> None:
        spec = changed(KALDIS, mel_scale="htk", floor=floor, pre_emphasis=0.0)  # which rounds as well
        for frequency_hz in np.geomspace(60, 0.495 * spec.sample_rate, 12):
            assert_is_librosa(sine(frequency_hz, spec.sample_rate // 3, spec.sample_rate, amplitude), spec)

    @pytest.mark.parametrize("spec", [CONTEST_GREY, CONTEST_COLOUR, DENSE], ids=["2560", "4480", "1024"])
    def test_bare_tones_of_any_pitch_and_direct_current(self, spec: LogMelSpec) -> None:
        assert_is_librosa(np.full(32_000, 0.9, dtype=np.float32), spec)
        for frequency_hz in np.geomspace(60, 0.495 * spec.sample_rate, 12):
            tone = sine(frequency_hz, spec.sample_rate // 3, spec.sample_rate, amplitude=1.0)
            assert_is_librosa(tone, spec)

    def test_at_192_khz(self) -> None:
        spec = LogMelSpec(sample_rate=192_000, n_fft=8192, hop_length=1920, n_mels=128, fmax=96_000.0)
        assert_is_librosa(noise(192_000), spec)
        assert_is_librosa(synthesize("Cricket", np.random.default_rng(0), duration_s=1.0, sample_rate=192_000), spec)

    @pytest.mark.parametrize("n_samples", [319, 320, 321, 320 * FRAMES_PER_BLOCK - 1, 320 * FRAMES_PER_BLOCK, 20_801])
    def test_any_length(self, n_samples: int) -> None:
        assert_is_librosa(noise(n_samples), SPEC)

    @pytest.mark.parametrize("length", [400, 401, 512])
    def test_the_window_is_scipys(self, length: int) -> None:
        for name, symmetric in (("hann", False), ("hann-symmetric", True)):
            window = window_of(LogMelSpec(n_fft=512, win_length=length, n_mels=20, window=name))
            before = (512 - length) // 2
            expected = scipy.signal.windows.hann(length, sym=symmetric)
            np.testing.assert_allclose(window[before : before + length], expected, atol=1e-7)
            assert window.sum() == pytest.approx(expected.sum(), rel=1e-6)
            assert window.shape == (512,)
            assert window.dtype == np.float64


class TestByHand:
    def test_one_frame_of_an_impulse(self) -> None:
        # an impulse of 1 at the window's peak, where the Hann window is 1: every bin has power 1, so that a band has
        # the sum of its weights
        spec = LogMelSpec(sample_rate=8000, n_fft=256, hop_length=256, n_mels=8, fmin=100.0, fmax=4000.0)
        weights = mel_filters(spec).sum(axis=1)
        np.testing.assert_allclose(log_mel(np.array([1.0]), spec)[:, 0], 10 * np.log10(weights), rtol=0, atol=1e-4)
        # and a tenth of it has a hundredth of the power, a tenth of the magnitude
        tenth = np.array([0.1])
        natural = log_mel(tenth, changed(spec, scale="ln"))[:, 0]
        np.testing.assert_allclose(natural, np.log(0.01 * weights), rtol=0, atol=1e-5)
        magnitude = log_mel(tenth, changed(spec, spectrum="magnitude"))[:, 0]
        np.testing.assert_allclose(magnitude, 20 * np.log10(0.1 * weights), rtol=0, atol=1e-4)
        natural = log_mel(tenth, changed(spec, scale="ln", spectrum="magnitude"))[:, 0]
        np.testing.assert_allclose(natural, np.log(0.1 * weights), rtol=0, atol=1e-5)

    def test_pre_emphasis_and_mirror(self) -> None:
        # 1, 3 becomes 3 - 0.5, mirrored as often as it takes: 2.5 everywhere, of which the window has half in all
        spec = changed(SMALL, pre_emphasis=0.5, padding="reflect", n_mels=1, fmin=0.0, hop_length=200, mel_norm="peak")
        flat = log_mel(np.full(500, 2.5, dtype=np.float32), changed(spec, pre_emphasis=0.0))
        np.testing.assert_allclose(log_mel(np.array([1.0, 3.0]), spec), flat[:, :1], atol=1e-4)

    def test_a_floor_that_is_added(self) -> None:
        spec = LogMelSpec(sample_rate=8000, n_fft=256, hop_length=256, n_mels=8, fmin=100.0, fmax=4000.0)
        weights = mel_filters(spec).sum(axis=1)
        added = log_mel(np.array([1.0]), changed(spec, floor="add", floor_db=-20.0))[:, 0]
        np.testing.assert_allclose(added, 10 * np.log10(weights + 0.01), rtol=0, atol=1e-4)

    def test_a_filter_has_unit_area(self) -> None:
        spec = LogMelSpec(n_fft=8192)
        np.testing.assert_allclose(mel_filters(spec).sum(axis=1) * 32_000 / 8192, 1, atol=0.05)
        assert mel_filters(spec).dtype == np.float32


class TestPhysics:
    @pytest.mark.parametrize("frequency_hz", [200.0, 1000.0, 4000.0, 12_000.0])
    @pytest.mark.parametrize("mel_scale", ["slaney", "htk", "kaldi"])
    def test_a_tone_peaks_in_its_band(self, frequency_hz: float, mel_scale: Any) -> None:
        spec = changed(SPEC, mel_scale=mel_scale)
        edges = band_edges_hz(spec.n_mels, spec.fmin, spec.fmax, mel_scale)
        for band in np.argmax(log_mel(sine(frequency_hz), spec)[:, 5:-5], axis=0):
            assert edges[band] < frequency_hz < edges[band + 2]

    @settings(max_examples=30, deadline=None)
    @given(st.sampled_from(["slaney", "htk", "kaldi"]), st.integers(4, 60), st.integers(0, 300))
    def test_a_tone_of_1_khz_peaks_in_the_band_of_1_khz(self, mel_scale: Any, n_mels: int, fmin: int) -> None:
        spec = LogMelSpec(sample_rate=16_000, n_fft=2048, n_mels=n_mels, fmin=fmin, fmax=7000.0, mel_scale=mel_scale)
        edges = band_edges_hz(n_mels, fmin, 7000.0, mel_scale)
        for band in log_mel(sine(1000.0, 16_000, 16_000), spec)[:, 5:-5].argmax(axis=0):
            assert edges[band] < 1000 < edges[band + 2]

    @settings(max_examples=20, deadline=None)
    @given(st.sampled_from([SPEC, KALDIS, CONTEST_GREY]), st.floats(1e-3, 1), st.integers(0, 99))
    def test_twice_the_amplitude_is_6_db_more(self, spec: LogMelSpec, amplitude: float, seed: int) -> None:
        spec = changed(spec, floor="clip", floor_db=-200.0)
        once = amplitude * noise(8000, seed)
        louder = (log_mel(2 * once, spec) - log_mel(once, spec)) * spec.db_per_unit
        np.testing.assert_allclose(louder, 20 * np.log10(2), atol=1e-3)

    @settings(max_examples=20, deadline=None)
    @given(st.sampled_from([SPEC, KALDIS, CONTEST_GREY]), st.integers(1, 5), st.integers(0, 99))
    def test_a_shift_by_hops_shifts_columns(self, spec: LogMelSpec, n_hops: int, seed: int) -> None:
        waveform = noise(30 * spec.hop_length, seed)
        whole, shifted = log_mel(waveform, spec), log_mel(waveform[n_hops * spec.hop_length :], spec)
        ends = 1 + spec.n_fft // 2 // spec.hop_length  # frames that reach over one
        inside = slice(ends + 1, shifted.shape[1] - ends - 1)
        moved = slice(inside.start + n_hops, inside.stop + n_hops)
        np.testing.assert_allclose(whole[:, moved], shifted[:, inside], atol=1e-3)

    def test_time_goes_to_the_right(self) -> None:
        late = np.concatenate([np.zeros(16_000, dtype=np.float32), sine(1000, 16_000)])
        level = log_mel(late, SPEC).max(axis=0)
        assert level[:45].max() == pytest.approx(SPEC.floor_db)
        assert level[55:].min() > 0

    @pytest.mark.parametrize("spec", [SPEC, changed(SPEC, spectrum="magnitude"), changed(SPEC, scale="ln"), KALDIS])
    def test_silence_is_the_floor(self, spec: LogMelSpec) -> None:
        for floor_db in (-100.0, -60.0, 0.0):
            spec = changed(spec, floor_db=floor_db)
            made = log_mel(np.zeros(5000), spec)
            np.testing.assert_allclose(made, spec.silence, atol=1e-4)
            np.testing.assert_allclose(made * spec.db_per_unit, floor_db, atol=1e-4)

    def test_nothing_is_below_the_floor(self) -> None:
        assert log_mel(sine(1000), LogMelSpec(floor_db=-60.0)).min() == pytest.approx(-60.0, abs=1e-4)

    def test_the_loudest_sample_that_decoding_lets_pass_is_finite(self) -> None:
        assert np.isfinite(log_mel(np.full(70_000, 1e12, dtype=np.float32), LogMelSpec(n_fft=65_536))).all()


class TestPrecision:
    """What float32 is too coarse for is done again in float64, and nothing else."""

    @pytest.fixture
    def again(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Gathers how many frames each second transform takes."""
        done, transformed = [], logmel._transformed

        def spy(frames: np.ndarray, spec: LogMelSpec, dtype: type, out: np.ndarray) -> np.ndarray:
            if dtype is np.float64:
                done.append(len(frames))
            return transformed(frames, spec, dtype, out)

        monkeypatch.setattr(logmel, "_transformed", spy)
        return done

    def test_quiet_bands_beside_a_tone_are_done_again(self, again: list[int]) -> None:
        spectrogram = log_mel(sine(1016), DENSE)
        assert sum(again) >= spectrogram.shape[1] - 4

    def test_noise_is_not(self, again: list[int]) -> None:
        log_mel(noise(32_000), DENSE)
        assert not again

    @pytest.mark.parametrize("floor", ["add", "clip"])
    def test_nor_is_what_the_floor_hides(self, again: list[int], floor: Any) -> None:
        log_mel(sine(1000, amplitude=0.02), changed(KALDIS, floor=floor))
        assert not again
        log_mel(sine(1000, amplitude=0.02), changed(KALDIS, floor=floor, floor_db=-100.0))
        assert again


class TestShape:
    @pytest.mark.parametrize("n_fft", [1024, 1023, 1025])
    @pytest.mark.parametrize("n_samples", [1, 2, 319, 320, 321, 640, 32_000])
    def test_a_frame_each_hop_and_one_at_the_start(self, n_fft: int, n_samples: int) -> None:
        spec = LogMelSpec(n_fft=n_fft)
        made = log_mel(np.zeros(n_samples, dtype=np.float32), spec)
        assert made.shape == (64, 1 + n_samples // 320) == (64, spec.n_frames(n_samples))
        assert made.dtype == np.float32

    @pytest.mark.parametrize(("n_samples", "n_frames"), [(1, 1), (2, 1), (320, 1), (321, 2), (641, 3)])
    def test_pre_emphasis_takes_a_sample(self, n_samples: int, n_frames: int) -> None:
        assert log_mel(noise(n_samples), KALDIS).shape == (128, n_frames) == (128, KALDIS.n_frames(n_samples))

    def test_rates_and_units(self) -> None:
        assert LogMelSpec(sample_rate=32_000, hop_length=320).frame_rate == 100.0
        assert SPEC.db_per_unit == 1.0
        assert changed(SPEC, scale="ln").db_per_unit == pytest.approx(4.342945)
        assert changed(SPEC, scale="ln", spectrum="magnitude").db_per_unit == pytest.approx(8.685890)
        assert KALDIS.silence == pytest.approx(np.log(1e-5))

    @pytest.mark.parametrize("spec", [SPEC, KALDIS])
    def test_double_precision_and_lists_are_taken(self, spec: LogMelSpec) -> None:
        waveform = sine(1000, 1000)
        expected = log_mel(waveform, spec)
        np.testing.assert_array_equal(log_mel(waveform.astype(np.float64), spec), expected)
        np.testing.assert_array_equal(log_mel(waveform.tolist(), spec), expected)

    def test_the_waveform_stays_as_it_is(self) -> None:
        waveform = sine(1000)
        waveform.setflags(write=False)
        for spec in (SPEC, KALDIS):
            log_mel(waveform, spec)
            list(log_mel_blocks([waveform], spec))


class TestThreads:
    def test_callers_do_not_disturb_each_other(self) -> None:
        tones = [sine(100.0 * i) for i in range(1, 9)]
        with ThreadPoolExecutor(4) as pool:
            for tone, made in zip(tones, pool.map(lambda tone: log_mel(tone, SPEC), tones), strict=True):
                np.testing.assert_array_equal(made, log_mel(tone, SPEC))

    @settings(max_examples=20, deadline=None)
    @given(st.sampled_from([SMALL, KALDIS]), st.integers(1, 40_000), st.integers(1, 9))
    def test_any_number_gives_the_same(self, spec: LogMelSpec, n_samples: int, n_threads: int) -> None:
        waveform = noise(n_samples)
        made = log_mel(waveform, spec, n_threads=n_threads)
        np.testing.assert_allclose(made, log_mel(waveform, spec), atol=1e-3)
        assert made.dtype == np.float32

    def test_more_of_them_than_frames(self) -> None:
        np.testing.assert_allclose(log_mel(noise(700), SPEC, n_threads=16), log_mel(noise(700), SPEC), atol=1e-3)


BLOCK_SPECS = [
    SMALL,
    changed(SMALL, padding="reflect"),
    changed(SMALL, n_fft=255, padding="reflect", pre_emphasis=0.97),
    changed(SMALL, pre_emphasis=0.97),
    changed(SMALL, hop_length=700),
    changed(SMALL, hop_length=257, padding="reflect"),
]


def cut_at(waveform: np.ndarray, cuts: list[int]) -> Iterator[np.ndarray]:
    yield from np.split(waveform, sorted(cut for cut in cuts if cut <= len(waveform)))


class TestBlocks:
    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(BLOCK_SPECS), st.integers(1, 3000), st.lists(st.integers(0, 3000), max_size=12))
    def test_of_any_sizes_make_the_whole(self, spec: LogMelSpec, n_samples: int, cuts: list[int]) -> None:
        waveform = noise(n_samples)
        made = list(log_mel_blocks(cut_at(waveform, cuts), spec))
        np.testing.assert_allclose(np.concatenate(made, axis=1), log_mel(waveform, spec), atol=1e-3)
        assert {part.dtype for part in made} == {np.dtype(np.float32)}
        assert all(part.shape[1] for part in made)

    @pytest.mark.parametrize("spec", BLOCK_SPECS)
    @pytest.mark.parametrize("n_samples", [1, 2, 127, 128, 129, 130, 255, 256, 257, 500, 700, 701])
    def test_of_one_sample_make_the_whole(self, spec: LogMelSpec, n_samples: int) -> None:
        waveform = noise(n_samples)
        made = list(log_mel_blocks(np.split(waveform, n_samples), spec))
        np.testing.assert_allclose(np.concatenate(made, axis=1), log_mel(waveform, spec), atol=1e-3)

    def test_are_mirrored_as_far_as_the_last_frame_reaches(self) -> None:
        # half a transform before the end: the last frame hears its mirror image alone, with its last sample
        spec = changed(SMALL, padding="reflect", floor_db=-200.0)
        waveform = np.zeros(500, dtype=np.float32)
        waveform[499 - 128] = 1
        made = np.concatenate(list(log_mel_blocks(np.split(waveform, 5), spec)), axis=1)
        np.testing.assert_allclose(made, log_mel(waveform, spec), atol=1e-3)
        assert made[:, -1].min() > -190

    def test_come_as_soon_as_they_can(self) -> None:
        taken = []

        def blocks() -> Iterator[np.ndarray]:
            for i in range(10):
                taken.append(i)
                yield noise(800)

        next(log_mel_blocks(blocks(), SMALL))
        assert taken == [0]

    def test_double_precision_is_taken(self) -> None:
        halves = np.split(noise(2000).astype(np.float64), 2)
        made = np.concatenate(list(log_mel_blocks(halves, KALDIS)), axis=1)
        np.testing.assert_allclose(made, log_mel(noise(2000), KALDIS), atol=1e-3)

    @pytest.mark.parametrize("blocks", [[], [[]], [np.zeros(0), np.zeros(0)]])
    @pytest.mark.parametrize("spec", [SMALL, KALDIS])
    def test_without_a_sample(self, blocks: list[np.ndarray], spec: LogMelSpec) -> None:
        with pytest.raises(AudioError) as caught:
            list(log_mel_blocks(blocks, spec))
        assert str(caught.value) == "a recording has no sample; expected at least one"

    @pytest.mark.parametrize("spec", [SMALL, KALDIS])
    @pytest.mark.parametrize("shape", [(100, 2), (0, 2), ()])
    def test_of_another_shape(self, spec: LogMelSpec, shape: tuple[int, ...]) -> None:
        with pytest.raises(AudioError) as caught:
            list(log_mel_blocks([noise(1000), np.zeros(shape)], spec))
        assert (
            str(caught.value) == f"a waveform has shape {shape}; expected (n_samples,) with at least one; mix to mono"
        )


class TestErrors:
    @pytest.mark.parametrize("shape", [(0,), (2, 100), (100, 2), ()])
    def test_a_waveform_of_another_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(AudioError) as caught:
            log_mel(np.zeros(shape), SPEC)
        assert str(caught.value) == (
            f"a waveform has shape {shape}; expected (n_samples,) with at least one; mix to mono"
        )

    @pytest.mark.parametrize(("fmin", "fmax"), [(20.0, 16_001.0), (500.0, 500.0), (600.0, 500.0)])
    def test_frequencies_that_do_not_fit(self, fmin: float, fmax: float) -> None:
        with pytest.raises(ValueError, match="do not fit") as caught:
            LogMelSpec(fmin=fmin, fmax=fmax)
        assert str(caught.value) == (
            f"fmin {fmin:g} Hz and fmax {fmax:g} Hz do not fit: expected fmin < fmax <= 16000 Hz, half the sample rate"
        )

    def test_a_window_longer_than_the_transform(self) -> None:
        with pytest.raises(ValueError, match="longer") as caught:
            LogMelSpec(n_fft=1024, win_length=1025)
        assert str(caught.value) == "win_length 1025 is longer than n_fft 1024; make it that or less"

    @pytest.mark.parametrize("win_length", [1, 2, 15])
    def test_a_window_that_is_all_zeros_or_nearly(self, win_length: int) -> None:
        with pytest.raises(ValueError, match="too short") as caught:
            LogMelSpec(n_fft=1024, win_length=win_length)
        assert str(caught.value) == (
            f"win_length {win_length} is too short for a window; make it 16 or more, or 0 for n_fft 1024"
        )

    @pytest.mark.parametrize(
        ("key", "value", "text"),
        [
            ("n_fft", 8, "Expected `int` >= 16 - at `$.n_fft`"),
            ("hop_length", 0, "Expected `int` >= 1 - at `$.hop_length`"),
            ("n_mels", 0, "Expected `int` >= 1 - at `$.n_mels`"),
            ("floor_db", 3.0, "Expected `float` <= 0.0 - at `$.floor_db`"),
            ("n_mel", 64, "Object contains unknown field `n_mel`"),
            ("win_length", 2000, "win_length 2000 is longer than n_fft 1024; make it that or less"),
            ("win_length", -1, "Expected `int` >= 0 - at `$.win_length`"),
            ("pre_emphasis", 1.0, "Expected `float` < 1.0 - at `$.pre_emphasis`"),
            ("mel_scale", "bark", "Invalid enum value 'bark' - at `$.mel_scale`"),
            ("mel_norm", "slaney", "Invalid enum value 'slaney' - at `$.mel_norm`"),
            ("window", "hamming", "Invalid enum value 'hamming' - at `$.window`"),
            ("padding", "constant", "Invalid enum value 'constant' - at `$.padding`"),
            ("spectrum", "energy", "Invalid enum value 'energy' - at `$.spectrum`"),
            ("scale", "log", "Invalid enum value 'log' - at `$.scale`"),
            ("floor", "max", "Invalid enum value 'max' - at `$.floor`"),
        ],
    )
    def test_values_out_of_range(self, key: str, value: float, text: str) -> None:
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.convert({key: value}, LogMelSpec)
        assert str(caught.value) == text

    @pytest.mark.parametrize("spec", [SPEC, KALDIS])
    def test_a_specification_survives_json(self, spec: LogMelSpec) -> None:
        assert msgspec.json.decode(msgspec.json.encode(spec), type=LogMelSpec) == spec
