from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earmark.audio.picture import band_statistics
from earmark.data.folds import read_folds, write_folds
from earmark.data.manifest import NEVER_HELD_OUT, Manifest
from earmark.data.pack import pack
from earmark.data.spectrograms import log_mel_encoding
from earmark.data.store import Store, open_store
from earmark.errors import CollectionError, RecipeError, RunError
from earmark.locking import locked, sibling
from earmark.metrics import lwlrap
from earmark.predictions import Predictions, read_labels
from earmark.tagging.tagger import load
from earmark.training.crossval import cross_validate, learn_folds, load_network, measured, refit, summary
from earmark.training.pictures import Pictures, spectrograms_of
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.run import open_run
from earmark.training.scoring import score_clips

from .conftest import TINY


@pytest.fixture(scope="module")
def finished(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a recipe that learns the tiny collection well, two folds and a refit."""
    folder = tmp_path_factory.mktemp("run") / "run"
    recipe = load_recipe("fast", [*TINY, "fit.epochs=80"])
    run = open_run(folder, recipe, tiny_store, 2, resume=False)
    cross_validate(run, progress=False)
    refit(run, progress=False)
    return folder


def test_run_has_all_its_files(finished: Path) -> None:
    whole = {"recipe.toml", "folds.csv", "clips.csv", "predictions.csv", "metrics.json", "model.onnx"}
    assert whole <= {path.name for path in finished.iterdir()}
    for fold in ("fold-0", "fold-1"):
        names = {path.name for path in (finished / fold).iterdir()}
        assert names == {"metrics.csv", "metrics.json", "predictions.csv", "model.onnx", "network.pt", "tensorboard"}
    assert (finished / "refit" / "model.onnx").is_file()


def test_three_sounds_that_differ_are_learned(finished: Path, tiny_store: Store) -> None:
    table = Predictions.read(finished / "predictions.csv")
    assert table.fnames == tuple(tiny_store.manifest.names)
    measured = lwlrap(tiny_store.manifest.targets(), table.scores)
    figures = json.loads((finished / "metrics.json").read_text())
    assert figures["lwlrap"] == pytest.approx(measured, abs=1e-6)
    assert measured > 0.9
    assert len(figures["folds"]["accuracy"]) == 2


def test_every_clip_is_scored_by_the_network_that_never_saw_it(finished: Path, tiny_store: Store) -> None:
    folds = dict(line.split(",") for line in (finished / "folds.csv").read_text().splitlines()[1:])
    table = Predictions.read(finished / "predictions.csv")
    for row, clip in enumerate(tiny_store.manifest.clips):
        own = load(finished / f"fold-{folds[clip.name]}" / "model.onnx")
        other = load(finished / f"fold-{1 - int(folds[clip.name])}" / "model.onnx")
        waveform = tiny_store.waveform(row)
        np.testing.assert_allclose(own.scores(waveform, 8000), table.scores[row], atol=1e-4)
        assert not np.allclose(other.scores(waveform, 8000), table.scores[row], atol=1e-4)


def test_model_of_the_run_averages_its_folds(finished: Path, tiny_store: Store) -> None:
    waveform = tiny_store.waveform(0)
    folds = [load(finished / f"fold-{i}").scores(waveform, 8000) for i in range(2)]
    np.testing.assert_allclose(load(finished).scores(waveform, 8000), np.mean(folds, axis=0), atol=1e-5)


@pytest.fixture(scope="module")
def banded(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run whose pictures are normalised by the bands of the clips that each fold learns from."""
    recipe = load_recipe("fast", [*TINY, "picture.normalization=band"])
    run = open_run(tmp_path_factory.mktemp("run") / "banded", recipe, tiny_store, 2, resume=False)
    cross_validate(run, progress=False)
    return run.folder


def test_bands_are_measured_on_what_each_fold_learns_from(banded: Path, tiny_store: Store) -> None:
    folds = read_folds(banded / "folds.csv", tiny_store.manifest.names)
    picture = load_recipe(banded / "recipe.toml").picture
    spectrograms = spectrograms_of(tiny_store, np.arange(30), picture, progress=False)
    for fold in (0, 1):
        spec = load(banded / f"fold-{fold}").picture_spec
        mean, std = band_statistics([spectrograms[i] for i in np.flatnonzero(folds != fold)])
        assert (spec.mean, spec.std) == (mean, std)
    assert load(banded).picture_spec == load(banded / "fold-0").picture_spec


def test_run_normalised_by_bands_scores_clips_as_its_bundles_do(banded: Path, tiny_store: Store) -> None:
    folds = read_folds(banded / "folds.csv", tiny_store.manifest.names)
    table = Predictions.read(banded / "predictions.csv")
    taggers = [load(banded / f"fold-{fold}") for fold in (0, 1)]
    whole = load(banded)
    for row in range(len(tiny_store)):
        waveform = tiny_store.waveform(row)
        by_fold = [tagger.scores(waveform, 8000) for tagger in taggers]
        np.testing.assert_allclose(table.scores[row], by_fold[folds[row]], atol=1e-4)
        np.testing.assert_allclose(whole.scores(waveform, 8000), np.mean(by_fold, axis=0), atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        ["picture.channels=frequency-map", "model.n_channels=2", "picture.short=either"],
        ["picture.channels=delta", "model.n_channels=3", "picture.normalization=clip", "picture.short=wrap"],
        ["picture.log_mel.mel_scale=kaldi", "picture.log_mel.scale=ln", "picture.normalization=minmax"],
    ],
    ids=["frequency map", "delta", "kaldi"],
)
def test_any_front_end_scores_held_out_clips_as_its_bundle_does(
    settings: list[str], tiny_store: Store, tmp_path: Path
) -> None:
    run = open_run(tmp_path / "run", load_recipe("fast", [*TINY, *settings]), tiny_store, 2, resume=False)
    cross_validate(run, only_fold=0, progress=False)
    table = Predictions.read(run.fold_folder(0) / "predictions.csv")
    tagger = load(run.fold_folder(0))
    for name, scores in zip(table.fnames, table.scores, strict=True):
        waveform = tiny_store.waveform(tiny_store.manifest.names.index(name))
        np.testing.assert_allclose(tagger.scores(waveform, 8000), scores, atol=1e-4)


@pytest.fixture(scope="module", params=["float16", "uint8"])
def tiny_spectrograms(
    request: pytest.FixtureRequest, tiny_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    """The tiny collection, packed as spectrograms of the tiny recipe."""
    folder = tmp_path_factory.mktemp("store") / request.param
    picture = load_recipe("fast", list(TINY)).picture
    pack(tiny_manifest, folder, log_mel_encoding(picture, request.param), progress=False)
    return open_store(folder)


def test_a_network_scores_clips_of_a_store_of_spectrograms_alike(
    finished: Path, tiny_store: Store, tiny_spectrograms: Store
) -> None:
    recipe, network = load_recipe(finished / "recipe.toml"), load_network(finished / "fold-0")
    scores = [
        score_clips(
            network,
            Pictures(spectrograms_of(store, np.arange(30), recipe.picture, progress=False), recipe.picture),
            recipe,
            torch.device("cpu"),
        )
        for store in (tiny_store, tiny_spectrograms)
    ]
    np.testing.assert_allclose(*scores, atol=0.01)


def test_a_store_of_spectrograms_teaches_the_same(tiny_store: Store, tiny_spectrograms: Store, tmp_path: Path) -> None:
    recipe = load_recipe("fast", [*TINY, "fit.epochs=1"])
    losses = []
    for store in (tiny_store, tiny_spectrograms):
        run = open_run(tmp_path / store.encoding.kind, recipe, store, 2, resume=False)
        cross_validate(run, only_fold=0, progress=False)
        with (run.fold_folder(0) / "metrics.csv").open() as file:
            losses += [float(row["train_loss"]) for row in csv.DictReader(file) if row["train_loss"]]
    assert losses == [pytest.approx(losses[0], rel=0.02)] * 2


def test_a_store_that_does_not_fit_the_recipe_begins_no_run(tmp_path: Path, tiny_store: Store) -> None:
    with pytest.raises(RecipeError, match="the store holds 8000 Hz, the recipe wants 32000 Hz"):
        open_run(tmp_path / "run", load_recipe("fast"), tiny_store, 2, resume=False)
    assert not (tmp_path / "run").exists()


def test_sources_stay_in_one_fold(finished: Path) -> None:
    folds = [line.split(",")[1] for line in (finished / "folds.csv").read_text().splitlines()[1:]]
    assert folds[::2] == folds[1::2]


def test_network_can_be_read_back(finished: Path) -> None:
    network = load_network(finished / "fold-0")
    assert not network.training
    assert network.state_dict()["fc.bias"].shape == (3,)


def test_clips_that_no_fold_holds_out_are_learned_from_and_not_judged(
    tiny_store: Store, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    given = [0 if number % 6 < 2 else NEVER_HELD_OUT for number in range(len(tiny_store))]
    clips = tuple(replace(clip, fold=fold) for clip, fold in zip(tiny_store.manifest.clips, given, strict=True))
    store = replace(tiny_store, manifest=replace(tiny_store.manifest, clips=clips))
    run = open_run(tmp_path / "run", tiny_recipe, store, None, resume=False)
    cross_validate(run, progress=False)
    judged = tuple(clip.name for clip in clips if clip.fold == 0)
    assert Predictions.read(tmp_path / "run" / "predictions.csv").fnames == judged
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["n_clips"] == len(judged) == 10
    again = open_run(tmp_path / "run", tiny_recipe, store, None, resume=True)
    np.testing.assert_array_equal(again.folds, given)


def test_folds_may_come_from_a_table(tiny_store: Store, tiny_recipe: Recipe, tmp_path: Path) -> None:
    given = np.arange(len(tiny_store)) // 2 % 3
    write_folds(tmp_path / "folds.csv", tiny_store.manifest.names, given)
    run = open_run(tmp_path / "run", tiny_recipe, tiny_store, tmp_path / "folds.csv", resume=False)
    np.testing.assert_array_equal(run.folds, given)
    write_folds(tmp_path / "torn.csv", tiny_store.manifest.names, np.arange(len(tiny_store)) % 3)
    with pytest.raises(CollectionError, match=r"clips '00.wav' \(fold 0\) and '01.wav' \(fold 1\) share a recording"):
        open_run(tmp_path / "torn", tiny_recipe, tiny_store, tmp_path / "torn.csv", resume=False)
    assert not (tmp_path / "torn").exists()


def test_a_lock_that_a_killed_training_left_is_removed(finished: Path, tiny_store: Store) -> None:
    run = open_run(finished, load_recipe("fast", [*TINY, "fit.epochs=80"]), tiny_store, None, resume=True)
    abandoned, held = sibling(run.fold_folder(0), "lock"), sibling(run.fold_folder(1), "lock")
    abandoned.write_text("4711")
    with locked(run.fold_folder(1)):
        learn_folds(run, range(2), progress=False)
        assert held.exists()
    assert not abandoned.exists()


def test_summary_names_folds_and_the_whole(finished: Path, tiny_store: Store) -> None:
    run = open_run(finished, load_recipe("fast", [*TINY, "fit.epochs=80"]), tiny_store, None, resume=True)
    text = summary(run)
    assert "fold 1" in text
    assert "out of fold" in text
    assert "accuracy" in text


def test_used_folder_is_refused_without_resume(finished: Path, tiny_store: Store, tiny_recipe: Recipe) -> None:
    with pytest.raises(RunError, match="holds a run already; continue it with --resume"):
        open_run(finished, tiny_recipe, tiny_store, 2, resume=False)


def test_resume_with_another_recipe_is_refused(finished: Path, tiny_store: Store, tiny_recipe: Recipe) -> None:
    with pytest.raises(RunError, match="was begun with another recipe"):
        open_run(finished, tiny_recipe, tiny_store, 2, resume=True)


def test_folder_with_other_things_is_refused(tmp_path: Path, tiny_store: Store, tiny_recipe: Recipe) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="is not empty and holds no run; name a new folder"):
        open_run(tmp_path, tiny_recipe, tiny_store, 2, resume=False)


def test_fold_that_is_not_there_is_refused(tmp_path: Path, tiny_store: Store, tiny_recipe: Recipe) -> None:
    run = open_run(tmp_path / "run", tiny_recipe, tiny_store, 2, resume=False)
    with pytest.raises(RunError, match="no fold 5: the run has folds 0 to 1"):
        cross_validate(run, only_fold=5, progress=False)


def test_one_fold_at_a_time_gives_the_same_run_as_all(tmp_path: Path, tiny_store: Store, tiny_recipe: Recipe) -> None:
    together = open_run(tmp_path / "together", tiny_recipe, tiny_store, 2, resume=False)
    cross_validate(together, progress=False)
    apart = open_run(tmp_path / "apart", tiny_recipe, tiny_store, 2, resume=False)
    cross_validate(apart, only_fold=1, progress=False)
    assert not (apart.folder / "predictions.csv").exists()
    again = open_run(tmp_path / "apart", tiny_recipe, tiny_store, None, resume=True)
    cross_validate(again, progress=False)
    scores = [Predictions.read(folder / "predictions.csv").scores for folder in (together.folder, apart.folder)]
    np.testing.assert_array_equal(*scores)


def test_done_folds_are_not_done_again(finished: Path, tiny_store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "moved"
    shutil.copytree(finished, copy)
    before = (copy / "fold-0" / "network.pt").stat().st_mtime_ns
    shutil.rmtree(copy / "fold-1")
    run = open_run(copy, load_recipe("fast", [*TINY, "fit.epochs=80"]), tiny_store, None, resume=True)
    cross_validate(run, progress=False)
    assert (copy / "fold-0" / "network.pt").stat().st_mtime_ns == before
    assert (copy / "fold-1" / "model.onnx").is_file()


def test_averaged_weights_are_kept_not_the_last_ones(tmp_path: Path, tiny_store: Store) -> None:
    kept = []
    for decay in (0.0, 0.9):  # the weights themselves, and an average that lags behind them
        recipe = load_recipe("fast", [*TINY, f"fit.ema_decay={decay}"])
        run = open_run(tmp_path / f"run-{decay}", recipe, tiny_store, 2, resume=False)
        cross_validate(run, only_fold=0, progress=False)
        kept.append(load_network(run.fold_folder(0)).state_dict()["fc.bias"])
    assert not torch.allclose(*kept)


def test_bands_that_a_recipe_gives_are_not_measured_again() -> None:
    spectrograms = [np.random.default_rng(0).uniform(-80, 0, (32, 50)).astype(np.float32)]
    picture = load_recipe("fast", [*TINY, "picture.normalization=band"]).picture
    found = measured(picture, spectrograms)
    np.testing.assert_allclose(found.mean, spectrograms[0].mean(axis=1), rtol=1e-5)
    assert measured(found, [spectrograms[0] - 10]) == found


def test_a_run_says_what_its_clips_are_labelled_with(finished: Path, tiny_store: Store) -> None:
    names, targets = read_labels(finished / "clips.csv", tiny_store.manifest.vocabulary)
    assert names == tuple(tiny_store.manifest.names)
    np.testing.assert_array_equal(targets, tiny_store.manifest.targets())


def test_a_run_says_where_its_recordings_lay(finished: Path, tiny_store: Store) -> None:
    with open(finished / "clips.csv", encoding="utf-8", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    assert paths == [os.path.abspath(clip.path) for clip in tiny_store.manifest.clips]
