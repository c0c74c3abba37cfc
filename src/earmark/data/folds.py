"""Folds: which clips are held out together.

Clips of one recording are not independent, so they stay in one fold wherever the collection says which recording
a clip was cut from. A clip mixed of two recordings ties both of them together.

A collection with one official validation part has a single fold, that part. Its other clips are in no fold
(`NEVER_HELD_OUT`): learned from always, judged never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from earmark.atomic import write_text_atomically
from earmark.data.manifest import NEVER_HELD_OUT, Clip, Manifest, row_fold
from earmark.data.rows import format_csv, read_rows
from earmark.errors import CollectionError, MissingExtraError

DEFAULT_N_FOLDS = 5

LEAST_GAIN = 1e-9
"""In evenness, for which a set of clips is moved; smaller ones may be rounding."""


@dataclass(frozen=True)
class FoldReport:
    """How evenly folds divide the clips that they hold out.

    Attributes
    ----------
    counts
        (n_folds, n_labels) int64, clips of each label in each fold.
    sizes
        Number of clips of each fold.
    n_never_held_out
        Clips that are in no fold.
    deviations
        (n_labels,) float64, for each label the largest difference, over folds, between a fold's share of its clips
        and 1 / n_folds; from 0 (even) to 1, and 0 for a label that does not occur.
    floors
        (n_labels,) float64, what `deviations` cannot be below however sets of clips that share recordings are dealt
        out: by how much the label's largest set, or one clip, exceeds the share of a fold.
    """

    counts: np.ndarray
    sizes: tuple[int, ...]
    n_never_held_out: int
    deviations: np.ndarray
    floors: np.ndarray

    @property
    def largest_deviation(self) -> float:
        """Largest of `deviations`; 0 when no label occurs."""
        return float(self.deviations.max(initial=0.0))

    @property
    def worst_label(self) -> int | None:
        """Position of the label where the deviation is largest; None when no label occurs."""
        return int(self.deviations.argmax()) if self.counts.any() else None

    @property
    def absent(self) -> tuple[int, ...]:
        """Positions of the labels that at least one fold has no clip of."""
        return tuple(np.flatnonzero((self.counts == 0).any(axis=0)).tolist())


def assign_folds(manifest: Manifest, n_folds: int | None = None, *, seed: int = 0) -> np.ndarray:
    """Assign each clip of a training subset to a fold.

    Official folds are taken as they are. Otherwise the clips of one recording stay together and labels are spread
    evenly. The folds depend on the clips' names, labels and groups and on the seed, not on the order of the clips.

    Parameters
    ----------
    manifest
        Clips to learn from, as `manifest.subset("curated")` gives them.
    n_folds
        How many; without it, as many as there are official ones, or else 5.
    seed
        Decides between assignments that are equally good.

    Returns
    -------
    np.ndarray
        (n_clips,) int64 from 0 to n_folds - 1, each of which occurs, and `NEVER_HELD_OUT` where the collection says
        so. Official folds are numbered in their order.

    Raises
    ------
    CollectionError
        If there are test clips, if `n_folds` is less than 2 or not the number of official folds, if official folds
        are incomplete or tear a recording apart, or if there are fewer independent recordings than folds.
    MissingExtraError
        If iterative-stratification is needed and not installed.
    """
    n_tests = sum(clip.subset == "test" for clip in manifest.clips)
    if n_tests:
        raise CollectionError(f"{n_tests} test clips among those to be divided into folds; give the curated ones only")
    if n_folds is not None and n_folds < 2:
        raise CollectionError(f"{n_folds} folds: nothing would be held out; expected 2 or more")
    n_given = sum(clip.fold is not None for clip in manifest.clips)
    if n_given:
        return _official_folds(manifest, n_given, n_folds)
    return _stratified_folds(manifest, n_folds or DEFAULT_N_FOLDS, seed)


def components(groups: Sequence[str | None]) -> np.ndarray:
    """Number the sets of clips that share recordings, directly or through others.

    Parameters
    ----------
    groups
        The recording of each clip, several joined by ``+``; None when it is not known, which ties it to no other.

    Returns
    -------
    np.ndarray
        (n_clips,) int64 from 0, numbered in the order in which they first occur.

    Examples
    --------
    >>> components(["a", "b", None, "a+c", "c", None])
    array([0, 1, 2, 0, 0, 3])
    """
    n_clips = len(groups)
    node_of_source: dict[str, int] = {}
    edges = [
        (clip, node_of_source.setdefault(source.strip(), n_clips + len(node_of_source)))
        for clip, group in enumerate(groups)
        for source in (group or "").split("+")
        if source.strip()
    ]
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    n_nodes = n_clips + len(node_of_source)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n_nodes, n_nodes))
    numbers = connected_components(graph, directed=False)[1][:n_clips]
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def fold_report(targets: np.ndarray, folds: np.ndarray, groups: Sequence[str | None] | None = None) -> FoldReport:
    """Measure how evenly folds divide clips and labels.

    Parameters
    ----------
    targets
        (n_clips, n_labels) multi-hot.
    folds
        (n_clips,) int from 0; `NEVER_HELD_OUT` for clips in no fold, which are counted and nothing else.
    groups
        The recording of each clip, as `components` takes them; without them each clip may go anywhere.

    Returns
    -------
    FoldReport
        Over the clips that are in a fold.

    Raises
    ------
    CollectionError
        If targets and folds are not of one length, or no clip is in a fold.
    """
    held_out = folds != NEVER_HELD_OUT
    if len(targets) != len(folds):
        raise CollectionError(f"{len(targets)} rows of targets and {len(folds)} folds; expected one of each for a clip")
    if not held_out.any():
        raise CollectionError(f"none of {len(folds)} clips is in a fold; expected one or more to be held out")
    positive, n_folds = targets[held_out] > 0, int(folds.max()) + 1
    counts = _sums(positive, folds[held_out])
    totals = np.maximum(counts.sum(axis=0), 1)
    occurs = counts.any(axis=0)
    ties = components([None] * len(folds) if groups is None else groups)[held_out]
    return FoldReport(
        counts=counts,
        sizes=tuple(np.bincount(folds[held_out], minlength=n_folds).tolist()),
        n_never_held_out=int((~held_out).sum()),
        deviations=np.abs(counts / totals - 1 / n_folds).max(axis=0) * occurs,
        floors=np.maximum(_sums(positive, ties).max(axis=0) / totals - 1 / n_folds, 0) * occurs,
    )


def _sums(positive: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(n_numbers, n_labels) int64: how many clips of each number have each label."""
    sums = np.zeros((int(numbers.max()) + 1, positive.shape[1]), dtype=np.int64)
    np.add.at(sums, numbers, positive)
    return sums


def write_folds(path: Path | str, names: Sequence[str], folds: np.ndarray) -> None:
    """Write the table `fname,fold`, atomically.

    Parameters
    ----------
    path
        The table; an existing one is replaced.
    names
        Name of each clip.
    folds
        (n_clips,) int.
    """
    rows = [(name, int(fold)) for name, fold in zip(names, folds, strict=True)]
    write_text_atomically(path, format_csv(("fname", "fold"), rows))


def read_folds(path: Path | str, names: Sequence[str]) -> np.ndarray:
    """Read the table `fname,fold`.

    Parameters
    ----------
    path
        The table, in any order.
    names
        Name of each clip, in the order that is wanted.

    Returns
    -------
    np.ndarray
        (n_clips,) int64 from 0 to n_folds - 1, each of which occurs, and `NEVER_HELD_OUT`.

    Raises
    ------
    CollectionError
        If the table is malformed, leaves a fold number out, lacks a clip, or has one that is not in `names`.
    """
    path = Path(path)
    fold_of = {}
    for row in read_rows(path, ("fname", "fold"), unique="fname"):
        fold_of[row["fname"]] = row_fold(row)
        if fold_of[row["fname"]] is None:
            raise row.error("fold is empty; expected a whole number from 0")
    remedy = "these folds belong to another collection, or it changed since"
    lacking = [name for name in names if name not in fold_of]
    if lacking:
        raise CollectionError(f"{path.name}: no fold for {len(lacking)} clips, the first is '{lacking[0]}'; {remedy}")
    foreign = sorted(fold_of.keys() - set(names))
    if foreign:
        raise CollectionError(f"{path.name}: {len(foreign)} clips too many, the first is '{foreign[0]}'; {remedy}")
    folds = np.array([fold_of[name] for name in names], dtype=np.int64)
    present = np.unique(folds[folds != NEVER_HELD_OUT])
    if not len(present):
        raise CollectionError(f"{path.name}: no clip is in a fold, all are {NEVER_HELD_OUT}; nothing would be judged")
    if present[-1] != len(present) - 1:
        raise CollectionError(f"{path.name}: folds {present.tolist()}; expected 0 to {len(present) - 1}, none left out")
    return folds


def _official_folds(manifest: Manifest, n_given: int, n_folds: int | None) -> np.ndarray:
    if n_given < len(manifest):
        lacking = next(clip.name for clip in manifest.clips if clip.fold is None)
        raise CollectionError(
            f"{len(manifest) - n_given} of {len(manifest)} clips have no fold, the first is '{lacking}'; "
            "give every clip a fold, or none"
        )
    given = np.array([clip.fold for clip in manifest.clips])
    held_out = given != NEVER_HELD_OUT
    numbers = np.unique(given[held_out])
    if len(numbers) == 0 or (len(numbers) == 1 and held_out.all()):
        raise CollectionError(f"all clips are in fold {given[0]}; expected 2 folds or more, or no fold column")
    if n_folds not in (None, len(numbers)):
        raise CollectionError(
            f"{n_folds} folds asked for, but the collection comes with {len(numbers)} official ones; "
            f"ask for {len(numbers)}, or clear the fold column"
        )
    _check_recordings_whole(manifest)
    return np.where(held_out, np.searchsorted(numbers, given), NEVER_HELD_OUT)


def _check_recordings_whole(manifest: Manifest) -> None:
    first_of_part: dict[int, Clip] = {}
    for part, clip in zip(components([clip.group for clip in manifest.clips]), manifest.clips, strict=True):
        first = first_of_part.setdefault(part, clip)
        if clip.fold != first.fold:
            raise CollectionError(
                f"clips '{first.name}' (fold {first.fold}) and '{clip.name}' (fold {clip.fold}) share a recording; "
                "correct the fold column or the group column, or clear one of them"
            )


def _stratified_folds(manifest: Manifest, n_folds: int, seed: int) -> np.ndarray:
    """Stratify in the order of names, so that the order of the clips changes nothing."""
    order = np.argsort(np.array(manifest.names, dtype=object))
    targets = manifest.targets()[order].astype(np.int64)
    parts = components([manifest.clips[index].group for index in order])
    n_parts = int(parts.max(initial=-1)) + 1
    if n_parts < n_folds:
        raise CollectionError(
            f"{n_folds} folds from {n_parts} independent recordings ({len(manifest)} clips); "
            f"expected {n_folds} or more: ask for fewer folds, or add recordings"
        )
    # iterative-stratification takes no targets of a single column.
    if n_parts == len(manifest) and targets.shape[1] > 1:
        fold_of_part = _iterative_folds(targets, n_folds, seed)
    else:
        label_counts = np.zeros((n_parts, targets.shape[1]), dtype=np.int64)
        np.add.at(label_counts, parts, targets)
        sizes = np.bincount(parts)
        fold_of_part = _greedy_folds(label_counts, sizes, n_folds, np.random.default_rng(seed))
        fold_of_part = _evened(label_counts, sizes, fold_of_part)
    folds = np.empty(len(manifest), dtype=np.int64)
    folds[order] = fold_of_part[parts]
    return folds


def _iterative_folds(targets: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    try:
        from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
    except ImportError:
        raise MissingExtraError("dividing clips into folds", "train") from None
    splitter = MultilabelStratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    folds = np.empty(len(targets), dtype=np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(targets, targets)):
        folds[held_out] = fold
    return folds


def _greedy_folds(
    label_counts: np.ndarray, sizes: np.ndarray, n_folds: int, generator: np.random.Generator
) -> np.ndarray:
    """Spread sets of clips so that each fold gets its share of every label.

    The greedy of Sechidis, Tsoumakas & Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011),
    with sets of clips for examples: the rarest label that is left goes first, to the folds that lack most of it.
    A set counts as many times as it has clips, and large sets go before small ones, which then fill the gaps.

    Parameters
    ----------
    label_counts
        (n_sets, n_labels) clips of each label.
    sizes
        (n_sets,) clips.

    Returns
    -------
    np.ndarray
        (n_sets,) int64; no fold stays empty when there are as many sets as folds.
    """
    lacking = np.tile(label_counts.sum(axis=0) / n_folds, (n_folds, 1))
    lacking_clips = np.full(n_folds, sizes.sum() / n_folds)
    folds = np.full(len(sizes), -1, dtype=np.int64)
    empty, n_open = np.ones(n_folds, dtype=bool), len(sizes)
    shuffled = generator.permutation(len(sizes))
    while (open_sets := shuffled[folds[shuffled] < 0]).size:
        left = label_counts[open_sets].sum(axis=0)
        if left.any():
            label = int(np.where(left > 0, left, np.inf).argmin())
            weight, lack = label_counts[:, label], lacking[:, label]
        else:
            weight, lack = sizes, lacking_clips
        having = open_sets[weight[open_sets] > 0]
        for chosen in having[np.argsort(-weight[having], kind="stable")]:
            must_fill = empty & (empty.sum() >= n_open)
            fold = np.lexsort((generator.random(n_folds), lacking_clips, lack, must_fill))[-1]
            folds[chosen], empty[fold], n_open = fold, False, n_open - 1
            lacking[fold] -= label_counts[chosen]
            lacking_clips[fold] -= sizes[chosen]
    return folds


def _evened(label_counts: np.ndarray, sizes: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Move sets of clips, large ones first, as long as that makes the folds more even; none is left empty.

    Uneven is the sum, over folds, labels and the clips as a whole, of the squared difference between a fold's share and
    1 / n_folds. A set of shares x that goes from fold a to fold b changes it by 2 x·(x + d_b - d_a), with d the
    differences.

    Parameters
    ----------
    label_counts, sizes
        As for `_greedy_folds`.
    folds
        (n_sets,) int64, where they are.

    Returns
    -------
    np.ndarray
        (n_sets,) int64.
    """
    folds, counts = folds.copy(), np.column_stack([label_counts, sizes])
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    n_sets = np.bincount(folds)
    differences = np.stack([shares[folds == fold].sum(axis=0) for fold in range(len(n_sets))])
    differences -= np.where(counts.any(axis=0), 1 / len(n_sets), 0)
    moved = True
    while moved:
        moved = False
        for chosen in np.argsort(-sizes, kind="stable"):
            origin, share = folds[chosen], shares[chosen]
            change = 2 * (differences @ share - differences[origin] @ share + share @ share)
            change[origin] = 0.0
            target = int(change.argmin())
            if n_sets[origin] > 1 and change[target] < -LEAST_GAIN:
                folds[chosen], moved = target, True
                differences[[origin, target]] += np.stack([-share, share])
                n_sets[[origin, target]] += [-1, 1]
    return folds
