"""What training reads: a packed store as it is, or a collection that is packed on the way, into the user's cache.

Nothing here needs a decoder until there is something to decode.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import platformdirs

from earmark.data.encoding import Encoding
from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.data.store import Store, is_store, open_store
from earmark.errors import CollectionError, StoreError

Read = Callable[[Path], Manifest]
Select = Callable[[Manifest], Manifest]


def training_store(
    data: Path,
    sample_rate: int,
    *,
    noisy: bool = False,
    read: Read = read_collection,
    select: Select = lambda manifest: manifest,
    progress: bool = True,
) -> Store:
    """Open what training reads: clips of a packed store, or of a collection, packed in the cache.

    Parameters
    ----------
    data
        A store's folder, or a collection's.
    sample_rate
        What a collection is packed at, in Hz.
    noisy
        Whether the noisy clips are wanted too, behind the curated ones.
    read
        Reads a collection.
    select
        Chooses from a store what is to be learned from, and puts labels right.
    progress
        Whether packing shows a bar.

    Raises
    ------
    CollectionError
        When there is nothing to learn from, or a recording cannot be read.
    StoreError
        When there is no room in the cache.
    """
    manifest = training_manifest(data, noisy=noisy, read=read, select=select)
    if is_store(data):
        return open_store(data).restricted(manifest)
    return cached_store(manifest, sample_rate, progress=progress)


def training_manifest(
    data: Path,
    *,
    noisy: bool = False,
    read: Read = read_collection,
    select: Select = lambda manifest: manifest,
) -> Manifest:
    """The clips that `training_store` would give, with nothing decoded; parameters and errors are the same."""
    manifest = select(open_store(data).manifest) if is_store(data) else read(data)
    curated, others = manifest.subset("curated"), manifest.subset("noisy")
    if not len(curated):
        raise CollectionError(f"{data}: has no curated clips to learn from")
    if noisy and not len(others):
        raise CollectionError(
            f"{data}: has no noisy clips, which the recipe wants to learn from; set noisy.strategy=ignore, or pack the "
            "collection with its noisy clips"
        )
    return manifest.only([*curated.clips, *others.clips]) if noisy else curated


def cached_store(manifest: Manifest, sample_rate: int, *, progress: bool = True) -> Store:
    """Open the waveforms of a collection in the user's cache, packing them when they are not there or out of date.

    The cache is `EARMARK_CACHE`, or the platform's usual place. A store in it belongs to its files' names, sizes and
    times and to the rate: change one, and it is packed again. Labels, groups and folds are the manifest's own, so that
    other labels need no other store; and a store that holds more clips than the manifest serves as well.

    Parameters
    ----------
    manifest
        The clips.
    sample_rate
        In Hz.
    progress
        Whether packing shows a bar, and says what it does, on standard error.

    Raises
    ------
    CollectionError
        When there is no clip, or naming the recordings that cannot be read.
    StoreError
        When there is no room in the cache.
    """
    from earmark.data.pack import pack  # brings the decoders, which a machine that only trains need not have
    from earmark.data.plan import audio_digest, sources_of

    cache = Path(os.environ.get("EARMARK_CACHE") or platformdirs.user_cache_dir("earmark")) / "stores"
    encoding, root = Encoding.waveform(sample_rate), os.path.abspath(manifest.root)
    sources = sources_of(manifest, root)
    folder = cache / audio_digest(sources, encoding, root)[:24]
    for candidate in [folder, *_others(cache, folder)]:
        store = _serving(candidate, manifest, encoding, [source.key[1:] for source in sources])
        if store is not None:
            return store
    try:
        pack(
            manifest, folder, encoding, keep_on_bad=False, progress=progress, say=_say if progress else _hush, wait=True
        )
    except StoreError as error:
        raise StoreError(f"{error} (EARMARK_CACHE names the folder of the cache)") from error
    return open_store(folder).restricted(manifest)


def _others(cache: Path, folder: Path) -> Iterator[Path]:
    if cache.is_dir():
        yield from sorted(path for path in cache.iterdir() if path != folder and not path.name.startswith("."))


def _serving(folder: Path, manifest: Manifest, encoding: Encoding, states: list[tuple[int, int]]) -> Store | None:
    """A store that holds every clip of a manifest in its present state, under that manifest; or none."""
    if not is_store(folder):
        return None
    try:
        store = open_store(folder)
    except CollectionError:  # of another version, or damaged; it is packed again if it is asked for
        return None
    path_of = {clip.name: os.path.abspath(clip.path) for clip in store.manifest.clips}
    wanted = {clip.name: os.path.abspath(clip.path) for clip in manifest.clips}
    if store.encoding != encoding or not wanted.items() <= path_of.items():
        return None
    store = store.restricted(manifest)
    found = np.stack([store.n_bytes, store.mtimes_ns], axis=1)
    return store if np.array_equal(found, np.array(states).reshape(-1, 2)) else None


def _say(line: str) -> None:
    print(f"earmark: {line}", file=sys.stderr)


def _hush(_: str) -> None:
    pass
