"""What sounds alike is found, by the model that made the file and by no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from earmark.errors import BundleError, EarmarkError
from earmark.tagging.embedding import Embedding, joined, n_features, unit
from earmark.tagging.search import About, EmbeddingIndex, Match, about, embeddings_file, searching_tagger
from earmark.tagging.tagger import load

ABOUT = About(earmark_embeddings=1, model="embedded", sha256="0" * 64)
MakeBundle = Callable[..., Path]


def write_index(path: Path, recordings: dict[str, list[list[float]]], said: About = ABOUT) -> EmbeddingIndex:
    """Of each recording, vectors of two numbers, a second each."""
    with embeddings_file(path, said, 2) as write:
        for name, vectors in recordings.items():
            starts = np.arange(len(vectors), dtype=float)
            write(Path(name), Embedding(starts, starts + 1, unit(np.array(vectors))))
    return EmbeddingIndex(path)


class TestNearest:
    def test_are_in_order_of_their_angles(self, tmp_path: Path) -> None:
        index = write_index(tmp_path / "i.npz", {"east": [[1, 0]], "north-east": [[2, 2]], "west": [[-3, 0]]})
        found = index.nearest(np.array([0.6, 0.8], dtype=np.float32), top_k=3)
        assert [match.path for match in found] == ["north-east", "east", "west"]
        assert [match.similarity for match in found] == pytest.approx([1.4 / np.sqrt(2), 0.6, -0.6])
        assert index.nearest(np.array([1.0, 0.0]), top_k=1) == [Match("east", 1.0, 0.0, 1.0)]

    def test_equal_ones_are_in_the_order_of_the_index(self, tmp_path: Path) -> None:
        index = write_index(tmp_path / "i.npz", {name: [[1, 0]] for name in "dacb"})
        assert [match.path for match in index.nearest(np.array([1.0, 0.0]), top_k=2)] == ["d", "a"]

    def test_are_recordings_once_each_with_their_nearest_window(self, tmp_path: Path) -> None:
        index = write_index(tmp_path / "i.npz", {"a": [[1, 0], [0, 1], [1, 1]], "b": [[1, 0.1], [-1, 0]]})
        found = index.nearest(np.array([0.0, 1.0]), top_k=5)
        assert [(match.path, match.start_s, match.end_s) for match in found] == [("a", 1.0, 2.0), ("b", 0.0, 1.0)]
        assert index.nearest(np.array([0.0, 1.0]), without=0)[0].path == "b"
        np.testing.assert_allclose(index.vector(0), np.array([1, 1]) / np.sqrt(2), atol=1e-6)

    def test_agree_with_plain_arithmetic(self, tmp_path: Path, rng: np.random.Generator) -> None:
        vectors = rng.standard_normal((20_000, 2))
        index = write_index(tmp_path / "i.npz", {f"{i}": [list(vector)] for i, vector in enumerate(vectors)})
        wanted = unit(rng.standard_normal((1, 2)))[0]
        best = np.argsort(-(vectors @ wanted / np.linalg.norm(vectors, axis=1)))[:1]
        assert [int(match.path) for match in index.nearest(wanted, top_k=1)] == list(best)

    def test_of_none_are_none(self, tmp_path: Path) -> None:
        assert write_index(tmp_path / "i.npz", {}).nearest(np.array([1.0, 0.0])) == []
        assert write_index(tmp_path / "i.npz", {"a": [[1, 0]]}).nearest(np.array([1.0, 0.0]), without=0) == []

    def test_what_does_not_fit_is_refused(self, tmp_path: Path) -> None:
        index = write_index(tmp_path / "i.npz", {"a": [[1, 0]]})
        with pytest.raises(EarmarkError, match=r"a vector of shape \(3,\), but embeddings of \(2,\)"):
            index.nearest(np.ones(3))
        with pytest.raises(ValueError, match="top_k=0; expected at least 1"):
            index.nearest(np.ones(2), top_k=0)


class TestFile:
    def test_is_one_that_numpy_opens(self, tmp_path: Path) -> None:
        write_index(tmp_path / "i.npz", {"a/höch.wav": [[3, 4]], "b": [[1, 0], [0, 1]]})
        with np.load(tmp_path / "i.npz") as file:
            assert file["paths"].tolist() == ["a/höch.wav", "b"]
            assert file["recordings"].tolist() == [0, 1, 1]
            np.testing.assert_allclose(file["embeddings"], [[0.6, 0.8], [1, 0], [0, 1]], atol=1e-6)
            assert file["embeddings"].dtype == np.float32
            assert (file["starts_s"].tolist(), file["ends_s"].tolist()) == ([0, 0, 1], [1, 1, 2])
            assert msgspec.json.decode(str(file["about"]), type=About) == ABOUT

    def test_an_interrupted_one_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), embeddings_file(tmp_path / "i.npz", ABOUT, 2):
            raise KeyboardInterrupt
        assert list(tmp_path.iterdir()) == []

    def test_a_missing_damaged_foreign_or_newer_one_is_refused(self, tmp_path: Path) -> None:
        write_index(tmp_path / "i.npz", {"a": [[1, 0]]})
        whole = (tmp_path / "i.npz").read_bytes()
        (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
        np.savez(tmp_path / "other.npz", x=np.ones(3))
        with np.load(tmp_path / "i.npz") as file:
            np.savez_compressed(tmp_path / "small.npz", **file)
        for name in ("cut", "other", "small"):
            with pytest.raises(EarmarkError, match=f"{name}.npz: is no whole file of embeddings"):
                EmbeddingIndex(tmp_path / f"{name}.npz")
        with pytest.raises(EarmarkError, match="no such file; make it with 'earmark tag RECORDINGS --embeddings"):
            EmbeddingIndex(tmp_path / "none.npz")
        newer = msgspec.structs.replace(ABOUT, earmark_embeddings=2)
        with pytest.raises(EarmarkError, match="embeddings of format 2; this release reads up to 1; upgrade"):
            write_index(tmp_path / "newer.npz", {}, newer)


class TestModel:
    def test_is_the_one_that_made_it(self, tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
        path, other = make_tiny_bundle(tmp_path / "m.onnx"), make_tiny_bundle(tmp_path / "other.onnx", data="else")
        index = write_index(tmp_path / "i.npz", {}, about(load(path), hop_s=0.25, timed=False))
        tagger = searching_tagger(index, None)
        assert tagger.bundle.path == path
        assert tagger.bundle.spec.hop_frames == 25
        with pytest.raises(BundleError, match=r"was made with the model .*m\.onnx .*other\.onnx is another"):
            searching_tagger(index, str(other))
        path.rename(tmp_path / "moved.onnx")
        with pytest.raises(BundleError, match=r"is no longer at .*m\.onnx; name its file with --model"):
            searching_tagger(index, None)
        assert searching_tagger(index, str(tmp_path / "moved.onnx")).bundle.embeds
        with pytest.raises(BundleError, match="no such model file"):
            searching_tagger(index, str(path))

    def test_the_embedded_one_is_known_by_name(self) -> None:
        assert about(load(), hop_s=None, timed=True).model == "embedded"


class TestEmbeddings:
    def test_of_several_networks_count_alike(self) -> None:
        features = np.array([[3.0, 4.0, 100.0, 0.0]]), np.array([[0.0, -0.1]])
        root = np.sqrt(3)
        expected = np.array([[0.6, 0.8, 1, 0, 0, -1]]) / root
        np.testing.assert_allclose(joined(features, [(2, 2), (2,)]), expected, atol=1e-6)
        assert (joined([np.zeros((1, 2))], [(2,)]) == 0).all()

    def test_are_had_of_files_and_their_parts(
        self, tiny_bundle: Path, write_tone: Callable[..., Path], rng: np.random.Generator
    ) -> None:
        tagger = load(tiny_bundle)
        low, near, high = write_tone("a.wav", 300.0, 3.0), write_tone("b.wav", 320.0), write_tone("c.wav", 5000.0)
        one, other, third = (tagger.embed(path) for path in (low, near, high))
        assert one.shape == (24,)
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)
        assert one @ other > one @ third
        part = tagger.embed(low, start_s=1, end_s=2)
        assert part @ one > 0.99
        embedder = load(tiny_bundle, embeds=True)
        assert n_features(embedder) == 24 > n_features(tagger) == 0
        np.testing.assert_array_equal(embedder.embed(low), one)
        timeline = embedder.timeline(low)
        assert timeline.embeddings is not None
        assert timeline.embeddings.shape == (len(timeline.scores), 24)
        np.testing.assert_array_equal(timeline.scores, tagger.timeline(low).scores)
