"""Any file to a mono waveform at the rate that is asked for: whole, a part of it, or block by block."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from math import gcd, inf
from pathlib import Path
from stat import S_ISDIR
from types import TracebackType
from typing import Self

import numpy as np

from earmark.audio import pyav, sndfile
from earmark.audio.resample import StreamResampler, check_rate, resample, resampled_length
from earmark.audio.source import Source, unreadable
from earmark.audio.suffixes import SUFFIXES
from earmark.errors import AudioError

__all__ = [
    "LOUDEST",
    "SUFFIXES",
    "Properties",
    "Stream",
    "Waveform",
    "check_samples",
    "decode",
    "properties",
    "resample",
    "stream",
]

LOUDEST = 1e12
"""Samples beyond this are no sound (full scale is 1), and float32 cannot hold their power spectrum."""

BLOCK_S = 30.0
"""Length of a stream's blocks, in seconds."""

LEAD = 1024
"""Samples, at the lower of two rates, by which soxr's filter is surely settled; it is some 200 long."""

SLACK_S = 1e-3
"""A range may end this much behind the recording, so that times rounded to milliseconds can be given back."""


@dataclass(frozen=True)
class Waveform:
    """A mono recording.

    Attributes
    ----------
    samples
        (n_samples,) float32, full scale at ±1; lossy codecs may overshoot it.
    sample_rate
        Samples a second, in Hz.
    """

    samples: np.ndarray
    sample_rate: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class Properties:
    """What a file says of its recording.

    Attributes
    ----------
    sample_rate
        In Hz.
    n_channels
        1 or more.
    duration_s
        Length in seconds.
    format_name
        Of the container: ``WAV``, ``FLAC``, ``OGG``, ``MP3``, ``mov`` and so on.
    """

    sample_rate: int
    n_channels: int
    duration_s: float
    format_name: str


def properties(path: str | Path) -> Properties:
    """Read what a file states of its recording; one that does not state its length is decoded to measure it.

    Raises
    ------
    AudioError
        As `decode`, for what the header shows.
    """
    with closing(_open(Path(path), None)) as source:
        duration_s = source.duration_s
        if duration_s is None:
            duration_s = sum(map(len, source.blocks())) / source.sample_rate
        return Properties(source.sample_rate, source.n_channels, duration_s, source.format_name)


def decode(
    path: str | Path, sample_rate: int | None = None, *, start_s: float = 0.0, end_s: float | None = None
) -> Waveform:
    """Read a recording, or a part of it: mean of its channels, resampled when a rate is asked for.

    The file's content says what it is, not its suffix. libsndfile reads WAV, FLAC, AIFF, Ogg Vorbis, Opus, MP3 and
    more; PyAV (`pip install 'earmark[formats]'`) what that does not know: M4A, AAC, WebM, WMA, AMR, the sound of
    videos.

    An MP3 whose header counts its frames is held to that count. One without such a header says nothing reliable of
    its length: at a constant bit rate it is read to its last whole frame, at a variable one to where libsndfile
    guesses its end. AAC and AMR files without a container say nothing of it either.

    Parameters
    ----------
    path
        The file.
    sample_rate
        In Hz; `None` keeps the file's own.
    start_s, end_s
        The part to read, in seconds from the beginning, to the nearest sample at the rate that is asked for; `None`
        reads to the end. An end may lie up to `SLACK_S` behind the recording's. What is outside is read as far as it
        is needed, so the part is the same as the slice of the whole.

    Returns
    -------
    Waveform
        At least one sample, all of them finite.

    Raises
    ------
    AudioError
        When the file is missing, empty, no audio, cut short, or holds no or non-finite samples; when the part is not
        within the recording, or shorter than a sample; when libraries that would read the format are not installed.
    ValueError
        When the start is before 0, or the end not behind the start.
    """
    part = _Part(str(path), start_s, end_s)
    with closing(_open(Path(path), sample_rate)) as source:
        target_rate = source.sample_rate if sample_rate is None else sample_rate
        pieces = list(_pieces(source, target_rate, part))
    return Waveform(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), target_rate)


def stream(
    path: str | Path,
    sample_rate: int | None = None,
    *,
    block_s: float | None = BLOCK_S,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Stream:
    """Open a recording to be read block by block, so that memory does not grow with its length.

    Parameters
    ----------
    path, sample_rate, start_s, end_s
        As in `decode`; end to end, the blocks are what that gives.
    block_s
        Length of a block in seconds, to the nearest sample; None for blocks as they are decoded, of any lengths, which
        saves copying them.

    Returns
    -------
    Stream
        To be iterated over once.

    Raises
    ------
    AudioError
        As `decode`. What the file's header shows (no audio, its end is missing, the part is not within the recording)
        is raised here; what only the samples show (non-finite ones, a file that ends before its stated length), where
        it is reached.
    ValueError
        When a block would hold no sample, the start is before 0, or the end not behind the start.

    Examples
    --------
    >>> with stream("night.flac", 32_000) as blocks:  # doctest: +SKIP
    ...     peak = max(np.abs(block).max() for block in blocks)
    """
    return Stream(Path(path), sample_rate, block_s, _Part(str(path), start_s, end_s))


class Stream(Iterator[np.ndarray]):
    """Blocks of a recording, (n_samples,) float32, all but the last of the length that was asked for; see `stream`.

    The file is closed at its end, at an error, and by `close` or the end of a `with`.

    Attributes
    ----------
    sample_rate
        Of the blocks, in Hz.
    n_channels
        Of the file, as it states them; they are averaged.
    duration_s
        Length of what is read as the file states it, in seconds, if only as an estimate; `None` where it states none.
    """

    def __init__(self, path: Path, sample_rate: int | None, block_s: float | None, part: _Part) -> None:
        self._source = _open(path, sample_rate)
        try:
            self.sample_rate = self._source.sample_rate if sample_rate is None else sample_rate
            self.n_channels = self._source.n_channels
            n_block = None if block_s is None else _block_length(block_s, self.sample_rate)
            pieces = _pieces(self._source, self.sample_rate, part)
            self._blocks = pieces if n_block is None else _in_blocks(pieces, n_block)
            self.duration_s = part.stated_duration_s(self._source.duration_s)
        except BaseException:
            self._source.close()
            raise

    def __next__(self) -> np.ndarray:
        try:
            return next(self._blocks)
        except BaseException:  # the end is one of them
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing more can be read."""
        self._blocks.close()
        self._source.close()


def check_samples(samples: np.ndarray, sample_rate: int, name: str, *, first: int = 0) -> None:
    """Raise an `AudioError` that names the first sample that is not finite, or beyond `LOUDEST`.

    Parameters
    ----------
    samples
        (n_samples,) or (n_samples, n_channels) float32, not empty.
    sample_rate
        In Hz, to say when it is.
    name
        Of the recording.
    first
        Where in the recording the samples begin.
    """
    # a NaN makes both of them NaN
    if samples.min() >= -LOUDEST and samples.max() <= LOUDEST:
        return
    bad = ~(np.abs(samples.reshape(len(samples), -1)) <= LOUDEST)
    row, channel = np.argwhere(bad)[0]
    value = samples.reshape(len(samples), -1)[row, channel]
    position = first + row
    raise AudioError(
        f"{name}: sample {position} ({position / sample_rate:.3f} s) is {value:g}; expected finite numbers with full "
        "scale at ±1; export it again, as integers"
    )


@dataclass(frozen=True)
class _Part:
    """From where to where a recording is wanted, in seconds."""

    name: str
    start_s: float
    end_s: float | None

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < inf:
            raise ValueError(f"start_s={self.start_s}; expected a number of seconds, 0 at the least")
        if self.end_s is not None and not self.start_s < self.end_s < inf:
            raise ValueError(f"end_s={self.end_s}; expected a number of seconds above start_s={self.start_s}")

    def bounds(self, sample_rate: int) -> tuple[int, int | None]:
        """First sample at a rate, and the one behind the last."""
        first = round(self.start_s * sample_rate)
        stop = None if self.end_s is None else round(self.end_s * sample_rate)
        if first == stop:
            raise AudioError(
                f"{self.name}: from start_s={self.start_s} to end_s={self.end_s} there is no sample at {sample_rate} "
                "Hz; expected at least one; give a later end"
            )
        return first, stop

    def check(self, n_samples: int, sample_rate: int) -> None:
        """Raise an `AudioError` when this is no part of a recording of so many samples at a rate."""
        if not n_samples:
            raise AudioError(f"{self.name}: holds no samples; expected at least one; record or export it again")
        first, _ = self.bounds(sample_rate)
        duration_s = n_samples / sample_rate
        if first >= n_samples:
            raise AudioError(
                f"{self.name}: start_s={self.start_s} is not before the end of the recording at {duration_s:.3f} s; "
                "give an earlier start"
            )
        if self.end_s is not None and self.end_s > duration_s + SLACK_S:
            raise AudioError(
                f"{self.name}: end_s={self.end_s} is behind the end of the recording at {duration_s:.3f} s; "
                "give an earlier end, or none"
            )

    def stated_duration_s(self, whole_s: float | None) -> float | None:
        """Length of this part in seconds, of a recording whose header states its length."""
        if whole_s is None:
            return None
        return max(0.0, (whole_s if self.end_s is None else min(self.end_s, whole_s)) - self.start_s)


def _open(path: Path, sample_rate: int | None) -> Source:
    if sample_rate is not None:
        check_rate(sample_rate)
    try:
        _check_file(path)
        return sndfile.SndfileSource(path)
    except UnicodeEncodeError as error:
        raise AudioError(f"{str(path)!r}: its name is not UTF-8; rename the file") from error
    except sndfile.UnknownFormatError as error:
        return pyav.PyavSource(path, str(error))
    except OSError as error:  # a name too long, a file that may not be read
        raise unreadable(path, str(error)) from error


def _check_file(path: Path) -> None:
    if not path.exists():
        raise AudioError(f"{path}: no such file; check the spelling and the folder")
    status = path.stat()
    if S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: is a folder; a recording was expected")
    if status.st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes); fetch or export it again")


def _pieces(source: Source, sample_rate: int, part: _Part) -> Generator[np.ndarray, None, None]:
    """Check a part by what the header states; give it as mono samples, in pieces of any length but 0."""
    if source.n_samples is not None:
        part.check(resampled_length(source.n_samples, source.sample_rate, sample_rate), sample_rate)
    start, stop = _needed(*part.bounds(sample_rate), source.sample_rate, sample_rate)
    start = source.seek(start)
    resampler = StreamResampler(source.sample_rate, sample_rate)
    resampled = _resampled(_mono(source, start, stop, part.name), resampler)
    return _within(part, resampled, start * sample_rate // source.sample_rate, sample_rate)


def _needed(first: int, stop: int | None, rate: int, target_rate: int) -> tuple[int, int | None]:
    """Which samples of a file are needed for those from `first` to `stop` at the target rate.

    They reach as far to both sides as the filter does, and begin where samples of both rates coincide, so that what
    is made of them is the same as from the whole file.
    """
    if rate == target_rate:
        return first, stop
    lead = LEAD * rate // min(rate, target_rate)
    step = rate // gcd(rate, target_rate)
    start = max(0, first * rate // target_rate - lead) // step * step
    return start, None if stop is None else stop * rate // target_rate + lead


def _mono(source: Source, position: int, stop: int | None, name: str) -> Iterator[np.ndarray]:
    """Check the samples from `position`, where the source is, to `stop`, and average their channels."""
    for block in source.blocks():
        needed = block if stop is None else block[: stop - position]
        if len(needed):
            check_samples(needed, source.sample_rate, name, first=position)
            position += len(needed)
            yield _mean(needed)
        if stop is not None and position >= stop:
            return


def _mean(block: np.ndarray) -> np.ndarray:
    """Mean of (n_samples, n_channels); several times as fast as NumPy's over so short an axis."""
    total = block[:, 0]
    for channel in range(1, block.shape[1]):
        total = total + block[:, channel]
    return total if block.shape[1] == 1 else total / np.float32(block.shape[1])


def _resampled(blocks: Iterable[np.ndarray], resampler: StreamResampler) -> Iterator[np.ndarray]:
    held = np.zeros(0, dtype=np.float32)
    for block in blocks:
        if len(held):
            yield resampler.push(held)
        held = block
    yield resampler.push(held, last=True)


def _within(
    part: _Part, blocks: Iterable[np.ndarray], position: int, sample_rate: int
) -> Generator[np.ndarray, None, None]:
    """Keep what belongs to a part, of blocks the first of which begins at `position`."""
    first, stop = part.bounds(sample_rate)
    for block in blocks:
        wanted = block[max(0, first - position) : None if stop is None else stop - position]
        position += len(block)
        if len(wanted):
            yield wanted
        if stop is not None and position >= stop:
            return
    part.check(position, sample_rate)


def _block_length(block_s: float, sample_rate: int) -> int:
    if not 1 / sample_rate <= block_s < inf:
        raise ValueError(f"block_s={block_s}; expected a number of seconds, at least a sample of {sample_rate} Hz")
    return round(block_s * sample_rate)


def _in_blocks(pieces: Iterable[np.ndarray], n_block: int) -> Generator[np.ndarray, None, None]:
    """Cut and join pieces to blocks of `n_block` samples; the last one may be shorter."""
    held: list[np.ndarray] = []
    n_held = 0
    for piece in pieces:
        while n_held + len(piece) >= n_block:
            n_taken = n_block - n_held
            yield np.concatenate([*held, piece[:n_taken]]) if held else piece[:n_taken]
            held, n_held, piece = [], 0, piece[n_taken:]
        if len(piece):
            held.append(piece)
            n_held += len(piece)
    if held:
        yield np.concatenate(held)
