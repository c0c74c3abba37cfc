"""The last layer solved instead of learned: logistic regression on what the layers before it make of each clip.

A linear probe, as Alain and Bengio (*Understanding intermediate layers using linear classifier probes*, ICLR 2017
workshop) call it. Its loss has one minimum, which is found in seconds and depends on no rate, no seed and no order of
the clips. A training that goes on from there disturbs the layers before it less than one whose last layer is random:
Kumar et al., *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*, ICLR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from earmark.training.feed import Feed
from earmark.training.models import TaggingNetwork
from earmark.training.pictures import Pictures
from earmark.training.recipe import Recipe
from earmark.training.scoring import WINDOWS_PER_BATCH

N_ITERATIONS = 200
TOLERANCE = 1e-6
LEAST_SPREAD = 1e-6
"""A feature whose standard deviation is less says nothing, and is not divided by it."""


def solve_head(network: TaggingNetwork, feed: Feed, recipe: Recipe, device: torch.device) -> None:
    """Solve the last layer of a network for the clips it is to learn, and leave all others as they are.

    Every window that scores a clip counts for what its scores do, so that a clip counts once, however long it is; noisy
    clips count for `NoisyRecipe.rate` of the others together, where that is not 0.

    Parameters
    ----------
    network
        Whose last linear layer is replaced; it ends on `device`, in the mode that it was in.
    feed
        Of pictures, which are taken as they are.
    recipe
        How windows lie; `FitRecipe.head_penalty`.
    device
        Where to compute.
    """
    features, clips, weights = _features(network, feed, recipe, device)
    if recipe.noisy.rate and feed.n_noisy:
        share = recipe.noisy.rate * feed.n_others / feed.n_noisy
        weights = torch.where(clips < feed.n_others, weights, share * weights)
    targets = feed.targets.to(device)[clips.to(device)]
    weight, bias = solved(features, targets, weights.to(device), recipe.fit.head_penalty)
    with torch.no_grad():
        last = last_layer(network)
        last.weight.copy_(weight)
        last.bias.copy_(bias)


def last_layer(network: nn.Module) -> nn.Linear:
    """The layer that makes the logits."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


@torch.no_grad()
def _features(
    network: TaggingNetwork, feed: Feed, recipe: Recipe, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """What the last layer is given for every window, (n, n_features); its clip, and what it counts for."""
    assert isinstance(feed.source, Pictures)  # a recipe with a solved head changes no waveform
    was_training, seen = network.training, []
    network.to(device).eval()
    feed.source.to(device)
    clips, starts, weights = feed.source.all_windows(recipe.window_frames, recipe.hop_frames, recipe.windows_weight)
    hook = last_layer(network).register_forward_pre_hook(lambda _, given: seen.append(given[0].float()))
    with hook:
        for some, at in zip(torch.split(clips, WINDOWS_PER_BATCH), torch.split(starts, WINDOWS_PER_BATCH), strict=True):
            network(feed.source.cut(some, at, recipe.window_frames))
    network.train(was_training)
    return torch.cat(seen), clips, weights


def solved(features: Tensor, targets: Tensor, weights: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Logistic regression of each label by itself.

    Parameters
    ----------
    features
        (n, n_features).
    targets
        (n, n_labels) in [0, 1].
    weights
        (n,) what each row counts for.
    penalty
        p in ``sum of weights * cross-entropy + p / 2 * |coefficients|^2``, the coefficients those of features of mean 0
        and standard deviation 1; the intercepts are free. scikit-learn's C is 1 / p.

    Returns
    -------
    weight, bias
        (n_labels, n_features) and (n_labels,), of the features as they are given.
    """
    shares = (weights / weights.sum())[:, None].double()
    mean = (shares * features).sum(dim=0)
    spread = (shares * (features - mean) ** 2).sum(dim=0).sqrt()
    spread = torch.where(spread < LEAST_SPREAD, torch.ones_like(spread), spread)
    scaled, wanted, counts = (features - mean) / spread, targets.double(), weights.double()[:, None]
    coefficients = torch.zeros(targets.shape[1], features.shape[1], dtype=torch.double, device=features.device)
    intercepts = torch.zeros(targets.shape[1], dtype=torch.double, device=features.device)
    unknown = [coefficients.requires_grad_(), intercepts.requires_grad_()]
    solver = torch.optim.LBFGS(
        unknown, max_iter=N_ITERATIONS, tolerance_grad=TOLERANCE, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        each = nn.functional.binary_cross_entropy_with_logits(
            scaled @ coefficients.T + intercepts, wanted, reduction="none"
        )
        total = ((counts * each).sum() + penalty / 2 * coefficients.square().sum()) / counts.sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with torch.enable_grad():
        solver.step(loss)  # type: ignore[no-untyped-call]
    weight = coefficients.detach() / spread
    return weight.float(), (intercepts.detach() - weight @ mean).float()
