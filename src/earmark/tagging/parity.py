"""How far two models are apart: the scores that both give the same clips, and how well each ranks known labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from tqdm import tqdm

from earmark.audio.clip import lengthen
from earmark.audio.decode import Waveform, resample
from earmark.audio.picture import clip_waveform
from earmark.audio.synth import LABELS, synthesize
from earmark.errors import AudioError
from earmark.metrics import lwlrap
from earmark.parallel import map_in_order
from earmark.tagging.tagger import Tagger

SYNTHESIS_RATE = 44_100


@dataclass(frozen=True)
class Sounds:
    """Clips to compare models on.

    Attributes
    ----------
    clips
        Each reads one; it may raise `AudioError`.
    said
        What they are, as a report says it: ``"80 clips of esc10"``.
    targets
        (n_clips, n_labels) multi-hot in the models' order of labels; None where labels are not known.
    columns
        Labels that are judged, by their place in that order; those that the clips' collection has.
    """

    clips: Sequence[Callable[[], Waveform]]
    said: str
    targets: np.ndarray | None = None
    columns: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.clips)


@dataclass(frozen=True)
class Parity:
    """What two models' scores come to.

    Attributes
    ----------
    n_clips
        That were read, and scored by both.
    largest, mean
        Absolute difference of a clip's score for a label, over all clips and labels.
    same_best
        Share of clips whose best label is the same, from 0 to 1.
    lwlrap_before, lwlrap_after
        Of the one and the other; None where labels are not known.
    """

    n_clips: int
    largest: float
    mean: float
    same_best: float
    lwlrap_before: float | None = None
    lwlrap_after: float | None = None

    def figures(self) -> dict[str, float | int]:
        """All that is known, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def synthesised_sounds(seed: int = 0) -> Sounds:
    """A sound of each label that can be synthesised: enough to see whether two models compute the same."""

    def clip(label: str, index: int) -> Waveform:
        samples = synthesize(label, np.random.default_rng([seed, index]), sample_rate=SYNTHESIS_RATE)
        # every third is longer than most windows, so that clips of several windows are among them
        return Waveform(samples if index % 3 else lengthen(samples, 12 * SYNTHESIS_RATE, "wrap"), SYNTHESIS_RATE)

    clips = [lambda label=label, index=index: clip(label, index) for index, label in enumerate(LABELS)]
    return Sounds(clips, f"{len(clips)} synthesised sounds")


def compare(
    before: Tagger, after: Tagger, sounds: Sounds, *, n_workers: int = 1, progress: bool = False
) -> tuple[Parity, list[AudioError]]:
    """Score clips by two models, and say how far apart they are.

    Parameters
    ----------
    before, after
        Of the same labels, in the same order.
    sounds
        The clips.
    n_workers
        Clips at a time.
    progress
        Whether to show a bar on standard error.

    Returns
    -------
    Parity
        Over the clips that could be read.
    list of AudioError
        What was wrong with the others.

    Raises
    ------
    AudioError
        When none could be read.
    """

    def score(clip: Callable[[], Waveform]) -> np.ndarray | AudioError:
        try:
            waveform = clip()
            return np.stack([tagger.scores(waveform.samples, waveform.sample_rate) for tagger in (before, after)])
        except AudioError as error:
            return error

    with ThreadPoolExecutor(n_workers) as pool:
        scored = map_in_order(pool, score, sounds.clips, ahead=4 * n_workers)
        outcomes = list(tqdm(scored, total=len(sounds), desc="compare", unit="clip", disable=not progress))
    errors = [outcome for outcome in outcomes if isinstance(outcome, AudioError)]
    read = [i for i, outcome in enumerate(outcomes) if not isinstance(outcome, AudioError)]
    if not read:
        raise errors[0] if errors else AudioError(f"there is no clip to compare models on in {sounds.said}")
    both = np.stack([outcomes[i] for i in read], axis=1)
    targets = None if sounds.targets is None else sounds.targets[read]
    return parity_of(both[0], both[1], targets, sounds.columns), errors


def parity_of(
    before: np.ndarray, after: np.ndarray, targets: np.ndarray | None = None, columns: Sequence[int] = ()
) -> Parity:
    """Compare (n_clips, n_labels) scores of two models; `targets` and `columns` are as in `Sounds`."""
    difference = np.abs(before - after)
    same_best = float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    ranked: list[float | None] = [None, None]
    if targets is not None:
        ranked = [lwlrap(targets[:, columns], scores[:, columns]) for scores in (before, after)]
    return Parity(len(before), float(difference.max()), float(difference.mean()), same_best, *ranked)


def middle_windows(tagger: Tagger, sounds: Sounds, n_most: int) -> np.ndarray:
    """What a model's network sees in the middle of some clips, spread evenly over all.

    Parameters
    ----------
    tagger
        Whose network takes pictures.
    sounds
        The clips; those that cannot be read are passed over.
    n_most
        How many, where there are so many.

    Returns
    -------
    np.ndarray
        (n, n_channels, height, n_frames) float32.

    Raises
    ------
    AudioError
        When none can be read.
    """
    places = np.unique(np.linspace(0, len(sounds) - 1, min(n_most, len(sounds))).astype(int))
    seen = list(_middles(tagger, [sounds.clips[i] for i in places]))
    if not seen:
        raise AudioError(f"none of {len(places)} clips can be read, of {sounds.said}; check them with 'earmark tag'")
    return np.stack(seen)


def _middles(tagger: Tagger, clips: Sequence[Callable[[], Waveform]]) -> Iterator[np.ndarray]:
    for clip in clips:
        try:
            waveform = clip()
        except AudioError:
            continue
        samples = resample(waveform.samples, waveform.sample_rate, tagger.sample_rate)
        cut = tagger.cut(clip_waveform(samples, tagger.picture_spec))
        yield cut[len(cut) // 2]
