"""Vocabularies refuse unusable names, and targets survive the way there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import LabelError
from earmark.labels import Vocabulary

PETS = Vocabulary(["Bark", "Meow", "Purr"])


def test_encode_by_hand() -> None:
    targets = PETS.encode([("Meow",), ("Purr", "Bark"), ()])
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, [[0, 1, 0], [1, 0, 1], [0, 0, 0]])


def test_encode_nothing_keeps_the_width() -> None:
    assert PETS.encode([]).shape == (0, 3)
    assert Vocabulary([]).encode([()]).shape == (1, 0)


def test_a_label_given_twice_is_one_label() -> None:
    np.testing.assert_array_equal(PETS.encode([("Bark", "Bark")]), [[1, 0, 0]])


@given(st.lists(st.sets(st.sampled_from(PETS.names)), max_size=6))
def test_decode_undoes_encode(rows: list[set[str]]) -> None:
    decoded = PETS.decode(PETS.encode([sorted(row) for row in rows]))
    assert decoded == [tuple(name for name in PETS if name in row) for row in rows]


def test_a_vocabulary_is_an_ordered_set() -> None:
    assert len(PETS) == 3
    assert list(PETS) == ["Bark", "Meow", "Purr"]
    assert [PETS.index(name) for name in PETS] == [0, 1, 2]
    assert "Meow" in PETS
    assert "meow" not in PETS
    assert 3 not in PETS
    assert Vocabulary(name for name in PETS) == PETS
    assert hash(PETS) == hash(Vocabulary(PETS.names))
    assert Vocabulary(["Meow", "Bark", "Purr"]) != PETS
    assert PETS.names != PETS
    assert repr(PETS) == "Vocabulary(['Bark', 'Meow', 'Purr'])"


@pytest.mark.parametrize("name", ["", " Bark", "Bark ", "Waves, surf", "Bark\rMeow", "Bark\nMeow"])
def test_an_unusable_name_is_refused(name: str) -> None:
    with pytest.raises(LabelError) as caught:
        Vocabulary(["Meow", name])
    expected = f"label {name!r} is not usable: a label is a non-empty name without commas, outer blanks or line breaks"
    assert str(caught.value) == expected


def test_a_repeated_name_is_refused() -> None:
    with pytest.raises(LabelError) as caught:
        Vocabulary(["Bark", "Meow", "Bark"])
    assert str(caught.value) == "label 'Bark' stands twice in the vocabulary; give each label once"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Brak", "label 'Brak' is not in the vocabulary; did you mean 'Bark'?"),
        ("Xylophone", "label 'Xylophone' is not in the vocabulary"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, text: str) -> None:
    with pytest.raises(LabelError) as caught:
        PETS.index(name)
    assert str(caught.value) == text
    with pytest.raises(LabelError) as caught:
        PETS.encode([("Bark",), (name,)])
    assert str(caught.value) == text


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_targets_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LabelError) as caught:
        PETS.decode(np.zeros(shape))
    assert str(caught.value) == f"targets have shape {shape}; expected (n_clips, 3)"
