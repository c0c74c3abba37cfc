"""One trunk, two heads: what curated and noisy clips share in a network, and what each subset has for itself.

Noisy clips shape the layers that are shared, while what is wrong in their labels goes into a last layer that is thrown
away in the end. Normalisation is apart as well, since recordings of another kind have other statistics,
as in the auxiliary batch normalisation of Xie et al., *Adversarial Examples Improve Image Recognition*, CVPR 2020.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from earmark.training.models import TaggingNetwork

CURATED, NOISY = "curated", "noisy"


class BySubset(nn.Module):
    """A layer in two copies, of which each subset has one.

    Parameters
    ----------
    layer
        For curated clips; noisy ones get a copy of it.

    Attributes
    ----------
    subset
        Whose clips come next: ``"curated"`` or ``"noisy"``.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.curated = layer
        self.noisy = copy.deepcopy(layer)
        self.subset = CURATED

    def forward(self, x: Tensor) -> Tensor:
        """What the subset's own copy makes of any batch that it takes."""
        return self.noisy(x) if self.subset == NOISY else self.curated(x)


def split_heads(network: TaggingNetwork) -> None:
    """Give each subset a last layer, an attention and a normalisation of its own, all alike at first; in place."""
    last = {network.last_layer, "attention"}
    apart = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) or (name in last and isinstance(module, nn.Linear))
    ]
    for name in apart:
        _replace(network, name, BySubset(network.get_submodule(name)))


def with_curated_head(network: TaggingNetwork) -> TaggingNetwork:
    """The network with nothing but what curated clips use, as it was made before `split_heads`; in place."""
    apart = [(name, module) for name, module in network.named_modules() if isinstance(module, BySubset)]
    for name, module in apart:
        _replace(network, name, module.curated)
    return network


def curated_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dictionary without what noisy clips have for themselves, named as without `split_heads`."""
    kept = {name: value for name, value in weights.items() if NOISY not in name.split(".")}
    return {name.replace(f".{CURATED}.", "."): value for name, value in kept.items()}


def logits_by_subset(network: nn.Module, pictures: Tensor, n_curated: int) -> Tensor:
    """Logits of a batch whose first clips are curated and the others noisy, each from its own head.

    Parameters
    ----------
    network
        From `split_heads`.
    pictures
        (n, n_channels, height, frames).
    n_curated
        In [0, n].

    Returns
    -------
    Tensor
        (n, n_labels).
    """
    layers = [module for module in network.modules() if isinstance(module, BySubset)]
    parts = []
    for subset, part in ((CURATED, pictures[:n_curated]), (NOISY, pictures[n_curated:])):
        for layer in layers:
            layer.subset = subset
        if len(part):
            parts.append(network(part))
    for layer in layers:
        layer.subset = CURATED
    return torch.cat(parts)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)
