"""AudioSet's 527 classes, as labels.

J. F. Gemmeke et al., *Audio Set: An Ontology and Human-Labeled Dataset for Audio Events*, ICASSP 2017. Its names hold
commas; labels do not, and are written as FSD50K and FSDKaggle2019 write the same classes (E. Fonseca et al., *FSD50K*,
TASLP 2022).
"""

from __future__ import annotations

import csv
import re
from importlib import resources
from pathlib import Path

from earmark.data.vocabulary import read_vocabulary
from earmark.errors import CollectionError, LabelError
from earmark.labels import Vocabulary

NAME_COLUMN = "display_name"
"""Of AudioSet's own table of classes, `class_labels_indices.csv`."""


def audioset_label(name: str) -> str:
    """A class's name as a label: commas, and an "and" after one, become `_and_`, blanks `_`.

    Examples
    --------
    >>> audioset_label("Dishes, pots, and pans"), audioset_label("Sink (filling or washing)")
    ('Dishes_and_pots_and_pans', 'Sink_(filling_or_washing)')
    """
    return re.sub(r",\s*(and\s+)?", " and ", name.strip()).replace(" ", "_")


def audioset_vocabulary() -> Vocabulary:
    """AudioSet's classes in the order of its table, which networks learned on it have too."""
    text = (resources.files("earmark") / "data" / "audioset.csv").read_text("utf-8")
    return Vocabulary(text.split()[1:])


def read_classes(path: Path) -> Vocabulary:
    """Read AudioSet's own table of classes, `index,mid,display_name`, or any file of labels in their order.

    Raises
    ------
    CollectionError, LabelError
        As `earmark.data.vocabulary.read_vocabulary` does.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if NAME_COLUMN not in (table.fieldnames or ()):
                return read_vocabulary(path)
            names = [row[NAME_COLUMN] or "" for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CollectionError(f"{path}: cannot be read as a table of classes ({error}); is it CSV in UTF-8?") from error
    try:
        return Vocabulary(map(audioset_label, names))
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from None
