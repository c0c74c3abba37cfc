"""A labelled collection of synthesised sounds, in FSDKaggle2019's Kaggle layout."""

from __future__ import annotations

import csv
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from earmark.audio.synth import LABELS, mix, record_badly, synthesize
from earmark.errors import CollectionError, LabelError
from earmark.labels import Vocabulary

# FSDKaggle2019: one curated clip in seven has two labels and more, and a noisy label is wrong six times in ten
# (Fonseca et al., "Audio tagging with noisy labels and minimal supervision", DCASE 2019).
CLIPS_PER_PAIR = 7
WRONG_SHARE = 0.6

# The folder of each subset; its place here is part of the seed of its clips.
SUBSETS = ("train_curated", "train_noisy", "test")
_SOUND_KEY, _NAME_KEY, _PLAN_KEY = range(3)


@dataclass(frozen=True)
class PlannedClip:
    """One clip of a collection, before it is made.

    Attributes
    ----------
    fname
        Eight hexadecimal digits and ``.wav``.
    labels
        What its table says, in the vocabulary's order.
    sounds
        What will be heard in it, in the vocabulary's order; the same as `labels` but in the noisy subset.
    """

    fname: str
    labels: tuple[str, ...]
    sounds: tuple[str, ...]


def plan_subset(subset: str, n_clips: int, labels: Sequence[str] = LABELS, seed: int = 0) -> list[PlannedClip]:
    """What `write_collection` writes into one subset: names, labels, and what is really heard.

    Labels are dealt out evenly, one clip in seven gets a second one, and in ``train_noisy`` 60 % of the labels
    are replaced by wrong ones. The plan depends on its own arguments only, not on the other subsets.

    Parameters
    ----------
    subset
        ``train_curated``, ``train_noisy`` or ``test``.
    n_clips
        How many clips, 0 or more.
    labels
        Among `earmark.audio.synth.LABELS`, three or more.
    seed
        0 or more.

    Returns
    -------
    list of PlannedClip
        (n_clips,) in the order in which they are made.

    Raises
    ------
    LabelError
        If a label cannot be synthesised or stands twice, or there are fewer than three.
    CollectionError
        If the number of clips or the seed is negative, or the subset unknown.

    Examples
    --------
    >>> plan_subset("train_curated", 2, labels=("Hiss", "Knock", "Drip"), seed=1)[0].labels
    ('Hiss',)
    """
    if subset not in SUBSETS:
        raise CollectionError(f"subset '{subset}' is unknown; expected one of {', '.join(SUBSETS)}")
    if n_clips < 0:
        raise CollectionError(f"{subset}: {n_clips} clips cannot be made; expected 0 or more")
    if seed < 0:
        raise CollectionError(f"seed {seed} cannot be used; expected 0 or more")
    names = _in_contest_order(labels)
    rng = np.random.default_rng(_sequence(seed, subset, _PLAN_KEY))
    sounds = _deal_sounds(n_clips, len(names), rng)
    heard = [tuple(sorted(each)) for each in sounds]
    declared = _replace_labels(heard, len(names), rng) if subset == "train_noisy" else heard
    return [
        PlannedClip(fname, tuple(names[i] for i in said), tuple(names[i] for i in real))
        for fname, said, real in zip(_file_names(subset, n_clips, seed), declared, heard, strict=True)
    ]


def write_collection(
    folder: Path,
    *,
    n_curated: int,
    n_noisy: int,
    n_test: int,
    labels: Sequence[str] = LABELS,
    seed: int = 0,
    sample_rate: int = 44100,
    progress: bool = True,
) -> None:
    """Synthesises a collection in the layout in which Kaggle gave out FSDKaggle2019.

    The folder gets ``train_curated/``, ``train_noisy/`` and ``test/`` with 16-bit WAV files;
    ``train_curated.csv`` and ``train_noisy.csv`` (``fname,labels``); ``sample_submission.csv`` (``fname`` and a
    column of zeros a label); and ``test_labels.csv`` (``fname,labels``), which the contest never gave out.
    Noisy clips are recorded badly, too: another acoustic domain. The clips of a seed are the same whatever else
    is made before or beside them. A subset of no clips has neither folder nor tables. The folder appears when all
    is written, or not at all.

    Parameters
    ----------
    folder
        Must not exist, or be empty.
    n_curated, n_noisy, n_test
        Clips of each subset.
    labels
        Among `earmark.audio.synth.LABELS`, three or more, in any order; columns are in the contest's.
    seed
        0 or more.
    sample_rate
        In Hz, 16000 or more; the contest's is 44100.
    progress
        Whether a bar on standard error shows how far it is.

    Raises
    ------
    CollectionError
        If the folder holds something, or a number of clips or the seed is negative.
    LabelError
        If a label cannot be synthesised or stands twice, or there are fewer than three.
    AudioError
        If the sample rate is too low.

    Examples
    --------
    >>> write_collection(Path("demo"), n_curated=200, n_noisy=150, n_test=100)  # doctest: +SKIP
    """
    folder = Path(folder)
    counts = dict(zip(SUBSETS, (n_curated, n_noisy, n_test), strict=True))
    plans = {subset: plan_subset(subset, count, labels, seed) for subset, count in counts.items()}
    _refuse_used(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir()
    try:
        _write_tables(partial, plans, _in_contest_order(labels))
        with tqdm(total=sum(counts.values()), desc="synthesising", unit="clip", disable=not progress) as bar:
            for path, waveform in _make_clips(plans, seed, sample_rate):
                soundfile.write(partial / path, waveform, sample_rate, subtype="PCM_16")
                bar.update()
        if folder.is_dir():
            folder.rmdir()
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _refuse_used(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        kind = "is a folder that holds files" if folder.is_dir() else "is a file"
        raise CollectionError(
            f"{folder}: {kind}; expected a folder that does not exist or is empty; remove it, or write the collection "
            "elsewhere"
        )


def _in_contest_order(labels: Sequence[str]) -> tuple[str, ...]:
    known, asked = Vocabulary(LABELS), Vocabulary(labels)
    if len(asked) < 3:
        raise LabelError(
            f"labels are {', '.join(asked) or 'none'}; expected three or more, so that a clip of two sounds can be "
            "labelled wrongly; give more labels"
        )
    return tuple(sorted(asked, key=known.index))


def _sequence(seed: int, subset: str, *key: int) -> np.random.SeedSequence:
    """Its own seed for each purpose of each subset, so that no clip depends on another."""
    return np.random.SeedSequence(seed, spawn_key=(SUBSETS.index(subset), *key))


def _file_names(subset: str, n_clips: int, seed: int) -> list[str]:
    # The first digits of a number come from its subset, so that names never meet across subsets.
    words = np.random.default_rng(_sequence(seed, subset, _NAME_KEY)).integers(2**30, size=2 * n_clips + 16)
    distinct = list(dict.fromkeys(words.tolist()))[:n_clips]
    return [f"{(SUBSETS.index(subset) << 30) + word:08x}.wav" for word in distinct]


def _deal_sounds(n_clips: int, n_labels: int, rng: np.random.Generator) -> list[set[int]]:
    """One label a clip from a shuffled deck that starts anew when it is used up; a second for one clip in seven."""
    n_pairs = n_clips // CLIPS_PER_PAIR
    n_decks = -(-(n_clips + n_pairs) // n_labels)
    deck = np.concatenate([rng.permutation(n_labels) for _ in range(max(1, n_decks))]).tolist()
    sounds = [{label} for label in deck[:n_clips]]
    for label in deck[n_clips : n_clips + n_pairs]:
        free = [i for i, each in enumerate(sounds) if len(each) == 1 and label not in each]
        sounds[int(rng.choice(free))].add(label)
    return sounds


def _replace_labels(heard: Sequence[tuple[int, ...]], n_labels: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Six labels in ten, drawn over all clips, become another that is not heard in the clip."""
    slots = [(clip, place) for clip, labels in enumerate(heard) for place in range(len(labels))]
    wrong = rng.permutation(len(slots))[: round(WRONG_SHARE * len(slots))]
    declared = [list(labels) for labels in heard]
    for clip, place in (slots[i] for i in wrong):
        unheard = set(range(n_labels)) - set(heard[clip])
        # Of three labels, a clip with two sounds has one wrong label only, which may have to do for both.
        others = sorted(unheard - set(declared[clip])) or sorted(unheard)
        declared[clip][place] = int(rng.choice(others))
    return [tuple(sorted(set(labels))) for labels in declared]


def _make_clips(plans: dict[str, list[PlannedClip]], seed: int, sample_rate: int) -> Iterator[tuple[Path, np.ndarray]]:
    """Each clip with its path within the collection."""
    for subset, clips in plans.items():
        for index, clip in enumerate(clips):
            rng = np.random.default_rng(_sequence(seed, subset, _SOUND_KEY, index))
            waveform = synthesize(clip.sounds[0], rng, sample_rate=sample_rate)
            for label in clip.sounds[1:]:
                waveform = mix(waveform, synthesize(label, rng, sample_rate=sample_rate), rng)
            if subset == "train_noisy":
                waveform = record_badly(waveform, rng, sample_rate)
            yield Path(subset) / clip.fname, waveform


def _write_tables(folder: Path, plans: dict[str, list[PlannedClip]], names: Sequence[str]) -> None:
    for subset, clips in plans.items():
        if not clips:
            continue
        (folder / subset).mkdir()
        table = "test_labels.csv" if subset == "test" else f"{subset}.csv"
        rows = sorted((clip.fname, ",".join(clip.labels)) for clip in clips)
        _write_csv(folder / table, ("fname", "labels"), rows)
    fnames = sorted(clip.fname for clip in plans["test"])
    if not fnames:
        return
    _write_csv(folder / "sample_submission.csv", ("fname", *names), [(fname, *[0] * len(names)) for fname in fnames])


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
