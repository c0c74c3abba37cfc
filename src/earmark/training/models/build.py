"""From what a recipe says of its network to the network."""

from __future__ import annotations

from earmark.training.models.mobile import WIDTHS, MobileNet
from earmark.training.models.network import TaggingNetwork
from earmark.training.models.resnet import BLOCKS_PER_STAGE, ResNet
from earmark.training.recipe import ModelRecipe


def build_network(model: ModelRecipe, n_labels: int) -> TaggingNetwork:
    """Make the network that a recipe names, with random weights.

    Parameters
    ----------
    model
        What to make; its `init` is left to `earmark.training.models.initialise`.
    n_labels
        Number of logits.

    Returns
    -------
    TaggingNetwork
        On the processor, in training mode; its weights are drawn from torch's global generator.
    """
    if model.name in WIDTHS:
        return MobileNet(
            n_labels,
            model.n_channels,
            model.width * WIDTHS[model.name],
            model.dropout,
            model.pooling,
            model.drop_path,
            model.hidden_layer,
        )
    blocks = BLOCKS_PER_STAGE[model.name]
    return ResNet(
        n_labels,
        model.n_channels,
        model.width,
        blocks,
        model.dropout,
        model.pooling,
        model.stem,
        model.drop_path,
    )
