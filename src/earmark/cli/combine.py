"""`earmark combine`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from earmark.atomic import atomic_path
from earmark.cli.collection import CollectionOptions, collection_options
from earmark.errors import MissingExtraError
from earmark.evaluation.bootstrap import Interval
from earmark.evaluation.combine import AUTO, KINDS, Chosen, choose
from earmark.evaluation.library import read_library

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The bundle to write, an .onnx.")
@click.option(
    "--kind",
    default=KINDS[0],
    show_default=True,
    type=click.Choice([*KINDS, AUTO]),
    help="How members become one: a mean with weights, or a second-level model; auto takes the best.",
)
@click.option("--distil", metavar="RECIPE", help="Learn one network of this recipe from all RUNs, and write that one.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace a value of that recipe.")
@click.option("--data", type=click.Path(path_type=Path), help="For --distil: what the runs were trained on.")
@click.option("--resume", is_flag=True, help="Continue a distillation that was interrupted.")
@collection_options
def combine(
    runs: tuple[Path, ...],
    output: Path,
    kind: str,
    distil: str | None,
    settings: tuple[str, ...],
    data: Path | None,
    resume: bool,
    how: CollectionOptions,
) -> None:
    """Make one model of RUNs over the same clips and folds, chosen by their out-of-fold scores.

    Members and weights are chosen greedily, with replacement. All kinds are judged, and the one of --kind is written.
    Every figure is of clips that the choice was not made on: for each fold, all is chosen on the others; so is the best
    single run, which a combination is held against. Intervals are over recordings, 95 %. A run with predictions-tta.csv
    counts twice, without and with test-time augmentation. MODEL is one file, for tag, predict, export and calibrate;
    MODEL-run beside it holds what the choice rests on.

    With --distil, one small network learns what all RUNs say in equal parts. For each of its folds it learns from the
    networks that held out the same fold, so its figures are of clips that neither it nor its teachers heard. MODEL-run
    is then its run.

    \b
    Examples:
      earmark combine run-a/ run-b/ run-c/ -o all.onnx
      earmark combine run-a/ run-b/ -o mean.onnx --kind geometric
      earmark combine run-a/ run-b/ -o small.onnx --distil fast --data ESC-50/
    """
    if (data is None) != (distil is None):
        raise click.UsageError(
            "--distil and --data go together: a recipe, and the collection that the runs learned from"
        )
    if distil is None and (settings or resume):
        raise click.UsageError(f"{'--set' if settings else '--resume'} goes with --distil; leave it out, or add that")
    if output.suffix != ".onnx":
        raise click.UsageError(f"{output}: a combination is one file; expected a name that ends in .onnx")
    if distil is not None and data is not None:
        from earmark.cli.distilling import distilled

        click.echo(distilled(runs, output, distil, settings, data, how, resume=resume))
        return
    _combine(runs, output, kind)


def _combine(runs: tuple[Path, ...], output: Path, kind: str) -> None:
    try:
        from earmark.evaluation.assembling import member_files, run_beside, write_combination, write_judged
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"combining ({error.name})", "train") from error

    judged, candidates = read_library(runs)
    with atomic_path(output) as temporary:  # says before all the work whether the bundle can be written
        chosen = choose(judged, candidates, kind)
        write_combination(chosen, candidates, temporary)
        write_judged(run_beside(output), judged, chosen)
    click.echo(report(chosen, len(judged.fnames), judged.n_folds))
    megabytes = sum(file.stat().st_size for file in member_files(chosen, candidates)) / 1e6
    click.echo(f"\n{output}: {len(chosen.members)} of {len(candidates)} candidates, {megabytes:.1f} MB", err=True)


def report(chosen: Chosen, n_clips: int, n_folds: int) -> str:
    """Candidates as they are, then each way of choosing by nested cross-validation, then what was chosen; as text."""
    combination = chosen.combination
    weights = dict(zip(combination.members, combination.weights, strict=False))
    seconds = "yes" if not combination.weights else ""
    candidates = [
        [name, f"{lwlrap:.4f}", f"{weights[name]:.3f}" if name in weights else seconds]
        for name, lwlrap in chosen.singles.items()
    ]
    rows: list[list[Any]] = [["best single run", *_cells(chosen.single), "", ""]]
    rows += [[kind, *_cells(f.lwlrap), *_cells(f.difference, sign="+")] for kind, f in chosen.by_kind.items()]
    if chosen.kind == AUTO:
        figure = chosen.figure
        rows.append(["kind chosen too", *_cells(figure.lwlrap), *_cells(figure.difference, sign="+")])
    header = ["chosen on other folds", "lwlrap", "95 %", "to the single", "95 %"]
    return (
        f"{tabulate(candidates, ['candidate', 'lwlrap', f'in {combination.kind}'], disable_numparse=True)}\n\n"
        f"{tabulate(rows, header, disable_numparse=True)}\n\n"
        f"nested over {n_folds} folds of {n_clips} clips; the model is: {combination.kind}"
    )


def _cells(interval: Interval, sign: str = "") -> list[str]:
    return [f"{interval.value:{sign}.4f}", f"{interval.low:{sign}.4f} to {interval.high:{sign}.4f}"]
