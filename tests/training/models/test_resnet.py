from __future__ import annotations

import pytest
import torch

from earmark.training.models import ResNet
from earmark.training.models.resnet import BLOCKS_PER_STAGE, Shortcut


def test_width_one_has_the_shape_of_the_imagenet_weights() -> None:
    state = ResNet(1000).state_dict()
    # counts and shapes as published for ResNet18: He et al. 2016, table 1, in the common PyTorch naming
    assert len(state) == 122
    assert sum(p.numel() for p in ResNet(1000).parameters()) == 11_689_512
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["layer4.1.bn2.running_var"].shape == (512,)
    assert state["fc.weight"].shape == (1000, 512)


def test_resnet34_has_the_shape_of_the_imagenet_weights() -> None:
    network = ResNet(1000, blocks=BLOCKS_PER_STAGE["resnet34"])
    assert len(network.state_dict()) == 218
    assert sum(p.numel() for p in network.parameters()) == 21_797_672
    assert network.state_dict()["layer3.5.conv2.weight"].shape == (256, 256, 3, 3)


@pytest.mark.parametrize(("height", "n_frames"), [(32, 32), (64, 251), (128, 40)])
def test_any_picture_gives_a_logit_a_label(height: int, n_frames: int) -> None:
    assert ResNet(7, 1, 0.125)(torch.zeros(2, 1, height, n_frames)).shape == (2, 7)


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_one_channel_is_taken_as_so_many_equal_ones(n_channels: int) -> None:
    network = ResNet(4, n_channels, 0.125).eval()
    grey = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(network(grey), network(grey.repeat(1, n_channels, 1, 1)))


def test_width_scales_channels() -> None:
    assert ResNet(4, 1, 0.375).conv1.out_channels == 24
    assert ResNet(4, 1, 0.375).fc.in_features == 192


def test_gentle_stem_keeps_twice_the_resolution() -> None:
    pictures = torch.zeros(1, 1, 64, 128)
    assert ResNet(3, 1, 0.125).features(pictures).shape[2:] == (2, 4)
    assert ResNet(3, 1, 0.125, stem="gentle").features(pictures).shape[2:] == (4, 8)


@pytest.mark.parametrize(("stem", "reach"), [("standard", 435), ("gentle", 215)])
def test_gentle_stem_sees_less(stem: str, reach: int) -> None:
    # the reach of what one feature sees, by hand: 1 + the sum over layers of (kernel - 1) times the stride before it
    network = ResNet(1, 1, 0.125, stem=stem).eval()  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.ones_(module.weight)
    pictures = torch.zeros(1, 1, 32, 1024, requires_grad=True, dtype=torch.float64)
    features = network.double().features(pictures + 1)
    features[0, :, :, features.shape[3] // 2].sum().backward()
    assert pictures.grad is not None
    seen = pictures.grad.abs().sum(dim=(0, 1, 2)).nonzero().ravel()
    assert int(seen[-1] - seen[0]) + 1 <= reach
    assert int(seen[-1] - seen[0]) + 1 > 0.9 * reach


@pytest.mark.parametrize("stem", ["standard", "gentle"])
def test_stride_is_the_frames_to_a_step(stem: str) -> None:
    network = ResNet(1, 1, 0.125, stem=stem).eval()  # type: ignore[arg-type]
    assert network.features(torch.zeros(1, 1, 64, 320)).shape[3] == 320 // network.stride


@pytest.mark.parametrize("size", [(64, 100), (63, 101)])
def test_a_narrow_shortcut_gives_the_same_while_it_learns(size: tuple[int, int]) -> None:
    shortcut = Shortcut(8, 16, 2).to(memory_format=torch.channels_last)
    x = torch.randn(32, 8, *size).contiguous(memory_format=torch.channels_last)
    learning = shortcut.train()(x)
    torch.testing.assert_close(learning, shortcut.eval()(x))


def test_a_narrow_network_learns_in_the_layout_that_breaks_its_library() -> None:
    network = ResNet(n_labels=3, n_channels=1, width=0.125, stem="gentle").to(memory_format=torch.channels_last)
    for _ in range(3):
        network(torch.randn(32, 1, 128, 200)).sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)
