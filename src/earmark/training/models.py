"""Networks: a picture of sound in, a logit for each label out.

Residual networks after He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016, with parameters named
and, at width 1, shaped as the widespread ImageNet weights.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from torch import Tensor, nn

from earmark.training.recipe import ModelRecipe

BLOCKS_PER_STAGE = {"resnet18": (2, 2, 2, 2)}
STAGE_CHANNELS = (64, 128, 256, 512)


def build_network(model: ModelRecipe, n_labels: int) -> ResNet:
    """Make the network that a recipe names, with random weights."""
    options = msgspec.structs.asdict(model)
    for absent in ("drop_path", "init"):
        del options[absent]
    return ResNet(n_labels, blocks=BLOCKS_PER_STAGE[options.pop("name")], **options)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (n, in, h, w) to (n, out, h / stride, w / stride)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Transform a feature map; shapes as the class says."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet(nn.Module):
    """A residual network over pictures of any height and width from 32 on.

    Parameters
    ----------
    n_labels
        Number of logits.
    n_channels
        Channels that the first convolution takes. A picture of one channel given to a network of three is taken as
        three equal channels, and so on.
    width
        Factor on the channels of every stage; 1 is the ImageNet shape.
    blocks
        Residual blocks in each of the four stages.
    dropout
        Probability of dropping a feature before the last layer, in [0, 1).
    stem
        ``"standard"``: 7x7 with stride 2, then a maximum with stride 2. ``"gentle"``: 3x3 with stride 2 and no maximum,
        so that the picture is seen at twice the resolution and each output sees a quarter of the area; small receptive
        fields suit sound: Koutini et al., *The Receptive Field as a Regularizer*, EUSIPCO 2019.
    pooling
        How the last feature map becomes a vector: ``"average"`` over bands and time; ``"both"`` for the average over
        bands, then the sum of average and maximum over time, as in Kong et al., *PANNs*, TASLP 2020.

    Examples
    --------
    >>> import torch
    >>> network = ResNet(n_labels=10, n_channels=1, width=0.25)
    >>> network(torch.zeros(2, 1, 64, 100)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        n_labels: int,
        n_channels: int = 3,
        width: float = 1.0,
        blocks: tuple[int, int, int, int] = BLOCKS_PER_STAGE["resnet18"],
        dropout: float = 0.0,
        pooling: Literal["average", "both"] = "average",
        stem: Literal["standard", "gentle"] = "standard",
    ) -> None:
        super().__init__()
        channels = [max(8, round(c * width / 8) * 8) for c in STAGE_CHANNELS]
        self.n_channels = n_channels
        self.pooling = pooling
        kernel = 7 if stem == "standard" else 3
        self.conv1 = nn.Conv2d(n_channels, channels[0], kernel, 2, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "standard" else nn.Identity()
        n_in = channels[0]
        for stage, (n_out, n_blocks) in enumerate(zip(channels, blocks, strict=True), start=1):
            stride = 1 if stage == 1 else 2
            layers = [BasicBlock(n_in if i == 0 else n_out, n_out, stride if i == 0 else 1) for i in range(n_blocks)]
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
            n_in = n_out
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(n_in, n_labels)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Map (n, channels, bands, frames) pictures to a (n, n_features, bands / s, frames / s) map, s 32 or 16."""
        if x.shape[1] == 1:
            x = x.expand(-1, self.n_channels, -1, -1)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return x

    def layer_groups(self) -> list[list[nn.Module]]:
        """Layers in three groups, from the input to the head."""
        first = [self.conv1, self.bn1, self.get_submodule("layer1"), self.get_submodule("layer2")]
        return [first, [self.get_submodule("layer3"), self.get_submodule("layer4")], [self.fc]]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, bands, frames) pictures to (n, n_labels) logits."""
        features = self.features(x)
        if self.pooling == "average":
            pooled = features.mean(dim=(2, 3))
        else:
            over_bands = features.mean(dim=2)
            pooled = over_bands.mean(dim=2) + over_bands.amax(dim=2)
        return self.fc(self.dropout(pooled))
