"""The waveforms of clips that may be twins, held as far as memory allows, and what a closer look at them says."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from earmark.audio.decode import decode
from earmark.data.check.alignment import SEARCH, SHORTEST_S, align
from earmark.data.check.files import WHOLE_S
from earmark.data.check.landmarks import SAMPLE_RATE
from earmark.data.check.matching import Candidate
from earmark.data.check.twins import Twins
from earmark.data.manifest import Clip
from earmark.errors import AudioError

LEAST_COHERENCE = 0.35
"""From here on two clips are one recording; see `Alignment.coherence`."""

LEAST_SHARE, ENOUGH_S = 0.2, 3.0
"""Twins share a fifth of the shorter clip, or three seconds."""

COMPARED_S = 60.0
"""Of a longer overlap, the middle is compared."""

MAX_BYTES = 1 << 29
"""Of the waveforms that are held: four and a half hours."""


class Waveforms:
    """Clips at `SAMPLE_RATE`, those last used held in memory; from any number of threads.

    Parameters
    ----------
    paths
        The file of each clip.
    max_bytes
        Of what is held, at the most.
    """

    def __init__(self, paths: Sequence[Path], max_bytes: int = MAX_BYTES) -> None:
        self._paths, self._max_bytes = paths, max_bytes
        self._held: OrderedDict[int, np.ndarray] = OrderedDict()
        self._n_bytes = 0
        self._lock = Lock()

    def keep(self, clip: int, samples: np.ndarray | None) -> None:
        """Hold a clip that is decoded, as 16-bit floating point; others make room for it."""
        if samples is None:
            return
        with self._lock, np.errstate(over="ignore"):
            if clip not in self._held:
                self._held[clip] = samples.astype(np.float16)
                self._n_bytes += self._held[clip].nbytes
            while self._n_bytes > self._max_bytes:
                self._n_bytes -= self._held.popitem(last=False)[1].nbytes

    def excerpt(self, clip: int, duration_s: float, start: int, n_samples: int) -> np.ndarray:
        """Samples of a clip.

        Parameters
        ----------
        clip
            Its number.
        duration_s
            Its length in seconds.
        start, n_samples
            From which sample on, and how many; what is outside the clip is 0.

        Returns
        -------
        np.ndarray
            (n_samples,) float32.

        Raises
        ------
        AudioError
            When the file can no longer be read.
        """
        first, stop = max(0, start), start + n_samples
        if duration_s <= WHOLE_S:
            samples = self._whole(clip)[first:stop]
        else:
            end_s = min(stop / SAMPLE_RATE, duration_s)
            samples = decode(self._paths[clip], SAMPLE_RATE, start_s=first / SAMPLE_RATE, end_s=end_s).samples
        n_before = first - start
        return np.pad(samples.astype(np.float32), (n_before, max(0, n_samples - n_before - len(samples))))[:n_samples]

    def _whole(self, clip: int) -> np.ndarray:
        with self._lock:
            if clip in self._held:
                self._held.move_to_end(clip)
                return self._held[clip]
        samples = decode(self._paths[clip], SAMPLE_RATE).samples
        self.keep(clip, samples)
        return samples


class Comparison:
    """Lays the two clips of a candidate over each other.

    Parameters
    ----------
    clips
        All clips that candidates number.
    durations_s
        (n_clips,) lengths in seconds.
    waveforms
        Of these clips.
    """

    def __init__(self, clips: Sequence[Clip], durations_s: np.ndarray, waveforms: Waveforms) -> None:
        self._clips, self._durations_s, self._waveforms = clips, durations_s.tolist(), waveforms

    def __call__(self, candidate: Candidate) -> Twins | None:
        """Give the pair when it is one recording, or holds a part of one."""
        offset_s = candidate.offset_s
        lengths_s = self._durations_s[candidate.first], self._durations_s[candidate.second]
        start_s = max(0.0, offset_s)
        overlap_s = min(lengths_s[0], offset_s + lengths_s[1]) - start_s
        if overlap_s < max(SHORTEST_S, min(LEAST_SHARE * min(lengths_s), ENOUGH_S)):
            return None
        start = round((start_s + max(0.0, overlap_s - COMPARED_S) / 2) * SAMPLE_RATE)
        n_samples = round(min(overlap_s, COMPARED_S) * SAMPLE_RATE)
        offset = round(offset_s * SAMPLE_RATE)
        try:
            first = self._waveforms.excerpt(candidate.first, lengths_s[0], start, n_samples)
            begin, n_searched = start - offset - SEARCH, n_samples + 2 * SEARCH
            second = self._waveforms.excerpt(candidate.second, lengths_s[1], begin, n_searched)
        except AudioError:  # it could be read a moment ago: somebody is changing the file
            return None
        found = align(first, second)
        if found is None or found.coherence < LEAST_COHERENCE:
            return None
        clips = self._clips[candidate.first], self._clips[candidate.second]
        offset_s = offset / SAMPLE_RATE + found.shift_s
        return Twins(*clips, offset_s, overlap_s, found.gain_db, found.correlation, found.coherence)
