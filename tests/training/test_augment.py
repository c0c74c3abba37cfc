from __future__ import annotations

import torch

from earmark.audio.picture import PictureSpec
from earmark.training.augment.pictures import mask, mixup, random_gain, warp
from earmark.training.augment.recipe import AugmentRecipe, BandMask, BandShift, Equaliser, Gain, Stretch, TimeMask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mixup_is_a_weighted_mean_that_stays_mostly_itself() -> None:
    n = 64
    pictures = torch.eye(n).reshape(n, 1, 1, n)
    mixed, targets = mixup(pictures, torch.eye(n), 0.4, seeded())
    torch.testing.assert_close(mixed.reshape(n, n), targets)
    torch.testing.assert_close(targets.sum(1), torch.ones(n))
    assert (targets.diagonal() >= 0.5).all()
    assert (targets.diagonal() < 0.999).any()


def test_mixup_weights_follow_the_folded_beta_distribution() -> None:
    n = 20_000
    pictures = torch.arange(2.0).repeat(n // 2).reshape(n, 1, 1, 1)
    mixed, _ = mixup(pictures, torch.zeros(n, 1), 1.0, seeded())
    # Beta(1, 1) is uniform, so folded weights are uniform in [1/2, 1]: pairs that differ have mean 3/4
    differ = (mixed > 0) & (mixed < 1)
    weights = torch.maximum(mixed, 1 - mixed)[differ]
    assert abs(weights.mean().item() - 0.75) < 0.01


def test_mixup_is_the_same_for_the_same_seed() -> None:
    pictures, targets = torch.rand(8, 1, 4, 4), torch.rand(8, 3)
    first, again = mixup(pictures, targets, 0.4, seeded(3)), mixup(pictures, targets, 0.4, seeded(3))
    other = mixup(pictures, targets, 0.4, seeded(4))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_gain_is_uniform_within_its_range() -> None:
    gain = random_gain(10_000, 8, AugmentRecipe(gain=Gain(gain_db=6.0)), seeded())
    assert gain.abs().max() <= 6
    assert abs(gain[:, 0].std().item() - 6 / 3**0.5) < 0.1
    assert torch.equal(gain, gain[:, :1].expand(-1, 8))


def test_equaliser_is_a_line_through_random_points() -> None:
    line = random_gain(10_000, 9, AugmentRecipe(equaliser=Equaliser(gain_db=6.0)), seeded())
    assert line.abs().max() <= 6
    assert abs(line[:, 2].std().item() - 6 / 3**0.5) < 0.1
    # five points over nine bands: every other band lies half-way between its neighbours
    torch.testing.assert_close(line[:, 1::2], (line[:, :-1:2] + line[:, 2::2]) / 2)


def test_no_gain_is_zero() -> None:
    assert not random_gain(3, 4, AugmentRecipe(), seeded()).any()


def test_masks_blank_whole_rows_and_columns_of_limited_width() -> None:
    spec = PictureSpec()
    recipe = AugmentRecipe(time_mask=TimeMask(max_s=0.2), band_mask=BandMask(max_share=0.25))
    masked = mask(torch.ones(200, 1, 64, 100), recipe, spec, seeded())[:, 0]
    blank_columns = (masked.sum(1) == 0).sum(1)
    blank_rows = (masked.sum(2) == 0).sum(1)
    assert blank_columns.max() == round(0.2 * spec.log_mel.frame_rate)
    assert blank_rows.max() == 16
    assert blank_columns.min() == 0
    kept = (64 - blank_rows) * (100 - blank_columns)
    assert torch.equal(masked.sum((1, 2)), kept.float())


def test_no_masks_change_nothing() -> None:
    pictures = torch.rand(2, 3, 8, 8)
    assert torch.equal(mask(pictures, AugmentRecipe(), PictureSpec(), seeded()), pictures)


def test_warp_moves_a_tone_to_other_bands_and_a_click_away_from_the_middle() -> None:
    pictures = torch.zeros(200, 1, 64, 100)
    pictures[:, 0, 32, :] = 1
    recipe = AugmentRecipe(band_shift=BandShift(max_share=0.125))
    bands = warp(pictures, recipe, seeded())[:, 0, :, 50].argmax(1)
    assert bands.min() == 24
    assert bands.max() == 40

    pictures = torch.zeros(200, 1, 4, 100)
    pictures[..., 74:76] = 1  # a quarter of the picture from its middle
    frames = warp(pictures, AugmentRecipe(stretch=Stretch(max_change=0.25)), seeded())[:, 0, 2].argmax(1)
    assert abs(frames.min().item() - (49.5 + 25 / 1.25)) <= 1
    assert abs(frames.max().item() - (49.5 + 25 * 1.25)) <= 1


def test_warp_of_nothing_changes_nothing() -> None:
    pictures = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(warp(pictures, AugmentRecipe(), seeded()), pictures)
