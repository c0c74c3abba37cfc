"""A table of scores for a collection, in the collection's order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from earmark.audio.picture import PictureSpec
from earmark.audio.views import TtaSpec
from earmark.data.encoding import Encoding
from earmark.data.manifest import Clip, Manifest
from earmark.data.pack import pack
from earmark.data.spectrograms import log_mel_encoding
from earmark.data.store import open_store
from earmark.errors import BundleError, CollectionError
from earmark.labels import Vocabulary
from earmark.tagging.predict import predict_clips
from earmark.tagging.tagger import Tagger, load
from tests.conftest import TINY_PICTURE

WriteTone = Callable[..., Path]


@pytest.fixture(scope="module")
def tagger(tiny_bundle: Path) -> Tagger:
    return load(tiny_bundle, n_threads=1)


def collection(paths: list[Path], labels: list[str], root: Path) -> Manifest:
    clips = tuple(Clip(path.name, path, (), "test") for path in paths)
    return Manifest(clips, Vocabulary(labels), root, "table")


def test_rows_and_columns_are_the_collections(tagger: Tagger, write_tone: WriteTone, tmp_path: Path) -> None:
    paths = [write_tone("c.wav", 5000), write_tone("a.wav", 300), write_tone("b.wav", 1800)]
    table, errors = predict_clips(tagger, collection(paths, ["high", "low", "mid"], tmp_path), progress=False)
    assert errors == []
    assert table.fnames == ("c.wav", "a.wav", "b.wav")
    assert table.labels.names == ("high", "low", "mid")
    assert table.scores.argmax(axis=1).tolist() == [0, 1, 2]
    for path, row in zip(paths, table.scores, strict=True):
        samples, rate = soundfile.read(path, dtype="float32")
        np.testing.assert_array_equal(row, tagger.scores(samples, rate)[[2, 0, 1]])


def test_some_of_the_labels_will_do(tagger: Tagger, write_tone: WriteTone, tmp_path: Path) -> None:
    table, _ = predict_clips(tagger, collection([write_tone()], ["high"], tmp_path), progress=False)
    assert table.scores.shape == (1, 1)


def test_a_bad_clip_scores_0_and_is_named(tagger: Tagger, write_tone: WriteTone, tmp_path: Path) -> None:
    broken = tmp_path / "b.wav"
    broken.write_text("no recording")
    paths = [write_tone("a.wav", 300), broken, tmp_path / "none.wav", write_tone("c.wav", 5000)]
    table, errors = predict_clips(tagger, collection(paths, ["low", "mid", "high"], tmp_path), progress=False)
    assert [str(error).partition(": ")[0] for error in errors] == [str(broken), str(tmp_path / "none.wav")]
    np.testing.assert_array_equal(table.scores[1:3], np.zeros((2, 3)))
    assert table.scores[[0, 3]].argmax(axis=1).tolist() == [0, 2]
    assert (table.scores[[0, 3]].max(axis=1) > 0.5).all()


def test_no_clips(tagger: Tagger, tmp_path: Path) -> None:
    table, errors = predict_clips(tagger, collection([], ["low"], tmp_path), progress=False)
    assert table.scores.shape == (0, 1)
    assert errors == []


@pytest.mark.parametrize("n_workers", [1, 3])
def test_workers_change_nothing(tagger: Tagger, write_tone: WriteTone, tmp_path: Path, n_workers: int) -> None:
    clips = collection([write_tone(f"{i}.wav", 100.0 * (i + 1), 0.2) for i in range(8)], ["low", "mid"], tmp_path)
    expected, _ = predict_clips(tagger, clips, progress=False)
    table, _ = predict_clips(tagger, clips, n_workers=n_workers, progress=False)
    np.testing.assert_array_equal(table.scores, expected.scores)


def test_the_bar_goes_to_standard_error(
    tagger: Tagger, write_tone: WriteTone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict_clips(tagger, collection([write_tone()], ["low"], tmp_path))
    out, err = capsys.readouterr()
    assert out == ""
    assert "predict" in err


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (["low", "Bark"], "1 of the 2 labels of {root}: Bark; "),
        (list("abcdefg"), "7 of the 7 labels of {root}: a, b, c, d, e …; "),
    ],
)
def test_labels_that_the_model_does_not_know(tagger: Tagger, tmp_path: Path, labels: list[str], text: str) -> None:
    with pytest.raises(BundleError) as caught:
        predict_clips(tagger, collection([], labels, tmp_path))
    assert str(caught.value) == (
        f"{tagger.bundle.path}: does not know {text.format(root=tmp_path)}use a model that was learned for them"
    )


def test_a_packed_store_scores_as_its_files(tagger: Tagger, write_tone: WriteTone, tmp_path: Path) -> None:
    paths = [write_tone("own/a.wav", 300, sample_rate=16_000), write_tone("own/b.wav", 5000, sample_rate=16_000)]
    manifest = collection(paths, ["low", "mid", "high"], tmp_path / "own")
    tta = TtaSpec(n=2)
    of_files, _ = predict_clips(tagger, manifest, tta=tta, progress=False)
    for name, encoding in {"waveforms": Encoding.waveform(16_000), "log-mel": log_mel_encoding(TINY_PICTURE)}.items():
        pack(manifest, tmp_path / name, encoding, progress=False)
        store = open_store(tmp_path / name)
        of_store, _ = predict_clips(tagger, store.manifest, store=store, tta=tta, progress=False)
        np.testing.assert_allclose(of_store.scores, of_files.scores, atol=0.02)  # stores round


def test_spectrograms_of_another_front_end_are_refused(tagger: Tagger, write_tone: WriteTone, tmp_path: Path) -> None:
    manifest = collection([write_tone("own/a.wav", 300)], ["low"], tmp_path / "own")
    other = msgspec.structs.replace(TINY_PICTURE.log_mel, n_mels=30)
    pack(manifest, tmp_path / "store", log_mel_encoding(PictureSpec(log_mel=other)), progress=False)
    store = open_store(tmp_path / "store")
    with pytest.raises(CollectionError, match=r"spectrograms of another front end than .*tiny.onnx takes"):
        predict_clips(tagger, store.manifest, store=store, progress=False)
