"""A table of scores for the clips of a collection."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from earmark.audio.decode import decode
from earmark.audio.picture import PictureSpec, clip_front_end
from earmark.audio.views import TtaSpec
from earmark.bundle import INPUT_NAME, Bundle
from earmark.data.manifest import Manifest
from earmark.data.spectrograms import front_end_of
from earmark.data.store import Store
from earmark.errors import AudioError, BundleError, CollectionError
from earmark.predictions import Predictions
from earmark.tagging.files import over_files
from earmark.tagging.tta import PLAIN


class Scorer(Protocol):
    """What scores clips: a `Tagger`, or several as one."""

    bundle: Bundle
    picture_spec: PictureSpec

    def scores(
        self, waveform: np.ndarray, sample_rate: int, *, tta: TtaSpec | None = None, key: str = ""
    ) -> np.ndarray:
        """Of a waveform; see `Tagger.scores`."""

    def spectrogram_scores(self, spectrogram: np.ndarray, tta: TtaSpec, key: str) -> np.ndarray:
        """Of a spectrogram; see `earmark.tagging.tta.spectrogram_scores`."""


def predict_clips(
    tagger: Scorer,
    manifest: Manifest,
    *,
    store: Store | None = None,
    tta: TtaSpec = PLAIN,
    n_workers: int | None = None,
    progress: bool = True,
) -> tuple[Predictions, list[AudioError]]:
    """Score clips for every label of their collection.

    Parameters
    ----------
    tagger
        Knows all labels of the collection, in whatever order.
    manifest
        The clips.
    store
        Where they are packed, as waveforms or as spectrograms of the tagger's front end; None to read the files.
    tta
        Test-time augmentation.
    n_workers
        Files at a time; `None` for one a core.
    progress
        Whether to show a bar.

    Returns
    -------
    Predictions
        Rows and columns in the collection's order. A clip that cannot be read has 0 for every label.
    list of AudioError
        What was wrong with those.

    Raises
    ------
    BundleError
        When the tagger does not know a label of the collection.
    CollectionError
        When the store's spectrograms are none of the tagger's.
    """
    columns = _columns(tagger, manifest)
    scores = np.zeros((len(manifest), len(columns)), dtype=np.float32)
    errors = []

    row_of = {clip.path: row for row, clip in enumerate(manifest.clips)}
    packed = _restricted(store, manifest, tagger) if store else None

    def score(path: Path) -> np.ndarray:
        row, name = row_of[path], manifest.clips[row_of[path]].name
        if packed is None:
            waveform = decode(path)
            return tagger.scores(waveform.samples, waveform.sample_rate, tta=tta, key=name)
        if packed.encoding.kind == "log-mel":
            return tagger.spectrogram_scores(packed.spectrogram(row), tta, name)
        return tagger.scores(packed.waveform(row), packed.sample_rate, tta=tta, key=name)

    scored = over_files(score, [clip.path for clip in manifest.clips], n_workers=n_workers)
    bar = tqdm(scored, total=len(manifest), desc="predict", unit="clip", disable=not progress)
    for row, (_, outcome) in enumerate(bar):
        if isinstance(outcome, AudioError):
            errors.append(outcome)
        else:
            scores[row] = outcome[columns]
    return Predictions(tuple(manifest.names), manifest.vocabulary, scores), errors


def _restricted(store: Store, manifest: Manifest, tagger: Scorer) -> Store:
    if store.encoding.kind == "log-mel":
        made, wanted = front_end_of(store.encoding), clip_front_end(tagger.picture_spec)
        if made != wanted or tagger.bundle.spec.input != INPUT_NAME:
            raise CollectionError(
                f"the store holds spectrograms of another front end than {tagger.bundle.path} takes; give the "
                "collection itself, or pack it without --log-mel"
            )
    return store.restricted(manifest)


def _columns(tagger: Scorer, manifest: Manifest) -> list[int]:
    known = tagger.bundle.vocabulary
    unknown = [label for label in manifest.vocabulary if label not in known]
    if unknown:
        raise BundleError(
            f"{tagger.bundle.path}: does not know {len(unknown)} of the {len(manifest.vocabulary)} labels of "
            f"{manifest.root}: {', '.join(unknown[:5])}{' …' if len(unknown) > 5 else ''}; "
            "use a model that was learned for them"
        )
    return [known.index(label) for label in manifest.vocabulary]
