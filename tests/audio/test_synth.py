"""Synthesised sounds: shape, range and seed of each label, and physics of the models behind them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.signal import find_peaks

from earmark.audio.synth import LABELS, mix, record_badly, synthesize
from earmark.audio.synth.air import reed_amplitudes
from earmark.audio.synth.bells import bar
from earmark.audio.synth.catalog import GENERATORS
from earmark.audio.synth.creatures import chirp, cricket_pulses
from earmark.audio.synth.percussion import cymbal, kick
from earmark.audio.synth.resonators import (
    CHURCH_BELL_RATIOS,
    FREE_BAR_RATIOS,
    FREE_BAR_ROOTS,
    HEMISPHERE_RATIOS,
    decays,
    noise_burst,
    strike,
)
from earmark.audio.synth.rhythm import onsets, pick, scatter
from earmark.audio.synth.rooms import background, impulse_response, record, to_peak
from earmark.audio.synth.sources import band_noise, drift, fade, log_uniform, oscillate
from earmark.audio.synth.strings import pluck_burst, string
from earmark.audio.synth.water import bubble
from earmark.errors import AudioError, LabelError

RATE = 44100
CONTEST_LABELS = (
    "Accelerating_and_revving_and_vroom Accordion Acoustic_guitar Applause Bark Bass_drum Bass_guitar "
    "Bathtub_(filling_or_washing) Bicycle_bell Burping_and_eructation Bus Buzz Car_passing_by Cheering "
    "Chewing_and_mastication Child_speech_and_kid_speaking Chink_and_clink Chirp_and_tweet Church_bell Clapping "
    "Computer_keyboard Crackle Cricket Crowd Cupboard_open_or_close Cutlery_and_silverware Dishes_and_pots_and_pans "
    "Drawer_open_or_close Drip Electric_guitar Fart Female_singing Female_speech_and_woman_speaking "
    "Fill_(with_liquid) Finger_snapping Frying_(food) Gasp Glockenspiel Gong Gurgling Harmonica Hi-hat Hiss "
    "Keys_jangling Knock Male_singing Male_speech_and_man_speaking Marimba_and_xylophone Mechanical_fan Meow "
    "Microwave_oven Motorcycle Printer Purr Race_car_and_auto_racing Raindrop Run Scissors Screaming Shatter Sigh "
    "Sink_(filling_or_washing) Skateboard Slam Sneeze Squeak Stream Strum Tap Tick-tock Toilet_flush "
    "Traffic_noise_and_roadway_noise Trickle_and_dribble Walk_and_footsteps Water_tap_and_faucet Waves_and_surf "
    "Whispering Writing Yell Zipper_(clothing)"
)


def power_spectrum(sound: np.ndarray, rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz, and the power at each, with a Hann window and a resolution of 0.5 Hz or better."""
    n_fft = max(len(sound), 2 * rate)
    return np.fft.rfftfreq(n_fft, 1 / rate), np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n_fft)) ** 2


def centroid_hz(sound: np.ndarray) -> float:
    frequencies, power = power_spectrum(sound)
    return float(np.sum(frequencies * power) / np.sum(power))


def strongest_hz(sound: np.ndarray, low_hz: float = 0.0, high_hz: float = np.inf) -> float:
    frequencies, power = power_spectrum(sound)
    power[(frequencies < low_hz) | (frequencies > high_hz)] = 0.0
    return float(frequencies[np.argmax(power)])


def fall_db(sound: np.ndarray, first_s: float, second_s: float, width_s: float = 0.05) -> float:
    """By how many dB the level around the second time lies below that around the first."""
    levels = [np.mean(sound[int(t * RATE) : int((t + width_s) * RATE)] ** 2) for t in (first_s, second_s)]
    return float(10 * np.log10(levels[0] / levels[1]))


class TestLabels:
    def test_are_of_the_contest_and_in_its_order(self):
        assert len(LABELS) >= 18
        assert list(LABELS) == [label for label in CONTEST_LABELS.split() if label in LABELS]

    @pytest.mark.parametrize("label", LABELS)
    def test_length_dtype_range_and_seed(self, label):
        clips = [synthesize(label, np.random.default_rng(5), duration_s=0.8) for _ in range(2)]
        other = synthesize(label, np.random.default_rng(6), duration_s=0.8)
        assert clips[0].shape == (35280,)
        assert clips[0].dtype == np.float32
        assert np.isfinite(clips[0]).all()
        assert 10 ** (-26.01 / 20) <= np.abs(clips[0]).max() <= 10 ** (-0.99 / 20)
        np.testing.assert_array_equal(clips[0], clips[1])
        assert not np.array_equal(clips[0], other)

    @pytest.mark.parametrize("label", LABELS)
    @pytest.mark.parametrize("rate", [16000, 48000])
    def test_dry_sound_is_never_silent_at_any_rate_and_length(self, label, rate):
        for seed, duration_s in enumerate((0.1, 0.33, 1.0)):
            n_samples = round(duration_s * rate)
            dry = GENERATORS[label](n_samples, np.random.default_rng(seed), rate)
            assert dry.shape == (n_samples,)
            assert np.isfinite(dry).all()
            assert np.sqrt(np.mean(dry**2)) > 1e-4

    def test_durations_are_drawn_between_bounds(self):
        rng = np.random.default_rng(0)
        lengths = [len(synthesize("Cricket", rng, sample_rate=16000)) / 16000 for _ in range(30)]
        assert 0.8 <= min(lengths) < 1.4
        assert 3.2 < max(lengths) <= 4.0

    def test_unknown_label_names_the_nearest(self):
        with pytest.raises(LabelError, match=r"label 'Criket' is not in the vocabulary; did you mean 'Cricket'\?"):
            synthesize("Criket", np.random.default_rng(0))

    @pytest.mark.parametrize("duration_s", [0.0, -1.0, 0.05, np.nan, np.inf])
    def test_bad_duration(self, duration_s):
        with pytest.raises(AudioError, match=r"cannot be synthesised: expected a finite 0.1 s or more; ask for"):
            synthesize("Hiss", np.random.default_rng(0), duration_s=duration_s)

    def test_low_sample_rate(self):
        with pytest.raises(AudioError, match=r"8000 Hz is too low to synthesise at: expected 16000 Hz or more; synth"):
            synthesize("Hiss", np.random.default_rng(0), sample_rate=8000)


class TestStrings:
    @pytest.mark.parametrize("frequency_hz", [41.2, 110.0, 329.63, 661.7])
    def test_sounds_at_the_asked_pitch(self, frequency_hz):
        rng = np.random.default_rng(0)
        excitation = np.zeros(2 * RATE)
        burst = pluck_burst(rng, frequency_hz, 0.5, 0.13, RATE)
        excitation[: len(burst)] = burst
        sound = string(excitation, frequency_hz, 4.0, 0.1, RATE)
        # The tenth harmonic tells a tenth of the error that one FFT bin of the first would hide.
        tenth = strongest_hz(sound, 9.7 * frequency_hz, 10.3 * frequency_hz) / 10
        assert strongest_hz(sound, 0.7 * frequency_hz, 1.3 * frequency_hz) == pytest.approx(frequency_hz, abs=0.6)
        assert tenth == pytest.approx(frequency_hz, rel=0.002)

    def test_is_the_recursion_it_says(self):
        excitation = np.random.default_rng(0).standard_normal(400)
        damping, frequency_hz = 0.2, RATE / 30.25
        sound = string(excitation, frequency_hz, 1.0, damping, RATE)
        gain = 10 ** (-3.0 / frequency_hz)
        loop = gain * np.convolve((0.2, 0.6, 0.2), (0.75, 0.25))
        slow = np.zeros(500)
        for n in range(400):
            slow[n + 100] = excitation[n] + sum(tap * slow[n + 100 - 29 - k] for k, tap in enumerate(loop))
        np.testing.assert_allclose(sound, slow[100:], atol=1e-10)

    def test_falls_by_60_db_in_its_t60(self):
        excitation = np.zeros(RATE)
        excitation[:401] = np.sin(2 * np.pi * 110 * np.arange(401) / RATE)
        assert fall_db(string(excitation, 110.0, 1.0, 0.1, RATE), 0.1, 0.6) == pytest.approx(30.0, abs=2.0)

    def test_highs_die_sooner_the_more_it_is_damped(self):
        impulse = np.eye(1, RATE)[0]
        # A period of exactly 400 samples, so that the interpolation takes no highs.
        late_hz = [
            centroid_hz(string(impulse, RATE / 400, 2.0, damping, RATE)[RATE // 2 :]) for damping in (0, 0.05, 0.25)
        ]
        assert late_hz[0] > 10000.0
        assert late_hz[0] > 3 * late_hz[1] > 4.5 * late_hz[2]

    def test_plucking_in_the_middle_mutes_even_harmonics(self):
        # A period of exactly 400 samples, halved: the comb's zeros fall on the even harmonics.
        rng = np.random.default_rng(0)
        spectrum = np.mean(
            [np.abs(np.fft.rfft(pluck_burst(rng, RATE / 400, 1.0, 0.5, RATE), 800)) ** 2 for _ in range(50)], axis=0
        )
        assert spectrum[4:40:4].max() < 1e-3 * spectrum[2:40:4].mean()


class TestResonators:
    def test_strike_is_the_sum_it_says(self):
        times = np.arange(1001) / RATE
        expected = 0.5 * np.sin(2 * np.pi * 440 * times) * 1000 ** (-times / 0.2)
        expected += 0.3 * np.sin(2 * np.pi * 1234.5 * times) * 1000 ** (-times / 0.05)
        sound = strike(1001, [440.0, 1234.5, 30000.0], [0.2, 0.05, 1.0], [0.5, 0.3, 1.0], RATE)
        np.testing.assert_allclose(sound, expected, atol=1e-10)

    def test_decays_shorten_with_frequency(self):
        np.testing.assert_allclose(decays([400.0, 100.0, 200.0], 2.0, 0.5), [1.0, 2.0, 2.0**0.5])

    def test_free_bar_roots_solve_the_equation_of_the_bar(self):
        for rank, root in enumerate(FREE_BAR_ROOTS, start=1):
            near = (rank + 0.5) * np.pi
            # Divided by cosh, which overflows nothing and moves no root.
            exact = brentq(lambda x: np.cos(x) - 1 / np.cosh(x), near - 0.4, near + 0.4)
            assert root == pytest.approx(exact, abs=1e-5)

    def test_hemisphere_ratios_are_rayleighs(self):
        def mode_hz(n: int) -> float:
            stiffness = quad(lambda t: np.tan(t / 2) ** (2 * n) / np.sin(t) ** 3, 1e-9, np.pi / 2)[0]
            mass = quad(
                lambda t: np.tan(t / 2) ** (2 * n) * (2 * np.sin(t) ** 2 + (n + np.cos(t)) ** 2) * np.sin(t),
                0,
                np.pi / 2,
            )[0]
            return (n**3 - n) * np.sqrt(stiffness / mass)

        np.testing.assert_allclose(HEMISPHERE_RATIOS, [mode_hz(n) / mode_hz(2) for n in range(2, 7)], rtol=1e-4)

    def test_struck_bar_peaks_at_its_mode_ratios(self):
        sound = bar(RATE, 1000.0, FREE_BAR_RATIOS, 2.0, 20.0, RATE)
        frequencies, power = power_spectrum(sound)
        # A decaying sine is only some 1e5 times above the skirts of its neighbours.
        peaks, _ = find_peaks(power, height=1e-5 * power.max(), distance=400)
        np.testing.assert_allclose(frequencies[peaks], [1000.0, 2756.5, 5403.9, 8932.9, 13344.3], rtol=1e-3)

    def test_church_bell_has_a_hum_an_octave_below_and_a_minor_third(self):
        assert CHURCH_BELL_RATIOS[0] == 0.5
        assert CHURCH_BELL_RATIOS[2] == pytest.approx(2 ** (3 / 12), abs=0.02)

    def test_noise_burst_keeps_to_its_band_and_decays(self):
        burst = noise_burst(np.random.default_rng(0), 1000.0, 3000.0, 0.5, RATE)
        assert len(burst) == RATE // 2
        assert 1000.0 < centroid_hz(burst) < 3000.0
        assert fall_db(burst, 0.0, 0.25) == pytest.approx(30.0, abs=3.0)


class TestPercussion:
    def test_kick_glides_down_to_its_pitch(self):
        sound = kick(50.0, 3.0, 0.02, 1.0, RATE)
        crossings = np.flatnonzero((sound[:-1] <= 0) & (sound[1:] > 0)) / RATE
        pitches = 1 / np.diff(crossings)
        assert pitches[0] > 100.0
        assert pitches[-1] == pytest.approx(50.0, rel=0.02)
        assert np.all(np.diff(pitches[:5]) < 0)

    def test_hi_hat_is_high_and_an_open_one_rings_longer(self):
        rng = np.random.default_rng(0)
        closed, opened = (cymbal(rng, 6000.0, 0.8, t60_s, RATE) for t60_s in (0.1, 1.0))
        for stroke in (closed, opened):
            frequencies, power = power_spectrum(stroke)
            assert power[frequencies < 3000].sum() < 0.05 * power.sum()
        assert len(opened) == 10 * len(closed)
        assert fall_db(opened, 0.0, 0.5) == pytest.approx(30.0, abs=3.0)

    def test_hi_hat_lies_above_bass_drum_in_whole_clips(self):
        rng = np.random.default_rng(0)
        centroids = {
            label: [centroid_hz(GENERATORS[label](RATE, rng, RATE)) for _ in range(8)]
            for label in ("Hi-hat", "Bass_drum")
        }
        assert min(centroids["Hi-hat"]) > 3000.0
        assert max(centroids["Bass_drum"]) < 1500.0

    def test_clock_is_regular_and_typing_is_not(self):
        def irregularity(label: str, seed: int) -> float:
            sound = np.abs(GENERATORS[label](3 * RATE, np.random.default_rng(seed), RATE))
            envelope = np.convolve(sound, np.ones(441), mode="same")
            peaks, _ = find_peaks(envelope, height=0.3 * envelope.max(), distance=int(0.08 * RATE))
            intervals = np.diff(peaks)
            return float(np.std(intervals) / np.mean(intervals))

        clocks = [irregularity("Tick-tock", seed) for seed in range(6)]
        typists = [irregularity("Computer_keyboard", seed) for seed in range(6)]
        assert max(clocks) < 0.1 < min(typists)


class TestWaterAirAndCreatures:
    @pytest.mark.parametrize("radius_m", [0.001, 0.003])
    def test_bubble_rings_at_minnaerts_pitch(self, radius_m):
        assert strongest_hz(bubble(radius_m, 0.0, RATE)) == pytest.approx(3.0 / radius_m, rel=0.01)

    def test_bubble_rises_and_large_ones_ring_longer(self):
        sound = bubble(0.003, 0.2, RATE)
        half = len(sound) // 2
        assert strongest_hz(sound[half:]) > 1.2 * strongest_hz(sound[: half // 2])
        assert len(bubble(0.006, 0.0, RATE)) > 1.5 * len(bubble(0.003, 0.0, RATE))

    @pytest.mark.parametrize("band_hz", [(100, 400), (1200, 2400)])
    def test_surf_swells_low_and_high_and_a_stream_does_not(self, band_hz):
        def swell_db(label: str) -> float:
            """Range of the band's level over windows of half a second."""
            sound = GENERATORS[label](6 * RATE, np.random.default_rng(1), RATE)
            power = np.abs(np.fft.rfft(sound.reshape(12, -1))) ** 2
            levels = 10 * np.log10(power[:, band_hz[0] // 2 : band_hz[1] // 2].sum(axis=1))
            return float(np.ptp(levels))

        assert swell_db("Waves_and_surf") > 10.0 > swell_db("Stream")

    def test_cricket_sings_between_three_and_a_half_and_six_kilohertz(self):
        for seed in range(8):
            assert 3300.0 < strongest_hz(GENERATORS["Cricket"](RATE, np.random.default_rng(seed), RATE)) < 6000.0

    def test_cricket_pulses_can_be_counted(self):
        call = cricket_pulses(4, 4500.0, 30.0, RATE)
        envelope = np.convolve(np.abs(call), np.ones(220) / 220, mode="same")
        peaks, _ = find_peaks(envelope, prominence=0.1)
        assert len(call) == int(4 / 30 * RATE)
        assert len(peaks) == 4
        assert np.all(np.diff(envelope[peaks]) > 0)

    def test_chirp_passes_through_its_three_pitches(self):
        sound = chirp(3000.0, 5000.0, 4000.0, 0.3, RATE)
        crossings = np.flatnonzero((sound[:-1] <= 0) & (sound[1:] > 0)) / RATE
        times, pitches = crossings[1:], 1 / np.diff(crossings)
        for at_s, pitch_hz in ((0.01, 3240.0), (0.15, 5000.0), (0.29, 4110.0)):
            near = np.abs(times - at_s) < 0.008
            assert np.mean(pitches[near]) == pytest.approx(pitch_hz, rel=0.04)

    def test_reed_is_louder_at_its_formant(self):
        amplitudes = reed_amplitudes(1.0, 1600.0, 200.0)
        assert np.sum(amplitudes**2) == pytest.approx(1.0)
        assert amplitudes[7] / amplitudes[0] == pytest.approx(2 / 8, rel=0.01)


class TestSourcesAndRhythm:
    def test_oscillator_has_the_harmonics_it_is_given_and_no_more(self):
        sound = oscillate(500.0, np.array([1.0, 0.0, 0.5]), RATE, RATE)
        spectrum = np.abs(np.fft.rfft(sound)) * 2 / RATE
        assert spectrum[500] == pytest.approx(1.0, abs=1e-3)
        assert spectrum[1500] == pytest.approx(0.5, abs=1e-3)
        assert spectrum[1000] < 1e-3

    def test_oscillator_leaves_out_what_would_alias(self):
        spectrum = np.abs(np.fft.rfft(oscillate(9000.0, np.ones(60), RATE, RATE))) * 2 / RATE
        np.testing.assert_allclose(spectrum[[9000, 18000]], 1.0, atol=0.01)
        # Where the third and fourth harmonic would be folded to.
        assert spectrum[[RATE - 27000, RATE - 36000]].max() < 0.01

    def test_noise_keeps_to_its_band(self):
        noise = band_noise(RATE, np.random.default_rng(0), 1000.0, 2000.0, RATE)
        frequencies, power = power_spectrum(noise)
        inside = power[(frequencies > 700) & (frequencies < 2900)].sum()
        assert inside > 0.95 * power.sum()
        assert np.mean(noise**2) == pytest.approx(1.0)

    def test_drift_and_log_uniform_keep_to_their_ranges(self):
        rng = np.random.default_rng(0)
        curve = drift(RATE, rng, 5.0, RATE)
        assert curve.shape == (RATE,)
        assert np.abs(curve).max() <= 1.0
        assert np.abs(np.diff(curve)).max() <= 2 * 5.0 / RATE + 1e-12
        draws = [log_uniform(rng, 10.0, 1000.0) for _ in range(400)]
        assert 10.0 <= min(draws) <= max(draws) < 1000.0
        assert np.median(draws) == pytest.approx(100.0, rel=0.35)

    def test_fade_closes_both_ends(self):
        faded = fade(np.ones(1000), 0.1, 0.2, 1000)
        assert faded[0] == faded[-1] == pytest.approx(0.0, abs=1e-12)
        np.testing.assert_array_equal(faded[100:800], 1.0)

    def test_onsets_regular_and_random(self):
        rng = np.random.default_rng(0)
        clock = onsets(100_000, rng, 10.0, 0.0, 1000)
        assert set(np.diff(clock)) <= {99, 100, 101}
        for jitter in (0.3, 1.0):
            intervals = np.diff(onsets(1_000_000, rng, 10.0, jitter, 1000))
            assert np.mean(intervals) == pytest.approx(100.0, rel=0.1)
            assert np.std(intervals) == pytest.approx(100.0 * jitter, rel=0.15)
        assert all(len(onsets(50, rng, 0.1, 0.5, 1000)) == 1 for _ in range(20))

    def test_scatter_adds_and_cuts_at_the_end(self):
        clip = scatter(5, [0, 1, 4], [np.ones(2), np.ones(2), np.ones(9)], np.array([1.0, 2.0, 3.0]))
        np.testing.assert_array_equal(clip, [1.0, 3.0, 2.0, 0.0, 3.0])
        np.testing.assert_array_equal(scatter(2, [], []), [0.0, 0.0])

    def test_pick_draws_every_variant(self):
        variants = [np.zeros(1), np.ones(1)]
        drawn = pick(variants, 30, np.random.default_rng(0))
        assert {float(each[0]) for each in drawn} == {0.0, 1.0}


class TestRooms:
    def test_tail_decays_and_has_the_asked_energy(self):
        room = impulse_response(np.random.default_rng(0), 1.0, 6.0, RATE)
        assert room[0] == 1.0
        assert 10 * np.log10(1 / np.sum(room[1:].astype(float) ** 2)) == pytest.approx(6.0, abs=0.01)
        assert fall_db(room.astype(float), 0.01, 0.51) == pytest.approx(30.0, abs=1.5)

    def test_background_has_unit_level_and_varied_colour(self):
        noises = [background(RATE, np.random.default_rng(seed)) for seed in range(12)]
        np.testing.assert_allclose([np.mean(noise**2) for noise in noises], 1.0, rtol=1e-3)
        centroids = [centroid_hz(noise) for noise in noises]
        assert max(centroids) > 4 * min(centroids)

    def test_background_follows_the_asked_ratio(self):
        sound = np.zeros(RATE)
        sound[: RATE // 2] = np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)
        for snr_db in (5.0, 25.0):
            heard = record(sound, np.random.default_rng(0), RATE, snr_db=(snr_db, snr_db)).astype(float)
            signal, noise = np.mean(heard[: RATE // 3] ** 2), np.mean(heard[-RATE // 8 :] ** 2)
            # The sound fills half of the clip, so it is 3 dB over its mean while it lasts.
            assert 10 * np.log10((signal - noise) / noise) == pytest.approx(snr_db + 3.0, abs=0.7)

    def test_bad_recording_loses_its_highs_and_repeats_with_its_seed(self):
        sound = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
        bad = record_badly(sound, np.random.default_rng(1), RATE)
        frequencies, power = power_spectrum(bad)
        assert power[frequencies > 15000].sum() < 0.02 * power.sum()
        assert bad.dtype == np.float32
        assert 10 ** (-12.01 / 20) <= np.abs(bad).max() <= 10 ** (-0.99 / 20)
        np.testing.assert_array_equal(bad, record_badly(sound, np.random.default_rng(1), RATE))

    def test_to_peak(self):
        np.testing.assert_allclose(to_peak(np.array([1.0, -4.0]), -20.0), [0.025, -0.1], rtol=1e-6)


class TestMix:
    def test_both_are_heard(self):
        times = np.arange(RATE) / RATE
        low = np.sin(2 * np.pi * 200 * times).astype(np.float32)
        high = np.sin(2 * np.pi * 3000 * times[: RATE // 2]).astype(np.float32)
        for first, second in ((low, high), (high, low)):
            both = mix(first, second, np.random.default_rng(0))
            assert both.shape == (RATE,)
            assert both.dtype == np.float32
            assert 0.09 < np.abs(both).max() < 0.9
            frequencies, power = power_spectrum(both)
            shares = [power[np.abs(frequencies - f) < 20].sum() / power.sum() for f in (200, 3000)]
            assert min(shares) > 0.05

    def test_repeats_with_its_seed(self):
        clip = synthesize("Gong", np.random.default_rng(0), duration_s=0.5)
        mixes = [mix(clip, clip[:1000], np.random.default_rng(3)) for _ in range(2)]
        np.testing.assert_array_equal(*mixes)
