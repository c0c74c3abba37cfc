"""A table of scores for the clips of a collection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from earmark.audio.decode import decode
from earmark.data.manifest import Manifest
from earmark.errors import AudioError, BundleError
from earmark.predictions import Predictions
from earmark.tagging.files import over_files
from earmark.tagging.tagger import Tagger


def predict_clips(
    tagger: Tagger, manifest: Manifest, *, n_workers: int | None = None, progress: bool = True
) -> tuple[Predictions, list[AudioError]]:
    """Score clips for every label of their collection.

    Parameters
    ----------
    tagger
        Knows all labels of the collection, in whatever order.
    manifest
        The clips.
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
    """
    columns = _columns(tagger, manifest)
    scores = np.zeros((len(manifest), len(columns)), dtype=np.float32)
    errors = []

    def score(path: Path) -> np.ndarray:
        waveform = decode(path)
        return tagger.scores(waveform.samples, waveform.sample_rate)

    scored = over_files(score, [clip.path for clip in manifest.clips], n_workers=n_workers)
    bar = tqdm(scored, total=len(manifest), desc="predict", unit="clip", disable=not progress)
    for row, (_, outcome) in enumerate(bar):
        if isinstance(outcome, AudioError):
            errors.append(outcome)
        else:
            scores[row] = outcome[columns]
    return Predictions(tuple(manifest.names), manifest.vocabulary, scores), errors


def _columns(tagger: Tagger, manifest: Manifest) -> list[int]:
    known = tagger.bundle.vocabulary
    unknown = [label for label in manifest.vocabulary if label not in known]
    if unknown:
        raise BundleError(
            f"{tagger.bundle.path}: does not know {len(unknown)} of the {len(manifest.vocabulary)} labels of "
            f"{manifest.root}: {', '.join(unknown[:5])}{' …' if len(unknown) > 5 else ''}; "
            "use a model that was learned for them"
        )
    return [known.index(label) for label in manifest.vocabulary]
