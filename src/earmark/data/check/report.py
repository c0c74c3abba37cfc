"""What the checks of a collection found, as a table for people and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from earmark.data.check.twins import Twins, TwinSet, twin_sets
from earmark.data.manifest import Clip
from earmark.data.problem import Problem
from earmark.data.rows import format_csv

N_SHOWN = 5
"""Problems of a kind that the table lists, unless all are asked for."""

REMEDIES = {
    "unknown label": "correct it",
    "malformed labels": "correct the table",
    "no labels": "add them, or remove the row",
    "listed twice": "list it once",
    "audio still packed": "unpack it",
    "missing file": "fetch it, or remove its row",
    "empty file": "fetch or export it again",
    "cut short": "fetch or export it again",
    "not finite": "export it again, as integers",
    "unreadable file": "fetch or export it again",
    "silent": "export it again, or leave it out",
    "constant": "export it again, or leave it out",
    "mostly silent": "cut the silence off, or keep it",
    "clipped": "fetch a quieter version, or keep it",
    "very short": "see whether it is whole",
    "wrong duration": "correct the table, or fetch it again",
    "surplus file": "add a row, or move it away",
    "label without clips": "add recordings",
    "rare label": "add recordings",
    "labels always together": "add clips with one of them",
    "fold missing": "give all clips a fold, or none",
    "recording across folds": "correct folds or groups",
    "labels differ": "listen, and correct one",
    "across folds": "leave all but one out",
    "in different groups": "leave all but one out, or regroup",
    "in test and training": "leave them out of training",
    "curated and noisy": "leave the noisy one out",
    "among noisy clips": "leave one out, or keep them",
    "among test clips": "keep them",
    "within a group": "keep them",
}
"""What to do about each kind; a set of twins is told by where its clips stand."""

UNUSABLE = ("missing file", "empty file", "cut short", "not finite", "unreadable file", "silent", "constant")
"""Kinds of problems that make a clip worthless."""


@dataclass(frozen=True)
class Report:
    """What is wrong with a collection.

    Attributes
    ----------
    collection, layout
        Names of the collection's folder and of its layout.
    clips
        All clips that count, test clips among them.
    n_test_left_out
        Test clips that were not decoded.
    is_quick
        Whether nothing was decoded.
    problems
        In the order of the checks.
    twins
        Pairs of clips that are one recording.
    """

    collection: str
    layout: str
    clips: tuple[Clip, ...]
    n_test_left_out: int
    is_quick: bool
    problems: tuple[Problem, ...]
    twins: tuple[Twins, ...]

    @property
    def n_errors(self) -> int:
        """Problems that must be mended."""
        return sum(problem.severity == "error" for problem in self.problems)

    def to_json(self) -> str:
        """The whole report, a line a problem and a pair, with numbers rounded so that all machines say the same."""
        said: dict[str, Any] = {
            "collection": self.collection,
            "layout": self.layout,
            "n_clips": len(self.clips),
            "n_test_left_out": self.n_test_left_out,
            "quick": self.is_quick,
            "n_errors": self.n_errors,
            "n_warnings": len(self.problems) - self.n_errors,
            "problems": [_problem_fields(problem) for problem in self.problems],
            "near_duplicates": [_twins_fields(pair) for pair in self.twins],
        }
        return "{\n" + ",\n".join(f" {json.dumps(key)}: {_in_lines(value)}" for key, value in said.items()) + "\n}\n"

    def to_table(self, *, everything: bool = False) -> str:
        """A summary, a row a kind, and below it the problems of each kind.

        Parameters
        ----------
        everything
            Whether to list all problems, and not `N_SHOWN` of each kind.
        """
        kinds = self._by_kind()
        rows = [
            (kind, severity, len(problems), _n_clips(problems), _remedy(kind))
            for (kind, severity), problems in kinds.items()
        ]
        header = ("problem", "severity", "times", "clips", "what to do")
        parts = [self._headline(), tabulate(rows, header)] if rows else [self._headline()]
        for (kind, _), problems in kinds.items():
            shown = problems if everything else problems[:N_SHOWN]
            lines = [f"{kind}:", *(f"  {problem.message}" for problem in shown)]
            if len(shown) < len(problems):
                lines.append(f"  and {len(problems) - len(shown)} more (--all lists them)")
            parts.append("\n".join(lines))
        return "\n\n".join(parts) + "\n"

    def to_exclusions(self) -> str:
        """A table `fname,why` of the clips to leave out: worthless ones, and of twins that matter all but one.

        The longest of a set is kept, a curated one before a noisy one. Test clips are never left out.
        """
        why = {name: problem.kind for problem in self.problems if problem.kind in UNUSABLE for name in problem.clips}
        for found in self._twin_sets_that_matter():
            kept = self._kept(found)
            for clip in found.clips:
                if clip is not kept:
                    why.setdefault(clip.name, f"the same sound as {kept.name}")
        rows = [(clip.name, why[clip.name]) for clip in self.clips if clip.name in why and clip.subset != "test"]
        return format_csv(("fname", "why"), rows)

    def _headline(self) -> str:
        n_warnings = len(self.problems) - self.n_errors
        counted = f"{len(self.clips)} clips, {self.n_errors} errors, {n_warnings} warnings"
        lines = [f"{self.collection} ({self.layout}): {counted}"]
        if self.is_quick:
            lines.append("nothing was decoded; without --quick, contents are looked at, too")
        elif self.n_test_left_out:
            lines.append(f"contents of {self.n_test_left_out} test clips were left out")
        return "\n".join(lines)

    def _by_kind(self) -> dict[tuple[str, str], list[Problem]]:
        """Errors before warnings, each in the order in which they were found."""
        kinds: dict[tuple[str, str], list[Problem]] = defaultdict(list)
        for problem in sorted(self.problems, key=lambda problem: problem.severity != "error"):
            kinds[problem.kind, problem.severity].append(problem)
        return kinds

    def _twin_sets_that_matter(self) -> Iterator[TwinSet]:
        """Sets of duplicates, and of near-duplicates that are an error."""
        wrong = {problem.clips for problem in self.problems if problem.severity == "error"}
        for found in twin_sets(self.clips, self.twins):
            if found.noun == "duplicates" or tuple(clip.name for clip in found.clips) in wrong:
                yield found

    def _kept(self, found: TwinSet) -> Clip:
        """The test clip, if any; else the longest as far as pairs tell, a curated one before a noisy one."""
        length_s = {clip.name: 0.0 for clip in found.clips}
        for pair in found.twins:
            for clip in (pair.first, pair.second):
                length_s[clip.name] = max(length_s[clip.name], pair.overlap_s)
        order = {"test": 0, "curated": 1, "noisy": 2}
        return min(found.clips, key=lambda clip: (order[clip.subset], -length_s[clip.name]))


def _in_lines(value: Any) -> str:
    """JSON of a value, of a list with each of its items on a line."""
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in value) + "\n ]"


def _problem_fields(problem: Problem) -> dict[str, Any]:
    fields = {"kind": problem.kind, "severity": problem.severity, "clips": list(problem.clips)}
    return {**fields, "message": problem.message}


def _twins_fields(pair: Twins) -> dict[str, Any]:
    clips = (pair.first, pair.second)
    are_labelled = all(clip.labels for clip in clips)
    return {
        "a": pair.first.name,
        "b": pair.second.name,
        "exact": pair.is_exact,
        "offset_s": round(pair.offset_s, 3) + 0.0,
        "overlap_s": round(pair.overlap_s, 2),
        "gain_db": round(pair.gain_db, 1) + 0.0,
        "correlation": round(pair.correlation, 2) + 0.0,
        "coherence": round(pair.coherence, 2),
        "labels_differ": are_labelled and set(pair.first.labels) != set(pair.second.labels),
        "subsets": [clip.subset for clip in clips],
        "folds": [clip.fold for clip in clips],
        "groups": [clip.group for clip in clips],
    }


def _n_clips(problems: list[Problem]) -> int:
    return len({name for problem in problems for name in problem.clips})


def _remedy(kind: str) -> str:
    where = kind.removeprefix("near-").removeprefix("duplicates ")
    return REMEDIES.get(where, "see below")
