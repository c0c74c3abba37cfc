"""The pictures of a whole collection in memory, cropped by the batch on the device that trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from earmark.audio.picture import PictureSpec, clip_front_end, clip_log_mel, normalizer, window_starts
from earmark.data.spectrograms import front_end_of
from earmark.data.store import Store
from earmark.errors import RecipeError
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
    with ThreadPoolExecutor(os.cpu_count()) as pool:
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
    A module, so that a trainer moves the buffers to where the network is; it has no parameters.
    """

    frames: Tensor
    first: Tensor
    n_frames: Tensor
    shift: Tensor
    factor: Tensor

    def __init__(self, spectrograms: Sequence[np.ndarray], spec: PictureSpec) -> None:
        super().__init__()
        self.spec = spec
        lengths = np.array([s.shape[1] for s in spectrograms])
        shifts, factors = zip(*(normalizer(s, spec) for s in spectrograms), strict=True)
        buffers = {
            "frames": np.concatenate([s.T for s in spectrograms]),
            "first": np.cumsum(lengths) - lengths,
            "n_frames": lengths,
            "shift": np.stack(shifts),
            "factor": np.stack(factors),
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def __len__(self) -> int:
        return len(self.n_frames)

    def random_starts(self, clips: Tensor, window_frames: int, generator: torch.Generator) -> Tensor:
        """First frames of one random window a clip.

        A clip longer than the window is cut anywhere, a shorter one placed anywhere in it: its start is negative.
        """
        room = (self.n_frames[clips] - window_frames).cpu()
        draw = torch.rand(len(clips), generator=generator)
        magnitude = torch.floor(draw * (room.abs() + 1)).long()
        return (magnitude * room.sign()).to(clips.device)

    def random_wraps(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """(n,) bool: whether each short clip is to be repeated, by chance where the front end leaves it to chance."""
        if self.spec.short != "either":
            return torch.full((len(clips),), self.spec.short == "wrap", device=clips.device)
        return (torch.rand(len(clips), generator=generator) < 0.5).to(clips.device)

    def cut(
        self,
        clips: Tensor,
        starts: Tensor,
        window_frames: int,
        *,
        gain_db: Tensor | None = None,
        wraps: Tensor | None = None,
    ) -> Tensor:
        """Cut one window from each of some clips, normalise it and make its channels.

        Parameters
        ----------
        clips
            (n,) int64 indices of clips.
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
            (n, n_channels, height, window_frames) float32.
        """
        log_mel = self.spec.log_mel
        if wraps is None:
            wraps = torch.full((len(clips),), self.spec.short == "wrap", device=clips.device)
        n_frames = self.n_frames[clips, None]
        within = starts[:, None] + torch.arange(window_frames, device=clips.device)
        sounding = ((within >= 0) & (within < n_frames)) | wraps[:, None]
        values = self.frames[self.first[clips, None] + torch.remainder(within, n_frames)]
        if gain_db is not None:
            values = values + gain_db[:, None] / log_mel.db_per_unit
        values = values.clamp(min=log_mel.silence).masked_fill(~sounding[..., None], log_mel.silence)
        values = (values - self.shift[clips, None]) * self.factor[clips, None]
        return to_channels(bounded(values.transpose(1, 2), self.spec), self.spec)

    def all_windows(self, window_frames: int, hop_frames: int) -> tuple[Tensor, Tensor]:
        """Clip and first frame of every window that scores the clips; two (n_windows,) int64 tensors."""
        starts = [window_starts(int(n), window_frames, hop_frames) for n in self.n_frames]
        clips = [index for index, of_clip in enumerate(starts) for _ in of_clip]
        return torch.tensor(clips), torch.tensor([start for of_clip in starts for start in of_clip])
