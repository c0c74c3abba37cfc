"""Test-time augmentation: scores of a clip from several views of it, blended with those of the clip as it is.

    scores = weight * mean over views + (1 - weight) * plain

as the best entries to Freesound Audio Tagging 2019 blended theirs. What a view is stands in `earmark.audio.views`.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from earmark.audio.logmel import log_mel
from earmark.audio.picture import normalizer, scored_windows, windows_at
from earmark.audio.views import TtaSpec, View, draw_views, view_pictures, view_waveforms
from earmark.bundle import INPUT_NAME
from earmark.tagging.tagger import Tagger

PLAIN = TtaSpec()


def clip_scores(tagger: Tagger, clip: np.ndarray, tta: TtaSpec, key: str = "") -> np.ndarray:
    """Score a clip with test-time augmentation.

    Parameters
    ----------
    tagger
        Of either kind of bundle.
    clip
        (n_samples,) float32 at the tagger's rate, trimmed and lengthened by `earmark.audio.picture.clip_waveform`.
    tta
        How; at least one view.
    key
        The clip's name: the same views are drawn for the same name, length and seed.

    Returns
    -------
    np.ndarray
        (n_labels,) float32 in [0, 1].
    """
    spec, front_end = tagger.bundle.spec, tagger.picture_spec
    if spec.input == INPUT_NAME:
        return spectrogram_scores(tagger, log_mel(clip, front_end.log_mel), tta, key)
    n_frames = front_end.log_mel.n_frames(len(clip))
    _, weights = scored_windows(n_frames, spec.window_frames, spec.hop_frames, spec.windows_weight)
    plain = _mean(weights, tagger.score_windows(tagger.cut(clip, spec.windows_weight)))
    scored = [
        _mean(of, tagger.score_windows(view_waveforms(clip, front_end, spec.window_frames, starts, view)))
        for view, starts, of in _views(tagger, n_frames, tta, key)
    ]
    return _blended(tagger, plain, np.mean(scored, axis=0), tta)


def spectrogram_scores(tagger: Tagger, spectrogram: np.ndarray, tta: TtaSpec = PLAIN, key: str = "") -> np.ndarray:
    """Score the clip that a spectrogram was made of; parameters and what is given as in `clip_scores`.

    Parameters
    ----------
    tagger
        Of a bundle that takes pictures.
    spectrogram
        (n_mels, n_frames), by the tagger's front end.
    tta, key
        As in `clip_scores`; without augmentation, scores are those of `Tagger.scores`.
    """
    spec, front_end = tagger.bundle.spec, tagger.picture_spec
    normal, n_frames = normalizer(spectrogram, front_end), spectrogram.shape[1]
    starts, weights = scored_windows(n_frames, spec.window_frames, spec.hop_frames, spec.windows_weight)
    plain = _mean(weights, tagger.score_windows(windows_at(spectrogram, front_end, spec.window_frames, starts, normal)))
    if not tta.n:
        return tagger.bounded(plain)
    views = _views(tagger, n_frames, tta, key)
    cut = (view_pictures(spectrogram, front_end, spec.window_frames, starts, view) for view, starts, _ in views)
    if tta.windows == "random":  # one window each, so that they go through the network together
        augmented = tagger.score_windows(np.concatenate(list(cut))).mean(axis=0)
    else:
        scored = (_mean(of, tagger.score_windows(one)) for one, (_, _, of) in zip(cut, views, strict=True))
        augmented = np.mean(list(scored), axis=0)
    return _blended(tagger, plain, augmented, tta)


def _views(tagger: Tagger, n_frames: int, tta: TtaSpec, key: str) -> list[tuple[View, list[int], list[float]]]:
    """Each view, with the first frames of its windows and what they count for."""
    spec = tagger.bundle.spec
    rng = np.random.default_rng([tta.seed, crc32(key.encode()), n_frames])
    views = draw_views(n_frames, spec.window_frames, tagger.picture_spec.log_mel.frame_rate, tta, rng)
    if tta.windows == "random":
        return [(view, [view.start], [1.0]) for view in views]
    starts, weights = scored_windows(n_frames, spec.window_frames, spec.hop_frames, spec.windows_weight)
    return [(view, starts, weights) for view in views]


def _mean(weights: list[float], scores: np.ndarray) -> np.ndarray:
    mean: np.ndarray = np.array(weights, dtype=np.float32) @ scores
    return mean


def _blended(tagger: Tagger, plain: np.ndarray, augmented: np.ndarray, tta: TtaSpec) -> np.ndarray:
    return tagger.bounded(((1 - tta.weight) * plain + tta.weight * augmented).astype(np.float32))
