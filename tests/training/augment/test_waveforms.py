from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from earmark.training.augment.recipe import Noise, Polarity, Shift
from earmark.training.augment.waveforms import add_at_snr, coloured_noise, noise, polarity, shift

RATE = 8000
N = 200

Change = Callable[[torch.Tensor, float, torch.Generator], torch.Tensor]
CHANGES: dict[str, Change] = {
    "shift": lambda waveforms, p, draws: shift(waveforms, Shift(probability=p, max_s=0.05), RATE, draws),
    "polarity": lambda waveforms, p, draws: polarity(waveforms, Polarity(probability=p), draws),
    "noise": lambda waveforms, p, draws: noise(waveforms, Noise(probability=p), RATE, draws),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tones(n: int = N, n_samples: int = 1000) -> torch.Tensor:
    return 0.5 * torch.sin(2 * torch.pi * 440 / RATE * torch.arange(n_samples)).repeat(n, 1)


@pytest.mark.parametrize("name", CHANGES)
def test_each_keeps_shape_and_type_follows_the_seed_and_its_probability(name: str) -> None:
    change, waveforms = CHANGES[name], tones()
    runs = [change(waveforms.clone(), 0.5, seeded(seed)) for seed in (0, 0, 1)]
    assert runs[0].shape == waveforms.shape
    assert runs[0].dtype == torch.float32
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert 0.35 * N < (runs[0] != waveforms).any(1).sum() < 0.65 * N
    assert torch.equal(change(waveforms.clone(), 0.0, seeded()), waveforms)
    assert (change(waveforms.clone(), 1.0, seeded()) != waveforms).any(1).float().mean() > 0.98


def test_polarity_turns_upside_down() -> None:
    waveforms = tones()
    turned = polarity(waveforms.clone(), Polarity(probability=1.0), seeded())
    assert torch.equal(turned + waveforms, torch.zeros_like(waveforms))


def test_shift_moves_around_the_window_by_up_to_its_longest() -> None:
    clicks = torch.zeros(N, 1000)
    clicks[:, 20] = 1
    moved = shift(clicks, Shift(max_s=0.05), RATE, seeded())
    assert torch.equal(moved.sum(1), torch.ones(N))
    steps = (moved.argmax(1) - 20 + 500) % 1000 - 500
    assert steps.abs().max() <= 400
    assert steps.min() < -370
    assert steps.max() > 370


class TestSnr:
    def test_is_what_is_measured(self) -> None:
        waveforms, added = tones(3), torch.randn(3, 1000, generator=seeded())
        mixed = add_at_snr(waveforms.clone(), added, torch.tensor([0.0, 10.0, 30.0]))
        measured = 10 * torch.log10(waveforms.square().mean(1) / (mixed - waveforms).square().mean(1))
        torch.testing.assert_close(measured, torch.tensor([0.0, 10.0, 30.0]), atol=0.02, rtol=0)

    def test_silence_has_no_level(self) -> None:
        waveforms = torch.stack([torch.zeros(1000), tones(1)[0]])
        added = torch.stack([torch.ones(1000), torch.zeros(1000)])
        assert torch.equal(add_at_snr(waveforms.clone(), added, torch.zeros(2)), waveforms)


class TestNoise:
    def test_lies_below_the_waveform_by_what_the_recipe_says(self) -> None:
        waveforms = tones(N, 4000)
        added = noise(waveforms.clone(), Noise(probability=1.0, snr_db=(10.0, 20.0)), RATE, seeded()) - waveforms
        snr_db = 10 * torch.log10(waveforms.square().mean(1) / added.square().mean(1))
        assert 9.95 < snr_db.min() < 11
        assert 19 < snr_db.max() < 20.05

    @pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 2.0])
    def test_has_the_slope_of_its_colour(self, exponent: float) -> None:
        made = coloured_noise(torch.full((50,), exponent), RATE, RATE, seeded())
        density = torch.fft.rfft(made * torch.hann_window(RATE)).abs().square().mean(0)
        octaves = torch.stack([density[f : 2 * f].mean().log2() for f in (50, 100, 200, 400, 800, 1600)])
        torch.testing.assert_close(octaves.diff(), torch.full((5,), -exponent), atol=0.15, rtol=0)

    def test_is_of_unit_power_and_inaudible_below_its_lowest(self) -> None:
        made = coloured_noise(torch.tensor([0.0, 1.0, 2.0, -1.0]).repeat(20), 2 * RATE, RATE, seeded())
        assert made.shape == (80, 2 * RATE)
        assert made.dtype == torch.float32
        torch.testing.assert_close(made.square().view(20, 4, -1).mean((0, 2)), torch.ones(4), atol=0.1, rtol=0)
        power = torch.fft.rfft(made).abs().square()
        assert (power[:, : 2 * 19].sum(1) < 1e-4 * power.sum(1)).all()

    def test_colours_are_those_of_the_recipe(self) -> None:
        waveforms = tones(N, RATE)
        recipe = Noise(probability=1.0, exponents=(2.0, 2.0), snr_db=(0.0, 0.0))
        added = noise(waveforms.clone(), recipe, RATE, seeded()) - waveforms
        density = torch.fft.rfft(added).abs().square().mean(0)
        assert density[100:200].mean() / density[200:400].mean() == pytest.approx(4, rel=0.1)

    def test_every_waveform_has_a_noise_of_its_own(self) -> None:
        waveforms = tones(4)
        added = noise(waveforms.clone(), Noise(probability=1.0), RATE, seeded()) - waveforms
        correlation = torch.corrcoef(added) - torch.eye(4)
        assert correlation.abs().max() < 0.3

    @pytest.mark.parametrize("n_samples", [1, 2, 7])
    def test_of_hardly_any_length_is_finite(self, n_samples: int) -> None:
        assert torch.isfinite(noise(torch.ones(3, n_samples), Noise(probability=1.0), RATE, seeded())).all()
