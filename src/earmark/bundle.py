"""Bundles: one ONNX file that says what it is.

The specification is JSON under the key `earmark` of the file's metadata, so any ONNX tool shows it and onnxruntime
alone reads it. The network takes pictures, (n, n_channels, height, n_frames) float32 as `front_end` makes them, or
makes them itself of waveforms, (n, n_samples) float32; and gives scores, (n, n_labels) float32 in [0, 1]. It may give
`frame_scores` as well, (n, n_labels, n_steps).

A combination is a file whose graph takes nothing and gives `member0`, `member1` …, (n_bytes,) uint8 each: the members'
own bundles, whole, so that they may have front ends, rates and windows of their own.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
import onnxruntime

from earmark.atomic import atomic_path
from earmark.errors import BundleError, LabelError
from earmark.graph import features_before, read_graph, with_outputs
from earmark.labels import Vocabulary
from earmark.model_file import check_model_file

if TYPE_CHECKING:
    import onnx

FIRST_VERSION, FORMAT_VERSION = 1, 3
"""Of the specification, the first and the newest; 2 takes waveforms and weighs windows, 3 combines and calibrates."""

METADATA_KEY = "earmark"
INPUT_NAME = "pictures"
WAVEFORMS_NAME = "waveforms"
OUTPUT_NAME = "scores"
FRAMES_NAME = "frame_scores"
MEMBER_NAME = "member"

GPU_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"
"""Of ONNX Runtime: what runs networks, and where."""

ERRORS_ONLY, NOTHING = 3, 4
"""What ONNX Runtime says on standard error, by its own levels."""

PRECISIONS = ("fp32", "fp16", "int8", "int8-static")
"""What an export's weights are stored as, and for the last one computed with; see docs/export.md."""

Shape = list[int | str | None]
"""Of an input or an output; no integer where any length will do."""


class Layer(msgspec.Struct, frozen=True):
    """``x @ weights + bias``: weights are (n_in, n_out), bias (n_out,); nested tuples of float."""

    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]


class Combination(msgspec.Struct, frozen=True, kw_only=True):
    """How scores of members become one; `earmark.evaluation.mixing` does it.

    Attributes
    ----------
    members
        Their names, in order.
    kind
        ``"arithmetic"`` and ``"geometric"``: weighted means of scores. ``"rank"``: weighted mean of the places that
        scores have among those of other clips. ``"ridge"`` and ``"mlp"``: a second-level model of all logits.
    weights
        Of the members, 0 or more, with the sum 1; none for a second-level model.
    quantiles
        For ``"rank"``: of each member and label, the scores at which the places `earmark.evaluation.mixing.LEVELS` lie,
        (n_members, n_labels, n_levels).
    layers
        Of the second-level model, from the members' logits side by side to the labels' logits, ReLU between them.
    tta
        Of each member, the test-time augmentation that it was chosen with, as `earmark.audio.views.TtaSpec` writes it,
        or None; empty where no member has any.
    """

    members: tuple[str, ...]
    kind: Literal["arithmetic", "geometric", "rank", "ridge", "mlp"]
    weights: tuple[float, ...] = ()
    quantiles: tuple[tuple[tuple[float, ...], ...], ...] = ()
    layers: tuple[Layer, ...] = ()
    tta: tuple[dict[str, Any] | None, ...] = ()


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How scores become probabilities, label by label; `earmark.evaluation.calibration` does it.

    Attributes
    ----------
    method
        ``"temperature"`` and ``"platt"``: ``sigmoid(slope * logit(score) + offset)``. ``"isotonic"``: straight lines
        between points.
    slopes, offsets
        One a label; of a temperature, slopes are its inverse and offsets 0.
    points
        One a label: scores, rising, and the probabilities there. A label without points is left as it is.
    """

    method: Literal["temperature", "platt", "isotonic"]
    slopes: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    points: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """From what score on a label is given.

    Attributes
    ----------
    rule
        What they are best for: ``"f1"``, or ``"precision 0.9"``.
    values
        One a label, in the order of the labels; None for a label that is never to be given.
    """

    rule: str
    values: tuple[float | None, ...]


class BundleSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself.

    Attributes
    ----------
    labels
        In the order of the scores.
    front_end
        The picture that the network takes, as `earmark.audio.picture.PictureSpec` writes it; of a combination, the
        one of the member that weighs most, and so are the windows.
    window_frames, hop_frames
        Length of a window in frames of the picture, and the step between windows of a longer clip.
    windows_weight
        A clip's scores are the mean over its windows by this weight, and for the rest those of the window in its
        middle.
    input
        What the network takes, and the name of its input.
    combination
        How members make up the scores, where the file is a combination.
    calibration
        What is done to the scores last.
    thresholds
        Of the scores after that.
    metrics
        Cross-validated figures of the recipe, by name.
    recipe
        All that the network was learned with.
    data, licence
        What it was learned from, and what may be done with it.
    export
        How the file differs from the bundle it was made of, and what that was measured to cost; see docs/export.md.
    earmark_version
        The release that wrote the file.
    format_version
        Of this specification; `described` sets the lowest that says all, so that earlier releases read what they
        can.
    """

    labels: tuple[str, ...]
    front_end: dict[str, Any]
    window_frames: Annotated[int, msgspec.Meta(ge=1)]
    hop_frames: Annotated[int, msgspec.Meta(ge=1)]
    windows_weight: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    input: Literal["pictures", "waveforms"] = "pictures"
    combination: Combination | None = None
    calibration: Calibration | None = None
    thresholds: Thresholds | None = None
    metrics: dict[str, float | None] = {}
    recipe: dict[str, Any] = {}
    data: str = ""
    licence: str = ""
    export: dict[str, Any] = {}
    earmark_version: str = ""
    format_version: int = FIRST_VERSION

    @property
    def needed_version(self) -> int:
        """The lowest format whose readers make of this file what it says."""
        if self.combination is not None or self.calibration is not None:
            return FORMAT_VERSION
        return 2 if self.input != INPUT_NAME or self.windows_weight != 1 else FIRST_VERSION


class Bundle:
    """A bundle, ready to score.

    Parameters
    ----------
    path
        The `.onnx` file.
    n_threads
        Threads that one call may use; 0 for one a core.
    content
        The file's bytes, where they are at hand; `path` is then a name for messages.
    embeds
        Whether it gives embeddings as well: what the last linear layer takes, the sound as the network sees it before
        there are labels.

    Attributes
    ----------
    spec
        What the file says of itself.
    vocabulary
        Its labels.
    members
        Of a combination, the bundles that it is made of, all of the same labels; it scores no windows itself.
    input_shape
        Of the pictures that the network takes, (n_windows, n_channels, height, n_frames), or of the waveforms,
        (n_windows, n_samples); no integer where any length will do.
    output_names
        What it gives: `scores`, and `frame_scores` where it was exported with them.
    embedding_sizes
        Numbers in an embedding, network by network: several, where the file averages several networks, whose features
        have nothing in common. None where it does not embed, and of a combination, whose members each have their own.
    on_gpu
        Whether the network runs on a GPU.

    Raises
    ------
    BundleError
        When the file is missing, damaged, no bundle, or of a newer format; or its network has no embedding.
    """

    def __init__(
        self, path: str | Path, *, n_threads: int = 0, content: bytes | None = None, embeds: bool = False
    ) -> None:
        self.path, self.embeds = Path(path), embeds
        if content is None and not self.path.is_file():
            raise BundleError(f"{self.path}: no such model file; check the spelling, or train one with 'earmark train'")
        check_model_file(self.path, content)
        session, metadata, inputs, outputs = _open_session(self.path, n_threads, content)
        self.spec = _read_spec(self.path, metadata)
        try:
            self.vocabulary = Vocabulary(self.spec.labels)
        except LabelError as error:
            raise BundleError(f"{self.path}: its labels are not usable: {error}") from error
        self.on_gpu: bool = session.get_providers()[0] == GPU_PROVIDER
        self.members: tuple[Bundle, ...] = ()
        self.embedding_sizes: tuple[int, ...] = ()
        self._outputs = [OUTPUT_NAME]
        self._check_lengths()
        if self.spec.combination is not None:
            self.members = self._open_members(session, n_threads, outputs)
            self.input_shape: tuple[int | str | None, ...] = ()
        else:
            self._session = session
            self._check_shape(inputs, outputs)
            self.input_shape = tuple(inputs[self.spec.input])
            if embeds:
                self._embed(n_threads, content)
        self.output_names = tuple(outputs)

    def _open_members(
        self, session: onnxruntime.InferenceSession, n_threads: int, outputs: dict[str, Shape]
    ) -> tuple[Bundle, ...]:
        assert self.spec.combination is not None
        names = self.spec.combination.members
        expected = [f"{MEMBER_NAME}{i}" for i in range(len(names))]
        n_tta = len(self.spec.combination.tta)
        if not names or list(outputs) != expected or n_tta not in {0, len(names)}:
            raise BundleError(
                f"{self.path}: holds {sorted(outputs)}, but {len(names)} members are named; the file was changed by "
                "other hands: take the original"
            )
        members = tuple(
            Bundle(
                f"{self.path}:{name}",
                n_threads=n_threads,
                content=session.run([output], {})[0].tobytes(),
                embeds=self.embeds,
            )
            for name, output in zip(names, expected, strict=True)
        )
        for member in members:
            if member.spec.labels != self.spec.labels or member.members:
                raise BundleError(
                    f"{member.path}: is itself a combination, or has other labels than the whole; combine the runs "
                    "again with 'earmark combine'"
                )
        return members

    def _embed(self, n_threads: int, content: bytes | None) -> None:
        """Open the network once more, so that it gives what its last linear layers take."""
        whole = self.path.read_bytes() if content is None else content
        try:
            features = features_before(read_graph(whole), OUTPUT_NAME)
            session, _, _, outputs = _open_session(self.path, n_threads, with_outputs(whole, features))
            shapes = [outputs[name] for name in features]
            if not all(len(shape) in {2, 3} and isinstance(shape[-1], int) for shape in shapes):
                raise ValueError(f"features have the shapes {shapes}; expected (n_windows, n_features)")
        except ValueError as error:
            raise BundleError(
                f"{self.path}: no embedding is found in its network ({error}); take a bundle that 'earmark train', "
                "'earmark export' or 'earmark import' wrote"
            ) from error
        self._session = session
        self._outputs += features
        self.embedding_sizes = tuple(int(shape[-1]) for shape in shapes)  # type: ignore[arg-type]

    def _check_lengths(self) -> None:
        """Refuse a specification whose parts are not of as many labels as it names."""
        spec, n = self.spec, len(self.spec.labels)
        lengths = {"thresholds": len(spec.thresholds.values)} if spec.thresholds is not None else {}
        if spec.calibration is not None and spec.calibration.method == "isotonic":
            lengths["calibration points"] = len(spec.calibration.points)
        elif spec.calibration is not None:
            lengths |= {"slopes": len(spec.calibration.slopes), "offsets": len(spec.calibration.offsets)}
        wrong = [f"{found} {name}" for name, found in lengths.items() if found != n]
        if wrong:
            raise BundleError(
                f"{self.path}: {', '.join(wrong)} for {n} labels; the file was changed by other hands: take the "
                "original"
            )

    def scores(self, windows: np.ndarray) -> np.ndarray:
        """Score windows.

        Parameters
        ----------
        windows
            Pictures, (n_windows, n_channels, height, n_frames) float32; or waveforms, (n_windows, n_samples) float32,
            for a bundle that takes those.

        Returns
        -------
        np.ndarray
            (n_windows, n_labels) float32 in [0, 1].

        Raises
        ------
        BundleError
            When the network cannot be run, or gives scores that are not finite.
        """
        return self._run(windows, [OUTPUT_NAME])[0]

    def outputs(self, windows: np.ndarray) -> np.ndarray:
        """Score windows, and embed them where the bundle does.

        Parameters
        ----------
        windows
            As for `scores`.

        Returns
        -------
        np.ndarray
            (n_windows, n_labels + sum of `embedding_sizes`) float32: scores, then features as the network gives them;
            where it keeps steps of time to its end, their mean.

        Raises
        ------
        BundleError
            As `scores`.
        """
        scores, *features = self._run(windows, self._outputs)
        if not features:
            return scores
        return np.concatenate([scores, *(f.mean(axis=1) if f.ndim == 3 else f for f in features)], axis=1)

    def _run(self, windows: np.ndarray, names: list[str]) -> list[np.ndarray]:
        try:
            given: list[np.ndarray] = self._session.run(names, {self.spec.input: windows})
        except Exception as error:  # onnxruntime raises a dozen kinds, not one of them public
            raise BundleError(f"{self.path}: the network fails ({_first_line(error)}); copy the file again") from error
        if not all(np.isfinite(one).all() for one in given):
            what = "scores" if len(given) == 1 else "scores or features"
            raise BundleError(f"{self.path}: the network gives {what} that are not finite; copy the file again")
        return given

    def _check_shape(self, inputs: dict[str, Shape], outputs: dict[str, Shape]) -> None:
        taken = self.spec.input
        if set(inputs) != {taken} or OUTPUT_NAME not in outputs:
            raise BundleError(
                f"{self.path}: takes {sorted(inputs)} and gives {sorted(outputs)}; a bundle takes '{taken}' and "
                f"gives '{OUTPUT_NAME}'; write it again with earmark"
            )
        n_scores = outputs[OUTPUT_NAME][-1] if outputs[OUTPUT_NAME] else "no"
        if n_scores != len(self.spec.labels):
            raise BundleError(
                f"{self.path}: the network gives {n_scores} scores, but {len(self.spec.labels)} labels "
                "are named; the file was changed by other hands: take the original"
            )


def _open_session(
    path: Path, n_threads: int, content: bytes | None
) -> tuple[onnxruntime.InferenceSession, dict[str, str], dict[str, Shape], dict[str, Shape]]:
    """Load a network; gives also its metadata, and the shapes of what it takes and gives."""
    try:
        session = _session(str(path) if content is None else content, n_threads)
        inputs = {node.name: node.shape for node in session.get_inputs()}
        outputs = {node.name: node.shape for node in session.get_outputs()}
        return session, session.get_modelmeta().custom_metadata_map, inputs, outputs
    except Exception as error:  # onnxruntime raises a dozen kinds, not one of them public
        raise BundleError(
            f"{path}: cannot be loaded as an ONNX model ({_first_line(error)}); is it whole, and a bundle? "
            "copy it again"
        ) from error


def _session(model: str | bytes, n_threads: int) -> onnxruntime.InferenceSession:
    """A network on the GPU where onnxruntime-gpu finds one, else on the processor, without a word about it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = ERRORS_ONLY
    if GPU_PROVIDER in onnxruntime.get_available_providers():
        # a missing driver is no error: what is said of it would go past the session's own level
        onnxruntime.set_default_logger_severity(NOTHING)
        with contextlib.suppress(Exception):
            return onnxruntime.InferenceSession(
                model, options, providers=[GPU_PROVIDER, CPU_PROVIDER], enable_fallback=False
            )
    # without the fallback, which reports on standard output
    return onnxruntime.InferenceSession(model, options, providers=[CPU_PROVIDER], enable_fallback=False)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read_spec(path: Path, metadata: dict[str, str]) -> BundleSpec:
    if METADATA_KEY not in metadata:
        raise BundleError(
            f"{path}: an ONNX model, but no bundle: its metadata has no '{METADATA_KEY}'; "
            "only models that earmark wrote say what sound they take"
        )
    try:
        version = msgspec.json.decode(metadata[METADATA_KEY], type=dict[str, Any]).get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise BundleError(
                f"{path}: a bundle of format {version}; this release reads up to {FORMAT_VERSION}; upgrade earmark"
            )
        return msgspec.json.decode(metadata[METADATA_KEY], type=BundleSpec)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: its specification is damaged ({error}); copy the file again") from error


def described(model: onnx.ModelProto, spec: BundleSpec) -> onnx.ModelProto:
    """Give a network its specification, in place of whatever metadata it has; the format's version is set here."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    said = msgspec.structs.replace(spec, format_version=spec.needed_version)
    entry.key, entry.value = METADATA_KEY, msgspec.json.encode(said).decode()
    return model


def write_bundle(model: onnx.ModelProto, spec: BundleSpec, path: Path) -> None:
    """Write a network with its specification, whole or not at all.

    Parameters
    ----------
    model
        From `pictures` or `waveforms` to `scores`, or to the bundles of members; its metadata is replaced.
    spec
        What to say of it.
    path
        The `.onnx` file.
    """
    described(model, spec)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
