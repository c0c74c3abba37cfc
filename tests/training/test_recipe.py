from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w

from earmark.errors import RecipeError
from earmark.training.recipe import Recipe, built_in_recipes, load_recipe, to_tables


@pytest.mark.parametrize("name", built_in_recipes())
def test_built_in_recipe_is_named_as_its_file_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert len(recipe.description) > 20


def test_recipe_survives_toml() -> None:
    recipe = load_recipe("small-colour", ["fit.stages=[{epochs=30, freeze=true}, {epochs=10, lr=1e-4}]"])
    assert load_recipe_from_text(tomli_w.dumps(to_tables(recipe))) == recipe


def test_a_strategy_survives_toml() -> None:
    settings = ["noisy.strategy=agree", "noisy.rate=0.5", "noisy.agree_top=3", "noisy.rounds=0"]
    recipe = load_recipe("fast", settings)
    assert (recipe.noisy.rate, recipe.noisy.agree_top, recipe.noisy.rounds) == (0.5, 3, 0)
    assert load_recipe_from_text(tomli_w.dumps(to_tables(recipe))) == recipe


def load_recipe_from_text(text: str) -> Recipe:
    import msgspec

    return msgspec.convert(tomllib.loads(text), Recipe)


def test_settings_replace_values_of_their_type() -> None:
    recipe = load_recipe("fast", ["fit.epochs=2", "picture.channels=grey", "augment.mixup.probability=0.0"])
    assert (recipe.fit.epochs, recipe.picture.channels, recipe.augment.mixup.probability) == (2, "grey", 0.0)


def test_numbers_may_be_written_as_people_write_them() -> None:
    recipe = load_recipe("fast", ["model.dropout=.5", "window_s=3.", "fit.lr=1e-4", "name=mine"])
    assert (recipe.model.dropout, recipe.window_s, recipe.fit.lr, recipe.name) == (0.5, 3.0, 1e-4, "mine")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("fit.epoch=3", "unknown key 'fit.epoch'; did you mean 'epochs'?; known here are epochs, batch_size"),
        ("widow_s=3.0", "unknown key 'widow_s'; did you mean 'window_s'?"),
        ("picture.log_mel.nmels=3", "unknown key 'picture.log_mel.nmels'; did you mean 'n_mels'?"),
        ("fit.epochs=0", "epochs is 0, which is for a head that is solved"),
        ("fit.epochs=many", "fit.epochs: Expected `int`, got `str`"),
        ("picture.channels=gray", "picture.channels: Invalid enum value 'gray'"),
        ("picture.log_mel.fmax=40000.0", "fmax 40000 Hz do not fit: expected fmin < fmax <= 16000 Hz"),
        ("picture.channels=colour", "colour needs a multiple of 3 bands; got"),
        ("picture.log_mel.win_length=2000", "win_length 2000 is longer than n_fft 1024; make it that or less"),
        ("picture.n_levels=256", "n_levels goes with normalization 'minmax' alone; got 'affine'"),
        (
            "picture.mean=[1.0, 2.0]",
            "mean and std hold [2] numbers; expected one each, or for normalization 'band' one",
        ),
        (
            "augment.mixup.alfa=0.4",
            "unknown key 'augment.mixup.alfa'; did you mean 'alpha'?; known here are probability",
        ),
        ("augment.mixup.alpha=0", "augment.mixup.alpha: Expected `float` > 0.0"),
        ("fit.stages=[{epochs=2}, {epoch=3}]", "unknown key 'fit.stages[1].epoch'; did you mean 'epochs'?"),
        ("fit.stages=[{epochs=2}, {epochs=3}]", "epochs is 100, but the stages have 5 in all; set epochs = 5"),
        ("augment.noise.snr_db=[30.0, 10.0]", "snr_db is [30.0, 10.0]; expected the lower limit first"),
        ("noisy.strategy=trust", "noisy.strategy: Invalid enum value 'trust'"),
        ("noisy.rates=1.0", "unknown key 'noisy.rates'; did you mean 'rate'?; known here are strategy, rate"),
        ("noisy.rate=-1", "noisy.rate: Expected `float` >= 0.0"),
        ("noisy.given_weight=2", "noisy.given_weight: Expected `float` <= 1.0"),
        (
            "noisy.rate=2",
            "rate goes with strategy 'all' or 'hard-classes' or 'two-heads' or 'agree' or 'relabel' or 'soft' alone; "
            "got 'ignore'; leave rate out, or change the strategy",
        ),
        ("noisy={strategy='soft', rounds=3}", "rounds goes with strategy 'agree' or 'relabel' alone; got 'soft'"),
        ("epochs", "'epochs' sets nothing; expected key=value, such as fit.epochs=10"),
        ("window_s.x=1", "'window_s.x=1': 'window_s' is a value, not a table of values"),
    ],
)
def test_wrong_settings_say_what_is_wrong(setting: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("fast", [setting])
    assert message in str(caught.value)


def test_colour_needs_a_network_of_three_channels() -> None:
    with pytest.raises(RecipeError, match=r"model\.n_channels is 1, but colour pictures have 3"):
        load_recipe("small-colour", ["model.n_channels=1"])


def test_frequency_map_needs_a_network_of_two_channels() -> None:
    assert load_recipe("fast", ["picture.channels=frequency-map", "model.n_channels=2"]).model.n_channels == 2
    for n_channels in (1, 3):
        with pytest.raises(RecipeError) as caught:
            load_recipe("fast", ["picture.channels=frequency-map", f"model.n_channels={n_channels}"])
        assert str(caught.value) == (
            f"fast: model.n_channels is {n_channels}, but frequency-map pictures have 2; set model.n_channels = 2"
        )


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="no recipe 'fats'; did you mean 'fast'"):
        load_recipe("fats")


def test_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("name = ")
    with pytest.raises(RecipeError, match=r"mine.toml: not valid TOML"):
        load_recipe(path)
