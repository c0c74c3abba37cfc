"""The waveforms of a packed collection, cut by the batch, and their spectrograms made on the device that trains."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from earmark.audio.clip import loud_span
from earmark.audio.picture import PictureSpec
from earmark.data.store import Store
from earmark.errors import RecipeError
from earmark.training.frontend import WaveformPictures
from earmark.training.pictures import check_store, random_starts, random_wraps

HELD_SHARE = 0.5
"""Of an accelerator's free memory, at the most, is taken for waveforms; the rest is the network's."""


@dataclass(frozen=True)
class Place:
    """Where the samples of a clip are.

    Attributes
    ----------
    offset, n_stored
        Of those in the store that stay when silence is trimmed.
    n_before
        Zeros before them, which a clip that is lengthened has.
    n_samples
        Of the whole clip, with zeros before and after.
    """

    offset: int
    n_stored: int
    n_before: int
    n_samples: int


class Waveforms:
    """Waveforms of clips of any length, from which batches of equal windows are cut.

    Trimmed and lengthened as `earmark.audio.picture.clip_log_mel` does it. What lies around a clip are zeros, or the
    clip mirrored as far as a transform reaches where its front end says so, or the clip again. The frames of a window
    within its clip are those that `earmark.training.pictures.Pictures` cuts, with two exceptions. Around a short clip,
    transforms that reach over its ends are of both sound and silence, where a spectrogram just ends. And with a
    pre-emphasis, transforms that reach over the ends of a clip see one sample more.

    Samples are read from the store's file in the numbers in which they are stored; on an accelerator, they are copied
    there once, if there is room.

    Parameters
    ----------
    store
        Of waveforms at the front end's rate.
    indices
        (n,) int64 of clips.
    spec
        The front end. Normalisation by ``"clip"`` or ``"minmax"`` is here by each window's statistics, not by those of
        its whole clip, which change with its waveform.
    progress
        Whether to show a bar while the clips are searched for silence.

    Raises
    ------
    RecipeError
        When the store holds spectrograms, or waveforms of another rate.
    """

    def __init__(self, store: Store, indices: np.ndarray, spec: PictureSpec, *, progress: bool = True) -> None:
        check_waveforms(store, spec)
        self.store = store
        self.spec = spec
        self.scales = store.scales[indices]
        self.places = _places(store, indices, spec, progress)
        self.n_frames = torch.tensor([spec.log_mel.n_frames(place.n_samples) for place in self.places])
        self.front_end = WaveformPictures(spec, exact=False)
        self.device = torch.device("cpu")
        self._held: tuple[Tensor, Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def to(self, device: torch.device) -> Waveforms:
        """Make everything on a device from now on, and keep the samples there if they fit; in place."""
        self.device = torch.device(device)
        self.front_end.to(self.device)
        n_bytes = sum(place.n_stored for place in self.places) * self.store.values.itemsize
        self._held = None
        if self.device.type == "cuda" and n_bytes <= HELD_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            self.hold()
        return self

    def hold(self) -> None:
        """Copy all samples of the clips to the device."""
        lengths = torch.tensor([place.n_stored for place in self.places])
        first = lengths.cumsum(0) - lengths
        samples = torch.empty(
            int(lengths.sum()), dtype=torch.from_numpy(self.store.values[:1].copy()).dtype, device=self.device
        )
        for place, start in zip(self.places, first.tolist(), strict=True):
            stored = self.store.values[place.offset : place.offset + place.n_stored]
            samples[start : start + place.n_stored] = torch.from_numpy(np.array(stored))
        columns = [
            first,
            lengths,
            torch.tensor([place.n_before for place in self.places]),
            torch.tensor([place.n_samples for place in self.places]),
        ]
        self._held = samples, torch.from_numpy(self.scales).to(self.device), torch.stack(columns).to(self.device)

    def random_starts(self, clips: Tensor, window_frames: int, generator: torch.Generator) -> Tensor:
        """First frames of one random window a clip, as `Pictures.random_starts` draws them; on the processor."""
        return random_starts(self.n_frames[clips.cpu()], window_frames, generator)

    def random_wraps(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """(n,) bool: whether each short clip is to be repeated, as `Pictures.random_wraps` draws it."""
        return random_wraps(len(clips), self.spec, generator)

    def window_samples(self, window_frames: int) -> int:
        """Samples that the transforms of so many frames see."""
        log_mel = self.spec.log_mel
        return (window_frames - 1) * log_mel.hop_length + log_mel.n_fft + int(log_mel.pre_emphasis > 0)

    def cut(self, clips: Tensor, starts: Tensor, window_frames: int, *, wraps: Tensor | None = None) -> Tensor:
        """Cut one window from each of some clips.

        Parameters
        ----------
        clips
            (n,) int64 indices of clips, on the processor.
        starts
            (n,) int64 first frames.
        window_frames
            Length of the windows.
        wraps
            (n,) bool: clips that are repeated if they are shorter than the window; `None` for what the front end says
            in use.

        Returns
        -------
        Tensor
            (n, `window_samples`) float32, full scale at ±1, on this object's device, to be changed at will: half a
            transform longer than the frames at either end, so that `spectrograms` makes these frames and no others.
        """
        if wraps is None:
            wraps = torch.full((len(clips),), self.spec.short == "wrap")
        wraps = wraps & (self.n_frames[clips] < window_frames)
        begins = starts * self.spec.log_mel.hop_length - self.spec.log_mel.n_fft // 2
        n_samples = self.window_samples(window_frames)
        if self._held is not None:
            return self._gathered(clips.to(self.device), begins.to(self.device), n_samples, wraps.to(self.device))
        out = np.empty((len(clips), n_samples), dtype=np.float32)
        for row, clip, begin, wrap in zip(out, clips.tolist(), begins.tolist(), wraps.tolist(), strict=True):
            self._read(row, clip, begin, wrap)
        return torch.from_numpy(out).to(self.device)

    def spectrograms(self, waveforms: Tensor, gain_db: Tensor | None = None) -> Tensor:
        """Make the normalised spectrograms of windows.

        Parameters
        ----------
        waveforms
            (n, `window_samples`), from `cut`.
        gain_db
            (n, n_mels) or (n, 1) in dB; see `WaveformPictures.normalized`.

        Returns
        -------
        Tensor
            (n, n_mels, window_frames) float32.
        """
        if gain_db is not None:
            gain_db = gain_db.to(self.device)
        return self.front_end.normalized(self.front_end.log_mel.of_part(waveforms), gain_db)

    def _read(self, row: np.ndarray, clip: int, begin: int, wrap: bool) -> None:
        """Fill a row with a clip's samples from `begin` on."""
        place = self.places[clip]
        if wrap:
            whole = np.empty(place.n_samples, dtype=np.float32)
            self._read(whole, clip, 0, False)
            row[:] = np.take(whole, np.arange(begin, begin + len(row)), mode="wrap")
            return
        first, last = (
            min(max(0, edge - begin), len(row)) for edge in (place.n_before, place.n_before + place.n_stored)
        )
        row[:first] = row[last:] = 0
        if first < last:
            start = place.offset + begin + first - place.n_before
            stored = self.store.values[start : start + last - first]
            np.multiply(stored, self.scales[clip], out=row[first:last])
        if self.spec.log_mel.padding == "reflect":
            _mirror(row, -begin, place.n_samples, self.spec.log_mel.n_fft // 2)
            _mirror(row[::-1], begin + len(row) - place.n_samples, place.n_samples, (self.spec.log_mel.n_fft + 1) // 2)

    def _gathered(self, clips: Tensor, begins: Tensor, n_samples: int, wraps: Tensor) -> Tensor:
        """What an accelerator does fastest: everything at once."""
        assert self._held is not None
        samples, scales, columns = self._held
        first, n_stored, n_before, length = columns[:, clips, None]
        at = begins[:, None] + torch.arange(n_samples, device=self.device)
        at = torch.where(wraps[:, None], at.remainder(length), at)
        if self.spec.log_mel.padding == "reflect":
            before, after = self.spec.log_mel.n_fft // 2, (self.spec.log_mel.n_fft + 1) // 2
            at = torch.where((at < 0) & (at >= -before), -at, at)
            at = torch.where((at >= length) & (at < length + after), 2 * (length - 1) - at, at)
        at = at - n_before
        inside = (at >= 0) & (at < n_stored)
        values = samples[(first + at).clamp_(0, len(samples) - 1)] * scales[clips, None]
        return values.masked_fill_(~inside, 0)


def check_waveforms(store: Store, spec: PictureSpec) -> None:
    """Raise a `RecipeError` when a store has no waveforms for a front end."""
    if store.encoding.kind != "waveform":
        raise RecipeError(
            "the store holds log-mel spectrograms, but the recipe changes waveforms before their spectrogram is made; "
            "leave that out of the recipe, or pack the collection without --log-mel"
        )
    check_store(store, spec)


def _places(store: Store, indices: np.ndarray, spec: PictureSpec, progress: bool) -> list[Place]:
    least = round(spec.min_duration_s * spec.log_mel.sample_rate)

    def place(index: int) -> Place:
        start, stop = 0, int(store.lengths[index])
        if spec.trim_top_db:
            start, stop = loud_span([store.waveform(index)], top_db=spec.trim_top_db)
        n_stored = stop - start
        n_missing = max(0, least - n_stored)
        return Place(int(store.offsets[index]) + start, n_stored, n_missing // 2, n_stored + n_missing)

    if not spec.trim_top_db:
        return [place(index) for index in indices]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(place, indices)
        return list(tqdm(found, total=len(indices), desc="silence", unit="clip", disable=not progress))


def _mirror(row: np.ndarray, n_before: int, n_samples: int, reach: int) -> None:
    """Mirror a clip that begins after `n_before` samples of a row into those, as far as it goes."""
    n = min(n_before, reach, n_samples - 1, len(row) - n_before - 1)
    if n > 0:
        row[n_before - n : n_before] = row[n_before + 1 : n_before + 1 + n][::-1]
