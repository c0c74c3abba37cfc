"""`earmark demo`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
from tabulate import tabulate

from earmark.data.cache import training_store
from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.data.synth import write_collection
from earmark.errors import MissingExtraError, RunError
from earmark.evaluation.chance import chance_lwlrap
from earmark.metrics import lwlrap
from earmark.predictions import Predictions, mean, read_labels
from earmark.tagging.predict import predict_clips
from earmark.tagging.tagger import load

N_CURATED, N_NOISY, N_TEST = 360, 72, 72
N_FOLDS = 3
PICTURES = ("grey", "colour")
SETTINGS = ("fit.epochs=14", "model.width=0.25", "window_s=2.0", "hop_s=1.0")
"""How the recipes `small-grey` and `small-colour` are cut down to a few minutes."""


@click.command()
@click.option(
    "--output", "-o", default="earmark-demo", show_default=True, type=click.Path(path_type=Path), help="A folder."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace a value of both recipes.")
def demo(output: Path, settings: tuple[str, ...]) -> None:
    """Go the whole way on synthesised sounds: collection, training, combination, submission, tags.

    Needs neither recordings nor a network, some minutes on two cores, and the extra `train`. An earlier demo in the
    output folder is replaced.

    \b
    Example:
      earmark demo -o demo
    """
    _clear(output)
    collection = output / "collection"
    click.echo("1/5  a collection: synthesised sounds in FSDKaggle2019's layout", err=True)
    write_collection(collection, n_curated=N_CURATED, n_noisy=N_NOISY, n_test=N_TEST)
    for picture in PICTURES:
        click.echo(f"{2 + PICTURES.index(picture)}/5  a {picture} model, cross-validated", err=True)
        train_one(collection, picture, output / picture, [*SETTINGS, *settings])
    click.echo("4/5  combination and submission", err=True)
    manifest = read_collection(collection)
    figures = combine(output, manifest)
    click.echo("5/5  pictures, bundle and tags", err=True)
    draw_and_tag(output, manifest, figures)


def _clear(output: Path) -> None:
    if output.is_dir() and any(output.iterdir()) and not (output / "collection").is_dir():
        raise RunError(f"{output}: is not empty and holds no earlier demo; name another folder with -o")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)


def train_one(collection: Path, picture: str, folder: Path, settings: list[str]) -> None:
    """Cross-validate one of the two small recipes."""
    try:
        from earmark.training.crossval import cross_validate
        from earmark.training.recipe import load_recipe
        from earmark.training.run import open_run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the demo ({error.name})", "train") from error

    recipe = load_recipe(f"small-{picture}", settings)
    store = training_store(collection, recipe.picture.log_mel.sample_rate)
    cross_validate(open_run(folder, recipe, store, N_FOLDS, resume=False))


def combine(output: Path, manifest: Manifest) -> dict[str, float]:
    """Print what each model and their mean reach, write `submission.csv`, and give the out-of-fold lwlrap."""
    curated, test = manifest.subset("curated"), manifest.subset("test")
    of_models = [Predictions.read(output / picture / "predictions.csv") for picture in PICTURES]
    tagged = [predict_clips(load(output / picture, n_threads=1), test)[0] for picture in PICTURES]
    mean(tagged).write(output / "submission.csv")
    names, truth = read_labels(output / "collection" / "test_labels.csv", manifest.vocabulary)
    on_test = [lwlrap(truth, table.align(names, manifest.vocabulary).scores) for table in [*tagged, mean(tagged)]]
    out_of_fold = [lwlrap(curated.targets(), table.scores) for table in [*of_models, mean(of_models)]]
    rows = [["chance", chance_lwlrap(curated.targets()), chance_lwlrap(truth)]]
    rows += [list(row) for row in zip([*PICTURES, "combination"], out_of_fold, on_test, strict=True)]
    click.echo(tabulate(rows, ["model", "lwlrap, out of fold", "lwlrap, test"], floatfmt=".3f"))
    return dict(zip(PICTURES, out_of_fold, strict=False))


def draw_and_tag(output: Path, manifest: Manifest, figures: dict[str, float]) -> None:
    """Draw a test clip both ways, keep the better model's bundle, and tag the clip with it."""
    from earmark.audio.draw import read_drawing, write_figure

    clip = manifest.subset("test").clips[0]
    for picture in PICTURES:
        spec = load(output / picture).picture_spec
        write_figure([read_drawing(clip.path, spec)], spec, output / f"{picture}.png")
    better = max(PICTURES, key=lambda picture: figures[picture])
    shutil.copyfile(output / better / "model.onnx", output / "model.onnx")
    tags = load(output / "model.onnx").tag(clip.path)
    said = ", ".join(f"{tag.label} {tag.score:.2f}" for tag in tags)
    written = "submission.csv, grey.png, colour.png, model.onnx"
    click.echo(f"\n{clip.path}: {said}\n\nwritten to {output}/: {written}")
    click.echo(f"try:  earmark tag {clip.path} --model {output / 'model.onnx'}")
