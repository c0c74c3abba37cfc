"""Whether a file of sound is as long as it says; libsndfile reads most shortened files without a word."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

UNKNOWN_SIZES = frozenset({0, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF})
"""What programs that write to a pipe (sox, arecord, ffmpeg) leave where a chunk's size belongs, in bytes."""

OGG_END_OF_STREAM = 0x04
OGG_HEADER_BYTES = 27
OGG_LONGEST_PAGE_BYTES = OGG_HEADER_BYTES + 255 + 255 * 255

MP3_SEARCHED_BYTES = 4096
"""The first frame, with its Xing header, begins well within this."""

ASF, ASF_DATA = b"\x30\x26\xb2\x75", bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
"""What the names of its first object and of the one with the samples begin with."""

AMR = b"#!AM"


@dataclass(frozen=True)
class ChunkLayout:
    """How a container says how long its chunks are: a name, a size, the content.

    Attributes
    ----------
    first
        Where the first chunk begins, in bytes.
    name_bytes
        Length of a chunk's name.
    size
        How a chunk's size is written.
    data
        What the name of the chunk with the samples begins with.
    counts_header
        Whether a size includes the name and the size itself.
    alignment
        Chunks begin at multiples of this, in bytes.
    """

    first: int
    name_bytes: int
    size: struct.Struct
    data: bytes
    counts_header: bool = False
    alignment: int = 2


LAYOUTS = {
    b"RIFF": ChunkLayout(12, 4, struct.Struct("<I"), b"data"),
    b"RIFX": ChunkLayout(12, 4, struct.Struct(">I"), b"data"),
    b"RF64": ChunkLayout(12, 4, struct.Struct("<I"), b"data"),
    b"FORM": ChunkLayout(12, 4, struct.Struct(">I"), b"SSND"),
    b"caff": ChunkLayout(8, 4, struct.Struct(">Q"), b"data", alignment=1),
    b"riff": ChunkLayout(40, 16, struct.Struct("<Q"), b"data", counts_header=True, alignment=8),
    ASF: ChunkLayout(0, 16, struct.Struct("<Q"), ASF_DATA, counts_header=True, alignment=1),
}
"""By a file's first four bytes: WAV, big-endian WAV, RF64, AIFF, CAF, Wave64, ASF (WMA)."""

BOXES = frozenset({b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide"})
"""What MP4 and QuickTime files begin with and mostly consist of."""

EBML, MATROSKA_SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
LONGEST_VINT_BYTES = 8


def why_cut_short(path: Path) -> str:
    """Say what shows that the end of a file is missing, or ``""`` when nothing does.

    Known are the chunks of WAV, RF64, Wave64, AIFF, CAF and ASF, the header of AU, the boxes of MP4 (ISO 14496-12,
    section 4.2), the segment of Matroska and WebM (RFC 8794, section 4), and the end-of-stream mark of Ogg (RFC 3533,
    section 6).
    """
    with path.open("rb") as file:
        head = file.read(8)
        magic = head[:4]
        file.seek(len(magic))
        if magic == b"OggS":
            return _ogg(file)
        if head[4:] in BOXES:
            found = _last_box(file)
        elif magic == EBML:
            found = _segment(file)
        else:
            found = _au_samples(file) if magic == b".snd" else _data_chunk(file, magic)
        if found is None:
            return ""
        start, promised = found
        present = max(0, file.seek(0, 2) - start)
    if promised in UNKNOWN_SIZES or promised >= 1 << 63 or promised <= present:
        return ""
    what = "bytes" if magic == EBML or head[4:] in BOXES else "bytes of samples"
    return f"its header promises {promised} {what}, {present} are there"


def is_media(path: Path) -> bool:
    """Whether a file begins as MP4, QuickTime, Matroska, WebM, ASF (WMA) or AMR do."""
    with path.open("rb") as file:
        head = file.read(8)
    return head[4:] in BOXES or head[:4] in {EBML, ASF, AMR}


def mp3_states_length(path: Path) -> bool:
    """Whether an MP3 begins with a Xing or Info header that counts its frames; without, its length is a guess."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":  # seven bits a byte
            file.seek(10 + sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:10]))))
        else:
            file.seek(0)
        first = file.read(MP3_SEARCHED_BYTES)
    at = max(first.find(b"Xing"), first.find(b"Info"))
    if at < 0:
        return False
    flags, n_frames = (int.from_bytes(first[at + i : at + i + 4], "big") for i in (4, 8))
    return bool(flags & 1) and n_frames > 0


def _data_chunk(file: BinaryIO, magic: bytes) -> tuple[int, int] | None:
    """Where the samples begin, and how many bytes of them there should be."""
    if magic not in LAYOUTS:
        return None
    layout = LAYOUTS[magic]
    position = layout.first
    header_bytes = layout.name_bytes + layout.size.size
    while True:
        file.seek(position)
        header = file.read(header_bytes)
        if len(header) < header_bytes:
            return None
        size = layout.size.unpack(header[layout.name_bytes :])[0] - (header_bytes if layout.counts_header else 0)
        if header.startswith(layout.data):
            return position + header_bytes, (_rf64_size(file) or size) if magic == b"RF64" else size
        position += header_bytes + max(0, size)
        position += -position % layout.alignment


def _au_samples(file: BinaryIO) -> tuple[int, int] | None:
    """The same from the header of an AU file, behind its first four bytes."""
    head = file.read(8)
    return (int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")) if len(head) == 8 else None


def _rf64_size(file: BinaryIO) -> int | None:
    """Size of the samples by the chunk `ds64`, which stands first in an RF64 file; `None` when it does not."""
    file.seek(LAYOUTS[b"RF64"].first)
    head = file.read(24)
    return struct.unpack("<Q", head[16:])[0] if head[:4] == b"ds64" and len(head) == 24 else None


def _last_box(file: BinaryIO) -> tuple[int, int] | None:
    """Where the last box of an MP4 file begins behind its header, and how many bytes it should have."""
    length = file.seek(0, 2)
    position = 0
    found = None
    while position < length:
        file.seek(position)
        header = file.read(16)
        size, n_header = int.from_bytes(header[:4], "big"), 8
        if size == 1:
            size, n_header = int.from_bytes(header[8:], "big"), 16
        if size < n_header:  # 0: to the end of the file
            return found
        if header[4:8] in BOXES:  # anything else may be something strange behind the end
            found = position + n_header, size - n_header
        position += size
    return found


def _segment(file: BinaryIO) -> tuple[int, int] | None:
    """The same for the segment of a Matroska file, behind the first four bytes; `None` when its size is unknown."""
    head_size = _vint(file)
    if head_size is None:
        return None
    file.seek(head_size, 1)
    size = _vint(file) if file.read(4) == MATROSKA_SEGMENT else None
    return None if size is None else (file.tell(), size)


def _vint(file: BinaryIO) -> int | None:
    """A number whose leading zeros count its bytes; `None` for one that is all ones, which says unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    n_more = LONGEST_VINT_BYTES - first[0].bit_length()
    rest = file.read(n_more)
    all_ones = (1 << 7 * (n_more + 1)) - 1
    value = int.from_bytes(first + rest, "big") & all_ones
    return None if value == all_ones or len(rest) < n_more else value


def _ogg(file: BinaryIO) -> str:
    length = file.seek(0, 2)
    file.seek(max(0, length - 2 * OGG_LONGEST_PAGE_BYTES))
    tail = file.read()
    page = tail[tail.rfind(b"OggS\0") :]
    if len(page) >= OGG_HEADER_BYTES and page[5] & OGG_END_OF_STREAM:
        n_segments = page[26]
        segments = page[OGG_HEADER_BYTES : OGG_HEADER_BYTES + n_segments]
        if len(segments) == n_segments and len(page) >= OGG_HEADER_BYTES + n_segments + sum(segments):
            return ""
    return "its last page is broken off, or not marked as the end"
