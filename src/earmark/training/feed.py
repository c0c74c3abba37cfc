"""What a network is given to learn from: windows of clips, changed as the recipe says, on the device where it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from earmark.audio.picture import PictureSpec
from earmark.data.store import Store, open_store
from earmark.errors import CollectionError, RecipeError
from earmark.training.augment.chance import between, chosen
from earmark.training.augment.mixing import concatenation, mixup
from earmark.training.augment.pictures import mask, random_gain, relight, warp
from earmark.training.augment.recipe import AugmentRecipe, Background
from earmark.training.augment.waveforms import add_at_snr, noise, polarity, shift
from earmark.training.frontend import to_channels
from earmark.training.pictures import Pictures, check_store, spectrograms_of
from earmark.training.recipe import Recipe
from earmark.training.waveforms import Waveforms, check_waveforms

NOTHING = AugmentRecipe()


class Feed:
    """Batches of pictures and targets of one fold's clips.

    Everything is done in the order in which `AugmentRecipe` names it, but that waveforms are concatenated and mixed
    before gain and equaliser, which are done to their spectrogram.

    Parameters
    ----------
    recipe
        What is done to them.
    source
        Spectrograms of the clips, or their waveforms where the recipe changes those.
    targets
        (n_clips, n_labels) float32 in [0, 1].
    n_noisy
        How many of the clips, the last ones, are noisy. Where the recipe's strategy keeps subsets apart, a batch is
        made in two parts, each of which is mixed within itself.

    Raises
    ------
    RecipeError
        When the recipe changes waveforms and the source has none, or its backgrounds are not to be had.
    """

    def __init__(self, recipe: Recipe, source: Pictures | Waveforms, targets: Tensor, n_noisy: int = 0) -> None:
        if recipe.augment.changes_waveform and isinstance(source, Pictures):
            raise RecipeError("the recipe changes waveforms, which spectrograms do not have; expected Waveforms")
        self.recipe = recipe
        self.source = source
        self.targets = targets
        self.n_noisy = n_noisy
        self.backgrounds = source if isinstance(source, Waveforms) else None
        background = recipe.augment.background
        if background is not None and background.store:
            store = _background_store(background, source.spec)
            own = PictureSpec(log_mel=source.spec.log_mel)  # neither trimmed nor lengthened
            self.backgrounds = Waveforms(store, np.arange(len(store)), own, progress=False)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def n_others(self) -> int:
        """Clips that are not noisy, which come first."""
        return len(self.targets) - self.n_noisy

    def to(self, device: torch.device) -> Feed:
        """Move everything to a device, in place."""
        self.source.to(device)
        if self.backgrounds is not None and self.backgrounds is not self.source:
            self.backgrounds.to(device)
        self.targets = self.targets.to(device)
        return self

    def batch(self, clips: Tensor, draws: torch.Generator, *, augmented: bool = True) -> tuple[Tensor, Tensor]:
        """Make one batch.

        Parameters
        ----------
        clips
            (n,) int64 indices of clips, on any device; on the processor, nothing has to wait for them.
        draws
            On the processor; everything random comes from it.
        augmented
            Whether the recipe's augmentation is done, or windows are cut at random and nothing else.

        Returns
        -------
        pictures, targets
            (n, n_channels, height, window_frames) float32, and (n, n_labels) float32 in [0, 1], on the feed's device.
        """
        augment = self.recipe.augment if augmented else NOTHING
        # a trainer's bf16 is for its network: levels and slopes have more digits
        with torch.autocast(self.targets.device.type, enabled=False):
            parts = [self._made(part, augment, draws) for part in self._apart(clips.cpu())]
        if len(parts) == 1:
            return parts[0]
        pictures, targets = zip(*parts, strict=True)
        return torch.cat(pictures), torch.cat(targets)

    def _apart(self, clips: Tensor) -> list[Tensor]:
        """The parts of a batch that are mixed within themselves."""
        if not self.recipe.noisy.apart:
            return [clips]
        noisy = clips >= self.n_others
        return [part for part in (clips[~noisy], clips[noisy]) if len(part)]

    def _made(self, clips: Tensor, augment: AugmentRecipe, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        spec = self.source.spec
        values, targets = self._spectrograms(clips, augment, draws)
        if augment.concatenation is not None and augment.concatenation.on == "picture":
            values, targets = concatenation(values, targets, augment.concatenation, spec.log_mel.frame_rate, draws)
        values = relight(warp(values, augment, draws), augment, spec, draws)
        if augment.mixup is not None and augment.mixup.on == "picture":
            values, targets = mixup(values, targets, augment.mixup, draws)
        return mask(to_channels(values, spec), augment, spec, draws), targets

    def _spectrograms(self, clips: Tensor, augment: AugmentRecipe, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """(n, n_mels, window_frames) normalised, and targets: all that is done up to gain and equaliser."""
        source, window_frames = self.source, self.recipe.window_frames
        starts = source.random_starts(clips, window_frames, draws)
        wraps = source.random_wraps(clips, draws)
        targets = self.targets[clips]
        n_mels = source.spec.log_mel.n_mels
        if isinstance(source, Pictures):
            gain_db = random_gain(len(clips), n_mels, augment, draws)
            return source.cut_spectrograms(clips, starts, window_frames, gain_db=gain_db, wraps=wraps), targets
        waveforms = source.cut(clips, starts, window_frames, wraps=wraps)
        waveforms, targets = self._changed(waveforms, targets, clips, augment, draws)
        return source.spectrograms(waveforms, random_gain(len(clips), n_mels, augment, draws)), targets

    def _changed(
        self, waveforms: Tensor, targets: Tensor, clips: Tensor, augment: AugmentRecipe, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Waveforms and targets after all that is done to waveforms."""
        sample_rate = self.source.spec.log_mel.sample_rate
        if augment.shift is not None:
            waveforms = shift(waveforms, augment.shift, sample_rate, draws)
        if augment.polarity is not None:
            waveforms = polarity(waveforms, augment.polarity, draws)
        if augment.background is not None:
            waveforms = self._with_background(waveforms, clips, augment.background, draws)
        if augment.noise is not None:
            waveforms = noise(waveforms, augment.noise, sample_rate, draws)
        if augment.concatenation is not None and augment.concatenation.on == "waveform":
            waveforms, targets = concatenation(waveforms, targets, augment.concatenation, sample_rate, draws)
        if augment.mixup is not None and augment.mixup.on == "waveform":
            waveforms, targets = mixup(waveforms, targets, augment.mixup, draws)
        return waveforms, targets

    def _with_background(self, waveforms: Tensor, clips: Tensor, recipe: Background, draws: torch.Generator) -> Tensor:
        """Add a random window of another recording, repeated where it is too short, to those that chance picks."""
        source = self.backgrounds
        assert source is not None  # whatever has waveforms has backgrounds
        n = len(clips)
        picked = torch.nonzero(chosen(n, recipe.probability, draws))[:, 0]
        snr_db = between(n, recipe.snr_db, draws)
        others = torch.randint(len(source), (n,), generator=draws)
        if source is self.source and len(source) > 1:
            others = (clips + 1 + others % (len(source) - 1)) % len(source)  # any but the clip itself
        starts = source.random_starts(others, self.recipe.window_frames, draws)
        if not len(picked):
            return waveforms
        wraps = torch.ones(len(picked), dtype=torch.bool)
        added = source.cut(others[picked], starts[picked], self.recipe.window_frames, wraps=wraps)
        waveforms[picked] = add_at_snr(waveforms[picked], added, snr_db[picked])
        return waveforms


def check_source(recipe: Recipe, store: Store) -> None:
    """Raise a `RecipeError` when a recipe cannot learn from a store, or its backgrounds cannot be had."""
    check_store(store, recipe.picture)
    if recipe.augment.changes_waveform:
        check_waveforms(store, recipe.picture)
    if recipe.augment.background is not None and recipe.augment.background.store:
        _background_store(recipe.augment.background, recipe.picture)


def feed_of(
    recipe: Recipe,
    store: Store,
    indices: np.ndarray,
    picture: PictureSpec,
    spectrograms: Sequence[np.ndarray] | None = None,
    *,
    targets: np.ndarray | None = None,
    n_noisy: int = 0,
    progress: bool = True,
) -> Feed:
    """Make the feed of some clips of a store: of their waveforms where the recipe changes them, or of spectrograms.

    Parameters
    ----------
    recipe
        What is done.
    store
        What is learned from.
    indices
        (n,) int64 of clips.
    picture
        The recipe's front end, with the statistics of its bands where it is normalised by them.
    spectrograms
        (n_mels, n_frames) of each of these clips, if they are there already.
    targets
        (n, n_labels) float32 to learn; `None` for the labels that the clips have.
    n_noisy
        How many of them, the last ones, are noisy.
    progress
        Whether to show bars.

    Raises
    ------
    RecipeError
        As `check_source` does.
    """
    wanted = torch.from_numpy(store.manifest.targets()[indices] if targets is None else targets)
    if recipe.augment.changes_waveform:
        return Feed(recipe, Waveforms(store, indices, picture, progress=progress), wanted, n_noisy)
    if spectrograms is None:
        spectrograms = spectrograms_of(store, indices, picture, progress=progress)
    return Feed(recipe, Pictures(spectrograms, picture), wanted, n_noisy)


def _background_store(recipe: Background, spec: PictureSpec) -> Store:
    try:
        store = open_store(Path(recipe.store))
    except CollectionError as error:
        raise RecipeError(f"augment.background.store: {error}") from error
    rate = spec.log_mel.sample_rate
    if store.encoding.kind != "waveform" or store.sample_rate != rate:
        raise RecipeError(
            f"augment.background.store: {recipe.store} holds {store.encoding.kind}s of {store.sample_rate} Hz; "
            f"expected waveforms of {rate} Hz; pack the backgrounds again, with earmark data pack --sample-rate {rate}"
        )
    return store
