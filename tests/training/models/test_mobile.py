"""Mobile networks beside the published table, and beside EfficientAT's checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from earmark.training.models import MobileNet, build_network, initialise
from earmark.training.models.mobile import rounded_channels
from earmark.training.recipe import ModelRecipe


def test_width_one_has_as_many_parameters_as_published() -> None:
    # F. Schmid et al., ICASSP 2023, table 1: mn10 has 4.88 million
    assert sum(p.numel() for p in MobileNet(527).parameters()) == pytest.approx(4.88e6, rel=0.01)


def test_names_and_shapes_are_the_checkpoints() -> None:
    state = MobileNet(527, width=0.4).state_dict()
    assert len(state) == 312
    assert state["features.0.0.weight"].shape == (8, 1, 3, 3)
    assert state["features.4.block.2.conc_se_layers.0.fc1.weight"].shape == (8, 32)
    assert state["features.12.block.1.0.weight"].shape == (272, 1, 3, 3)
    assert state["classifier.2.weight"].shape == (512, 384)
    assert state["classifier.5.bias"].shape == (527,)


@pytest.mark.parametrize(("n", "rounded"), [(1.6, 8), (11.2, 16), (25.6, 24), (28.8, 32), (64, 64), (12, 16)])
def test_channels_are_multiples_of_eight(n: float, rounded: int) -> None:
    assert rounded_channels(n) == rounded


@pytest.mark.parametrize(("height", "n_frames"), [(32, 32), (64, 251), (128, 500)])
def test_any_picture_gives_a_logit_a_label(height: int, n_frames: int) -> None:
    network = MobileNet(7, width=0.125).eval()
    pictures = torch.zeros(2, 1, height, n_frames)
    assert network(pictures).shape == (2, 7)
    assert network.features(pictures).shape[3] == -(-n_frames // network.stride)


def test_recipes_width_multiplies_the_names() -> None:
    narrow = build_network(ModelRecipe(name="mobile10", width=0.5), 4)
    assert narrow.get_submodule("classifier.5").in_features == 640
    assert build_network(ModelRecipe(name="mobile04"), 4).get_submodule("classifier.5").in_features == 512


def test_without_its_hidden_layer_the_head_is_one_linear_layer() -> None:
    network = build_network(ModelRecipe(name="mobile04", hidden_layer=False), 4).eval()
    assert [type(m) for m in network.get_submodule("classifier").modules() if list(m.parameters(recurse=False))] == [
        torch.nn.Linear
    ]
    pictures = torch.randn(2, 1, 64, 96)
    pooled = network.features(pictures).mean(dim=(2, 3))
    last = network.get_submodule("classifier.5")
    torch.testing.assert_close(network(pictures), pooled @ last.weight.T + last.bias)


def test_weights_of_a_hidden_layer_are_left_out(tmp_path: Path) -> None:
    torch.save(MobileNet(9, width=0.4).state_dict(), tmp_path / "whole.pt")
    recipe = ModelRecipe(name="mobile04", hidden_layer=False, init=str(tmp_path / "whole.pt"))
    network = build_network(recipe, 4)
    said = initialise(network, recipe, ("a", "b", "c", "d"))
    assert "the last layer is random (the file's is for 9 labels, not for 4)" in said
    whole = torch.load(tmp_path / "whole.pt")
    for name, tensor in network.state_dict().items():
        if not name.startswith("classifier."):
            torch.testing.assert_close(tensor, whole[name])


def test_residual_networks_have_no_hidden_layer_to_leave_out() -> None:
    with pytest.raises(ValueError, match="resnet18 has none to leave out"):
        ModelRecipe(hidden_layer=False)


@pytest.mark.real_data
def test_efficientats_checkpoint_loads_whole(real_data: Path) -> None:
    path = real_data.parent / "models" / "mn04_as_mAP_432.pt"
    if not path.is_file():
        pytest.skip(f"no checkpoint at {path}")
    tensors = torch.load(path, weights_only=True)
    network = build_network(ModelRecipe(name="mobile04"), 527)
    network.load_state_dict(tensors, strict=True)
    assert len(tensors) == 312


@pytest.mark.real_data
def test_efficientats_checkpoint_starts_a_network_of_other_labels(real_data: Path) -> None:
    path = real_data.parent / "models" / "mn04_as_mAP_432.pt"
    if not path.is_file():
        pytest.skip(f"no checkpoint at {path}")
    model = ModelRecipe(name="mobile04", n_channels=3, init=str(path))
    assert initialise(build_network(model, 10), model, tuple("abcdefghij")) == (
        "310 tensors from mn04_as_mAP_432.pt; the first layer fitted from 1 to 3 channels; "
        "the last layer is random (the file's is for 527 labels, not for 10)"
    )
