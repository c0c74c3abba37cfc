"""Weights to start from: what is taken, what is fitted, what is refused and how."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from earmark.errors import BundleError, MissingExtraError, RecipeError
from earmark.training.models import TaggingNetwork, build_network, initialise, read_weights
from earmark.training.recipe import ModelRecipe

LABELS = ("a", "b", "c")


def network_of(**model: Any) -> TaggingNetwork:
    return build_network(ModelRecipe(**{"width": 0.125, **model}), len(LABELS))


def start(path: Path, labels: tuple[str, ...] = LABELS, **model: Any) -> tuple[TaggingNetwork, str]:
    recipe = ModelRecipe(**{"width": 0.125, "init": str(path), **model})
    network = build_network(recipe, len(labels))
    return network, initialise(network, recipe, labels)


@pytest.fixture
def learned() -> TaggingNetwork:
    torch.manual_seed(1)
    return network_of()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pt"


def assert_same(own: dict[str, Tensor], given: dict[str, Tensor], but: tuple[str, ...] = ()) -> None:
    different = [name for name in own if not torch.equal(own[name], given[name])]
    assert sorted(different) == sorted(but)


def test_without_init_nothing_is_done(learned: TaggingNetwork) -> None:
    before = {name: tensor.clone() for name, tensor in learned.state_dict().items()}
    assert initialise(learned, ModelRecipe(), LABELS) == ""
    assert_same(learned.state_dict(), before)


def wrap_bare(state: dict[str, Tensor]) -> object:
    return state


def wrap_loop(state: dict[str, Tensor]) -> object:
    tensors = {f"network.{name}": tensor for name, tensor in state.items()}
    return {"state_dict": {**tensors, "loss.weight": torch.ones(3)}, "epoch": 3, "hyper_parameters": {"a": [1, "b"]}}


def wrap_run(state: dict[str, Tensor]) -> object:
    return {"network": state, "recipe": "{}", "labels": list(LABELS)}


def wrap_parallel(state: dict[str, Tensor]) -> object:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def wrap_old(state: dict[str, Tensor]) -> object:
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("wrap", [wrap_bare, wrap_loop, wrap_run, wrap_parallel, wrap_old])
@pytest.mark.parametrize("legacy", [False, True])
def test_every_kind_of_file_loads_whole(learned: TaggingNetwork, path: Path, wrap: Any, legacy: bool) -> None:
    wrapped = wrap(learned.state_dict())
    torch.save(wrapped, path, _use_new_zipfile_serialization=not legacy)
    network, said = start(path)
    assert_same(network.state_dict(), learned.state_dict())
    assert said == f"{102 if wrap is wrap_old else 122} tensors from weights.pt"


def test_safetensors_load_whole(learned: TaggingNetwork, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    library.save_file(learned.state_dict(), tmp_path / "w.safetensors")
    network, said = start(tmp_path / "w.safetensors")
    assert_same(network.state_dict(), learned.state_dict())
    assert said == "122 tensors from w.safetensors"
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(BundleError, match=r"w\.safetensors: is damaged, or no file of weights"):
        read_weights(tmp_path / "w.safetensors")


def test_safetensors_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "w.safetensors").touch()
    with pytest.raises(MissingExtraError, match=r"reading \.safetensors needs .* pip install 'earmark\[train\]'"):
        read_weights(tmp_path / "w.safetensors")


def test_colour_weights_on_a_grey_picture_are_those_of_three_equal_channels(path: Path) -> None:
    torch.manual_seed(2)
    colour = network_of(n_channels=3).eval()
    torch.save(colour.state_dict(), path)
    network, said = start(path, n_channels=1)
    assert said == "122 tensors from weights.pt; the first layer fitted from 3 to 1 channels"
    picture = torch.rand(1, 1, 32, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(picture), colour(picture), rtol=1e-4, atol=1e-5)


def test_grey_weights_on_three_equal_channels_are_those_of_one(learned: TaggingNetwork, path: Path) -> None:
    torch.save(learned.state_dict(), path)
    network, said = start(path, n_channels=3)
    assert said == "122 tensors from weights.pt; the first layer fitted from 1 to 3 channels"
    picture = torch.rand(1, 1, 32, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(picture), learned.eval()(picture), rtol=1e-4, atol=1e-5)


def test_a_last_layer_of_other_size_stays_random(learned: TaggingNetwork, path: Path) -> None:
    torch.save(learned.state_dict(), path)
    network, said = start(path, labels=("a", "b"))
    assert said == "120 tensors from weights.pt; the last layer is random (the file's is for 3 labels, not for 2)"
    assert torch.equal(network.get_parameter("conv1.weight"), learned.get_parameter("conv1.weight"))


def test_a_last_layer_of_other_labels_stays_random(learned: TaggingNetwork, path: Path) -> None:
    torch.save(wrap_run(learned.state_dict()), path)
    network, said = start(path, labels=("a", "c", "b"))
    assert said == "120 tensors from weights.pt; the last layer is random (the file's is for other labels)"
    assert_same(network.state_dict(), learned.state_dict(), but=("fc.weight", "fc.bias"))


def test_a_trunk_without_a_last_layer(learned: TaggingNetwork, path: Path) -> None:
    torch.save({n: t for n, t in learned.state_dict().items() if not n.startswith("fc.")}, path)
    assert start(path)[1] == "120 tensors from weights.pt; the last layer is random (the file has none)"


@pytest.mark.parametrize(("given", "wanted"), [("average", "attention"), ("attention", "average")])
def test_a_last_layer_that_pools_in_another_way_stays_random(path: Path, given: str, wanted: str) -> None:
    torch.save(network_of(pooling=given).state_dict(), path)
    said = start(path, pooling=wanted)[1]
    assert said == "120 tensors from weights.pt; the last layer is random (the file's pools in another way)"


def test_attention_and_last_layer_go_together(path: Path) -> None:
    learned = network_of(pooling="attention")
    torch.nn.init.normal_(learned.get_parameter("attention.weight"))
    torch.save(learned.state_dict(), path)
    network, said = start(path, pooling="attention")
    assert said == "124 tensors from weights.pt"
    assert_same(network.state_dict(), learned.state_dict())


def test_mobile_networks_start_too(path: Path) -> None:
    learned = network_of(name="mobile04", width=1.0)
    torch.save(learned.state_dict(), path)
    network, said = start(path, name="mobile04", width=1.0, labels=("x",))
    assert said == "310 tensors from weights.pt; the last layer is random (the file's is for 3 labels, not for 1)"
    assert torch.equal(network.get_parameter("classifier.2.bias"), learned.get_parameter("classifier.2.bias"))


@pytest.mark.parametrize(
    ("given", "wanted", "message"),
    [
        ({"name": "resnet34"}, {}, "has 'layer1.2.conv1.weight', 'layer1.2.bn1.weight', 'layer1.2.bn1.bias' and"),
        ({}, {"name": "resnet34"}, "lacks 'layer1.2.conv1.weight', 'layer1.2.bn1.weight', 'layer1.2.bn1.bias' and"),
        ({}, {"name": "mobile04"}, "another kind of network: set model.name to the file's"),
        (
            {"width": 0.25},
            {},
            r"tensor 'conv1.weight' has shape \(16, 1, 7, 7\); the network's has \(8, 1, 7, 7\); set model.width",
        ),
        (
            {"stem": "gentle"},
            {},
            r"tensor 'conv1.weight' has shape \(8, 1, 3, 3\); the network's has \(8, 1, 7, 7\); set model.stem = gent",
        ),
        ({}, {"stem": "gentle"}, "set model.stem = standard"),
        (
            {"n_channels": 3},
            {"n_channels": 2},
            r"has shape \(8, 3, 7, 7\); the network's has \(8, 2, 7, 7\); set model.n_channels = 3",
        ),
    ],
)
def test_weights_of_another_network_are_refused(
    path: Path, given: dict[str, Any], wanted: dict[str, Any], message: str
) -> None:
    torch.save(network_of(**given).state_dict(), path)
    with pytest.raises(RecipeError, match=f"weights.pt: .*{message}"):
        start(path, **wanted)


class Arbitrary:
    """Something that a file of weights has no business to hold."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code that ran",)


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle"])
def test_pickles_of_objects_are_refused_and_not_run(path: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    if how == "pickle":
        path.write_bytes(pickle.dumps({"a": Arbitrary()}))
    else:
        torch.save({"a": Arbitrary()}, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(BundleError, match="holds Python objects, and reading those may run any code; only tensors"):
        read_weights(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", b"PK\x03\x04 no archive", b"<html>not found</html>"])
def test_what_is_no_file_of_weights(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.pt: (is damaged, or no file of weights|holds Python objects)"):
        read_weights(path)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([1, 2], "holds a value of type list; expected tensors by name"),
        ({}, "holds nothing; expected tensors by name"),
        ({"epoch": 3}, "under 'epoch' it holds a value of type int; expected tensors alone"),
        (torch.ones(3), "holds a value of type Tensor; expected tensors by name"),
    ],
)
def test_what_holds_no_tensors_by_name(path: Path, held: object, message: str) -> None:
    torch.save(held, path)
    with pytest.raises(BundleError, match=rf"weights\.pt: {message}"):
        read_weights(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.pt: no such file of weights; check the spelling"):
        read_weights(tmp_path / "none.pt")
