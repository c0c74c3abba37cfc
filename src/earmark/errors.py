"""Every exception a user can meet.

Each message says what went wrong, what was found, what was expected and what to do about it.
All derive from `EarmarkError`, so that one `except` catches what this package raises on purpose.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EarmarkError(Exception):
    """Base of all errors that the user's input can cause."""


class AudioError(EarmarkError):
    """A recording cannot be read, or holds what no recording should (no samples, NaN)."""


class CollectionError(EarmarkError):
    """A collection of recordings, or one of its tables, is not as its layout says."""


class StoreError(EarmarkError):
    """A packed store cannot be written: no room, another process at it, or something else in its place."""


class LabelError(EarmarkError):
    """A label is not in the vocabulary, or a vocabulary is not a set of usable names."""


class PredictionsError(EarmarkError):
    """A table of scores is malformed, or does not fit the labels it is held against."""


class RecipeError(EarmarkError):
    """A recipe has an unknown key, a wrong type, or a value out of range."""


class TrainingError(EarmarkError):
    """A training cannot go on: its loss is not finite, or the memory does not suffice."""


class BundleError(EarmarkError):
    """A model file is damaged, foreign, of a version that this release cannot read, or unfit for its task."""


class RunError(EarmarkError):
    """A run folder is incomplete, or does not belong to what is asked of it."""


class DecisionError(EarmarkError):
    """A decision on a clip's labels was made in view of what somebody else has decided since."""


class CatalogError(EarmarkError):
    """A name is not in the catalog of what can be fetched, or the catalog is malformed."""


class FetchError(EarmarkError):
    """A file cannot be downloaded, or is not what was published under its name."""


class ArchiveError(EarmarkError):
    """An archive is damaged, or holds what no archive should: a path out of its folder, a link, a bomb."""


class ServingError(EarmarkError):
    """A server cannot be set up as asked, or one that was asked refuses a request."""


class MissingExtraError(EarmarkError):
    """A feature needs libraries that are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs libraries that are not installed: pip install 'earmark[{extra}]'")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word as a question, or nothing when none is near.

    Parameters
    ----------
    word
        What the user wrote.
    known
        What would have been accepted.

    Returns
    -------
    str
        ``"; did you mean 'Bark'?"``, or ``""``.

    Examples
    --------
    >>> did_you_mean("Brak", ["Bark", "Meow"])
    "; did you mean 'Bark'?"
    """
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f"; did you mean '{lowered[near[0]]}'?" if near else ""
