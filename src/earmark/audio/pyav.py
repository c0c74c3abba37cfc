"""What libsndfile does not read (m4a, webm, mp4, wma and others), by PyAV and its FFmpeg: the extra `formats`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.audio.containers import is_media, why_cut_short
from earmark.audio.source import cut_short, unreadable
from earmark.audio.suffixes import OF_PYAV as SUFFIXES
from earmark.errors import AudioError, MissingExtraError

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream
    from av.container import InputContainer

SAMPLES_PER_BLOCK = 1 << 16
"""A codec gives a thousand samples or so at a time; they are gathered to this many."""

MICROSECONDS = 1_000_000
"""FFmpeg counts the duration of a whole file in these."""

STATING_LENGTH = ("mov", "matroska", "asf")
"""How the names of containers begin that state their length; of the others' FFmpeg makes an estimate."""

MISSING_S = 0.5
"""A recording that ends this much before its stated length has lost something."""

EXPLODE = {"err_detect": "crccheck+explode"}
"""Make decoders fail at damage, instead of leaving it out."""

NO_PROTOCOL = {"protocol_whitelist": "none"}
"""A playlist in the place of a recording must not make FFmpeg open other files, or addresses."""


class PyavSource:
    """A recording that FFmpeg reads, of a video its main sound; see `Source`.

    Samples follow each other as they are decoded, whatever the time stamps of a video say. These formats find a time
    inexactly, so that a later part costs the decoding of all before it.

    Parameters
    ----------
    path
        An existing file.
    unknown
        What libsndfile said of it, for the error when FFmpeg does not know it either.

    Raises
    ------
    AudioError
        When the file cannot be read, has no sound, is cut short, or needs PyAV, which is not installed.
    """

    n_samples: int | None = None

    def __init__(self, path: Path, unknown: str) -> None:
        self._path = path
        with ExitStack() as opened:
            file = opened.enter_context(closing(_Nameless(path)))
            container = opened.enter_context(_open(file, path, unknown))
            stream = _main_sound(container, path)
            self._frames = _decoded(container, stream, path)
            # a header may state half the rate of what is decoded (HE-AAC)
            self._first = list(islice(self._frames, 1))
            self._opened = opened.pop_all()
        self.sample_rate = self._first[0].sample_rate if self._first else stream.rate
        self.n_channels = self._first[0].layout.nb_channels if self._first else stream.channels
        self.format_name = container.format.name.split(",")[0]
        self.duration_s = _stated_duration_s(container, stream)
        # of several streams, another may be the longer one
        states_own = container.format.name.startswith("mov") or len(container.streams) == 1
        states_length = container.format.name.startswith(STATING_LENGTH)
        self._promised_s = self.duration_s if states_own and states_length else None

    def seek(self, sample: int) -> int:
        """See `Source`."""
        return 0

    def blocks(self) -> Iterator[np.ndarray]:
        """See `Source`."""
        held: list[np.ndarray] = []
        n_held = 0
        for frame in chain(self._first, self._frames):
            samples = self._samples(frame)
            # the number of channels may change on the way
            if held and (n_held >= SAMPLES_PER_BLOCK or samples.shape[1] != held[0].shape[1]):
                yield np.concatenate(held)
                held, n_held = [], 0
            held.append(samples)
            n_held += len(samples)
        if held:
            yield np.concatenate(held)
            self._check_end(frame)

    def _check_end(self, last: AudioFrame) -> None:
        # by time stamps, as some recorders leave gaps, and count these in their length
        if self._promised_s is None or last.time is None:
            return
        end_s = last.time + last.samples / last.sample_rate
        if end_s < self._promised_s - MISSING_S:
            missing = f"its header promises {self._promised_s:.2f} s, its last sound ends at {end_s:.2f} s"
            raise cut_short(self._path, missing)

    def _samples(self, frame: AudioFrame) -> np.ndarray:
        if frame.sample_rate != self.sample_rate:
            raise AudioError(
                f"{self._path}: its sample rate changes from {self.sample_rate} to {frame.sample_rate} Hz on the way; "
                "expected one; export it again"
            )
        try:
            return to_float(frame.to_ndarray(), frame.layout.nb_channels)
        except ValueError as error:  # PyAV has no array for 64-bit integers
            raise unreadable(self._path, str(error).rstrip(".")) from error

    def close(self) -> None:
        """See `Source`."""
        self._opened.close()


class _Nameless:
    """A file whose content alone says what it is: FFmpeg would go by the suffix as well."""

    def __init__(self, path: Path) -> None:
        file = path.open("rb")
        self.read, self.seek, self.tell, self.close = file.read, file.seek, file.tell, file.close


def to_float(array: np.ndarray, n_channels: int) -> np.ndarray:
    """Turn the samples of a frame into (n_samples, n_channels) float32, full scale at ±1.

    Parameters
    ----------
    array
        (n_channels, n_samples), or (1, n_samples * n_channels) with the channels in turn; floating point, 16- or
        32-bit integers, or 8-bit integers around 128.
    n_channels
        How many.
    """
    samples = array.T if len(array) == n_channels else array.reshape(-1, n_channels)
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is named
            return samples.astype(np.float32)
    full_scale = 2.0 ** (8 * samples.itemsize - 1)
    offset = full_scale if samples.dtype.kind == "u" else 0.0
    return ((samples - offset) / full_scale).astype(np.float32)


def _open(file: _Nameless, path: Path, unknown: str) -> InputContainer:
    try:
        import av
    except ModuleNotFoundError as error:
        if path.suffix.lower() in SUFFIXES or is_media(path):
            raise AudioError(str(MissingExtraError(f"{path}: this format", "formats"))) from error
        raise unreadable(path, unknown) from error
    try:
        # names of artists and the like may be in any encoding
        return av.open(file, mode="r", options=NO_PROTOCOL, metadata_errors="replace")
    except av.FFmpegError as error:
        # a file whose end is missing may have lost what makes it readable
        if missing := why_cut_short(path):
            raise cut_short(path, missing) from error
        known = not isinstance(error, av.InvalidDataError) or is_media(path)
        raise unreadable(path, str(error.strerror) if known else unknown) from error


def _main_sound(container: InputContainer, path: Path) -> AudioStream:
    import av

    if missing := why_cut_short(path):
        raise cut_short(path, missing)
    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        raise AudioError(
            f"{path}: has no sound, only these streams: {kinds}; expected a recording or a video with sound"
        )
    best = container.streams.best("audio")
    if not isinstance(best, av.AudioStream):
        raise unreadable(path, "no decoder for its sound")
    best.codec_context.options = EXPLODE
    return best


def _stated_duration_s(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / MICROSECONDS if container.duration else None


def _decoded(container: InputContainer, stream: AudioStream, path: Path) -> Iterator[AudioFrame]:
    import av

    try:
        yield from container.decode(stream)
    except av.FFmpegError as error:
        raise unreadable(path, str(error.strerror)) from error
