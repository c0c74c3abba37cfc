"""A store gives back what was decoded, and says so when it cannot."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earmark.audio.decode import decode
from earmark.data.layouts import read_collection
from earmark.data.manifest import Clip, Manifest
from earmark.data.store import (
    FULL_SCALE,
    Store,
    cached_store,
    curated_store,
    fingerprint,
    is_store,
    open_store,
    pack,
    quantize,
)
from earmark.errors import CollectionError
from earmark.labels import Vocabulary

RATE = 8000
VOCABULARY = Vocabulary(["Bark", "Meow", "Purr"])


def manifest_of(folder: Path, waveforms: dict[str, np.ndarray]) -> Manifest:
    """A collection of floating-point WAV files without labels."""
    for name, samples in waveforms.items():
        soundfile.write(folder / name, samples, RATE, subtype="FLOAT")
    return Manifest(tuple(Clip(name, folder / name, ()) for name in waveforms), VOCABULARY, folder, "table")


def packed(manifest: Manifest, folder: Path, rate: int = RATE) -> Store:
    pack(manifest, folder, rate, progress=False)
    return open_store(folder)


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(CollectionError) as caught:
        call()
    return str(caught.value)


@pytest.fixture
def noise(tmp_path: Path, rng: np.random.Generator) -> Manifest:
    """Three clips of different length and level; one overshoots full scale, one is very quiet."""
    folder = tmp_path / "noise"
    folder.mkdir()
    waveforms = {
        f"{name}.wav": (level * rng.standard_normal(n_samples)).astype(np.float32)
        for name, level, n_samples in (("c", 0.2, 4000), ("a", 3.0, 333), ("b", 1e-4, 8001))
    }
    return manifest_of(folder, waveforms)


class TestSamples:
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
            assert np.abs(kept - original).max() <= 0.503 * peak / FULL_SCALE
            assert np.abs(kept).max() == pytest.approx(peak, rel=1e-6)

    def test_overshooting_ones_are_not_clipped(self, tmp_path: Path) -> None:
        store = packed(manifest_of(tmp_path, {"a.wav": np.array([2.5, -40.0, 0.5])}), tmp_path / "store")
        np.testing.assert_allclose(store.waveform(0), [2.5, -40.0, 0.5], atol=40 / 65_000)

    def test_silence_stays_silent(self, tmp_path: Path) -> None:
        store = packed(manifest_of(tmp_path, {"a.wav": np.zeros(100)}), tmp_path / "store")
        np.testing.assert_array_equal(store.waveform(0), np.zeros(100, dtype=np.float32))

    def test_one_sample(self, tmp_path: Path) -> None:
        store = packed(manifest_of(tmp_path, {"a.wav": np.array([-0.25])}), tmp_path / "store")
        np.testing.assert_allclose(store.waveform(0), [-0.25], rtol=1e-6)

    def test_are_at_the_rate_that_is_asked_for(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store", 16_000)
        assert store.sample_rate == 16_000
        assert store.n_samples.tolist() == [8000, 666, 16_002]

    def test_lie_one_behind_the_other_and_are_mapped(self, noise: Manifest, tmp_path: Path) -> None:
        store = packed(noise, tmp_path / "store")
        assert isinstance(store.samples, np.memmap)
        assert store.samples.dtype == np.int16
        assert store.offsets.tolist() == [0, 4000, 4333]
        assert store.samples.shape == (12_334,)
        assert store.scales.dtype == np.float32
        assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [
            "clips.csv",
            "samples.npy",
            "store.json",
        ]

    def test_workers_change_nothing(self, noise: Manifest, tmp_path: Path) -> None:
        for n_workers in (1, 4):
            pack(noise, tmp_path / str(n_workers), RATE, n_workers=n_workers, progress=False)
        assert (tmp_path / "1" / "samples.npy").read_bytes() == (tmp_path / "4" / "samples.npy").read_bytes()


class TestQuantize:
    def test_by_hand(self) -> None:
        integers, scale = quantize(np.array([0.5, -0.25, 0.0], dtype=np.float32))
        assert integers.tolist() == [32_767, -16_384, 0]  # 16383.5 goes to the even neighbour
        assert integers.dtype == np.int16
        assert scale == np.float32(0.5 / 32_767)

    @settings(max_examples=200, deadline=None)
    @given(
        hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-(2.0**40), 2.0**40, width=32)),
    )
    def test_never_wraps_around(self, samples: np.ndarray) -> None:
        integers, scale = quantize(samples)
        peak = float(np.abs(samples).max())
        bound = max(0.501 * peak / FULL_SCALE, 1e-38)
        assert np.abs(integers.astype(np.float64) * float(scale) - samples).max() <= bound

    @pytest.mark.parametrize("peak", [1e-45, 1e-40, 1e-35, 1e-30])
    def test_next_to_nothing(self, peak: float) -> None:
        integers, scale = quantize(np.array([peak, -peak, 0.0], dtype=np.float32))
        assert scale > 0
        assert integers[0] == -integers[1] >= 0


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
        pack(read_collection(table_folder.name), tmp_path / "store", RATE, progress=False)
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
        after = open_store(tmp_path / "elsewhere" / "moved")
        assert after.manifest.names == before.manifest.names
        for index, waveform in enumerate(waveforms):
            np.testing.assert_array_equal(after.waveform(index), waveform)


class TestFailure:
    def test_every_bad_file_is_named_and_nothing_is_left(self, noise: Manifest, tmp_path: Path) -> None:
        noise.clips[0].path.write_text("no recording")
        noise.clips[2].path.unlink()
        text = error_of(lambda: packed(noise, tmp_path / "stores" / "new"))
        first, second, third = text.split("\n")
        assert first == "2 of 3 recordings cannot be packed; mend them or take their rows out:"
        assert second == (
            f"  {noise.clips[0].path}: cannot be read as audio (Format not recognised); is it a recording, and whole?"
        )
        assert third == f"  {noise.clips[2].path}: no such file; check the spelling and the folder"
        assert list((tmp_path / "stores").iterdir()) == []

    def test_of_many_the_first_ten_are_named(self, tmp_path: Path) -> None:
        clips = tuple(Clip(str(i), tmp_path / f"{i}.wav", ()) for i in range(13))
        text = error_of(lambda: packed(Manifest(clips, VOCABULARY, tmp_path, "table"), tmp_path / "store"))
        lines = text.split("\n")
        assert len(lines) == 12
        assert lines[0].startswith("13 of 13 recordings")
        assert lines[10].startswith(f"  {tmp_path / '9.wav'}: ")
        assert lines[11] == "  and 3 more"

    def test_an_earlier_store_stays(self, noise: Manifest, tmp_path: Path) -> None:
        packed(noise, tmp_path / "store")
        noise.clips[0].path.unlink()
        error_of(lambda: packed(noise, tmp_path / "store"))
        assert len(open_store(tmp_path / "store")) == 3

    def test_an_earlier_store_is_replaced(self, noise: Manifest, tmp_path: Path) -> None:
        packed(noise, tmp_path / "store")
        assert packed(noise, tmp_path / "store", 16_000).sample_rate == 16_000
        assert sorted(path.name for path in tmp_path.iterdir()) == ["noise", "store"]

    def test_no_clips(self, tmp_path: Path) -> None:
        nothing = Manifest((), VOCABULARY, tmp_path, "table")
        assert error_of(lambda: packed(nothing, tmp_path / "store")) == f"{tmp_path}: has no clips to pack"
        assert not (tmp_path / "store").exists()


class TestOpen:
    def test_no_store(self, tmp_path: Path) -> None:
        assert not is_store(tmp_path)
        assert error_of(lambda: open_store(tmp_path)) == f"{tmp_path}: not a packed store (no store.json)"

    @pytest.mark.parametrize("version", [1, 4, None])
    def test_another_version(self, noise: Manifest, tmp_path: Path, version: int | None) -> None:
        folder = tmp_path / "store"
        packed(noise, folder)
        head = json.loads((folder / "store.json").read_text())
        (folder / "store.json").write_text(json.dumps(head | {"version": version}))
        assert error_of(lambda: open_store(folder)) == (
            f"{folder}: a store of version {version}; this release reads version 3; pack it again"
        )

    @pytest.mark.parametrize(
        ("name", "damage"),
        [
            ("store.json", lambda content: content[:20]),
            ("store.json", lambda content: b"[]"),
            ("store.json", lambda content: content.replace(b'"labels"', b'"label"')),
            ("clips.csv", lambda content: content[:60]),
            ("clips.csv", lambda content: content.replace(b",offset", b",place")),
            ("clips.csv", lambda content: content.rsplit(b"\r\n", 2)[0]),
            ("samples.npy", lambda content: content[:-1]),
            ("samples.npy", lambda content: content[:50]),
            ("samples.npy", lambda content: b""),
            ("samples.npy", lambda content: None),
        ],
    )
    def test_damaged(self, noise: Manifest, tmp_path: Path, name: str, damage: Callable[[bytes], bytes | None]) -> None:
        folder = tmp_path / "store"
        packed(noise, folder)
        content = damage((folder / name).read_bytes())
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        text = error_of(lambda: open_store(folder))
        assert text.startswith(f"{folder}: a damaged store (")
        assert text.endswith("); copy it again, or pack it again")


class TestCache:
    def test_is_used_again(self, noise: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
        first = cached_store(noise, RATE, progress=False)
        assert len(stores()) == 1
        monkeypatch.setattr("earmark.data.store.pack", lambda *_, **__: pytest.fail("packed a second time"))
        again = cached_store(noise, RATE, progress=False)
        np.testing.assert_array_equal(again.samples, first.samples)
        assert again.manifest == first.manifest

    def test_a_changed_file_is_packed_again(self, noise: Manifest) -> None:
        cached_store(noise, RATE, progress=False)
        soundfile.write(noise.clips[1].path, np.full(500, 0.5), RATE)
        assert cached_store(noise, RATE, progress=False).n_samples.tolist() == [4000, 500, 8001]
        assert len(stores()) == 2

    def test_a_touched_file_is_packed_again(self, noise: Manifest) -> None:
        before = fingerprint(noise, RATE)
        os.utime(noise.clips[0].path, ns=(0, 0))
        assert fingerprint(noise, RATE) != before

    def test_rate_labels_and_folds_belong_to_it(self, noise: Manifest) -> None:
        first, *others = noise.clips
        changed = [
            Clip(first.name, first.path, ("Bark",)),
            Clip(first.name, first.path, (), "noisy"),
            Clip(first.name, first.path, (), group="yard"),
            Clip(first.name, first.path, (), fold=3),
            Clip("another", first.path, ()),
        ]
        others_of = [Manifest((clip, *others), VOCABULARY, noise.root, "table") for clip in changed]
        others_of.append(Manifest(noise.clips, Vocabulary(["Bark"]), noise.root, "table"))
        others_of.append(Manifest(noise.clips[::-1], VOCABULARY, noise.root, "table"))
        prints = [fingerprint(noise, RATE), fingerprint(noise, 16_000), *(fingerprint(m, RATE) for m in others_of)]
        assert len(set(prints)) == len(prints)
        assert fingerprint(noise, RATE) == prints[0]


def stores() -> list[Path]:
    return list((Path(os.environ["EARMARK_CACHE"]) / "stores").iterdir())


class TestCurated:
    def test_a_collection_is_packed_without_its_noisy_and_test_clips(self, fsdkaggle2019_folder: Path) -> None:
        store = curated_store(fsdkaggle2019_folder, RATE, progress=False)
        assert store.manifest.names == ("0a.wav", "0b.wav", "0c.wav", "0d.wav")
        assert store.manifest.clips[1].labels == ("Meow", "Bark")
        assert store.manifest.clips[1].group == "11+12"

    def test_a_store_is_taken_as_it_is(self, esc50_folder: Path, tmp_path: Path) -> None:
        packed(read_collection(esc50_folder), tmp_path / "store")
        store = curated_store(tmp_path / "store", 32_000)
        assert store.sample_rate == RATE
        assert [clip.fold for clip in store.manifest.clips] == [1, 1, 2, 1, 2, 2]

    def test_nothing_to_learn_from(self, tmp_path: Path, write_tone: Callable[..., Path]) -> None:
        write_tone("a.wav")
        (tmp_path / "clips.csv").write_text("path,labels,subset\na.wav,Bark,test\n")
        assert error_of(lambda: curated_store(tmp_path, RATE)) == (f"{tmp_path}: has no curated clips to learn from")
