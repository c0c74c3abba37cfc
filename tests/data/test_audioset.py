from __future__ import annotations

from pathlib import Path

import pytest

from earmark.data.audioset import audioset_label, audioset_vocabulary, read_classes
from earmark.errors import CollectionError, LabelError


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Waves, surf", "Waves_and_surf"),
        ("Dishes, pots, and pans", "Dishes_and_pots_and_pans"),
        ("Roaring cats (lions, tigers)", "Roaring_cats_(lions_and_tigers)"),
        ("Tick-tock", "Tick-tock"),
        ("Drum and bass", "Drum_and_bass"),
    ],
)
def test_names_are_written_as_fsd50k_does(name: str, label: str) -> None:
    assert audioset_label(name) == label


def test_there_are_527_classes_in_audiosets_order() -> None:
    names = audioset_vocabulary().names
    assert len(names) == 527
    # as in AudioSet's class_labels_indices.csv: lines 2, 76, 290, 301, 428 and 528
    at = {0: "Speech", 74: "Dog", 288: "Water", 299: "Crackle", 426: "Explosion", 526: "Field_recording"}
    assert {place: names[place] for place in at} == at


@pytest.mark.real_data
def test_the_contests_labels_are_among_them(real_data: Path) -> None:
    contest = (real_data / "fsdkaggle2019" / "vocabulary.csv").read_text().split()[1:]
    assert len(contest) == 80
    assert [label for label in contest if label not in audioset_vocabulary()] == []


@pytest.mark.real_data
def test_the_list_is_audiosets(real_data: Path) -> None:
    table = real_data.parent / "models" / "audioset_class_labels_indices.csv"
    if not table.is_file():
        pytest.skip(f"no table of classes at {table}")
    assert read_classes(table) == audioset_vocabulary()


def test_tables_of_classes(tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    table.write_text('index,mid,display_name\n0,/m/1,"Waves, surf"\n1,/m/2,"Dog"\n')
    assert read_classes(table).names == ("Waves_and_surf", "Dog")
    table.write_text("label\nlow\nhigh\n")
    assert read_classes(table).names == ("low", "high")


def test_tables_that_are_none(tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    with pytest.raises(CollectionError, match=r"classes\.csv: cannot be read as a table of classes .*No such file"):
        read_classes(table)
    table.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CollectionError, match=r"classes\.csv: cannot be read as a table of classes .*CSV in UTF-8"):
        read_classes(table)
    table.write_text('index,mid,display_name\n0,/m/1,"Dog"\n1,/m/2,"Dog"\n')
    with pytest.raises(LabelError, match=r"classes\.csv: label 'Dog' stands twice"):
        read_classes(table)
