"""Taggers that are used elsewhere, each with its own usual front end: from a file to scores, for `bench/tagging.py`.

Each is set up once and then takes a path to (n, n_labels) scores. Files are decoded by libsndfile and resampled by
soxr's best fast setting, as earmark does; the rest is the peer's own. Weights do not matter for speed: PANNs' networks
have random ones.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr

Peer = Callable[[Path], np.ndarray]

SEGMENT_S = 10.0
"""What the PANNs are given at a time: the length of AudioSet's clips."""

SEGMENTS_PER_CALL = 4
BLOCK_S = 60.0


def blocks_at(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """A file as mono blocks at a rate, (n_samples,) float32."""
    with soundfile.SoundFile(path) as file:
        resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, quality="HQ")
        for block in file.blocks(round(BLOCK_S * file.samplerate), dtype="float32", always_2d=True):
            yield resampler.resample_chunk(block.mean(axis=1))
        yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def segments(path: Path, sample_rate: int, length_s: float, hop_s: float, n_at_once: int) -> Iterator[np.ndarray]:
    """Segments of a file, (n, n_samples) float32 with n up to `n_at_once`; what is left at the end is dropped."""
    n_samples, n_hop = round(length_s * sample_rate), round(hop_s * sample_rate)
    held, ready = np.zeros(0, dtype=np.float32), []
    for block in blocks_at(path, sample_rate):
        held = np.concatenate([held, block])
        n_ready = max(0, (len(held) - n_samples) // n_hop + 1)
        ready += [held[i * n_hop : i * n_hop + n_samples] for i in range(n_ready)]
        held = held[n_ready * n_hop :]
        while len(ready) >= n_at_once:
            yield np.stack(ready[:n_at_once])
            ready = ready[n_at_once:]
    if ready:
        yield np.stack(ready)


def yamnet(n_threads: int, models: Path) -> Peer:
    """YAMNet in LiteRT: 16 kHz, windows of 0.96 s each 0.48 s, as its graph cuts them; a minute at a time."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(models / "yamnet.tflite"), num_threads=n_threads)
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    whole = len(taken["shape"]) == 1 and taken["shape_signature"][0] == -1
    window_s = BLOCK_S if whole else taken["shape"][-1] / 16_000

    def hear(path: Path) -> np.ndarray:
        scores = []
        hop_s = BLOCK_S if whole else 0.48
        for [waveform] in segments(path, 16_000, window_s, hop_s, 1):
            interpreter.resize_tensor_input(taken["index"], waveform.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(taken["index"], waveform)
            interpreter.invoke()
            scores.append(interpreter.get_tensor(given["index"]))
        return np.concatenate(scores)

    return hear


def cnn14(n_threads: int, models: Path) -> Peer:
    """CNN14 as panns-inference has it: 32 kHz, segments of ten seconds side by side."""
    import torch

    # the package looks for the names of labels in the home folder, and fetches them when it is imported
    home = Path(tempfile.mkdtemp(prefix="earmark-panns-"))
    (home / "panns_data").mkdir()
    shutil.copy(models / "audioset_class_labels_indices.csv", home / "panns_data" / "class_labels_indices.csv")
    os.environ["HOME"] = str(home)
    from panns_inference.models import Cnn14

    network = Cnn14(
        sample_rate=32_000, window_size=1024, hop_size=320, mel_bins=64, fmin=50, fmax=14_000, classes_num=527
    )
    shutil.rmtree(home)
    return _panns(network.eval(), n_threads, lambda given: given["clipwise_output"], torch)


def mobilenet_v1(n_threads: int, models: Path) -> Peer:
    """PANNs' MobileNetV1, after Q. Kong et al., "PANNs", 2020, table 4; the same front end as CNN14."""
    import torch
    from torch import nn
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    def separable(n_in: int, n_out: int, stride: int) -> nn.Sequential:
        depthwise = nn.Conv2d(n_in, n_in, 3, 1, 1, groups=n_in, bias=False)
        pointwise = nn.Conv2d(n_in, n_out, 1, bias=False)
        return nn.Sequential(
            depthwise,
            nn.AvgPool2d(stride),
            nn.BatchNorm2d(n_in),
            nn.ReLU(),
            pointwise,
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
        )

    widths = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    strides = [1, 2, 1, 2, 1, 2, *[1] * 5, 2, 1]
    first = nn.Sequential(nn.Conv2d(1, 32, 3, 1, 1, bias=False), nn.AvgPool2d(2), nn.BatchNorm2d(32), nn.ReLU())
    body = [separable(*pair, stride) for pair, stride in zip(pairwise(widths), strides, strict=True)]

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spectrogram = Spectrogram(n_fft=1024, hop_length=320)
            self.log_mel = LogmelFilterBank(sr=32_000, n_fft=1024, n_mels=64, fmin=50, fmax=14_000, top_db=None)
            self.bands = nn.BatchNorm2d(64)
            self.features = nn.Sequential(first, *body)
            self.hidden, self.head = nn.Linear(1024, 1024), nn.Linear(1024, 527)

        def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
            pictures = self.log_mel(self.spectrogram(waveforms)).transpose(1, 3)
            features = self.features(self.bands(pictures).transpose(1, 3)).mean(dim=3)
            pooled = features.amax(dim=2) + features.mean(dim=2)
            return self.head(self.hidden(pooled).relu()).sigmoid()

    return _panns(Network().eval(), n_threads, lambda scores: scores, torch)


def _panns(network: object, n_threads: int, scores_of: Callable[..., object], torch: object) -> Peer:
    torch.set_num_threads(n_threads)

    def hear(path: Path) -> np.ndarray:
        with torch.inference_mode():
            cut = segments(path, 32_000, SEGMENT_S, SEGMENT_S, SEGMENTS_PER_CALL)
            return np.concatenate([scores_of(network(torch.from_numpy(part))).numpy() for part in cut])

    return hear


def mn04_torch(n_threads: int, models: Path) -> Peer:
    """EfficientAT's mn04 in PyTorch, with the log-mel made by torch: the windows and steps of the imported bundle."""
    import torch

    from earmark.training.efficientat import FRONT_END, HOP_S, WINDOW_S, load_checkpoint
    from earmark.training.frontend import LogMel

    torch.set_num_threads(n_threads)
    network, _ = load_checkpoint(models / "mn04_as_mAP_432.pt")
    log_mel = LogMel(FRONT_END.log_mel).eval()
    rate = FRONT_END.log_mel.sample_rate
    n_frames = round(WINDOW_S * FRONT_END.log_mel.frame_rate)

    def hear(path: Path) -> np.ndarray:
        with torch.inference_mode():
            scores = []
            for part in segments(path, rate, WINDOW_S, HOP_S, SEGMENTS_PER_CALL):
                pictures = (log_mel(torch.from_numpy(part)) - FRONT_END.mean) / FRONT_END.std
                scores.append(network(pictures[:, None, :, :n_frames]).sigmoid().numpy())
            return np.concatenate(scores)

    return hear


PEERS: dict[str, Callable[[int, Path], Peer]] = {
    "YAMNet, LiteRT": yamnet,
    "CNN14, PyTorch": cnn14,
    "MobileNetV1, PyTorch": mobilenet_v1,
    "mn04, PyTorch": mn04_torch,
}
