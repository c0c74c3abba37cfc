"""From the archives that Zenodo gives out to a collection that is read: FSDKaggle2019, in small."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from earmark.audio.synth import LABELS
from earmark.data.catalog import find_entry
from earmark.data.fetch import fetch
from earmark.data.layouts import missing_files, read_collection
from earmark.data.synth import write_collection

from .packing import Member, split_zip

Run = Callable[..., tuple[int, str, str]]
SOURCE_COLUMN = {"curated": "freesound_id", "noisy": "flickr_video_URL"}


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A folder with the very archives that FSDKaggle2019's record lists, of synthesised clips; the noisy in pieces."""
    plain, source = tmp_path / "plain", tmp_path / "source"
    write_collection(plain, n_curated=6, n_noisy=30, n_test=3, labels=LABELS[:5], sample_rate=16_000, progress=False)
    meta = source / "FSDKaggle2019.meta"
    meta.mkdir(parents=True)
    (source / "FSDKaggle2019.doc").mkdir()
    (source / "FSDKaggle2019.doc" / "README.md").write_text("small\n")
    for subset, column in SOURCE_COLUMN.items():
        rows = (plain / f"train_{subset}.csv").read_text().splitlines()
        sourced = [f"{row},{number // 2},CC0" for number, row in enumerate(rows[1:])]
        table = "\n".join([f"fname,labels,{column},license", *sourced, ""])
        (meta / f"train_{subset}_post_competition.csv").write_text(table)
    rows = (plain / "test_labels.csv").read_text().splitlines()[1:]
    tests = [f"{row},Private,{number},CC0" for number, row in enumerate(rows)]
    (meta / "test_post_competition.csv").write_text("\n".join(["fname,labels,usage,freesound_id,license", *tests, ""]))
    for name in ("train_curated", "train_noisy", "test"):
        shutil.move(plain / name, source / f"FSDKaggle2019.audio_{name}")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for folder in source.iterdir():
        archive = Path(shutil.make_archive(str(mirror / folder.name), "zip", source, folder.name))
        if folder.name.endswith("noisy"):
            cut_in_seven(archive)
    return mirror


def cut_in_seven(archive: Path) -> None:
    """Spread an archive over .z01 to .z06 and .zip: entries by their pieces, as `zip -s` numbers them."""
    with zipfile.ZipFile(archive) as whole:
        members = [Member(info.filename, whole.read(info)) for info in whole.infolist()]
    size = archive.stat().st_size
    archive.unlink()
    pieces = split_zip(archive.parent, members, size // 7 + 2000, archive.stem)
    assert [piece.suffix for piece in pieces] == [".z01", ".z02", ".z03", ".z04", ".z05", ".z06", ".zip"]


def test_from_zenodos_archives_to_statistics(copies: Path, run_earmark: Run, tmp_path: Path) -> None:
    # of the size that it has here: a machine that runs tests need not have room for the real one
    entry = msgspec.structs.replace(find_entry("fsdkaggle2019"), record=None, unpacked_size=50_000_000)
    folder = fetch(entry, tmp_path / "FSDKaggle2019", mirror=str(copies))
    manifest = read_collection(folder)
    assert manifest.layout == "fsdkaggle2019"
    assert [len(manifest.subset(name)) for name in ("curated", "noisy", "test")] == [6, 30, 3]
    assert missing_files(manifest) == []
    assert all(clip.labels and clip.license == "CC0" and clip.group for clip in manifest.clips)
    status, out, _ = run_earmark("data", "stats", folder)
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()[3:6]] == [["curated", "6"], ["noisy", "30"], ["test", "3"]]
