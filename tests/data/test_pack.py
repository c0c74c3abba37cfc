"""Packing: the same store however often it is interrupted, and nothing decoded twice."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec
from earmark.data import pack as packing
from earmark.data import partial as making
from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.data.sizes import in_words
from earmark.data.spectrograms import log_mel_encoding
from earmark.data.store import open_store
from earmark.errors import CollectionError, StoreError
from earmark.labels import Vocabulary
from earmark.locking import locked, sibling

from .storing import FILES, RATE, VOCABULARY, WAVEFORM, content, error_of, noise_of, packed, put

LOG_MEL = log_mel_encoding(PictureSpec(log_mel=LogMelSpec(sample_rate=RATE, n_fft=256, n_mels=12, fmax=4000)), "uint8")
N_CLIPS = 24


@pytest.fixture
def noise(tmp_path: Path) -> Manifest:
    return noise_of(tmp_path / "noise", N_CLIPS)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the recordings that are decoded from now on, in any order."""
    names: list[str] = []

    def take_in(path: Path, *others: Any) -> Any:
        names.append(path.name)
        return original(path, *others)

    original = packing.take_in
    monkeypatch.setattr(packing, "take_in", take_in)
    return names


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`interrupt(n)` ends packing by an exception when n clips are written, all of them committed."""

    def after(n_clips: int) -> None:
        monkeypatch.setattr(making, "COMMIT_S", 0)
        original = making.Partial._note

        def note(self: making.Partial, entry: making.Entry) -> None:
            original(self, entry)
            if len(self.entries) == n_clips:
                monkeypatch.setattr(making.Partial, "_note", original)
                raise KeyboardInterrupt

        monkeypatch.setattr(making.Partial, "_note", note)

    return after


def stopped(manifest: Manifest, folder: Path, encoding: Encoding = WAVEFORM) -> None:
    with pytest.raises(KeyboardInterrupt):
        put(manifest, folder, encoding)


def undisturbed(manifest: Manifest, tmp_path: Path, encoding: Encoding = WAVEFORM) -> dict[str, bytes]:
    put(manifest, tmp_path / "undisturbed", encoding)
    return content(tmp_path / "undisturbed")


class TestStore:
    @pytest.mark.parametrize("encoding", [WAVEFORM, LOG_MEL, Encoding.waveform(11_025)])
    def test_workers_change_nothing(self, encoding: Encoding, noise: Manifest, tmp_path: Path) -> None:
        for n_workers in (1, 5):
            put(noise, tmp_path / str(n_workers), encoding, n_workers=n_workers)
        assert content(tmp_path / "1") == content(tmp_path / "5")

    def test_clips_are_at_the_rate_that_is_asked_for(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store", Encoding.waveform(16_000))
        assert store.sample_rate == 16_000
        lengths = [2 * soundfile.info(clip.path).frames for clip in noise.clips]
        assert store.lengths.tolist() == lengths

    def test_a_clip_outside_the_collection(self, tmp_path: Path, noise: Manifest) -> None:
        (tmp_path / "root").mkdir()
        outside = replace(noise, root=tmp_path / "root")
        store = packed(outside, tmp_path / "store")
        assert store.manifest == outside

    def test_result_says_what_was_done(self, noise: Manifest, tmp_path: Path) -> None:
        lines: list[str] = []
        result = put(noise, tmp_path / "store", say=lines.append)
        assert (result.status, result.n_clips, result.n_reused, result.left_out) == ("packed", N_CLIPS, 0, {})
        assert result.n_bytes == 2 * open_store(tmp_path / "store").lengths.sum()
        (line,) = lines
        assert line.startswith("24 clips, 0.00 hours: ")
        assert " kB as waveform int16 at 8000 Hz; " in line
        assert line.endswith(" free")

    def test_nothing_is_left_beside_it(self, noise: Manifest, tmp_path: Path) -> None:
        put(noise, tmp_path / "deep" / "store")
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["store"]

    def test_a_link_to_another_disk_stays_one(self, noise: Manifest, tmp_path: Path) -> None:
        (tmp_path / "large disk").mkdir()
        (tmp_path / "store").symlink_to(tmp_path / "large disk" / "store")
        for rate in (RATE, 16_000):
            assert packed(noise, tmp_path / "store", Encoding.waveform(rate)).sample_rate == rate
        assert (tmp_path / "store").is_symlink()


class TestAgain:
    def test_nothing_changed_nothing_done(self, noise: Manifest, tmp_path: Path, decoded: list[str]) -> None:
        put(noise, tmp_path / "store")
        decoded.clear()
        before = (tmp_path / "store" / "samples.npy").stat()
        result = put(noise, tmp_path / "store")
        assert (result.status, result.n_clips, result.n_reused) == ("up to date", N_CLIPS, N_CLIPS)
        assert decoded == []
        assert (tmp_path / "store" / "samples.npy").stat().st_ino == before.st_ino

    def test_another_option_is_another_store(self, noise: Manifest, tmp_path: Path, decoded: list[str]) -> None:
        for encoding in (WAVEFORM, Encoding.waveform(16_000), LOG_MEL):
            decoded.clear()
            assert packed(noise, tmp_path / "store", encoding).encoding == encoding
            assert len(decoded) == N_CLIPS
        assert sorted(path.name for path in tmp_path.iterdir()) == ["noise", "store"]

    @pytest.mark.parametrize("encoding", [WAVEFORM, LOG_MEL])
    def test_of_changed_recordings_those_alone_are_decoded(
        self, encoding: Encoding, noise: Manifest, tmp_path: Path, decoded: list[str]
    ) -> None:
        put(noise, tmp_path / "store", encoding)
        soundfile.write(noise.clips[3].path, np.full(500, 0.5), RATE)
        os.utime(noise.clips[7].path, ns=(0, 0))
        extra = noise_of(tmp_path / "noise", N_CLIPS + 1).clips[-1]  # the others are written again as they were
        changed = replace(noise, clips=(extra, *noise.clips[:10], *noise.clips[12:]))
        put(noise, tmp_path / "store", encoding)
        decoded.clear()
        soundfile.write(noise.clips[3].path, np.full(500, 0.5), RATE)
        result = put(changed, tmp_path / "store", encoding)
        assert sorted(decoded) == ["003.wav", "024.wav"]
        assert (result.n_clips, result.n_reused) == (N_CLIPS - 1, N_CLIPS - 3)
        assert content(tmp_path / "store") == undisturbed(changed, tmp_path, encoding)

    def test_of_changed_labels_nothing_is_decoded(self, noise: Manifest, tmp_path: Path, decoded: list[str]) -> None:
        put(noise, tmp_path / "store")
        decoded.clear()
        clips = [replace(clip, labels=("Purr", "Bark"), group="yard", fold=-1, license="CC0") for clip in noise.clips]
        other = Manifest(tuple(clips), Vocabulary(["Bark", "Purr"]), noise.root, "table")
        result = put(other, tmp_path / "store")
        assert (result.status, result.n_reused, decoded) == ("relabelled", N_CLIPS, [])
        assert open_store(tmp_path / "store").manifest == other
        assert content(tmp_path / "store") == undisturbed(other, tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["noise", "store", "undisturbed"]

    def test_where_files_cannot_be_linked_they_are_copied(
        self, noise: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(noise, tmp_path / "store")

        def link(*_: Any) -> None:
            raise OSError(errno.EPERM, "no links")

        monkeypatch.setattr(os, "link", link)
        other = replace(noise, layout="folder")
        assert put(other, tmp_path / "store").status == "relabelled"
        assert content(tmp_path / "store") == undisturbed(other, tmp_path)

    @pytest.mark.parametrize("name", FILES)
    def test_a_damaged_store_is_packed_again(self, name: str, noise: Manifest, tmp_path: Path) -> None:
        put(noise, tmp_path / "store")
        before = content(tmp_path / "store")
        (tmp_path / "store" / name).write_bytes(before[name][:-9])
        put(noise, tmp_path / "store")
        assert content(tmp_path / "store") == before

    def test_the_same_files_in_another_folder_are_other_ones(self, noise: Manifest, tmp_path: Path) -> None:
        put(noise, tmp_path / "store")
        other = noise_of(tmp_path / "other", N_CLIPS, seed=1)
        for clip, twin in zip(noise.clips, other.clips, strict=True):  # as files of one archive have one time
            soundfile.write(twin.path, np.zeros(soundfile.info(clip.path).frames), RATE, subtype="FLOAT")
            os.utime(twin.path, ns=(clip.path.stat().st_mtime_ns,) * 2)
        store = packed(other, tmp_path / "store")
        assert not store.values.any()


class TestInterrupted:
    @pytest.mark.parametrize("encoding", [WAVEFORM, LOG_MEL])
    def test_what_was_packed_is_not_decoded_again(
        self, encoding: Encoding, noise: Manifest, tmp_path: Path, decoded: list[str], interrupt: Any
    ) -> None:
        interrupt(15)
        stopped(noise, tmp_path / "store", encoding)
        assert not (tmp_path / "store").exists()
        decoded.clear()
        lines: list[str] = []
        result = put(noise, tmp_path / "store", encoding, say=lines.append)
        assert sorted(decoded) == [f"{index:03d}.wav" for index in range(15, N_CLIPS)]
        assert result.n_reused == 15
        assert lines[1] == "15 of 24 clips are packed already; going on from there"
        assert content(tmp_path / "store") == undisturbed(noise, tmp_path, encoding)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda journal, data: journal.write_bytes(journal.read_bytes()[:-5]),
            lambda journal, data: journal.write_bytes(journal.read_bytes() + b'["015.wav", 12'),
            lambda journal, data: journal.write_bytes(journal.read_bytes() + b"\0" * 500),
            lambda journal, data: journal.write_bytes(b'["' + journal.read_bytes()),
            lambda journal, data: journal.write_bytes(journal.read_bytes().replace(b'"009.wav", ', b'"009.wav", -')),
            lambda journal, data: journal.write_bytes(journal.read_bytes().replace(b'"009.wav"', b"9")),
            lambda journal, data: journal.unlink(),
            lambda journal, data: data.write_bytes(data.read_bytes() + bytes(1001)),
            lambda journal, data: data.write_bytes(data.read_bytes()[:20_001]),
            lambda journal, data: data.write_bytes(b""),
            lambda journal, data: data.unlink(),
            lambda journal, data: (data.parent / "pack.json").write_text("{}"),
            lambda journal, data: (data.parent / "scratch-1.f32").write_bytes(bytes(100)),
            lambda journal, data: (data.parent / ".journal.cae3e14e.partial").write_text("[]"),
        ],
    )
    def test_damage_at_the_end_is_cut_off(self, damage: Any, noise: Manifest, tmp_path: Path, interrupt: Any) -> None:
        interrupt(15)
        stopped(noise, tmp_path / "store")
        partial = tmp_path / ".store.partial"
        damage(partial / "journal", partial / "samples.npy")
        put(noise, tmp_path / "store")
        assert content(tmp_path / "store") == undisturbed(noise, tmp_path)
        assert not partial.exists()

    def test_recordings_that_change_between_are_decoded_again(
        self, noise: Manifest, tmp_path: Path, decoded: list[str], interrupt: Any
    ) -> None:
        interrupt(15)
        stopped(noise, tmp_path / "store")
        soundfile.write(noise.clips[5].path, np.full(500, 0.5), RATE)
        decoded.clear()
        interrupt(20)
        stopped(noise, tmp_path / "store")  # and once more
        put(noise, tmp_path / "store")
        assert decoded.count("005.wav") == 2  # once to see that it is another
        assert not {f"{index:03d}.wav" for index in range(15) if index != 5} & set(decoded)
        assert content(tmp_path / "store") == undisturbed(noise, tmp_path)

    def test_clips_that_come_and_go_between(self, noise: Manifest, tmp_path: Path, interrupt: Any) -> None:
        fewer = replace(noise, clips=noise.clips[:3] + noise.clips[5:])
        interrupt(15)
        stopped(fewer, tmp_path / "store")
        other = replace(noise, clips=noise.clips[:8] + noise.clips[9:])
        put(other, tmp_path / "store")
        assert content(tmp_path / "store") == undisturbed(other, tmp_path)

    def test_nothing_of_it_is_wanted_any_more(self, noise: Manifest, tmp_path: Path, interrupt: Any) -> None:
        interrupt(5)
        stopped(noise, tmp_path / "store")
        other = replace(noise, clips=noise.clips[10:])
        put(other, tmp_path / "store")
        assert content(tmp_path / "store") == undisturbed(other, tmp_path)

    def test_another_option_begins_anew(
        self, noise: Manifest, tmp_path: Path, decoded: list[str], interrupt: Any
    ) -> None:
        interrupt(15)
        stopped(noise, tmp_path / "store")
        decoded.clear()
        put(noise, tmp_path / "store", Encoding.waveform(16_000))
        assert len(decoded) == N_CLIPS

    def test_an_earlier_store_stays_until_the_new_one_is_whole(
        self, noise: Manifest, tmp_path: Path, interrupt: Any
    ) -> None:
        put(noise, tmp_path / "store")
        before = content(tmp_path / "store")
        interrupt(15)
        stopped(noise, tmp_path / "store", LOG_MEL)
        assert content(tmp_path / "store") == before

    @pytest.mark.parametrize("place", ["target.rename(replaced)", "folder.rename(target)"])
    def test_between_the_two_renames(
        self, place: str, noise: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(noise, tmp_path / "store")
        before = content(tmp_path / "store")
        original = Path.rename
        ends = {"target.rename(replaced)": ".store.replaced", "folder.rename(target)": "store"}

        def rename(self: Path, target: Path) -> Path:
            moved = original(self, target)
            if Path(target).name == ends[place]:
                raise KeyboardInterrupt
            return moved

        monkeypatch.setattr(Path, "rename", rename)
        stopped(noise, tmp_path / "store", LOG_MEL)
        monkeypatch.undo()
        put(noise, tmp_path / "store")
        assert content(tmp_path / "store") == before
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith("replaced")) == []

    def test_before_the_last_files_are_removed(
        self, noise: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def clean(_: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(making, "clean", clean)
        stopped(noise, tmp_path / "store")
        monkeypatch.undo()
        assert put(noise, tmp_path / "store").status == "up to date"
        assert sorted(content(tmp_path / "store")) == FILES


class TestKilled:
    def test_at_any_moment_again_and_again(self, tmp_path: Path) -> None:
        chance = random.Random(7)
        manifest = noise_of(tmp_path / "noise", 60)
        journal = tmp_path / ".store.partial" / "journal"
        n_killed = 0
        for _ in range(5):
            process = start(manifest, tmp_path / "store")
            n_before = lines_of(journal)
            while lines_of(journal) < n_before + 2 and process.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
            n_killed += process.wait() == -signal.SIGKILL
            assert not (tmp_path / "store").exists()
        assert n_killed == 5
        n_before = lines_of(journal)
        assert n_before >= 10
        assert put(manifest, tmp_path / "store").n_reused == n_before
        assert content(tmp_path / "store") == undisturbed(manifest, tmp_path)


def start(manifest: Manifest, folder: Path) -> subprocess.Popen[bytes]:
    """A process that packs a folder of WAV files, slowly, and commits every clip."""
    code = """
import sys, time
from pathlib import Path
from earmark.data import pack, partial
from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.labels import Vocabulary
root, folder, labels = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
partial.COMMIT_S = 0
original = pack.take_in
def slowly(*arguments):
    time.sleep(0.01)
    return original(*arguments)
pack.take_in = slowly
clips = tuple(Clip(path.name, path, ()) for path in sorted(root.iterdir()))
pack.pack(Manifest(clips, Vocabulary(labels), root, "table"), folder, Encoding.waveform(8000), progress=False)
"""
    return subprocess.Popen([sys.executable, "-c", code, str(manifest.root), str(folder), *VOCABULARY])


def lines_of(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


class TestTwoAtOnce:
    def test_the_second_is_told_who_the_first_is(self, noise: Manifest, tmp_path: Path) -> None:
        with locked(tmp_path / "store"):
            text = error_of(lambda: put(noise, tmp_path / "store"), StoreError)
        assert text == (
            f"{tmp_path / 'store'}: another process (PID {os.getpid()}) is packing this store; wait for it to end, or "
            "name another folder"
        )
        assert packed(noise, tmp_path / "store")

    def test_the_second_may_wait(self, noise: Manifest, tmp_path: Path) -> None:
        lines: list[str] = []
        waiting = threading.Event()

        def say(line: str) -> None:
            lines.append(line)
            waiting.set()

        with locked(tmp_path / "store"):
            second = threading.Thread(target=lambda: put(noise, tmp_path / "store", wait=True, say=say))
            second.start()
            assert waiting.wait(10)
            assert not (tmp_path / "store").exists()
        second.join(20)
        assert lines[0].endswith(f"(PID {os.getpid()}) is packing this store; waiting for it to end")
        assert len(open_store(tmp_path / "store")) == N_CLIPS

    def test_a_lock_that_a_killed_process_left_is_none(self, noise: Manifest, tmp_path: Path) -> None:
        sibling(tmp_path / "store", "lock").write_text("1")
        assert packed(noise, tmp_path / "store")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["noise", "store"]

    def test_a_lock_that_was_removed_while_waiting_is_taken_anew(self, tmp_path: Path) -> None:
        order: list[str] = []

        def hold(name: str) -> None:
            with locked(tmp_path / "store", wait=lambda _: None):
                order.append(name)
                time.sleep(0.02)
                order.append(name)

        threads = [threading.Thread(target=hold, args=(str(index),)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(order) == 12
        assert order[::2] == order[1::2]  # one after the other, never two
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`full_after(n)` lets a disk take n bytes of values and no more, from then on."""
    original = making.write_whole
    state = {"left": 0, "code": errno.ENOSPC}

    def limit(n_bytes: int, code: int = errno.ENOSPC) -> None:
        state.update(left=n_bytes, code=code)
        monkeypatch.setattr(making, "write_whole", write)

    def write(file: Any, data: memoryview) -> None:
        if not str(file.name).endswith(".npy"):
            original(file, data)
            return
        original(file, data[: max(0, state["left"])])
        state["left"] -= len(data)
        if state["left"] < 0:
            raise OSError(state["code"], os.strerror(state["code"]))

    return limit


class TestNoRoom:
    def test_is_said_before_anything_is_decoded(
        self, noise: Manifest, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = packing.shutil.disk_usage(tmp_path)
        monkeypatch.setattr("earmark.data.plan.shutil.disk_usage", lambda _: usage._replace(free=150_000))
        text = error_of(lambda: put(noise, tmp_path / "store"), StoreError)
        assert text.startswith(f"{tmp_path / 'store'}: 2")
        assert text.endswith(
            " kB are needed and 150.0 kB are free; make room, name a folder on another disk, or pack at a lower rate "
            "or as log-mel (--log-mel)"
        )
        assert decoded == []
        assert sorted(path.name for path in tmp_path.iterdir()) == ["noise"]

    def test_midway_what_was_gained_is_kept(
        self, noise: Manifest, tmp_path: Path, full_after: Any, decoded: list[str]
    ) -> None:
        store = packed(noise, tmp_path / "undisturbed")
        full_after(int(store.offsets[10]) * 2 + 300)
        text = error_of(lambda: put(noise, tmp_path / "store"), StoreError)
        needed = in_words(int(store.lengths[10:].sum()) * 2 + 200 * N_CLIPS)
        assert f"{tmp_path / 'store'}: the disk is full after 10 of 24 clips: about {needed} more are needed, " in text
        assert text.endswith(
            " free; make room or name a folder on another disk; 10 clips are kept in "
            f"{tmp_path / '.store.partial'}, and the same command goes on from there"
        )
        assert not (tmp_path / "store").exists()
        decoded.clear()
        full_after(10**9)
        assert put(noise, tmp_path / "store").n_reused == 10
        assert len(decoded) == N_CLIPS - 10
        assert content(tmp_path / "store") == content(tmp_path / "undisturbed")

    def test_with_nothing_gained_nothing_is_left(self, noise: Manifest, tmp_path: Path, full_after: Any) -> None:
        full_after(150)
        text = error_of(lambda: put(noise, tmp_path / "store"), StoreError)
        assert "the disk is full after 0 of 24 clips" in text
        assert text.endswith("; nothing is left behind")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["noise"]

    def test_a_file_that_may_not_grow(self, noise: Manifest, tmp_path: Path, full_after: Any) -> None:
        full_after(150, errno.EFBIG)
        text = error_of(lambda: put(noise, tmp_path / "store"), StoreError)
        assert ": no file may be so large here (limit or file system) after 0 of 24 clips: " in text

    def test_another_error_is_no_full_disk(self, noise: Manifest, tmp_path: Path, full_after: Any) -> None:
        full_after(150, errno.EIO)
        with pytest.raises(OSError, match="Input/output error"):
            put(noise, tmp_path / "store")

    def test_for_a_long_recordings_scratch_file(
        self, noise: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("earmark.data.intake.HELD_BYTES", 100)
        monkeypatch.setattr("earmark.data.intake.write_whole", write)
        assert "the disk is full after 0 of 24 clips" in error_of(lambda: put(noise, tmp_path / "store"), StoreError)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["noise"]


class TestBadRecordings:
    @pytest.fixture
    def bad(self, noise: Manifest) -> Manifest:
        noise.clips[2].path.write_text("no recording")
        noise.clips[20].path.unlink()
        return noise

    def test_all_are_named_and_nothing_is_replaced(self, noise: Manifest, tmp_path: Path, decoded: list[str]) -> None:
        put(noise, tmp_path / "store")
        before = content(tmp_path / "store")
        noise.clips[2].path.write_text("no recording")
        noise.clips[20].path.unlink()
        first, second, third = error_of(lambda: put(noise, tmp_path / "store"), CollectionError).split("\n")
        assert first == (
            "2 of 24 recordings cannot be packed; mend them, exclude them (--exclude FILE), or pack without them "
            "('earmark data pack --skip-bad'):"
        )
        assert second == (
            f"  {noise.clips[2].path}: cannot be read as audio (Format not recognised); is it a recording, and whole?"
        )
        assert third == f"  {noise.clips[20].path}: no such file; check the spelling and the folder"
        assert content(tmp_path / "store") == before

    def test_of_many_the_first_ten_are_named(self, tmp_path: Path) -> None:
        clips = tuple(Clip(str(i), tmp_path / f"{i}.wav", ()) for i in range(13))
        manifest = Manifest(clips, VOCABULARY, tmp_path, "table")
        lines = error_of(lambda: put(manifest, tmp_path / "store"), CollectionError).split("\n")
        assert len(lines) == 12
        assert lines[0].startswith("13 of 13 recordings")
        assert lines[10].startswith(f"  {tmp_path / '9.wav'}: ")
        assert lines[11] == "  and 3 more"
        assert list(tmp_path.iterdir()) == []

    def test_once_mended_the_others_are_not_decoded_again(
        self, bad: Manifest, tmp_path: Path, decoded: list[str]
    ) -> None:
        error_of(lambda: put(bad, tmp_path / "store"), CollectionError)
        soundfile.write(bad.clips[2].path, np.full(500, 0.5), RATE)
        soundfile.write(bad.clips[20].path, np.full(500, 0.25), RATE)
        decoded.clear()
        assert put(bad, tmp_path / "store").n_reused == N_CLIPS - 2
        assert set(decoded) == {"002.wav", "020.wav"}
        assert content(tmp_path / "store") == undisturbed(bad, tmp_path)

    def test_once_excluded_nothing_is_decoded_again(self, bad: Manifest, tmp_path: Path, decoded: list[str]) -> None:
        error_of(lambda: put(bad, tmp_path / "store"), CollectionError)
        good = replace(bad, clips=tuple(clip for i, clip in enumerate(bad.clips) if i not in (2, 20)))
        decoded.clear()
        assert put(good, tmp_path / "store").n_reused == N_CLIPS - 2
        assert decoded == []
        assert content(tmp_path / "store") == undisturbed(good, tmp_path)

    def test_what_was_decoded_may_be_thrown_away(self, bad: Manifest, tmp_path: Path) -> None:
        error_of(lambda: put(bad, tmp_path / "store", keep_on_bad=False), CollectionError)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["noise"]

    def test_may_be_left_out(self, bad: Manifest, tmp_path: Path, decoded: list[str]) -> None:
        result = put(bad, tmp_path / "store", skip_bad=True)
        store = open_store(tmp_path / "store")
        assert (result.status, result.n_clips, len(store)) == ("packed", N_CLIPS - 2, N_CLIPS - 2)
        assert list(result.left_out) == ["002.wav", "020.wav"]
        assert result.left_out["020.wav"].endswith("no such file; check the spelling and the folder")
        assert store.left_out == result.left_out
        assert "002.wav" not in store.manifest.names
        decoded.clear()
        again = put(bad, tmp_path / "store", skip_bad=True)
        assert (again.status, again.left_out, decoded) == ("up to date", result.left_out, [])

    def test_a_store_without_them_is_not_up_to_date_for_who_wants_them(
        self, bad: Manifest, tmp_path: Path, decoded: list[str]
    ) -> None:
        put(bad, tmp_path / "store", skip_bad=True)
        decoded.clear()
        assert "2 of 24 recordings" in error_of(lambda: put(bad, tmp_path / "store"), CollectionError)
        assert sorted(decoded) == ["002.wav", "020.wav"]
        assert len(open_store(tmp_path / "store")) == N_CLIPS - 2

    def test_with_labels_changed_they_stay_left_out(self, bad: Manifest, tmp_path: Path) -> None:
        put(bad, tmp_path / "store", skip_bad=True)
        other = replace(bad, layout="folder")
        result = put(other, tmp_path / "store", skip_bad=True)
        assert (result.status, list(result.left_out)) == ("relabelled", ["002.wav", "020.wav"])

    def test_none_is_good(self, noise: Manifest, tmp_path: Path) -> None:
        one = replace(noise, clips=noise.clips[:1])
        one.clips[0].path.write_text("no recording")
        assert "1 of 1 recordings" in error_of(lambda: put(one, tmp_path / "store", skip_bad=True), CollectionError)

    def test_no_clips(self, tmp_path: Path) -> None:
        nothing = Manifest((), VOCABULARY, tmp_path, "table")
        text = error_of(lambda: put(nothing, tmp_path / "store"), CollectionError)
        assert text == f"{tmp_path}: has no clips to pack"
        assert not (tmp_path / "store").exists()


class TestPlace:
    def test_a_folder_with_other_things_is_not_replaced(self, noise: Manifest, tmp_path: Path) -> None:
        text = error_of(lambda: put(noise, noise.root), StoreError)
        assert text == (
            f"{noise.root}: holds files that are no packed store; name a new folder, or that of a store that is to be "
            "replaced"
        )
        assert len(list(noise.root.iterdir())) == N_CLIPS

    def test_a_file_is_not_replaced(self, noise: Manifest, tmp_path: Path) -> None:
        (tmp_path / "store").touch()
        assert error_of(lambda: put(noise, tmp_path / "store"), StoreError).startswith(
            f"{tmp_path / 'store'}: is a file; name a new folder"
        )

    def test_an_empty_folder_will_do(self, noise: Manifest, tmp_path: Path) -> None:
        (tmp_path / "store").mkdir()
        assert len(packed(noise, tmp_path / "store")) == N_CLIPS
        assert sorted(path.name for path in tmp_path.iterdir()) == ["noise", "store"]


MEASURED = """
import resource, sys
from pathlib import Path
from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.data.pack import pack
from earmark.labels import Vocabulary
root, folder = map(Path, sys.argv[1:])
clips = tuple(Clip(path.name, path, ()) for path in sorted(root.iterdir()))
pack(Manifest(clips, Vocabulary(["Bark"]), root, "table"), folder, Encoding.waveform(32000), progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_length_of_a_recording(tmp_path: Path) -> None:
    peaks_mb = {}
    for minutes in (1, 30):
        manifest = noise_of(tmp_path / str(minutes), 10)
        hum = np.tile(np.int16(1000 * np.sin(np.arange(RATE))), 60 * minutes)
        soundfile.write(manifest.root / "long.wav", hum, RATE)
        command = [sys.executable, "-c", MEASURED, str(manifest.root), str(tmp_path / f"store {minutes}")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks_mb[minutes] = int(said) / 1024
    assert open_store(tmp_path / "store 30").lengths.max() == 30 * 60 * 32_000  # 230 MB of float32
    assert peaks_mb[30] - peaks_mb[1] < 80
