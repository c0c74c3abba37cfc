"""FSDKaggle2018 and FSDKaggle2019, as Kaggle gave them to contestants and as Zenodo gives them out with all labels.

Zenodo's folders and tables are Kaggle's by other names, so either is taken wherever it is found: Kaggle's folder may
have the tables of Zenodo beside it, which then say the sources and licences of its clips.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from earmark.data.layouts.reading import Layout, Notes, Reading, any_of, first_of, single_label
from earmark.data.manifest import Clip, Manifest
from earmark.data.rows import Row
from earmark.data.vocabulary import read_vocabulary
from earmark.errors import CollectionError, LabelError
from earmark.labels import Vocabulary

META_2019, META_2018 = "FSDKaggle2019.meta", "FSDKaggle2018.meta"

CURATED_2019 = ("train_curated.csv", "train_curated_post_competition.csv")
NOISY_2019 = ("train_noisy.csv", "train_noisy_post_competition.csv")
TEST_2019 = ("test_post_competition.csv",)
TRAIN_2018 = ("train.csv", "train_post_competition.csv")
TEST_2018 = ("test_post_competition_scoring_clips.csv", "test_post_competition.csv")
"""Names of tables, those without sources first; each lies in the folder itself, or in the folder of Zenodo's tables."""

SUBMISSION = "sample_submission.csv"

FREESOUND_ID, FLICKR_VIDEO = "freesound_id", "flickr_video_URL"
"""Columns that name the recording which a clip was cut from."""

PADDING = "None"
"""The label of FSDKaggle2018's clips that Kaggle never scored."""


def read_fsdkaggle2019(folder: Path, how: Reading) -> Manifest:
    """FSDKaggle2019 (Fonseca et al. 2019; Zenodo record 3612637): curated, noisy and test clips of several labels.

    The order of labels is that of the sample submission, else of Zenodo's `vocabulary.csv`, else the alphabet's.
    """
    rows_of = {}
    for subset, names in (("curated", CURATED_2019), ("noisy", NOISY_2019)):
        table = _table(folder, META_2019, *names)
        if table is not None:
            rows_of[subset] = how.rows(table, ("fname", "labels"))
    submission = folder / SUBMISSION
    tests = how.rows(submission, ("fname",)) if submission.is_file() else []
    vocabulary = how.vocabulary or _vocabulary_2019(folder, tests, rows_of["curated"], how)
    clips = []
    for subset, rows in rows_of.items():
        source = FLICKR_VIDEO if subset == "noisy" else FREESOUND_ID
        notes = _notes(folder, META_2019, f"train_{subset}_post_competition.csv", source, how)
        audio = _audio_folder(folder, META_2019, f"train_{subset}", f"FSDKaggle2019.audio_train_{subset}")
        for row in rows:
            labels = how.training_labels(row, row["fname"], vocabulary)
            clips.append(_clip(row, labels, subset, audio, notes, source))
    clips += _tests_2019(folder, tests, vocabulary, how)
    return how.manifest(clips, vocabulary, folder, "fsdkaggle2019")


def read_fsdkaggle2018(folder: Path, how: Reading) -> Manifest:
    """FSDKaggle2018 (Fonseca et al. 2018; Zenodo record 2552860): one label a clip, checked by people or not.

    Clips whose label was checked (`manually_verified`) are curated, the others noisy. Labels stand in the alphabet's
    order.
    """
    table = _table(folder, META_2018, *TRAIN_2018) or folder / TRAIN_2018[0]
    rows = how.rows(table, ("fname", "label", "manually_verified"))
    vocabulary = how.vocabulary or Vocabulary(sorted({single_label(row, "label") for row in rows}))
    notes = _notes(folder, META_2018, TRAIN_2018[1], FREESOUND_ID, how)
    audio = _audio_folder(folder, META_2018, "audio_train", "FSDKaggle2018.audio_train")
    clips = []
    for row in rows:
        labels = how.known_labels(row, row["fname"], (single_label(row, "label"),), vocabulary)
        clips.append(_clip(row, labels, _subset_2018(row), audio, notes))
    clips += _tests_2018(folder, vocabulary, how)
    return how.manifest(clips, vocabulary, folder, "fsdkaggle2018")


def _vocabulary_2019(folder: Path, tests: list[Row], curated: list[Row], how: Reading) -> Vocabulary:
    if tests:
        return _submission_vocabulary(tests[0])
    published = folder / META_2019 / "vocabulary.csv"
    if published.is_file():
        return read_vocabulary(published)
    return how.occurring(curated)


def _submission_vocabulary(row: Row) -> Vocabulary:
    """The columns of a sample submission, which fix the order of the labels."""
    names = [column for column in row.cells if column != "fname"]
    if not names:
        raise CollectionError(f"{row.file.name}: has no column but 'fname'; expected one more for each label")
    try:
        return Vocabulary(names)
    except LabelError as error:
        raise LabelError(f"{row.file.name}: {error}") from None


def _tests_2019(folder: Path, submitted: list[Row], vocabulary: Vocabulary, how: Reading) -> list[Clip]:
    """Kaggle's test clips are those of the sample submission; Zenodo's table has more, and labels."""
    table = _table(folder, META_2019, *TEST_2019)
    audio = _audio_folder(folder, META_2019, "test", "FSDKaggle2019.audio_test")
    notes = Notes.read(table, "source", ("fname", "labels", FREESOUND_ID), how) if table else None
    if not submitted and notes is not None:
        submitted = list(notes.row_of.values())
    no_labels: tuple[str, ...] = ()
    clips = []
    for row in submitted:
        name, labels = row["fname"], no_labels
        if notes is not None:
            said = notes.of(row, name)
            labels = how.known_labels(said, name, how.row_labels(said, name), vocabulary)
        clips.append(_clip(row, labels, "test", audio, notes))
    return clips


def _tests_2018(folder: Path, vocabulary: Vocabulary, how: Reading) -> list[Clip]:
    """A sample submission's own labels are filler; those that count are in the tables given out afterwards."""
    table = _table(folder, META_2018, *TEST_2018)
    submission = folder / SUBMISSION
    audio = _audio_folder(folder, META_2018, "audio_test", "FSDKaggle2018.audio_test")
    notes = Notes.read(table, "source", ("fname", "label", FREESOUND_ID), how) if table else None
    rows: Iterable[Row] = how.rows(submission, ("fname",)) if submission.is_file() else ()
    if notes is not None and not rows:
        rows = notes.row_of.values()
    clips = []
    for row in rows:
        # Kaggle's clips that were never scored are missing from the table of those that were.
        said = notes.row_of.get(row["fname"]) if notes else None
        labels: tuple[str, ...] = ()
        if said is not None and (PADDING in vocabulary or said["label"] != PADDING):
            labels = how.known_labels(said, row["fname"], (single_label(said, "label"),), vocabulary)
        clips.append(_clip(row, labels, "test", audio, notes if said is not None else None))
    return clips


def _subset_2018(row: Row) -> str:
    verified = row["manually_verified"].strip()
    if verified not in ("0", "1"):
        raise row.error(f"manually_verified {verified!r} is neither '1', a label that people checked, nor '0'")
    return "curated" if verified == "1" else "noisy"


def _clip(
    row: Row, labels: tuple[str, ...], subset: str, audio: Path, notes: Notes | None, source: str = FREESOUND_ID
) -> Clip:
    name, path = row["fname"], row.audio_path("fname", audio)
    if notes is None:
        return Clip(name, path, labels, subset)
    said = notes.of(row, name)
    return Clip(name, path, labels, subset, group=said.get(source), license=said.get("license"))


def _notes(folder: Path, meta: str, name: str, source: str, how: Reading) -> Notes | None:
    table = _table(folder, meta, name)
    return Notes.read(table, "source", ("fname", source), how) if table else None


def _table(folder: Path, meta: str, *names: str) -> Path | None:
    return first_of(folder, *names, *(f"{meta}/{name}" for name in names))


def _audio_folder(folder: Path, meta: str, kaggle: str, zenodo: str) -> Path:
    usual = zenodo if (folder / meta).is_dir() else kaggle
    return first_of(folder, kaggle, zenodo) or folder / usual


def _is_fsdkaggle2018(folder: Path) -> bool:
    if any_of(f"{META_2018}/{TRAIN_2018[1]}")(folder):
        return True
    tables = [folder / name for name in TRAIN_2018 if (folder / name).is_file()]
    audio = first_of(folder, "audio_train", "audio_train.zip", "FSDKaggle2018.audio_train")
    return bool(tables) and (audio is not None or any(_has_column(table, "manually_verified") for table in tables))


def _has_column(table: Path, column: str) -> bool:
    with table.open("rb") as file:
        return column in file.readline(4096).decode("utf-8", errors="replace").strip().split(",")


LAYOUTS = {
    "fsdkaggle2019": Layout(
        f"{CURATED_2019[0]} or {META_2019}/{CURATED_2019[1]}",
        any_of(*CURATED_2019, f"{META_2019}/{CURATED_2019[1]}"),
        read_fsdkaggle2019,
    ),
    "fsdkaggle2018": Layout(
        f"{TRAIN_2018[0]} beside audio_train/ or {META_2018}/{TRAIN_2018[1]}", _is_fsdkaggle2018, read_fsdkaggle2018
    ),
}
