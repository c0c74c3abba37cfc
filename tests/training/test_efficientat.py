"""A peer's checkpoint as a bundle: a made-up one everywhere, the real one where it is."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from earmark.audio.picture import windows
from earmark.bundle import Bundle
from earmark.data.audioset import audioset_vocabulary
from earmark.errors import BundleError
from earmark.labels import Vocabulary
from earmark.tagging.tagger import load
from earmark.training import efficientat
from earmark.training.efficientat import FRONT_END, import_checkpoint, load_checkpoint
from earmark.training.models import MobileNet

LABELS = Vocabulary(["low", "mid", "high"])


def checkpoint_of(network: MobileNet, path: Path, **changes: Tensor | None) -> Path:
    """Write a network as EfficientAT does; a tensor given as `None` is left out."""
    tensors = {**network.state_dict(), **{name.replace("__", "."): t for name, t in changes.items()}}
    torch.save({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mn01_test.pt"


def network_of(n_labels: int = 3, **how: Any) -> MobileNet:
    torch.manual_seed(0)
    return MobileNet(n_labels, **{"width": 0.1, **how}).eval()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[efficientat.Imported, MobileNet]:
    folder, network = tmp_path_factory.mktemp("import"), network_of()
    path = checkpoint_of(network, folder / "mn01_test.pt")
    return import_checkpoint(path, folder / "mn01.onnx", LABELS), network


def test_says_what_was_made(made: tuple[efficientat.Imported, MobileNet]) -> None:
    said, network = made
    assert (said.n_labels, said.width, said.n_tensors) == (3, 0.1, len(network.state_dict()))
    assert said.n_bytes == said.path.stat().st_size
    assert 0 <= said.largest_difference < 1e-5


def test_bundle_says_where_it_comes_from(made: tuple[efficientat.Imported, MobileNet]) -> None:
    spec = Bundle(made[0].path).spec
    assert spec.labels == LABELS.names
    assert spec.licence.startswith("MIT: weights of EfficientAT")
    assert spec.recipe["description"] == "Imported from mn01_test.pt of EfficientAT, not learned by earmark."
    assert "AudioSet" in spec.data
    assert spec.metrics == {}


def test_bundle_scores_as_the_network(made: tuple[efficientat.Imported, MobileNet], rng: np.random.Generator) -> None:
    tagger = load(made[0].path)
    assert (tagger.sample_rate, tagger.bundle.spec.window_frames, tagger.bundle.spec.hop_frames) == (32_000, 500, 250)
    waveform = 0.1 * rng.standard_normal(3 * 32_000).astype(np.float32)
    pictures = windows(efficientat.clip_log_mel(waveform, FRONT_END), FRONT_END, 500, 250)
    with torch.inference_mode():
        expected = made[1](torch.from_numpy(pictures)).sigmoid().numpy().mean(axis=0)
    np.testing.assert_allclose(tagger.scores(waveform, 32_000), expected, atol=1e-5)


def test_five_seconds_are_one_window_and_ten_are_three() -> None:
    for seconds, n_windows in ((5, 1), (10, 3)):
        spectrogram = efficientat.clip_log_mel(np.ones(seconds * 32_000, dtype=np.float32), FRONT_END)
        assert spectrogram.shape[1] == seconds * 100
        assert len(windows(spectrogram, FRONT_END, 500, 250)) == n_windows


@pytest.mark.parametrize("width", [0.1, 0.2, 0.4, 0.5, 1.0, 2.0])
def test_width_is_found_by_the_shapes(width: float, path: Path) -> None:
    network, found = load_checkpoint(checkpoint_of(network_of(width=width), path))
    assert found == width
    assert not network.training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier__5__bias": None}, r"lacks 'classifier\.5\.bias'"),
        ({"features__0__0__weight": None}, r"lacks 'features\.0\.0\.weight'"),
        ({"features__3__block__0__0__weight": None}, r"lacks 'features\.3\.block\.0\.0\.weight'"),
        ({"speech_head__weight": torch.ones(2, 2)}, r"has 'speech_head\.weight'"),
        (
            {"features__16__1__bias": torch.ones(7)},
            r"tensor 'features\.16\.1\.bias' has shape \(7,\), that of width 0\.1 has \(96,\)",
        ),
    ],
)
def test_checkpoints_of_another_shape(path: Path, changes: dict[str, Tensor | None], message: str) -> None:
    checkpoint_of(network_of(), path, **changes)
    with pytest.raises(
        BundleError, match=rf"mn01_test\.pt: is no mobile network of EfficientAT's: {message}; expected"
    ):
        import_checkpoint(path, path.with_suffix(".onnx"), LABELS)
    assert not path.with_suffix(".onnx").exists()


def test_a_checkpoint_over_colour_is_none(path: Path) -> None:
    checkpoint_of(network_of(n_channels=3), path)
    with pytest.raises(BundleError, match=r"tensor 'features\.0\.0\.weight' has shape \(8, 3, 3, 3\), that"):
        import_checkpoint(path, path.with_suffix(".onnx"), LABELS)


def test_labels_that_do_not_fit(path: Path) -> None:
    checkpoint_of(network_of(50), path)
    with pytest.raises(
        BundleError, match=r"gives 50 scores, but 527 labels are named; give its own labels, .* --labels"
    ):
        import_checkpoint(path, path.with_suffix(".onnx"))


@pytest.mark.parametrize("name", ["mn10_as_mels_256_mAP_474.pt", "mn10_as_hop_15_mAP_463.pt"])
def test_other_front_ends_are_refused_by_name(tmp_path: Path, name: str) -> None:
    checkpoint_of(network_of(), tmp_path / name)
    with pytest.raises(BundleError, match="is named as one that was learned with other bands or frames"):
        import_checkpoint(tmp_path / name, tmp_path / "m.onnx", LABELS)


def test_a_bundle_that_differs_is_not_written(
    path: Path, made: tuple[efficientat.Imported, MobileNet], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_of(network_of(), path)
    monkeypatch.setattr(efficientat, "to_onnx", lambda *_: onnx.load(made[0].path))
    monkeypatch.setattr(efficientat, "_largest_difference", lambda network, bundle: 0.25)
    with pytest.raises(BundleError, match=r"scores differ from torch's by up to 0\.25, expected no more than 0\.0001"):
        import_checkpoint(path, path.with_suffix(".onnx"), LABELS)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.real_data
def test_the_real_checkpoint_hears_what_is_in_clear_clips(real_data: Path, tmp_path: Path) -> None:
    checkpoint = real_data.parent / "models" / "mn04_as_mAP_432.pt"
    if not checkpoint.is_file():
        pytest.skip(f"no checkpoint at {checkpoint}")
    made = import_checkpoint(checkpoint, tmp_path / "mn04.onnx")
    assert (made.n_labels, made.width, made.n_tensors) == (527, 0.4, 312)
    tagger = load(made.path)
    assert tagger.labels == audioset_vocabulary().names
    names = {"dog": {"Dog", "Bark"}, "rooster": {"Crowing_and_cock-a-doodle-doo", "Chicken_and_rooster", "Fowl"}}
    with (real_data / "esc10" / "meta" / "esc50.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["category"] in names][::8]
    found = [
        {tag.label for tag in tagger.tag(real_data / "esc10" / "audio" / row["filename"], top_k=5)} for row in rows
    ]
    assert [bool(tags & names[row["category"]]) for tags, row in zip(found, rows, strict=True)] == [True] * len(rows)
