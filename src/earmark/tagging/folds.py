"""The networks of a run's folds, each by itself: their geometric mean, and scores of the clips that each held out."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import msgspec
import numpy as np

from earmark.atomic import write_text_atomically
from earmark.audio.views import TtaSpec
from earmark.data.manifest import NEVER_HELD_OUT, Manifest, row_fold
from earmark.data.rows import read_rows
from earmark.data.store import Store
from earmark.errors import BundleError, CollectionError, RunError
from earmark.evaluation.candidates import TTA_PREDICTIONS, TTA_SETTINGS
from earmark.predictions import Predictions
from earmark.tagging.predict import predict_clips
from earmark.tagging.tagger import Tagger, load

SMALLEST_SCORE = 1e-7
"""A score below counts as this much in a geometric mean, so that one network alone cannot say never."""


class GeometricMean:
    """Several taggers as one: the geometric mean of their scores.

    Parameters
    ----------
    taggers
        At least two, of the same labels.

    Raises
    ------
    BundleError
        When their labels differ.
    """

    def __init__(self, taggers: list[Tagger]) -> None:
        self.taggers = taggers
        self.bundle = taggers[0].bundle
        self.picture_spec = taggers[0].picture_spec
        self.labels = taggers[0].labels
        for tagger in taggers:
            if tagger.labels != self.labels:
                raise BundleError(
                    f"{tagger.bundle.path}: knows other labels than {self.bundle.path}; take networks of one run"
                )

    def scores(
        self, waveform: np.ndarray, sample_rate: int, *, tta: TtaSpec | None = None, key: str = ""
    ) -> np.ndarray:
        """Score a clip; parameters and errors as of `Tagger.scores`, (n_labels,) float32 in [0, 1]."""
        return geometric_mean([tagger.scores(waveform, sample_rate, tta=tta, key=key) for tagger in self.taggers])

    def spectrogram_scores(self, spectrogram: np.ndarray, tta: TtaSpec, key: str) -> np.ndarray:
        """Score the clip that a spectrogram was made of; see `earmark.tagging.tta.spectrogram_scores`."""
        return geometric_mean([tagger.spectrogram_scores(spectrogram, tta, key) for tagger in self.taggers])


def geometric_mean(scores: list[np.ndarray]) -> np.ndarray:
    """Of tables of scores in [0, 1] of one shape, entry by entry: float32.

    Examples
    --------
    >>> geometric_mean([np.array([0.9, 0.5]), np.array([0.4, 0.5])])
    array([0.6, 0.5], dtype=float32)
    """
    logs = [np.log(np.maximum(one, SMALLEST_SCORE, dtype=np.float64)) for one in scores]
    return np.exp(np.mean(logs, axis=0)).astype(np.float32)


def load_folds(run: Path, *, n_threads: int = 0) -> GeometricMean:
    """Load the networks of a run's folds as their geometric mean.

    Parameters
    ----------
    run
        The run's folder.
    n_threads
        Threads that a network may use; 0 for one a core.

    Raises
    ------
    RunError
        When there are fewer than two.
    """
    paths = sorted(run.glob("fold-*/model.onnx"))
    if len(paths) < 2:
        raise RunError(
            f"{run}: networks of folds (fold-0/model.onnx …): {len(paths)}; a geometric mean takes two or more; name a "
            "run's folder, or take the arithmetic mean"
        )
    return GeometricMean([load(path, n_threads=n_threads) for path in paths])


def recipe_tta(run: Path) -> TtaSpec:
    """The table `[tta]` of a run's recipe, or what stands for none."""
    path = run / "recipe.toml"
    if not path.is_file():
        return TtaSpec()
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")).get("tta", {}), TtaSpec)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise RunError(f"{path}: its table [tta] cannot be used ({error}); put it right") from error


def predict_out_of_fold(
    run: Path,
    manifest: Manifest,
    store: Store | None,
    tta: TtaSpec,
    *,
    n_workers: int | None = None,
    progress: bool = True,
) -> Predictions:
    """Score each clip that a run was judged on by the network that never heard it.

    Parameters
    ----------
    run
        The run's folder, with all its folds.
    manifest
        The collection that it was learned from; clips beyond the run's are passed over.
    store
        Where its clips are packed; None to read the files.
    tta
        Test-time augmentation.
    n_workers
        Clips at a time; `None` for one a core.
    progress
        Whether to show bars.

    Returns
    -------
    Predictions
        Rows in the order of the run's `folds.csv`, columns in that of its labels.

    Raises
    ------
    RunError
        When the run has no folds, or lacks the network of one.
    CollectionError
        When a clip of the run is not in the collection.
    AudioError
        When a clip cannot be read.
    PredictionsError
        When the collection's labels are not the run's.
    """
    if not (run / "folds.csv").is_file():
        raise RunError(f"{run}: no folds.csv; --out-of-fold goes with the folder of a run")
    fold_of = {row["fname"]: row_fold(row) for row in read_rows(run / "folds.csv", ("fname", "fold"), unique="fname")}
    judged = {name: fold for name, fold in fold_of.items() if fold not in {None, NEVER_HELD_OUT}}
    clips = {clip.name: clip for clip in manifest.clips if clip.name in judged}
    lacking = [name for name in judged if name not in clips]
    if lacking:
        raise CollectionError(
            f"{manifest.root}: lacks {len(lacking)} of the {len(judged)} clips that {run} was judged on, the first is "
            f"'{lacking[0]}'; give the collection that the run was learned from"
        )
    parts = []
    for fold in sorted(set(judged.values()), key=str):
        path = run / f"fold-{fold}" / "model.onnx"
        if not path.is_file():
            raise RunError(f"{run}: fold {fold} is not done; finish the run with 'earmark train … --resume'")
        held_out = manifest.only(clips[name] for name, of in judged.items() if of == fold)
        part, errors = predict_clips(
            load(path, n_threads=1), held_out, store=store, tta=tta, n_workers=n_workers, progress=progress
        )
        if errors:
            raise errors[0]
        parts.append(part)
    names = tuple(name for part in parts for name in part.fnames)
    joined = Predictions(names, manifest.vocabulary, np.concatenate([part.scores for part in parts]))
    return joined.align(judged, load(path).bundle.vocabulary)


def keep_with_tta(run: Path, table: Predictions, tta: TtaSpec) -> Path:
    """Write a run's out-of-fold predictions with test-time augmentation beside those without; gives the table's path.

    Parameters
    ----------
    run
        The run's folder.
    table
        From `predict_out_of_fold`.
    tta
        What they were made with.
    """
    # JSON's numbers and strings are TOML's
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in msgspec.to_builtins(tta).items()]
    table.write(run / TTA_PREDICTIONS)
    write_text_atomically(run / TTA_SETTINGS, "".join(lines))
    return run / TTA_PREDICTIONS
