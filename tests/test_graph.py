"""The graph of an ONNX file is read as the library onnx reads it, and gives more than it was written to give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from earmark.bundle import FRAMES_NAME, OUTPUT_NAME
from earmark.graph import features_before, read_graph, with_outputs
from earmark.tagging.tagger import model_path

N_FEATURES, N_LABELS = 4, 3


def model_of(nodes: Sequence[onnx.NodeProto], shape: Sequence[int | str] = ("n", N_FEATURES)) -> bytes:
    """A model of nodes from `features` to `scores`, with `weights`, `others` and `steps` stored."""
    rng = np.random.default_rng(0)
    stored = [
        numpy_helper.from_array(rng.standard_normal((N_FEATURES, N_LABELS)).astype(np.float32), name)
        for name in ("weights", "others")
    ]
    taken = helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)
    given = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["n", N_LABELS])
    graph = helper.make_graph(nodes, "network", [taken], [given], stored)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def found(*nodes: onnx.NodeProto) -> tuple[str, ...]:
    return features_before(read_graph(model_of(nodes)), OUTPUT_NAME)


def node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


class TestReading:
    def test_is_what_onnx_reads(self) -> None:
        path = model_path(None)
        model, graph = onnx.load(path), read_graph(path.read_bytes())
        assert graph.stored == {tensor.name for tensor in model.graph.initializer}
        assert graph.nodes == tuple((n.op_type, tuple(n.input), tuple(n.output)) for n in model.graph.node)

    @pytest.mark.parametrize("content", [b"", b"\x10\x08"])
    def test_a_file_without_a_graph_has_nothing(self, content: bytes) -> None:
        assert read_graph(content) == ((), frozenset())

    @pytest.mark.parametrize(
        ("content", "said"),
        [(b"not a model", "a field of kind"), (b"\x3a\x05\x00", "within a field"), (b"\x3a\xff", "within a number")],
    )
    def test_another_file_is_none(self, content: bytes, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            read_graph(content)

    def test_a_file_that_is_cut_is_none(self) -> None:
        whole = model_of([node("MatMul", "features weights", "scores")])
        with pytest.raises(ValueError, match="no ONNX model"):
            read_graph(whole[: len(whole) // 2])


class TestFeatures:
    def test_are_what_the_last_linear_layer_takes(self) -> None:
        layers = [node("Relu", "features", "last"), node("Gemm", "last weights", "logits")]
        assert found(*layers, node("Sigmoid", "logits", "scores")) == ("last",)

    def test_are_found_whichever_side_the_weights_are_on_and_however_they_are_stored(self) -> None:
        halved = [node("Cast", "weights", "half", to=TensorProto.FLOAT16), node("Cast", "half", "whole", to=1)]
        assert found(*halved, node("MatMul", "features whole", "scores")) == ("features",)
        assert found(node("MatMul", "weights features", "scores")) == ("features",)

    def test_are_those_of_each_network_in_order(self) -> None:
        assert found(
            node("Relu", "features", "first"),
            node("Tanh", "features", "second"),
            node("MatMul", "second others", "b"),
            node("MatMul", "first weights", "a"),
            node("Mean", "a b", "scores"),
        ) == ("first", "second")

    def test_are_not_what_weighs_steps(self) -> None:
        assert found(
            node("Relu", "features", "hidden"),
            node("MatMul", "features others", "attention"),
            node("Softmax", "attention", "shares"),
            node("MatMul", "hidden weights", "logits"),
            node("Mul", "shares logits", "weighed"),
            node("ReduceSum", "weighed", "scores"),
        ) == ("hidden",)

    @pytest.mark.parametrize(
        ("nodes", "said"),
        [
            ([node("Identity", "features", "scores")], "'features' is an input, not by a linear layer"),
            ([node("Relu", "features", "scores")], "'scores' is made by Relu, not by a linear layer"),
            ([node("MatMul", "features features", "scores")], "'scores' is made by MatMul"),
            ([node("Identity", "weights", "scores")], "no linear layer makes 'scores'"),
            ([node("Softmax", "features", "scores")], "no linear layer makes 'scores'"),
            ([], "'scores' is an input"),
        ],
    )
    def test_another_network_has_none(self, nodes: list[onnx.NodeProto], said: str) -> None:
        with pytest.raises(ValueError, match=re.escape(said)):
            found(*nodes)


class TestOutputs:
    def test_are_added_behind_the_others(self) -> None:
        layers = [node("Relu", "features", "last"), node("Gemm", "last weights", "scores")]
        content = model_of(layers)
        session = onnxruntime.InferenceSession(with_outputs(content, ["last"]))
        assert [output.name for output in session.get_outputs()] == [OUTPUT_NAME, "last"]
        x = np.random.default_rng(1).standard_normal((5, N_FEATURES)).astype(np.float32)
        scores, last = session.run(None, {"features": x})
        np.testing.assert_array_equal(last, x.clip(0))
        np.testing.assert_array_equal(scores, onnxruntime.InferenceSession(content).run(None, {"features": x})[0])

    def test_a_long_name_and_none(self) -> None:
        name = "network/" * 200
        content = model_of([node("Relu", "features", name), helper.make_node("MatMul", [name, "weights"], ["scores"])])
        more = onnx.load_from_string(with_outputs(content, features_before(read_graph(content), OUTPUT_NAME)))
        assert [output.name for output in more.graph.output] == [OUTPUT_NAME, name]
        assert onnx.load_from_string(with_outputs(content, [])) == onnx.load_from_string(content)

    def test_of_a_file_that_gives_more_already(self, tmp_path: Path) -> None:
        content = model_of([node("Relu", "features", FRAMES_NAME), node("MatMul", f"{FRAMES_NAME} weights", "scores")])
        twice = with_outputs(with_outputs(content, [FRAMES_NAME]), ["features"])
        assert [output.name for output in onnx.load_from_string(twice).graph.output] == [
            OUTPUT_NAME,
            FRAMES_NAME,
            "features",
        ]
