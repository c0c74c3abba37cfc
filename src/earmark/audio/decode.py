"""Any file to a mono waveform at the rate that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from earmark.audio.containers import mp3_states_length, why_cut_short
from earmark.errors import AudioError

SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"}
)
"""What a folder is searched for; a file named outright is tried whatever its suffix."""

LOUDEST = 1e12
"""Samples beyond this are no sound (full scale is 1), and float32 cannot hold their power spectrum."""

FRAMES_PER_READ = 1 << 20
"""Read at a time, so that memory goes by what a file holds and not by what its header promises."""

UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives more frames than this for a stream that does not say how long it is."""

MPEG_WITHOUT_FRAMES = 7
"""libsndfile's code for a file without a single MPEG frame; its text says that the file does not exist."""


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


def decode(path: str | Path, sample_rate: int | None = None) -> Waveform:
    """Read a recording whole: mean of its channels, resampled when a rate is asked for.

    An MP3 whose header counts its frames is held to that count. One without such a header says nothing reliable of
    its length: at a constant bit rate it is read to its last whole frame, at a variable one to where libsndfile
    guesses its end.

    Parameters
    ----------
    path
        WAV, FLAC, AIFF, Ogg Vorbis, Opus, MP3, or anything else that libsndfile reads.
    sample_rate
        In Hz; `None` keeps the file's own.

    Returns
    -------
    Waveform
        At least one sample, all of them finite.

    Raises
    ------
    AudioError
        When the file is missing, empty, no audio, cut short, or holds no or non-finite samples.
    """
    path = Path(path)
    samples, own_rate = _read(path)
    if not len(samples):
        raise AudioError(f"{path}: holds no samples; expected at least one; record or export it again")
    check_samples(samples, own_rate, str(path))
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    target_rate = own_rate if sample_rate is None else sample_rate
    return Waveform(resample(mono, own_rate, target_rate), target_rate)


def check_samples(samples: np.ndarray, sample_rate: int, name: str) -> None:
    """Raise an `AudioError` that names the first sample that is not finite, or beyond `LOUDEST`.

    Parameters
    ----------
    samples
        (n_samples,) or (n_samples, n_channels) float32, not empty.
    sample_rate
        In Hz, to say when it is.
    name
        Of the recording.
    """
    # a NaN makes both of them NaN
    if samples.min() >= -LOUDEST and samples.max() <= LOUDEST:
        return
    bad = ~(np.abs(samples.reshape(len(samples), -1)) <= LOUDEST)
    position, channel = np.argwhere(bad)[0]
    value = samples.reshape(len(samples), -1)[position, channel]
    raise AudioError(
        f"{name}: sample {position} ({position / sample_rate:.3f} s) is {value:g}; expected finite numbers with full "
        "scale at ±1; export it again, as integers"
    )


def resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """Change the rate of (n_samples,) float32 samples, from `rate` to `target_rate` Hz, by soxr at high quality.

    The result has ``ceil(n_samples * target_rate / rate)`` samples, one at the least. `AudioError` when a rate is not
    a whole number above 0.
    """
    for hz in (rate, target_rate):
        if not _is_rate(hz):
            raise AudioError(f"the sample rate is {hz!r} Hz; expected a whole number above 0, such as 44100")
    if rate == target_rate:
        return np.ascontiguousarray(samples, dtype=np.float32)
    resampled = soxr.resample(np.asarray(samples, dtype=np.float32), rate, target_rate, quality="HQ")
    n_expected = -(-len(samples) * target_rate // rate)
    # soxr rounds the length to the nearest sample, which is none for the shortest clips
    return np.pad(resampled[:n_expected], (0, max(0, n_expected - len(resampled))))


def _is_rate(hz: object) -> bool:
    return isinstance(hz, int | np.integer) and bool(hz > 0)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Read without seeking after each block, which fails at the end of a FLAC that does not say how long it is."""

    def seekable(self) -> bool:
        return False


def _read(path: Path) -> tuple[np.ndarray, int]:
    try:
        _check_file(path)
        with _Sequential(path) as file:
            n_promised, samples, rate = file.frames, _all_samples(file), file.samplerate
            guessed = n_promised > UNKNOWN_FRAMES or (file.format == "MP3" and not mp3_states_length(path))
        missing = why_cut_short(path)
    except UnicodeEncodeError as error:
        raise AudioError(f"{str(path)!r}: its name is not UTF-8; rename the file") from error
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: headerless .raw
        raise AudioError(
            f"{path}: cannot be read as audio ({_reason(error)}); is it a recording, and whole?"
        ) from error
    if not missing and not guessed and len(samples) < n_promised:
        missing = f"its header promises {n_promised} samples, {len(samples)} are there"
    if missing:
        raise AudioError(f"{path}: cut short: {missing}; fetch or export it again")
    return samples, rate


def _check_file(path: Path) -> None:
    if not path.exists():
        raise AudioError(f"{path}: no such file; check the spelling and the folder")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder; a recording was expected")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes); fetch or export it again")


def _all_samples(file: soundfile.SoundFile) -> np.ndarray:
    n_at_once = min(FRAMES_PER_READ, max(1, file.frames))
    blocks: list[np.ndarray] = []
    n_read = 0
    while n_read < file.frames or not blocks:
        blocks.append(file.read(n_at_once, dtype="float32", always_2d=True))
        n_read += len(blocks[-1])
        if len(blocks[-1]) < n_at_once:
            break
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _reason(error: Exception) -> str:
    if not isinstance(error, soundfile.LibsndfileError):
        return str(error)
    if error.code == MPEG_WITHOUT_FRAMES:
        return "Format not recognised"
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
