"""Where the sounds of a run's report come from: a store, a collection, or the places that the run has noted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from earmark.data.manifest import Manifest
from earmark.data.rows import read_rows
from earmark.data.store import Store
from earmark.errors import CollectionError, MissingExtraError, RecipeError
from earmark.training.recipe import load_recipe


def write_page(run: Path, target: Path, *, store: Store | None = None, manifest: Manifest | None = None) -> list[str]:
    """Write a run's page; gives the reasons why clips have no player.

    Parameters
    ----------
    run
        The run's folder.
    target
        The `.html` file to write.
    store, manifest
        Where the clips are; without either, where the run was trained from.

    Raises
    ------
    RunError
        When there is no finished run.
    MissingExtraError
        When Jinja2 is not installed.
    """
    try:
        from earmark.evaluation.report.page import write_report
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"a report ({error.name})", "train") from error
    places = {clip.name: i for i, clip in enumerate(store.manifest.clips)} if store else {}
    paths = {clip.name: clip.path for clip in manifest.clips} if manifest else _noted_paths(run)

    def waveform_of(name: str) -> np.ndarray:
        rate = load_recipe(run / "recipe.toml").picture.log_mel.sample_rate
        if store is not None and name in places:
            return _of_store(store, places[name], rate)
        if name not in paths:
            raise CollectionError(f"{name}: nothing says where the recording is; name the collection with --data")
        return _decoded(paths[name], rate)

    return write_report(run, target, waveform_of)


def _of_store(store: Store, place: int, rate: int) -> np.ndarray:
    if store.sample_rate != rate:
        raise RecipeError(f"the store holds {store.sample_rate} Hz, the run {rate} Hz; name the collection with --data")
    return store.waveform(place)


def _decoded(path: Path, rate: int) -> np.ndarray:
    try:
        from earmark.audio.decode import decode
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"decoding ({error.name})", "train") from error
    return decode(path, rate).samples


def _noted_paths(run: Path) -> dict[str, Path]:
    if not (run / "clips.csv").is_file():
        return {}
    rows = read_rows(run / "clips.csv", ("fname", "labels"))
    return {row["fname"]: Path(path) for row in rows if (path := row.get("path"))}
