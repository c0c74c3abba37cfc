"""One network that hears a recording block by block, in memory that does not grow with it.

    blocks at the file's rate → resampled → trimmed → padded → chunks of windows → log-mel and network

The first three are done as blocks come. A chunk is work of its own, for whichever core is free: some samples, and
where the windows in them begin. Neighbouring chunks share the samples that their windows share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from earmark.audio.clip import loud_span
from earmark.audio.decode import stream
from earmark.audio.logmel import emphasized_after, frames_log_mel, log_mel_blocks, pad_ends
from earmark.audio.picture import Levels, normalizer, windows_at
from earmark.audio.resample import StreamResampler
from earmark.audio.waveform_windows import padding_samples, window_samples
from earmark.bundle import INPUT_NAME
from earmark.tagging.tagger import Tagger

CHUNK_S = 60.0
"""Time from the first window of a chunk to that of the next, at the least a call's windows: what chunks share with
their neighbours is heard twice, so they are several windows long."""

Heard = tuple[np.ndarray, np.ndarray]
"""First frames of windows, (n,) int64 rising, and their scores, (n, n_labels) float32."""


@dataclass(frozen=True)
class Survey:
    """What has to be known of a whole recording before its first window can be scored.

    Attributes
    ----------
    first, stop
        The samples at the tagger's rate that are left when silence is trimmed; no `stop` where nothing is.
    n_samples
        How many they are; None where that need not be known.
    normal
        From `earmark.audio.picture.normalizer`.
    """

    first: int
    stop: int | None
    n_samples: int | None
    normal: tuple[np.ndarray, np.ndarray]


def survey(tagger: Tagger, path: Path, *, as_clip: bool) -> Survey:
    """Go over a recording once for each thing that a front end needs to know of all of it; most need nothing.

    Parameters
    ----------
    tagger
        Of one network.
    path
        The recording.
    as_clip
        Whether it is trimmed, and its middle window weighed, as a clip's; else as a timeline.

    Raises
    ------
    AudioError
        When the recording cannot be read.
    """
    spec, log_mel_spec = tagger.picture_spec, tagger.picture_spec.log_mel
    first, stop, n_samples = 0, None, None
    if as_clip and spec.trim_top_db:
        with stream(path, tagger.sample_rate) as blocks:
            first, stop = loud_span(blocks, top_db=spec.trim_top_db)
        n_samples = stop - first
    normal = normalizer(np.zeros((log_mel_spec.n_mels, 1), dtype=np.float32), spec)
    if tagger.bundle.spec.input == INPUT_NAME and spec.normalization in {"clip", "minmax"}:
        levels = Levels()
        with stream(path, tagger.sample_rate) as blocks:
            for part in log_mel_blocks(within(blocks, first, stop), log_mel_spec):
                levels.add(part)
        normal = levels.normalizer(spec)
    if as_clip and tagger.bundle.spec.windows_weight < 1 and n_samples is None:
        with stream(path, tagger.sample_rate) as blocks:
            n_samples = sum(map(len, blocks))
    return Survey(first, stop, n_samples, normal)


def within(blocks: Iterable[np.ndarray], first: int, stop: int | None) -> Iterator[np.ndarray]:
    """What of a recording that comes in blocks lies from one sample to another."""
    position = 0
    for block in blocks:
        yield block[max(0, first - position) : None if stop is None else max(0, stop - position)]
        position += len(block)


class _Held:
    """Samples that come in parts and are joined once, when they are wanted; what was given is never written to."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self.n_samples = 0

    def append(self, samples: np.ndarray) -> None:
        """Put (n,) float32 behind what is held."""
        self._parts.append(samples)
        self.n_samples += len(samples)

    def prepend(self, samples: np.ndarray) -> None:
        """Put (n,) float32 before what is held."""
        self._parts.insert(0, samples)
        self.n_samples += len(samples)

    def joined(self) -> np.ndarray:
        """All that is held, (n_samples,) float32."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.empty(0, dtype=np.float32), *self._parts])]
        return self._parts[0]

    def drop(self, n_first: int) -> None:
        """Let go of the first samples."""
        self._parts = [self.joined()[n_first:].copy()]
        self.n_samples -= n_first


class Listener:
    """A network at a recording that is longer than its windows.

    Parameters
    ----------
    tagger
        Of one network.
    sample_rate
        Of the recording, in Hz.
    known
        What `survey` found.
    as_clip
        Whether the recording's middle window is scored as well, where the bundle gives it a weight of its own.
    """

    def __init__(self, tagger: Tagger, sample_rate: int, known: Survey, *, as_clip: bool) -> None:
        self.tagger, self.known = tagger, known
        spec, self._log_mel = tagger.bundle.spec, tagger.picture_spec.log_mel
        self.window_frames, self.hop_frames = spec.window_frames, spec.hop_frames
        self._takes_pictures = spec.input == INPUT_NAME
        self._resampler = StreamResampler(sample_rate, tagger.sample_rate)
        self._n_resampled = 0
        self._last_sample: np.float32 | None = None
        self._begun = False
        self._held = _Held()
        self._held_from = 0  # frame that begins with the first sample held
        self._next_start = 0
        self._last_start = -1
        hop_s = self.hop_frames / self._log_mel.frame_rate
        self._n_chunk = max(tagger.windows_per_call, round(CHUNK_S / hop_s))
        self.middle: int | None = None
        if as_clip and spec.windows_weight < 1 and known.n_samples is not None:
            self.middle = (self._log_mel.n_frames(known.n_samples) - self.window_frames) // 2
        self._middle_waits = self.middle is not None

    def push(self, block: np.ndarray) -> list[Callable[[], Heard]]:
        """Take (n_samples,) float32 at the recording's rate; give the work that is ready."""
        return self._hold(self._resampler.push(block))

    def finish(self) -> list[Callable[[], Heard]]:
        """Give the rest of the work, after the last block."""
        ready = self._hold(self._resampler.push(np.empty(0, dtype=np.float32), last=True))
        _, after = padding_samples(self._log_mel)
        tail = self._held.joined()[-after - 1 :]
        self._held.append(pad_ends(tail, 0, after, self._log_mel)[len(tail) :])
        starts = self._due_starts()
        last = self.n_frames - self.window_frames
        if last > max([self._last_start, *starts]):
            starts.append(last)
        return ready + self._chunks(sorted(set(starts)), keep=0)

    @property
    def n_frames(self) -> int:
        """Frames so far."""
        extra = self._window_samples(1)
        return self._held_from + max(0, (self._held.n_samples - extra) // self._log_mel.hop_length + 1)

    def _window_samples(self, n_frames: int) -> int:
        n_samples = window_samples(self._log_mel, n_frames)
        return n_samples - int(self._takes_pictures and self._log_mel.pre_emphasis > 0)  # applied when it came

    def _hold(self, resampled: np.ndarray) -> list[Callable[[], Heard]]:
        [samples] = within([resampled], *self._span())
        self._n_resampled += len(resampled)
        if self._takes_pictures and self._log_mel.pre_emphasis and len(samples):
            last, self._last_sample = self._last_sample, samples[-1]
            if last is not None:
                samples = emphasized_after(last, samples, self._log_mel)
            else:  # nothing precedes the first one
                samples = emphasized_after(samples[0], samples[1:], self._log_mel)
        self._held.append(samples)
        before, _ = padding_samples(self._log_mel)
        if not self._begun:
            if self._held.n_samples <= before:  # not enough to mirror
                return []
            begin = self._held.joined()[: before + 1]
            self._held.prepend(pad_ends(begin, before, 0, self._log_mel)[:before])
            self._begun = True
        starts = self._due_starts()
        n_ready = len(starts) // self._n_chunk * self._n_chunk
        return self._chunks(starts[:n_ready], keep=1) if n_ready else []

    def _span(self) -> tuple[int, int | None]:
        """What is left of the next resampled block when silence is trimmed."""
        stop = self.known.stop
        return max(0, self.known.first - self._n_resampled), None if stop is None else max(0, stop - self._n_resampled)

    def _due_starts(self) -> list[int]:
        """First frames of the windows that all samples are there for."""
        last = self.n_frames - self.window_frames
        starts = list(range(self._next_start, last + 1, self.hop_frames))
        if self.middle is not None and self._middle_waits and self.middle <= last:
            starts = sorted({*starts, self.middle})
        return starts

    def _chunks(self, starts: list[int], keep: int) -> list[Callable[[], Heard]]:
        ready = [self._chunk(starts[i : i + self._n_chunk]) for i in range(0, len(starts), self._n_chunk)]
        if starts:
            self._middle_waits = self._middle_waits and self.middle not in starts
            self._last_start = starts[-1]
            self._next_start = (starts[-1] // self.hop_frames + 1) * self.hop_frames
            # the window that ends with the recording begins behind the last one
            n_past = self._last_start - self._held_from
            self._held.drop(n_past * self._log_mel.hop_length if keep else self._held.n_samples)
            self._held_from += n_past
        return ready

    def _chunk(self, starts: list[int]) -> Callable[[], Heard]:
        first, hop = starts[0] - self._held_from, self._log_mel.hop_length
        n_frames = starts[-1] - starts[0] + self.window_frames
        samples = self._held.joined()[first * hop :][: self._window_samples(n_frames)]
        return lambda: (np.array(starts), self._scores(samples, n_frames, [start - starts[0] for start in starts]))

    def _scores(self, samples: np.ndarray, n_frames: int, starts: list[int]) -> np.ndarray:
        n_call = self.tagger.windows_per_call
        calls = [starts[i : i + n_call] for i in range(0, len(starts), n_call)]
        if not self._takes_pictures:
            view = sliding_window_view(samples, self._window_samples(self.window_frames))[:: self._log_mel.hop_length]
            return np.concatenate([self.tagger.score_windows(view[call]) for call in calls])
        mel, spec = frames_log_mel(samples, n_frames, self._log_mel), self.tagger.picture_spec
        cut = (windows_at(mel, spec, self.window_frames, call, self.known.normal) for call in calls)
        return np.concatenate([self.tagger.score_windows(windows) for windows in cut])
