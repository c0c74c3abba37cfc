"""Folds: recordings stay whole, labels are spread, and the order of a table changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from earmark.data.folds import assign_folds, components, fold_report, read_folds, write_folds
from earmark.data.layouts import read_collection
from earmark.data.manifest import NEVER_HELD_OUT, Clip, Manifest
from earmark.errors import CollectionError, MissingExtraError
from earmark.labels import Vocabulary

LABELS = ("A", "B", "C", "D")


def collection(
    labels: Sequence[tuple[str, ...]],
    groups: Sequence[str | None] | None = None,
    folds: Sequence[int | None] | None = None,
    vocabulary: Sequence[str] = LABELS,
) -> Manifest:
    groups = groups or [None] * len(labels)
    folds = folds or [None] * len(labels)
    clips = tuple(
        Clip(f"{index:03}.wav", Path(f"{index:03}.wav"), names, group=group, fold=fold)
        for index, (names, group, fold) in enumerate(zip(labels, groups, folds, strict=True))
    )
    return Manifest(clips, Vocabulary(vocabulary), Path(), "table")


def random_collection(*, grouped: bool, seed: int = 0, n_clips: int = 200) -> Manifest:
    generator = np.random.default_rng(seed)
    labels = [tuple(generator.choice(LABELS, size=generator.integers(1, 3), replace=False)) for _ in range(n_clips)]
    sources = generator.integers(0, 90, size=(n_clips, 2))
    groups = [f"s{first}" if first % 9 else f"s{first}+s{second}" for first, second in sources]
    return collection(labels, groups if grouped else None)


def error_of(manifest: Manifest, n_folds: int | None = None) -> str:
    with pytest.raises(CollectionError) as caught:
        assign_folds(manifest, n_folds)
    return str(caught.value)


def assert_recordings_whole(manifest: Manifest, folds: np.ndarray) -> None:
    """Collect the folds of each source by itself, independently of `components`."""
    folds_of_source: dict[str, set[int]] = {}
    for clip, fold in zip(manifest.clips, folds, strict=True):
        for source in clip.group.split("+") if clip.group else ():
            folds_of_source.setdefault(source, set()).add(int(fold))
    assert all(len(found) == 1 for found in folds_of_source.values())


def test_components_by_hand():
    groups = ["a", "b", "c", "a+b", None, "c", None, "d+e", "e+f", "f", ""]
    numbers = components(groups)
    assert numbers.tolist() == [0, 0, 1, 0, 2, 1, 3, 4, 4, 4, 5]
    assert components([]).shape == (0,)


def test_official_folds_are_numbered_from_zero_in_their_order():
    manifest = collection([("A",)] * 4, folds=[5, 2, 9, 2])
    for n_folds in (None, 3):
        folds = assign_folds(manifest, n_folds)
        assert folds.dtype == np.int64
        assert folds.tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("grouped", [True, False])
def test_each_fold_gets_its_share_of_clips_and_labels(grouped: bool):
    manifest = random_collection(grouped=grouped)
    folds = assign_folds(manifest, 4)
    assert_recordings_whole(manifest, folds)
    report = fold_report(manifest.targets(), folds)
    assert sorted(set(folds)) == [0, 1, 2, 3]
    assert min(report.sizes) >= 45
    assert report.largest_deviation < 0.05
    assert report.absent == ()


def test_there_are_five_folds_by_default():
    assert len(set(assign_folds(random_collection(grouped=True)))) == 5


@pytest.mark.parametrize("grouped", [True, False])
def test_folds_depend_on_the_seed_and_not_on_the_order_of_clips(grouped: bool):
    manifest = random_collection(grouped=grouped)
    folds = assign_folds(manifest, seed=1)
    np.testing.assert_array_equal(folds, assign_folds(manifest, seed=1))
    assert (folds != assign_folds(manifest, seed=2)).any()
    order = np.random.default_rng(3).permutation(len(manifest))
    shuffled = Manifest(tuple(manifest.clips[index] for index in order), manifest.vocabulary, Path(), "table")
    np.testing.assert_array_equal(assign_folds(shuffled, seed=1), folds[order])


def test_equal_recordings_are_divided_exactly():
    labels = [(label,) for label in LABELS for _ in range(10)]
    groups = [f"{label}{index // 2}" for label in LABELS for index in range(10)]
    manifest = collection(labels, groups)
    report = fold_report(manifest.targets(), assign_folds(manifest))
    assert report.sizes == (8, 8, 8, 8, 8)
    assert report.largest_deviation == 0


def test_as_many_recordings_as_folds_fill_every_fold():
    for seed in range(20):
        manifest = random_collection(grouped=False, seed=seed, n_clips=60)
        groups = np.random.default_rng(seed).integers(0, 5, size=55)
        clips = tuple(
            Clip(clip.name, clip.path, clip.labels, group=f"s{group}")
            for clip, group in zip(manifest.clips, [*range(5), *groups], strict=True)
        )
        folds = assign_folds(Manifest(clips, manifest.vocabulary, Path(), "table"), seed=seed)
        assert sorted(set(folds)) == [0, 1, 2, 3, 4]


def test_one_label_and_clips_without_any_are_divided_too():
    manifest = collection([("A",)] * 6 + [()] * 4, vocabulary=["A"])
    folds = assign_folds(manifest, 2)
    assert fold_report(manifest.targets(), folds).sizes == (5, 5)
    assert fold_report(manifest.targets(), folds).largest_deviation == 0


def test_fewer_recordings_than_folds_are_refused():
    manifest = collection([("A",)] * 6, ["a", "b", "a+b", "c", "c", "d"])
    assert error_of(manifest) == (
        "5 folds from 3 independent recordings (6 clips); expected 5 or more: ask for fewer folds, or add recordings"
    )
    assert error_of(collection([])).startswith("5 folds from 0 independent recordings (0 clips)")


def test_another_number_than_the_official_one_is_refused():
    assert error_of(collection([("A",)] * 4, folds=[1, 2, 1, 2]), 4) == (
        "4 folds asked for, but the collection comes with 2 official ones; ask for 2, or clear the fold column"
    )


def test_incomplete_official_folds_are_refused():
    assert error_of(collection([("A",)] * 4, folds=[1, 2, None, None])) == (
        "2 of 4 clips have no fold, the first is '002.wav'; give every clip a fold, or none"
    )


def test_official_folds_that_tear_a_recording_apart_are_refused():
    assert error_of(collection([("A",)] * 4, ["a", "b", "c", "a+c"], [1, 1, 2, 2])) == (
        "clips '000.wav' (fold 1) and '002.wav' (fold 2) share a recording; "
        "correct the fold column or the group column, or clear one of them"
    )


def test_a_single_fold_is_refused():
    manifest = collection([("A",)] * 4)
    assert error_of(manifest, 1) == "1 folds: nothing would be held out; expected 2 or more"
    assert error_of(manifest, 0) == "0 folds: nothing would be held out; expected 2 or more"
    official = collection([("A",)] * 4, folds=[1] * 4)
    assert error_of(official) == "all clips are in fold 1; expected 2 folds or more, or no fold column"


def test_test_clips_are_refused():
    manifest = Manifest((Clip("t", Path("t"), (), "test"),), Vocabulary(LABELS), Path(), "table")
    assert error_of(manifest) == "1 test clips among those to be divided into folds; give the curated ones only"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "iterstrat.ml_stratifiers", None)
    with pytest.raises(MissingExtraError, match=r"dividing clips into folds needs libraries .* 'earmark\[train\]'"):
        assign_folds(random_collection(grouped=False))
    assert len(assign_folds(random_collection(grouped=True))) == 200


def test_the_report_by_hand():
    targets = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0]], dtype=np.float32)
    report = fold_report(targets, np.array([0, 0, 0, 1]))
    assert report.sizes == (3, 1)
    assert report.largest_deviation == pytest.approx(0.25)
    assert report.worst_label == 0
    assert report.absent == (2,)
    even = fold_report(targets, np.array([0, 0, 1, 1]))
    assert (even.largest_deviation, even.absent) == (0, (2,))
    assert fold_report(np.zeros((2, 3)), np.array([0, 1])).worst_label is None


def test_one_validation_part_is_the_only_fold():
    manifest = collection([("A",), ("B",), ("A",), ("B",)], folds=[NEVER_HELD_OUT, 3, NEVER_HELD_OUT, 3])
    folds = assign_folds(manifest)
    assert folds.tolist() == [NEVER_HELD_OUT, 0, NEVER_HELD_OUT, 0]
    report = fold_report(manifest.targets(), folds)
    assert (report.sizes, report.n_never_held_out) == ((2,), 2)
    assert report.counts.tolist() == [[0, 2, 0, 0]]


def test_clips_that_no_fold_holds_out_leave_the_others_as_they_are():
    manifest = collection([("A",)] * 5, folds=[4, NEVER_HELD_OUT, 2, 4, 2])
    assert assign_folds(manifest, 2).tolist() == [1, NEVER_HELD_OUT, 0, 1, 0]


def test_no_fold_at_all_is_refused():
    assert error_of(collection([("A",)] * 3, folds=[NEVER_HELD_OUT] * 3)) == (
        "all clips are in fold -1; expected 2 folds or more, or no fold column"
    )
    with pytest.raises(CollectionError, match="none of 2 clips is in a fold; expected one or more to be held out"):
        fold_report(np.ones((2, 1)), np.array([NEVER_HELD_OUT] * 2))


def test_a_validation_part_must_not_share_recordings_with_the_rest():
    assert "share a recording" in error_of(
        collection([("A",)] * 3, groups=["a", "a", "b"], folds=[NEVER_HELD_OUT, 0, 0])
    )


def unevenness(targets: np.ndarray, folds: np.ndarray, n_folds: int) -> float:
    """Sum of squared differences between shares of clips and labels and an even share, label by label and by fold."""
    total = 0.0
    for column in [*targets.T, np.ones(len(targets))]:
        shares = [column[folds == fold].sum() / column.sum() for fold in range(n_folds)]
        total += sum((share - 1 / n_folds) ** 2 for share in shares)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_no_recording_would_make_folds_more_even_elsewhere(seed: int):
    manifest = random_collection(grouped=True, seed=seed, n_clips=120)
    folds, ties = assign_folds(manifest, 3, seed=seed), components([clip.group for clip in manifest.clips])
    reached = unevenness(manifest.targets(), folds, 3)
    for tied in range(ties.max() + 1):
        for fold in range(3):
            moved = np.where(ties == tied, fold, folds)
            assert unevenness(manifest.targets(), moved, 3) >= reached - 1e-8


def test_no_dealing_out_goes_below_the_floor():
    # of A's four clips three are one recording: however it is dealt, one of two folds has a quarter too many
    groups = ["a", "a", "a", "b", "c", "d"]
    manifest = collection([("A",)] * 4 + [("B",)] * 2, groups)
    report = fold_report(manifest.targets(), np.array([0, 0, 0, 1, 0, 1]), groups)
    assert report.floors.tolist() == [0.25, 0, 0, 0]
    assert report.deviations.tolist() == [0.25, 0, 0, 0]
    assert fold_report(manifest.targets(), np.array([0, 0, 0, 1, 0, 1])).floors.tolist() == [0, 0, 0, 0]
    for seed in range(5):
        manifest = random_collection(grouped=True, seed=seed)
        groups = [clip.group for clip in manifest.clips]
        report = fold_report(manifest.targets(), assign_folds(manifest), groups)
        assert (report.deviations >= report.floors - 1e-12).all()


def test_a_report_of_unequal_lengths_is_refused():
    with pytest.raises(CollectionError) as caught:
        fold_report(np.zeros((3, 2)), np.zeros(2, dtype=int))
    assert str(caught.value) == "3 rows of targets and 2 folds; expected one of each for a clip"


def test_folds_read_back_in_the_order_that_is_asked_for(tmp_path: Path):
    path = tmp_path / "folds.csv"
    write_folds(path, ["b.wav", "a, ü.wav", "c.wav"], np.array([1, 0, 2]))
    assert path.read_text(encoding="utf-8") == 'fname,fold\nb.wav,1\n"a, ü.wav",0\nc.wav,2\n'
    assert read_folds(path, ["a, ü.wav", "b.wav", "c.wav"]).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "fname,fold\na,0\n",
            "folds.csv: no fold for 1 clips, the first is 'b'; these folds belong to another collection, "
            "or it changed since",
        ),
        (
            "fname,fold\na,0\nb,1\nd,1\nc,0\n",
            "folds.csv: 2 clips too many, the first is 'c'; these folds belong to another collection, "
            "or it changed since",
        ),
        ("fname,fold\na,0\nb,\n", "folds.csv line 3: fold is empty; expected a whole number from 0"),
        ("fname,fold\na,0\nb,x\n", "folds.csv line 3: fold 'x' is not a whole number of 0 or more, such as 3"),
        ("fname,fold\na,0\nb,2\n", "folds.csv: folds [0, 2]; expected 0 to 1, none left out"),
        ("fname,fold\na,0\na,1\n", "folds.csv line 3: fname 'a' stands already on line 2; list it once"),
        ("fname,folds\na,0\n", "folds.csv: no column 'fold'; found 'fname', 'folds'; did you mean 'folds'?"),
    ],
)
def test_malformed_folds_are_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "folds.csv"
    path.write_text(text)
    with pytest.raises(CollectionError) as caught:
        read_folds(path, ["a", "b"])
    assert str(caught.value) == message


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "n_clips"), [("everyday26", 758), ("open28", 893), ("esc10", 400)])
def test_no_source_of_a_real_collection_is_on_two_sides(real_data: Path, name: str, n_clips: int):
    curated = read_collection(real_data / name).subset("curated")
    folds = assign_folds(curated)
    assert_recordings_whole(curated, folds)
    assert len(folds) == n_clips
    assert min(np.bincount(folds, minlength=5)) > 0.15 * n_clips


@pytest.mark.real_data
def test_only_recordings_too_large_to_divide_make_everyday26_uneven(real_data: Path):
    curated = read_collection(real_data / "everyday26").subset("curated")
    parts, targets = components([clip.group for clip in curated.clips]), curated.targets()
    largest_part = max((targets[parts == part].sum(axis=0) / targets.sum(axis=0)).max() for part in np.unique(parts))
    report = fold_report(targets, assign_folds(curated))
    assert report.largest_deviation == pytest.approx(largest_part - 1 / 5, abs=0.01)
    assert report.absent == ()
