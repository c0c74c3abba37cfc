"""Log-mel spectrograms of one definition by earmark and by those that are used for it elsewhere.

Each contender is set up once for a front end and then takes waveforms, (n_samples,) float32, to (n_mels, n_frames) in
dB. All of them centre their frames, put zeros outside the clip, and use a periodic Hann window, Slaney's filters of
unit area and the same floor.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from earmark.audio.logmel import LogMelSpec, log_mel

COMPARED_DB = 80.0
"""Contenders are compared where a clip is within this of its maximum; below, float32 rounds each in its own way."""

Contender = Callable[[np.ndarray], np.ndarray]


def filters_of(spec: LogMelSpec) -> dict[str, Any]:
    """What the filter bank is made with, by the names that librosa gave and the others took over."""
    names = {"sr": "sample_rate", "n_fft": "n_fft", "n_mels": "n_mels", "fmin": "fmin", "fmax": "fmax"}
    return {theirs: getattr(spec, ours) for theirs, ours in names.items()}


def by_earmark(spec: LogMelSpec) -> Contender:
    """The NumPy and SciPy front end that tags."""
    return lambda waveform: log_mel(waveform, spec)


def by_librosa(spec: LogMelSpec) -> Contender:
    """`melspectrogram`, then `power_to_db`; librosa makes the filters anew at every call."""
    import librosa

    return lambda waveform: librosa.power_to_db(
        librosa.feature.melspectrogram(y=waveform, hop_length=spec.hop_length, **filters_of(spec)),
        amin=spec.floor_value,
        top_db=None,
    )


def by_torch(spec: LogMelSpec) -> Contender:
    """`torch.stft`, one matrix product, logarithm; the sum of squares takes half the time of `abs` and a square."""
    import librosa
    import torch

    window = torch.hann_window(spec.n_fft)
    filters = torch.from_numpy(librosa.filters.mel(**filters_of(spec)))

    def transform(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            spectrum = torch.stft(
                torch.from_numpy(waveform),
                spec.n_fft,
                spec.hop_length,
                window=window,
                pad_mode="constant",
                return_complex=True,
            )
            power = filters @ (spectrum.real.square() + spectrum.imag.square())
            return (10 * power.clamp(min=spec.floor_value).log10()).numpy()

    return transform


def by_torchlibrosa(spec: LogMelSpec) -> Contender:
    """`Spectrogram`, a transform by convolution, then `LogmelFilterBank`."""
    import torch
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    layers = torch.nn.Sequential(
        Spectrogram(n_fft=spec.n_fft, hop_length=spec.hop_length, pad_mode="constant"),
        LogmelFilterBank(**filters_of(spec), amin=spec.floor_value, top_db=None),
    ).eval()

    def transform(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return layers(torch.from_numpy(waveform)[None])[0, 0].T.numpy()

    return transform


def by_nnaudio(spec: LogMelSpec) -> Contender:
    """`MelSpectrogram`, a transform by convolution, then the logarithm."""
    import torch
    from nnAudio.features.mel import MelSpectrogram

    layer = MelSpectrogram(hop_length=spec.hop_length, pad_mode="constant", verbose=False, **filters_of(spec)).eval()

    def transform(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            power = layer(torch.from_numpy(waveform)[None])[0]
            return (10 * power.clamp(min=spec.floor_value).log10()).numpy()

    return transform


def by_onnxruntime(spec: LogMelSpec) -> Contender:
    """The torch front end of earmark, exported for waveforms of any length."""
    import onnxruntime
    import torch

    from earmark.training.frontend import LogMel

    with quiet_exporter():
        program = torch.onnx.export(
            LogMel(spec).eval(),
            (torch.zeros(1, spec.sample_rate),),
            input_names=["waveforms"],
            dynamic_shapes=({1: torch.export.Dim("n_samples")},),
            dynamo=True,
            verbose=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda waveform: session.run(None, {"waveforms": waveform[None]})[0][0]


CONTENDERS = {
    "earmark": by_earmark,
    "librosa": by_librosa,
    "torch.stft": by_torch,
    "torchlibrosa": by_torchlibrosa,
    "nnAudio": by_nnaudio,
    "ONNX Runtime": by_onnxruntime,
}


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep what torch's exporter says of packages that it does not need, and of itself, off the terminal."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


def contenders(spec: LogMelSpec) -> dict[str, Contender]:
    """All that are installed."""
    ready = {}
    for name, make in CONTENDERS.items():
        try:
            ready[name] = make(spec)
        except ModuleNotFoundError as error:
            print(f"left out: {name} ({error})", file=sys.stderr)
    return ready


def reference(waveform: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """The definition as it is written, in float64, with librosa's filters: (n_mels, n_frames) in dB."""
    import librosa
    from scipy.signal import get_window

    padded = np.pad(waveform.astype(np.float64), spec.n_fft // 2)
    frames = sliding_window_view(padded, spec.n_fft)[:: spec.hop_length] * get_window("hann", spec.n_fft)
    filters = librosa.filters.mel(**filters_of(spec), dtype=np.float64)
    power = np.square(np.abs(np.fft.rfft(frames))) @ filters.T
    return 10 * np.log10(np.maximum(power, spec.floor_value)).T


def largest_difference_db(made: np.ndarray, expected: np.ndarray) -> float | None:
    """Of two spectrograms, within `COMPARED_DB` of the maximum; `None` where they are not of one definition."""
    if made.shape != expected.shape:
        return None
    audible = expected > expected.max() - COMPARED_DB
    return float(f"{np.abs(made - expected)[audible].max():.2g}")
