"""Mobile networks: MobileNetV3-Large, as EfficientAT's checkpoints are shaped.

A. Howard et al., *Searching for MobileNetV3*, ICCV 2019, table 1; F. Schmid et al., *Efficient Large-scale Audio
Tagging via Transformer-to-CNN Knowledge Distillation*, ICASSP 2023. Parameters are named as in those checkpoints, so
that one loads whole. They differ from the images' network in the picture of one channel, and in the gate of
squeeze-and-excitation, a sigmoid where images have a piecewise linear one.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from earmark.training.models.network import Pooling, StochasticDepth, TaggingNetwork, as_channels, depth_probabilities

WIDTHS = {"mobile04": 0.4, "mobile10": 1.0}
"""Factor on the channels of MobileNetV3-Large, by name."""

CHANNEL_STEP = 8
"""Numbers of channels are multiples of this."""

LARGEST_LOSS = 0.1
"""Rounding takes away no more than this share of the channels."""

SQUEEZE = 4
"""Squeeze-and-excitation looks at a quarter as many channels."""

EXPANSION_AT_END = 6
HIDDEN_FEATURES = 1280
"""Of the head, at width 1."""


class Layer(NamedTuple):
    """An inverted residual block at width 1: a row of the paper's table."""

    kernel: int
    n_expanded: int
    n_out: int
    has_squeeze: bool
    activation: type[nn.ReLU] | type[nn.Hardswish]
    stride: int


STEM_CHANNELS = 16
LAYERS = (
    Layer(3, 16, 16, False, nn.ReLU, 1),
    Layer(3, 64, 24, False, nn.ReLU, 2),
    Layer(3, 72, 24, False, nn.ReLU, 1),
    Layer(5, 72, 40, True, nn.ReLU, 2),
    Layer(5, 120, 40, True, nn.ReLU, 1),
    Layer(5, 120, 40, True, nn.ReLU, 1),
    Layer(3, 240, 80, False, nn.Hardswish, 2),
    Layer(3, 200, 80, False, nn.Hardswish, 1),
    Layer(3, 184, 80, False, nn.Hardswish, 1),
    Layer(3, 184, 80, False, nn.Hardswish, 1),
    Layer(3, 480, 112, True, nn.Hardswish, 1),
    Layer(3, 672, 112, True, nn.Hardswish, 1),
    Layer(5, 672, 160, True, nn.Hardswish, 2),
    Layer(5, 960, 160, True, nn.Hardswish, 1),
    Layer(5, 960, 160, True, nn.Hardswish, 1),
)
FIRST_GROUP = 8
"""Of `features`, the stem and so many blocks less one learn at the lowest rate."""


def rounded_channels(n: float) -> int:
    """The nearest multiple of `CHANNEL_STEP`, or the next above where that would lose more than `LARGEST_LOSS`.

    Examples
    --------
    >>> rounded_channels(0.4 * 64), rounded_channels(0.4 * 72), rounded_channels(0.1 * 112)
    (24, 32, 16)
    """
    nearest = max(CHANNEL_STEP, int(n + CHANNEL_STEP / 2) // CHANNEL_STEP * CHANNEL_STEP)
    return nearest if nearest >= (1 - LARGEST_LOSS) * n else nearest + CHANNEL_STEP


def _convolution(
    n_in: int, n_out: int, kernel: int, stride: int, groups: int, activation: type[nn.Module] | None
) -> nn.Sequential:
    layers = [
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class ChannelGate(nn.Module):
    """Squeeze-and-excitation over channels: J. Hu et al., *Squeeze-and-Excitation Networks*, CVPR 2018.

    (n, c, h, w) to the same shape: each channel times a factor in [0, 1], made of the means of all.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        n_squeezed = rounded_channels(n_channels // SQUEEZE)
        self.fc1 = nn.Linear(n_channels, n_squeezed)
        self.fc2 = nn.Linear(n_squeezed, n_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of a feature map."""
        factors = self.fc2(self.fc1(x.mean(dim=(2, 3))).relu()).sigmoid()
        return x * factors[:, :, None, None]


class Gates(nn.Module):
    """The gate of a block, under the name that checkpoints have for a list of such over several axes."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([ChannelGate(n_channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of a feature map."""
        return self.conc_se_layers[0](x)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, gate, project; with a shortcut where the shape stays.

    (n, in, h, w) to (n, out, h / stride, w / stride).
    """

    def __init__(self, n_in: int, layer: Layer, width: float, drop_path: float) -> None:
        super().__init__()
        n_expanded, n_out = rounded_channels(layer.n_expanded * width), rounded_channels(layer.n_out * width)
        steps: list[nn.Module] = []
        if n_expanded != n_in:
            steps.append(_convolution(n_in, n_expanded, 1, 1, 1, layer.activation))
        steps.append(_convolution(n_expanded, n_expanded, layer.kernel, layer.stride, n_expanded, layer.activation))
        if layer.has_squeeze:
            steps.append(Gates(n_expanded))
        steps.append(_convolution(n_expanded, n_out, 1, 1, 1, None))
        self.block = nn.Sequential(*steps)
        self.drop_path = StochasticDepth(drop_path)
        self.has_shortcut = layer.stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        """Transform a feature map; shapes as the class says."""
        return x + self.drop_path(self.block(x)) if self.has_shortcut else self.block(x)


HIDDEN_LAYER = "classifier.2."
"""What the names of the hidden layer's tensors begin with."""


class FeatureLayers(nn.Sequential):
    """All layers before the head: (n, channels, bands, frames) to (n, n_features, bands / 32, frames / 32).

    A module and no method, since checkpoints name it.
    """

    def __init__(self, n_channels: int, layers: list[nn.Module]) -> None:
        super().__init__(*layers)
        self.n_channels = n_channels

    def forward(self, x: Tensor) -> Tensor:
        """Make the map; a picture of one channel is repeated."""
        x = as_channels(x, self.n_channels)
        for layer in self:
            x = layer(x)
        return x


class MobileNet(TaggingNetwork):
    """A mobile network over pictures of any height and width from 32 on.

    The head is linear, hardswish, dropout, linear, so that logits over time do not have the clip's as their mean; see
    `TaggingNetwork.frame_logits`. With pooling ``"average"`` it is EfficientAT's. Without its hidden layer, the first
    two are left out.

    Parameters
    ----------
    n_labels
        Number of logits.
    n_channels
        Channels that the first convolution takes; see `TaggingNetwork`.
    width
        Factor on the channels of every layer of MobileNetV3-Large, which are rounded to multiples of 8.
    dropout
        Probability of dropping a feature before the last layer, in [0, 1).
    pooling
        How the last feature map becomes logits; see `earmark.training.models.network`.
    drop_path
        Probability of leaving out the last block in training, in [0, 1); see `StochasticDepth`. Blocks without a
        shortcut count for the depth, and are always there.
    hidden_layer
        Whether the head has one.

    Examples
    --------
    >>> import torch
    >>> network = MobileNet(n_labels=10, width=0.4)
    >>> network(torch.zeros(2, 1, 128, 500)).shape
    torch.Size([2, 10])
    """

    first_layer: ClassVar[str] = "features.0.0.weight"
    last_layer: ClassVar[str] = "classifier.5"
    features: FeatureLayers

    def __init__(
        self,
        n_labels: int,
        n_channels: int = 1,
        width: float = 1.0,
        dropout: float = 0.0,
        pooling: Pooling = "average",
        drop_path: float = 0.0,
        hidden_layer: bool = True,
    ) -> None:
        n_last = rounded_channels(LAYERS[-1].n_out * width)
        n_features = EXPANSION_AT_END * n_last
        super().__init__(n_channels=n_channels, n_features=n_features, n_labels=n_labels, pooling=pooling)
        self.stride = 32
        n_in = rounded_channels(STEM_CHANNELS * width)
        modules: list[nn.Module] = [_convolution(n_channels, n_in, 3, 2, 1, nn.Hardswish)]
        for layer, left_out in zip(LAYERS, depth_probabilities(drop_path, len(LAYERS)), strict=True):
            modules.append(InvertedResidual(n_in, layer, width, left_out))
            n_in = rounded_channels(layer.n_out * width)
        modules.append(_convolution(n_last, n_features, 1, 1, 1, nn.Hardswish))
        self.features = FeatureLayers(n_channels, modules)
        n_hidden = rounded_channels(HIDDEN_FEATURES * width) if hidden_layer else n_features
        # the first two places are those of pooling and flattening, which are done before
        self.classifier = nn.Sequential(
            nn.Identity(),
            nn.Identity(),
            nn.Linear(n_features, n_hidden) if hidden_layer else nn.Identity(),
            nn.Hardswish() if hidden_layer else nn.Identity(),
            nn.Dropout(dropout),
            nn.Linear(n_hidden, n_labels),
        )
        self.left_out = () if hidden_layer else (HIDDEN_LAYER,)
        for module in (*self.features.modules(), *self.classifier):
            _initialise(module)

    def head(self, vectors: Tensor) -> Tensor:
        """Map (..., n_features) to (..., n_labels) logits."""
        return self.classifier(vectors)

    def layer_groups(self) -> list[nn.ModuleList]:
        """Stem with the first half of the blocks, the other half with the last convolution, and the head."""
        layers = list(self.features)
        head = [self.classifier] if self.attention is None else [self.attention, self.classifier]
        return [nn.ModuleList(group) for group in (layers[:FIRST_GROUP], layers[FIRST_GROUP:], head)]


def _initialise(module: nn.Module) -> None:
    """Random weights as published for images: convolutions by their outputs, linear layers small."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)
