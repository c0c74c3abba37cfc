"""What rings when it is struck: modes that decay, and the mode ratios of bars, shells, plates and bells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earmark.audio.synth.sources import HIGHEST_SHARE_OF_RATE, band_noise

# A thousandfold in amplitude is 60 dB.
_LOG_60_DB = float(np.log(1000.0))

# Roots of cosh(x) cos(x) = 1; the bending modes of a free uniform bar go with their squares
# (Fletcher and Rossing, The Physics of Musical Instruments, 2nd ed. 1998, section 2.15).
FREE_BAR_ROOTS = (4.730041, 7.853205, 10.995608, 14.137165, 17.278760)
FREE_BAR_RATIOS = tuple((root / FREE_BAR_ROOTS[0]) ** 2 for root in FREE_BAR_ROOTS)
# An arch cut under a wooden bar tunes its second mode to the double octave (marimba) or the twelfth
# (xylophone) (Fletcher and Rossing 1998, sections 19.3 and 19.5).
MARIMBA_RATIOS = (1.0, 4.0, 9.2, 16.2)
XYLOPHONE_RATIOS = (1.0, 3.0, 6.0, 11.0)
# Hum, prime, tierce, quint, nominal, deciem, undeciem, duodeciem and upper octave of a tuned bell, over
# the prime (Fletcher and Rossing 1998, section 21.2).
CHURCH_BELL_RATIOS = (0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.67, 3.0, 4.0)
# Inextensional modes of a thin hemispherical shell (Rayleigh, The Theory of Sound, 2nd ed. 1894, section 235).
HEMISPHERE_RATIOS = (1.0, 2.8102, 5.4316, 8.8387, 13.0204)


def strike(
    n_samples: int,
    frequencies_hz: Sequence[float] | np.ndarray,
    t60s_s: Sequence[float] | np.ndarray,
    gains: Sequence[float] | np.ndarray,
    sample_rate: int,
) -> np.ndarray:
    """The sound of a struck body as a sum of exponentially decaying modes.

    Each mode is ``gain sin(2 pi f t) 1000^(-t / t60)`` (modal synthesis: Adrien 1991; van den Doel and Pai,
    "The sounds of physical shapes", Presence 1998). The exponential of a sum of two times is a product, so
    all modes together are one matrix product of coarse steps by fine steps.

    Parameters
    ----------
    n_samples
        Length, from the stroke on.
    frequencies_hz
        (n_modes,) mode frequencies; those above 0.45 of the sample rate are left out.
    t60s_s
        (n_modes,) times in which each mode falls by 60 dB.
    gains
        (n_modes,) amplitudes.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (n_samples,) float64.
    """
    frequencies = np.asarray(frequencies_hz, dtype=np.float64)
    heard = frequencies < HIGHEST_SHARE_OF_RATE * sample_rate
    rates = (2j * np.pi * frequencies[heard] - _LOG_60_DB / np.asarray(t60s_s)[heard]) / sample_rate
    n_fine = int(np.sqrt(n_samples)) + 1
    coarse = np.exp(np.outer(np.arange(n_fine) * n_fine, rates)) * np.asarray(gains)[heard]
    fine = np.exp(np.outer(rates, np.arange(n_fine)))
    return (coarse.imag @ fine.real + coarse.real @ fine.imag).reshape(-1)[:n_samples]


def decays(frequencies_hz: Sequence[float] | np.ndarray, t60_s: float, slope: float) -> np.ndarray:
    """Decay times that shorten with frequency: ``t60 (f / f_lowest)^-slope``.

    Parameters
    ----------
    frequencies_hz
        (n_modes,) mode frequencies.
    t60_s
        Of the lowest mode.
    slope
        0 for the same decay at all frequencies; about 0.5 for metal, 1 and more for wood.

    Returns
    -------
    np.ndarray
        (n_modes,) in seconds.
    """
    frequencies = np.asarray(frequencies_hz, dtype=np.float64)
    return t60_s * (frequencies / frequencies.min()) ** -slope


def noise_burst(rng: np.random.Generator, low_hz: float, high_hz: float, t60_s: float, sample_rate: int) -> np.ndarray:
    """Band-passed noise that decays at once: a contact, a clap, a click.

    Parameters
    ----------
    rng
        Source of the noise.
    low_hz, high_hz
        The band.
    t60_s
        Time to fall by 60 dB; also the length of what is returned.
    sample_rate
        In Hz.

    Returns
    -------
    np.ndarray
        (max(16, t60_s x sample_rate),) float64, of about unit level at its start.
    """
    n_samples = max(16, int(t60_s * sample_rate))
    envelope = np.exp(-_LOG_60_DB * np.arange(n_samples) / (t60_s * sample_rate))
    return band_noise(n_samples, rng, low_hz, high_hz, sample_rate) * envelope
