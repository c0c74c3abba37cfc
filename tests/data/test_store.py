"""A store gives back what was packed, wherever it lies, and says so when it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.audio.decode import decode
from earmark.audio.logmel import LogMelSpec
from earmark.audio.picture import PictureSpec, clip_log_mel
from earmark.data.encoding import FULL_SCALE
from earmark.data.layouts import read_collection
from earmark.data.manifest import Clip, Manifest
from earmark.data.spectrograms import largest_error_db, log_mel_encoding
from earmark.data.store import is_store, open_store
from earmark.errors import CollectionError

from .storing import FILES, RATE, VOCABULARY, error_of, manifest_of, packed

PICTURE = PictureSpec(log_mel=LogMelSpec(sample_rate=RATE, n_fft=256, hop_length=100, n_mels=12, fmax=4000))


@pytest.fixture
def noise(tmp_path: Path, rng: np.random.Generator) -> Manifest:
    """Three clips of different length and level; one overshoots full scale, one is very quiet."""
    waveforms = {
        f"{name}.wav": (level * rng.standard_normal(n_samples)).astype(np.float32)
        for name, level, n_samples in (("c", 0.2, 4000), ("a", 3.0, 333), ("b", 1e-4, 8001))
    }
    return manifest_of(tmp_path / "noise", waveforms)


class TestWaveforms:
    def test_are_off_by_half_a_step_of_the_clips_own_peak(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store")
        assert len(store) == 3
        assert store.sample_rate == RATE
        for index, clip in enumerate(noise.clips):
            original = decode(clip.path).samples
            kept = store.waveform(index)
            assert kept.dtype == np.float32
            assert kept.shape == original.shape
            peak = np.abs(original).max()
            assert np.abs(kept - original).max() <= 0.503 * peak / FULL_SCALE["int16"]
            assert np.abs(kept).max() == pytest.approx(peak, rel=1e-6)

    def test_overshooting_ones_are_not_clipped(self, tmp_path: Path) -> None:
        store = packed(manifest_of(tmp_path / "in", {"a.wav": np.array([2.5, -40.0, 0.5])}), tmp_path / "store")
        np.testing.assert_allclose(store.waveform(0), [2.5, -40.0, 0.5], atol=40 / 65_000)

    def test_silence_stays_silent(self, tmp_path: Path) -> None:
        store = packed(manifest_of(tmp_path / "in", {"a.wav": np.zeros(100)}), tmp_path / "store")
        np.testing.assert_array_equal(store.waveform(0), np.zeros(100, dtype=np.float32))

    def test_one_sample(self, tmp_path: Path) -> None:
        store = packed(manifest_of(tmp_path / "in", {"a.wav": np.array([-0.25])}), tmp_path / "store")
        np.testing.assert_allclose(store.waveform(0), [-0.25], rtol=1e-6)

    def test_lie_one_behind_the_other_and_are_mapped(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store")
        assert isinstance(store.values, np.memmap)
        assert store.values.dtype == np.int16
        assert store.offsets.tolist() == [0, 4000, 4333]
        assert store.values.shape == (12_334,)
        assert store.scales.dtype == np.float32
        assert sorted(path.name for path in (tmp_path / "store").iterdir()) == FILES

    def test_are_none_of_a_store_of_spectrograms(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store", log_mel_encoding(PICTURE))
        assert error_of(lambda: store.waveform(0), CollectionError) == (
            "the store holds log-mel spectrograms, from which there is no way back to waveforms; "
            "pack the collection without --log-mel"
        )


class TestSpectrograms:
    @pytest.mark.parametrize("dtype", ["float16", "uint8"])
    def test_are_those_of_the_front_end_but_for_rounding(self, noise: Manifest, tmp_path: Path, dtype: str) -> None:
        encoding = log_mel_encoding(PICTURE, dtype)
        store = packed(noise, tmp_path / "store", encoding)
        bound_db = largest_error_db(encoding, store.scales)
        assert bound_db < 0.2
        for index, clip in enumerate(noise.clips):
            expected = clip_log_mel(decode(clip.path).samples, PICTURE)
            kept = store.spectrogram(index)
            assert kept.shape == expected.shape
            assert kept.dtype == np.float32
            assert np.abs(kept - expected).max() <= bound_db + 2e-5

    def test_lie_frame_by_frame_and_are_mapped(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store", log_mel_encoding(PICTURE, "uint8"))
        assert isinstance(store.values, np.memmap)
        assert store.lengths.tolist() == [41, 4, 81]
        assert store.values.shape == (126, 12)
        assert (tmp_path / "store" / "frames.npy").stat().st_size < 2000

    def test_are_none_of_a_store_of_waveforms(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store")
        assert error_of(lambda: store.spectrogram(0), CollectionError) == (
            "the store holds waveforms; make their spectrograms with clip_log_mel"
        )


class TestRestricted:
    def test_fewer_clips_in_another_order_with_other_labels(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store")
        clips = (replace(noise.clips[2], labels=("Purr",)), noise.clips[0])
        fewer = store.restricted(replace(noise, clips=clips))
        assert len(fewer) == 2
        assert fewer.manifest.clips == clips
        for index, row in enumerate((2, 0)):
            np.testing.assert_array_equal(fewer.waveform(index), store.waveform(row))
        assert fewer.values is store.values

    def test_again(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store")
        once = store.restricted(replace(noise, clips=noise.clips[1:]))
        twice = once.restricted(replace(noise, clips=noise.clips[2:]))
        np.testing.assert_array_equal(twice.waveform(0), store.waveform(2))

    def test_to_clips_that_are_not_there(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store")
        other = replace(noise, clips=(replace(noise.clips[0], name="d.wav"), Clip("e", tmp_path / "e", ())))
        assert error_of(lambda: store.restricted(other), CollectionError) == (
            "2 clips are not in the store, the first is 'd.wav'; did you mean 'c.wav'?; pack the collection again"
        )


class TestManifest:
    @pytest.mark.parametrize("layout", ["esc50_folder", "fsdkaggle2019_folder", "table_folder"])
    def test_survives(self, layout: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        collection = read_collection(request.getfixturevalue(layout))
        manifest = packed(collection, tmp_path / "store").manifest
        assert manifest.clips == collection.clips
        assert manifest.vocabulary == collection.vocabulary
        assert manifest.layout == collection.layout
        assert manifest.root == collection.root
        np.testing.assert_array_equal(manifest.targets(), collection.targets())
        assert all(clip.path.is_file() for clip in manifest.clips)

    def test_paths_hold_from_any_folder(
        self, table_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(table_folder.parent)
        packed(read_collection(table_folder.name), tmp_path / "store")
        monkeypatch.chdir("/")
        assert all(clip.path.is_file() for clip in open_store(tmp_path / "store").manifest.clips)

    def test_a_clip_outside_the_collection(self, tmp_path: Path, write_tone: Callable[..., Path]) -> None:
        (tmp_path / "root").mkdir()
        clip = Clip("a", write_tone("a.wav"), ("Bark",))
        store = packed(Manifest((clip,), VOCABULARY, tmp_path / "root", "table"), tmp_path / "store")
        assert store.manifest.clips == (clip,)

    def test_a_store_may_be_moved(self, table_folder: Path, tmp_path: Path) -> None:
        before = packed(read_collection(table_folder), tmp_path / "store")
        waveforms = [before.waveform(index) for index in range(3)]
        (tmp_path / "elsewhere").mkdir()
        shutil.move(tmp_path / "store", tmp_path / "elsewhere" / "moved")
        shutil.rmtree(table_folder)
        head = json.loads((tmp_path / "elsewhere" / "moved" / "store.json").read_text())
        (tmp_path / "elsewhere" / "moved" / "store.json").write_text(json.dumps(head | {"root": "/another/machine"}))
        after = open_store(tmp_path / "elsewhere" / "moved")
        assert after.manifest.names == before.manifest.names
        for index, waveform in enumerate(waveforms):
            np.testing.assert_array_equal(after.waveform(index), waveform)


class TestOpen:
    def test_no_store(self, tmp_path: Path) -> None:
        assert not is_store(tmp_path)
        assert (
            error_of(lambda: open_store(tmp_path), CollectionError) == f"{tmp_path}: not a packed store (no store.json)"
        )

    @pytest.mark.parametrize("version", [1, 3, None])
    def test_another_version(self, noise: Manifest, tmp_path: Path, version: int | None) -> None:
        folder = tmp_path / "store"
        packed(noise, folder)
        head = json.loads((folder / "store.json").read_text())
        (folder / "store.json").write_text(json.dumps(head | {"version": version}))
        assert error_of(lambda: open_store(folder), CollectionError) == (
            f"{folder}: a store of version {version}; this release reads version 4; pack it again"
        )

    @pytest.mark.parametrize(
        ("name", "damage"),
        [
            ("store.json", lambda content: content[:20]),
            ("store.json", lambda content: b"[]"),
            ("store.json", lambda content: content.replace(b'"labels"', b'"label"')),
            ("clips.csv", lambda content: content[:60]),
            ("clips.csv", lambda content: content[:-4]),
            ("clips.csv", lambda content: content.replace(b",offset", b",place")),
            ("clips.csv", lambda content: content.rsplit(b"\r\n", 2)[0]),
            ("clips.csv", lambda content: content.replace(b"curated", b"curious", 1)),
            ("clips.csv", lambda content: content.replace(b"c.wav,c.wav", b'c.wav,"c.wav', 1)),
            ("clips.csv", lambda content: content.replace(b"c.wav,", b"a.wav,", 1)),
            ("clips.csv", lambda content: content.replace(b"c.wav,,", b"c.wav,Growl,", 1)),
            ("clips.csv", lambda content: content.replace(b",4000,", b",-4000,", 1)),
            ("clips.csv", lambda content: content.replace(b",4000,", b",99999999999999999999,", 1)),
            ("clips.csv", lambda content: content.replace(b",0,4000,", b",1,4000,", 1)),
            ("clips.csv", lambda content: content.replace(b",0.0,", b",nan,", 1)),
            ("clips.csv", lambda content: content + b"\xff"),
            ("store.json", lambda content: b"[" * 100_000),
            ("store.json", lambda content: content.replace(b'"int16"', b'"uint8"')),
            ("store.json", lambda content: content.replace(b'"waveform"', b'"wave"')),
            ("store.json", lambda content: content.replace(b": 8000", b": -8000")),
            ("store.json", lambda content: content.replace(b'"left_out": {}', b'"left_out": 3')),
            ("samples.npy", lambda content: b"PK\x03\x04" + content),
            ("samples.npy", lambda content: content.replace(b"<i2", b"|O8")),
            ("samples.npy", lambda content: content.replace(b"<i2", b"<f2")),
            ("samples.npy", lambda content: content.replace(b"(12334,), } ", b"(2, 6167), }")),
            ("samples.npy", lambda content: content.replace(b"(12334,), }     ", b"(9999912334,), }")),
            ("samples.npy", lambda content: content[:-1]),
            ("samples.npy", lambda content: content[:50]),
            ("samples.npy", lambda content: b""),
            ("samples.npy", lambda content: None),
        ],
    )
    def test_damaged(self, noise: Manifest, tmp_path: Path, name: str, damage: Callable[[bytes], bytes | None]) -> None:
        folder = tmp_path / "store"
        packed(noise, folder)
        before = (folder / name).read_bytes()
        content = damage(before)
        assert content != before
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        text = error_of(lambda: open_store(folder), CollectionError)
        assert text.startswith(f"{folder}: a damaged store (")
        assert text.endswith("); copy it again, or pack it again")
