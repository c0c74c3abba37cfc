"""Models that ask for more than their file: other files, sparse tensors, sizes that are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import earmark
from earmark.bundle import Bundle
from earmark.errors import BundleError
from earmark.model_file import check_model_file

Change = Callable[[onnx.ModelProto], None]

WEIGHTS = np.ones((24, 3), dtype=np.float32)


def outside(tensor: onnx.TensorProto, location: str = "weights.bin") -> None:
    """Say that a tensor's values lie in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


def an_initialiser_outside(model: onnx.ModelProto) -> None:
    outside(model.graph.initializer[0])


def a_path_out_of_the_folder(model: onnx.ModelProto) -> None:
    outside(model.graph.initializer[0], "../../../etc/passwd")


def a_constant_outside(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(WEIGHTS, "more")
    outside(tensor)
    model.graph.node.append(helper.make_node("Constant", [], ["more"], value=tensor))


def a_constant_outside_in_a_branch(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(WEIGHTS, "deep")
    outside(tensor)
    out = helper.make_tensor_value_info("deep", TensorProto.FLOAT, [24, 3])
    branch = helper.make_graph([], "branch", [], [out], [tensor])
    model.graph.node.append(helper.make_node("If", ["c"], ["x"], then_branch=branch, else_branch=branch))


def a_constant_outside_in_a_function(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(WEIGHTS, "deep")
    outside(tensor)
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    model.functions.append(helper.make_function("own", "F", [], ["y"], [node], [helper.make_opsetid("", 17)]))


def a_sparse_tensor(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "values")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**12]))


def a_huge_initialiser(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [10**6, 10**6]


def a_negative_size(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-1, 3]


@pytest.fixture
def changed(make_tiny_bundle: Callable[..., Path], tmp_path: Path) -> Callable[[Change], Path]:
    """A bundle whose network is changed, with a file beside it that holds what it may want."""

    def make(change: Change) -> Path:
        path = make_tiny_bundle(tmp_path / "it.onnx")
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())
        (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
        return path

    return make


@pytest.mark.parametrize(
    "change",
    [
        an_initialiser_outside,
        a_path_out_of_the_folder,
        a_constant_outside,
        a_constant_outside_in_a_branch,
        a_constant_outside_in_a_function,
    ],
)
def test_weights_in_another_file_are_refused(change: Change, changed: Callable[[Change], Path]) -> None:
    path = changed(change)
    for content in (None, path.read_bytes()):
        with pytest.raises(BundleError, match=r"it\.onnx: keeps weights in another file"):
            Bundle(path, content=content)


def test_sparse_tensors_are_refused(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(BundleError, match=r"it\.onnx: holds a sparse tensor"):
        Bundle(changed(a_sparse_tensor))


def test_tensors_larger_than_what_is_there_are_refused(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(BundleError, match="a tensor of 1000000 x 1000000 values, of which 288 bytes are there"):
        Bundle(changed(a_huge_initialiser))
    with pytest.raises(BundleError, match=r"it\.onnx: states a tensor"):
        Bundle(changed(a_negative_size))


def test_a_graph_that_stands_twice_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice.onnx"
    twice.write_bytes(tiny_bundle.read_bytes() * 2)  # a reader of protocol buffers would merge the two
    with pytest.raises(BundleError, match="cannot be loaded as an ONNX model"):
        Bundle(twice)


def test_every_cut_of_a_bundle_is_an_error(tiny_bundle: Path, tmp_path: Path) -> None:
    whole, cut = tiny_bundle.read_bytes(), tmp_path / "cut.onnx"
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        with pytest.raises(BundleError):
            Bundle(cut)


def test_what_earmark_writes_is_accepted(tiny_bundle: Path) -> None:
    check_model_file(tiny_bundle)
    check_model_file(Path(earmark.__file__).parent / "models" / "embedded.onnx")
