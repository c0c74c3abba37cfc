"""The page on training names all that a recipe may say, and its commands are ones that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from earmark.audio.views import TtaSpec
from earmark.cli.train import train
from earmark.training.augment.recipe import AugmentRecipe
from earmark.training.recipe import FitRecipe, LossRecipe, ModelRecipe, Stage, built_in_recipes, load_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
COMMANDS = [line for line in PAGE.replace("\\\n", " ").splitlines() if line.startswith("earmark train ")]


@pytest.mark.parametrize("table", [AugmentRecipe, FitRecipe, LossRecipe, ModelRecipe, Stage, TtaSpec])
def test_every_key_is_named(table: type) -> None:
    named = set(re.findall(r"[a-z_0-9]+", " ".join(re.findall(r"`([^`]*)`", PAGE))))
    assert set(table.__struct_fields__) <= named


def test_every_recipe_is_named() -> None:
    assert set(built_in_recipes()) <= set(re.findall(r"`([^`]*)`", PAGE))


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    words = shlex.split(command, comments=True)[2:]
    options = train.make_parser(click.Context(train)).parse_args(words)[0]
    settings = [s for s in options.get("settings", []) if not s.startswith("model.init")]
    for recipe in options.get("recipes", ["fast"]):
        if recipe in built_in_recipes():
            load_recipe(recipe, settings)


def test_the_contest_entrys_front_end_is_what_the_page_says() -> None:
    for name in built_in_recipes():
        if not name.startswith("seed-"):
            continue
        recipe, log_mel = load_recipe(name), load_recipe(name).picture.log_mel
        assert (log_mel.sample_rate, log_mel.fmin, log_mel.fmax) == (44_100, 20.0, 22_050.0)
        assert (recipe.picture.trim_top_db, recipe.picture.min_duration_s) == (60.0, 4.0)
        assert (recipe.picture.normalization, recipe.picture.top_db, recipe.picture.n_levels) == ("minmax", 80.0, 256)
        assert recipe.window_frames == recipe.picture.height == int(name.rsplit("-", 1)[1])
        assert (log_mel.n_fft, log_mel.hop_length) == ((2560, 694) if name.endswith("128") else (4480, 4480 // 6))
        assert recipe.picture.channels == ("colour" if "colour" in name else "grey")
        assert [stage.epochs for stage in recipe.fit.all_stages] == [20, 20, 20]
        assert [stage.lr_lowest for stage in recipe.fit.all_stages] == [5e-4, 1e-4, 1e-5]
        assert {stage.lr for stage in recipe.fit.all_stages} == {1e-2}
        assert recipe.fit.batch_size == 160
