"""The pictures of a whole collection in memory, cropped by the batch on the device that trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from earmark.audio.logmel import log_mel
from earmark.audio.picture import PictureSpec, clip_affine, window_starts
from earmark.data.store import Store
from earmark.errors import RecipeError


def spectrograms_of(store: Store, indices: np.ndarray, spec: PictureSpec, *, progress: bool = True) -> list[np.ndarray]:
    """Log-mel spectrograms in dB, (n_mels, n_frames) each, of some clips of a store, by a thread a core."""
    if store.sample_rate != spec.log_mel.sample_rate:
        raise RecipeError(
            f"the store holds {store.sample_rate} Hz, the recipe wants {spec.log_mel.sample_rate} Hz; "
            "train from the collection itself, or pack it again at the recipe's rate"
        )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda index: log_mel(store.waveform(index), spec.log_mel), indices)
        return list(tqdm(made, total=len(indices), desc="log-mel", unit="clip", disable=not progress))


class Pictures(nn.Module):
    """Spectrograms of clips of any length, from which batches of equal windows are cut.

    Parameters
    ----------
    spectrograms
        (n_mels, n_frames) in dB, one a clip.
    spec
        The front end.

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
        affine = np.array([clip_affine(s, spec) for s in spectrograms], dtype=np.float32)
        flat = np.concatenate([s.T for s in spectrograms])
        self.register_buffer("frames", torch.from_numpy(flat), persistent=False)
        self.register_buffer("first", torch.from_numpy(np.cumsum(lengths) - lengths), persistent=False)
        self.register_buffer("n_frames", torch.from_numpy(lengths), persistent=False)
        self.register_buffer("shift", torch.from_numpy(affine[:, 0]), persistent=False)
        self.register_buffer("factor", torch.from_numpy(affine[:, 1]), persistent=False)

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

    def cut(self, clips: Tensor, starts: Tensor, window_frames: int, gain_db: Tensor | None = None) -> Tensor:
        """Cut one window from each of some clips, and normalise it.

        Parameters
        ----------
        clips
            (n,) int64 indices of clips.
        starts
            (n,) int64 first frames; frames before a clip's first and after its last are silence.
        window_frames
            Length of the windows.
        gain_db
            (n, n_mels), or (n, 1) for all bands alike, added to the spectrograms, in dB; `None` for none.

        Returns
        -------
        Tensor
            (n, n_channels, height, window_frames) float32.
        """
        spec = self.spec
        within = starts[:, None] + torch.arange(window_frames, device=clips.device)
        sounding = (within >= 0) & (within < self.n_frames[clips, None])
        rows = self.first[clips, None] + within.clamp(min=0).minimum(self.n_frames[clips, None] - 1)
        shift = self.shift[clips, None] if gain_db is None else self.shift[clips, None] - gain_db
        values = (self.frames[rows] - shift[:, None]) * self.factor[clips, None, None]
        values = values.clamp(min=spec.silence).masked_fill(~sounding[..., None], spec.silence)
        return values.transpose(1, 2).reshape(len(clips), spec.n_channels, spec.height, window_frames)

    def all_windows(self, window_frames: int, hop_frames: int) -> tuple[Tensor, Tensor]:
        """Clip and first frame of every window that scores the clips; two (n_windows,) int64 tensors."""
        starts = [window_starts(int(n), window_frames, hop_frames) for n in self.n_frames]
        clips = [index for index, of_clip in enumerate(starts) for _ in of_clip]
        return torch.tensor(clips), torch.tensor([start for of_clip in starts for start in of_clip])
