"""Layouts: how collections lie on disk, and how each becomes a manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from earmark.data.manifest import Clip, Manifest, Row, read_rows
from earmark.errors import CollectionError, LabelError, did_you_mean
from earmark.labels import Vocabulary


@dataclass(frozen=True)
class Layout:
    """One way in which collections are laid out.

    Parameters
    ----------
    looks_for
        What tells the layout, in words for messages.
    detect
        Whether a path, which exists, is a collection of this layout.
    read
        The manifest of such a path.
    """

    looks_for: str
    detect: Callable[[Path], bool]
    read: Callable[[Path], Manifest]


def read_collection(folder: Path | str, *, layout: str | None = None) -> Manifest:
    """Read a collection of recordings.

    Audio is neither opened nor looked for; `missing_files` lists what is not there.

    Parameters
    ----------
    folder
        The collection's folder; for the layout `table` also the table itself.
    layout
        A name in `LAYOUTS`; without it, the one that fits.

    Returns
    -------
    Manifest
        All clips of all subsets, in the order of the collection's tables.

    Raises
    ------
    CollectionError
        If the folder does not exist, its layout is not the named one, or is none or more than one of those known,
        or one of its tables is malformed.
    LabelError
        If a label is unusable or not in the collection's vocabulary.
    """
    folder = Path(folder)
    if layout is not None and layout not in LAYOUTS:
        known = ", ".join(f"'{name}'" for name in LAYOUTS)
        raise CollectionError(f"layout '{layout}' is not known; expected {known}{did_you_mean(layout, LAYOUTS)}")
    if not folder.exists():
        raise CollectionError(
            f"{folder}: no such folder; expected the folder of a collection, "
            "check the path, or fetch a public one with 'earmark data fetch'"
        )
    if layout is None:
        layout = _detect(folder)
    elif not LAYOUTS[layout].detect(folder):
        raise CollectionError(
            f"{folder}: is not of the layout '{layout}', there is no {LAYOUTS[layout].looks_for}; "
            "check the path, or leave the layout out to have it detected"
        )
    return LAYOUTS[layout].read(folder)


def missing_files(manifest: Manifest) -> list[Clip]:
    """The clips whose audio file does not exist, in order."""
    return [clip for clip in manifest.clips if not clip.path.is_file()]


def _detect(folder: Path) -> str:
    fitting = [name for name, layout in LAYOUTS.items() if layout.detect(folder)]
    if not fitting:
        looked_for = "; ".join(f"{layout.looks_for} ({name})" for name, layout in LAYOUTS.items())
        raise CollectionError(
            f"{folder}: no layout recognised; looked for {looked_for}; "
            "to describe recordings of your own, write a clips.csv with the columns path,labels"
        )
    if len(fitting) > 1:
        found = " and ".join(f"{LAYOUTS[name].looks_for} ({name})" for name in fitting)
        raise CollectionError(f"{folder}: more than one layout fits, found {found}; name the layout to use")
    return fitting[0]


def _read_esc50(folder: Path) -> Manifest:
    """ESC-50 and its part ESC-10 (Piczak 2015): one label a clip, official folds, labels ordered by target number."""
    rows = read_rows(folder / "meta" / "esc50.csv", ("filename", "fold", "target", "category"), unique="filename")
    name_of_target: dict[int, str] = {}
    target_of_name: dict[str, int] = {}
    clips = []
    for row in rows:
        target, name = _target(row), _category(row)
        if name_of_target.setdefault(target, name) != name:
            raise row.error(f"target {target} is '{name}', but was '{name_of_target[target]}' above; expected one name")
        if target_of_name.setdefault(name, target) != target:
            raise row.error(f"category '{name}' has target {target}, but had {target_of_name[name]} above")
        fold = row.whole_number("fold")
        if fold is None:
            raise row.error("fold is empty; expected a whole number, 1 to 5 in ESC-50")
        path = row.audio_path("filename", folder / "audio")
        clips.append(Clip(row["filename"], path, (name,), group=row.get("src_file"), fold=fold))
    vocabulary = Vocabulary(name_of_target[target] for target in sorted(name_of_target))
    return Manifest(tuple(clips), vocabulary, folder, "esc50")


def _target(row: Row) -> int:
    target = row.whole_number("target")
    if target is None:
        raise row.error("target is empty; expected the number of the category, such as 0")
    return target


def _category(row: Row) -> str:
    names = row.labels("category")
    if len(names) != 1:
        raise row.error(f"category {row['category']!r} is not one name; expected a name without commas")
    return names[0]


def _read_fsdkaggle2019(folder: Path) -> Manifest:
    """FSDKaggle2019 as Kaggle gives it out (Fonseca et al. 2019): curated, noisy and test clips."""
    training = {"curated": read_rows(folder / "train_curated.csv", ("fname", "labels"), unique="fname")}
    if (folder / "train_noisy.csv").exists():
        training["noisy"] = read_rows(folder / "train_noisy.csv", ("fname", "labels"), unique="fname")
    submission = folder / "sample_submission.csv"
    tests = read_rows(submission, ("fname",), unique="fname") if submission.exists() else []
    if tests:
        vocabulary = _submission_vocabulary(tests[0])
    else:
        vocabulary = Vocabulary(sorted({label for row in training["curated"] for label in row.labels()}))
    clips = [clip for subset, rows in training.items() for clip in _training_clips(folder, subset, rows, vocabulary)]
    clips += [Clip(row["fname"], row.audio_path("fname", folder / "test"), (), "test") for row in tests]
    return Manifest(tuple(clips), vocabulary, folder, "fsdkaggle2019")


def _submission_vocabulary(row: Row) -> Vocabulary:
    """The columns of a sample submission, which fix the order of the labels."""
    names = [column for column in row.cells if column != "fname"]
    if not names:
        raise CollectionError(f"{row.file.name}: has no column but 'fname'; expected one more for each label")
    try:
        return Vocabulary(names)
    except LabelError as error:
        raise LabelError(f"{row.file.name}: {error}") from None


def _training_clips(folder: Path, subset: str, rows: list[Row], vocabulary: Vocabulary) -> list[Clip]:
    sources = _fsdkaggle2019_sources(folder, subset)
    clips = []
    for row in rows:
        name, labels = row["fname"], row.labels()
        if not labels:
            raise row.error(f"'{name}' has no labels; add them, or remove the row")
        row.check_labels(labels, vocabulary)
        if sources is not None and name not in sources:
            raise row.error(
                f"'{name}' has no row in train_{subset}_post_competition.csv, which names each clip's source; add it, "
                "or remove that table to do without sources"
            )
        path = row.audio_path("fname", folder / f"train_{subset}")
        clips.append(Clip(name, path, labels, subset, group=None if sources is None else sources[name]))
    return clips


def _fsdkaggle2019_sources(folder: Path, subset: str) -> dict[str, str | None] | None:
    """The recording that each clip of a subset was cut from; None when the tables that say so are not there."""
    column = {"curated": "freesound_id", "noisy": "flickr_video_URL"}[subset]
    for place in (folder, folder / "FSDKaggle2019.meta"):
        table = place / f"train_{subset}_post_competition.csv"
        if table.exists():
            return {row["fname"]: row.get(column) for row in read_rows(table, ("fname", column), unique="fname")}
    return None


def _is_table(path: Path) -> bool:
    if path.is_dir():
        return (path / "clips.csv").is_file()
    return path.suffix.lower() == ".csv"


def _read_table(path: Path) -> Manifest:
    """Recordings of one's own: a table `path,labels`, and any of `subset,group,fold`."""
    return Manifest.read(path / "clips.csv" if path.is_dir() else path)


def _has(name: str) -> Callable[[Path], bool]:
    return lambda folder: (folder / name).is_file()


LAYOUTS: dict[str, Layout] = {
    "esc50": Layout("meta/esc50.csv", _has("meta/esc50.csv"), _read_esc50),
    "fsdkaggle2019": Layout("train_curated.csv", _has("train_curated.csv"), _read_fsdkaggle2019),
    "table": Layout("clips.csv, or a .csv given itself", _is_table, _read_table),
}
"""Layouts by name. `read_collection` recognises whatever stands here."""
