"""Recipes: everything a training run is made with, in one TOML file.

A recipe is validated by name, type and range; what it does not say has the default that stands here.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from earmark.audio.picture import PictureSpec
from earmark.audio.views import TtaSpec
from earmark.errors import RecipeError, did_you_mean
from earmark.training.augment.recipe import AugmentRecipe
from earmark.training.noisy.recipe import NoisyRecipe
from earmark.training.ranges import Count, NonNegative, Positive, PositiveCount, Probability
from earmark.training.ranges import Table as _Table


class ModelRecipe(_Table, frozen=True):
    """The network.

    Attributes
    ----------
    name
        ``"resnet18"`` and ``"resnet34"``, shaped as the ImageNet weights at width 1; ``"mobile04"`` and ``"mobile10"``,
        MobileNetV3 in the shape of EfficientAT's checkpoints.
    width
        Factor on the channels of every layer.
    n_channels
        That the first layer takes; grey pictures are repeated where it takes more than one.
    dropout
        Probability of dropping a feature before the last layer.
    drop_path
        Probability of leaving out the last residual block in training; earlier ones are left out less often, in
        proportion to their depth (stochastic depth).
    pooling
        How the last feature map becomes one vector, or one logit a label; see `earmark.training.models`.
    hidden_layer
        Whether a mobile network has another layer between its pooled features and the last; residual networks never
        do.
    stem
        ``"gentle"``, for residual networks: 3x3 at first and no maximum after it, so that each output sees less.
    init
        File of weights to start from, empty for random ones; the last layer is taken over only when its labels fit.
    """

    name: Literal["resnet18", "resnet34", "mobile04", "mobile10"] = "resnet18"
    width: Annotated[float, msgspec.Meta(gt=0, le=4)] = 1.0
    n_channels: Literal[1, 2, 3] = 1
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    drop_path: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    pooling: Literal["average", "max", "both", "attention"] = "average"
    hidden_layer: bool = True
    stem: Literal["standard", "gentle"] = "standard"
    init: str = ""

    def __post_init__(self) -> None:
        if self.stem == "gentle" and self.name.startswith("mobile"):
            raise ValueError(f"stem 'gentle' goes with residual networks; {self.name} has one stem, 'standard'")
        if not self.hidden_layer and not self.name.startswith("mobile"):
            raise ValueError(f"hidden_layer is of mobile networks; {self.name} has none to leave out")


class LossRecipe(_Table, frozen=True):
    """What is made small.

    Attributes
    ----------
    name
        ``"bce"``: binary cross-entropy of each label. ``"focal"``: the same, with what is known already weighing less.
        ``"bootstrap"``: the same against targets that are partly the network's own scores, for labels that are noisy.
    focal_gamma
        How much less: cross-entropy times ``(1 - p)^gamma``, p the score of what is true.
    bootstrap_weight
        The share of the given targets; the rest are the network's scores.
    label_smoothing
        Targets t become ``t (1 - s) + s / 2``.
    softmax_weight
        What the cross-entropy of a softmax over all labels counts for besides, which asks for the right order of a
        clip's labels; see `earmark.training.losses.softmax`.
    """

    name: Literal["bce", "focal", "bootstrap"] = "bce"
    focal_gamma: NonNegative = 2.0
    bootstrap_weight: Probability = 0.8
    label_smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    softmax_weight: NonNegative = 0.0


class Stage(_Table, frozen=True):
    """One cycle of a training that has several.

    Attributes
    ----------
    epochs
        Its length.
    lr
        The highest rate, 0 for the recipe's.
    lr_lowest
        The highest rate of the layers nearest the input; those between have rates between, each the same factor above
        the one before. 0 for `lr`.
    freeze
        Whether everything but the last layer, and the normalisation of the others, stays as it is.
    """

    epochs: PositiveCount
    lr: NonNegative = 0.0
    lr_lowest: NonNegative = 0.0
    freeze: bool = False


class FitRecipe(_Table, frozen=True):
    """The optimisation.

    Attributes
    ----------
    epochs
        In all; when there are stages, it must be the sum of theirs. 0 is for a head that is solved, and nothing else.
    batch_size
        Clips to a step, over all devices together.
    head
        ``"learned"``: the last layer begins as the network has it. ``"solved"``: it begins as logistic regression on
        what the layers before it make of the clips; see `earmark.training.head`.
    head_penalty
        Of the squares of a solved layer's coefficients.
    optimizer, momentum, weight_decay
        ``"adamw"``, or ``"sgd"`` with Nesterov's momentum. Biases and normalisation are not decayed.
    lr, lr_lowest
        As in `Stage`, for a training without stages.
    schedule
        ``"one-cycle"``: from a 25th of the rate up to it and down to nearly 0, by half cosines, momentum the other way
        round. ``"cosine"``: up in a straight line, down by a half cosine. ``"constant"``.
    warmup_share
        Share of the steps that the way up takes.
    averaging
        ``"ema"``: a moving average of the weights is kept, whose decay for each step is `ema_decay` once it is under
        way. ``"swa"``: their mean over the last `swa_share` of all steps. ``"none"``: the last ones.
    clip_norm
        Gradients longer than this are shortened to it; 0 for no limit.
    precision
        The trainer's; ``"auto"`` is bf16 where the device computes with it.
    compile
        Whether the network is compiled; ``"auto"`` on a GPU, where it pays.
    stages
        Cycles one after the other.
    seed
        Of everything drawn; fold i has ``seed + i``.
    """

    epochs: Count = 40
    batch_size: Annotated[int, msgspec.Meta(ge=2)] = 32
    head: Literal["learned", "solved"] = "learned"
    head_penalty: Positive = 30.0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.9
    lr: Positive = 2e-3
    lr_lowest: NonNegative = 0.0
    weight_decay: NonNegative = 0.02
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warmup_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.3
    averaging: Literal["ema", "swa", "none"] = "ema"
    ema_decay: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.99
    swa_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
    clip_norm: NonNegative = 0.0
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    stages: tuple[Stage, ...] = ()
    seed: Count = 0

    def __post_init__(self) -> None:
        if not self.epochs and self.head != "solved":
            raise ValueError("epochs is 0, which is for a head that is solved; set epochs, or head = 'solved'")
        in_stages = sum(stage.epochs for stage in self.stages)
        if self.stages and in_stages != self.epochs:
            raise ValueError(
                f"epochs is {self.epochs}, but the stages have {in_stages} in all; set epochs = {in_stages}, or change "
                "the stages"
            )

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """The stages, with their rates filled in; a training without any has one."""
        stages = self.stages or (Stage(epochs=self.epochs, lr=self.lr, lr_lowest=self.lr_lowest),)
        filled = (msgspec.structs.replace(stage, lr=stage.lr or self.lr) for stage in stages)
        return tuple(msgspec.structs.replace(stage, lr_lowest=stage.lr_lowest or stage.lr) for stage in filled)


class Recipe(_Table, frozen=True):
    """A whole recipe.

    `window_s` is the length of the pictures that the network learns and scores, `hop_s` the step between the windows of
    a clip that is longer. A clip's scores are the mean over its windows by `windows_weight`, and for the rest those of
    the window in its middle. With `tta.n`, the run's out-of-fold predictions are made a second time, with test-time
    augmentation, so that `earmark compare` says whether it pays.
    """

    name: str = "unnamed"
    description: str = ""
    window_s: Positive = 5.0
    hop_s: Positive = 2.5
    windows_weight: Probability = 1.0
    picture: PictureSpec = PictureSpec()
    model: ModelRecipe = ModelRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    loss: LossRecipe = LossRecipe()
    noisy: NoisyRecipe = NoisyRecipe()
    fit: FitRecipe = FitRecipe()
    tta: TtaSpec = TtaSpec()

    def __post_init__(self) -> None:
        if self.picture.n_channels not in {1, self.model.n_channels}:
            raise ValueError(
                f"model.n_channels is {self.model.n_channels}, but {self.picture.channels} pictures have "
                f"{self.picture.n_channels}; set model.n_channels = {self.picture.n_channels}"
            )
        if self.fit.head == "solved":
            self._check_solved()

    def _check_solved(self) -> None:
        """Raise a `ValueError` where a head cannot be solved."""
        if self.augment.changes_waveform:
            raise ValueError("fit.head 'solved' is of clips as they are; leave out what changes their waveforms")
        if self.model.pooling == "attention":
            raise ValueError("fit.head 'solved' is of one layer, and pooling 'attention' has two; take another pooling")
        if self.noisy.strategy in ("pretrain", "two-heads", "soft") and not self.fit.epochs:
            raise ValueError(f"noisy.strategy '{self.noisy.strategy}' wants epochs; take another, or set fit.epochs")

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
    except (ValueError, RecursionError) as error:  # besides bad TOML: a number of too many digits, too deep a nesting
        raise RecipeError(f"{source}: not valid TOML: {error}") from error
    for setting in settings or []:
        _apply(tables, setting)
    return _validate(tables, source)


def _recipe_text(name_or_file: str) -> tuple[str, str]:
    if name_or_file in built_in_recipes():
        return name_or_file, (resources.files("earmark") / "recipes" / f"{name_or_file}.toml").read_text("utf-8")
    path = Path(name_or_file)
    if path.is_file():
        try:
            return str(path), path.read_text("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise RecipeError(
                f"{path} line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8; save the recipe as UTF-8"
            ) from error
    known = built_in_recipes()
    raise RecipeError(
        f"no recipe '{name_or_file}'{did_you_mean(name_or_file, known)}; built in are {', '.join(known)}; "
        "a file is named by its path"
    )


def _apply(tables: dict[str, Any], setting: str) -> None:
    key, separator, value = setting.partition("=")
    if not separator:
        raise RecipeError(f"'{setting}' sets nothing; expected key=value, such as fit.epochs=10")
    parsed = _value(value)
    *parents, last = key.strip().split(".")
    for parent in parents:
        tables = tables.setdefault(parent, {})
        if not isinstance(tables, dict):
            raise RecipeError(f"'{setting}': '{parent}' is a value, not a table of values")
    tables[last] = parsed


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # besides what is no TOML: too many digits, too deep a nesting
        pass
    try:
        return float(text)  # .5 and 5. are numbers to people, though not to TOML
    except ValueError:
        return text  # a bare word is a string, so that a shell needs no second quotes


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
    """The struct that a table of the recipe is read into, such as ``fit.stages[1]``."""
    struct: Any = Recipe
    for part in filter(None, table.split(".")):
        struct = {field.name: field.type for field in msgspec.structs.fields(struct)}[part.split("[")[0]]
        structs = (argument for argument in get_args(struct) if isinstance(argument, type))
        struct = next((s for s in structs if issubclass(s, msgspec.Struct)), struct)  # of one that may be absent
    return struct


def to_tables(recipe: Recipe) -> dict[str, Any]:
    """Every value of a recipe as plain nested tables, as TOML and JSON hold them; what it does without is left out."""
    tables: dict[str, Any] = msgspec.to_builtins(recipe)
    tables["augment"] = {name: value for name, value in tables["augment"].items() if value is not None}
    return tables
