"""The pictures of a whole collection in memory, cropped by the batch on the device that trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from earmark.audio.picture import PictureSpec, clip_front_end, clip_log_mel, normalizer, scored_windows
from earmark.data.spectrograms import front_end_of
from earmark.data.store import Store
from earmark.errors import RecipeError
from earmark.parallel import workers
from earmark.training.frontend import bounded, to_channels


def check_store(store: Store, spec: PictureSpec) -> None:
    """Raise a `RecipeError` when the spectrograms of a front end cannot be had from a store."""
    if store.encoding.kind == "waveform":
        if store.sample_rate != spec.log_mel.sample_rate:
            raise RecipeError(
                f"the store holds {store.sample_rate} Hz, the recipe wants {spec.log_mel.sample_rate} Hz; "
                "train from the collection itself, or pack it again at the recipe's rate"
            )
        return
    has, wants = (_flat(msgspec.to_builtins(clip_front_end(s))) for s in (front_end_of(store.encoding), spec))
    differing = [f"{name} {has[name]} (the recipe: {wants[name]})" for name in has if has[name] != wants[name]]
    if differing:
        raise RecipeError(
            f"the store's spectrograms were made with {', '.join(differing)}; set the recipe to the store's values "
            "(--set picture.KEY=VALUE), or pack the collection again with --log-mel and this recipe"
        )


def _flat(tables: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tables.items() if name != "log_mel"} | {
        f"log_mel.{name}": value for name, value in tables["log_mel"].items()
    }


def spectrograms_of(store: Store, indices: np.ndarray, spec: PictureSpec, *, progress: bool = True) -> list[np.ndarray]:
    """Log-mel spectrograms, (n_mels, n_frames) each, of some clips of a store, by a thread a core.

    A store of waveforms has them made; one of spectrograms must have been made with the same front end.

    Parameters
    ----------
    store
        Of either kind.
    indices
        (n,) int64 of clips.
    spec
        The front end.
    progress
        Whether to show a bar.

    Returns
    -------
    list of np.ndarray
        (n_mels, n_frames) float32, one a clip, in the front end's unit.

    Raises
    ------
    RecipeError
        When the store has another rate, or spectrograms of another front end.
    """
    check_store(store, spec)
    if store.encoding.kind == "log-mel":
        return [store.spectrogram(index) for index in indices]
    with workers(os.cpu_count() or 1) as pool:
        made = pool.map(lambda index: clip_log_mel(store.waveform(index), spec), indices)
        return list(tqdm(made, total=len(indices), desc="log-mel", unit="clip", disable=not progress))


class Pictures(nn.Module):
    """Spectrograms of clips of any length, from which batches of equal windows are cut.

    Parameters
    ----------
    spectrograms
        (n_mels, n_frames), one a clip, in the front end's unit.
    spec
        The front end, with the statistics of its bands where it is normalised by them.

    Notes
    -----
    A module, so that a trainer moves the buffers to where the network is; it has no parameters. What is kept is
    normalised already, one clip behind the other, each with its bands as rows as a network takes them: a window is
    then nothing but a copy.
    """

    values: Tensor
    first: Tensor
    n_frames: Tensor
    factor: Tensor
    silence: Tensor

    def __init__(self, spectrograms: Sequence[np.ndarray], spec: PictureSpec) -> None:
        super().__init__()
        self.spec = spec
        lengths = np.array([s.shape[1] for s in spectrograms])
        first = (np.cumsum(lengths) - lengths) * spec.log_mel.n_mels
        values = np.empty(lengths.sum() * spec.log_mel.n_mels, dtype=np.float32)
        shifts, factors = zip(*(normalizer(s, spec) for s in spectrograms), strict=True)
        for spectrogram, start, shift, factor in zip(spectrograms, first, shifts, factors, strict=True):
            row = values[start : start + spectrogram.size].reshape(spectrogram.shape)
            np.subtract(spectrogram, shift[:, None], out=row)
            row *= factor[:, None]
        buffers = {
            "values": values,
            "first": first,
            "n_frames": lengths,
            "factor": np.stack(factors),
            "silence": (np.float32(spec.log_mel.silence) - np.stack(shifts)) * np.stack(factors),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, torch.from_numpy(buffer), persistent=False)
        self._places = list(zip(first.tolist(), lengths.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.n_frames)

    def random_starts(self, clips: Tensor, window_frames: int, generator: torch.Generator) -> Tensor:
        """First frames of one random window a clip.

        A clip longer than the window is cut anywhere, a shorter one placed anywhere in it: its start is negative.
        """
        lengths = torch.tensor([self._places[clip][1] for clip in clips.tolist()])
        return random_starts(lengths, window_frames, generator).to(clips.device)

    def random_wraps(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """(n,) bool: whether each short clip is to be repeated, by chance where the front end leaves it to chance."""
        return random_wraps(len(clips), self.spec, generator).to(clips.device)

    def cut(
        self,
        clips: Tensor,
        starts: Tensor,
        window_frames: int,
        *,
        gain_db: Tensor | None = None,
        wraps: Tensor | None = None,
    ) -> Tensor:
        """Cut one window from each of some clips, and make its channels; parameters as in `cut_spectrograms`.

        Returns
        -------
        Tensor
            (n, n_channels, height, window_frames) float32.
        """
        values = self.cut_spectrograms(clips, starts, window_frames, gain_db=gain_db, wraps=wraps)
        return to_channels(values, self.spec)

    def cut_spectrograms(
        self,
        clips: Tensor,
        starts: Tensor,
        window_frames: int,
        *,
        gain_db: Tensor | None = None,
        wraps: Tensor | None = None,
    ) -> Tensor:
        """Cut one normalised window from each of some clips.

        Parameters
        ----------
        clips
            (n,) int64 indices of clips; here and below on any device, and best on the processor, where nothing has to
            wait for them.
        starts
            (n,) int64 first frames; what lies before a clip's first and after its last frame is silence.
        window_frames
            Length of the windows.
        gain_db
            (n, n_mels), or (n, 1) for all bands alike, added to the spectrograms, in dB; `None` for none.
        wraps
            (n,) bool: clips that go on at their start when they end, instead of falling silent; `None` for what the
            front end says in use.

        Returns
        -------
        Tensor
            (n, n_mels, window_frames) float32, on this object's device, to be changed at will.
        """
        if wraps is None:
            wraps = torch.full((len(clips),), self.spec.short == "wrap")
        added = None
        if gain_db is not None:
            added = gain_db.to(self.values.device) / self.spec.log_mel.db_per_unit * self.factor[clips]
        make = self._copied if self.values.device.type == "cpu" else self._gathered
        return bounded(make(clips, starts, window_frames, added, wraps), self.spec)

    def _copied(self, clips: Tensor, starts: Tensor, window_frames: int, added: Tensor | None, wraps: Tensor) -> Tensor:
        """What a processor does fastest: one clip after the other, while it is in the cache."""
        n_mels = self.spec.log_mel.n_mels
        out = torch.empty(len(clips), n_mels, window_frames)
        rows = zip(clips.tolist(), starts.tolist(), wraps.tolist(), strict=True)
        for index, (clip, start, wrap) in enumerate(rows):
            offset, length = self._places[clip]
            whole = self.values[offset : offset + n_mels * length].view(n_mels, length)
            row, silence = out[index], self.silence[clip, :, None]
            begin, end = (0, window_frames) if wrap else _sounding(start, window_frames, length)
            if begin > 0:
                row[:, :begin] = silence
            if end < window_frames:
                row[:, end:] = silence
            if wrap and not 0 <= start <= length - window_frames:
                part = whole[:, torch.arange(start, start + window_frames) % length]
            else:
                part = whole[:, start + begin : start + end]
            if added is None:
                row[:, begin:end] = part
            else:
                sounding = torch.add(part, added[index, :, None], out=row[:, begin:end])
                torch.maximum(sounding, silence, out=sounding)
        return out

    def _gathered(
        self, clips: Tensor, starts: Tensor, window_frames: int, added: Tensor | None, wraps: Tensor
    ) -> Tensor:
        """What an accelerator does fastest: everything at once."""
        device = self.values.device
        clips, starts, wraps = clips.to(device), starts.to(device), wraps.to(device)
        n_frames = self.n_frames[clips, None]
        within = starts[:, None] + torch.arange(window_frames, device=device)
        sounding = ((within >= 0) & (within < n_frames)) | wraps[:, None]
        bands = torch.arange(self.spec.log_mel.n_mels, device=device)[:, None] * n_frames[..., None]
        index = (self.first[clips, None] + torch.remainder(within, n_frames))[:, None] + bands
        values, silence = self.values[index], self.silence[clips, :, None]
        if added is not None:
            values = torch.maximum(values.add_(added[..., None]), silence)
        return torch.where(sounding[:, None], values, silence)

    def all_windows(
        self, window_frames: int, hop_frames: int, windows_weight: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Every window that scores the clips; see `earmark.audio.picture.scored_windows`.

        Returns
        -------
        clips, starts, weights
            (n_windows,) int64, int64 and float32: of which clip, its first frame, and what its scores count for; the
            weights of a clip sum to 1.
        """
        windows = [
            (index, start, weight)
            for index, (_, length) in enumerate(self._places)
            for start, weight in zip(*scored_windows(length, window_frames, hop_frames, windows_weight), strict=True)
        ]
        clips, starts, weights = zip(*windows, strict=True)
        return torch.tensor(clips), torch.tensor(starts), torch.tensor(weights, dtype=torch.float32)


def _sounding(start: int, window_frames: int, length: int) -> tuple[int, int]:
    """Where in a window a clip of some length begins and ends."""
    begin = min(max(0, -start), window_frames)
    return begin, max(begin, min(window_frames, length - start))


def random_starts(n_frames: Tensor, window_frames: int, generator: torch.Generator) -> Tensor:
    """First frames of random windows in clips of (n,) `n_frames`; of clips that are shorter, 0 or below."""
    room = n_frames - window_frames
    draw = torch.rand(len(n_frames), generator=generator)
    return torch.floor(draw * (room.abs() + 1)).long() * room.sign()


def random_wraps(n: int, spec: PictureSpec, generator: torch.Generator) -> Tensor:
    """(n,) bool: whether each short clip is to be repeated; see `PictureSpec.short`."""
    if spec.short != "either":
        return torch.full((n,), spec.short == "wrap")
    return torch.rand(n, generator=generator) < 0.5
