from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from earmark.data.encoding import Encoding
from earmark.data.manifest import Manifest
from earmark.data.pack import pack
from earmark.data.spectrograms import log_mel_encoding
from earmark.data.store import Store, open_store
from earmark.errors import RecipeError
from earmark.training.augment.recipe import (
    AugmentRecipe,
    Background,
    BandMask,
    BandShift,
    Brightness,
    Concatenation,
    Contrast,
    Cutout,
    Equaliser,
    Gain,
    Mixup,
    Noise,
    Polarity,
    ResizedCrop,
    Shift,
    Stretch,
    TimeMask,
)
from earmark.training.feed import Feed, check_source, feed_of
from earmark.training.pictures import Pictures, spectrograms_of
from earmark.training.recipe import Recipe
from earmark.training.waveforms import Waveforms

ROWS = np.arange(4, 24)
ON_PICTURES: dict[str, Any] = {
    "gain": Gain(),
    "equaliser": Equaliser(),
    "concatenation": Concatenation(probability=1.0),
    "stretch": Stretch(),
    "band_shift": BandShift(),
    "resized_crop": ResizedCrop(),
    "brightness": Brightness(),
    "contrast": Contrast(),
    "mixup": Mixup(),
    "time_mask": TimeMask(),
    "band_mask": BandMask(),
    "cutout": Cutout(),
}
ON_WAVEFORMS: dict[str, Any] = {
    "shift": Shift(),
    "polarity": Polarity(),
    "background": Background(probability=1.0),
    "noise": Noise(probability=1.0),
    "concatenation": Concatenation(probability=1.0, on="waveform"),
    "mixup": Mixup(on="waveform"),
}
EVERYTHING = AugmentRecipe(**(ON_PICTURES | ON_WAVEFORMS))


def recipe_with(recipe: Recipe, **parts: Any) -> Recipe:
    return msgspec.structs.replace(recipe, augment=AugmentRecipe(**parts))


def a_batch(feed: Feed, seed: int = 0, *, augmented: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    return feed.batch(torch.arange(12), torch.Generator().manual_seed(seed), augmented=augmented)


def made_feed(recipe: Recipe, store: Store) -> Feed:
    return feed_of(recipe, store, ROWS, recipe.picture, progress=False)


def test_recipe_that_changes_waveforms_reads_them_and_others_read_spectrograms(
    tiny_recipe: Recipe, tiny_store: Store
) -> None:
    assert isinstance(made_feed(recipe_with(tiny_recipe, **ON_PICTURES), tiny_store).source, Pictures)
    for name, part in ON_WAVEFORMS.items():
        assert isinstance(made_feed(recipe_with(tiny_recipe, **{name: part}), tiny_store).source, Waveforms)


@pytest.mark.parametrize(
    ("kind", "name"), [*(("picture", n) for n in ON_PICTURES), *(("wave", n) for n in ON_WAVEFORMS)]
)
def test_every_augmentation_changes_the_batch_and_only_mixing_its_targets(
    kind: str, name: str, tiny_recipe: Recipe, tiny_store: Store
) -> None:
    parts = ON_PICTURES if kind == "picture" else ON_WAVEFORMS
    feed = made_feed(recipe_with(tiny_recipe, **{name: parts[name]}), tiny_store)
    pictures, targets = a_batch(feed)
    plain, own = a_batch(feed, augmented=False)
    assert pictures.shape == plain.shape == (12, 1, 32, feed.recipe.window_frames)
    assert pictures.dtype == targets.dtype == torch.float32
    assert torch.isfinite(pictures).all()
    # a spectrogram hardly knows which way up its waveform was: the phase is gone
    if name != "polarity":
        assert not torch.equal(pictures, plain)
    assert torch.equal(targets, own) == (name not in {"mixup", "concatenation"})
    again = a_batch(feed)
    assert torch.equal(pictures, again[0])
    assert torch.equal(targets, again[1])


def test_everything_at_once(tiny_recipe: Recipe, tiny_store: Store) -> None:
    for channels, normalization in (("grey", "affine"), ("delta", "clip"), ("frequency-map", "minmax")):
        picture = msgspec.structs.replace(tiny_recipe.picture, channels=channels, normalization=normalization)
        model = msgspec.structs.replace(tiny_recipe.model, n_channels=picture.n_channels)
        recipe = msgspec.structs.replace(tiny_recipe, picture=picture, model=model, augment=EVERYTHING)
        pictures, targets = a_batch(made_feed(recipe, tiny_store))
        assert pictures.shape == (12, picture.n_channels, 32, recipe.window_frames)
        assert torch.isfinite(pictures).all()
        assert 0 <= targets.min() <= targets.max() <= 1
        if normalization == "minmax":
            assert -1 <= pictures.min() <= pictures.max() <= 1


@pytest.mark.parametrize("parts", [ON_PICTURES, {"polarity": Polarity()}], ids=["pictures", "waveforms"])
def test_stays_float32_where_a_trainer_computes_with_less(
    parts: dict[str, Any], tiny_recipe: Recipe, tiny_store: Store
) -> None:
    picture = msgspec.structs.replace(tiny_recipe.picture, channels="delta")
    model = msgspec.structs.replace(tiny_recipe.model, n_channels=3)
    feed = made_feed(
        msgspec.structs.replace(tiny_recipe, picture=picture, model=model, augment=AugmentRecipe(**parts)), tiny_store
    )
    wanted, _ = a_batch(feed)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made, _ = a_batch(feed)
    assert made.dtype == torch.float32
    assert torch.equal(made, wanted)


def test_without_augmentation_windows_are_cut_and_nothing_else(tiny_recipe: Recipe, tiny_store: Store) -> None:
    recipe = recipe_with(tiny_recipe, **ON_PICTURES)
    feed = made_feed(recipe, tiny_store)
    pictures, targets = a_batch(feed, 3, augmented=False)
    source = Pictures(spectrograms_of(tiny_store, ROWS, recipe.picture, progress=False), recipe.picture)
    starts = source.random_starts(torch.arange(12), recipe.window_frames, torch.Generator().manual_seed(3))
    assert torch.equal(pictures, source.cut(torch.arange(12), starts, recipe.window_frames))
    assert torch.equal(targets, torch.from_numpy(tiny_store.manifest.targets()[ROWS[:12]]))


def test_both_sources_give_the_same_batch_where_nothing_is_changed(tiny_recipe: Recipe, tiny_store: Store) -> None:
    recipe = msgspec.structs.replace(tiny_recipe, window_s=0.4)
    of_waveforms, of_pictures = (
        made_feed(recipe_with(recipe, **parts), tiny_store) for parts in ({"polarity": Polarity()}, {})
    )
    theirs, targets = a_batch(of_pictures, augmented=False)
    for augmented in (False, True):
        ours, same = a_batch(of_waveforms, augmented=augmented)
        assert torch.equal(same, targets)
        heard = theirs > theirs.amax(2, keepdim=True) - 60 / 28
        assert ((ours - theirs).abs() * 28)[heard].max() < 1e-2


def test_gain_is_the_same_for_both_sources(tiny_recipe: Recipe, tiny_store: Store) -> None:
    recipe = msgspec.structs.replace(tiny_recipe, window_s=0.4)
    louder = {"gain": Gain(), "equaliser": Equaliser()}
    ours, _ = a_batch(made_feed(recipe_with(recipe, shift=Shift(probability=0.0), **louder), tiny_store))
    # the shift draws too, so only the level of change can be compared
    plain, _ = a_batch(made_feed(recipe_with(recipe, shift=Shift(probability=0.0)), tiny_store))
    change_db = (ours - plain) * 28
    assert 1 < change_db.abs().max() <= 12.01
    torch.testing.assert_close(change_db, change_db[..., :1].expand_as(change_db), atol=0.01, rtol=0)


class TestBackground:
    def test_of_the_fold_is_another_clip(self, tiny_recipe: Recipe, tiny_store: Store) -> None:
        recipe = recipe_with(tiny_recipe, background=Background(probability=1.0, snr_db=(10.0, 10.0)))
        feed = feed_of(recipe, tiny_store, np.array([4, 6]), recipe.picture, progress=False)
        source = feed.source
        assert isinstance(source, Waveforms)
        clips, n_frames = torch.tensor([0, 1]), recipe.window_frames
        waveforms = source.cut(clips, torch.zeros(2, dtype=torch.long), n_frames)
        assert recipe.augment.background is not None
        mixed = feed._with_background(
            waveforms.clone(), clips, recipe.augment.background, torch.Generator().manual_seed(0)
        )
        added = mixed - waveforms
        snr_db = 10 * torch.log10(waveforms.square().mean(1) / added.square().mean(1))
        torch.testing.assert_close(snr_db, torch.full((2,), 10.0), atol=0.01, rtol=0)
        spectra = [torch.fft.rfft(values).abs() for values in (waveforms, added)]
        likeness = torch.nn.functional.normalize(spectra[0]) @ torch.nn.functional.normalize(spectra[1]).T
        assert likeness[0, 1] > likeness[0, 0]
        assert likeness[1, 0] > likeness[1, 1]

    def test_of_a_store(self, tiny_recipe: Recipe, tiny_store: Store, tiny_manifest: Manifest, tmp_path: Path) -> None:
        few = tiny_manifest.only(clip for clip in tiny_manifest.clips[:3])
        pack(few, tmp_path / "noises", Encoding.waveform(8000), progress=False)
        background = Background(probability=0.5, store=str(tmp_path / "noises"))
        recipe = recipe_with(tiny_recipe, background=background)
        check_source(recipe, tiny_store)
        feed = made_feed(recipe, tiny_store).to(torch.device("cpu"))
        assert feed.backgrounds is not None
        assert len(feed.backgrounds) == 3
        changed = (a_batch(feed)[0] != a_batch(feed, augmented=False)[0]).flatten(1).any(1)
        assert 2 <= changed.sum() <= 10

    def test_that_cannot_be_had_is_named(
        self, tiny_recipe: Recipe, tiny_store: Store, tiny_manifest: Manifest, tmp_path: Path
    ) -> None:
        pack(tiny_manifest.only(tiny_manifest.clips[:3]), tmp_path / "fast", Encoding.waveform(16_000), progress=False)
        recipe = recipe_with(tiny_recipe, background=Background(store=str(tmp_path / "fast")))
        for attempt in (check_source, made_feed):
            with pytest.raises(RecipeError) as caught:
                attempt(recipe, tiny_store)
            assert str(caught.value) == (
                f"augment.background.store: {tmp_path / 'fast'} holds waveforms of 16000 Hz; expected waveforms of "
                "8000 Hz; pack the backgrounds again, with earmark data pack --sample-rate 8000"
            )
        nowhere = recipe_with(tiny_recipe, background=Background(store=str(tmp_path / "nowhere")))
        with pytest.raises(RecipeError, match=r"augment\.background\.store: .*nowhere: not a packed store"):
            check_source(nowhere, tiny_store)


def test_spectrograms_have_no_waveforms_to_change(
    tiny_recipe: Recipe, tiny_manifest: Manifest, tiny_store: Store, tmp_path: Path
) -> None:
    recipe = recipe_with(tiny_recipe, noise=Noise())
    pack(tiny_manifest, tmp_path / "log-mel", log_mel_encoding(recipe.picture), progress=False)
    store = open_store(tmp_path / "log-mel")
    check_source(recipe_with(tiny_recipe, gain=Gain()), store)
    for attempt in (check_source, made_feed):
        with pytest.raises(
            RecipeError, match=r"leave that out of the recipe, or pack the collection without --log-mel"
        ):
            attempt(recipe, store)
    pictures = Pictures(spectrograms_of(tiny_store, ROWS, recipe.picture, progress=False), recipe.picture)
    with pytest.raises(RecipeError, match="the recipe changes waveforms, which spectrograms do not have"):
        Feed(recipe, pictures, torch.zeros(20, 3))


def test_spectrograms_that_are_there_are_taken(tiny_recipe: Recipe, tiny_store: Store) -> None:
    recipe = recipe_with(tiny_recipe)
    spectrograms = spectrograms_of(tiny_store, ROWS, recipe.picture, progress=False)
    given = feed_of(recipe, tiny_store, ROWS, recipe.picture, spectrograms)
    assert len(given) == len(ROWS)
    assert torch.equal(a_batch(given)[0], a_batch(made_feed(recipe, tiny_store))[0])
