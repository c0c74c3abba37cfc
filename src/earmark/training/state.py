"""A training put down on disk at a step, so that it can go on there to the same end, bit for bit."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from earmark.atomic import atomic_path
from earmark.errors import RunError

FILE_NAME = "state.pt"
LAST_GOOD = "last-good.pt"


@dataclass
class State:
    """Everything that a step depends on, besides the recipe, the clips and the step's number.

    Attributes
    ----------
    step
        Steps that are done.
    network, average, optimizer
        State dictionaries.
    loss_sum
        (1,) sum of the losses of this epoch's steps so far.
    """

    step: int
    network: dict[str, Tensor]
    average: dict[str, Any]
    optimizer: dict[str, Any]
    loss_sum: Tensor


def save_state(state: State, folder: Path) -> None:
    """Write a state into a fold's folder, whole or not at all."""
    save_tensors(asdict(state), folder / FILE_NAME)


def save_tensors(saved: Any, path: Path) -> None:
    """Write what `torch.save` takes, whole or not at all; `OSError` on a full disk, of which torch itself says less."""
    content = io.BytesIO()
    torch.save(saved, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load_state(folder: Path) -> State | None:
    """Read the state that a fold's folder holds; `None` when there is none.

    Raises
    ------
    RunError
        When the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        return State(**torch.load(path, weights_only=True, map_location="cpu"))
    except (
        Exception
    ) as error:  # torch raises what zipfile, pickle and its own reader raise, with advice that is not ours
        raise RunError(
            f"{path}: a damaged state of training ({type(error).__name__}); remove it, and the fold begins again"
        ) from error


def all_finite(tensors: dict[str, Tensor]) -> bool:
    """Whether no number of a state dictionary is infinite or NaN."""
    return all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())
