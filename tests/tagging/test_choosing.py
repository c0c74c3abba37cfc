"""Tags of whole files and events, of one model or of several, by thresholds of one's own or of the bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.bundle import Thresholds
from earmark.errors import BundleError, EarmarkError
from earmark.tagging.choosing import Choice, Chooser, model_names
from earmark.tagging.engine import Engine
from earmark.tagging.events import EventSpec
from earmark.tagging.mapping import LabelNames
from earmark.tagging.tagger import Tag, Tagger, load

MakeBundle = Callable[..., Path]
RATE = 16_000


@pytest.fixture
def low_then_high(tmp_path: Path) -> Path:
    """Four seconds of 300 Hz, four of near silence, four of 5000 Hz."""
    time_s = np.arange(4 * RATE) / RATE
    parts = [0.5 * np.sin(2 * np.pi * 300 * time_s), 1e-5 * np.ones(4 * RATE), 0.5 * np.sin(2 * np.pi * 5000 * time_s)]
    path = tmp_path / "both.wav"
    soundfile.write(path, np.concatenate(parts), RATE)
    return path


@pytest.fixture
def tagger(tiny_bundle: Path) -> Tagger:
    return load(tiny_bundle, n_threads=1)


def chosen(path: Path, *taggers: Tagger, **choice: object) -> list[Tag]:
    return Chooser(Engine(taggers), Choice(**choice))(path).tags  # type: ignore[arg-type]


def test_whole_files_are_tagged_as_by_the_tagger(tagger: Tagger, low_then_high: Path) -> None:
    assert chosen(low_then_high, tagger, top_k=2) == tagger.tag(low_then_high, top_k=2)
    assert chosen(low_then_high, tagger, threshold=0.5) == tagger.tag(low_then_high, threshold=0.5)


def test_events_lie_where_the_sounds_are(tagger: Tagger, low_then_high: Path) -> None:
    found = chosen(low_then_high, tagger, threshold=0.9, timeline=EventSpec(release=1))
    assert [tag.label for tag in found] == ["low", "high"]
    assert found[0].start_s == 0
    assert found[0].end_s == pytest.approx(4, abs=0.5)
    assert found[1].start_s == pytest.approx(8, abs=0.5)
    assert found[1].end_s == pytest.approx(12, abs=0.01)
    assert min(tag.score for tag in found) > 0.9


def test_without_a_threshold_the_bundle_s_own_count(
    tagger: Tagger, low_then_high: Path, tmp_path: Path, make_tiny_bundle: MakeBundle
) -> None:
    own = Thresholds(rule="f1", values=(0.9, None, None))
    strict = load(make_tiny_bundle(tmp_path / "strict.onnx", thresholds=own))
    assert [tag.label for tag in chosen(low_then_high, strict, timeline=EventSpec())] == ["low"]
    assert {tag.label for tag in chosen(low_then_high, tagger, timeline=EventSpec())} >= {"low", "high"}


def test_names_of_events(tagger: Tagger, low_then_high: Path) -> None:
    names = LabelNames({"low": "tone", "high": "tone"}, only_mapped=True)
    spec = EventSpec(release=1, max_gap_s=6)
    [event] = chosen(low_then_high, tagger, threshold=0.9, timeline=spec, names=names)
    assert (event.label, event.start_s) == ("tone", 0)
    assert event.end_s == pytest.approx(12, abs=0.01)


def test_of_several_models_labels_say_whose_they_are(tagger: Tagger, low_then_high: Path) -> None:
    found = chosen(low_then_high, tagger, tagger, top_k=1)
    [best] = tagger.tag(low_then_high, top_k=1)
    assert [tag.label for tag in found] == [f"tiny:{best.label}", f"tiny-2:{best.label}"]
    events = chosen(low_then_high, tagger, tagger, threshold=0.9, timeline=EventSpec(release=1))
    assert [tag.label for tag in events] == ["tiny:low", "tiny-2:low", "tiny:high", "tiny-2:high"]


def test_models_of_runs_are_called_as_the_run(tmp_path: Path, make_tiny_bundle: MakeBundle) -> None:
    (tmp_path / "a,b").mkdir()
    paths = [make_tiny_bundle(tmp_path / name) for name in ("a,b/model.onnx", "other.onnx")]
    assert model_names([load(path) for path in paths]) == ["a-b", "other"]


def test_names_are_of_one_model(tagger: Tagger) -> None:
    with pytest.raises(EarmarkError, match="--labels names the labels of one model"):
        Chooser(Engine([tagger, tagger]), Choice(names=LabelNames({})))


def test_thresholds_that_are_not_there_are_missed_at_once(tagger: Tagger) -> None:
    with pytest.raises(BundleError, match="has no thresholds of its own"):
        Chooser(Engine([tagger]), Choice(threshold="auto"))
