"""Selection: which clips of a collection are left out, and which labels are put right.

What is not to be learned from is said in files beside the collection, which stays as it was published. Test clips
are never touched: what is judged on them must not depend on what somebody thought of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from earmark.atomic import write_text_atomically
from earmark.data.manifest import Clip, Manifest
from earmark.data.rows import format_csv, read_rows, read_text
from earmark.errors import CollectionError, LabelError, did_you_mean

ACTIONS = ("keep", "drop", "relabel")
"""What a correction says of a clip: its labels are right, it is to be left out, or it has other labels."""

COLUMNS = ("fname", "action", "labels", "why")
"""Columns of a table of corrections, in order."""

RENAMING_BUG = "label known to be wrong, by a bug when the files were renamed"
"""Why the clips of `KNOWN_WRONG` are left out."""

KNOWN_WRONG = {
    "fsdkaggle2019": ("f76181c4.wav", "77b925c2.wav", "6a1f682a.wav", "c7db12aa.wav", "7752cc8a.wav"),
}
"""Curated clips of a layout whose labels its makers say are wrong (README of FSDKaggle2019, Zenodo record 3612637)."""

N_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Correction:
    """What somebody who listened to a clip says of it.

    Parameters
    ----------
    fname
        The clip's name, as in the manifest.
    action
        `keep` (its labels are right), `drop` (leave it out) or `relabel` (`labels` replace its own).
    labels
        The right labels; none unless `action` is `relabel`.
    why
        The reason, for people; may be empty.
    where
        The line of a file that says so, to begin messages with; no part of what is compared or written.

    Raises
    ------
    CollectionError
        If the action is unknown, or the labels do not go with it.
    """

    fname: str
    action: str
    labels: tuple[str, ...] = ()
    why: str = ""
    where: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            known = ", ".join(f"'{action}'" for action in ACTIONS)
            guess = did_you_mean(self.action, ACTIONS)
            raise CollectionError(self.about(f"has the action '{self.action}'; expected one of {known}{guess}"))
        if self.action == "relabel" and not self.labels:
            raise CollectionError(
                self.about("is to be relabelled, but no labels are given; give them, or write 'drop'")
            )
        if self.action != "relabel" and self.labels:
            raise CollectionError(
                self.about(
                    f"has labels, but the action '{self.action}'; write 'relabel' to replace its own, or leave them out"
                )
            )

    def about(self, message: str) -> str:
        """A message about the clip, which begins with the line that the correction comes from, if any."""
        return f"{self.where + ': ' if self.where else ''}clip '{self.fname}' {message}"


@dataclass(frozen=True)
class Selection:
    """A collection as it is to be used, and what was done to it.

    Parameters
    ----------
    manifest
        The clips that remain, with the labels that count.
    left_out
        Why each clip was left out, by its name, in the manifest's order.
    relabelled
        Labels before and after, by the clip's name, in the manifest's order.
    """

    manifest: Manifest
    left_out: dict[str, str]
    relabelled: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]

    def summary(self) -> str:
        """What was done, in one line a kind; empty when nothing was."""
        known = [name for name, why in self.left_out.items() if why == RENAMING_BUG]
        others = [name for name, why in self.left_out.items() if why != RENAMING_BUG]
        kinds = [
            (known, f"left out, {RENAMING_BUG}", "; --keep-known-wrong keeps them"),
            (others, "left out as asked", ""),
            (list(self.relabelled), "relabelled as asked", ""),
        ]
        return "\n".join(f"{_counted(names)} {done}: {_some(names)}{hint}" for names, done, hint in kinds if names)


def select(
    manifest: Manifest,
    *,
    exclude: Iterable[str | Correction] = (),
    corrections: Iterable[Correction] = (),
    keep_known_wrong: bool = False,
) -> Selection:
    """Leave clips out of a collection, and put labels right.

    Test clips stay, whatever is known of them.

    Parameters
    ----------
    manifest
        Any collection, read from its folder or from a packed store.
    exclude
        Names of clips to leave out, or what `read_exclusions` gives.
    corrections
        What `read_corrections` gives, one a clip. A clip that is also excluded is left out.
    keep_known_wrong
        Whether the clips of `KNOWN_WRONG` stay. One that a correction keeps or relabels stays anyway.

    Returns
    -------
    Selection
        Clips in their order, with the same vocabulary.

    Raises
    ------
    CollectionError
        If a name is not in the collection, is a test clip's, or is corrected twice.
    LabelError
        If a new label is not in the vocabulary.
    """
    drops = [_as_drop(said) for said in exclude]
    said_of = _by_name(corrections)
    _check(manifest, [*drops, *said_of.values()])
    known = () if keep_known_wrong else KNOWN_WRONG.get(manifest.layout, ())
    why_of = {name: RENAMING_BUG for name in known if name not in said_of}
    why_of |= {said.fname: said.why or "dropped by a correction" for said in said_of.values() if said.action == "drop"}
    why_of |= {said.fname: said.why or "excluded" for said in drops}
    clips, left_out, relabelled = [], {}, {}
    for clip in manifest.clips:
        said = said_of.get(clip.name)
        if clip.name in why_of and clip.subset != "test":
            left_out[clip.name] = why_of[clip.name]
        elif said is not None and said.action == "relabel" and set(said.labels) != set(clip.labels):
            relabelled[clip.name] = (clip.labels, said.labels)
            clips.append(replace(clip, labels=said.labels))
        else:
            clips.append(clip)
    return Selection(replace(manifest, clips=tuple(clips)), left_out, relabelled)


def read_exclusions(path: Path | str) -> tuple[Correction, ...]:
    """Read the clips to be left out: a name a line, or a CSV with the column `fname` and maybe `why`.

    Parameters
    ----------
    path
        The file, in UTF-8. In one with a name a line, blank lines and those that begin with ``#`` say nothing.

    Returns
    -------
    tuple of Correction
        One a clip, each with the action `drop`.

    Raises
    ------
    CollectionError
        If the file cannot be read, or names a clip twice, or none.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        rows = read_rows(path, ("fname",), unique="fname")
        return tuple(Correction(row["fname"], "drop", (), row.get("why") or "", row.place) for row in rows)
    line_of: dict[str, int] = {}
    for line, name in _listed_names(path):
        if line_of.setdefault(name, line) != line:
            raise CollectionError(
                f"{path.name} line {line}: '{name}' stands already on line {line_of[name]}; list it once"
            )
    if not line_of:
        raise CollectionError(f"{path.name}: names no clip; expected a name a line, or a .csv with the column 'fname'")
    return tuple(Correction(name, "drop", where=f"{path.name} line {line}") for name, line in line_of.items())


def read_corrections(path: Path | str) -> tuple[Correction, ...]:
    """Read a table `fname,action,labels,why`.

    Parameters
    ----------
    path
        The table. `labels` are joined by commas; `why` may be missing.

    Returns
    -------
    tuple of Correction
        One a row, in order.

    Raises
    ------
    CollectionError
        If the table is malformed, names a clip twice, has an unknown action, or labels that do not go with it.
    """
    rows = read_rows(Path(path), COLUMNS[:3], unique="fname")
    return tuple(
        Correction(row["fname"], row["action"].strip(), row.labels(), row.get("why") or "", row.place) for row in rows
    )


def write_corrections(path: Path | str, corrections: Iterable[Correction]) -> None:
    """Write a table `fname,action,labels,why`, atomically.

    Parameters
    ----------
    path
        The table; an existing one is replaced.
    corrections
        One a clip, in the order of the rows.

    Raises
    ------
    CollectionError
        If a clip is corrected twice.
    """
    once = _by_name(corrections).values()
    rows = [(each.fname, each.action, ",".join(each.labels), each.why) for each in once]
    write_text_atomically(path, format_csv(COLUMNS, rows))


def _as_drop(said: str | Correction) -> Correction:
    return said if isinstance(said, Correction) else Correction(said, "drop")


def _by_name(corrections: Iterable[Correction]) -> dict[str, Correction]:
    said_of: dict[str, Correction] = {}
    for correction in corrections:
        if said_of.setdefault(correction.fname, correction) is not correction:
            raise CollectionError(correction.about("is corrected twice; say once what is right"))
    return said_of


def _check(manifest: Manifest, said: Iterable[Correction]) -> None:
    clip_of: dict[str, Clip] = {clip.name: clip for clip in manifest.clips}
    for each in said:
        clip = clip_of.get(each.fname)
        if clip is None:
            guess = did_you_mean(each.fname, clip_of)
            raise CollectionError(
                each.about(f"is not in {manifest.root}; expected a clip's name, as its tables write it{guess}")
            )
        if clip.subset == "test":
            raise CollectionError(each.about("is a test clip, and those stay as they are; take the line out"))
        for label in each.labels:
            if label not in manifest.vocabulary:
                guess = did_you_mean(label, manifest.vocabulary)
                raise LabelError(each.about(f"gets the label '{label}', which is not in the vocabulary{guess}"))


def _listed_names(path: Path) -> list[tuple[int, str]]:
    text = read_text(path)
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, name) for number, name in lines if name and not name.startswith("#")]


def _counted(names: list[str]) -> str:
    return "1 clip" if len(names) == 1 else f"{len(names)} clips"


def _some(names: list[str]) -> str:
    more = len(names) - N_NAMES_SHOWN
    return ", ".join(names[:N_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
