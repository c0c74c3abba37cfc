"""Networks of folds: their geometric mean, and runs that are not whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.audio.views import TtaSpec
from earmark.data.manifest import Clip, Manifest
from earmark.errors import BundleError, RunError
from earmark.labels import Vocabulary
from earmark.tagging.folds import GeometricMean, geometric_mean, load_folds, predict_out_of_fold, recipe_tta
from earmark.tagging.tagger import load


def test_geometric_mean_by_hand() -> None:
    mean = geometric_mean([np.array([0.9, 1.0, 0.0]), np.array([0.4, 1.0, 1.0])])
    np.testing.assert_allclose(mean, [0.6, 1.0, np.sqrt(1e-7)], rtol=1e-6)
    assert mean.dtype == np.float32


def test_equal_scores_are_their_own_mean() -> None:
    scores = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    np.testing.assert_allclose(geometric_mean([scores] * 3), scores, rtol=1e-6)


def test_networks_of_other_labels_have_no_mean(
    tiny_bundle: Path, make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    other = make_tiny_bundle(tmp_path / "other.onnx", labels=("a", "b", "c"))
    with pytest.raises(BundleError, match=r"other.onnx: knows other labels than .*tiny.onnx; take networks of one run"):
        GeometricMean([load(tiny_bundle), load(other)])


def test_one_fold_has_no_mean(make_tiny_bundle: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "fold-0").mkdir()
    make_tiny_bundle(tmp_path / "fold-0" / "model.onnx")
    with pytest.raises(
        RunError, match=r"networks of folds \(fold-0/model.onnx …\): 1; a geometric mean takes two or more"
    ):
        load_folds(tmp_path)


def test_a_fold_that_is_not_done(tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("fname,fold\na.wav,0\n")
    manifest = Manifest((Clip("a.wav", tmp_path / "a.wav", ()),), Vocabulary(["low"]), tmp_path, "table")
    with pytest.raises(RunError, match=r"fold 0 is not done; finish the run with 'earmark train … --resume'"):
        predict_out_of_fold(tmp_path, manifest, None, TtaSpec(n=1), progress=False)


def test_what_a_recipe_says_of_views(tmp_path: Path) -> None:
    assert recipe_tta(tmp_path) == TtaSpec()
    (tmp_path / "recipe.toml").write_text("window_s = 1.0\n")
    assert recipe_tta(tmp_path) == TtaSpec()
    (tmp_path / "recipe.toml").write_text("[tta]\nn = 3\nweight = 0.25\n")
    assert recipe_tta(tmp_path) == TtaSpec(n=3, weight=0.25)
    (tmp_path / "recipe.toml").write_text("[tta]\nn = -3\n")
    with pytest.raises(RunError, match=r"recipe.toml: its table \[tta\] cannot be used"):
        recipe_tta(tmp_path)
