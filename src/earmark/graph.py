"""What an ONNX file says of its graph, and how it is made to give more: read from its bytes, without the library onnx.

Fields that are not asked for, the weights above all, are stepped over. A message that stands twice means both together
(https://protobuf.dev/programming-guides/encoding/#last-one-wins), so a graph gets outputs by a few bytes behind the
file, and nothing in it is written anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from earmark.wire import LENGTH, fields

# numbers of fields, by https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_OUTPUT = 1, 5, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_NAME, _VALUE_NAME = 8, 1

LINEAR = ("Gemm", "MatMul")
"""Operators that are a linear layer when one of their inputs is constant."""

FOLLOWED = frozenset(
    [
        *("Add", "Cast", "Clip", "DequantizeLinear", "Div", "Flatten", "Identity", "Mean", "Mul", "QuantizeLinear"),
        *("ReduceMean", "ReduceSum", "Reshape", "Sigmoid", "Squeeze", "Sub", "Sum", "Transpose", "Unsqueeze"),
    ]
)
"""What may lie between the last linear layers and the scores: means over networks and over time, and the sigmoid."""

WEIGHING = "Softmax"
"""Makes weights of steps, over which a network averages; what they are made of is no feature of the sound."""


class Node(NamedTuple):
    """An operator, and the names of the values that it takes and gives."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Graph(NamedTuple):
    """The nodes of a graph, in order, and the names of the tensors that are stored with it."""

    nodes: tuple[Node, ...]
    stored: frozenset[str]


def read_graph(content: bytes) -> Graph:
    """Read the graph of a file.

    Raises
    ------
    ValueError
        When the content is no ONNX model.
    """
    nodes, stored = [], set[str]()
    for graph in _messages(memoryview(content), _MODEL_GRAPH):
        for number, value in _parts(graph):
            if number == _GRAPH_NODE:
                nodes.append(_node(value))
            elif number == _GRAPH_INITIALIZER:
                stored.update(str(name, "utf-8") for name in _messages(value, _TENSOR_NAME))
    return Graph(tuple(nodes), frozenset(stored))


def features_before(graph: Graph, output: str) -> tuple[str, ...]:
    """Find the values that the last linear layers take: the features that the scores are made of.

    Parameters
    ----------
    graph
        Of one network, or of several whose scores it averages.
    output
        Name of the scores.

    Returns
    -------
    tuple of str
        One value a network, in the order in which they are averaged.

    Raises
    ------
    ValueError
        When there is something else than a linear layer, a mean and a sigmoid before the scores.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    constant = _constants(graph)
    features: dict[str, None] = {}
    waiting, seen = [output], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name in constant:
            continue
        seen.add(name)
        node = makers.get(name)
        taken = [one for one in node.inputs if one and one not in constant] if node else []
        if node is not None and node.operator in LINEAR and len(taken) == 1:
            features[taken[0]] = None
        elif node is not None and node.operator in FOLLOWED:
            waiting += reversed(taken)
        elif node is None or node.operator != WEIGHING:
            raise ValueError(f"'{name}' is {f'made by {node.operator}' if node else 'an input'}, not by a linear layer")
    if not features:
        raise ValueError(f"no linear layer makes '{output}'")
    return tuple(features)


def with_outputs(content: bytes, names: Sequence[str]) -> bytes:
    """The same file with a graph that gives these values as well, after what it gives already."""
    outputs = b"".join(_message(_GRAPH_OUTPUT, _message(_VALUE_NAME, name.encode())) for name in names)
    return content + _message(_MODEL_GRAPH, outputs)


def _constants(graph: Graph) -> set[str]:
    """Values that do not depend on the input: stored ones, and what is made of nothing else."""
    constant = set(graph.stored)
    for node in graph.nodes:
        if all(name in constant for name in node.inputs if name):
            constant.update(node.outputs)
    return constant


def _node(content: memoryview) -> Node:
    operator, inputs, outputs = "", [], []
    for number, value in _parts(content):
        if number == _NODE_OPERATOR:
            operator = str(value, "utf-8")
        elif number == _NODE_INPUT:
            inputs.append(str(value, "utf-8"))
        elif number == _NODE_OUTPUT:
            outputs.append(str(value, "utf-8"))
    return Node(operator, tuple(inputs), tuple(outputs))


def _messages(content: memoryview, number: int) -> Iterator[memoryview]:
    return (value for own, value in _parts(content) if own == number)


def _parts(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and value of each field but numbers."""
    return ((number, value) for number, value in fields(content) if isinstance(value, memoryview))


def _message(number: int, value: bytes) -> bytes:
    return _as_varint(number << 3 | LENGTH) + _as_varint(len(value)) + value


def _as_varint(number: int) -> bytes:
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)
