"""How far two models are apart, on sounds that are known and by labels that are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from earmark.audio.decode import Waveform, decode
from earmark.audio.picture import picture
from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.data.pack import pack
from earmark.data.store import open_store
from earmark.errors import AudioError, CollectionError
from earmark.labels import Vocabulary
from earmark.metrics import lwlrap
from earmark.tagging.collection_sounds import CollectionSounds
from earmark.tagging.parity import Parity, Sounds, compare, middle_windows, parity_of, synthesised_sounds
from earmark.tagging.tagger import Tagger, load

MakeBundle = Callable[..., Path]
WriteTone = Callable[..., Path]
KNOWN = Vocabulary(("low", "mid", "high"))


@pytest.fixture(scope="module")
def tagger(tiny_bundle: Path) -> Tagger:
    return load(tiny_bundle, n_threads=1)


@pytest.fixture
def shifted(tmp_path: Path, make_tiny_bundle: MakeBundle, tiny_bundle: Path) -> Tagger:
    """The tiny model with its labels' weights moved round by one, so that it is wrong of every tone."""
    model = onnx.load(tiny_bundle)
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.roll(weights, 1, axis=1), "weights"))
    return load(make_tiny_bundle(tmp_path / "shifted.onnx", model=model), n_threads=1)


@pytest.fixture
def tones(write_tone: WriteTone) -> Manifest:
    said = {"l.wav": (300.0, "low"), "m.wav": (1800.0, "mid"), "h.wav": (5000.0, "high"), "n.wav": (320.0, "low")}
    clips = [Clip(name, write_tone(name, hz, 0.5), (label,)) for name, (hz, label) in said.items()]
    return Manifest(tuple(clips), KNOWN, clips[0].path.parent, "table")


class TestParity:
    def test_by_hand(self) -> None:
        before = np.array([[0.9, 0.1], [0.6, 0.5]])
        after = np.array([[0.8, 0.1], [0.4, 0.5]])
        parity = parity_of(before, after, np.array([[1, 0], [1, 0]]), [0, 1])
        assert parity == Parity(2, pytest.approx(0.2), pytest.approx(0.075), 0.5, 1.0, 0.75)

    def test_without_labels(self) -> None:
        scores = np.array([[0.9, 0.1]])
        assert parity_of(scores, scores) == Parity(1, 0.0, 0.0, 1.0)
        assert parity_of(scores, scores).figures() == {"n_clips": 1, "largest": 0.0, "mean": 0.0, "same_best": 1.0}

    def test_only_the_collections_labels_are_judged(self) -> None:
        before, after = np.array([[0.3, 0.2, 0.9]]), np.array([[0.2, 0.3, 0.9]])
        parity = parity_of(before, after, np.array([[1, 0, 0]]), [0, 1])
        assert (parity.lwlrap_before, parity.lwlrap_after) == (1.0, 0.5)


class TestCompare:
    @pytest.mark.parametrize("n_workers", [1, 3])
    def test_what_both_models_say(self, tagger: Tagger, shifted: Tagger, tones: Manifest, n_workers: int) -> None:
        sounds = CollectionSounds(tones, None, KNOWN, "tones").held_out()
        parity, errors = compare(tagger, shifted, sounds, n_workers=n_workers)
        waveforms = [decode(clip.path) for clip in tones.clips]
        scores = [np.stack([t.scores(w.samples, w.sample_rate) for w in waveforms]) for t in (tagger, shifted)]
        assert parity.largest == pytest.approx(np.abs(scores[0] - scores[1]).max())
        assert (parity.same_best, parity.lwlrap_before) == (0.0, 1.0)
        assert parity.lwlrap_after == pytest.approx(lwlrap(tones.targets(), scores[1]))
        assert (parity.n_clips, errors) == (4, [])

    def test_a_model_and_itself(self, tagger: Tagger) -> None:
        parity, _ = compare(tagger, tagger, synthesised_sounds())
        assert parity == Parity(len(synthesised_sounds()), 0.0, 0.0, 1.0)

    def test_a_clip_that_cannot_be_read(self, tagger: Tagger, shifted: Tagger, tones: Manifest) -> None:
        tones.clips[1].path.write_text("no recording")
        parity, errors = compare(tagger, shifted, CollectionSounds(tones, None, KNOWN, "tones").held_out())
        assert parity.n_clips == 3
        assert [str(error).partition(": ")[0] for error in errors] == [str(tones.clips[1].path)]

    def test_none_that_can_be_read(self, tagger: Tagger, tones: Manifest) -> None:
        for clip in tones.clips:
            clip.path.unlink()
        sounds = CollectionSounds(tones, None, KNOWN, "tones").held_out()
        with pytest.raises(AudioError, match=r"l\.wav: no such file"):
            compare(tagger, tagger, sounds)
        with pytest.raises(AudioError) as caught:
            middle_windows(tagger, sounds, 3)
        assert str(caught.value) == ("none of 3 clips can be read, of 4 clips of tones; check them with 'earmark tag'")

    def test_the_bar_goes_to_standard_error(self, tagger: Tagger, capsys: pytest.CaptureFixture[str]) -> None:
        sounds = Sounds([lambda: Waveform(np.zeros(16_000, dtype=np.float32), 16_000)], "silence")
        compare(tagger, tagger, sounds, progress=True)
        out, err = capsys.readouterr()
        assert out == ""
        assert "compare" in err


class TestSynthesised:
    def test_some_are_longer_than_a_window_and_all_are_always_the_same(self) -> None:
        lengths = []
        for first, second in zip(synthesised_sounds().clips, synthesised_sounds().clips, strict=True):
            np.testing.assert_array_equal(first().samples, second().samples)
            lengths.append(len(first().samples) / first().sample_rate)
        assert min(lengths) < 4
        assert sum(length >= 12 for length in lengths) == 8
        assert synthesised_sounds().said == "24 synthesised sounds"


class TestMiddleWindows:
    def test_one_a_clip(self, tagger: Tagger, tones: Manifest) -> None:
        seen = middle_windows(tagger, CollectionSounds(tones, None, KNOWN, "tones").held_out(), 64)
        assert seen.shape == (4, 1, 24, 100)

    def test_spread_over_all(self, tagger: Tagger, tones: Manifest) -> None:
        seen = middle_windows(tagger, CollectionSounds(tones, None, KNOWN, "tones").held_out(), 2)
        for window, clip in zip(seen, (tones.clips[0], tones.clips[3]), strict=True):
            scores = tagger.bundle.scores(window[None])[0]
            waveform = decode(clip.path)
            np.testing.assert_array_equal(scores, tagger.scores(waveform.samples, waveform.sample_rate))

    def test_trimmed_as_the_front_end_says(
        self, tmp_path: Path, make_tiny_bundle: MakeBundle, tagger: Tagger, rng: np.random.Generator
    ) -> None:
        front_end = msgspec.to_builtins(tagger.picture_spec) | {"trim_top_db": 60.0}
        trimming = load(make_tiny_bundle(tmp_path / "a.onnx", front_end=front_end))
        loud = rng.standard_normal(16_000).astype(np.float32) / 4
        clip = Waveform(np.concatenate([np.zeros(160_000, dtype=np.float32), loud]), 16_000)
        (seen,) = middle_windows(trimming, Sounds([lambda: clip], "one"), 1)
        assert seen.min() > picture(clip.samples, trimming.picture_spec).min() + 1  # in the middle there was silence


class TestCollectionSounds:
    def test_held_out_and_learned_from(self, tones: Manifest) -> None:
        clips = CollectionSounds(tones, None, KNOWN, "tones", {"h.wav", "gone.wav"})
        assert clips.held_out().said == "1 clips of tones, none learned from"
        np.testing.assert_array_equal(clips.held_out().targets, [[0, 0, 1]])
        assert len(clips.learned_from()) == 3

    def test_labels_in_another_order(self, tones: Manifest) -> None:
        other = Manifest(tones.clips[::2], Vocabulary(("high", "low")), tones.root, "table")
        sounds = CollectionSounds(other, None, KNOWN, "tones").held_out()
        assert sounds.columns == [2, 0]
        np.testing.assert_array_equal(sounds.targets, [[1, 0, 0], [0, 0, 1]])

    def test_labels_that_the_model_does_not_know(self, tones: Manifest) -> None:
        sounds = CollectionSounds(tones, None, Vocabulary(("low", "mid")), "tones").held_out()
        assert sounds.targets is None
        assert sounds.said == "4 clips of tones; no lwlrap, high is no label of the model"

    def test_clips_without_labels(self, tones: Manifest) -> None:
        bare = tones.only([Clip("a.wav", tones.clips[0].path, (), "test")])
        sounds = CollectionSounds(bare, None, KNOWN, "tones").held_out()
        assert sounds.targets is None
        assert sounds.said == "1 clips of tones; no lwlrap, some have no label"

    def test_curated_clips_alone_where_there_are_any(self, tones: Manifest) -> None:
        mixed = tones.only([tones.clips[0], Clip("x.wav", tones.clips[1].path, ("mid",), "noisy")])
        assert len(CollectionSounds(mixed, None, KNOWN, "tones").held_out()) == 1

    def test_from_a_store(self, tagger: Tagger, tones: Manifest, tmp_path: Path) -> None:
        pack(tones, tmp_path / "store", Encoding.waveform(16_000), progress=False)
        store = open_store(tmp_path / "store")
        for clip in tones.clips:
            clip.path.unlink()
        sounds = CollectionSounds(store.manifest, store, KNOWN, "store").held_out()
        parity, errors = compare(tagger, tagger, sounds)
        assert (parity.n_clips, parity.lwlrap_after, errors) == (4, 1.0, [])

    def test_no_clip(self, tones: Manifest) -> None:
        with pytest.raises(CollectionError) as caught:
            CollectionSounds(tones.only([]), None, KNOWN, "tones")
        assert str(caught.value) == "tones: has no clips to compare models on; name another collection"
