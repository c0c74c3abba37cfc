from __future__ import annotations

import pytest
import torch

from earmark.training.models import ResNet


def test_width_one_has_the_shape_of_the_imagenet_weights() -> None:
    state = ResNet(1000).state_dict()
    # counts and shapes as published for ResNet18: He et al. 2016, table 1, in the common PyTorch naming
    assert len(state) == 122
    assert sum(p.numel() for p in ResNet(1000).parameters()) == 11_689_512
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["layer4.1.bn2.running_var"].shape == (512,)
    assert state["fc.weight"].shape == (1000, 512)


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


def test_pooling_both_adds_the_maximum_over_time() -> None:
    torch.manual_seed(0)
    average, both = ResNet(3, 1, 0.125).eval(), ResNet(3, 1, 0.125, pooling="both").eval()
    both.load_state_dict(average.state_dict())
    pictures = torch.rand(1, 1, 64, 200)
    features = average.features(pictures).mean(2)
    expected = average.fc(features.mean(2) + features.max(2).values)
    torch.testing.assert_close(both(pictures), expected)
    assert not torch.allclose(both(pictures), average(pictures))


def test_gentle_stem_keeps_twice_the_resolution() -> None:
    pictures = torch.zeros(1, 1, 64, 128)
    assert ResNet(3, 1, 0.125).features(pictures).shape[2:] == (2, 4)
    assert ResNet(3, 1, 0.125, stem="gentle").features(pictures).shape[2:] == (4, 8)
