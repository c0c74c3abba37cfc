"""Search by example: a file of embeddings, and the recordings in it that are nearest to a sound.

The file is NumPy's .npz, not compressed, so that `numpy.load` opens it and a search maps it into memory:

- `embeddings`: (n, n_features) float32, of length 1; a row a recording, or a row a window
- `recordings`: (n,) int64, the row's place in `paths`, rising; `starts_s`, `ends_s`: (n,) float64, in seconds
- `paths`: (n_recordings,) text, as they were named
- `about`: JSON, what made them; see `About`
"""

from __future__ import annotations

import zipfile
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import msgspec
import numpy as np
from numpy.lib import format as npy

from earmark.atomic import atomic_path
from earmark.errors import BundleError, EarmarkError
from earmark.tagging.embedding import Embedding, unit
from earmark.tagging.index import maker_of
from earmark.tagging.tagger import EMBEDDED, Tagger, load, model_path

VERSION = 1
"""Of the file's format."""

ROWS_AT_A_TIME = 8192
"""Rows that are compared at a time: few enough for the processor's caches."""

LOCAL_HEADER = 30
"""Bytes before a member's name in a zip file."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What made a file of embeddings.

    Attributes
    ----------
    earmark_embeddings
        Version of the format.
    model
        ``"embedded"``, or the path of the bundle.
    sha256
        Of the bundle's file.
    hop_s
        Seconds between windows, where that is not the model's own.
    timed
        Whether rows are windows rather than recordings.
    """

    earmark_embeddings: int
    model: str
    sha256: str
    hop_s: float | None = None
    timed: bool = False


class Match(NamedTuple):
    """A recording, the cosine of its angle to what was looked for, in [-1, 1], and which part of it is meant."""

    path: str
    similarity: float
    start_s: float
    end_s: float


def about(tagger: Tagger, *, hop_s: float | None, timed: bool) -> About:
    """What is to be said of embeddings that a tagger makes; see `About`."""
    path = tagger.bundle.path
    name = EMBEDDED if path == model_path(None) else str(path.absolute())
    return About(earmark_embeddings=VERSION, model=name, sha256=maker_of(path, {}).model, hop_s=hop_s, timed=timed)


@contextmanager
def embeddings_file(path: Path, said: About, n_features: int) -> Iterator[Callable[[Path, Embedding], None]]:
    """Write a file of embeddings, whole or not at all; what is yielded takes a recording's.

    Vectors wait on the disk, not in memory, until it is known how many they are.

    Raises
    ------
    EarmarkError
        When there is no folder for it.
    """
    paths: list[Path] = []
    recordings, starts_s, ends_s = array("q"), array("d"), array("d")
    with atomic_path(path) as temporary, TemporaryFile(dir=path.parent) as vectors:

        def write(recording: Path, embedding: Embedding) -> None:
            recordings.extend([len(paths)] * len(embedding.vectors))
            paths.append(recording)
            starts_s.extend(embedding.starts_s)
            ends_s.extend(embedding.ends_s)
            vectors.write(embedding.vectors.astype("<f4").tobytes())

        yield write
        vectors.seek(0)
        longest = max((len(str(one)) for one in paths), default=1)
        texts = (
            np.array([str(one) for one in paths[i : i + 4096]], f"<U{longest}") for i in range(0, len(paths), 4096)
        )
        with zipfile.ZipFile(temporary, "w") as file:
            _write(file, "embeddings", "<f4", (len(recordings), n_features), _blocks(vectors))
            _write(file, "recordings", "<i8", (len(recordings),), [np.array(recordings, "<i8").tobytes()])
            _write(file, "starts_s", "<f8", (len(recordings),), [np.array(starts_s, "<f8").tobytes()])
            _write(file, "ends_s", "<f8", (len(recordings),), [np.array(ends_s, "<f8").tobytes()])
            _write(file, "paths", f"<U{longest}", (len(paths),), (text.tobytes() for text in texts))
            words = np.array(msgspec.json.encode(said).decode())
            _write(file, "about", words.dtype.str, (), [words.tobytes()])


def _write(file: zipfile.ZipFile, name: str, kind: str, shape: tuple[int, ...], blocks: Any) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy.write_array_header_1_0(member, {"descr": kind, "fortran_order": False, "shape": shape})
        for block in blocks:
            member.write(block)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block


class EmbeddingIndex:
    """A file of embeddings, open for search; it is mapped into memory, not read.

    Parameters
    ----------
    path
        Of `earmark tag --embeddings`.

    Attributes
    ----------
    about
        What made them.
    embeddings, recordings, starts_s, ends_s, paths
        As the module says.

    Raises
    ------
    EarmarkError
        When there is no such file, it is another kind of file, damaged, or of a newer format.

    Examples
    --------
    >>> index = EmbeddingIndex("archive.npz")  # doctest: +SKIP
    >>> index.nearest(tagger.embed("dog.wav"), top_k=1)  # doctest: +SKIP
    [Match(path='archive/terrier.wav', similarity=0.93, start_s=0.0, end_s=4.2)]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with zipfile.ZipFile(self.path) as file:
                self.about = self._read_about(file)
                names = ("embeddings", "recordings", "starts_s", "ends_s", "paths")
                mapped = [_mapped(self.path, file.getinfo(f"{name}.npy")) for name in names]
        except FileNotFoundError as error:
            raise EarmarkError(
                f"{self.path}: no such file; make it with 'earmark tag RECORDINGS --embeddings {self.path}'"
            ) from error
        except (zipfile.BadZipFile, KeyError, ValueError, msgspec.MsgspecError) as error:
            raise EarmarkError(
                f"{self.path}: is no whole file of embeddings ({error}); make it again with 'earmark tag --embeddings'"
            ) from error
        self.embeddings, self.recordings, self.starts_s, self.ends_s, self.paths = mapped

    def _read_about(self, file: zipfile.ZipFile) -> About:
        said = str(npy.read_array(file.open("about.npy")))
        version = msgspec.json.decode(said, type=dict[str, Any]).get("earmark_embeddings")
        if isinstance(version, int) and version > VERSION:
            raise EarmarkError(
                f"{self.path}: embeddings of format {version}; this release reads up to {VERSION}; upgrade earmark"
            )
        return msgspec.json.decode(said, type=About)

    def __len__(self) -> int:
        """Number of recordings."""
        return len(self.paths)

    def place(self, path: str) -> int | None:
        """Where a recording is in `paths`, by the very name that it has there; None where it is not."""
        [found] = np.nonzero(self.paths == path)
        return int(found[0]) if len(found) else None

    def vector(self, place: int) -> np.ndarray:
        """(n_features,) float32 of length 1: the embedding of a recording; of windows, their mean."""
        first, stop = np.searchsorted(self.recordings, [place, place + 1])
        return unit(self.embeddings[first:stop].mean(axis=0, keepdims=True))[0]

    def nearest(self, vector: np.ndarray, *, top_k: int = 10, without: int | None = None) -> list[Match]:
        """Find the recordings that are nearest to an embedding.

        Parameters
        ----------
        vector
            (n_features,) of length 1, by the model that made the index; see `Tagger.embed`.
        top_k
            How many at the most.
        without
            Place of a recording in `paths` that is left out.

        Returns
        -------
        list of Match
            Best first, equal ones in the order of the index; of windows, each recording's nearest one.

        Raises
        ------
        EarmarkError
            When the vector has another length than those of the index.
        ValueError
            When `top_k` is less than 1.
        """
        if top_k < 1:
            raise ValueError(f"top_k={top_k}; expected at least 1")
        if vector.shape != self.embeddings.shape[1:]:
            raise EarmarkError(
                f"{self.path}: a vector of shape {vector.shape}, but embeddings of {self.embeddings.shape[1:]}; embed "
                f"with the model that made the index, {self.about.model}"
            )
        similarities = self._similarities(vector)
        if without is not None:
            first, stop = np.searchsorted(self.recordings, [without, without + 1])
            similarities[first:stop] = -np.inf
        # rows of a recording stand together
        begins = np.flatnonzero(np.diff(self.recordings, prepend=-1))
        best = np.maximum.reduceat(similarities, begins) if len(begins) else similarities
        n_given = min(top_k, len(best) - (without is not None))
        if n_given < 1:
            return []
        least = np.partition(best, -n_given)[-n_given]
        candidates = np.flatnonzero(best >= least)
        chosen = candidates[np.argsort(-best[candidates], kind="stable")][:n_given]
        ends = np.append(begins[1:], len(similarities))
        return [self._match(similarities, begins[one], ends[one]) for one in chosen]

    def _similarities(self, vector: np.ndarray) -> np.ndarray:
        given = np.empty(len(self.embeddings), dtype=np.float32)
        wanted = vector.astype(np.float32)
        for i in range(0, len(given), ROWS_AT_A_TIME):
            # a copy, as a zip file aligns nothing
            given[i : i + ROWS_AT_A_TIME] = np.array(self.embeddings[i : i + ROWS_AT_A_TIME], np.float32) @ wanted
        return given

    def _match(self, similarities: np.ndarray, begin: int, end: int) -> Match:
        row = begin + int(similarities[begin:end].argmax())
        path = str(self.paths[self.recordings[row]])
        return Match(path, float(similarities[row]), float(self.starts_s[row]), float(self.ends_s[row]))


def _mapped(path: Path, member: zipfile.ZipInfo) -> np.ndarray:
    """A member of an .npz file in memory that is the file's own."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed; expected it as it is")
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(LOCAL_HEADER)
        file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
        npy.read_magic(file)
        shape, _, kind = npy.read_array_header_1_0(file)
        begin = file.tell()
    if not all(shape):
        return np.empty(shape, kind)
    return np.memmap(path, kind, "r", begin, shape)


def searching_tagger(index: EmbeddingIndex, model: str | None) -> Tagger:
    """The tagger that made an index, ready to embed what is looked for.

    Parameters
    ----------
    index
        Where it is looked for.
    model
        As for `earmark.load`; None for the model that the index names.

    Raises
    ------
    BundleError
        When there is no such model, or it is another one.
    """
    made_by = index.about
    try:
        path = model_path(model or made_by.model)
        found = maker_of(path, {}).model if path.is_file() else None
    except BundleError:
        if model:
            raise
        found = None
    if found is None:
        if model:
            return load(model)  # which says what is wrong
        raise BundleError(
            f"{index.path}: the model that made it is no longer at {made_by.model}; name its file with --model"
        )
    if found != made_by.sha256:
        raise BundleError(
            f"{index.path}: was made with the model {made_by.model} (SHA-256 {made_by.sha256[:12]}…), but {path} is "
            f"another ({found[:12]}…), whose embeddings mean something else; give the model that made it with --model, "
            "or make the index again with 'earmark tag --embeddings'"
        )
    tagger = load(path, embeds=True)
    if made_by.hop_s is not None:
        tagger.step(made_by.hop_s)
    return tagger
