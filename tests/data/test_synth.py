"""The synthesised collection: its layout, its labels, its noise, and that it repeats."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.synth import LABELS
from earmark.data import synth
from earmark.data.layouts import read_collection
from earmark.data.synth import plan_subset, write_collection
from earmark.errors import AudioError, CollectionError, LabelError

FEW = ("Hiss", "Bass_drum", "Cricket", "Knock")
RATE = 16000


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "demo"
    write_collection(folder, n_curated=21, n_noisy=14, n_test=7, labels=FEW, seed=3, sample_rate=RATE, progress=False)
    return folder


class TestLayout:
    def test_holds_what_kaggle_gave_out_and_nothing_else(self, collection):
        assert {path.name for path in collection.iterdir()} == {
            "train_curated", "train_noisy", "test", "train_curated.csv", "train_noisy.csv", "sample_submission.csv",
            "test_labels.csv",
        }  # fmt: skip
        assert [path.name for path in collection.parent.iterdir()] == ["demo"]

    @pytest.mark.parametrize(
        ("subset", "table", "count"),
        [
            ("train_curated", "train_curated.csv", 21),
            ("train_noisy", "train_noisy.csv", 14),
            ("test", "test_labels.csv", 7),
        ],
    )
    def test_table_names_each_clip_once(self, collection, subset, table, count):
        header, *rows = read_rows(collection / table)
        fnames = [fname for fname, _ in rows]
        assert header == ["fname", "labels"]
        assert len(rows) == count
        assert fnames == sorted(path.name for path in (collection / subset).iterdir())
        assert all(re.fullmatch(r"[0-9a-f]{8}\.wav", fname) for fname in fnames)
        assert all(set(labels.split(",")) <= set(FEW) for _, labels in rows)

    def test_two_labels_are_quoted(self, collection):
        text = (collection / "train_curated.csv").read_text(encoding="utf-8")
        assert len(re.findall(r'^\w{8}\.wav,"[^",]+,[^",]+"$', text, flags=re.MULTILINE)) == 3

    def test_sample_submission_has_the_contests_columns_and_zeros(self, collection):
        header, *rows = read_rows(collection / "sample_submission.csv")
        assert header == ["fname", "Bass_drum", "Cricket", "Hiss", "Knock"]
        assert [row[0] for row in rows] == sorted(path.name for path in (collection / "test").iterdir())
        assert all(row[1:] == ["0"] * 4 for row in rows)

    def test_clips_are_16_bit_mono_of_the_asked_rate(self, collection):
        for path in collection.glob("*/*.wav"):
            info = soundfile.info(path)
            assert (info.subtype, info.channels, info.samplerate) == ("PCM_16", 1, RATE)
            assert 0.79 < info.duration < 4.01

    @pytest.mark.parametrize(("subset", "count"), [("train_curated", 21), ("train_noisy", 14)])
    def test_clip_holds_the_planned_sound(self, collection, subset, count):
        """A bass drum's energy lies low and a cricket's high, also where the noisy table says otherwise."""
        low_shares: dict[str, list[float]] = {"Bass_drum": [], "Cricket": []}
        for clip in plan_subset(subset, count, labels=FEW, seed=3):
            if clip.sounds in (("Bass_drum",), ("Cricket",)):
                waveform, _ = soundfile.read(collection / subset / clip.fname)
                power = np.abs(np.fft.rfft(waveform)) ** 2
                low_shares[clip.sounds[0]].append(power[: int(len(power) * 1000 / 8000)].sum() / power.sum())
        assert min(low_shares["Bass_drum"]) > 0.5 > max(low_shares["Cricket"])

    def test_no_two_clips_are_alike(self, collection):
        lengths = {soundfile.info(path).frames for path in collection.glob("*/*.wav")}
        assert len(lengths) == 42

    @pytest.mark.parametrize(("n_noisy", "n_test"), [(0, 0), (0, 4), (4, 0)])
    def test_a_subset_of_no_clips_is_not_there(self, tmp_path, n_noisy, n_test):
        write_collection(
            tmp_path / "c",
            n_curated=6,
            n_noisy=n_noisy,
            n_test=n_test,
            labels=("Hi-hat", "Hiss", "Cricket"),
            progress=False,
        )
        manifest = read_collection(tmp_path / "c")
        counts = [len(manifest.subset(subset)) for subset in ("curated", "noisy", "test")]
        assert counts == [6, n_noisy, n_test]
        assert (tmp_path / "c" / "train_noisy").exists() == bool(n_noisy)
        assert (tmp_path / "c" / "sample_submission.csv").exists() == bool(n_test)

    def test_noisy_clips_are_of_another_domain(self, tmp_path):
        write_collection(
            tmp_path / "c", n_curated=8, n_noisy=8, n_test=0, labels=("Hi-hat", "Hiss", "Cricket"), progress=False
        )
        highs = {}
        for subset in ("train_curated", "train_noisy"):
            shares = []
            for path in (tmp_path / "c" / subset).iterdir():
                power = np.abs(np.fft.rfft(soundfile.read(path)[0])) ** 2
                shares.append(power[int(len(power) * 14000 / 22050) :].sum() / power.sum())
            highs[subset] = float(np.mean(shares))
        assert highs["train_noisy"] < 0.3 * highs["train_curated"]


class TestPlan:
    def test_labels_are_even(self):
        clips = plan_subset("train_curated", 250)
        counts = Counter(label for clip in clips for label in clip.labels)
        assert sum(counts.values()) == 250 + 35
        assert set(counts) == set(LABELS)
        assert max(counts.values()) - min(counts.values()) <= 1

    @pytest.mark.parametrize("subset", ["train_curated", "test"])
    def test_one_clip_in_seven_has_two_labels_and_all_are_heard(self, subset):
        clips = plan_subset(subset, 140, seed=2)
        assert Counter(len(clip.labels) for clip in clips) == {1: 120, 2: 20}
        assert all(clip.labels == clip.sounds == tuple(sorted(clip.sounds)) for clip in clips)

    def test_six_noisy_labels_in_ten_are_wrong(self):
        clips = plan_subset("train_noisy", 350)
        n_labels = sum(len(clip.labels) for clip in clips)
        n_wrong = sum(len(set(clip.labels) - set(clip.sounds)) for clip in clips)
        assert n_labels == 350 + 50
        assert n_wrong == 240
        assert Counter(len(clip.sounds) for clip in clips) == {1: 300, 2: 50}
        assert len({clip.labels for clip in clips if set(clip.labels) - set(clip.sounds)}) > 24

    def test_names_are_distinct_across_subsets(self):
        fnames = [clip.fname for subset in synth.SUBSETS for clip in plan_subset(subset, 2000)]
        assert len(set(fnames)) == 6000
        for subset, digits in zip(synth.SUBSETS, ("0123", "4567", "89ab"), strict=True):
            assert {clip.fname[0] for clip in plan_subset(subset, 200)} == set(digits)

    def test_three_labels_suffice(self):
        clips = plan_subset("train_noisy", 70, labels=FEW[:3])
        assert all(1 <= len(clip.labels) <= 2 for clip in clips)
        wrong = [clip for clip in clips if not set(clip.labels) & set(clip.sounds)]
        assert len(wrong) > 30

    @pytest.mark.parametrize("n_clips", [0, 1, 7])
    def test_few_clips(self, n_clips):
        assert len(plan_subset("train_noisy", n_clips, labels=FEW)) == n_clips

    def test_seeds_differ(self):
        assert plan_subset("test", 50, seed=0) == plan_subset("test", 50, seed=0)
        first, second = (plan_subset("test", 50, seed=seed) for seed in (0, 1))
        assert [clip.labels for clip in first] != [clip.labels for clip in second]
        assert not {clip.fname for clip in first} & {clip.fname for clip in second}


class TestDeterminism:
    def test_a_subset_does_not_depend_on_the_others(self, collection, tmp_path):
        np.random.default_rng(0).random(10)
        write_collection(
            tmp_path / "again", n_curated=0, n_noisy=14, n_test=0, labels=FEW[::-1], seed=3, sample_rate=RATE,
            progress=False,
        )  # fmt: skip
        again = {path.name: path.read_bytes() for path in (tmp_path / "again" / "train_noisy").iterdir()}
        assert again == {path.name: path.read_bytes() for path in (collection / "train_noisy").iterdir()}
        assert (tmp_path / "again/train_noisy.csv").read_bytes() == (collection / "train_noisy.csv").read_bytes()
        assert not (tmp_path / "again/train_curated.csv").exists()


class TestRefusals:
    def write(self, folder: Path, **changes) -> None:
        arguments = {"n_curated": 2, "n_noisy": 0, "n_test": 0, "labels": FEW, "sample_rate": RATE, "progress": False}
        write_collection(folder, **(arguments | changes))

    def test_a_folder_that_holds_something_is_left_alone(self, tmp_path):
        (tmp_path / "mine.txt").write_text("dear")
        with pytest.raises(CollectionError, match=r"is a folder that holds files; expected .* remove it, or write"):
            self.write(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_a_file_is_left_alone(self, tmp_path):
        (tmp_path / "demo").write_text("dear")
        with pytest.raises(CollectionError, match="demo: is a file; expected a folder that does not exist"):
            self.write(tmp_path / "demo")

    def test_an_empty_folder_is_filled_and_parents_are_made(self, tmp_path):
        (tmp_path / "empty").mkdir()
        self.write(tmp_path / "empty")
        self.write(tmp_path / "a" / "b")
        assert len(list((tmp_path / "empty/train_curated").iterdir())) == 2
        assert (tmp_path / "a/b/train_curated.csv").exists()

    @pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
    def test_a_failure_leaves_nothing(self, tmp_path, monkeypatch, stop):
        def fail(*_args, **_kwargs):
            raise stop

        monkeypatch.setattr(synth.soundfile, "write", fail)
        with pytest.raises(stop):
            self.write(tmp_path / "demo")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("changes", "error", "text"),
        [
            ({"n_test": -1}, CollectionError, "test: -1 clips cannot be made; expected 0 or more"),
            ({"seed": -1}, CollectionError, "seed -1 cannot be used; expected 0 or more"),
            ({"labels": ("Hiss", "Knok", "Drip")}, LabelError, "label 'Knok' is not in .* did you mean 'Knock'?"),
            ({"labels": ("Hiss", "Drip")}, LabelError, "labels are Hiss, Drip; expected three or more, .* give more"),
            ({"labels": ("Hiss", "Hiss", "Drip")}, LabelError, "label 'Hiss' stands twice"),
            ({"sample_rate": 8000}, AudioError, "8000 Hz is too low"),
        ],
    )
    def test_bad_arguments_write_nothing(self, tmp_path, changes, error, text):
        with pytest.raises(error, match=text):
            self.write(tmp_path / "demo", **changes)
        assert list(tmp_path.iterdir()) == []

    def test_unknown_subset(self):
        with pytest.raises(CollectionError, match="subset 'valid' is unknown; expected one of train_curated, train_"):
            plan_subset("valid", 1)


def test_progress_goes_to_standard_error_and_can_be_silenced(tmp_path, capsys):
    for progress in (True, False):
        write_collection(
            tmp_path / str(progress), n_curated=1, n_noisy=0, n_test=0, labels=FEW, sample_rate=RATE, progress=progress
        )
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("synthesising" in captured.err) is progress
