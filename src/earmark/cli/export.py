"""`earmark export`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from tabulate import tabulate

from earmark.atomic import atomic_path
from earmark.bundle import PRECISIONS, Bundle, BundleSpec, write_bundle
from earmark.cli.collection import CollectionOptions, collection_options
from earmark.data.rows import read_rows
from earmark.data.store import is_store, open_store
from earmark.errors import MissingExtraError
from earmark.tagging.collection_sounds import CollectionSounds
from earmark.tagging.parity import Parity, compare, middle_windows, synthesised_sounds
from earmark.tagging.tagger import Tagger, load, model_path

if TYPE_CHECKING:
    import onnx

LEAST_SAME_BEST = 0.95
"""Share of clips whose best label has to stay, or a warning is given."""

N_CALIBRATING = 64
"""Clips that ranges are measured on, a window of each."""


@dataclass(frozen=True)
class Source:
    """What is exported: a bundle, the run it belongs to if any, and the folders of its networks in torch's form."""

    path: Path
    run: Path | None = None
    parts: tuple[Path, ...] = ()
    fold: int | None = None


@click.command()
@click.argument("model")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The bundle to write, an .onnx.")
@click.option(
    "--input",
    "input_",
    default="log-mel",
    show_default=True,
    type=click.Choice(["log-mel", "waveform"]),
    help="What the network takes; waveforms need no front end of ours to run.",
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    type=click.Choice(PRECISIONS),
    help="fp16 and int8 store weights in 16 or 8 bits; int8-static computes with 8, which is faster, and needs --data.",
)
@click.option("--fold", type=click.IntRange(0), help="Of a run: the network of this fold, counted from 0.")
@click.option("--refit", is_flag=True, help="Of a run: the network learned on all clips.")
@click.option("--frames", is_flag=True, help="Of a run: also give frame_scores, the scores over time.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A collection or packed store to compare on, and for int8-static to measure ranges on.  "
    "[default: synthesised sounds]",
)
@click.option("--workers", type=click.IntRange(1), help="Clips at a time.  [default: one a core]")
@collection_options
def export(
    model: str,
    output: Path,
    input_: str,
    precision: str,
    fold: int | None,
    refit: bool,
    frames: bool,
    data: Path | None,
    workers: int | None,
    how: CollectionOptions,
) -> None:
    """Make a smaller, faster or self-contained bundle of MODEL, and say what that costs.

    MODEL is a bundle, 'embedded', or a run's folder, of which the average of its folds is taken; of a combination,
    every member is exported, into one bundle. The export and MODEL score the same clips; how far their scores are apart
    is printed, with lwlrap of both where DATA says what is heard, and written into the export. With --fold, these are
    the clips of DATA that the fold held out. A clip that cannot be read is named, and makes the exit status 1.

    \b
    Examples:
      earmark export run/ -o small.onnx --precision fp16
      earmark export run/ --fold 0 -o fast.onnx --precision int8-static --data ESC-50/
      earmark export embedded -o waveform.onnx --input waveform
    """
    source = find_source(model, fold, refit, frames)
    if output.resolve() == source.path.resolve():
        raise click.UsageError(f"{output} is the model itself; name another file with -o")
    if precision == "int8-static" and data is None:
        raise click.UsageError(
            "int8-static fixes the range of every value by what recordings give, and there are none; name a collection "
            "like those the model will hear with --data, or take int8"
        )
    before = load(source.path, n_threads=1)
    clips = _clips(data, how, before, source) if data else None
    with atomic_path(output) as temporary:  # says before all the work whether the bundle can be written
        pictures: list[Any] = []
        if clips and precision == "int8-static":
            networks = before.members or (before,)
            pictures = [middle_windows(network, clips.learned_from(), N_CALIBRATING) for network in networks]
        graph, spec = _converted(before.bundle, source, model, frames, input_ == "waveform", precision, pictures)
        write_bundle(graph, spec, temporary)
        after = load(temporary, n_threads=1)
        sounds = clips.held_out() if clips else synthesised_sounds()
        parity, errors = compare(before, after, sounds, n_workers=workers or os.cpu_count() or 1, progress=True)
        measured = {"measured_on": sounds.said, **parity.figures()}
        write_bundle(graph, msgspec.structs.replace(spec, export={**spec.export, **measured}), temporary)
        sizes = [path.stat().st_size for path in (source.path, temporary)]
    names = (str(source.path) if source.run else model, str(output))
    click.echo(report(before, after, names, sizes, parity, sounds.said))
    _tell([*spec.export.get("notes", []), *_doubts(parity, precision), *map(str, errors)])
    if errors:
        _tell([f"{len(errors)} of {len(sounds)} clips could not be read; the others were compared"])
        sys.exit(1)


def _doubts(parity: Parity, precision: str) -> list[str]:
    if parity.same_best >= LEAST_SAME_BEST:
        return []
    remedy = {"int8-static": "int8 or fp16", "int8": "fp16"}.get(precision, "--input log-mel")
    return [f"the best label of {1 - parity.same_best:.0%} of the clips is another than before; {remedy} loses less"]


def _tell(lines: list[str]) -> None:
    for line in lines:
        click.echo(f"earmark: {line}", err=True)


def find_source(model: str, fold: int | None, refit: bool, frames: bool) -> Source:
    """Find what is to be exported; a wrong combination of options is a `click.UsageError`."""
    if fold is not None and refit:
        raise click.UsageError("--fold and --refit name two networks; give one of them")
    run = Path(model)
    if not run.is_dir():
        option = "--fold" if fold is not None else "--refit" if refit else "--frames" if frames else None
        if option:
            raise click.UsageError(
                f"{option} goes with a run's folder, and {model} is none; leave it out, or name the run"
            )
        return Source(model_path(model))
    if fold is None and not refit:
        return Source(model_path(model), run, tuple(sorted(run.glob("fold-*"))))
    part = run / ("refit" if refit else f"fold-{fold}")
    if not (part / "model.onnx").is_file():
        there = sorted(found.parent.name for found in run.glob("*/model.onnx"))
        raise click.UsageError(
            f"{run} has no {part.name}/model.onnx; it has {', '.join(there) or 'no finished network'}"
        )
    return Source(part / "model.onnx", run, (part,), fold)


def _clips(data: Path, how: CollectionOptions, before: Tagger, source: Source) -> CollectionSounds:
    """Read the collection or store that models are compared on, and which of its clips a fold held out."""
    store = None
    if is_store(data):
        how.refuse_reading(data)
        store = open_store(data)
    manifest = how.select(store.manifest) if store else how.read(data)
    held_out: set[str] = set()
    if source.run is not None and source.fold is not None:
        rows = read_rows(source.run / "folds.csv", ("fname", "fold"), unique="fname")
        held_out = {row["fname"] for row in rows if row["fold"] == str(source.fold)}
    return CollectionSounds(manifest, store, before.bundle.vocabulary, data.resolve().name, held_out)


def _converted(
    bundle: Bundle, source: Source, name: str, frames: bool, waveforms: bool, precision: str, pictures: list[Any]
) -> tuple[onnx.ModelProto, BundleSpec]:
    try:
        from earmark.training.export.members import converted_members
        from earmark.training.export.source import converted, graph_of_bundle, graph_of_run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"exporting ({error.name})", "train") from error

    if bundle.members:
        return converted_members(
            bundle, waveforms=waveforms, precision=precision, pictures=pictures, source=Path(name).name
        )
    graph = (
        graph_of_run(source.run, list(source.parts))
        if frames and source.run
        else graph_of_bundle(bundle, waveforms=waveforms)
    )
    return converted(
        graph,
        bundle.spec,
        waveforms=waveforms,
        precision=precision,
        pictures=pictures[0] if pictures else None,
        source=Path(name).name,
    )


def report(
    before: Tagger, after: Tagger, names: tuple[str, str], sizes: list[int], parity: Parity, measured_on: str
) -> str:
    """What is exported beside the export, then how far apart they are, as text."""
    inputs = ["waveform" if tagger.bundle.spec.input == "waveforms" else "log-mel" for tagger in (before, after)]
    rows: list[list[Any]] = [
        ["input", *inputs],
        ["precision", after.bundle.spec.export["source_precision"], after.bundle.spec.export["precision"]],
        ["size, MB", *(f"{size / 1e6:.2f}" for size in sizes)],
    ]
    if parity.lwlrap_before is not None:
        rows.append(["lwlrap", f"{parity.lwlrap_before:.4f}", f"{parity.lwlrap_after:.4f}"])
    rows += [
        ["scores apart, largest", "", f"{parity.largest:.1e}"],
        ["scores apart, mean", "", f"{parity.mean:.1e}"],
        ["same best label", "", f"{100 * parity.same_best:.1f} %"],
    ]
    return f"{tabulate(rows, ['', *names], disable_numparse=True)}\n\nmeasured on {measured_on}"
