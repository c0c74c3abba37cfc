"""What is drawn for a batch: always on the processor, so that a seed means the same on every device."""

from __future__ import annotations

import torch
from torch import Tensor


def chosen(n: int, probability: float, draws: torch.Generator) -> Tensor:
    """(n,) bool: each true with a probability."""
    return torch.rand(n, generator=draws) < probability


def signed(n: int, draws: torch.Generator) -> Tensor:
    """(n,) float32, uniform in [-1, 1)."""
    return torch.rand(n, generator=draws) * 2 - 1


def between(n: int, limits: tuple[float, float], draws: torch.Generator) -> Tensor:
    """(n,) float32, uniform between two limits."""
    return torch.lerp(torch.tensor(limits[0]), torch.tensor(limits[1]), torch.rand(n, generator=draws))


def folded_beta(n: int, alpha: float, draws: torch.Generator) -> Tensor:
    """(n,) float32 in [1/2, 1]: draws x from Beta(alpha, alpha), each as the larger of x and 1 - x."""
    # Joehnk's method needs rejection and torch.distributions takes no generator: two gammas by torch's own sampler do
    gammas = torch._standard_gamma(torch.full((2, n), alpha, dtype=torch.float64), generator=draws)
    share = (gammas[0] / gammas.sum(0).clamp(min=1e-300)).float()
    return torch.maximum(share, 1 - share)


def partners(n: int, draws: torch.Generator) -> Tensor:
    """(n,) int64: another one for each, and each for one other; of one, itself."""
    order = torch.randperm(n, generator=draws)  # along a random circle, nobody meets himself
    met = torch.empty_like(order)
    met[order] = order.roll(1)
    return met


def generator_on(device: torch.device, draws: torch.Generator) -> torch.Generator:
    """A generator on a device, for what is too much to be drawn on the processor, seeded from there."""
    return torch.Generator(device).manual_seed(int(torch.randint(1 << 62, (1,), generator=draws)))
