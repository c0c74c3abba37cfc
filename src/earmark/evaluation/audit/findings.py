"""What is suspected of each clip of a run: which label is not heard, which one is, and which sound alike."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earmark.data.check.twins import Twins
from earmark.data.layouts import read_collection
from earmark.data.manifest import Clip
from earmark.data.rows import read_rows
from earmark.errors import RunError, did_you_mean
from earmark.evaluation.audit.ranking import Quality, clip_quality, label_quality, n_suspected
from earmark.labels import Vocabulary
from earmark.predictions import Predictions

MAX_SUGGESTED = 9
"""Labels that are suggested for a clip, as many as there are digits to choose one by."""

LEAST_SUGGESTED, LEAST_SCORE = 3, 0.05
"""So many labels are suggested whatever they score; more only from this score on."""


@dataclass(frozen=True)
class RunScores:
    """What a run says of its clips.

    Attributes
    ----------
    folder
        Of the run.
    clips
        Those with out-of-fold scores, in the order of the scores; each with the labels that the run learned from. A
        clip's path is where it lay when it was packed; `Path()` where the run does not say.
    vocabulary
        The labels.
    scores
        (n_clips, n_labels) float32, of models that never heard the clip.
    """

    folder: Path
    clips: tuple[Clip, ...]
    vocabulary: Vocabulary
    scores: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """(n_clips, n_labels) float32, 1 where the clip has the label."""
        return self.vocabulary.encode([clip.labels for clip in self.clips])


@dataclass(frozen=True)
class Scored:
    """A label and its out-of-fold score."""

    label: str
    score: float


@dataclass(frozen=True)
class Finding:
    """What is suspected of a clip.

    Attributes
    ----------
    clip
        With the labels that it was learned with.
    quality
        In [0, 1], low where a label is probably wrong or missing; see `Quality`.
    given
        The clip's labels, the least probable first.
    suggested
        Other labels, the most probable first; at most `MAX_SUGGESTED`.
    twins
        Clips that hold the same sound and are labelled otherwise.
    """

    clip: Clip
    quality: float
    given: tuple[Scored, ...]
    suggested: tuple[Scored, ...]
    twins: tuple[Clip, ...] = ()

    @property
    def suspicion(self) -> str:
        """In words, such as ``Raindrop that sounds like Frying_(food)``."""
        if not self.given:
            return f"no label, sounds like {self.suggested[0].label}" if self.suggested else "no label"
        least = self.given[0]
        if not self.suggested or (self.suggested[0].score <= least.score < 1 - self.suggested[0].score):
            return f"{least.label} that is hardly heard"
        best = self.suggested[0]
        if least.score < best.score:
            return f"{least.label} that sounds like {best.label}"
        return f"{self.given[-1].label} that may also be {best.label}"


@dataclass(frozen=True)
class Audit:
    """A run's clips, the most suspicious first.

    Attributes
    ----------
    run
        Name of the run's folder.
    key
        The same for all audits of the same clips with the same vocabulary, whichever run they are of.
    vocabulary
        All labels that a clip may have.
    findings
        One a clip.
    n_suspected
        How many clips cleanlab expects to have a wrong or missing label.
    twins
        Pairs of clips that hold the same sound and are labelled differently; None where nobody listened for them.
    """

    run: str
    key: str
    vocabulary: Vocabulary
    findings: tuple[Finding, ...]
    n_suspected: int
    twins: tuple[Twins, ...] | None = None

    def groups(self) -> dict[str, tuple[Finding, ...]]:
        """The suspected clips by what is suspected, the largest group first."""
        members: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings[: self.n_suspected]:
            members[finding.suspicion].append(finding)
        order = sorted(members, key=lambda suspicion: (-len(members[suspicion]), members[suspicion][0].quality))
        return {suspicion: tuple(members[suspicion]) for suspicion in order}

    def first(self, n_clips: int) -> Audit:
        """The same audit with the first clips alone, and such whose twins are labelled otherwise."""
        kept = [found for place, found in enumerate(self.findings) if place < n_clips or found.twins]
        return replace(self, findings=tuple(kept))


def read_run(folder: Path) -> RunScores:
    """Read a run's out-of-fold scores and what its clips are labelled with.

    Parameters
    ----------
    folder
        Of the run; all its folds must be done.

    Returns
    -------
    RunScores
        All clips that have scores.

    Raises
    ------
    RunError
        If the folder is no finished run, or its two tables do not fit each other.
    """
    folder = Path(folder)
    for name, meant in (("predictions.csv", "out-of-fold scores"), ("clips.csv", "what its clips are labelled with")):
        if not (folder / name).is_file():
            raise RunError(
                f"{folder}: has no {name} ({meant}); expected the folder of a run whose folds are all done; "
                "go on with it by 'earmark train … --resume'"
            )
    scores = Predictions.read(folder / "predictions.csv")
    rows = {row["fname"]: row for row in read_rows(folder / "clips.csv", ("fname", "labels"), unique="fname")}
    clips = []
    for name in scores.fnames:
        if name not in rows:
            raise RunError(
                f"{folder}: clip '{name}' has scores in predictions.csv and no row in clips.csv"
                f"{did_you_mean(name, rows)}; both must be of one run"
            )
        row = rows[name]
        row.check_labels(row.labels(), scores.labels)
        clips.append(Clip(name, Path(row.get("path") or ""), row.labels(), group=row.get("group")))
    return RunScores(folder, tuple(clips), scores.labels, scores.scores)


def located(run: RunScores, collection: Path | None) -> RunScores:
    """The run with the place of each recording, as it noted it itself or as a collection says.

    Parameters
    ----------
    run
        From `read_run`.
    collection
        The folder of the run's collection, wherever it lies now; None for where it was when it was packed.

    Raises
    ------
    RunError
        If a recording is not there; the message says how to name the collection.
    CollectionError, LabelError
        As `read_collection` does.
    """
    path_of = {clip.name: clip.path for clip in (read_collection(collection) if collection else run).clips}
    unnamed = [clip.name for clip in run.clips if clip.name not in path_of]
    if unnamed:
        raise RunError(
            f"{collection}: lacks {len(unnamed)} of the {len(run.clips)} clips of {run.folder}, the first is "
            f"'{unnamed[0]}'{did_you_mean(unnamed[0], path_of)}; name the collection that the run learned from"
        )
    clips = tuple(replace(clip, path=path_of[clip.name]) for clip in run.clips)
    missing = [clip for clip in clips if not clip.path.is_file()]
    if missing:
        where = f"at {missing[0].path}" if missing[0].path.name else "where the run can say"
        raise RunError(
            f"{run.folder}: the recordings of {len(missing)} of {len(clips)} clips are not {where}; "
            "name their collection with --data, or do without sound by --quick"
        )
    return replace(run, clips=clips)


def audit(run: RunScores, twins: Sequence[Twins] | None = None, quality: Quality | None = None) -> Audit:
    """Order a run's clips by how probably a label of theirs is wrong or missing.

    Parameters
    ----------
    run
        From `read_run`.
    twins
        Pairs of clips that are one sound, as `earmark.data.check` finds them; None where they were not looked for.
    quality
        How the quality of a clip is made; the default is what `bench/audit.py` chose.

    Returns
    -------
    Audit
        All clips, the most suspicious first; of equal ones in the run's order.

    Raises
    ------
    PredictionsError
        If the scores are no probabilities.
    MissingExtraError
        When cleanlab is not installed.
    """
    quality = quality or Quality()
    targets = run.targets
    by_clip = clip_quality(label_quality(targets, run.scores, quality), quality.aggregation)
    differing = None if twins is None else tuple(pair for pair in twins if _differ(pair))
    twins_of: dict[str, list[Clip]] = defaultdict(list)
    for pair in differing or ():
        twins_of[pair.first.name].append(pair.second)
        twins_of[pair.second.name].append(pair.first)
    findings = [
        Finding(
            run.clips[i],
            float(by_clip[i]),
            *_given_and_suggested(run, i),
            tuple(twins_of[run.clips[i].name]),
        )
        for i in np.argsort(by_clip, kind="stable").tolist()
    ]
    n_wrong = n_suspected(targets, run.scores)
    return Audit(run.folder.resolve().name, _key(run), run.vocabulary, tuple(findings), n_wrong, differing)


def _key(run: RunScores) -> str:
    identity = json.dumps([list(run.vocabulary), sorted(clip.name for clip in run.clips)])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _differ(pair: Twins) -> bool:
    return set(pair.first.labels) != set(pair.second.labels)


def _given_and_suggested(run: RunScores, index: int) -> tuple[tuple[Scored, ...], tuple[Scored, ...]]:
    labels = run.clips[index].labels
    scored = [Scored(*pair) for pair in zip(run.vocabulary, run.scores[index].tolist(), strict=True)]
    scored.sort(key=lambda each: -each.score)
    given = tuple(each for each in reversed(scored) if each.label in labels)
    others = [each for each in scored if each.label not in labels]
    n_likely = sum(each.score >= LEAST_SCORE for each in others)
    return given, tuple(others[: min(MAX_SUGGESTED, max(LEAST_SUGGESTED, n_likely))])
