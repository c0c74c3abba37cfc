"""What an audit found, as a table for people, as CSV and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tabulate import tabulate

from earmark.data.rows import format_csv
from earmark.evaluation.audit.findings import Audit, Finding, Scored

COLUMNS = ("rank", "fname", "quality", "labels", "label_scores", "suggested", "suggested_scores", "suspicion", "twins")
"""Columns of the CSV, in order."""

N_GROUPS_SHOWN, N_SUGGESTED_SHOWN = 10, 2


def to_csv(audit: Audit) -> str:
    """A row a clip, the most suspicious first; lists are joined by commas, scores have 4 decimals."""
    return format_csv(COLUMNS, [_row(rank, found) for rank, found in enumerate(audit.findings, start=1)])


def to_json(audit: Audit) -> str:
    """Everything, with names for keys: clips, groups by what is suspected, and pairs labelled differently."""
    said = {
        "run": audit.run,
        "n_suspected": audit.n_suspected,
        "clips": [clip_fields(found) for found in audit.findings],
        "groups": [
            {"suspicion": suspicion, "clips": [found.clip.name for found in members]}
            for suspicion, members in audit.groups().items()
        ],
        "same_sound_labelled_differently": None if audit.twins is None else twin_fields(audit),
    }
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


def to_table(audit: Audit, n_clips: int) -> str:
    """A headline, the most suspicious clips, the largest groups, and pairs labelled differently.

    Parameters
    ----------
    audit
        Of all clips of a run.
    n_clips
        How many of them to list.
    """
    listed = audit.findings[:n_clips]
    rows = [
        (rank, found.clip.name, found.quality, _scored(found.given), _scored(found.suggested[:N_SUGGESTED_SHOWN]))
        for rank, found in enumerate(listed, start=1)
    ]
    header = ("", "clip", "quality", "labels", "sounds like")
    parts = [
        f"{audit.run}: of {len(audit.findings)} clips, {audit.n_suspected} probably have a wrong or missing label",
        tabulate(rows, header, floatfmt=".3f"),
        _groups(audit),
        _twins(audit),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def clip_fields(found: Finding) -> dict[str, Any]:
    """A clip for JSON, with scores to 4 decimals."""
    return {
        "fname": found.clip.name,
        "quality": round(found.quality, 4),
        "suspicion": found.suspicion,
        "labels": [_fields(each) for each in found.given],
        "suggested": [_fields(each) for each in found.suggested],
        "twins": [{"fname": twin.name, "labels": list(twin.labels)} for twin in found.twins],
    }


def twin_fields(audit: Audit) -> list[dict[str, Any]]:
    """Pairs of clips that hold the same sound and are labelled differently, for JSON."""
    return [
        {
            "clips": [pair.first.name, pair.second.name],
            "labels": [list(pair.first.labels), list(pair.second.labels)],
            "overlap_s": round(pair.overlap_s, 2),
            "exact": pair.is_exact,
        }
        for pair in audit.twins or ()
    ]


def _fields(each: Scored) -> dict[str, Any]:
    return {"label": each.label, "score": round(each.score, 4)}


def _row(rank: int, found: Finding) -> tuple[object, ...]:
    return (
        rank,
        found.clip.name,
        f"{found.quality:.4f}",
        *_columns(found.given),
        *_columns(found.suggested),
        found.suspicion,
        ",".join(twin.name for twin in found.twins),
    )


def _columns(scored: Iterable[Scored]) -> tuple[str, str]:
    scored = list(scored)
    return ",".join(each.label for each in scored), ",".join(f"{each.score:.4f}" for each in scored)


def _scored(scored: Iterable[Scored]) -> str:
    return ", ".join(f"{each.label} {each.score:.2f}" for each in scored)


def _groups(audit: Audit) -> str:
    groups = audit.groups()
    rows = [(suspicion, len(members)) for suspicion, members in groups.items()]
    if not rows:
        return ""
    more = len(rows) - N_GROUPS_SHOWN
    table = tabulate(rows[:N_GROUPS_SHOWN], ("suspected", "clips"))
    return table + (f"\nand {more} more suspicions (--format json has them all)" if more > 0 else "")


def _twins(audit: Audit) -> str:
    if not audit.twins:
        return ""
    lines = [
        f"  {pair.first.name} ({', '.join(pair.first.labels)}) and {pair.second.name} "
        f"({', '.join(pair.second.labels)}), sharing {pair.overlap_s:.2f} s"
        for pair in audit.twins
    ]
    return "The same sound, labelled differently:\n" + "\n".join(lines)
