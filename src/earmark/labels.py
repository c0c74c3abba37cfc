"""Vocabularies: ordered label names, and targets as multi-hot rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from earmark.errors import LabelError, did_you_mean


class Vocabulary:
    """An ordered set of label names.

    Parameters
    ----------
    names
        Distinct, non-empty names without commas (a comma separates labels in every table).

    Raises
    ------
    LabelError
        If a name is empty, repeated, padded with blanks, or holds a comma or what cannot be printed.

    Examples
    --------
    >>> vocabulary = Vocabulary(["Bark", "Meow", "Purr"])
    >>> vocabulary.encode([("Meow",), ("Bark", "Purr")])
    array([[0., 1., 0.],
           [1., 0., 1.]], dtype=float32)
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self._index: dict[str, int] = {}
        for position, name in enumerate(self.names):
            if not name or name != name.strip() or "," in name or not name.isprintable():
                raise LabelError(
                    f"label {name!r} is not usable: a label is a non-empty name without commas, outer blanks or line "
                    "breaks"
                )
            if name in self._index:
                raise LabelError(f"label {name!r} stands twice in the vocabulary; give each label once")
            self._index[name] = position

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"Vocabulary({list(self.names)!r})"

    def index(self, name: str) -> int:
        """Position of a label; `LabelError` names the nearest known one when it is unknown."""
        try:
            return self._index[name]
        except KeyError:
            raise LabelError(f"label '{name}' is not in the vocabulary{did_you_mean(name, self.names)}") from None

    def encode(self, rows: Sequence[Iterable[str]]) -> np.ndarray:
        """Multi-hot targets.

        Parameters
        ----------
        rows
            The labels of each clip; a clip may have none.

        Returns
        -------
        np.ndarray
            (n_clips, n_labels) float32, 1 where the clip has the label.

        Raises
        ------
        LabelError
            If a label is not in the vocabulary.
        """
        targets = np.zeros((len(rows), len(self)), dtype=np.float32)
        for row, labels in enumerate(rows):
            for name in labels:
                targets[row, self.index(name)] = 1.0
        return targets

    def decode(self, targets: np.ndarray) -> list[tuple[str, ...]]:
        """Names of the positive entries of each row of (n_clips, n_labels) targets."""
        if targets.ndim != 2 or targets.shape[1] != len(self):
            raise LabelError(f"targets have shape {targets.shape}; expected (n_clips, {len(self)})")
        return [tuple(self.names[i] for i in np.flatnonzero(row > 0)) for row in targets]
