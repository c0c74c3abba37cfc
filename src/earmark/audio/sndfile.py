"""What libsndfile reads: WAV, FLAC, AIFF, Ogg Vorbis, Opus, MP3 and its other formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from earmark.audio.containers import mp3_states_length, why_cut_short
from earmark.audio.source import cut_short, unreadable

FRAMES_PER_READ = 1 << 18
"""Read at a time, so that memory goes by what a file holds and not by what its header promises."""

UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives more frames than this for a stream that does not say how long it is."""

UNRECOGNISED_FORMAT, UNSUPPORTED_ENCODING, MPEG_WITHOUT_FRAMES = 1, 4, 7
"""libsndfile's codes for what others may know; its text for the last says that the file does not exist."""

SEEKABLE = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"})
"""Where libsndfile finds a sample again exactly; the others are read from the beginning."""


class UnknownFormatError(Exception):
    """libsndfile does not know what a file holds; another library may."""


class SndfileSource:
    """A recording that libsndfile reads; see `Source`.

    Raises
    ------
    AudioError
        When the file cannot be read, or its header shows that its end is missing.
    UnknownFormatError
        When libsndfile does not know the format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = _Sequential(path)
        except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: headerless .raw
            if getattr(error, "code", None) in (UNRECOGNISED_FORMAT, UNSUPPORTED_ENCODING, MPEG_WITHOUT_FRAMES):
                raise UnknownFormatError(_reason(error)) from error
            raise unreadable(path, _reason(error)) from error
        if missing := why_cut_short(path):
            self._file.close()
            raise cut_short(path, missing)
        self.sample_rate: int = self._file.samplerate
        self.n_channels: int = self._file.channels
        self.format_name: str = self._file.format
        guessed = self._file.frames > UNKNOWN_FRAMES or (self._file.format == "MP3" and not mp3_states_length(path))
        self.n_samples = None if guessed else int(self._file.frames)
        self.duration_s = None if self.n_samples is None else self.n_samples / self.sample_rate
        self._n_read = 0

    def seek(self, sample: int) -> int:
        """See `Source`."""
        if sample and self.n_samples is not None and self._file.format in SEEKABLE:
            self._n_read = self._file.seek(sample)
        return self._n_read

    def blocks(self) -> Iterator[np.ndarray]:
        """See `Source`."""
        n_at_once = min(FRAMES_PER_READ, max(1, self._file.frames))
        while self._n_read < self._file.frames:
            block = self._read(n_at_once)
            yield block
            if len(block) < n_at_once:
                break
        if self.n_samples is not None and self._n_read < self.n_samples:
            raise cut_short(self._path, f"its header promises {self.n_samples} samples, {self._n_read} are there")

    def _read(self, n_frames: int) -> np.ndarray:
        try:
            block: np.ndarray = self._file.read(n_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise unreadable(self._path, _reason(error)) from error
        self._n_read += len(block)
        return block

    def close(self) -> None:
        """See `Source`."""
        self._file.close()


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Read without seeking after each block, which fails at the end of a FLAC that does not say how long it is."""

    def seekable(self) -> bool:
        return False


def _reason(error: Exception) -> str:
    if not isinstance(error, soundfile.LibsndfileError):
        return str(error)
    if error.code == MPEG_WITHOUT_FRAMES:
        return "Format not recognised"
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
