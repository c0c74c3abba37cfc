"""What is kept of a network to build on: its weights, the recipe that it was learned with, and its labels."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from torch import nn

from earmark.training.models import build_network
from earmark.training.recipe import Recipe
from earmark.training.state import save_tensors

FILE_NAME = "network.pt"


def save_network(network: nn.Module, recipe: Recipe, labels: tuple[str, ...], folder: Path) -> None:
    """Write a network into a folder, as tensors and plain values, whole or not at all."""
    saved = {
        "network": network.state_dict(),
        "recipe": msgspec.json.encode(recipe).decode(),
        "labels": list(labels),
    }
    save_tensors(saved, folder / FILE_NAME)


def load_network(folder: Path) -> nn.Module:
    """Read the network that a fold's or refit's folder holds, on the processor and in evaluation mode."""
    saved = torch.load(folder / FILE_NAME, weights_only=True, map_location="cpu")
    recipe = msgspec.json.decode(saved["recipe"], type=Recipe)
    network = build_network(recipe.model, len(saved["labels"]))
    network.load_state_dict(saved["network"])
    return network.eval()
