"""Smaller files of the same network: weights in 16 or 8 bits, and values between layers in 8.

Weights alone are rounded by `halve_weights` and `int8_weights`: onnxruntime turns them into float32 when it loads the
file, so the arithmetic, and its speed, are as before. `int8_static` makes the convolutions themselves compute with
8-bit integers, which is faster, and needs recordings to measure the range of every value on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from earmark.bundle import INPUT_NAME
from earmark.errors import BundleError

SMALLEST_HALVED = 256
"""Tensors of fewer values stay float32: halving them saves nothing."""

SMALLEST_INT8 = 1024
"""The same for 8 bits, which have a scale for each output channel beside them."""

LARGEST_INT8 = 127

STATIC_OPERATORS = ("Conv", "Relu", "Add", "MaxPool")
"""What computes with 8-bit integers; pooling over all places, the last layer and the sigmoid do not."""


def with_precision(model: onnx.ModelProto, precision: str, pictures: np.ndarray | None = None) -> onnx.ModelProto:
    """Give a network the precision of one of `earmark.bundle.PRECISIONS`, from whatever halved or whole weights it has.

    Parameters
    ----------
    model
        From `pictures` to scores; it is changed.
    precision
        ``"fp32"``; ``"fp16"`` and ``"int8"`` for weights alone; ``"int8-static"`` for the values between layers too.
    pictures
        For ``"int8-static"``: (n, n_channels, height, n_frames) float32, like those it will be used on.

    Raises
    ------
    BundleError
        When the network cannot be computed with 8-bit integers.
    """
    model = whole_weights(model)
    if precision == "fp16":
        return halve_weights(model)
    if precision == "int8":
        return int8_weights(model)
    if precision == "int8-static":
        assert pictures is not None
        return int8_static(model, pictures)
    return model


def precision_of(model: onnx.ModelProto) -> str:
    """Which of `earmark.bundle.PRECISIONS` a network has, by what its weights are stored as."""
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    if TensorProto.INT8 in kinds:
        return "int8-static" if any(node.op_type == "QuantizeLinear" for node in model.graph.node) else "int8"
    return "fp16" if TensorProto.FLOAT16 in kinds else "fp32"


def whole_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make float32 of weights that `halve_weights` has halved; what was rounded stays so."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        tensor = stored.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is None or tensor.data_type != TensorProto.FLOAT16:
            kept.append(node)
            continue
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    return model


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights as float16, and cast them back where they are used.

    The file is half as large; the arithmetic stays float32, because onnxruntime folds the casts when it loads.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALLEST_HALVED:
            continue
        name = tensor.name
        halved = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.float16")
        tensor.CopyFrom(halved)
        casts.append(helper.make_node("Cast", [f"{name}.float16"], [name], to=TensorProto.FLOAT))
    return _preceded(model, casts)


def int8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights of layers as 8-bit integers, each output channel with its own scale.

    The largest weight of a channel becomes 127 or -127. The file is a quarter as large; the arithmetic stays float32:
    a cast and a product are folded by onnxruntime when it loads, which the standard's DequantizeLinear is not.
    """
    restoring, scales = [], []
    for tensor, axis in _layer_weights(model):
        name, weights = tensor.name, numpy_helper.to_array(tensor)
        others = tuple(i for i in range(weights.ndim) if i != axis)
        largest = np.abs(weights).max(axis=others, keepdims=True)
        scale = np.where(largest > 0, largest, 1).astype(np.float32) / LARGEST_INT8
        tensor.CopyFrom(numpy_helper.from_array(np.rint(weights / scale).astype(np.int8), f"{name}.int8"))
        scales.append(numpy_helper.from_array(scale, f"{name}.scale"))
        restoring.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.steps"], to=TensorProto.FLOAT))
        restoring.append(helper.make_node("Mul", [f"{name}.steps", f"{name}.scale"], [name]))
    model.graph.initializer.extend(scales)
    return _preceded(model, restoring)


def _layer_weights(model: onnx.ModelProto) -> list[tuple[TensorProto, int]]:
    """Weights of convolutions and matrix products, with the axis of their outputs."""
    axes: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            axes[node.input[1]] = 0
        elif node.op_type == "Gemm":
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            axes[node.input[1]] = 0 if transposed else 1
        elif node.op_type == "MatMul":
            axes[node.input[1]] = -1
    found = []
    for tensor in model.graph.initializer:
        if tensor.name in axes and tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALLEST_INT8:
            found.append((tensor, axes[tensor.name] % len(tensor.dims)))
    return found


def int8_static(model: onnx.ModelProto, pictures: np.ndarray) -> onnx.ModelProto:
    """Compute the convolutions with 8-bit integers, their ranges fixed by what some pictures give.

    Weights have 7 bits, so that the sum of two products never exceeds 16, which processors without VNNI cut off: the
    scores are the same on all of them. Everything before the first convolution and after the last pooling, and layers
    that end in labels, stay float32.

    Parameters
    ----------
    model
        From `pictures` to scores, with whole weights.
    pictures
        (n, n_channels, height, n_frames) float32.

    Raises
    ------
    BundleError
        When onnxruntime cannot do it, or there is no convolution.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="earmark-") as folder:
        whole, folded, rounded = (Path(folder) / f"{step}.onnx" for step in ("whole", "folded", "rounded"))
        onnx.save(model, whole)
        try:
            quant_pre_process(whole, folded, skip_symbolic_shape=True)
            prepared = onnx.load(folded)
            excluded = _excluded(prepared)
            quantize_static(
                prepared,
                rounded,
                _Reader(pictures),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(STATIC_OPERATORS),
                nodes_to_exclude=excluded,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except BundleError:
            raise
        except Exception as error:  # whatever an operator that it does not know ends in
            raise BundleError(
                f"this network cannot be computed with 8-bit integers ({str(error).splitlines()[0]}); use --precision "
                "int8, which rounds its weights alone"
            ) from error
        return onnx.load(rounded)


def _excluded(model: onnx.ModelProto) -> list[str]:
    """Name all nodes; those before the first convolution, and convolutions that end in labels, are to stay as is."""
    graph = model.graph
    stored = {tensor.name: tensor.dims for tensor in graph.initializer}
    n_labels = graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    convolved: set[str] = set()
    excluded = []
    for i, node in enumerate(graph.node):
        node.name = node.name or f"node{i}"
        is_layer = node.op_type == "Conv"
        if is_layer or not convolved.isdisjoint(node.input):
            convolved.update(node.output)
        ends_in_labels = is_layer and stored.get(node.input[1], [0])[0] == n_labels
        if ends_in_labels or convolved.isdisjoint(node.output):
            excluded.append(node.name)
    if not convolved:
        raise BundleError(
            "this network has no convolution to compute with 8-bit integers; use --precision int8, which rounds its "
            "weights alone"
        )
    return excluded


class _Reader:
    """Pictures one by one, as onnxruntime asks for them."""

    def __init__(self, pictures: np.ndarray) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = ({INPUT_NAME: picture[None]} for picture in pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Give the next one, or nothing."""
        return next(self._feeds, None)

    def __len__(self) -> int:
        raise TypeError("pictures are read once")


def _preceded(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """The same graph with other nodes before its own."""
    joined = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(joined)
    return model
