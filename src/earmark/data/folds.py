"""Folds: which clips are held out together.

Clips of one recording are not independent, so they stay in one fold wherever the collection says which recording
a clip was cut from. A clip mixed of two recordings ties both of them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from earmark.atomic import write_text_atomically
from earmark.data.manifest import Clip, Manifest, format_csv, read_rows
from earmark.errors import CollectionError, MissingExtraError

DEFAULT_N_FOLDS = 5


@dataclass(frozen=True)
class FoldReport:
    """How evenly folds divide a collection.

    Parameters
    ----------
    sizes
        Number of clips of each fold.
    largest_deviation
        Largest difference, over folds and labels that occur, between the fold's share of the label's clips and
        1 / n_folds; from 0 (even) to 1.
    worst_label
        Position of the label where it is that large; None when no label occurs.
    absent
        Positions of the labels that at least one fold has no clip of.
    """

    sizes: tuple[int, ...]
    largest_deviation: float
    worst_label: int | None
    absent: tuple[int, ...]


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
        (n_clips,) int64 from 0 to n_folds - 1, each of which occurs. Official folds are numbered in their order.

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


def fold_report(targets: np.ndarray, folds: np.ndarray) -> FoldReport:
    """Measure how evenly folds divide clips and labels.

    Parameters
    ----------
    targets
        (n_clips, n_labels) multi-hot.
    folds
        (n_clips,) int from 0.

    Returns
    -------
    FoldReport
        Sizes, the largest deviation from an even share, and labels that are absent from a fold.

    Raises
    ------
    CollectionError
        If the two are not of one length, or are empty.
    """
    if len(targets) != len(folds) or len(folds) == 0:
        raise CollectionError(f"{len(targets)} rows of targets and {len(folds)} folds; expected one of each for a clip")
    n_folds = int(folds.max()) + 1
    counts = np.stack([(targets[folds == fold] > 0).sum(axis=0) for fold in range(n_folds)])
    totals = counts.sum(axis=0)
    deviation = np.abs(counts / np.maximum(totals, 1) - 1 / n_folds).max(axis=0) * (totals > 0)
    return FoldReport(
        sizes=tuple(np.bincount(folds, minlength=n_folds).tolist()),
        largest_deviation=float(deviation.max(initial=0.0)),
        worst_label=int(deviation.argmax()) if totals.any() else None,
        absent=tuple(np.flatnonzero((counts == 0).any(axis=0)).tolist()),
    )


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
        (n_clips,) int64 from 0 to n_folds - 1, each of which occurs.

    Raises
    ------
    CollectionError
        If the table is malformed, leaves a fold number out, lacks a clip, or has one that is not in `names`.
    """
    path = Path(path)
    fold_of = {}
    for row in read_rows(path, ("fname", "fold"), unique="fname"):
        fold_of[row["fname"]] = row.whole_number("fold")
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
    present = np.unique(folds)
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
    numbers, folds = np.unique([clip.fold for clip in manifest.clips], return_inverse=True)
    if len(numbers) < 2:
        raise CollectionError(f"all clips are in fold {numbers[0]}; expected 2 folds or more, or no fold column")
    if n_folds not in (None, len(numbers)):
        raise CollectionError(
            f"{n_folds} folds asked for, but the collection comes with {len(numbers)} official ones; "
            f"ask for {len(numbers)}, or clear the fold column"
        )
    _check_recordings_whole(manifest)
    return folds


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
        fold_of_part = _greedy_folds(label_counts, np.bincount(parts), n_folds, np.random.default_rng(seed))
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
