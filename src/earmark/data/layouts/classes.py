"""ESC-50 and UrbanSound8K: one class a clip, named and numbered, in official folds."""

from __future__ import annotations

from pathlib import Path

from earmark.data.layouts.reading import Layout, Notes, NumberedClasses, Reading, any_of, official_fold
from earmark.data.manifest import Clip, Manifest

ESC50_TABLE, ESC50_LICENCES = "meta/esc50.csv", "meta/licences.csv"
URBANSOUND8K_TABLE = "metadata/UrbanSound8K.csv"


def read_esc50(folder: Path, how: Reading) -> Manifest:
    """ESC-50 and its part ESC-10 (Piczak 2015): labels ordered by target number, only those that occur.

    Licences come from `meta/licences.csv` (`filename,licence`), where somebody added it.
    """
    licences = folder / ESC50_LICENCES
    notes = Notes.read(licences, "licence", ("filename", "licence"), how) if licences.is_file() else None
    classes = NumberedClasses()
    clips, rows = [], how.rows(folder / ESC50_TABLE, ("filename", "fold", "target", "category"))
    for row in rows:
        name, label = row["filename"], classes.read(row, "target", "category")
        fold = official_fold(row, "1 to 5 in ESC-50")
        license_ = notes.of(row, name).get("licence") if notes else None
        labels = how.known_labels(row, name, (label,), how.vocabulary) if how.vocabulary else (label,)
        path = row.audio_path("filename", folder / "audio")
        clips.append(Clip(name, path, labels, group=row.get("src_file"), fold=fold, license=license_))
    return how.manifest(clips, how.vocabulary or classes.vocabulary(), folder, "esc50")


def read_urbansound8k(folder: Path, how: Reading) -> Manifest:
    """UrbanSound8K (Salamon, Jacoby and Bello 2014): labels ordered by class number, groups by Freesound id."""
    columns = ("slice_file_name", "fsID", "fold", "classID", "class")
    classes = NumberedClasses()
    clips = []
    for row in how.rows(folder / URBANSOUND8K_TABLE, columns):
        name, label = row["slice_file_name"], classes.read(row, "classID", "class")
        fold = official_fold(row, "1 to 10 in UrbanSound8K")
        labels = how.known_labels(row, name, (label,), how.vocabulary) if how.vocabulary else (label,)
        path = row.audio_path("slice_file_name", folder / "audio" / f"fold{fold}")
        clips.append(Clip(name, path, labels, group=row.get("fsID"), fold=fold))
    return how.manifest(clips, how.vocabulary or classes.vocabulary(), folder, "urbansound8k")


LAYOUTS = {
    "esc50": Layout(ESC50_TABLE, any_of(ESC50_TABLE), read_esc50),
    "urbansound8k": Layout(URBANSOUND8K_TABLE, any_of(URBANSOUND8K_TABLE), read_urbansound8k),
}
