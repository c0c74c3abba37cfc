"""From a choice to what is kept of it: one bundle, and a folder like a run's with what the choice rests on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from earmark import __version__
from earmark.atomic import write_text_atomically
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.data.folds import write_folds
from earmark.data.rows import format_csv
from earmark.errors import BundleError, RunError
from earmark.evaluation.candidates import PREDICTIONS
from earmark.evaluation.combine import AUTO, Chosen
from earmark.evaluation.library import OF_KIND, Candidate, Judged
from earmark.metrics import evaluate
from earmark.predictions import Predictions
from earmark.training.export.members import graph_of_members


def run_beside(model: Path) -> Path:
    """The folder, laid out as a run's, that belongs to a bundle: ``small-run`` beside ``small.onnx``."""
    return model.with_name(f"{model.stem}-run")


def member_files(chosen: Chosen, candidates: Sequence[Candidate]) -> list[Path]:
    """The bundles of the chosen members; `RunError` when a run has none."""
    files = [candidates[i].run / "model.onnx" for i in chosen.members]
    for file in files:
        if not file.is_file():
            raise RunError(f"{file.parent}: holds no model.onnx; finish the run with 'earmark train … --resume'")
    return files


def write_combination(chosen: Chosen, candidates: Sequence[Candidate], path: Path) -> None:
    """Write a combination as one bundle.

    Parameters
    ----------
    chosen
        From `earmark.evaluation.combine.choose`.
    candidates
        What was chosen from.
    path
        The `.onnx` file.

    Raises
    ------
    RunError
        When a member's run holds no bundle.
    BundleError
        When a member's bundle cannot be read, is calibrated already, or is a combination itself.
    """
    files = member_files(chosen, candidates)
    specs = [Bundle(file).spec for file in files]
    for file, spec in zip(files, specs, strict=True):
        if spec.calibration is not None or spec.combination is not None:
            kind = "a combination itself" if spec.combination is not None else "calibrated already"
            raise BundleError(
                f"{file}: is {kind}, and out-of-fold scores are of the plain network; combine plain runs and calibrate "
                "the whole"
            )
    spec = _spec(chosen, specs, tuple(candidates[i].tta for i in chosen.members))
    write_bundle(graph_of_members([file.read_bytes() for file in files]), spec, path)


def _spec(chosen: Chosen, members: Sequence[BundleSpec], tta: tuple[dict[str, Any] | None, ...]) -> BundleSpec:
    combination = msgspec.structs.replace(chosen.combination, tta=tta if any(tta) else ())
    leading = members[int(np.argmax(combination.weights)) if combination.weights else 0]
    recipes = dict(zip(combination.members, (member.recipe for member in members), strict=True))
    return BundleSpec(
        labels=leading.labels,
        front_end=leading.front_end,
        window_frames=leading.window_frames,
        hop_frames=leading.hop_frames,
        windows_weight=leading.windows_weight,
        input=leading.input,
        combination=combination,
        metrics={"lwlrap": chosen.figure.lwlrap.value},
        recipe={"members": recipes},
        data="; ".join(dict.fromkeys(member.data for member in members if member.data)),
        licence="; ".join(dict.fromkeys(member.licence for member in members if member.licence)),
        earmark_version=__version__,
    )


def write_judged(folder: Path, judged: Judged, chosen: Chosen) -> None:
    """Write what a choice rests on as a run's files: `predictions.csv`, `clips.csv`, `folds.csv`, `metrics.json`.

    Parameters
    ----------
    folder
        Made where it is not there.
    judged
        The clips.
    chosen
        Of which each clip's scores are written, by a choice made without its fold.
    """
    folder.mkdir(exist_ok=True)
    names = judged.labels.decode(judged.targets)
    rows = [(f, ",".join(n), g) for f, n, g in zip(judged.fnames, names, judged.groups, strict=True)]
    write_text_atomically(folder / "clips.csv", format_csv(("fname", "labels", "group"), rows))
    write_folds(folder / "folds.csv", judged.fnames, judged.folds)
    metrics = {**evaluate(judged.targets, chosen.scores, judged.labels), **figures_of(chosen)}
    write_text_atomically(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    (folder / OF_KIND).unlink(missing_ok=True)
    if chosen.kind == AUTO:
        Predictions(judged.fnames, judged.labels, chosen.scores_of_kind).write(folder / OF_KIND)
    Predictions(judged.fnames, judged.labels, chosen.scores).write(folder / PREDICTIONS)


def figures_of(chosen: Chosen) -> dict[str, Any]:
    """All that was found, as plain tables for JSON."""
    return {
        "kind": chosen.kind,
        "chosen": {"kind": chosen.combination.kind, **_weights(chosen)},
        "nested": asdict(chosen.figure),
        "nested_by_kind": {kind: asdict(figure) for kind, figure in chosen.by_kind.items()},
        "nested_best_single": asdict(chosen.single),
        "singles": chosen.singles,
        "earmark": __version__,
    }


def _weights(chosen: Chosen) -> dict[str, Any]:
    combination = chosen.combination
    if not combination.weights:
        return {"members": list(combination.members)}
    return {"weights": dict(zip(combination.members, combination.weights, strict=True))}
