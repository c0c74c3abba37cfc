"""From torch to an ONNX graph, and what is done with graphs: averaging, taking pictures normalised otherwise."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.compose
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from earmark.audio.picture import PictureSpec, to_channels
from earmark.bundle import FRAMES_NAME, INPUT_NAME, OUTPUT_NAME
from earmark.errors import RunError


class Scorer(nn.Module):
    """A network that gives scores: (n, channels, height, frames) to (n, n_labels) in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """Score pictures."""
        return torch.sigmoid(self.network(pictures))


class FrameScorer(Scorer):
    """A network that gives scores, (n, n_labels), and scores over time, (n, n_labels, n_steps), all in [0, 1].

    The network has a method `frame_logits`.
    """

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Score pictures."""
        frame_logits: Callable[[Tensor], Tensor] = self.network.frame_logits  # type: ignore[assignment]
        return super().forward(pictures), torch.sigmoid(frame_logits(pictures))


def to_onnx(network: nn.Module, picture: PictureSpec, window_frames: int, *, frames: bool = False) -> onnx.ModelProto:
    """Translate a network into an ONNX graph.

    Parameters
    ----------
    network
        On the processor.
    picture
        What it takes.
    window_frames
        Length of the pictures. The graph takes any number of them, of this length.
    frames
        Whether it gives `frame_scores` as well.

    Returns
    -------
    onnx.ModelProto
        From `pictures` to `scores`.

    Raises
    ------
    RunError
        When frames are asked of a network that gives none.
    """
    if frames and not hasattr(network, "frame_logits"):
        raise RunError(
            f"a {type(network).__name__} gives one score a label and none over time; leave --frames out, or train a "
            "network whose pooling keeps time"
        )
    # two pictures: a batch of one would be taken for a constant
    example = torch.zeros(2, picture.n_channels, picture.height, window_frames)
    scorer = FrameScorer if frames else Scorer
    return exported(
        scorer(network).float().eval(),
        example,
        {0: torch.export.Dim("n_windows")},
        input_name=INPUT_NAME,
        output_names=[OUTPUT_NAME, FRAMES_NAME] if frames else [OUTPUT_NAME],
    )


def exported(
    module: nn.Module, example: Tensor, free: dict[int, Any], *, input_name: str, output_names: list[str]
) -> onnx.ModelProto:
    """Translate a module of one input; `free` names the dimensions in which the example may be of any size."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
            program = torch.onnx.export(
                module,
                (example,),
                input_names=[input_name],
                output_names=output_names,
                dynamic_shapes=(free,),
                dynamo=True,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
    assert program is not None  # None is for the exporter that writes a file itself
    return program.model_proto


def average(models: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """Join graphs over the same pictures into one that gives the means of their outputs."""
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
    for output, given in zip(joined.graph.output, models[0].graph.output, strict=True):
        members = [f"member{i}/{given.name}" for i in range(len(parts))]
        joined.graph.node.append(onnx.helper.make_node("Mean", members, [given.name]))
        output.name = given.name
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
