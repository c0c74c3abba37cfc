"""From torch to a bundle."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import onnx.compose
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from earmark.audio.picture import PictureSpec, to_channels
from earmark.bundle import INPUT_NAME, OUTPUT_NAME

SMALLEST_HALVED = 256
"""Tensors of fewer values stay float32: halving them saves nothing."""


class Scorer(nn.Module):
    """A network that gives scores: (n, channels, height, frames) to (n, n_labels) in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """Score pictures."""
        return torch.sigmoid(self.network(pictures))


def to_onnx(network: nn.Module, picture: PictureSpec, window_frames: int) -> onnx.ModelProto:
    """Translate a network into an ONNX graph.

    Parameters
    ----------
    network
        On the processor.
    picture
        What it takes.
    window_frames
        Length of the pictures. The graph takes any number of them, of this length.

    Returns
    -------
    onnx.ModelProto
        From `pictures` to `scores`.
    """
    # two pictures: a batch of one would be taken for a constant
    example = torch.zeros(2, picture.n_channels, picture.height, window_frames)
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
            program = torch.onnx.export(
                Scorer(network).float().eval(),
                (example,),
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=({0: torch.export.Dim("n_windows")},),
                dynamo=True,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
    assert program is not None  # None is for the exporter that writes a file itself
    return program.model_proto


def average(models: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """Join graphs over the same pictures into one that gives the mean of their scores."""
    parts = [
        onnx.compose.add_prefix(model, f"member{i}/", rename_inputs=False, rename_functions=False)
        for i, model in enumerate(models)
    ]
    joined = onnx.ModelProto()
    joined.CopyFrom(parts[0])
    for part in parts[1:]:
        joined.graph.node.extend(part.graph.node)
        joined.graph.initializer.extend(part.graph.initializer)
        joined.graph.value_info.extend(part.graph.value_info)
    members = [part.graph.output[0].name for part in parts]
    joined.graph.node.append(onnx.helper.make_node("Mean", members, [OUTPUT_NAME]))
    joined.graph.output[0].name = OUTPUT_NAME
    return joined


def renormalized(model: onnx.ModelProto, given: PictureSpec, own: PictureSpec) -> onnx.ModelProto:
    """Let a graph that was learned on pictures normalised by its own bands take pictures normalised by others'.

    With x the spectrogram, pictures are ``(x - mean) / std`` of the one or the other, so the graph's own are
    ``given * (std_given / std_own) + (mean_given - mean_own) / std_own``, band by band.
    """
    if (given.mean, given.std) == (own.mean, own.std):
        return model
    mean_given, std_given, mean_own, std_own = (
        np.asarray(values, dtype=np.float32)[None, :, None] for values in (given.mean, given.std, own.mean, own.std)
    )
    ratio, difference = std_given / std_own, (mean_given - mean_own) / std_own
    factor, offset = to_channels(ratio, own).copy(), to_channels(difference, own).copy()
    if own.channels in {"delta", "frequency-map"}:
        factor[:, 1:] = ratio[:, None] if own.channels == "delta" else 1  # a map of rows is the same for all
        offset[:, 1:] = 0  # a slope has none
    graph = model.graph
    for node in graph.node:
        node.input[:] = ["own_pictures" if name == INPUT_NAME else name for name in node.input]
    graph.initializer.append(numpy_helper.from_array(factor, "band_factor"))
    graph.initializer.append(numpy_helper.from_array(offset, "band_offset"))
    scaled = onnx.helper.make_node("Mul", [INPUT_NAME, "band_factor"], ["scaled_pictures"])
    shifted = onnx.helper.make_node("Add", ["scaled_pictures", "band_offset"], ["own_pictures"])
    nodes = [scaled, shifted, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights as float16, and cast them back where they are used.

    The file is half as large; the arithmetic stays float32, because onnxruntime folds the casts when it loads.
    """
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < SMALLEST_HALVED:
            continue
        name = tensor.name
        halved = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.float16")
        tensor.CopyFrom(halved)
        casts.append(onnx.helper.make_node("Cast", [f"{name}.float16"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model
