"""Labels under other names: translated, or several grouped under one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earmark.errors import LabelError, did_you_mean
from earmark.tagging.tagger import Tag, Tagger, Threshold


@dataclass(frozen=True)
class LabelNames:
    """What labels are called instead.

    Attributes
    ----------
    names
        A name for each label that has another; several labels may share one.
    only_mapped
        Whether labels without another name are left out, rather than kept under their own.
    """

    names: dict[str, str]
    only_mapped: bool = False

    @property
    def digest(self) -> str:
        """Tells these names from others."""
        said = repr((sorted(self.names.items()), self.only_mapped))
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def rename(self, tags: Sequence[Tag]) -> list[Tag]:
        """Tags under their new names; of those with one name and the same times, the best. Best first.

        Examples
        --------
        >>> LabelNames({"Bark": "dog", "Growl": "dog"}).rename([Tag("Bark", 0.9, 0, 1), Tag("Growl", 0.4, 0, 1)])
        [Tag(label='dog', score=0.9, start_s=0, end_s=1)]
        """
        best: dict[tuple[str, float, float], Tag] = {}
        for tag in sorted(tags, key=lambda tag: -tag.score):
            if self.only_mapped and tag.label not in self.names:
                continue
            renamed = replace(tag, label=self.names.get(tag.label, tag.label))
            best.setdefault((renamed.label, renamed.start_s, renamed.end_s), renamed)
        return list(best.values())

    def choose(
        self, tagger: Tagger, scores: np.ndarray, duration_s: float, *, top_k: int, threshold: Threshold
    ) -> list[Tag]:
        """Tags of a clip, as `Tagger.choose` gives them, by these names; a name scores as its best label."""
        least = 0.0 if threshold is None else threshold
        tags = self.rename(tagger.choose(scores, duration_s, top_k=top_k, threshold=least))
        return tags[:top_k] if threshold is None else tags


def read_label_names(path: Path, labels: Sequence[str], *, only_mapped: bool = False) -> LabelNames:
    """Read a table of names.

    Parameters
    ----------
    path
        A CSV file with the columns `label` and `name`.
    labels
        Those of the model.
    only_mapped
        See `LabelNames`.

    Returns
    -------
    LabelNames
        Names for labels of the model.

    Raises
    ------
    CollectionError
        When the table cannot be read, or has a label twice.
    LabelError
        When a label is not one of the model's, or its name is empty or holds a comma.
    """
    from earmark.data.rows import read_rows  # only where it is needed, for a quick start

    names: dict[str, str] = {}
    for row in read_rows(path, ["label", "name"], unique="label"):
        label, name = row["label"].strip(), row["name"].strip()
        if label not in labels:
            raise LabelError(f"{row.place}: label '{label}' is not one of the model{did_you_mean(label, labels)}")
        if not name or "," in name or not name.isprintable():
            raise LabelError(f"{row.place}: name {name!r} is not usable; expected text in one line without commas")
        names[label] = name
    return LabelNames(names, only_mapped)
