"""What an export is made of: a bundle, or the networks of a run in torch's form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx

from earmark import __version__
from earmark.audio.picture import PictureSpec
from earmark.audio.waveform_windows import padding_samples, window_samples
from earmark.bundle import INPUT_NAME, WAVEFORMS_NAME, Bundle, BundleSpec
from earmark.errors import BundleError, RunError
from earmark.training.export.graph import average, renormalized, to_onnx
from earmark.training.export.precision import precision_of, with_precision
from earmark.training.export.waveform import with_front_end


def graph_of_bundle(
    bundle: Bundle, model: onnx.ModelProto | None = None, *, waveforms: bool = False
) -> onnx.ModelProto:
    """Read the network of a bundle.

    Parameters
    ----------
    bundle
        Of one network.
    model
        What is in its file, where that is read already.
    waveforms
        Whether it is to take waveforms: one with 8-bit weights, which stay as they are, may do so.

    Raises
    ------
    BundleError
        When the bundle is an export itself from which nothing better can be made.
    """
    model = onnx.load(bundle.path) if model is None else model
    precision = precision_of(model)
    if bundle.spec.input != INPUT_NAME or (precision.startswith("int8") and not waveforms):
        kind = "takes waveforms" if bundle.spec.input != INPUT_NAME else f"has the precision {precision}"
        made_of = bundle.spec.export.get("source")
        raise BundleError(
            f"{bundle.path}: {kind}, and so is an export itself; export the run or bundle it was made of"
            f"{f', {made_of}' if made_of else ''}"
        )
    return model


def graph_of_run(run: Path, parts: list[Path]) -> onnx.ModelProto:
    """Translate the networks of a run's folds, or its refitted one, with scores over time.

    Parameters
    ----------
    run
        The run's folder.
    parts
        Folders within it that hold ``network.pt`` and ``model.onnx``; several are averaged.

    Raises
    ------
    RunError
        When a folder does not hold them, or a network gives no scores over time.
    """
    from earmark.training.crossval import load_network  # which itself exports

    missing = [part for part in parts if not (part / "network.pt").is_file()]
    if missing or not parts:
        raise RunError(
            f"{missing[0] if missing else run}: holds no network.pt, from which scores over time are made; give a "
            "run's folder that has it, or leave --frames out"
        )
    bundles = [Bundle(part / "model.onnx") for part in parts]
    own = [msgspec.convert(bundle.spec.front_end, PictureSpec) for bundle in bundles]
    models = [
        renormalized(to_onnx(load_network(part), picture, bundle.spec.window_frames, frames=True), own[0], picture)
        for part, bundle, picture in zip(parts, bundles, own, strict=True)
    ]
    return models[0] if len(models) == 1 else average(models)


def converted(
    model: onnx.ModelProto,
    spec: BundleSpec,
    *,
    waveforms: bool,
    precision: str,
    pictures: np.ndarray | None = None,
    source: str = "",
) -> tuple[onnx.ModelProto, BundleSpec]:
    """Make an export of a network: give it a precision, and a front end of its own where waveforms are to go in.

    Parameters
    ----------
    model
        From `pictures` to scores; it is changed.
    spec
        Of the bundle that it comes from.
    waveforms
        Whether the export takes waveforms.
    precision
        One of `earmark.bundle.PRECISIONS`; a network with 8-bit weights keeps its own.
    pictures
        For ``"int8-static"``: (n, n_channels, height, n_frames) float32, like those it will be used on.
    source
        Name of what it is made of.

    Returns
    -------
    onnx.ModelProto, BundleSpec
        For `earmark.bundle.write_bundle`.

    Raises
    ------
    BundleError
        When the network cannot have this precision.
    """
    picture = msgspec.convert(spec.front_end, PictureSpec)
    own = precision_of(model)
    rounded = own.startswith("int8")
    said: dict[str, Any] = {"source": source, "source_precision": own, "precision": own if rounded else precision}
    if not rounded:
        model = with_precision(model, precision, pictures)
    if waveforms:
        model = with_front_end(model, picture, spec.window_frames)
        said["waveforms"] = how_to_cut(picture, spec)
        said["notes"] = notes_of(picture)
        if rounded and precision != own:
            said["notes"].append(f"the network keeps its own precision, {own}: more cannot be made of fewer bits")
    return model, msgspec.structs.replace(
        spec, input=WAVEFORMS_NAME if waveforms else INPUT_NAME, export=said, earmark_version=__version__
    )


def how_to_cut(picture: PictureSpec, spec: BundleSpec) -> dict[str, int | str]:
    """What a program has to know that gives waveforms to ONNX Runtime: all in samples, but for the rate in Hz.

    ``pad_before`` and ``pad_behind`` go to a clip's ends, once, as ``padding`` says; then windows of ``window`` samples
    are cut each ``hop``.
    """
    before, behind = padding_samples(picture.log_mel)
    return {
        "sample_rate": picture.log_mel.sample_rate,
        "padding": picture.log_mel.padding,
        "pad_before": before,
        "pad_behind": behind,
        "window": window_samples(picture.log_mel, spec.window_frames),
        "hop": spec.hop_frames * picture.log_mel.hop_length,
    }


def notes_of(picture: PictureSpec) -> list[str]:
    """What a waveform export leaves to its user, or does otherwise than the bundle it is made of."""
    notes = []
    if picture.normalization in {"clip", "minmax"}:
        notes.append(
            f"the normalisation '{picture.normalization}' is measured over each window, not over the whole clip; the "
            "scores of clips of several windows differ"
        )
    if picture.trim_top_db:
        notes.append(f"silence {picture.trim_top_db:g} dB below the loudest frame is not trimmed; do it before")
    if picture.min_duration_s:
        notes.append(f"clips shorter than {picture.min_duration_s:g} s are not lengthened; do it before")
    if picture.log_mel.pre_emphasis:
        notes.append("pre-emphasis hears the step from padding to a clip's first and last sample")
    return notes
