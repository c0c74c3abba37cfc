"""Short impacts: drums, hands, wood, clocks and keys."""

from __future__ import annotations

import numpy as np

from earmark.audio.synth.resonators import decays, noise_burst, strike
from earmark.audio.synth.rhythm import onsets, pick, scatter
from earmark.audio.synth.sources import band_noise, log_uniform

# The six square waves of the TR-808's cymbal and hi-hats, none a multiple of another (Werner, Abel and Smith,
# "The TR-808 cymbal: a physically-informed, circuit-bendable, digital model", ICMC/SMC 2014).
_METAL_HZ = np.array((205.3, 304.4, 369.6, 522.7, 540.0, 800.0))


def kick(frequency_hz: float, glide: float, glide_s: float, t60_s: float, sample_rate: int) -> np.ndarray:
    """One stroke on a bass drum: a decaying sine whose pitch falls.

    A hard stroke stretches the head, which raises its pitch until the motion has died down (Fletcher and
    Rossing, The Physics of Musical Instruments, 2nd ed. 1998, section 18.3; the TR-808's circuit does the same:
    Werner, Abel and Smith, "A physically-informed, circuit-bendable, digital model of the Roland TR-808 bass
    drum circuit", DAFx 2014). The frequency is ``f (1 + glide exp(-t / glide_s))``.

    Parameters
    ----------
    frequency_hz
        Where the pitch comes to rest.
    glide
        How far above it the pitch starts, as a share of it.
    glide_s
        Time constant of the fall.
    t60_s
        Time to fall by 60 dB, and the length of what is returned.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (t60_s x sample_rate,) float64 within [-1, 1].
    """
    times = np.arange(int(t60_s * sample_rate)) / sample_rate
    cycles = frequency_hz * (times + glide * glide_s * -np.expm1(-times / glide_s))
    return np.sin(2.0 * np.pi * cycles) * 1000.0 ** (-times / t60_s)


def _bass_drum(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A kick drum or a large drum, with more or less of the beater's click."""
    body = kick(
        log_uniform(rng, 38.0, 95.0),
        rng.uniform(0.2, 4.0),
        log_uniform(rng, 0.008, 0.06),
        log_uniform(rng, 0.2, 1.4),
        sample_rate,
    )
    click = noise_burst(rng, 300.0, log_uniform(rng, 800.0, 5000.0), log_uniform(rng, 0.01, 0.05), sample_rate)
    body[: len(click)] += log_uniform(rng, 0.03, 0.5) * click[: len(body)]
    starts = onsets(n_samples, rng, log_uniform(rng, 0.7, 5.0), rng.uniform(0.0, 0.3), sample_rate)
    return scatter(n_samples, starts, [body] * len(starts), rng.uniform(0.5, 1.0, len(starts)))


def cymbal(rng: np.random.Generator, cutoff_hz: float, noisiness: float, t60_s: float, sample_rate: int) -> np.ndarray:
    """One stroke on a hi-hat: inharmonic square waves and noise above a cutoff, decaying.

    Parameters
    ----------
    rng
        Source of the noise and of the pitch of the metal.
    cutoff_hz
        Where the band begins.
    noisiness
        In [0, 1]: 0 is the six square waves alone, 1 noise alone.
    t60_s
        Time to fall by 60 dB, and the length of what is returned: 0.1 s is closed, 1 s open.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (t60_s x sample_rate,) float64 of about unit level at its start.
    """
    n_samples = int(t60_s * sample_rate)
    times = np.arange(n_samples) / sample_rate
    pitches = _METAL_HZ * log_uniform(rng, 0.8, 2.0)
    metal = np.sign(np.sin(2.0 * np.pi * np.outer(pitches, times))).sum(axis=0)
    # Differences leave the steps of the squares, whose spectrum is flat and dense: a first-order high-pass.
    metal = np.diff(metal, prepend=0.0)
    hiss = band_noise(n_samples, rng, cutoff_hz, 18000.0, sample_rate)
    mixed = noisiness * hiss + (1.0 - noisiness) * metal * np.abs(hiss)
    return mixed * 1000.0 ** (-times / t60_s)


def _hi_hat(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A pattern of closed strokes with open ones between them."""
    cutoff_hz, noisiness = log_uniform(rng, 3500.0, 9000.0), rng.uniform(0.3, 0.95)
    closed = cymbal(rng, cutoff_hz, noisiness, log_uniform(rng, 0.05, 0.25), sample_rate)
    opened = cymbal(rng, cutoff_hz, noisiness, log_uniform(rng, 0.4, 1.6), sample_rate)
    starts = onsets(n_samples, rng, log_uniform(rng, 1.5, 9.0), rng.uniform(0.0, 0.15), sample_rate)
    is_open = rng.random(len(starts)) < rng.choice((0.0, 0.2, 0.9))
    strokes = [opened if each else closed for each in is_open]
    return scatter(n_samples, starts, strokes, rng.uniform(0.3, 1.0, len(starts)))


def _clapping(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """One to five people; each pair of hands has its own resonance and beat.

    A clap is a short noise burst through one resonance between 0.5 and 2.5 kHz that the hollow of the hands
    sets (Repp, "The sound of two hands clapping", JASA 1987; Peltola et al., "Synthesis of hand clapping
    sounds", IEEE TASLP 2007).
    """
    clip = np.zeros(n_samples)
    rate_hz = log_uniform(rng, 1.5, 5.0)
    for _ in range(rng.integers(1, 6)):
        centre_hz, quality = log_uniform(rng, 500.0, 2500.0), rng.uniform(1.0, 3.0)
        band = (centre_hz * (1.0 - 0.4 / quality), centre_hz * (1.0 + 0.8 / quality))
        t60_s = log_uniform(rng, 0.03, 0.09)
        claps = [noise_burst(rng, *band, t60_s, sample_rate) for _ in range(4)]
        for clap in claps:
            snap = noise_burst(rng, 1500.0, 10000.0, 0.008, sample_rate)
            clap[: len(snap)] += rng.uniform(0.1, 0.6) * snap
        starts = onsets(n_samples, rng, rate_hz * rng.uniform(0.9, 1.1), 0.12, sample_rate)
        level = rng.uniform(0.2, 1.0)
        clip += scatter(n_samples, starts, pick(claps, len(starts), rng), level * rng.uniform(0.6, 1.0, len(starts)))
    return clip


def _knock(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Groups of two to six blows on a wooden panel: a few heavily damped modes and the knuckle's contact."""
    lowest_hz, t60_s = log_uniform(rng, 70.0, 420.0), log_uniform(rng, 0.08, 0.35)
    frequencies = lowest_hz * np.concatenate(([1.0], np.sort(rng.uniform(1.3, 9.0, 7))))
    gains = rng.uniform(0.3, 1.0, len(frequencies)) * (frequencies / lowest_hz) ** -0.6
    panel = strike(int(t60_s * sample_rate), frequencies, decays(frequencies, t60_s, 0.5), gains, sample_rate)
    contact = noise_burst(rng, 400.0, log_uniform(rng, 1500.0, 6000.0), 0.015, sample_rate)
    panel[: len(contact)] += rng.uniform(0.1, 0.6) * contact
    blow_rate_hz = log_uniform(rng, 2.5, 8.0)
    starts = []
    for group in onsets(n_samples, rng, log_uniform(rng, 0.4, 1.0), 0.3, sample_rate):
        gaps = rng.normal(1.0, 0.06, rng.integers(2, 7)) * sample_rate / blow_rate_hz
        starts += [int(group + gap) for gap in np.cumsum(gaps) - gaps[0] if 0 <= group + gap < n_samples]
    return scatter(n_samples, starts, [panel] * len(starts), rng.uniform(0.5, 1.0, len(starts)))


def _tick_tock(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """An escapement: two alternating clicks of small metal parts in a case, as regular as a clock."""
    case_hz, case_t60_s = log_uniform(rng, 250.0, 1200.0), log_uniform(rng, 0.02, 0.12)
    clicks = []
    for _ in range(2):
        parts_hz = np.concatenate((log_uniform(rng, 1500.0, 6500.0) * rng.uniform(0.7, 1.6, 5), [case_hz]))
        lifetimes = np.append(np.exp(rng.uniform(np.log(0.006), np.log(0.05), 5)), case_t60_s)
        gains = np.append(rng.uniform(0.2, 1.0, 5), rng.uniform(0.1, 0.9))
        click = strike(int(0.12 * sample_rate), parts_hz, lifetimes, gains, sample_rate)
        contact = noise_burst(rng, 2000.0, 9000.0, 0.006, sample_rate)
        click[: len(contact)] += 0.5 * contact
        clicks.append(click * rng.uniform(0.5, 1.0))
    starts = onsets(n_samples, rng, log_uniform(rng, 1.6, 6.0), 0.0, sample_rate)
    return scatter(n_samples, starts, [clicks[i % 2] for i in range(len(starts))])


def _computer_keyboard(n_samples: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Typing: a press and, a little later and softer, a release; no two keys alike, no even beat."""
    low_hz, brightness = log_uniform(rng, 900.0, 2500.0), rng.uniform(2.0, 5.0)
    keys = []
    for _ in range(6):
        t60_s = log_uniform(rng, 0.012, 0.05)
        press = noise_burst(rng, low_hz * rng.uniform(0.8, 1.2), low_hz * brightness, t60_s, sample_rate)
        thump_hz = log_uniform(rng, 150.0, 500.0) * np.array((1.0, 1.8))
        thump = strike(int(0.04 * sample_rate), thump_hz, (0.04, 0.03), (1.0, 0.6), sample_rate)
        key = np.zeros(max(len(press), len(thump)))
        key[: len(press)] += press
        key[: len(thump)] += rng.uniform(0.2, 1.2) * thump
        keys.append(key)
    presses = onsets(n_samples, rng, log_uniform(rng, 3.5, 12.0), 0.5, sample_rate)
    releases = presses + (rng.uniform(0.05, 0.13, len(presses)) * sample_rate).astype(np.int64)
    starts = np.concatenate((presses, releases))
    gains = np.concatenate((rng.uniform(0.4, 1.0, len(presses)), rng.uniform(0.1, 0.5, len(releases))))
    inside = starts < n_samples
    return scatter(n_samples, starts[inside], pick(keys, int(inside.sum()), rng), gains[inside])


PERCUSSION = {
    "Bass_drum": _bass_drum,
    "Clapping": _clapping,
    "Computer_keyboard": _computer_keyboard,
    "Hi-hat": _hi_hat,
    "Knock": _knock,
    "Tick-tock": _tick_tock,
}
