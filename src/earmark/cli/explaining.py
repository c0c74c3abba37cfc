"""`earmark show --explain`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from earmark.audio.decode import decode
from earmark.errors import MissingExtraError, RunError
from earmark.evaluation.explain import Explanation, occlude
from earmark.evaluation.explain_picture import write_explanation
from earmark.tagging.tagger import Tagger, load

METHODS = ("grad-cam", "occlusion")


@dataclass(frozen=True)
class Part:
    """What a user wants explained: a label, by a method, in a part of the recording; `None` leaves it open."""

    label: str | None
    method: str | None
    start_s: float
    end_s: float | None


def explained(paths: tuple[str, ...], model: str, part: Part, output: Path | None) -> str:
    """Draw what made a tag; gives what to say: the label, its score and where the picture is.

    Parameters
    ----------
    paths
        One recording.
    model
        A run's folder, a fold's, a `network.pt`, or a bundle.
    part
        What is asked.
    output
        The picture; `None` for a name made of the recording's and the label's, in the current folder.

    Raises
    ------
    AudioError, LabelError, BundleError, RunError
        When the recording cannot be read or is too long, the label is not known, there is no such model, or it is not
        one for the method.
    """
    if len(paths) != 1 or Path(paths[0]).is_dir():
        raise click.UsageError(f"--explain draws one file; got {', '.join(paths)}; name one recording")
    path, recording = Path(model), Path(paths[0])
    tagger = load(path.with_name("model.onnx") if path.name == "network.pt" else model)
    sounds = decode(recording, tagger.sample_rate, start_s=part.start_s, end_s=part.end_s).samples
    label = part.label or tagger.labels[int(tagger.scores(sounds, tagger.sample_rate).argmax())]
    tagger.bundle.vocabulary.index(label)  # says which one may be meant before all the work
    method = part.method or ("grad-cam" if _has_networks(path) else "occlusion")
    explanation = _by_gradients(path, sounds, label) if method == "grad-cam" else _by_occlusion(tagger, sounds, label)
    target = output or Path(recording.stem + "-" + re.sub(r"[^\w-]+", "_", label) + ".png")
    write_explanation(explanation, tagger.picture_spec, recording.name, target)
    return f"{label} {explanation.score:.4f} by {explanation.method}: {target}"


def _by_occlusion(tagger: Tagger, sounds: np.ndarray, label: str) -> Explanation:
    return occlude(tagger.bundle, tagger.picture_spec, sounds, label)


def _by_gradients(path: Path, sounds: np.ndarray, label: str) -> Explanation:
    try:
        from earmark.evaluation.explain_gradients import grad_cam, read_members
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"Grad-CAM ({error.name})", "train") from error
    if path.suffix == ".onnx":
        raise RunError(
            f"{path}: Grad-CAM needs a network in torch's form; give the run's folder, or --method occlusion"
        )
    return grad_cam(read_members(path), sounds, label)


def _has_networks(path: Path) -> bool:
    """Whether networks in torch's form are there, and torch to read them."""
    from importlib.util import find_spec

    there = path.name == "network.pt" or any(path.glob("network.pt")) or any(path.glob("fold-*/network.pt"))
    return there and find_spec("torch") is not None
