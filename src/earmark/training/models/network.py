"""What all networks have in common: a map of features over bands and time, and a head that makes logits of it.

How the map becomes logits is called pooling. With f[c, t] the mean of a feature over bands, and h the head:

- ``"average"``: h of the mean of f over time.
- ``"max"``: h of the maximum of f over time.
- ``"both"``: h of the sum of the two, as in Kong et al., *PANNs*, TASLP 2020.
- ``"attention"``: each step has logits, h of f[:, t], and each label weighs the steps by itself: the clip's logit is
  their mean by weights that are the softmax, over time, of a linear map of f. Kong et al., *Weakly Labelled AudioSet
  Tagging with Attention Neural Networks*, TASLP 2019, do so with scores; logits are the weighted here, so that losses
  on logits stay exact. The map, `attention`, has parameters of its own, and begins at zero, which is the plain mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Pooling = Literal["average", "max", "both", "attention"]


class TaggingNetwork(nn.Module):
    """A network over pictures of sound; the base of those in this package.

    Subclasses say how features and logits are made (`features`, `head`) and which layers belong together
    (`layer_groups`).

    Parameters
    ----------
    n_channels
        Channels that the first layer takes. A picture of one channel given to a network of three is taken as three
        equal channels, and so on.
    n_features
        Height of the map that `features` gives.
    n_labels
        Number of logits.
    pooling
        As the module says.

    Attributes
    ----------
    first_layer
        Name of the weights that see the picture.
    last_layer
        Name of the linear layer that gives the logits.
    left_out
        What the names of tensors begin with that files of weights may hold and the network is to be without.
    stride
        Frames of the picture to a step of the map.
    features
        Maps (n, channels, bands, frames) pictures to (n, n_features, bands / stride, frames / stride).
    """

    first_layer: ClassVar[str]
    last_layer: ClassVar[str]
    left_out: tuple[str, ...] = ()
    stride: int
    features: Callable[[Tensor], Tensor]

    def __init__(self, *, n_channels: int, n_features: int, n_labels: int, pooling: Pooling) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.n_labels = n_labels
        self.pooling = pooling
        self.attention: nn.Linear | None = None
        if pooling == "attention":
            self.attention = nn.Linear(n_features, n_labels)
            nn.init.zeros_(self.attention.weight)
            nn.init.zeros_(self.attention.bias)

    def head(self, vectors: Tensor) -> Tensor:
        """Map (..., n_features) to (..., n_labels) logits."""
        raise NotImplementedError

    def layer_groups(self) -> list[nn.ModuleList]:
        """Modules that learn at one rate: three groups, from the input to the head; each parameter is in one."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, bands, frames) pictures to (n, n_labels) logits."""
        return self.logits_of(self.features(x))

    def logits_of(self, features: Tensor) -> Tensor:
        """Map (n, n_features, bands, steps), as `features` gives it, to (n, n_labels) logits."""
        if self.attention is None:
            return self.head(pooled(features, self.pooling))
        steps = features.mean(dim=2).transpose(1, 2)
        weights = torch.softmax(self.attention(steps), dim=1)
        return (weights * self.head(steps)).sum(dim=1)

    def frame_logits(self, x: Tensor) -> Tensor:
        """Logits over time: what a clip would have that sounds throughout as it does at a step.

        A sound that does not change has the clip's logits at every step, whatever the pooling. Where the head is one
        linear layer (residual networks) and pooling is ``"average"``, the clip's logits are the mean of these; where
        something bends them (mobile networks have an activation in the head) they are near it.

        Parameters
        ----------
        x
            (n, channels, bands, frames) pictures.

        Returns
        -------
        Tensor
            (n, n_labels, n_steps), a step each `stride` frames. A step also hears something of those around it.
        """
        steps = self.features(x).mean(dim=2).transpose(1, 2)
        if self.pooling == "both":
            steps = 2 * steps  # the mean and the maximum of one step, both of which are the step
        return self.head(steps).transpose(1, 2)


def as_channels(x: Tensor, n_channels: int) -> Tensor:
    """Repeat pictures of one channel, (n, 1, bands, frames), to `n_channels`; others stay as they are."""
    return x.expand(-1, n_channels, -1, -1) if x.shape[1] == 1 else x


def pooled(features: Tensor, pooling: Pooling) -> Tensor:
    """Pool (n, n_features, bands, steps) to (n, n_features), by any pooling but attention; see the module."""
    if pooling == "average":
        return features.mean(dim=(2, 3))
    steps = features.mean(dim=2)
    return steps.amax(dim=2) if pooling == "max" else steps.mean(dim=2) + steps.amax(dim=2)


class StochasticDepth(nn.Module):
    """Leave out a residual branch at random, clip by clip, while training.

    G. Huang et al., *Deep Networks with Stochastic Depth*, ECCV 2016. What is kept is divided by the probability of
    keeping it, so that nothing is to be scaled in use. Draws come from torch's global generator.

    Parameters
    ----------
    probability
        Of leaving the branch out, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, ...) to the same shape: zero, or divided by ``1 - probability``; unchanged in evaluation."""
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        kept = x.new_empty((len(x),) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * (kept / keep)


def depth_probabilities(drop_path: float, n_blocks: int) -> list[float]:
    """Probabilities of leaving out each block, growing in a straight line to the last one's; ibid., equation 4.

    Examples
    --------
    >>> depth_probabilities(0.2, 4)
    [0.05, 0.1, 0.15000000000000002, 0.2]
    """
    return [drop_path * (i + 1) / n_blocks for i in range(n_blocks)]
