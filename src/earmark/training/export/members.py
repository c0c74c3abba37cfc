"""A combination's file: an ONNX graph that gives the bundles of its members, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from earmark.bundle import MEMBER_NAME

OPSET, IR_VERSION = 17, 8


def graph_of_members(contents: Sequence[bytes]) -> onnx.ModelProto:
    """Make a graph without inputs that gives `member0`, `member1` …, (n_bytes,) uint8 each.

    Parameters
    ----------
    contents
        Of each member, a bundle's file.

    Returns
    -------
    onnx.ModelProto
        For `earmark.bundle.write_bundle`.
    """
    nodes, outputs, stored = [], [], []
    for i, content in enumerate(contents):
        name = f"{MEMBER_NAME}{i}"
        stored.append(numpy_helper.from_array(np.frombuffer(content, dtype=np.uint8), f"{name}/file"))
        nodes.append(helper.make_node("Identity", [f"{name}/file"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.UINT8, [len(content)]))
    graph = helper.make_graph(nodes, "combination", [], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def contents_of(path: Path) -> list[bytes]:
    """The bundles that a combination's file holds, in order."""
    stored = onnx.load(path).graph.initializer
    return [numpy_helper.to_array(tensor).tobytes() for tensor in stored]
