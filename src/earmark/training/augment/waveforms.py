"""What is done to a batch of waveforms, (n, n_samples) float32, on the device where they are; all of it in place."""

from __future__ import annotations

import scipy.fft
import torch
from torch import Tensor

from earmark.training.augment.chance import between, chosen, generator_on, signed
from earmark.training.augment.recipe import Noise, Polarity, Shift

LOWEST_NOISE_HZ = 20.0
"""Coloured noise has nothing below, where nobody hears it and all the power of brown noise would be."""

SMALLEST_POWER = 1e-12
"""Mean square of what counts as silent, 120 dB below full scale: it has no level that a noise could lie below."""


def shift(waveforms: Tensor, recipe: Shift, sample_rate: int, draws: torch.Generator) -> Tensor:
    """Move each waveform that chance picks by up to `max_s`, either way; what leaves at one end enters at the other.

    Parameters
    ----------
    waveforms
        (n, n_samples).
    recipe
        How often, and how far.
    sample_rate
        In Hz.
    draws
        On the processor.

    Returns
    -------
    Tensor
        The same.
    """
    n, n_samples = waveforms.shape
    picked = chosen(n, recipe.probability, draws)
    steps = torch.round(signed(n, draws) * recipe.max_s * sample_rate).long() * picked
    if waveforms.device.type == "cpu":
        for waveform, step in zip(waveforms, steps.tolist(), strict=True):
            if step:
                waveform.copy_(waveform.roll(step))
        return waveforms
    places = torch.arange(n_samples, device=waveforms.device) - steps.to(waveforms.device)[:, None]
    return waveforms.copy_(waveforms.gather(1, places.remainder_(n_samples)))


def polarity(waveforms: Tensor, recipe: Polarity, draws: torch.Generator) -> Tensor:
    """Turn each of (n, n_samples) waveforms that chance picks upside down; (n, n_samples)."""
    signs = 1.0 - 2.0 * chosen(len(waveforms), recipe.probability, draws)
    return waveforms.mul_(signs.to(waveforms.device)[:, None])


def add_at_snr(waveforms: Tensor, added: Tensor, snr_db: Tensor) -> Tensor:
    """Add something to each waveform, so far below it.

    Parameters
    ----------
    waveforms
        (n, n_samples). One that is silent stays so, having no level for the other to lie below.
    added
        (n, n_samples) of any level; where it is silent, nothing is added.
    snr_db
        (n,): mean power of the whole waveform over that of what is added, in dB.

    Returns
    -------
    Tensor
        The same `waveforms`.
    """
    own, other = (values.square().mean(1) for values in (waveforms, added))
    factor = (own / other.clamp(min=SMALLEST_POWER)).sqrt() * 10 ** (-snr_db.to(own) / 20)
    heard = (own > SMALLEST_POWER) & (other > SMALLEST_POWER)
    return waveforms.addcmul_(added, torch.where(heard, factor, 0.0)[:, None])


def noise(waveforms: Tensor, recipe: Noise, sample_rate: int, draws: torch.Generator) -> Tensor:
    """Add noise of a random colour to each waveform that chance picks; see `add_at_snr`.

    Parameters
    ----------
    waveforms
        (n, n_samples).
    recipe
        How often, how far below the waveform, and of which colours.
    sample_rate
        In Hz.
    draws
        On the processor.

    Returns
    -------
    Tensor
        The same.
    """
    n, n_samples = waveforms.shape
    picked = torch.nonzero(chosen(n, recipe.probability, draws))[:, 0]
    snr_db, exponents = between(n, recipe.snr_db, draws), between(n, recipe.exponents, draws)
    own = generator_on(waveforms.device, draws)
    if not len(picked):
        return waveforms
    made = coloured_noise(exponents[picked], n_samples, sample_rate, own)
    if len(picked) == n:
        return add_at_snr(waveforms, made, snr_db)
    waveforms[picked] = add_at_snr(waveforms[picked], made, snr_db[picked])
    return waveforms


def coloured_noise(exponents: Tensor, n_samples: int, sample_rate: int, own: torch.Generator) -> Tensor:
    """Gaussian noise with a power density of 1 / f^a, made as its spectrum.

    J. Timmer and M. König, *On generating power law noise*, Astronomy and Astrophysics 300, 1995; the density is 0
    below `LOWEST_NOISE_HZ`.

    Parameters
    ----------
    exponents
        (n,): a of each.
    n_samples
        Length.
    sample_rate
        In Hz.
    own
        On the device that the noise is to be on.

    Returns
    -------
    Tensor
        (n, n_samples) float32 of unit power, as far as a finite draw has it.
    """
    device = own.device
    n_fft = 2 * scipy.fft.next_fast_len((n_samples + 1) // 2)
    frequencies = torch.fft.rfftfreq(n_fft, 1 / sample_rate, device=device)
    heard = frequencies >= LOWEST_NOISE_HZ
    octaves = (frequencies / LOWEST_NOISE_HZ).clamp(min=1.0).log2()
    amplitude = torch.exp2(octaves * (-exponents.to(device)[:, None] / 2)) * heard
    # each bin's two parts have its amplitude as deviation, and each bin but the outer ones stands for two
    amplitude *= n_fft / amplitude.square().sum(1, keepdim=True).clamp(min=1e-30).sqrt() / 2
    parts = torch.randn(len(exponents), len(frequencies), 2, generator=own, device=device).mul_(amplitude[..., None])
    return torch.fft.irfft(torch.view_as_complex(parts), n_fft)[:, :n_samples]
