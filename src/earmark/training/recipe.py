"""Recipes: everything a training run is made with, in one TOML file.

A recipe is validated by name, type and range; what it does not say has the default that stands here.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from earmark.audio.picture import PictureSpec
from earmark.errors import RecipeError, did_you_mean

Positive = Annotated[float, msgspec.Meta(gt=0)]
NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
PositiveCount = Annotated[int, msgspec.Meta(ge=1)]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ModelRecipe(_Table, frozen=True):
    """The network: its name, the factor on its channels, the channels it takes, dropout, pooling, stem."""

    name: Literal["resnet18"] = "resnet18"
    width: Annotated[float, msgspec.Meta(gt=0, le=4)] = 1.0
    n_channels: Literal[1, 2, 3] = 1
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    pooling: Literal["average", "both"] = "average"
    stem: Literal["standard", "gentle"] = "standard"


class AugmentRecipe(_Table, frozen=True):
    """What is done to each training picture.

    `mixup_alpha`: both parameters of the Beta distribution that mixing weights are drawn from, 0 for no mixing.
    `gain_db`: each picture is made louder or softer by up to so much; `equaliser_db`: and its bands differently, along
    a random line. `time_stretch`: each plays by up to this share faster or slower; `band_shift`: and higher or lower by
    up to this share of the bands. `n_time_masks` of up to `time_mask_s` seconds and
    `n_band_masks` of up to `band_mask` (a share of the bands) are blanked out.
    """

    mixup_alpha: NonNegative = 0.0
    gain_db: NonNegative = 0.0
    equaliser_db: NonNegative = 0.0
    time_stretch: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    band_shift: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.0
    n_time_masks: Count = 0
    time_mask_s: NonNegative = 0.5
    n_band_masks: Count = 0
    band_mask: Probability = 0.15


class FitRecipe(_Table, frozen=True):
    """The optimisation: AdamW under a one-cycle rate, with a moving average of the weights.

    `lr` is the highest rate; it is reached after `warmup_share` of all steps. `ema_decay` is the average's for each
    step, once it is under way. `precision` is the trainer's: bf16 is used where the device computes with it.
    """

    epochs: PositiveCount = 40
    batch_size: Annotated[int, msgspec.Meta(ge=2)] = 32
    lr: Positive = 2e-3
    weight_decay: NonNegative = 0.02
    warmup_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.3
    ema_decay: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.99
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    seed: Count = 0


class Recipe(_Table, frozen=True):
    """A whole recipe.

    `window_s` is the length of the pictures that the network learns and scores, `hop_s` the step between the windows of
    a clip that is longer; a clip's scores are the mean over its windows.
    """

    name: str = "unnamed"
    description: str = ""
    window_s: Positive = 5.0
    hop_s: Positive = 2.5
    picture: PictureSpec = PictureSpec()
    model: ModelRecipe = ModelRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    fit: FitRecipe = FitRecipe()

    def __post_init__(self) -> None:
        if self.picture.n_channels not in {1, self.model.n_channels}:
            raise ValueError(
                f"model.n_channels is {self.model.n_channels}, but {self.picture.channels} pictures have "
                f"{self.picture.n_channels}; set model.n_channels = {self.picture.n_channels}"
            )

    @property
    def window_frames(self) -> int:
        """Frames of a window."""
        return max(1, round(self.window_s * self.picture.log_mel.frame_rate))

    @property
    def hop_frames(self) -> int:
        """Frames from one window to the next."""
        return max(1, round(self.hop_s * self.picture.log_mel.frame_rate))


def built_in_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("earmark") / "recipes"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load_recipe(name_or_file: str | Path, settings: list[str] | None = None) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name_or_file
        A built-in recipe's name, or the path of a TOML file.
    settings
        ``"fit.epochs=10"`` and the like, which replace what the recipe says; values are TOML.

    Raises
    ------
    RecipeError
        For an unknown recipe, unknown key, wrong type or a value out of range.

    Examples
    --------
    >>> load_recipe("fast", ["fit.epochs=2"]).fit.epochs
    2
    """
    source, text = _recipe_text(str(name_or_file))
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source}: not valid TOML: {error}") from error
    for setting in settings or []:
        _apply(tables, setting)
    return _validate(tables, source)


def _recipe_text(name_or_file: str) -> tuple[str, str]:
    if name_or_file in built_in_recipes():
        return name_or_file, (resources.files("earmark") / "recipes" / f"{name_or_file}.toml").read_text("utf-8")
    path = Path(name_or_file)
    if path.is_file():
        return str(path), path.read_text("utf-8")
    known = built_in_recipes()
    raise RecipeError(
        f"no recipe '{name_or_file}'{did_you_mean(name_or_file, known)}; built in are {', '.join(known)}; "
        "a file is named by its path"
    )


def _apply(tables: dict[str, Any], setting: str) -> None:
    key, separator, value = setting.partition("=")
    if not separator:
        raise RecipeError(f"'{setting}' sets nothing; expected key=value, such as fit.epochs=10")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word is a string, so that a shell needs no second quotes
    *parents, last = key.strip().split(".")
    for parent in parents:
        tables = tables.setdefault(parent, {})
        if not isinstance(tables, dict):
            raise RecipeError(f"'{setting}': '{parent}' is a value, not a table of values")
    tables[last] = parsed


def _validate(tables: dict[str, Any], source: str) -> Recipe:
    try:
        return msgspec.convert(tables, Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{source}: {_explain(str(error))}") from error


def _explain(message: str) -> str:
    """Turn msgspec's message into one that names the key as the recipe writes it, and the nearest known key."""
    place = re.search(r" - at `\$\.?([^`]*)`$", message)
    table = place.group(1) if place else ""
    text = message[: place.start()] if place else message
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", text)
    if not unknown:
        return f"{table}: {text}" if table else text
    known = [field.name for field in msgspec.structs.fields(_struct_at(table))]
    name = unknown.group(1)
    where = f"{table}.{name}" if table else name
    return f"unknown key '{where}'{did_you_mean(name, known)}; known here are {', '.join(known)}"


def _struct_at(table: str) -> Any:
    struct: Any = Recipe
    for part in filter(None, table.split(".")):
        struct = {field.name: field.type for field in msgspec.structs.fields(struct)}[part]
    return struct


def to_tables(recipe: Recipe) -> dict[str, Any]:
    """Every value of a recipe as plain nested tables, as TOML and JSON hold them."""
    return msgspec.to_builtins(recipe)
