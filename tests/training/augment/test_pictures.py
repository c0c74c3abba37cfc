from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.training.augment.pictures import _affine, mask, random_gain, relight, warp
from earmark.training.augment.recipe import (
    AugmentRecipe,
    BandMask,
    BandShift,
    Brightness,
    Contrast,
    Cutout,
    Equaliser,
    Gain,
    ResizedCrop,
    Stretch,
    TimeMask,
)

N = 400
SPEC = PictureSpec()
COLOUR = PictureSpec(log_mel=LogMelSpec(n_mels=48), channels="colour")
PARTS: dict[str, Any] = {
    "stretch": Stretch(),
    "band_shift": BandShift(max_share=0.2),
    "resized_crop": ResizedCrop(),
    "brightness": Brightness(),
    "contrast": Contrast(max_change=0.5),
    "time_mask": TimeMask(max_s=0.5),
    "band_mask": BandMask(max_share=0.5),
    "cutout": Cutout(max_share=0.5),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def changed_by(
    spectrograms: torch.Tensor, recipe: AugmentRecipe, seed: int = 0, spec: PictureSpec = SPEC
) -> torch.Tensor:
    """All of this module one after the other, on a copy."""
    draws = seeded(seed)
    values = relight(warp(spectrograms.clone(), recipe, draws), recipe, spec, draws)
    return mask(values[:, None], recipe, spec, draws)[:, 0]


@pytest.mark.parametrize("name", PARTS)
def test_each_keeps_shape_and_type_follows_the_seed_and_its_probability(name: str) -> None:
    spectrograms = torch.rand(N, 64, 30) + 0.1
    often = changed_by(spectrograms, AugmentRecipe(**{name: PARTS[name]}))
    assert often.shape == spectrograms.shape
    assert often.dtype == torch.float32
    assert torch.equal(often, changed_by(spectrograms, AugmentRecipe(**{name: PARTS[name]})))
    assert not torch.equal(often, changed_by(spectrograms, AugmentRecipe(**{name: PARTS[name]}), seed=1))
    for probability, least, most in ((0.0, 0, 0), (0.5, 0.38 * N, 0.6 * N), (1.0, 0.9 * N, N)):
        part = msgspec.structs.replace(PARTS[name], probability=probability)
        n_changed = (changed_by(spectrograms, AugmentRecipe(**{name: part})) != spectrograms).flatten(1).any(1).sum()
        assert least <= n_changed <= most


def test_nothing_changes_nothing() -> None:
    spectrograms = torch.rand(2, 64, 8)
    assert torch.equal(changed_by(spectrograms, AugmentRecipe()), spectrograms)
    assert random_gain(3, 4, AugmentRecipe(), seeded()) is None


class TestGain:
    def test_is_uniform_within_its_range_and_the_same_for_all_bands(self) -> None:
        gain = random_gain(10_000, 8, AugmentRecipe(gain=Gain(gain_db=6.0)), seeded())
        assert gain is not None
        assert gain.shape == (10_000, 1)
        assert gain.dtype == torch.float32
        assert 5.9 < gain.abs().max() <= 6
        assert abs(gain.std().item() - 6 / 3**0.5) < 0.1

    def test_equaliser_is_a_line_through_random_points(self) -> None:
        line = random_gain(10_000, 9, AugmentRecipe(equaliser=Equaliser(gain_db=6.0)), seeded())
        assert line is not None
        assert line.abs().max() <= 6
        assert abs(line[:, 2].std().item() - 6 / 3**0.5) < 0.1
        # five points over nine bands: every other band lies half-way between its neighbours
        torch.testing.assert_close(line[:, 1::2], (line[:, :-1:2] + line[:, 2::2]) / 2)

    def test_both_add_up(self) -> None:
        both = random_gain(10_000, 9, AugmentRecipe(gain=Gain(gain_db=3.0), equaliser=Equaliser(gain_db=6.0)), seeded())
        assert both is not None
        assert 8 < both.abs().max() <= 9
        assert abs(both[:, 0].var().item() - (9 + 36) / 3) < 0.5

    def test_probability_is_of_each_by_itself(self) -> None:
        recipe = AugmentRecipe(gain=Gain(probability=0.25), equaliser=Equaliser(probability=0.5))
        gain = random_gain(10_000, 9, recipe, seeded())
        assert gain is not None
        level = (gain == gain[:, :1]).all(1)
        assert abs(level.float().mean().item() - 0.5) < 0.03
        assert abs((gain == 0).all(1).float().mean().item() - 0.75 * 0.5) < 0.03


class TestWarp:
    def test_shift_moves_a_tone_to_other_bands(self) -> None:
        spectrograms = torch.zeros(N, 64, 20)
        spectrograms[:, 32] = 1
        bands = warp(spectrograms, AugmentRecipe(band_shift=BandShift(max_share=0.125)), seeded())[:, :, 10].argmax(1)
        assert bands.min() == 24
        assert bands.max() == 40

    def test_stretch_moves_a_click_away_from_the_middle(self) -> None:
        spectrograms = torch.zeros(N, 4, 100)
        spectrograms[..., 74:76] = 1  # a quarter of the picture from its middle
        frames = warp(spectrograms, AugmentRecipe(stretch=Stretch(max_change=0.25)), seeded())[:, 2].argmax(1)
        assert abs(frames.min().item() - (49.5 + 25 / 1.25)) <= 1
        assert abs(frames.max().item() - (49.5 + 25 * 1.25)) <= 1

    def test_crop_of_a_fixed_share_moves_a_ramp_as_computed(self) -> None:
        time = torch.linspace(-1, 1, 201)
        crop = ResizedCrop(time_share=(0.5, 0.5), band_share=(1.0, 1.0))
        made = warp(time.repeat(N, 8, 1), AugmentRecipe(resized_crop=crop), seeded())[:, 4]
        # a ramp shows where each frame was taken from: half as steep, anywhere within the picture
        slopes = (made[:, 150] - made[:, 50]) / (time[150] - time[50])
        torch.testing.assert_close(slopes, torch.full((N,), 0.5), atol=1e-4, rtol=0)
        middles = made[:, 100]
        assert -0.51 < middles.min() < -0.48
        assert 0.48 < middles.max() < 0.51

    def test_crop_moves_a_tone_within_the_bands(self) -> None:
        spectrograms = torch.zeros(N, 100, 10)
        spectrograms[:, 50] = 1
        crop = ResizedCrop(time_share=(1.0, 1.0), band_share=(0.8, 0.8))
        bands = warp(spectrograms, AugmentRecipe(resized_crop=crop), seeded())[:, :, 5].argmax(1)
        # from between 0 and 20 bands cut off below: (50.5 - 20) / 0.8 to 50.5 / 0.8
        assert abs(bands.min().item() - 37.6) <= 1
        assert abs(bands.max().item() - 62.6) <= 1

    def test_shares_above_one_reach_outside_where_the_outermost_values_go_on(self) -> None:
        crop = ResizedCrop(time_share=(2.0, 2.0), band_share=(1.0, 1.0))
        made = warp(torch.linspace(1, 2, 100).repeat(N, 4, 1), AugmentRecipe(resized_crop=crop), seeded())[:, 0]
        assert made.min() == pytest.approx(1)
        assert made.max() == pytest.approx(2)
        assert (((made == 1) | (made == 2)).sum(1) - 50).abs().max() <= 2

    def test_is_torchs_bilinear_sampling(self) -> None:
        spectrograms = torch.rand(20, 24, 30)
        recipe = AugmentRecipe(
            stretch=Stretch(max_change=0.5),
            band_shift=BandShift(max_share=0.4),
            resized_crop=ResizedCrop(time_share=(0.5, 1.5), band_share=(0.5, 1.5)),
        )
        scale, offset = _affine(20, recipe, seeded())
        affine = torch.zeros(20, 2, 3)
        affine[:, 0, 0], affine[:, 1, 1] = scale
        affine[:, :, 2] = offset.T
        grid = torch.nn.functional.affine_grid(affine, [20, 1, 24, 30], align_corners=False)
        wanted = torch.nn.functional.grid_sample(
            spectrograms[:, None], grid, padding_mode="border", align_corners=False
        )[:, 0]
        torch.testing.assert_close(warp(spectrograms.clone(), recipe, seeded()), wanted, atol=1e-4, rtol=0)

    def test_all_three_are_one_map_in_the_order_of_the_recipe(self) -> None:
        ramp = torch.linspace(-1, 1, 401).repeat(N, 3, 1)
        recipe = AugmentRecipe(stretch=Stretch(max_change=0.2), resized_crop=ResizedCrop(time_share=(0.5, 0.5)))
        made = warp(ramp.clone(), recipe, seeded())[:, 1]
        slopes = (made[:, 250] - made[:, 150]) / (ramp[0, 0, 250] - ramp[0, 0, 150])
        assert abs(slopes.min().item() - 0.5 / 1.2) < 0.01
        assert abs(slopes.max().item() - 0.5 * 1.2) < 0.01


class TestRelight:
    def test_brightness_is_the_same_for_all_values_and_within_its_range(self) -> None:
        spectrograms = torch.rand(N, 6, 8)
        change = relight(spectrograms.clone(), AugmentRecipe(brightness=Brightness(max_change=0.3)), SPEC, seeded())
        change -= spectrograms
        assert 0.29 < change.abs().max() <= 0.3 + 1e-6
        torch.testing.assert_close(change, change[:, :1, :1].expand_as(change), atol=1e-6, rtol=0)

    def test_contrast_keeps_the_mean_and_scales_the_deviation(self) -> None:
        spectrograms = torch.randn(N, 6, 8)
        made = relight(spectrograms.clone(), AugmentRecipe(contrast=Contrast(max_change=0.4)), SPEC, seeded())
        torch.testing.assert_close(made.mean((1, 2)), spectrograms.mean((1, 2)), atol=1e-5, rtol=0)
        factors = made.std((1, 2)) / spectrograms.std((1, 2))
        assert 0.6 - 1e-4 <= factors.min() < 0.62
        assert 1.38 < factors.max() <= 1.4 + 1e-4

    def test_minmax_stays_within_its_bounds_and_others_go_beyond(self) -> None:
        spectrograms = torch.rand(N, 6, 8)
        recipe = AugmentRecipe(brightness=Brightness(max_change=0.5), contrast=Contrast(max_change=0.5))
        inside = relight(spectrograms.clone(), recipe, PictureSpec(normalization="minmax"), seeded())
        beyond = relight(spectrograms.clone(), recipe, SPEC, seeded())
        assert torch.equal(inside, beyond.clamp(0, 1))
        assert beyond.min() < 0 < 1 < beyond.max()


class TestMask:
    def test_blanks_whole_rows_and_columns_of_limited_width(self) -> None:
        recipe = AugmentRecipe(time_mask=TimeMask(max_s=0.2), band_mask=BandMask(max_share=0.25))
        masked = mask(torch.ones(N, 1, 64, 100), recipe, SPEC, seeded())[:, 0]
        blank_columns, blank_rows = (masked.sum(1) == 0).sum(1), (masked.sum(2) == 0).sum(1)
        assert blank_columns.max() == round(0.2 * SPEC.log_mel.frame_rate)
        assert blank_rows.max() == 16
        assert blank_columns.min() == 0
        kept = (64 - blank_rows) * (100 - blank_columns)
        assert torch.equal(masked.sum((1, 2)), kept.float())

    def test_several_masks_are_more(self) -> None:
        shares = [
            (mask(torch.ones(N, 1, 64, 200), AugmentRecipe(time_mask=TimeMask(n_masks=n)), SPEC, seeded()) == 0)
            for n in (1, 3)
        ]
        # each is 25 of 200 frames long on average
        assert abs(shares[0].float().mean().item() - 1 / 8) < 0.02
        assert abs(shares[1].float().mean().item() - (1 - (7 / 8) ** 3)) < 0.03

    def test_cutout_is_a_rectangle_of_limited_size(self) -> None:
        masked = mask(torch.ones(N, 1, 64, 100), AugmentRecipe(cutout=Cutout(max_share=0.25)), SPEC, seeded())[:, 0]
        hole = masked == 0
        rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
        assert torch.equal(hole.sum((1, 2)), rows * columns)
        assert (rows.max(), columns.max()) == (16, 25)
        # sides are uniform from 0 up, and independent
        assert abs(hole.float().mean().item() - 0.125**2) < 0.004

    def test_colour_is_masked_over_all_its_bands(self) -> None:
        recipe = AugmentRecipe(band_mask=BandMask(max_share=0.5), time_mask=TimeMask(max_s=0.1))
        masked = mask(torch.ones(N, 3, 16, 50), recipe, COLOUR, seeded())
        blank = (masked.reshape(N, 48, 50) == 0).all(2)
        assert blank.sum(1).max() == 24
        assert (blank.int().diff(dim=1).abs().sum(1) <= 2).all()  # one run of bands, over the borders of channels

    def test_slopes_are_masked_and_a_frequency_map_is_not(self) -> None:
        recipe = AugmentRecipe(time_mask=TimeMask(), band_mask=BandMask(), cutout=Cutout())
        delta = mask(torch.ones(N, 3, 64, 50), recipe, PictureSpec(channels="delta"), seeded())
        assert torch.equal(delta[:, 0], delta[:, 1])
        assert (delta == 0).any()
        mapped = mask(torch.ones(N, 2, 64, 50), recipe, PictureSpec(channels="frequency-map"), seeded())
        assert torch.equal(mapped[:, 0], delta[:, 0])
        assert (mapped[:, 1] == 1).all()
