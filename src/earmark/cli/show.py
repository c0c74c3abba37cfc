"""`earmark show`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from earmark.audio.draw import Drawing, read_drawing, write_bare, write_figure
from earmark.audio.picture import PictureSpec
from earmark.cli.explaining import METHODS, Part, explained
from earmark.errors import AudioError
from earmark.tagging.files import find_recordings
from earmark.tagging.tagger import load
from earmark.training.recipe import load_recipe


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="The PNG file to write; only --explain has a name of its own for it.",
)
@click.option("--recipe", default="fast", show_default=True, help="Whose picture: a recipe's name, or a TOML file.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace a value of the recipe.")
@click.option("--model", "-m", help="Whose picture: a bundle (.onnx) or a run's folder, instead of a recipe.")
@click.option("--bare", is_flag=True, help="The bare image that a network gets, a pixel a value; one file.")
@click.option("--explain", metavar="MODEL", help="Mark what made a tag: a run's folder, a fold's, or a bundle.")
@click.option("--label", help="Which tag; goes with --explain.  [default: the best one]")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    help="How to explain.  [default: grad-cam where the model's folder holds it in torch's form, else occlusion]",
)
@click.option("--start", "start_s", type=click.FloatRange(0), default=0.0, help="Explain from this second on.")
@click.option("--end", "end_s", type=click.FloatRange(0), help="Explain up to this second.")
def show(
    paths: tuple[str, ...],
    output: Path | None,
    recipe: str,
    settings: tuple[str, ...],
    model: str | None,
    bare: bool,
    explain: str | None,
    label: str | None,
    method: str | None,
    start_s: float,
    end_s: float | None,
) -> None:
    """Draw the spectrogram of recordings as a network sees it, grey or colour.

    One recording is drawn alone, several as a sheet. Axes are in seconds and Hz. A recording that cannot be read is
    named, the others are drawn, and the exit status is 1.

    With --explain, what made the tag is outlined on the spectrogram and drawn below it: by Grad-CAM for a run in
    torch's form, by turning down one patch after the other for any bundle.

    \b
    Examples:
      earmark show dog.wav -o dog.png
      earmark show dog.wav --recipe small-colour --bare -o dog.png
      earmark show recordings/ --set picture.log_mel.n_mels=128 -o sheet.png
      earmark show dog.wav --explain run/ --label Bark -o why.png
    """
    if explain:
        part = Part(label, method, start_s, end_s)
        click.echo(explained(paths, explain, part, output))
        return
    if label or method or start_s or end_s is not None:
        raise click.UsageError("--label, --method, --start and --end go with --explain MODEL")
    if output is None:
        raise click.UsageError("there is no name for the picture; give it with -o picture.png")
    files, folder_errors = find_recordings(paths)
    if bare and len(files) != 1:
        raise click.UsageError(f"--bare draws one file; got {len(files)}; name one, or leave --bare out for a sheet")
    spec = load(model).picture_spec if model else load_recipe(recipe, list(settings)).picture
    drawings, errors = _drawn(files, spec)
    errors = [*folder_errors, *errors]
    for error in errors:
        click.echo(f"earmark: {error}", err=True)
    if drawings and bare:
        write_bare(drawings[0], output)
    elif drawings:
        write_figure(drawings, spec, output)
    if errors:
        click.echo(f"earmark: {len(errors)} of {len(files) + len(folder_errors)} could not be drawn", err=True)
        sys.exit(1)


def _drawn(files: list[Path], spec: PictureSpec) -> tuple[list[Drawing], list[AudioError]]:
    drawings, errors = [], []
    for file in files:
        try:
            drawings.append(read_drawing(file, spec))
        except AudioError as error:
            errors.append(error)
    return drawings, errors
