"""Fewer bits: what the file weighs, what the weights become, and that scores hardly move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.bundle import PRECISIONS
from earmark.errors import BundleError
from earmark.training.export import average, halve_weights, precision_of, to_onnx, with_precision
from earmark.training.export.precision import int8_static, int8_weights, whole_weights
from earmark.training.models import ResNet

PICTURE = PictureSpec(log_mel=LogMelSpec(n_mels=32))


@pytest.fixture(scope="module")
def network() -> ResNet:
    torch.manual_seed(0)
    made = ResNet(3, 1, 0.125).eval()
    made.bn1.running_mean += torch.rand(8)
    return made


@pytest.fixture(scope="module")
def bytes_of_model(network: ResNet) -> bytes:
    return to_onnx(network, PICTURE, 40).SerializeToString()


@pytest.fixture
def model(bytes_of_model: bytes) -> onnx.ModelProto:
    """A small residual network; not shared."""
    return onnx.load_from_string(bytes_of_model)


@pytest.fixture
def pictures(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 1, 32, 40)).astype(np.float32)


def run(model: onnx.ModelProto, pictures: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"pictures": pictures})[0]


def layer(operator: str, weights: np.ndarray, **attributes: Any) -> onnx.ModelProto:
    """One layer, from `pictures` to `scores`."""
    node = helper.make_node(operator, ["pictures", "weights"], ["scores"], **attributes)
    n = len(weights) if operator == "Conv" else 1
    shape: list[int | str] = ["n", 1, 8, 8] if operator == "Conv" else ["n", 40]
    result: list[int | str] = ["n", n, 8, 8] if operator == "Conv" else ["n", 30]
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
        for name, size in (("pictures", shape), ("scores", result))
    ]
    graph = helper.make_graph([node], "layer", infos[:1], infos[1:], [numpy_helper.from_array(weights, "weights")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("precision", "share", "apart"), [("fp32", 1.0, 1e-6), ("fp16", 0.6, 2e-3), ("int8", 0.4, 2e-2)]
)
def test_fewer_bits_weigh_less_and_hardly_change_scores(
    network: ResNet, model: onnx.ModelProto, pictures: np.ndarray, precision: str, share: float, apart: float
) -> None:
    n_bytes = len(model.SerializeToString())
    with torch.inference_mode():
        expected = network(torch.from_numpy(pictures)).sigmoid().numpy()
    smaller = with_precision(model, precision)
    assert len(smaller.SerializeToString()) <= share * n_bytes
    assert precision_of(smaller) == precision
    np.testing.assert_allclose(run(smaller, pictures), expected, atol=apart)


def test_static_integers(model: onnx.ModelProto, pictures: np.ndarray) -> None:
    expected = run(model, pictures)
    smaller = with_precision(model, "int8-static", pictures)
    assert precision_of(smaller) == "int8-static"
    np.testing.assert_allclose(run(smaller, pictures), expected, atol=0.06)
    readers = {name for node in smaller.graph.node if node.op_type == "QuantizeLinear" for name in node.output}
    kept = [node for node in smaller.graph.node if node.op_type in {"ReduceMean", "Gemm", "Sigmoid"}]
    assert len(kept) == 3
    assert readers.isdisjoint(name for node in kept for name in node.input)


def test_static_weights_have_seven_bits(model: onnx.ModelProto, pictures: np.ndarray) -> None:
    smaller = int8_static(model, pictures)
    weights = [numpy_helper.to_array(tensor) for tensor in smaller.graph.initializer]
    kernels = [values for values in weights if values.dtype == np.int8 and values.ndim == 4]
    assert len(kernels) == 20
    assert max(np.abs(values.astype(int)).max() for values in kernels) <= 64


def test_static_integers_of_an_average(model: onnx.ModelProto, pictures: np.ndarray) -> None:
    expected = run(model, pictures)
    made = with_precision(average([model, model]), "int8-static", pictures)
    np.testing.assert_allclose(run(made, pictures), expected, atol=0.06)


def test_a_network_without_convolutions_has_no_static_integers(pictures: np.ndarray) -> None:
    model = layer("Gemm", np.ones((40, 30), dtype=np.float32))
    with pytest.raises(BundleError) as caught:
        with_precision(model, "int8-static", np.ones((2, 40), dtype=np.float32))
    assert str(caught.value) == (
        "this network has no convolution to compute with 8-bit integers; use --precision int8, which rounds its "
        "weights alone"
    )


def test_a_network_that_is_damaged_has_none_either(model: onnx.ModelProto, pictures: np.ndarray) -> None:
    model.graph.node[0].op_type = "Convolve"
    with pytest.raises(BundleError) as caught:
        with_precision(model, "int8-static", pictures)
    assert str(caught.value).startswith("this network cannot be computed with 8-bit integers (")
    assert str(caught.value).endswith("); use --precision int8, which rounds its weights alone")


@pytest.mark.parametrize(
    ("operator", "shape", "axis", "attributes"),
    [
        ("Conv", (30, 1, 7, 7), 0, {"pads": [3, 3, 3, 3]}),
        ("Gemm", (40, 30), 1, {}),
        ("Gemm", (30, 40), 0, {"transB": 1}),
        ("MatMul", (40, 30), 1, {}),
    ],
)
def test_each_output_channel_has_its_own_scale(
    rng: np.random.Generator, operator: str, shape: tuple[int, ...], axis: int, attributes: dict[str, Any]
) -> None:
    # a channel a thousand times as large as the one before would leave nothing of it on one scale
    size = np.ones(len(shape), dtype=int)
    size[axis] = -1
    weights = rng.standard_normal(shape) * np.logspace(-3, 3, 30).reshape(size)
    weights[(slice(None),) * axis + (4,)] = 0
    before = layer(operator, weights.astype(np.float32), **attributes)
    taken = (2, 1, 8, 8) if operator == "Conv" else (2, 40)
    pictures = rng.standard_normal(taken).astype(np.float32)
    expected = run(before, pictures)
    after = int8_weights(before)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in after.graph.initializer}
    others = tuple(i for i in range(len(shape)) if i != axis)
    assert stored["weights.int8"].dtype == np.int8
    assert np.delete(np.abs(stored["weights.int8"].astype(int)).max(axis=others), 4).tolist() == [127] * 29
    given = run(after, pictures)
    spread = np.abs(expected).max(axis=tuple(i for i in range(expected.ndim) if i != 1), keepdims=True)
    assert (np.abs(given - expected) <= 0.05 * spread).all()


def test_rounding_by_hand() -> None:
    weights = np.zeros((40, 30), dtype=np.float32)
    weights[:3, 0] = [2.54, 1.0, -0.011]
    model = int8_weights(layer("MatMul", weights))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert stored["weights.int8"][:3, 0].tolist() == [127, 50, -1]
    np.testing.assert_allclose(stored["weights.scale"][0, :2], [0.02, 1 / 127], rtol=1e-6)


def test_small_tensors_stay_as_they_are() -> None:
    model = layer("Conv", np.full((3, 1, 3, 3), 0.3, dtype=np.float32), pads=[1, 1, 1, 1])
    before = model.SerializeToString()
    assert int8_weights(model).SerializeToString() == before
    assert halve_weights(model).SerializeToString() == before


def test_halves_become_whole_again(model: onnx.ModelProto, pictures: np.ndarray) -> None:
    halved = halve_weights(model)
    expected = run(halved, pictures)
    whole = whole_weights(halved)
    assert precision_of(whole) == "fp32"
    assert not any(node.op_type == "Cast" for node in whole.graph.node)
    np.testing.assert_array_equal(run(whole, pictures), expected)


def test_from_any_precision_of_weights(model: onnx.ModelProto, pictures: np.ndarray) -> None:
    twice = with_precision(with_precision(model, "fp16"), "fp16")
    assert precision_of(twice) == "fp16"
    assert len([node for node in twice.graph.node if node.op_type == "Cast"]) == len(
        [tensor for tensor in twice.graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    )


def test_loading_folds_what_restores_the_weights(model: onnx.ModelProto, tmp_path: Path) -> None:
    for precision in ("fp16", "int8"):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        made = onnx.ModelProto()
        made.CopyFrom(model)
        bundle = with_precision(made, precision)
        onnxruntime.InferenceSession(bundle.SerializeToString(), options, providers=["CPUExecutionProvider"])
        operators = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
        assert operators.isdisjoint({"Cast", "Mul", "DequantizeLinear"})


def test_every_precision_is_made(model: onnx.ModelProto, pictures: np.ndarray) -> None:
    for precision in PRECISIONS:
        made = onnx.ModelProto()
        made.CopyFrom(model)
        assert precision_of(with_precision(made, precision, pictures)) == precision
