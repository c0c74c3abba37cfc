"""`earmark calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import numpy as np
from tabulate import tabulate

from earmark.bundle import Bundle, Thresholds, write_bundle
from earmark.errors import BundleError, MissingExtraError, RunError
from earmark.evaluation.calibrate import (
    METHODS,
    at_thresholds,
    find_thresholds,
    fit_calibration,
    held_out,
    held_out_tags,
)
from earmark.evaluation.library import OF_KIND, Judged, read_judged
from earmark.evaluation.reliability import N_BINS, brier, draw_reliability, ece_by_label, reliability
from earmark.metrics import lwlrap
from earmark.predictions import Predictions
from earmark.tagging.tagger import model_path

if TYPE_CHECKING:
    import onnx

PLAIN = 0.5
"""The threshold that found ones are held against."""

MOST_NAMED = 8


@click.command()
@click.argument("model")
@click.option("--method", default="platt", show_default=True, type=click.Choice(METHODS), help="How, label by label.")
@click.option(
    "--precision",
    type=click.FloatRange(0, 1, min_open=True),
    help="Thresholds that reach this precision.  [default: those of the best F1]",
)
@click.option("--run", "run_folder", type=click.Path(path_type=Path), help="The out-of-fold scores of a bundle.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The bundle to write.  [default: MODEL's own]")
@click.option(
    "--picture", type=click.Path(path_type=Path), help="The diagram to write.  [default: in the run's folder]"
)
def calibrate(
    model: str,
    method: str,
    precision: float | None,
    run_folder: Path | None,
    output: Path | None,
    picture: Path | None,
) -> None:
    """Make the scores of MODEL probabilities, and find a threshold for each label; both go into its bundle.

    MODEL is a run's folder or a bundle that 'earmark combine' wrote, whose out-of-fold scores lie beside it in
    MODEL-run; for any other bundle --run names the run that it was made of. What is printed is of clips that the
    calibration was not learned on: for each fold, all is learned on the others. From then on 'tag', 'predict' and
    earmark.load give calibrated scores of this bundle, and 'tag --threshold auto' gives the labels above their own
    thresholds. The run's fold networks stay as they are.

    \b
    Examples:
      earmark calibrate run/
      earmark calibrate all.onnx --method isotonic --precision 0.9
      earmark calibrate small.onnx --run run/ -o calibrated.onnx
    """
    source = model_path(model)
    bundle, folder = Bundle(source), _folder(Path(model), source, run_folder)
    judged, table = read_judged(folder)
    if bundle.spec.labels != judged.labels.names:
        raise RunError(f"{folder}: its labels are not those of {source}; name the run that the model was made of")
    if (folder / OF_KIND).is_file():
        table = Predictions.read(folder / OF_KIND).align(judged.fnames, judged.labels)
    scores = _in_range(folder, table.scores)
    after = {name: held_out(judged, scores, name) for name in METHODS}
    thresholds = find_thresholds(after[method], judged.targets, precision)
    spec = msgspec.structs.replace(
        bundle.spec, calibration=fit_calibration(method, scores, judged.targets), thresholds=thresholds
    )
    target = output or source
    _write(source, spec, target)
    diagram = picture or folder / "reliability.png"
    plain, changed = (reliability(judged.targets, found) for found in (scores, after[method]))
    draw_reliability(plain, changed, diagram, title=f"{Path(model).name}, {method}, calibrated on other folds")
    click.echo(report(judged, scores, after, method, precision))
    _tell_missing(judged, thresholds)
    click.echo(f"earmark: {target} is calibrated ({method}); the diagram is {diagram}", err=True)


def _folder(model: Path, source: Path, run_folder: Path | None) -> Path:
    """Find the out-of-fold scores that belong to a model."""
    if run_folder is not None:
        return run_folder
    if model.is_dir():
        return model
    beside = source.with_name(f"{source.stem}-run")
    if not beside.is_dir():
        raise RunError(
            f"{model}: there are no out-of-fold scores beside it, in {beside.name}; name the run that it was made of "
            "with --run"
        )
    return beside


def _in_range(folder: Path, scores: np.ndarray) -> np.ndarray:
    low, high = float(scores.min(initial=0)), float(scores.max(initial=0))
    if low < 0 or high > 1 + 1e-5:
        raise RunError(f"{folder}: its scores are from {low:g} to {high:g}; expected 0 to 1; are they logits?")
    return scores.clip(0, 1)


def _write(source: Path, spec: Any, target: Path) -> None:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtraError("writing a bundle", "train") from error
    network: onnx.ModelProto = onnx.load(source)
    if not network.graph.output:
        raise BundleError(f"{source}: has no outputs; copy the file again")
    write_bundle(network, spec, target)


def report(
    judged: Judged, scores: np.ndarray, after: dict[str, np.ndarray], method: str, precision: float | None
) -> str:
    """What each method comes to on other folds than it was learned on, and tags from thresholds found so, as text."""
    truth = judged.targets
    rows = [
        [name, reliability(truth, found).ece, ece_by_label(truth, found), brier(truth, found), lwlrap(truth, found)]
        for name, found in {"before": scores, **after}.items()
    ]
    rule = "best F1" if precision is None else f"precision {precision:g}"
    tags = {
        f"before, {PLAIN}": scores >= PLAIN,
        f"{method}, {PLAIN}": after[method] >= PLAIN,
        f"{method}, {rule}": held_out_tags(judged, after[method], precision),
    }
    found = [(name, at_thresholds(truth, given)) for name, given in tags.items()]
    judged_tags = [[name, one.f1, one.precision, one.recall] for name, one in found]
    return (
        f"{tabulate(rows, ['scores', 'ECE', 'ECE by label', 'Brier', 'lwlrap'], floatfmt='.4f')}\n\n"
        f"{tabulate(judged_tags, ['tags', 'F1, mean of labels', 'precision', 'recall'], floatfmt='.4f')}\n\n"
        f"learned on other folds, of {judged.n_folds}; {len(truth)} clips; ECE in {N_BINS} bins"
    )


def _tell_missing(judged: Judged, thresholds: Thresholds) -> None:
    never = [name for name, value in zip(judged.labels, thresholds.values, strict=True) if value is None]
    if never:
        named = f"{', '.join(never[:MOST_NAMED])}{' …' if len(never) > MOST_NAMED else ''}"
        click.echo(
            f"earmark: {len(never)} labels have no threshold and are never given with '--threshold auto': {named}; "
            "no clip has them, or their scores never reach the precision",
            err=True,
        )
