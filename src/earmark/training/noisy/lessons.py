"""What one network of a run learns from, and the networks that are learned on the way to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from earmark.audio.picture import PictureSpec
from earmark.predictions import Predictions
from earmark.training.distillation import targets_of
from earmark.training.feed import feed_of
from earmark.training.fit import Machines, Validation, fit
from earmark.training.kept import FILE_NAME, load_network, save_network
from earmark.training.models import TaggingNetwork, build_network, initialise
from earmark.training.noisy.recipe import NoisyRecipe
from earmark.training.pictures import Pictures
from earmark.training.recipe import Recipe
from earmark.training.run import Run, is_first_process
from earmark.training.scoring import score_clips
from earmark.training.state import FILE_NAME as STATE


@dataclass(frozen=True)
class Lesson:
    """Clips to learn from, with what is to be learned of them.

    Attributes
    ----------
    clips
        (n,) int64 of clips of the store, noisy ones last.
    targets
        (n, n_labels) float32 in [0, 1].
    n_noisy
        How many of them are noisy.
    """

    clips: np.ndarray
    targets: np.ndarray
    n_noisy: int = 0


@dataclass(frozen=True)
class Learning:
    """Everything that one network of a run may learn from: a fold's training part, or all clips.

    Attributes
    ----------
    run
        Whose recipe and store are used.
    folder
        Of the fold; networks that are learned on the way have folders in it.
    curated, noisy
        (n,) int64 of clips of the store. No clip that the fold holds out is among them, nor a noisy one that shares a
        recording with such a clip.
    spectrograms
        (n_mels, n_frames) of every clip of the store.
    picture
        The front end, with the statistics of its bands where it is normalised by them.
    seed
        Of every network.
    bar
        What its bar is called; `None` for no bars.
    machines
        Where.
    """

    run: Run
    folder: Path
    curated: np.ndarray
    noisy: np.ndarray
    spectrograms: Sequence[np.ndarray]
    picture: PictureSpec
    seed: int
    bar: str | None
    machines: Machines

    def targets(self, clips: np.ndarray) -> np.ndarray:
        """(n, n_labels) float32: the labels that some clips of the store are given with."""
        return self.run.store.manifest.targets()[clips]

    def lesson(self, noisy_targets: np.ndarray | None = None) -> Lesson:
        """All curated clips, as a teacher has them where there is one, and the noisy ones with anything to learn.

        Parameters
        ----------
        noisy_targets
            (n_noisy, n_labels) in [0, 1]; clips without any positive one are left out. `None` for no noisy clips.
        """
        taught = targets_of(self.folder, self.run.store.manifest, self.curated)
        of_curated = self.targets(self.curated) if taught is None else taught
        if noisy_targets is None:
            return Lesson(self.curated, of_curated)
        kept = noisy_targets.any(axis=1)
        clips = np.concatenate([self.curated, self.noisy[kept]])
        targets = np.concatenate([of_curated, noisy_targets[kept].astype(np.float32)])
        return Lesson(clips, targets, int(kept.sum()))

    def beginning(self) -> TaggingNetwork:
        """The network that the recipe begins with; says on standard error which weights it took over."""
        labels = self.run.store.manifest.vocabulary.names
        torch.manual_seed(self.seed)
        network = build_network(self.run.recipe.model, len(labels))
        said = initialise(network, self.run.recipe.model, labels)
        if said and self.bar:
            print(f"earmark: {said}", file=sys.stderr)
        return network

    def learn(
        self,
        lesson: Lesson,
        network: TaggingNetwork,
        validation: Validation | None = None,
        *,
        folder: Path | None = None,
        recipe: Recipe | None = None,
        bar: str = "",
    ) -> TaggingNetwork:
        """Learn a lesson, as `earmark.training.fit.fit` does, in the fold's own folder unless there is another."""
        recipe = recipe or self.run.recipe
        spectrograms = [self.spectrograms[clip] for clip in lesson.clips]
        feed = feed_of(
            recipe,
            self.run.store,
            lesson.clips,
            self.picture,
            spectrograms,
            targets=lesson.targets,
            n_noisy=lesson.n_noisy,
            progress=self.bar is not None,
        )
        shown = f"{self.bar}{bar and ', '}{bar}" if self.bar else None
        return fit(
            recipe,
            network,
            feed,
            validation,
            folder or self.folder,
            seed=self.seed,
            bar=shown,
            machines=self.machines,
        )

    def helper(self, name: str, lesson: Lesson, *, epochs: int | None = None) -> nn.Module:
        """Learn a network that is needed on the way, plainly; one that is in its folder already is read.

        Parameters
        ----------
        name
            Of its folder.
        lesson
            What it learns from.
        epochs
            In place of the recipe's stages.
        """
        folder, recipe = self.folder / name, plain(self.run.recipe, epochs)
        if (folder / FILE_NAME).is_file():
            return load_network(folder)
        folder.mkdir(parents=True, exist_ok=True)
        network = self.learn(lesson, self.beginning(), folder=folder, recipe=recipe, bar=name)
        if is_first_process():
            save_network(network, recipe, self.run.store.manifest.vocabulary.names, folder)
            (folder / STATE).unlink(missing_ok=True)
        # laid out in memory as what is read, to score to the bit
        return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def scores(self, network: nn.Module, clips: np.ndarray) -> np.ndarray:
        """(n, n_labels) float32 in [0, 1], of some clips of the store by a network."""
        if not len(clips):
            return np.zeros((0, len(self.run.store.manifest.vocabulary)), np.float32)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        pictures = Pictures([self.spectrograms[clip] for clip in clips], self.picture)
        scores = score_clips(network.to(device), pictures, plain(self.run.recipe), device)
        network.cpu()
        return scores

    def table(self, name: str, clips: np.ndarray, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Scores of some clips that are kept in the folder: read if they are there, else made and written.

        Parameters
        ----------
        name
            Of the table, without `.csv`; it is as `earmark.predictions.Predictions` writes it.
        clips
            (n,) int64 of clips of the store.
        make
            Gives (n, n_labels) in [0, 1].
        """
        manifest, path = self.run.store.manifest, self.folder / f"{name}.csv"
        names = tuple(manifest.names[clip] for clip in clips)
        if path.is_file():
            return Predictions.read(path).align(names, manifest.vocabulary).scores
        scores = make()
        if is_first_process() and len(clips):
            Predictions(names, manifest.vocabulary, scores).write(path)
        return scores


def plain(recipe: Recipe, epochs: int | None = None) -> Recipe:
    """A recipe that treats all clips alike, and, if so many epochs are given, has no stages."""
    shorter = {} if epochs is None else {"fit": msgspec.structs.replace(recipe.fit, epochs=epochs, stages=())}
    return msgspec.structs.replace(recipe, noisy=NoisyRecipe(rate=0.0), **shorter)
