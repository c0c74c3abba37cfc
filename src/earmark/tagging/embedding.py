"""Embeddings: where in a network's space of features a recording lies; what sounds alike lies near.

An embedding is what the last linear layer takes, averaged over the windows that are scored, and brought to length 1:
the dot product of two is the cosine of the angle between them. Where several networks make the scores, each one's
features are brought to the same length and stand side by side, so that the product is the mean of their cosines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from earmark.bundle import Bundle

if TYPE_CHECKING:
    from earmark.tagging.tagger import Tag, Tagger


class Embedding(NamedTuple):
    """A recording as a whole, or each of its windows.

    Attributes
    ----------
    starts_s, ends_s
        (n,) float64: where they lie, in seconds.
    vectors
        (n, n_features) float32 of length 1, or 0 where a network has no features of a sound at all.
    """

    starts_s: np.ndarray
    ends_s: np.ndarray
    vectors: np.ndarray


class Finding(NamedTuple):
    """What becomes of a recording: its tags, and its embedding where that is wanted."""

    tags: list[Tag]
    embedding: Embedding | None = None


def embed(tagger: Tagger, path: str | Path, *, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
    """Embed a recording, or a part of it.

    Parameters
    ----------
    tagger
        Whose network hears it. One that was loaded without embeddings loads its bundle once more, the first time.
    path
        Any recording that `earmark.audio.decode.decode` reads.
    start_s, end_s
        The part, in seconds; `None` for the recording's end.

    Returns
    -------
    np.ndarray
        (n_features,) float32 of length 1.

    Raises
    ------
    AudioError
        When the file cannot be read, or has no such part.
    BundleError
        When no embedding is found in the network.
    ValueError
        When the start is before 0, or the end not behind the start.

    Examples
    --------
    >>> import earmark
    >>> tagger = earmark.load()
    >>> tagger.embed("dog.wav") @ tagger.embed("wolf.wav")  # doctest: +SKIP
    0.87
    """
    from earmark.audio.decode import decode
    from earmark.tagging.engine import Engine

    embedder = embedding_tagger(tagger)
    if start_s == 0 and end_s is None:
        [heard], _ = Engine([embedder]).heard(path)
    else:
        part = decode(path, start_s=start_s, end_s=end_s)
        heard = embedder.heard(part.samples, part.sample_rate, key=Path(path).name)
    return embedder.embedded(heard)[0]


def embedding_tagger(tagger: Tagger) -> Tagger:
    """The tagger itself where it embeds, else one of the same bundle that does, with the same step between windows."""
    if tagger.bundle.embeds:
        return tagger
    if tagger.embedder is None:
        tagger.embedder = type(tagger)(Bundle(tagger.bundle.path, embeds=True))
    for own, other in zip(tagger.networks, tagger.embedder.networks, strict=True):
        other.bundle.spec = own.bundle.spec
    return tagger.embedder


def n_features(tagger: Tagger) -> int:
    """Length of the embeddings that a tagger gives; 0 for one that does not."""
    return sum(sum(network.bundle.embedding_sizes) for network in tagger.networks)


def joined(features: Sequence[np.ndarray], sizes: Sequence[Sequence[int]]) -> np.ndarray:
    """Make embeddings of features.

    Parameters
    ----------
    features
        Of each bundle, (n, n_own) float32.
    sizes
        How many of them are of each network in it; see `Bundle.embedding_sizes`.

    Returns
    -------
    np.ndarray
        (n, n_features) float32; rows have the length 1.
    """
    parts = [
        part
        for own, widths in zip(features, sizes, strict=True)
        for part in np.split(own, np.cumsum(widths)[:-1], axis=1)
    ]
    return np.concatenate([unit(part) for part in parts], axis=1) / np.float32(np.sqrt(len(parts)))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Bring rows, (n, n_features), to the length 1 as float32; those of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled
