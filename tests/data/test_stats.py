"""Statistics of collections whose clips are known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from earmark.data.manifest import Clip, Manifest
from earmark.data.stats import Share, Statistics, pairs_together, statistics
from earmark.data.stats_picture import write_picture
from earmark.errors import MissingExtraError
from earmark.labels import Vocabulary


@pytest.fixture
def known(tmp_path: Path, write_tone: Callable[..., Path]) -> Manifest:
    """Five clips of 1 to 3 s: two curated ones of three recordings, two noisy ones of none, one to be tagged."""
    rows = [
        ("a.wav", 1.0, ("Bark",), "curated", "x", "CC0"),
        ("b.wav", 3.0, ("Bark", "Meow"), "curated", "x+ y", "CC0"),
        ("c.wav", 2.0, ("Meow",), "noisy", None, "CC BY"),
        ("d.wav", 2.0, ("Bark", "Meow"), "noisy", None, None),
        ("e.wav", 1.5, (), "test", None, None),
    ]
    for name, duration_s, *_ in rows:
        write_tone(name, duration_s=duration_s, sample_rate=8000)
    clips = tuple(
        Clip(name, tmp_path / name, labels, subset, group, license=license_)
        for name, _, labels, subset, group, license_ in rows
    )
    return Manifest(clips, Vocabulary(["Bark", "Meow", "Purr"]), tmp_path, "table")


def test_count_clips_minutes_and_recordings(known: Manifest):
    found = statistics(known, progress=False)
    assert found.subsets == {
        "curated": Share(2, pytest.approx(4 / 60), 2, 0),
        "noisy": Share(2, pytest.approx(4 / 60), 0, 2),
        "test": Share(1, pytest.approx(1.5 / 60), 0, 1),
    }
    assert found.labels["Meow"] == {
        "curated": Share(1, pytest.approx(3 / 60), 2, 0),
        "noisy": Share(2, pytest.approx(4 / 60), 0, 2),
        "test": Share(0, 0.0, 0, 0),
    }
    assert found.labels["Purr"]["curated"] == Share(0, 0.0, 0, 0)
    assert found.n_labels_per_clip == {"curated": [0, 1, 1], "noisy": [0, 1, 1], "test": [1]}
    assert found.rates == {(8000, 1, "WAV"): 5}
    assert found.licenses == {"CC0": 2, "CC BY": 1}
    assert found.unreadable == ()


def test_count_labels_together(known: Manifest):
    found = statistics(known, progress=False)
    assert found.together.tolist() == [[3, 2, 0], [2, 3, 0], [0, 0, 0]]
    assert pairs_together(found) == [("Bark", "Meow", 2)]


def test_give_the_lengths_that_shares_of_the_clips_stay_below(known: Manifest):
    lengths = statistics(known, progress=False).durations_s["curated"]
    assert lengths["shortest"] == 1.0
    assert lengths["median"] == 2.0
    assert lengths["longest"] == 3.0
    assert lengths["5 %"] == pytest.approx(1.1)


def test_workers_change_nothing(known: Manifest):
    one, many = (statistics(known, n_workers=n, progress=False) for n in (1, 7))
    np.testing.assert_array_equal(one.together, many.together)
    assert (one.subsets, one.labels, one.rates) == (many.subsets, many.labels, many.rates)


def test_a_file_that_cannot_be_read_is_named_and_the_rest_counted(known: Manifest):
    (known.root / "a.wav").write_bytes(b"no sound")
    (known.root / "c.wav").unlink()
    found = statistics(known, progress=False)
    assert [text.split(": ")[1].split(" (")[0] for text in found.unreadable] == [
        "cannot be read as audio",
        "no such file; check the spelling and the folder",
    ]
    assert found.subsets["curated"] == Share(2, pytest.approx(3 / 60), 2, 0)


def drawn(found: Statistics, target: Path) -> np.ndarray:
    write_picture(found, target)
    return imread(target)


def test_picture_grows_with_the_labels_and_has_the_subsets_colours(known: Manifest, tmp_path: Path):
    found = statistics(known, progress=False)
    small = drawn(found, tmp_path / "small.png")
    blue = np.array([0x15, 0x65, 0xC0]) / 255
    assert (np.abs(small[..., :3] - blue).max(axis=-1) < 0.02).sum() > 1000
    curated = drawn(statistics(known.subset("noisy"), progress=False), tmp_path / "noisy.png")
    assert not (np.abs(curated[..., :3] - blue).max(axis=-1) < 0.02).any()
    many = Vocabulary([*known.vocabulary, *(f"L{number}" for number in range(120))])
    tall = drawn(statistics(Manifest(known.clips, many, known.root, "table"), progress=False), tmp_path / "tall.png")
    assert tall.shape[0] > 2 * small.shape[0]
    assert tall.shape[1] == small.shape[1]


def test_picture_without_matplotlib_says_what_to_install(
    known: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = statistics(known, progress=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'earmark\[data\]'"):
        write_picture(found, tmp_path / "a.png")
