"""Training opens a store as it is, and a collection by way of the cache."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.data import partial as making
from earmark.data.cache import cached_store, training_store
from earmark.data.layouts import read_collection
from earmark.data.manifest import Manifest
from earmark.errors import CollectionError, StoreError
from earmark.labels import Vocabulary

from .storing import RATE, error_of, noise_of, packed

N_CLIPS = 8


@pytest.fixture
def noise(tmp_path: Path) -> Manifest:
    return noise_of(tmp_path / "noise", N_CLIPS)


@pytest.fixture
def forbid_packing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on, packing fails the test."""
    return lambda: monkeypatch.setattr("earmark.data.pack.pack", lambda *_, **__: pytest.fail("packed a second time"))


def cached(manifest: Manifest, rate: int = RATE) -> Any:
    return cached_store(manifest, rate, progress=False)


def stores() -> list[Path]:
    return sorted((Path(os.environ["EARMARK_CACHE"]) / "stores").iterdir())


class TestCache:
    def test_is_used_again(self, noise: Manifest, forbid_packing: Callable[[], None]) -> None:
        first = cached(noise)
        assert first.sample_rate == RATE
        assert len(stores()) == 1
        forbid_packing()
        again = cached(noise)
        np.testing.assert_array_equal(again.values, first.values)
        assert again.manifest == first.manifest

    def test_of_other_labels_nothing_is_decoded(self, noise: Manifest, forbid_packing: Callable[[], None]) -> None:
        cached(noise)
        forbid_packing()
        clips = tuple(replace(clip, labels=("Purr",), group="yard", fold=2) for clip in noise.clips)
        other = Manifest(clips, Vocabulary(["Purr"]), noise.root, "table")
        assert cached(other).manifest == other

    def test_a_store_of_more_clips_serves(self, noise: Manifest, forbid_packing: Callable[[], None]) -> None:
        whole = cached(noise)
        forbid_packing()
        fewer = replace(noise, clips=noise.clips[6:2:-1])
        store = cached(fewer)
        assert store.manifest == fewer
        for index, row in enumerate((6, 5, 4, 3)):
            np.testing.assert_array_equal(store.waveform(index), whole.waveform(row))

    def test_a_store_of_fewer_clips_does_not(self, noise: Manifest) -> None:
        cached(replace(noise, clips=noise.clips[:5]))
        assert len(cached(noise)) == N_CLIPS
        assert len(stores()) == 2

    def test_another_rate_is_another_store(self, noise: Manifest) -> None:
        assert [cached(noise, rate).sample_rate for rate in (RATE, 16_000, RATE)] == [RATE, 16_000, RATE]
        assert len(stores()) == 2

    def test_a_changed_recording_is_decoded_again(self, noise: Manifest) -> None:
        cached(noise)
        soundfile.write(noise.clips[1].path, np.full(500, 0.5), RATE)
        assert cached(noise).lengths[1] == 500
        assert len(stores()) == 2

    def test_recordings_of_the_same_names_elsewhere_are_others(self, noise: Manifest, tmp_path: Path) -> None:
        first = cached(noise)
        other = noise_of(tmp_path / "other", N_CLIPS, seed=1)
        for clip, twin in zip(noise.clips, other.clips, strict=True):
            soundfile.write(twin.path, np.zeros(soundfile.info(clip.path).frames), RATE, subtype="FLOAT")
            os.utime(twin.path, ns=(clip.path.stat().st_mtime_ns,) * 2)
        assert first.values.any()
        assert not cached(other).values.any()

    def test_a_damaged_store_is_packed_again(self, noise: Manifest) -> None:
        cached(noise)
        (stores()[0] / "clips.csv").write_text("")
        assert len(cached(noise)) == N_CLIPS
        assert len(stores()) == 1

    def test_an_interrupted_one_is_gone_on_with(
        self, noise: Manifest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        original, calls = making.Partial.append, []

        def append(self: making.Partial, *arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) == 4:
                raise KeyboardInterrupt
            original(self, *arguments)

        monkeypatch.setattr(making.Partial, "append", append)
        with pytest.raises(KeyboardInterrupt):
            cached(noise)
        assert [path.name.endswith(".partial") for path in stores()] == [True]
        store = cached_store(noise, RATE)
        assert len(store) == N_CLIPS
        assert "earmark: 3 of 8 clips are packed already; going on from there\n" in capsys.readouterr().err
        assert len(calls) == 4 + 5

    def test_of_bad_recordings_nothing_is_kept(self, noise: Manifest) -> None:
        noise.clips[3].path.unlink()
        assert "1 of 8 recordings cannot be packed" in error_of(lambda: cached(noise), CollectionError)
        assert stores() == []

    def test_a_full_disk(self, noise: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(making, "write_whole", write)
        text = error_of(lambda: cached(noise), StoreError)
        assert "the disk is full" in text
        assert text.endswith("(EARMARK_CACHE names the folder of the cache)")


class TestCurated:
    def test_a_collection_is_packed_without_its_noisy_and_test_clips(self, fsdkaggle2019_folder: Path) -> None:
        store = training_store(fsdkaggle2019_folder, RATE, progress=False)
        assert store.manifest.names == ("0a.wav", "0b.wav", "0c.wav", "0d.wav")
        assert store.manifest.clips[1].labels == ("Meow", "Bark")
        assert store.manifest.clips[1].group == "11+12"

    def test_a_store_may_hold_noisy_and_test_clips_too(self, fsdkaggle2019_folder: Path, tmp_path: Path) -> None:
        whole = packed(read_collection(fsdkaggle2019_folder), tmp_path / "store")
        store = training_store(tmp_path / "store", RATE)
        assert (len(whole), len(store)) == (8, 4)
        assert store.manifest.names == ("0a.wav", "0b.wav", "0c.wav", "0d.wav")
        np.testing.assert_array_equal(store.waveform(3), whole.waveform(3))

    def test_a_store_is_taken_at_its_own_rate(self, esc50_folder: Path, tmp_path: Path) -> None:
        packed(read_collection(esc50_folder), tmp_path / "store")
        store = training_store(tmp_path / "store", 32_000)
        assert store.sample_rate == RATE
        assert [clip.fold for clip in store.manifest.clips] == [1, 1, 2, 1, 2, 2]

    @pytest.mark.parametrize("from_store", [False, True])
    def test_what_is_selected_is_what_is_learned_from(
        self, from_store: bool, esc50_folder: Path, tmp_path: Path
    ) -> None:
        def select(manifest: Manifest) -> Manifest:
            first, *others = manifest.clips[2:]
            return replace(manifest, clips=(replace(first, labels=("rain",)), *others))

        data = tmp_path / "store" if from_store else esc50_folder
        if from_store:
            packed(read_collection(esc50_folder), data)
        store = training_store(
            data, RATE, read=lambda path: select(read_collection(path)), select=select, progress=False
        )
        assert [clip.labels[0] for clip in store.manifest.clips] == ["rain", "cat", "cat", "rain"]
        assert len(store.waveform(3)) == 400

    @pytest.mark.parametrize("from_store", [False, True])
    def test_noisy_clips_stand_behind_the_curated_ones(
        self, from_store: bool, fsdkaggle2019_folder: Path, tmp_path: Path
    ) -> None:
        data = fsdkaggle2019_folder
        if from_store:
            packed(read_collection(data), tmp_path / "store")
            data = tmp_path / "store"
        store = training_store(data, RATE, noisy=True, progress=False)
        subsets = [clip.subset for clip in store.manifest.clips]
        assert subsets == ["curated"] * 4 + ["noisy"] * (len(subsets) - 4)
        assert len(subsets) > 4

    def test_noisy_clips_that_are_not_there_are_missed(self, esc50_folder: Path) -> None:
        text = error_of(lambda: training_store(esc50_folder, RATE, noisy=True), CollectionError)
        assert "has no noisy clips, which the recipe wants to learn from; set noisy.strategy=ignore" in text

    @pytest.mark.parametrize("from_store", [False, True])
    def test_nothing_to_learn_from(self, from_store: bool, tmp_path: Path, write_tone: Callable[..., Path]) -> None:
        write_tone("in/a.wav")
        (tmp_path / "in" / "clips.csv").write_text("path,labels,subset\na.wav,Bark,test\n")
        data = tmp_path / ("store" if from_store else "in")
        if from_store:
            packed(read_collection(tmp_path / "in"), data)
        text = error_of(lambda: training_store(data, RATE), CollectionError)
        assert text == f"{data}: has no curated clips to learn from"
