"""What is wrong with a clip's file and its samples, found in one pass that also makes its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from earmark.audio.decode import SUFFIXES, stream
from earmark.audio.resample import StreamResampler
from earmark.data.check.landmarks import SAMPLE_RATE, fingerprint
from earmark.data.manifest import Clip, Manifest
from earmark.data.problem import Problem
from earmark.errors import AudioError

SILENT = 1e-4
"""Peaks below this are silence: 80 dB below full scale."""

CELL_S = 0.01
"""Silence within a clip is looked for in steps of so many seconds."""

MOSTLY = 0.5
"""Share of a clip from which on it is mostly silent."""

FULL_SCALE = 1 - 1.5 / 32_768
"""From here on a sample is at full scale, which is 32,767 of 32,768 in 16 bits."""

FLAT = 1.5 / 32_768
"""Samples that differ by no more lie on one level."""

FLAT_RUN = 3
"""Samples at full scale on one level that make it flat."""

STEEP = 16 / 32_768
"""Clipping cuts a wave off on its way: it comes to full scale in a step, where a loud low tone comes smoothly."""

CLIPPED_RUNS, CLIPPED_SHARE = 3, 1e-4
"""From so many flat tops, and so large a share of its samples, a clip is clipped."""

SHORT_S = 0.1
"""Clips that are shorter hold hardly anything that could be learned."""

DURATION_SLACK_S = 0.1
"""By so much may a clip's length differ from what its table says."""

WHOLE_S = 120.0
"""Clips up to this length are held whole for comparison with others, in seconds."""

KIND_OF_TEXT = {"cut short": "cut short", "expected finite numbers": "not finite", "holds no samples": "empty file"}
"""What the decoder's message says, and the kind of problem that it is."""


@dataclass(frozen=True)
class Inspection:
    """What one pass over a clip gives.

    Attributes
    ----------
    problems
        What is wrong with the file and its samples.
    is_usable
        Whether there is sound in it to be compared with other clips.
    duration_s
        Length in seconds; 0 when it cannot be read.
    digest
        Of the length, the sample rate and the mono samples, rounded to 16 bits: the same in WAV and in FLAC.
    codes, frames
        The fingerprint; see `landmarks.fingerprint`.
    samples
        (n_samples,) float32 at the rate of fingerprints, of a clip up to `WHOLE_S`; of a longer one none.
    """

    problems: tuple[Problem, ...]
    is_usable: bool = False
    duration_s: float = 0.0
    digest: str = ""
    codes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint32))
    frames: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    samples: np.ndarray | None = None


def missing_or_empty(clips: Iterable[Clip]) -> list[Problem]:
    """The clips whose file is not there, or has no bytes; nothing is decoded."""
    problems = []
    for clip in clips:
        if not clip.path.is_file():
            said = f"'{clip.name}': its file is not there; fetch it, correct the path, or remove its row"
            problems.append(Problem("missing file", (clip.name,), said))
        elif clip.path.stat().st_size == 0:
            said = f"'{clip.name}': the file is empty (0 bytes); fetch or export it again"
            problems.append(Problem("empty file", (clip.name,), said))
    return problems


def surplus(listed: Manifest, known: Iterable[str] = ()) -> list[Problem]:
    """Recordings in the collection's folders of audio that no table lists.

    Parameters
    ----------
    listed
        All clips of the tables. Folders that hold some of them are searched with all below them, the collection's own
        folder without.
    known
        Names of clips that the tables list, though the manifest does not.

    Returns
    -------
    list of Problem
        One a file, in the order of their paths.
    """
    expected = {clip.path for clip in listed.clips}
    names = {Path(name).name for name in known}
    found = {path for path in _recordings(listed) if path not in expected and path.name not in names}
    problems = []
    for path in sorted(found):
        name = path.relative_to(listed.root).as_posix() if path.is_relative_to(listed.root) else path.name
        said = f"'{name}': is in no table; add a row, or move the file away"
        problems.append(Problem("surplus file", (name,), said, "warning"))
    return problems


def _recordings(listed: Manifest) -> Iterator[Path]:
    for folder in sorted({clip.path.parent for clip in listed.clips}):
        pattern = "*" if folder == listed.root else "**/*"
        for path in folder.glob(pattern):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
                yield path


def inspect(clip: Clip) -> Inspection:
    """Decode a clip once, block by block, and say what is wrong with it.

    Parameters
    ----------
    clip
        Its file need not be readable: that is a problem, too.

    Returns
    -------
    Inspection
        With problems, fingerprint and digest.
    """
    measured = _Measured()
    try:
        with stream(clip.path) as blocks:
            codes, frames = fingerprint(measured.through(blocks, blocks.sample_rate))
    except AudioError as error:
        return Inspection((_unreadable(clip, str(error)),))
    problems = _problems(clip, measured)
    is_usable = not any(problem.severity == "error" for problem in problems)
    samples = np.concatenate(measured.pieces) if is_usable and measured.pieces else None
    return Inspection(tuple(problems), is_usable, measured.duration_s, measured.digest, codes, frames, samples)


class _Measured:
    """What is counted while the blocks of a recording pass by."""

    def __init__(self) -> None:
        self.n_samples, self.sample_rate = 0, 1
        self.lowest, self.highest = np.inf, -np.inf
        self.n_silent = self.n_clipped = self.n_flat_tops = 0
        self.pieces: list[np.ndarray] = []
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate

    @property
    def digest(self) -> str:
        whole = self._hash.copy()
        whole.update(f"{self.n_samples} {self.sample_rate}".encode())
        return whole.hexdigest()

    def through(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
        """Measure the blocks, and give them on at the rate of fingerprints."""
        self.sample_rate = sample_rate
        resampler = StreamResampler(sample_rate, SAMPLE_RATE)
        held: np.ndarray | None = None  # one block, to know which is the last
        for block in blocks:
            self._measure(block)
            if held is not None:
                yield self._kept(resampler.push(held))
            held = block
        if held is not None:
            yield self._kept(resampler.push(held, last=True))

    def _kept(self, piece: np.ndarray) -> np.ndarray:
        self.pieces = [*self.pieces, piece] if self.duration_s <= WHOLE_S else []
        return piece

    def _measure(self, block: np.ndarray) -> None:
        self.n_samples += len(block)
        self.lowest, self.highest = min(self.lowest, float(block.min())), max(self.highest, float(block.max()))
        self._hash.update(np.clip(np.rint(block * 32_768), -32_768, 32_767).astype("<i2").tobytes())
        n_cell = max(1, round(CELL_S * self.sample_rate))
        cells = np.maximum.reduceat(np.abs(block), np.arange(0, len(block), n_cell))
        self.n_silent += min(len(block), int((cells < SILENT).sum()) * n_cell)
        n_flat_tops, n_clipped = _clipped(block)
        self.n_flat_tops, self.n_clipped = self.n_flat_tops + n_flat_tops, self.n_clipped + n_clipped


def _clipped(samples: np.ndarray) -> tuple[int, int]:
    """Number of flat tops at full scale, and of the samples in them."""
    level = np.abs(samples)
    is_full = level >= FULL_SCALE
    if np.count_nonzero(is_full) < FLAT_RUN:
        return 0, 0
    goes_on = is_full[1:] & is_full[:-1] & (np.abs(np.diff(samples)) <= FLAT)
    edges = np.flatnonzero(np.diff(goes_on, prepend=False, append=False))
    first, last = edges[::2], edges[1::2]
    before = np.where(first > 0, level[first] - level[first - 1], 0)
    after = np.where(last < len(level) - 1, level[last] - level[np.minimum(last + 1, len(level) - 1)], 0)
    is_top = (last - first + 1 >= FLAT_RUN) & (np.maximum(before, after) >= STEEP)
    return int(is_top.sum()), int((last - first + 1)[is_top].sum())


def _unreadable(clip: Clip, said: str) -> Problem:
    kind = next((kind for text, kind in KIND_OF_TEXT.items() if text in said), "unreadable file")
    return Problem(kind, (clip.name,), said.replace(str(clip.path), f"'{clip.name}'"))


def _problems(clip: Clip, measured: _Measured) -> list[Problem]:
    problems = [*_silence(clip, measured), *_duration(clip, measured)]
    share = measured.n_clipped / measured.n_samples
    if measured.n_flat_tops >= CLIPPED_RUNS and share >= CLIPPED_SHARE:
        said = (
            f"{measured.n_flat_tops} tops are cut off at full scale, {share:.2%} of the samples; "
            "fetch a version that was recorded less loud, or keep it as it is"
        )
        problems.append(Problem("clipped", (clip.name,), f"'{clip.name}': {said}", "warning"))
    return problems


def _silence(clip: Clip, measured: _Measured) -> list[Problem]:
    peak, swing = max(-measured.lowest, measured.highest), (measured.highest - measured.lowest) / 2
    remedy = "export it again, or leave it out"
    if peak < SILENT:
        level = "all samples are 0" if peak == 0 else f"its peak is {20 * np.log10(peak):.0f} dB of full scale"
        return [Problem("silent", (clip.name,), f"'{clip.name}': {level}, expected sound; {remedy}")]
    if swing < SILENT:
        said = f"all samples are about {(measured.highest + measured.lowest) / 2:.3g}, a constant and no sound"
        return [Problem("constant", (clip.name,), f"'{clip.name}': {said}; {remedy}")]
    share = measured.n_silent / measured.n_samples
    if share >= MOSTLY:
        said = f"{share:.0%} of its {measured.duration_s:.2f} s are silent; cut the silence off, or keep it as it is"
        return [Problem("mostly silent", (clip.name,), f"'{clip.name}': {said}", "warning")]
    return []


def _duration(clip: Clip, measured: _Measured) -> list[Problem]:
    problems = []
    if measured.duration_s < SHORT_S:
        said = f"'{clip.name}': lasts {measured.duration_s:.3f} s, expected {SHORT_S} s or more; is it whole?"
        problems.append(Problem("very short", (clip.name,), said, "warning"))
    if clip.duration_s is not None and abs(clip.duration_s - measured.duration_s) > DURATION_SLACK_S:
        said = (
            f"'{clip.name}': lasts {measured.duration_s:.2f} s, but its table says {clip.duration_s:.2f} s; "
            "correct the table, or fetch the file again"
        )
        problems.append(Problem("wrong duration", (clip.name,), said, "warning"))
    return problems
