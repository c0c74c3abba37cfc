"""Residual networks: He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016.

Parameters are named and, at width 1, shaped as those of the widespread ImageNet weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from earmark.training.models.network import Pooling, StochasticDepth, TaggingNetwork, as_channels, depth_probabilities

BLOCKS_PER_STAGE = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
STAGE_CHANNELS = (64, 128, 256, 512)
SAFE_CHANNELS = 16
"""From so many on, a shortcut needs no detour; see `Shortcut`."""


class Shortcut(nn.Conv2d):
    """A 1x1 convolution with a stride and no bias: (n, in, h, w) to (n, out, h / stride, w / stride).

    While training it leaves out what the stride leaves out before it multiplies, which comes to the same: oneDNN (of
    torch 2.13) writes past the end of its memory in the gradient of such a convolution over eight channels laid out
    channels last.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform a feature map; shapes as the class says."""
        if not self.training or self.in_channels >= SAFE_CHANNELS:
            return super().forward(x)
        down, across = self.stride
        return functional.conv2d(x[:, :, ::down, ::across], self.weight)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (n, in, h, w) to (n, out, h / stride, w / stride)."""

    def __init__(self, n_in: int, n_out: int, stride: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.drop_path = StochasticDepth(drop_path)
        self.downsample: nn.Module | None = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(Shortcut(n_in, n_out, stride), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Transform a feature map; shapes as the class says."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.drop_path(self.bn2(self.conv2(x))) + shortcut)


class ResNet(TaggingNetwork):
    """A residual network over pictures of any height and width from 32 on.

    Parameters
    ----------
    n_labels
        Number of logits.
    n_channels
        Channels that the first convolution takes; see `TaggingNetwork`.
    width
        Factor on the channels of every stage; 1 is the ImageNet shape.
    blocks
        Residual blocks in each of the four stages.
    dropout
        Probability of dropping a feature before the last layer, in [0, 1).
    pooling
        How the last feature map becomes logits; see `earmark.training.models.network`.
    stem
        ``"standard"``: 7x7 with stride 2, then a maximum with stride 2. ``"gentle"``: 3x3 with stride 2 and no maximum,
        so that the picture is seen at twice the resolution and each output sees a quarter of the area; small receptive
        fields suit sound: Koutini et al., *The Receptive Field as a Regularizer*, EUSIPCO 2019.
    drop_path
        Probability of leaving out the last block in training, in [0, 1); see `StochasticDepth`.

    Examples
    --------
    >>> import torch
    >>> network = ResNet(n_labels=10, n_channels=1, width=0.25)
    >>> network(torch.zeros(2, 1, 64, 100)).shape
    torch.Size([2, 10])
    """

    first_layer: ClassVar[str] = "conv1.weight"
    last_layer: ClassVar[str] = "fc"

    def __init__(
        self,
        n_labels: int,
        n_channels: int = 3,
        width: float = 1.0,
        blocks: tuple[int, int, int, int] = BLOCKS_PER_STAGE["resnet18"],
        dropout: float = 0.0,
        pooling: Pooling = "average",
        stem: Literal["standard", "gentle"] = "standard",
        drop_path: float = 0.0,
    ) -> None:
        channels = [max(8, round(c * width / 8) * 8) for c in STAGE_CHANNELS]
        super().__init__(n_channels=n_channels, n_features=channels[-1], n_labels=n_labels, pooling=pooling)
        kernel = 7 if stem == "standard" else 3
        self.stride = 32 if stem == "standard" else 16
        self.conv1 = nn.Conv2d(n_channels, channels[0], kernel, 2, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "standard" else nn.Identity()
        left_out = iter(depth_probabilities(drop_path, sum(blocks)))
        self.layer1 = _stage(channels[0], channels[0], 1, blocks[0], left_out)
        self.layer2 = _stage(channels[0], channels[1], 2, blocks[1], left_out)
        self.layer3 = _stage(channels[1], channels[2], 2, blocks[2], left_out)
        self.layer4 = _stage(channels[2], channels[3], 2, blocks[3], left_out)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels[-1], n_labels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Map (n, channels, bands, frames) pictures to a (n, n_features, bands / s, frames / s) map, s the stride."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(as_channels(x, self.n_channels)))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def head(self, vectors: Tensor) -> Tensor:
        """Map (..., n_features) to (..., n_labels) logits, linearly."""
        return self.fc(self.dropout(vectors))

    def layer_groups(self) -> list[nn.ModuleList]:
        """Stem with the first two stages, the last two stages, and the head."""
        head = [self.fc] if self.attention is None else [self.attention, self.fc]
        groups = ([self.conv1, self.bn1, self.layer1, self.layer2], [self.layer3, self.layer4], head)
        return [nn.ModuleList(group) for group in groups]


def _stage(n_in: int, n_out: int, stride: int, n_blocks: int, left_out: Iterator[float]) -> nn.Sequential:
    first = BasicBlock(n_in, n_out, stride, next(left_out))
    return nn.Sequential(first, *(BasicBlock(n_out, n_out, 1, next(left_out)) for _ in range(n_blocks - 1)))
