"""Files of labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.data.vocabulary import read_vocabulary
from earmark.errors import CollectionError, LabelError


@pytest.mark.parametrize(
    "text",
    [
        "Purr\nBark\n",
        "label\nPurr\nBark\n",
        "0,Purr,/m/02yds9\n1,Bark,/m/05tny_\n",
        "1,Purr\n2,Bark\n",
        "index,label,mid\n0,Purr,/m/02yds9\n1,Bark,/m/05tny_\n",
        'index,mid,display_name\n0,/m/02yds9,"Purr"\n1,/m/05tny_,"Bark"\n',
        "\ufefflabel,mid\r\nPurr,/m/02yds9\r\n\r\nBark,/m/05tny_\r\n",
    ],
)
def test_labels_stand_in_the_order_of_rows_however_they_are_written(tmp_path: Path, text: str):
    (tmp_path / "v.csv").write_text(text, encoding="utf-8", newline="")
    assert read_vocabulary(tmp_path / "v.csv").names == ("Purr", "Bark")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "v.csv: is empty; expected a label a row, or rows of index,label"),
        ("label\n", "v.csv: has a header but no labels; expected a label a row"),
        ("Purr\nWaves, surf\n", "v.csv line 2: 2 cells; expected 1, as above; labels hold no commas"),
        (
            "0,Purr\n2,Bark\n",
            "v.csv line 2: index '2'; expected 1, since labels stand in their order; sort the rows, "
            "or leave the column "
            "out",
        ),
        (
            "Purr,/m/1\nBark,/m/2\n",
            "v.csv line 1: index 'Purr'; expected 0, since labels stand in their order; sort the rows, or leave the "
            "column out",
        ),
        ("Purr\nPurr\n", "v.csv: label 'Purr' stands twice in the vocabulary; give each label once"),
        (
            'Purr\n"Waves, surf"\n',
            "v.csv: label 'Waves, surf' is not usable: a label is a non-empty name without commas, "
            "outer blanks or line "
            "breaks",
        ),
    ],
)
def test_a_malformed_vocabulary_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises((CollectionError, LabelError)) as caught:
        read_vocabulary(tmp_path / "v.csv")
    assert str(caught.value) == message


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(CollectionError) as caught:
        read_vocabulary(tmp_path / "none.csv")
    assert str(caught.value) == f"{tmp_path / 'none.csv'}: cannot be read (No such file or directory)"


@pytest.mark.real_data
def test_the_contests_vocabulary(real_data: Path):
    names = read_vocabulary(real_data / "fsdkaggle2019" / "vocabulary.csv").names
    assert len(names) == 80
    assert (names[0], names[-1]) == ("Accelerating_and_revving_and_vroom", "Zipper_(clothing)")
