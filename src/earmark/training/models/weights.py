"""Weights from files, to start a network from: ImageNet's, a peer's, or those of another run.

Pickles are read with `torch.load(weights_only=True)`, which runs no code; what holds more than tensors and plain values
is refused.
"""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from earmark.errors import BundleError, MissingExtraError, RecipeError
from earmark.training.models.network import TaggingNetwork
from earmark.training.recipe import ModelRecipe

PREFIXES = ("network.", "model.", "module.", "net.", "backbone.")
"""What training loops put before the names of a network's tensors."""

COUNTERS = "num_batches_tracked"
"""Of normalisation; older files are without, and nothing depends on them."""

N_NAMED = 3
"""So many tensors are named in an error."""


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Attributes
    ----------
    path
        The file.
    tensors
        By name.
    labels
        Of the last layer's rows, in order; `None` where the file does not say.
    """

    path: Path
    tensors: dict[str, Tensor]
    labels: tuple[str, ...] | None = None


def read_weights(path: str | Path) -> Weights:
    """Read a file of weights, on the processor.

    Parameters
    ----------
    path
        A `.safetensors` file, or a file of `torch.save`: tensors by name; such under ``"state_dict"``, as training
        loops save them; or a run's `network.pt`.

    Returns
    -------
    Weights
        Names are as in the file.

    Raises
    ------
    BundleError
        When there is no such file, it is no file of weights, or it holds objects of other kinds.
    MissingExtraError
        For `.safetensors`, when that library is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"{path}: no such file of weights; check the spelling")
    held: Any = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    labels = None
    if isinstance(held, dict) and isinstance(held.get("network"), dict):
        held, labels = held["network"], tuple(map(str, held.get("labels", ())))
    elif isinstance(held, dict) and isinstance(held.get("state_dict"), dict):
        held = held["state_dict"]
    if not isinstance(held, dict) or not held:
        raise BundleError(f"{path}: holds {_kind(held)}; expected tensors by name: save a network's state_dict()")
    odd = next((name for name, value in held.items() if not isinstance(value, Tensor)), None)
    if odd is not None:
        raise BundleError(
            f"{path}: under '{odd}' it holds {_kind(held[odd])}; expected tensors alone, or a dictionary with them "
            "under 'state_dict': save a network's state_dict()"
        )
    return Weights(path, {str(name): value for name, value in held.items()}, labels)


def _kind(value: object) -> str:
    return "nothing" if isinstance(value, dict) and not value else f"a value of type {type(value).__name__}"


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that torch is leaving behind
            return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        if path.read_bytes()[:2] in {b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"}:
            raise BundleError(
                f"{path}: holds Python objects, and reading those may run any code; only tensors by name are read: "
                "save the network's state_dict() where it was made"
            ) from error
        raise _no_weights(path) from error
    except Exception as error:  # bytes that are no pickle fail in any way
        raise _no_weights(path) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingExtraError("reading .safetensors", "train") from error
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _no_weights(path) from error


def _no_weights(path: Path) -> BundleError:
    return BundleError(
        f"{path}: is damaged, or no file of weights; expected one of torch.save (.pt, .pth) or .safetensors; "
        "fetch it again"
    )


def initialise(network: TaggingNetwork, model: ModelRecipe, labels: tuple[str, ...]) -> str:
    """Start a network from the file that its recipe names.

    Parameters
    ----------
    network
        Of `build_network(model, len(labels))`; changed in place.
    model
        The recipe; without `init` nothing is done.
    labels
        Of the network's logits.

    Returns
    -------
    str
        What was done, in a line; empty when nothing was.

    Raises
    ------
    BundleError, MissingExtraError
        As `read_weights` does.
    RecipeError
        When the weights are not those of such a network.
    """
    return load_weights(network, read_weights(model.init), labels) if model.init else ""


def load_weights(network: TaggingNetwork, weights: Weights, labels: tuple[str, ...] | None = None) -> str:
    """Take over weights, all but those of another last layer.

    The first layer is fitted to the network's channels: three become one by their sum, which sees a grey picture as
    three equal channels were seen; one becomes three equal thirds. The last layer, with what attention has, is taken
    when its shapes fit, and its labels, where the file names them; else it stays random. Layers before it that the
    network is to be without are left out.

    Parameters
    ----------
    network
        Changed in place.
    weights
        From `read_weights`.
    labels
        Of the network's logits; `None` not to compare them.

    Returns
    -------
    str
        What was taken and what was not, in a line.

    Raises
    ------
    RecipeError
        When a tensor is missing, left over or of another shape.
    """
    own = network.state_dict()
    given = {n: t for n, t in _named_as(network, weights.tensors).items() if not n.startswith(network.left_out)}
    notes = _fit_first_layer(network, given)
    ours, theirs = _head_names(network, own), _head_names(network, given)
    why_not = _unfit_head(weights, labels, {n: own[n] for n in ours}, {n: given[n] for n in theirs})
    if why_not:
        notes.append(f"the last layer is random ({why_not})")
        own = {name: tensor for name, tensor in own.items() if name not in ours}
        given = {name: tensor for name, tensor in given.items() if name not in theirs}
    _check_fit(network, weights.path, own, given)
    network.load_state_dict(given, strict=False)
    return "; ".join([f"{len(given)} tensors from {weights.path.name}", *notes])


def _named_as(network: TaggingNetwork, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that a training loop puts before the network's own names, and without what is beside it."""
    for prefix in PREFIXES:
        if prefix + network.first_layer in tensors:
            return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return dict(tensors)


def _fit_first_layer(network: TaggingNetwork, given: dict[str, Tensor]) -> list[str]:
    first = given.get(network.first_layer)
    if first is None or first.ndim != 4:
        return []
    n_given, n_own = first.shape[1], network.n_channels
    if (n_given, n_own) == (3, 1):
        given[network.first_layer] = first.sum(dim=1, keepdim=True)
    elif (n_given, n_own) == (1, 3):
        given[network.first_layer] = first.expand(-1, 3, -1, -1) / 3
    else:
        return []
    return [f"the first layer fitted from {n_given} to {n_own} channels"]


def _head_names(network: TaggingNetwork, tensors: dict[str, Tensor]) -> list[str]:
    return [name for name in tensors if name.startswith((f"{network.last_layer}.", "attention."))]


def _unfit_head(
    weights: Weights, labels: tuple[str, ...] | None, own: dict[str, Tensor], given: dict[str, Tensor]
) -> str:
    """Why the last layer cannot be taken over; empty when it can."""
    if not given:
        return "the file has none"
    shapes, expected = ({n: tuple(t.shape) for n, t in part.items()} for part in (given, own))
    if shapes.keys() != expected.keys():
        return "the file's pools in another way"
    if shapes != expected:
        n_given, n_own = (next(iter(part.values()))[0] for part in (shapes, expected))
        return f"the file's is for {n_given} labels, not for {n_own}" if n_given != n_own else "the file's is wider"
    return "the file's is for other labels" if labels and weights.labels and weights.labels != labels else ""


def _check_fit(network: TaggingNetwork, path: Path, own: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    missing = [name for name in own if name not in given and not name.endswith(COUNTERS)]
    left_over = [name for name in given if name not in own]
    if missing or left_over:
        lacks = f"lacks {_some(missing)}" if missing else f"has {_some(left_over)}, for which the network has no place"
        raise RecipeError(f"{path}: {lacks}; it is of another kind of network: set model.name to the file's")
    for name, tensor in given.items():
        found, expected = tuple(tensor.shape), tuple(own[name].shape)
        if found != expected:
            remedy = _remedy(network, name, found, expected)
            raise RecipeError(f"{path}: tensor '{name}' has shape {found}; the network's has {expected}; {remedy}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - N_NAMED} more tensors" if len(names) > N_NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:N_NAMED]) + more


def _remedy(network: TaggingNetwork, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if name == network.first_layer and len(found) == len(expected) == 4:
        if found[2:] != expected[2:]:
            return f"set model.stem = {'standard' if found[2] > expected[2] else 'gentle'}"
        if found[0] == expected[0]:
            return f"set model.n_channels = {found[1]}"
    return "set model.width, or model.name, to the file's"
