"""From a recording to tags, with one bundle: a network, or a combination of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from earmark.audio.decode import Waveform, check_samples, resample
from earmark.audio.logmel import log_mel
from earmark.audio.picture import PictureSpec, clip_waveform, scored_windows, windows
from earmark.audio.views import TtaSpec
from earmark.audio.waveform_windows import waveform_windows
from earmark.bundle import INPUT_NAME, Bundle
from earmark.errors import AudioError, BundleError, did_you_mean
from earmark.evaluation.calibration import calibrated
from earmark.evaluation.mixing import combined
from earmark.tagging.sharing import shared

EMBEDDED = "embedded"
"""Name of the model that comes with the package."""

AUTO: Literal["auto"] = "auto"
"""The threshold that stands for those in the bundle, one a label."""

Threshold = float | Literal["auto"] | None

WINDOWS_PER_CALL = 8
"""Windows scored at a time, at the most: more overflow the caches and gain nothing."""

PIXELS_PER_CALL = 100_000
"""What they show together, in bands times frames: large windows overflow the caches when they are fewer."""

WINDOWS_PER_GPU_CALL = 128
"""On a GPU, which is idle between calls, they are more."""


@dataclass(frozen=True)
class Tag:
    """A label that was heard, its score in [0, 1], and from when to when in seconds."""

    label: str
    score: float
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Timeline:
    """Scores over time.

    Attributes
    ----------
    labels
        In the order of the scores' columns.
    starts_s, ends_s
        (n_windows,) float64: where each window lies, in seconds.
    scores
        (n_windows, n_labels) float32 in [0, 1].
    embeddings
        (n_windows, n_features) float32 of length 1, where the tagger embeds; see `Tagger.embed`.
    """

    labels: tuple[str, ...]
    starts_s: np.ndarray
    ends_s: np.ndarray
    scores: np.ndarray
    embeddings: np.ndarray | None = None


class NetworkTimeline(NamedTuple):
    """Where windows begin and end, (n_windows,) float64 in seconds, and what one network says of them."""

    starts_s: np.ndarray
    ends_s: np.ndarray
    scores: np.ndarray


class Tagger:
    """A bundle with its front end; of a combination, with a tagger for each member.

    What follows a window's scores is done clip by clip, or window by window in a timeline: members are combined as
    `earmark.bundle.Combination` says, then scores are calibrated where the bundle says how.

    Parameters
    ----------
    bundle
        What scores.

    Raises
    ------
    BundleError
        When the bundle's front end is not one that this release can make, or not what its network takes.

    Notes
    -----
    Where the bundle embeds, what is heard of a window is its scores and behind them its features, in one row, so that
    both are averaged alike, over windows, views and members' times. `finished` takes the ones, `embedded` the others.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.labels: tuple[str, ...] = bundle.spec.labels
        try:
            self.picture_spec = msgspec.convert(bundle.spec.front_end, PictureSpec)
        except msgspec.ValidationError as error:
            raise BundleError(f"{bundle.path}: its front end is not known here ({error}); upgrade earmark") from error
        self.sample_rate = self.picture_spec.log_mel.sample_rate
        self.members = tuple(Tagger(member) for member in bundle.members)
        self.own_tta = self._read_tta()
        self.embedder: Tagger | None = None  # of the same bundle, once embeddings are asked for
        if not self.members:
            self._check_input()

    def _read_tta(self) -> list[TtaSpec | None]:
        """Test-time augmentation of each member, or of this one network, which has none."""
        combination = self.bundle.spec.combination
        if combination is None:
            return [None]
        said = combination.tta or (None,) * len(combination.members)
        try:
            return [None if one is None else msgspec.convert(one, TtaSpec) for one in said]
        except msgspec.ValidationError as error:
            raise BundleError(
                f"{self.bundle.path}: a member's test-time augmentation is not known here ({error}); upgrade earmark"
            ) from error

    def _check_input(self) -> None:
        if self.bundle.spec.input != INPUT_NAME:
            self._check_waveforms()
            return
        made = (self.picture_spec.n_channels, self.picture_spec.height, self.bundle.spec.window_frames)
        taken = self.bundle.input_shape[1:]
        fits = len(taken) == len(made) and all(t == m for t, m in zip(taken, made, strict=True) if isinstance(t, int))
        if not fits:
            raise BundleError(
                f"{self.bundle.path}: the network takes pictures of shape {taken}, its front end makes {made}; "
                "the file was changed by other hands: take the original"
            )

    def _check_waveforms(self) -> None:
        taken = self.bundle.input_shape
        if len(taken) != 2 or isinstance(taken[1], int):
            raise BundleError(
                f"{self.bundle.path}: the network takes waveforms of shape {taken}; expected (n_windows, n_samples) of "
                "any length up to a window; export it again with 'earmark export'"
            )

    def step(self, hop_s: float) -> None:
        """From now on, hear windows so far apart, in seconds, rather than as the bundle says.

        Fewer windows take less time; more say more exactly when something is heard.

        Raises
        ------
        ValueError
            When it is not above 0, or longer than a window, so that some would not be heard at all.
        """
        for network in self.networks:
            spec, frame_rate = network.bundle.spec, network.picture_spec.log_mel.frame_rate
            window_s = spec.window_frames / frame_rate
            if not 0 < hop_s <= window_s:
                raise ValueError(
                    f"hop_s={hop_s}; expected a number of seconds above 0, up to a window of {window_s:g} s"
                )
            network.bundle.spec = msgspec.structs.replace(spec, hop_frames=max(1, round(hop_s * frame_rate)))

    def tag(self, path: str | Path, *, top_k: int = 3, threshold: Threshold = None) -> list[Tag]:
        """Name what is heard in a file.

        Parameters
        ----------
        path
            Any recording that `earmark.audio.decode.decode` reads.
        top_k
            How many labels at the most, when there is no threshold.
        threshold
            Give all labels with at least this score instead; ``"auto"`` for the thresholds in the bundle.

        Returns
        -------
        list of Tag
            Best first; all of them from the clip's start to its end.

        Raises
        ------
        AudioError
            When the file cannot be read.
        BundleError
            When the bundle's thresholds are asked for, and it has none.
        ValueError
            When `top_k` is less than 1, or `threshold` not from 0 to 1.
        """
        from earmark.tagging.engine import Engine

        [scores], duration_s = Engine([self]).scores(path)
        return self.choose(scores, duration_s, top_k=top_k, threshold=threshold)

    def choose(self, scores: np.ndarray, duration_s: float, *, top_k: int, threshold: Threshold) -> list[Tag]:
        """Turn (n_labels,) scores of a clip into tags, best first; equal scores in the order of the labels."""
        if top_k < 1:
            raise ValueError(f"top_k={top_k}; expected at least 1")
        best = np.argsort(-scores, kind="stable")
        if threshold is None:
            chosen = best[:top_k]
        else:
            least = self.thresholds(threshold)
            chosen = best[scores[best] >= least[best]]
        return [Tag(self.labels[i], float(scores[i]), 0.0, duration_s) for i in chosen]

    def thresholds(self, threshold: float | str) -> np.ndarray:
        """The least score of each label that is given, (n_labels,) float32; infinite for one that never is.

        Raises
        ------
        BundleError
            When the bundle's own are asked for, and it has none.
        ValueError
            When `threshold` is not from 0 to 1.
        """
        if threshold == AUTO:
            own = self.bundle.spec.thresholds
            if own is None:
                raise BundleError(
                    f"{self.bundle.path}: has no thresholds of its own; give a number, or find them with "
                    "'earmark calibrate'"
                )
            return np.array([np.inf if value is None else value for value in own.values], dtype=np.float32)
        if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
            raise ValueError(f"threshold={threshold}; expected a number from 0 to 1")
        return np.full(len(self.labels), threshold, dtype=np.float32)

    def scores(
        self, waveform: np.ndarray, sample_rate: int, *, tta: TtaSpec | None = None, key: str = ""
    ) -> np.ndarray:
        """Score a clip for each label: the mean over its windows, weighed as `BundleSpec.windows_weight` says.

        Those of a combination's members are combined; the result is calibrated, where the bundle is.

        Parameters
        ----------
        waveform
            (n_samples,) mono, or (n_samples, n_channels), which are averaged; at least one sample. Floating point,
            with full scale at ±1.
        sample_rate
            In Hz; resampled to the model's where it differs.
        tta
            Test-time augmentation; see `earmark.tagging.tta`. Without, members that were chosen with it have their own.
        key
            The clip's name, which with `tta.seed` decides on the views that are drawn.

        Returns
        -------
        np.ndarray
            (n_labels,) float32 in [0, 1].

        Raises
        ------
        AudioError
            When the waveform has no or non-finite samples, another shape, or integers; or the rate is not a whole
            number above 0.
        """
        return self.finished(self.heard(waveform, sample_rate, tta=tta, key=key))[0]

    def heard(
        self, waveform: np.ndarray, sample_rate: int, *, tta: TtaSpec | None = None, key: str = ""
    ) -> list[np.ndarray]:
        """What each network hears in a clip, for `finished` and `embedded`; parameters and errors as of `scores`."""
        asked = [tta] * len(self.networks) if tta is not None and tta.n else self.own_tta
        return [
            network.network_scores(
                clip_waveform(network._at_own_rate(waveform, sample_rate), network.picture_spec), own, key
            )
            for network, own in zip(self.networks, asked, strict=True)
        ]

    def embed(self, path: str | Path, *, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
        """What a recording, or a part of it, sounds like to the network; see `earmark.tagging.embedding.embed`."""
        from earmark.tagging.embedding import embed

        return embed(self, path, start_s=start_s, end_s=end_s)

    @property
    def networks(self) -> tuple[Tagger, ...]:
        """The taggers of one network that this one asks: its members, or itself."""
        return self.members or (self,)

    def network_scores(self, clip: np.ndarray, tta: TtaSpec | None = None, key: str = "") -> np.ndarray:
        """What one network hears in a clip from `clip_waveform`, (1, n_labels …) float32; not calibrated."""
        if tta is not None and tta.n:
            from earmark.tagging.tta import clip_scores

            return clip_scores(self, clip, tta, key)[None]
        weight = self.bundle.spec.windows_weight
        weights = self.starts_and_weights(clip, weight)[1]
        scores: np.ndarray = np.array(weights, dtype=np.float32) @ self._window_scores(clip, weight)
        return self.bounded(scores)[None]  # rounded weights may sum to a little more than 1

    def bounded(self, heard: np.ndarray) -> np.ndarray:
        """Bring scores into [0, 1], in place, and leave features as they are."""
        scores = heard[..., : len(self.labels)]
        scores.clip(0, 1, out=scores)
        return heard

    def embedded(self, heard: list[np.ndarray]) -> np.ndarray:
        """Make an embedding of the features that each network gives; see `earmark.tagging.embedding.joined`."""
        from earmark.tagging.embedding import joined

        sizes = [network.bundle.embedding_sizes for network in self.networks]
        return joined([own[:, len(self.labels) :] for own in heard], sizes)

    def finished(self, heard: list[np.ndarray]) -> np.ndarray:
        """Combine and calibrate the scores that each network gives, (n, n_labels)."""
        spec = self.bundle.spec
        scores = [own[:, : len(self.labels)] for own in heard]
        whole = combined(spec.combination, scores) if spec.combination is not None else scores[0]
        return whole if spec.calibration is None else calibrated(spec.calibration, whole)

    def spectrogram_scores(self, spectrogram: np.ndarray, tta: TtaSpec, key: str) -> np.ndarray:
        """Score the clip that a spectrogram was made of; see `earmark.tagging.tta.spectrogram_scores`.

        Raises
        ------
        BundleError
            When the bundle is a combination.
        """
        from earmark.tagging.tta import spectrogram_scores

        if self.members:
            raise BundleError(
                f"{self.bundle.path}: is a combination, whose members make spectrograms of their own; give waveforms: "
                "the collection itself, or a store packed without --log-mel"
            )
        return self.finished([spectrogram_scores(self, spectrogram, tta, key)[None]])[0]

    def timeline(self, path: str | Path) -> Timeline:
        """Score each window of a file; see `Timeline`. Nothing is trimmed, so that times are the file's own.

        Of a combination, the windows are those of the member that weighs most; another member's scores of a window are
        the mean over its own windows, by how long they share.
        """
        from earmark.tagging.engine import Engine

        return Engine([self]).timelines(path)[0]

    def joined(self, parts: Sequence[NetworkTimeline]) -> Timeline:
        """Combine and calibrate what `networks` say of a recording's windows."""
        starts, ends, _ = parts[self._leading]
        heard = [
            own if i == self._leading else shared(starts, ends, own_starts, own_ends, own)
            for i, (own_starts, own_ends, own) in enumerate(parts)
        ]
        embeddings = self.embedded(heard) if self.bundle.embeds else None
        return Timeline(self.labels, starts, ends, self.finished(heard), embeddings)

    @property
    def _leading(self) -> int:
        """Position of the member that weighs most; 0 where none does."""
        combination = self.bundle.spec.combination
        return int(np.argmax(combination.weights)) if combination is not None and combination.weights else 0

    def network_timeline(self, waveform: Waveform) -> NetworkTimeline:
        """What one network says of the windows of a recording that is at hand, neither trimmed nor calibrated."""
        clip = self._at_own_rate(waveform.samples, waveform.sample_rate)
        starts = np.array(self.starts_and_weights(clip, 1.0)[0])
        return self.timed(starts, self._window_scores(clip, 1.0), waveform.duration_s)

    def timed(self, starts: np.ndarray, scores: np.ndarray, duration_s: float) -> NetworkTimeline:
        """Put windows by their first frames, (n_windows,), into time."""
        frame_rate = self.picture_spec.log_mel.frame_rate
        ends_s = np.minimum((starts + self.bundle.spec.window_frames) / frame_rate, duration_s)
        return NetworkTimeline(starts / frame_rate, ends_s, scores)

    def _at_own_rate(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        return resample(_as_mono(waveform, sample_rate), sample_rate, self.sample_rate)

    def cut(self, waveform: np.ndarray, windows_weight: float = 1.0) -> np.ndarray:
        """Cut a clip into what the network takes.

        Parameters
        ----------
        waveform
            (n_samples,) at `sample_rate`, trimmed and lengthened by `clip_waveform` or not.
        windows_weight
            See `earmark.audio.picture.scored_windows`.

        Returns
        -------
        np.ndarray
            (n_windows, n_channels, height, window_frames) float32; or (n_windows, n_samples) for a bundle that takes
            waveforms.
        """
        spec, log_mel_spec = self.bundle.spec, self.picture_spec.log_mel
        if spec.input == INPUT_NAME:
            spectrogram = log_mel(waveform, log_mel_spec)
            return windows(spectrogram, self.picture_spec, spec.window_frames, spec.hop_frames, windows_weight)
        starts = self.starts_and_weights(waveform, windows_weight)[0]
        return waveform_windows(waveform, log_mel_spec, spec.window_frames)[starts]

    def starts_and_weights(self, clip: np.ndarray, windows_weight: float) -> tuple[list[int], list[float]]:
        """First frames of the windows that `cut` gives, and what each counts in the mean of a clip."""
        spec = self.bundle.spec
        n_frames = self.picture_spec.log_mel.n_frames(len(clip))
        return scored_windows(n_frames, spec.window_frames, spec.hop_frames, windows_weight)

    def _window_scores(self, clip: np.ndarray, windows_weight: float) -> np.ndarray:
        return self.score_windows(self.cut(clip, windows_weight))

    @property
    def windows_per_call(self) -> int:
        """How many windows the network is best given at a time."""
        if self.bundle.on_gpu:
            return WINDOWS_PER_GPU_CALL
        n_pixels = self.picture_spec.log_mel.n_mels * self.bundle.spec.window_frames
        return min(max(PIXELS_PER_CALL // n_pixels, 1), WINDOWS_PER_CALL)

    def score_windows(self, cut: np.ndarray) -> np.ndarray:
        """Score what `cut` gives, some windows at a time: (n_windows, n_labels) float32 in [0, 1], then features."""
        n_call = self.windows_per_call
        return np.concatenate([self.bundle.outputs(cut[i : i + n_call]) for i in range(0, len(cut), n_call)])


def _as_mono(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Check what a caller gives as a waveform, and average its channels."""
    given = np.asarray(waveform)
    if given.ndim not in {1, 2} or not given.size:
        raise AudioError(
            f"a waveform has shape {given.shape}; expected (n_samples,) or (n_samples, n_channels), not empty"
        )
    if given.ndim == 2 and given.shape[1] > given.shape[0]:
        raise AudioError(
            f"a waveform has shape {given.shape}; expected (n_samples, n_channels); did you give channels first? "
            "Transpose it"
        )
    if given.dtype.kind != "f":
        raise AudioError(
            f"a waveform is of type {given.dtype}; expected floating point with full scale at ±1; did you give the "
            "integers of a file? Divide 16-bit ones by 32768"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is named
        samples = given.astype(np.float32, copy=False)
    check_samples(samples, sample_rate, "a waveform")
    return samples if samples.ndim == 1 else samples.mean(axis=1)


def load(model: str | Path | None = None, *, n_threads: int = 0, embeds: bool = False) -> Tagger:
    """Load a tagger.

    Parameters
    ----------
    model
        `None` or ``"embedded"`` for the model in the package; else a bundle's path, or a run's folder.
    n_threads
        Threads that the network may use; 0 for one a core.
    embeds
        Whether timelines, and what an `earmark.tagging.engine.Engine` hears, have embeddings too; `Tagger.embed` needs
        no asking.

    Returns
    -------
    Tagger
        Ready to tag.

    Raises
    ------
    BundleError
        When there is no such model, it is no bundle, or has no embeddings.
    """
    return Tagger(Bundle(model_path(model), n_threads=n_threads, embeds=embeds))


def model_path(model: str | Path | None) -> Path:
    """Find the bundle that a name, a file or a run's folder stands for; `BundleError` when there is none."""
    if model is None or str(model) == EMBEDDED:
        return Path(str(resources.files("earmark") / "models" / "embedded.onnx"))
    path = Path(model)
    if path.is_dir():
        if not (path / "model.onnx").is_file():
            raise BundleError(f"{path}: holds no model.onnx; finish the run with 'earmark train … --resume'")
        return path / "model.onnx"
    if not path.exists() and path.suffix != ".onnx":
        raise BundleError(
            f"no model '{model}'{did_you_mean(str(model), [EMBEDDED])}; expected '{EMBEDDED}', an .onnx file or a run"
        )
    return path
