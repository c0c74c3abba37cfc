"""Tags in files' own metadata: every format, what stays as it was, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

mutagen = pytest.importorskip("mutagen")

from mutagen.id3 import COMM, ID3, TCON, TIT2, TXXX  # noqa: E402

from earmark.audio.decode import decode  # noqa: E402
from earmark.errors import AudioError, MissingExtraError  # noqa: E402
from earmark.tagging.metadata import FIELD, Change, check_installed, values_of, write_tags  # noqa: E402
from earmark.tagging.tagger import Tag  # noqa: E402

TAGS = [Tag("Bark", 0.976, 0.0, 1.0), Tag("Größe", 0.5, 0.0, 1.0)]
VALUES = ["Bark:0.98", "Größe:0.50"]

FORMATS = ("wav", "aiff", "flac", "ogg", "opus", "mp3", "m4a")
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write half a second of noise in a format: `make("flac")`."""

    def write(kind: str, name: str = "a") -> Path:
        path = tmp_path / f"{name}.{kind}"
        noise = np.random.default_rng(0).standard_normal(24_000) / 8
        if kind == "m4a":
            return _write_m4a(path, noise)
        subtype = {"ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}.get(kind, (None, None))
        soundfile.write(path, noise, 48_000, format=subtype[0], subtype=subtype[1])
        return path

    return write


def _write_m4a(path: Path, noise: np.ndarray) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def payload(path: Path) -> str:
    """Hash of the bytes that hold the sound, found by the formats' own structure."""
    find = {".wav": riff_sound, ".aiff": iff_sound, ".flac": flac_sound, ".mp3": mp3_sound, ".m4a": mp4_sound}
    found = find.get(path.suffix, ogg_sound)(path.read_bytes())
    assert len(found) > 500
    return hashlib.sha256(found).hexdigest()


def riff_sound(content: bytes, order: str = "<I", name: bytes = b"data") -> bytes:
    found, position = b"", 12
    while position + 8 <= len(content):
        (size,) = struct.unpack(order, content[position + 4 : position + 8])
        if content[position : position + 4] == name:
            found += content[position + 8 : position + 8 + size]
        position += 8 + size + size % 2
    return found


def iff_sound(content: bytes) -> bytes:
    return riff_sound(content, ">I", b"SSND")


def flac_sound(content: bytes) -> bytes:
    position, last = 4, False
    while not last:
        last = bool(content[position] & 0x80)
        position += 4 + int.from_bytes(content[position + 1 : position + 4])
    return content[position:]


def mp3_sound(content: bytes) -> bytes:
    if not content.startswith(b"ID3"):
        return content
    return content[10 + sum(byte << 7 * (3 - i) for i, byte in enumerate(content[6:10])) :]


def mp4_sound(content: bytes) -> bytes:
    found, position = b"", 0
    while position + 8 <= len(content):
        (size,) = struct.unpack(">I", content[position : position + 4])
        if content[position + 4 : position + 8] == b"mdat":
            found += content[position + 8 : position + size]
        position += size
    return found


def ogg_sound(content: bytes) -> bytes:
    """Segments of all pages but those of the headers, which have no position."""
    found, position = b"", 0
    while position < len(content):
        n_segments = content[position + 26]
        begin = position + 27 + n_segments
        end = begin + sum(content[position + 27 : begin])
        if content[position + 6 : position + 14] not in {bytes(8), b"\xff" * 8}:
            found += content[begin:end]
        position = end
    return found


def sound(path: Path) -> str:
    return hashlib.sha256(decode(path).samples.tobytes()).hexdigest()


def field(path: Path) -> list[str]:
    tags: Any = mutagen.File(path).tags
    if tags is None:
        return []
    for key in (FIELD, f"TXXX:{FIELD}", f"----:com.apple.iTunes:{FIELD}"):
        if key in tags:
            values = tags[key]
            return [bytes(v).decode() if isinstance(v, bytes) else str(v) for v in getattr(values, "text", values)]
    return []


class TestValues:
    def test_a_label_once_with_its_best_score(self) -> None:
        events = [Tag("Wind", 0.25, 0, 9), Tag("Bark", 0.4, 0, 1), Tag("Bark", 0.976, 3, 4)]
        assert values_of(events) == ["Bark:0.98", "Wind:0.25"]

    def test_none(self) -> None:
        assert values_of([]) == []

    def test_in_words(self) -> None:
        assert str(Change([], ["Bark:0.98", "Wind:0.25"])) == "EARMARK_TAG (none) -> Bark:0.98, Wind:0.25"
        assert str(Change(["Bark:0.98"], [])) == "EARMARK_TAG Bark:0.98 -> (none)"
        assert str(Change(["Bark:0.98"], ["Bark:0.98"])) == "EARMARK_TAG stays Bark:0.98"


@pytest.mark.parametrize("kind", FORMATS)
class TestFormats:
    def test_values_are_there_and_the_sound_is_untouched(self, make: Make, kind: str) -> None:
        path = make(kind)
        before = payload(path), sound(path)
        assert write_tags(path, TAGS) == Change([], VALUES)
        assert field(path) == VALUES
        assert (payload(path), sound(path)) == before
        assert [other.name for other in path.parent.iterdir()] == [path.name]

    def test_a_second_time_nothing_is_written(self, make: Make, kind: str) -> None:
        path = make(kind)
        write_tags(path, TAGS)
        content, status = path.read_bytes(), path.stat()
        assert not write_tags(path, TAGS)
        assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == (
            content,
            status.st_mtime_ns,
            status.st_ino,
        )

    def test_others_replace_them_and_none_removes_them(self, make: Make, kind: str) -> None:
        path = make(kind)
        before = payload(path)
        write_tags(path, TAGS)
        assert write_tags(path, [Tag("Wind", 1.0, 0.0, 1.0)]) == Change(VALUES, ["Wind:1.00"])
        assert field(path) == ["Wind:1.00"]
        assert write_tags(path, []) == Change(["Wind:1.00"], [])
        assert field(path) == []
        assert payload(path) == before

    def test_a_dry_run_says_what_would_change(self, make: Make, kind: str) -> None:
        path = make(kind)
        content, time = path.read_bytes(), path.stat().st_mtime_ns
        assert write_tags(path, TAGS, dry_run=True) == Change([], VALUES)
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, time)


class TestWhatIsThere:
    @pytest.mark.parametrize("kind", ["flac", "ogg", "opus"])
    def test_comments_of_others_stay(self, make: Make, kind: str) -> None:
        path = make(kind)
        file: Any = mutagen.File(path)
        if file.tags is None:
            file.add_tags()
        file.tags["KEYWORDS"], file.tags["GENRE"] = ["dog", "night"], ["field"]
        file.save()
        write_tags(path, TAGS)
        tags: Any = mutagen.File(path).tags
        assert (tags["KEYWORDS"], tags["GENRE"]) == (["dog", "night"], ["field"])

    @pytest.mark.parametrize("version", [3, 4])
    @pytest.mark.parametrize("kind", ["mp3", "wav", "aiff"])
    def test_frames_of_others_stay_in_their_version(self, make: Make, kind: str, version: int) -> None:
        path = make(kind)
        file: Any = mutagen.File(path)
        if file.tags is None:
            file.add_tags()
        frames = [TIT2(3, ["Hund"]), TCON(3, ["field"]), COMM(3, "eng", "", ["at night"]), TXXX(3, "KEYWORDS", ["dog"])]
        for frame in frames:
            file.tags.add(frame)
        if version == 3:
            file.tags.update_to_v23()
        file.save(v2_version=version, **({"v1": 0} if kind == "mp3" else {}))
        write_tags(path, TAGS)
        tags: Any = mutagen.File(path).tags
        assert tags.version[:2] == (2, version)
        assert [str(tags[key]) for key in ("TIT2", "TCON", "COMM::eng", "TXXX:KEYWORDS")] == [
            *("Hund", "field", "at night", "dog")
        ]
        assert field(path) == VALUES

    def test_an_id3v1_stays_byte_for_byte(self, make: Make) -> None:
        path = make("mp3")
        old = b"TAG" + b"Title".ljust(30, b" ") + b"Artist".ljust(30, b"\0") + bytes(60) + b"1999 "
        old = old[:128].ljust(128, b"\x11")
        path.write_bytes(path.read_bytes() + old)
        write_tags(path, TAGS)
        assert path.read_bytes().endswith(old)
        assert str(ID3(path, load_v1=False)["TIT2"]) == "Title"  # players that read the newer one alone still find it

    def test_an_mp3_that_states_no_length(self, make: Make) -> None:
        path = make("mp3")
        content = path.read_bytes()
        path.write_bytes(content[content.index(content[:2], 100) :])  # without the frame that counts the others
        before = payload(path)
        write_tags(path, TAGS)
        assert (field(path), payload(path)) == (VALUES, before)

    def test_chunks_of_a_broadcast_wave_stay(self, make: Make) -> None:
        path = make("wav")
        content = path.read_bytes()
        bext = b"bext" + struct.pack("<I", 602) + b"described".ljust(602, b"\0")
        info = b"LIST" + struct.pack("<I", 16) + b"INFOIKEY" + struct.pack("<I", 4) + b"dog\0"
        path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8 + 610 + 24) + content[8:] + bext + info)
        write_tags(path, TAGS)
        assert bext in path.read_bytes()
        assert info in path.read_bytes()
        assert field(path) == VALUES

    def test_a_link_stays_one(self, make: Make, tmp_path: Path) -> None:
        path = make("flac")
        link = tmp_path / "link.flac"
        link.symlink_to(path)
        write_tags(link, TAGS)
        assert link.is_symlink()
        assert field(path) == VALUES

    def test_permissions_stay(self, make: Make) -> None:
        path = make("flac")
        path.chmod(0o640)
        write_tags(path, TAGS)
        assert path.stat().st_mode & 0o777 == 0o640

    def test_what_a_killed_call_left_is_removed(self, make: Make) -> None:
        path = make("flac")
        shutil.copy(path, path.with_name(".a.0123abcd.partial.flac"))
        write_tags(path, TAGS)
        assert [other.name for other in path.parent.iterdir()] == [path.name]


class TestRefused:
    def test_a_read_only_file(self, make: Make) -> None:
        path = make("flac")
        content = path.read_bytes()
        path.chmod(0o444)
        for dry_run in (True, False):
            with pytest.raises(AudioError) as caught:
                write_tags(path, TAGS, dry_run=dry_run)
            assert str(caught.value) == (
                f"{path}: its tags cannot be written into it (the file is read-only); take them from the output, or "
                "write to a copy"
            )
        assert path.read_bytes() == content

    def test_a_format_without_a_place(self, make: Make) -> None:
        path = make("caf")
        with pytest.raises(AudioError, match=r"a\.caf: .* \(no place for them is known in \.caf files\)"):
            write_tags(path, TAGS)

    @pytest.mark.parametrize("whole", [b"\xff" * 4, None])
    def test_a_wave_without_a_length_would_hear_its_own_tags(self, make: Make, whole: bytes | None) -> None:
        path = make("wav")
        content = bytearray(path.read_bytes())
        content[4:8] = whole or content[4:8]
        content[40:44] = b"\xff" * 4
        assert content[36:40] == b"data"
        path.write_bytes(content)
        with pytest.raises(AudioError, match=r"a\.wav: its tags cannot be written into it"):
            write_tags(path, TAGS)
        assert path.read_bytes() == content
        assert [other.name for other in path.parent.iterdir()] == [path.name]

    def test_an_mp3_whose_frames_would_change(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        path = make("mp3")
        content = path.read_bytes()

        def spoil(self: Any, values: list[str]) -> None:
            self._path.write_bytes(self._path.read_bytes() + b"x")

        monkeypatch.setattr("earmark.tagging.metadata._Frames.set", spoil)
        with pytest.raises(AudioError, match=r"\(its sound would change\)"):
            write_tags(path, TAGS)
        assert path.read_bytes() == content

    def test_a_crash_leaves_the_file(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        path = make("flac")
        content = path.read_bytes()

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("earmark.tagging.metadata.properties", crash)
        with pytest.raises(KeyboardInterrupt):
            write_tags(path, TAGS)
        assert path.read_bytes() == content
        assert [other.name for other in path.parent.iterdir()] == [path.name]

    def test_a_killed_process_leaves_the_file_and_the_next_call_tidies_up(self, make: Make) -> None:
        path = make("flac")
        content = path.read_bytes()
        code = (
            "import os, signal, sys; from earmark.tagging import metadata; from earmark.tagging.tagger import Tag; "
            "metadata._check_sound = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
            "metadata.write_tags(__import__('pathlib').Path(sys.argv[1]), [Tag('Bark', 0.9, 0.0, 1.0)])"
        )
        ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert path.read_bytes() == content
        assert len(list(path.parent.iterdir())) == 2
        write_tags(path, TAGS)
        assert [other.name for other in path.parent.iterdir()] == [path.name]

    def test_without_mutagen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "mutagen", None)
        with pytest.raises(MissingExtraError, match=r"--write-tags needs .* pip install 'earmark\[tags\]'"):
            check_installed()
