"""FSD50K, as Zenodo gives it out and as its mirror on the Hugging Face Hub lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.data.layouts.reading import Layout, Reading, any_of
from earmark.data.manifest import NEVER_HELD_OUT, Clip, Manifest
from earmark.data.rows import Row, read_text
from earmark.data.vocabulary import read_vocabulary
from earmark.errors import CollectionError
from earmark.labels import Vocabulary

VALIDATION_FOLD = 0
FOLD_OF_SPLIT = {"val": VALIDATION_FOLD, "train": NEVER_HELD_OUT}
"""The official validation part is the one fold that is held out; the rest of the development set is always learned."""


@dataclass(frozen=True)
class Places:
    """Where one edition keeps what."""

    tables: str
    dev_audio: str
    eval_audio: str
    metadata: str


ZENODO = Places("FSD50K.ground_truth", "FSD50K.dev_audio", "FSD50K.eval_audio", "FSD50K.metadata")
HUB = Places("labels", "clips/dev", "clips/eval", "metadata")


def read_fsd50k(folder: Path, how: Reading) -> Manifest:
    """FSD50K (Fonseca et al. 2022; Zenodo record 4060432): 200 labels, spread up AudioSet's ontology.

    A clip's name has its suffix, `64760.wav`. The group is the uploader, where `dev_clips_info_FSD50K.json` is there:
    the official parts are split by uploader. The makers kept train and validation apart as far as they could; an
    uploader who is on both sides is no group, since the official split tears it apart.
    """
    places = ZENODO if (folder / ZENODO.tables).is_dir() else HUB
    tables = folder / places.tables
    dev_rows = how.rows(tables / "dev.csv", ("fname", "labels", "split"))
    eval_rows = how.rows(tables / "eval.csv", ("fname", "labels")) if (tables / "eval.csv").is_file() else []
    vocabulary = how.vocabulary or _vocabulary(tables, dev_rows, how)
    dev_info, eval_info = (_info(folder / places.metadata, part) for part in ("dev", "eval"))
    torn = _torn_uploaders(dev_rows, dev_info)
    clips = []
    for row in dev_rows:
        labels = how.training_labels(row, row["fname"], vocabulary)
        clips.append(
            _clip(row, labels, "curated", folder / places.dev_audio, dev_info, torn, FOLD_OF_SPLIT[_split(row)])
        )
    for row in eval_rows:
        labels = how.training_labels(row, row["fname"], vocabulary)
        clips.append(_clip(row, labels, "test", folder / places.eval_audio, eval_info))
    return how.manifest(clips, vocabulary, folder, "fsd50k")


def _vocabulary(tables: Path, rows: list[Row], how: Reading) -> Vocabulary:
    if (tables / "vocabulary.csv").is_file():
        return read_vocabulary(tables / "vocabulary.csv")
    return how.occurring(rows)


def _split(row: Row) -> str:
    if row["split"] not in FOLD_OF_SPLIT:
        raise row.error(f"split '{row['split']}' is not known; expected 'train' or 'val'")
    return row["split"]


@dataclass(frozen=True)
class _Info:
    """What `dev_clips_info_FSD50K.json` says of each clip."""

    file: Path
    said_of: dict[str, Any]

    def of(self, row: Row) -> dict[str, Any]:
        said = self.said_of.get(row["fname"])
        if not isinstance(said, dict):
            raise row.error(
                f"'{row['fname']}' has no entry in {self.file.name}, which names each clip's uploader and licence; "
                "add it, or remove that file to do without them"
            )
        return said


def _info(folder: Path, part: str) -> _Info | None:
    file = folder / f"{part}_clips_info_FSD50K.json"
    if not file.is_file():
        return None
    try:
        said_of = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise CollectionError(f"{file.name} line {error.lineno}: is not JSON ({error.msg}); fetch it again") from error
    if not isinstance(said_of, dict):
        raise CollectionError(f'{file.name}: is not an object by clip; expected {{"64760": {{…}}, …}}; fetch it again')
    return _Info(file, said_of)


def _torn_uploaders(rows: list[Row], info: _Info | None) -> frozenset[str]:
    """Uploaders with clips both in the training and in the validation part."""
    if info is None:
        return frozenset()
    splits_of: dict[str, set[str]] = {}
    for row in rows:
        splits_of.setdefault(str(info.of(row).get("uploader")), set()).add(_split(row))
    return frozenset(uploader for uploader, splits in splits_of.items() if len(splits) > 1)


def _clip(
    row: Row,
    labels: tuple[str, ...],
    subset: str,
    audio: Path,
    info: _Info | None,
    torn: frozenset[str] = frozenset(),
    fold: int | None = None,
) -> Clip:
    path = row.audio_path("fname", audio)
    path = path.with_name(f"{path.name}.wav")
    said = info.of(row) if info else {}
    uploader, license_ = said.get("uploader"), said.get("license")
    group = str(uploader) if uploader is not None and str(uploader) not in torn else None
    return Clip(path.name, path, labels, subset, group, fold, license=str(license_) if license_ else None)


LAYOUTS = {
    "fsd50k": Layout(
        f"{ZENODO.tables}/dev.csv or {HUB.tables}/dev.csv",
        any_of(f"{ZENODO.tables}/dev.csv", f"{HUB.tables}/dev.csv"),
        read_fsd50k,
    )
}
