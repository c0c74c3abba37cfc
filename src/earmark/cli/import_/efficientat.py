"""`earmark import efficientat`."""

from __future__ import annotations

from pathlib import Path

import click

from earmark.data.audioset import read_classes
from earmark.data.sizes import in_words
from earmark.errors import MissingExtraError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The bundle to write, an .onnx.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="A table of the labels in the network's order, AudioSet's own or with one a row.  [default: AudioSet's 527]",
)
def efficientat(file: Path, output: Path, labels: Path | None) -> None:
    """Make a bundle of FILE, a mobile network of EfficientAT (mn04_as, mn10_as and their like).

    It is read without running any code that is in it. AudioSet's names are written without commas, as FSD50K writes
    them. The bundle scores windows of 5 s. Needs the extra `train`; tagging with the bundle does not.

    \b
    Examples:
      earmark import efficientat mn04_as_mAP_432.pt -o mn04.onnx
      earmark import efficientat my_esc50.pt --labels labels.csv -o esc50.onnx
    """
    try:
        from earmark.training.efficientat import import_checkpoint
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"importing ({error.name})", "train") from error

    vocabulary = read_classes(labels) if labels else None
    made = import_checkpoint(file, output, vocabulary)
    click.echo(
        f"{made.path}: {made.n_labels} labels, {in_words(made.n_bytes)}, MobileNetV3 of width {made.width:g} "
        f"({made.n_tensors} tensors); scores within {made.largest_difference:.1g} of torch's"
    )
