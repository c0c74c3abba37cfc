"""The exceptions share a base, and a near miss is guessed."""

from __future__ import annotations

import inspect

import pytest

from earmark import errors


@pytest.mark.parametrize(
    "error",
    [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__],
)
def test_one_except_clause_catches_every_error(error: type[Exception]) -> None:
    assert issubclass(error, errors.EarmarkError)
    assert error.__doc__


def test_a_missing_extra_says_what_to_install() -> None:
    error = errors.MissingExtraError("training", "train")
    assert str(error) == "training needs libraries that are not installed: pip install 'earmark[train]'"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("Brak", "; did you mean 'Bark'?"),
        ("bark", "; did you mean 'Bark'?"),
        ("MEOWS", "; did you mean 'Meow'?"),
        ("Xylophone", ""),
        ("", ""),
    ],
)
def test_the_nearest_known_word_is_guessed(word: str, text: str) -> None:
    assert errors.did_you_mean(word, ["Bark", "Meow", "Purr"]) == text


def test_nothing_is_guessed_when_nothing_is_known() -> None:
    assert errors.did_you_mean("Bark", []) == ""
