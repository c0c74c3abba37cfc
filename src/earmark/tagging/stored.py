"""Scores of the clips of a packed store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from earmark.data.store import Store
from earmark.errors import BundleError
from earmark.parallel import map_in_order
from earmark.predictions import Predictions
from earmark.tagging.tagger import Tagger


def score_stored(tagger: Tagger, store: Store, indices: Sequence[int], *, bar: str | None = None) -> Predictions:
    """Score clips of a store; no others are read.

    Parameters
    ----------
    tagger
        Of the store's labels, in its order.
    store
        Of waveforms, best at the tagger's rate.
    indices
        Of the clips to score, at least one.
    bar
        What the bar is called; `None` for no bar.

    Returns
    -------
    Predictions
        In the order of the indices.

    Raises
    ------
    BundleError
        When the tagger has other labels than the store.
    CollectionError
        When the store holds no waveforms.
    """
    manifest = store.manifest
    if tagger.labels != manifest.vocabulary.names:
        raise BundleError(
            f"{tagger.bundle.path}: has other labels than {manifest.root}, or in another order; give the collection "
            "that it was learned from"
        )

    def score(index: int) -> np.ndarray:
        return tagger.scores(store.waveform(index), store.sample_rate)

    n_workers = os.cpu_count() or 1
    with ThreadPoolExecutor(n_workers) as pool:
        scored = map_in_order(pool, score, indices, ahead=4 * n_workers)
        rows = list(tqdm(scored, total=len(indices), desc=bar, unit="clip", disable=bar is None))
    return Predictions(tuple(manifest.names[i] for i in indices), manifest.vocabulary, np.stack(rows))
