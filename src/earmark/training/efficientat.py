"""EfficientAT's checkpoints as bundles.

F. Schmid et al., *Efficient Large-scale Audio Tagging via Transformer-to-CNN Knowledge Distillation*, ICASSP 2023;
https://github.com/fschmid56/EfficientAT, MIT. The networks were learned on AudioSet's clips of ten seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from earmark import __version__
from earmark.atomic import atomic_path
from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec, clip_log_mel, windows
from earmark.bundle import Bundle, BundleSpec, write_bundle
from earmark.data.audioset import audioset_vocabulary
from earmark.errors import BundleError
from earmark.labels import Vocabulary
from earmark.training.export import to_onnx
from earmark.training.models.mobile import HIDDEN_FEATURES, MobileNet
from earmark.training.models.weights import Weights, read_weights

FRONT_END = PictureSpec(
    log_mel=LogMelSpec(
        sample_rate=32_000,
        n_fft=1024,
        win_length=800,
        hop_length=320,
        n_mels=128,
        fmin=0.0,
        fmax=15_000.0,
        mel_scale="kaldi",
        mel_norm="peak",
        window="hann-symmetric",
        padding="reflect",
        pre_emphasis=0.97,
        scale="ln",
        floor_db=-50.0,
        floor="add",
    ),
    mean=-4.5,
    std=5.0,
)
"""What the checkpoints were learned with: `models/preprocess.py` there, in evaluation mode."""

WINDOW_S, HOP_S = 5.0, 2.5
"""Of the bundle. The network pools over any length, but a bundle's pictures have one, which a shorter clip is filled up
to with silence. Half of the ten seconds that were learned from fills up half as much, says twice as exactly when
something was heard, and gives a clip of ten seconds the mean of three windows. `bench/zeroshot_windows.py` measures
other lengths: still shorter ones hear less."""

HEAD = "classifier.5.bias"
HIDDEN = "classifier.2.bias"
FIRST = MobileNet.first_layer
OTHER_FRONT_END = re.compile(r"_(mels|hop)_\d+")
"""In the names of checkpoints that were learned with other bands or steps; their tensors have the same shapes."""

LARGEST_DIFFERENCE = 1e-4
"""Between a score of the bundle and torch's."""

SOURCE = "https://github.com/fschmid56/EfficientAT"


@dataclass(frozen=True)
class Imported:
    """What was made of a checkpoint.

    Attributes
    ----------
    path
        The bundle.
    n_labels
        How many labels it knows.
    n_tensors
        How many tensors the checkpoint held, all of which are in use.
    width
        Of the network, as a factor on MobileNetV3-Large's channels.
    n_bytes
        Size of the bundle.
    largest_difference
        Of its scores from torch's, on noise.
    """

    path: Path
    n_labels: int
    n_tensors: int
    width: float
    n_bytes: int
    largest_difference: float


def import_checkpoint(checkpoint: Path, bundle: Path, vocabulary: Vocabulary | None = None) -> Imported:
    """Make a bundle of one of EfficientAT's mobile networks (`mn04_as_mAP_432.pt` and its like).

    Parameters
    ----------
    checkpoint
        Tensors by name; read without running any code.
    bundle
        The `.onnx` file to write, whole or not at all.
    vocabulary
        Labels in the order of the network's logits; `None` for AudioSet's 527.

    Returns
    -------
    Imported
        What was made, and how near its scores are to torch's.

    Raises
    ------
    BundleError
        When the file is no such checkpoint, or has not as many logits as there are labels.
    """
    network, width = load_checkpoint(checkpoint)
    vocabulary = vocabulary or audioset_vocabulary()
    if network.n_labels != len(vocabulary):
        raise BundleError(
            f"{checkpoint}: gives {network.n_labels} scores, but {len(vocabulary)} labels are named; give its own "
            "labels, in its order, by --labels"
        )
    with atomic_path(bundle) as temporary:
        write_bundle(to_onnx(network, FRONT_END, _frames(WINDOW_S)), _spec(checkpoint, vocabulary, width), temporary)
        difference = _largest_difference(network, temporary)
        if difference > LARGEST_DIFFERENCE:
            raise BundleError(
                f"{bundle}: its scores differ from torch's by up to {difference:.2g}, expected no more than "
                f"{LARGEST_DIFFERENCE:g}; install the versions of onnx and torch that earmark[train] asks for"
            )
        n_bytes = temporary.stat().st_size
    return Imported(bundle, len(vocabulary), len(network.state_dict()), width, n_bytes, difference)


def load_checkpoint(path: Path) -> tuple[MobileNet, float]:
    """Read one of EfficientAT's mobile networks.

    Parameters
    ----------
    path
        Of the checkpoint.

    Returns
    -------
    network, width
        On the processor and in evaluation mode; and its width, which is found by the tensors' shapes.

    Raises
    ------
    BundleError
        When the file is no such checkpoint.
    """
    weights = read_weights(path)
    if OTHER_FRONT_END.search(path.name):
        raise BundleError(
            f"{path}: is named as one that was learned with other bands or frames than the usual 128 and 320 samples; "
            "only the usual ones are imported: take mn04_as, mn10_as or another without _mels_ and _hop_"
        )
    return _network_of(weights)


def _frames(duration_s: float) -> int:
    return round(duration_s * FRONT_END.log_mel.frame_rate)


def _network_of(weights: Weights) -> tuple[MobileNet, float]:
    tensors = weights.tensors
    absent = [name for name in (FIRST, HIDDEN, HEAD) if name not in tensors or not tensors[name].ndim]
    if absent:
        raise _foreign(weights, f"lacks '{absent[0]}'")
    width, n_labels = len(tensors[HIDDEN]) / HIDDEN_FEATURES, len(tensors[HEAD])
    network = MobileNet(n_labels, width=width)
    own = network.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors or name not in own:
            raise _foreign(weights, f"lacks '{name}'" if name in own else f"has '{name}'")
        found, expected = tuple(tensors[name].shape), tuple(own[name].shape)
        if found != expected:
            raise _foreign(weights, f"tensor '{name}' has shape {found}, that of width {width:g} has {expected}")
    network.load_state_dict(tensors)
    return network.eval(), width


def _foreign(weights: Weights, why: str) -> BundleError:
    return BundleError(
        f"{weights.path}: is no mobile network of EfficientAT's: {why}; expected a file such as mn04_as_mAP_432.pt, "
        "with the usual head ('earmark data fetch mn04_as')"
    )


def _spec(checkpoint: Path, vocabulary: Vocabulary, width: float) -> BundleSpec:
    return BundleSpec(
        labels=vocabulary.names,
        front_end=msgspec.to_builtins(FRONT_END),
        window_frames=_frames(WINDOW_S),
        hop_frames=_frames(HOP_S),
        recipe={
            "name": checkpoint.stem,
            "description": f"Imported from {checkpoint.name} of EfficientAT, not learned by earmark.",
            "model": {"name": "mobile10", "width": width, "n_channels": 1, "pooling": "average"},
        },
        data=f"AudioSet, as EfficientAT's authors have learned {checkpoint.name} from it ({SOURCE})",
        licence=f"MIT: weights of EfficientAT by F. Schmid, K. Koutini and G. Widmer ({SOURCE})",
        earmark_version=__version__,
    )


def _largest_difference(network: MobileNet, path: Path) -> float:
    """Between the bundle's scores and torch's, over pictures of noise that is loud, soft and none."""
    n_samples = round(WINDOW_S * FRONT_END.log_mel.sample_rate)
    noise = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    pictures = np.concatenate(
        [windows(clip_log_mel(gain * noise, FRONT_END), FRONT_END, _frames(WINDOW_S), 1)[:1] for gain in (0.3, 1e-3, 0)]
    )
    with torch.inference_mode():
        expected = network(torch.from_numpy(pictures)).sigmoid().numpy()
    return float(np.abs(Bundle(path).scores(pictures) - expected).max())
