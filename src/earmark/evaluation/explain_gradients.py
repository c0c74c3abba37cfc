"""Which part of a spectrogram made a tag, by Grad-CAM: the maps inside a network, weighed by what the logit gains.

R. R. Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*, ICCV 2017,
equations 1 and 2: with A_k the k-th of a layer's maps and y the label's logit,

    a_k = mean over the map of dy / dA_k,      L = max(0, sum over k of a_k A_k).

It needs the network in torch's form, which a run keeps for each fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from earmark.audio.logmel import log_mel
from earmark.audio.picture import PictureSpec, clip_waveform, scored_windows, windows
from earmark.bundle import Bundle, BundleSpec
from earmark.errors import RunError
from earmark.evaluation.explain import Explanation, check_duration
from earmark.labels import Vocabulary
from earmark.training.crossval import load_network
from earmark.training.models import TaggingNetwork


@dataclass(frozen=True)
class Member:
    """A network in torch's form, with the specification of its bundle."""

    network: TaggingNetwork
    spec: BundleSpec


def read_members(path: Path) -> list[Member]:
    """Read the networks of a run, of one of its folds, or of one checkpoint.

    Parameters
    ----------
    path
        A run's folder, whose folds are all read; a fold's or refit's folder; or the `network.pt` in one, beside its
        bundle.

    Raises
    ------
    RunError
        When there is no network in torch's form.
    BundleError
        When the bundle beside it, which holds the front end as it was measured, cannot be read.
    """
    folder = path.parent if path.name == "network.pt" else path
    folders = [folder] if (folder / "network.pt").is_file() else sorted(folder.glob("fold-*"))
    folders = [part for part in folders if (part / "network.pt").is_file()]
    if not folders:
        raise RunError(f"{path}: holds no network.pt, from which Grad-CAM is made; use --method occlusion")
    members = []
    for part in folders:
        network = load_network(part)
        assert isinstance(network, TaggingNetwork)  # crossval builds no others
        members.append(Member(network, Bundle(part / "model.onnx").spec))
    return members


def grad_cam(members: Sequence[Member], waveform: np.ndarray, label: str) -> Explanation:
    """Explain a label's score by the gradients of networks; of several, by the mean of their maps.

    Parameters
    ----------
    members
        At least one, with the same labels, and front ends that differ in their statistics alone.
    waveform
        (n_samples,) floating point at the front end's rate, `earmark.evaluation.explain.LONGEST_S` at the most.
    label
        One of theirs.

    Returns
    -------
    Explanation
        Its score is the mean of the members'. A window's map counts for as much as its scores do. Where colour puts
        three bands into one row, each of the three has the row's importance.

    Raises
    ------
    AudioError
        When the waveform has no sample, or is too long.
    LabelError
        When the networks do not know the label.
    """
    front_end = msgspec.convert(members[0].spec.front_end, PictureSpec)
    clip = clip_waveform(waveform, front_end)
    check_duration(len(clip) / front_end.log_mel.sample_rate)
    spectrogram = log_mel(clip, front_end.log_mel)
    scores, total = [], np.zeros(spectrogram.shape)
    for member in members:
        score, importance = _of_member(member, spectrogram, label)
        scores.append(score)
        total += importance / len(members)
    return Explanation(label, float(np.mean(scores)), "Grad-CAM", spectrogram, total.astype(np.float32))


def _of_member(member: Member, spectrogram: np.ndarray, label: str) -> tuple[float, np.ndarray]:
    spec, n_frames = member.spec, spectrogram.shape[1]
    picture = msgspec.convert(spec.front_end, PictureSpec)
    cut = windows(spectrogram, picture, spec.window_frames, spec.hop_frames, spec.windows_weight)
    starts, weights = scored_windows(n_frames, spec.window_frames, spec.hop_frames, spec.windows_weight)
    column = Vocabulary(spec.labels).index(label)
    total, covered = np.zeros(spectrogram.shape), np.zeros(n_frames)
    score = 0.0
    for window, start, weight in zip(cut, starts, weights, strict=True):
        logit, cam = window_map(member.network, torch.from_numpy(window[None].copy()), column)
        score += weight * float(torch.sigmoid(logit))
        rows = np.tile(cam.numpy(), (len(spectrogram) // picture.height, 1))
        stop = min(n_frames, start + spec.window_frames)
        total[:, start:stop] += weight * rows[:, : stop - start]
        covered[start:stop] += weight
    return score, total / np.maximum(covered, 1e-12)


def window_map(network: TaggingNetwork, picture: Tensor, column: int) -> tuple[Tensor, Tensor]:
    """Grad-CAM of one (1, n_channels, height, n_frames) picture: the label's logit, and its (height, n_frames) map.

    The layer is the last one before pooling; its map is drawn out to the picture's size, linearly between its points.
    """
    with torch.no_grad():
        features = network.features(picture)
    features.requires_grad_()
    logit = network.logits_of(features)[0, column]
    (gradient,) = torch.autograd.grad(logit, features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    cam = (weights * features).sum(dim=1, keepdim=True).relu().detach()
    size = (picture.shape[2], picture.shape[3])
    return logit.detach(), interpolate(cam, size=size, mode="bilinear", align_corners=False)[0, 0]
