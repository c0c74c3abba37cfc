"""The front end as torch operations: for training on any device, and for bundles that take waveforms.

It makes what `earmark.audio.logmel` and `earmark.audio.picture` make, from the same specification; tests hold the two
together.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from earmark.audio.logmel import LogMelSpec, mel_filters, window_of
from earmark.audio.picture import DELTA_REACH, SMALLEST_DEVIATION, PictureSpec, delta_weights


class RealDft(nn.Module):
    """The discrete Fourier transform of real frames as two small matrix products.

    ONNX Runtime's own transform is off by up to 0.05 dB, and slow, where the length is no power of two; this one
    exports to plain operations and is as exact as its frames. With n = n_1 N_2 + n_2 and k = k_1 + N_1 k_2
    (J. W. Cooley and J. W. Tukey, *Mathematics of Computation* 19, 1965),

        X[k] = sum_n2 e^(-2 pi i n_2 k_2 / N_2) e^(-2 pi i n_2 k_1 / N) sum_n1 e^(-2 pi i n_1 k_1 / N_1) x[n].

    Parameters
    ----------
    n_fft
        Length of the frames; a prime costs the whole square.
    """

    first: Tensor
    twiddle: Tensor
    second: Tensor

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.n_first = max(d for d in range(1, math.isqrt(n_fft) + 1) if n_fft % d == 0)
        self.n_second = n_fft // self.n_first
        n_1, n_2 = np.arange(self.n_first), np.arange(self.n_second)
        for name, turns in {
            "first": np.outer(n_1, n_1) / self.n_first,
            "twiddle": np.outer(n_1, n_2) / n_fft,
            "second": np.outer(n_2, n_2) / self.n_second,
        }.items():
            wave = np.exp(-2j * np.pi * (turns % 1))
            parts = torch.from_numpy(np.stack([wave.real, wave.imag]))
            self.register_buffer(name, parts, persistent=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Transform (..., n_fft) float64 into real and imaginary parts, (..., n_fft // 2 + 1) each."""
        shape = frames.shape[:-1]
        grid = frames.reshape(*shape, self.n_first, self.n_second)
        real, imag = self.first[0] @ grid, self.first[1] @ grid
        turn_real, turn_imag = self.twiddle[0], self.twiddle[1]
        real, imag = real * turn_real - imag * turn_imag, real * turn_imag + imag * turn_real
        wave_real, wave_imag = self.second[0], self.second[1]
        real, imag = real @ wave_real - imag @ wave_imag, real @ wave_imag + imag @ wave_real
        n_bins = self.n_fft // 2 + 1
        in_order = [part.transpose(-1, -2).reshape(*shape, self.n_fft)[..., :n_bins] for part in (real, imag)]
        return in_order[0], in_order[1]


class LogMel(nn.Module):
    """Log-mel spectrograms: (n, n_samples) waveforms to (n, n_mels, n_frames), float32, in the specification's unit.

    Clips of any length from one sample on; `spec.n_frames` says how many frames there are.

    Parameters
    ----------
    spec
        The front end.
    pads
        Whether a clip is padded by half a transform at its ends, so that its first frame is centred on its start;
        without, there is a frame wherever a whole transform fits.

    Examples
    --------
    >>> LogMel(LogMelSpec())(torch.zeros(2, 32000)).shape
    torch.Size([2, 64, 101])
    """

    window: Tensor
    filters: Tensor

    def __init__(self, spec: LogMelSpec, *, pads: bool = True) -> None:
        super().__init__()
        self.spec, self.pads = spec, pads
        self.register_buffer("window", torch.from_numpy(window_of(spec)), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(spec).T.copy()), persistent=False)
        self.dft = RealDft(spec.n_fft)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Transform waveforms; shapes as the class says."""
        spec = self.spec
        # a trainer's bf16 would leave two digits of a sum of a thousand squares
        with torch.autocast(waveforms.device.type, enabled=False):
            real, imag = self.dft(self._frames(waveforms.float()).double() * self.window)
            power = (real.square() + imag.square()).float()
            mel = (power if spec.spectrum == "power" else power.sqrt()) @ self.filters
        floored = mel.clamp(min=spec.floor_value) if spec.floor == "clip" else mel + spec.floor_value
        decades = floored.log10() * ((10.0 if spec.spectrum == "power" else 20.0) / spec.db_per_unit)
        return decades.transpose(1, 2)

    def _frames(self, waveforms: Tensor) -> Tensor:
        padded = self._emphasized(waveforms)
        if self.pads:
            padded = self._padded(padded)
        starts = torch.arange(0, padded.shape[1] - self.spec.n_fft + 1, self.spec.hop_length, device=padded.device)
        return padded[:, starts[:, None] + torch.arange(self.spec.n_fft, device=padded.device)]

    def _emphasized(self, waveforms: Tensor) -> Tensor:
        if not self.spec.pre_emphasis:
            return waveforms
        emphasized = waveforms[:, 1:] - self.spec.pre_emphasis * waveforms[:, :-1]
        # a clip of one sample has nothing to be subtracted from it, and stays
        return torch.cat([emphasized, waveforms[:, : max(0, 2 - waveforms.shape[1])]], dim=1)

    def _padded(self, waveforms: Tensor) -> Tensor:
        before, after = self.spec.n_fft // 2, self.spec.n_fft - self.spec.n_fft // 2
        if self.spec.padding == "zeros":
            return nn.functional.pad(waveforms, (before, after))
        # torch mirrors no further than the clip is long; a triangle wave of indices mirrors as often as it takes
        steps = torch.arange(-before, waveforms.shape[1] + after, device=waveforms.device)
        last = steps[-1] - after  # as a tensor, so that an exported graph takes any length
        mirrored = last - (torch.remainder(steps, (2 * last).clamp(min=1)) - last).abs()
        return waveforms[:, mirrored.clamp(min=0)]


def bounded(normalized: Tensor, spec: PictureSpec) -> Tensor:
    """Keep values normalised by ``"minmax"`` in [0, 1], at the front end's levels; any shape."""
    if spec.normalization != "minmax":
        return normalized
    normalized = normalized.clamp(0, 1)
    if spec.n_levels:
        normalized = (normalized * (spec.n_levels - 1)).round() / (spec.n_levels - 1)
    return normalized


def to_channels(normalized: Tensor, spec: PictureSpec) -> Tensor:
    """Make channels of (n, n_mels, n_frames): (n, n_channels, height, n_frames); see `PictureSpec.channels`."""
    n, n_mels, n_frames = normalized.shape
    if spec.channels == "colour":
        return normalized.reshape(n, 3, n_mels // 3, n_frames)
    if spec.channels == "delta":
        first = delta(normalized)
        return torch.stack([normalized, first, delta(first)], dim=1)
    if spec.channels == "frequency-map":
        rows = torch.linspace(-1, 1, n_mels, device=normalized.device)[:, None]
        return torch.stack([normalized, rows.expand_as(normalized)], dim=1)
    return normalized[:, None]


def delta(values: Tensor) -> Tensor:
    """Slope over time of (n, n_mels, n_frames); see `earmark.audio.picture.delta`."""
    n, n_mels, n_frames = values.shape
    weights = torch.from_numpy(delta_weights()).to(values)
    padded = nn.functional.pad(values, (DELTA_REACH, DELTA_REACH), mode="replicate")
    return nn.functional.conv1d(padded.reshape(-1, 1, n_frames + 2 * DELTA_REACH), weights[None, None]).reshape(
        n, n_mels, n_frames
    )


class WaveformPictures(nn.Module):
    """Pictures of whole clips: (n, n_samples) waveforms of one length to (n, n_channels, height, n_frames).

    What `earmark.audio.picture.picture` makes, less trimming and lengthening, which are the caller's.

    Parameters
    ----------
    spec
        The front end.
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, spec: PictureSpec) -> None:
        super().__init__()
        self.spec = spec
        self.log_mel = LogMel(spec.log_mel)
        fixed = spec.normalization in {"affine", "band"}
        shift, std = (np.atleast_1d(value).astype(np.float32) for value in (spec.mean, spec.std))
        self.register_buffer("shift", torch.from_numpy(shift) if fixed else None, persistent=False)
        self.register_buffer("factor", torch.from_numpy(1 / std) if fixed else None, persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Make pictures; shapes as the class says."""
        spectrograms = self.log_mel(waveforms)
        shift, factor = self._normalizer(spectrograms)
        return to_channels(bounded((spectrograms - shift) * factor, self.spec), self.spec)

    def _normalizer(self, spectrograms: Tensor) -> tuple[Tensor, Tensor]:
        spec = self.spec
        if spec.normalization in {"affine", "band"}:
            return self.shift[:, None], self.factor[:, None]
        if spec.normalization == "clip":
            mean = spectrograms.mean((1, 2), keepdim=True)
            deviation = (spectrograms - mean).square().mean((1, 2), keepdim=True).sqrt()
            return mean, 1 / deviation.clamp(min=SMALLEST_DEVIATION)
        highest = spectrograms.amax((1, 2), keepdim=True)
        reach = spec.top_db / spec.log_mel.db_per_unit
        lowest = torch.maximum(spectrograms.amin((1, 2), keepdim=True), highest - reach)
        spread = highest - lowest
        return lowest, torch.where(
            spread > SMALLEST_DEVIATION, 1 / spread.clamp(min=SMALLEST_DEVIATION), torch.zeros_like(spread)
        )
