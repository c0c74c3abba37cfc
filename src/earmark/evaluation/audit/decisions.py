"""What somebody who listens decides, kept so that neither a second tab nor a crash can lose or mix it up.

The table of corrections that training honours is written anew, whole, at each decision. Before that, the decision
stands on disk as a line of a journal beside it, with digests of the table before and after. When the table is found as
it was before the journal's last line, a crash came between the two, and the line is carried out. When it is found
otherwise, somebody has edited it, and the table counts.

Each decision has a number. Who decides says the number of the decision that they saw; when the clip has another one by
then, nothing is written, and they are told.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self

from earmark.atomic import atomic_path, remove_leftovers
from earmark.data.rows import format_csv, read_text
from earmark.data.selection import COLUMNS, Correction, read_corrections
from earmark.errors import CollectionError, DecisionError, LabelError, did_you_mean
from earmark.labels import Vocabulary
from earmark.locking import locked


@dataclass(frozen=True)
class Decision:
    """What counts for a clip.

    Attributes
    ----------
    revision
        Number of the decision, 0 where none was made since the journal began.
    correction
        None where the clip is not decided on.
    """

    revision: int
    correction: Correction | None


@dataclass(frozen=True)
class State:
    """What counts for all clips, at one moment.

    Attributes
    ----------
    revision
        Number of the last decision.
    undecided
        Number that a clip has which is not in `known`.
    known
        What counts for each clip that was ever decided on, by its name.
    """

    revision: int
    undecided: int
    known: dict[str, Decision]


class Decisions:
    """The corrections of a collection's clips, one writer at a time; used by `with`, from any number of threads.

    Parameters
    ----------
    path
        The table `fname,action,labels,why`; it need not exist yet. Its rows on clips that are not among `names` stay.
    names
        Clips that may be decided on.
    vocabulary
        Labels that they may get.

    Raises
    ------
    StoreError
        On entering: when another process has the table.
    CollectionError
        On entering: when the table or its journal is malformed.
    """

    def __init__(self, path: Path, names: Iterable[str], vocabulary: Vocabulary) -> None:
        self.path, self.journal_path = Path(path), Path(f"{path}.journal")
        self._names, self._vocabulary = frozenset(names), vocabulary
        self._lock, self._stack = Lock(), ExitStack()
        self._corrections: dict[str, Correction] = {}
        self._revisions: dict[str, int] = {}
        self._digest = ""
        self._revision = self._outdated_before = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(locked(self.path, doing="deciding on these corrections"))
            remove_leftovers(self.path)
            self._journal = stack.enter_context(open(self.journal_path, "ab", buffering=0))
            self._take_up()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def revision(self) -> int:
        """Number of the last decision."""
        return self._revision

    def snapshot(self) -> State:
        """What counts for all clips."""
        with self._lock:
            if self._digest != _digest(self._text_on_disk()):
                self._take_over()
            names = self._names & (self._corrections.keys() | self._revisions.keys())
            known = {name: self._of(name) for name in sorted(names)}
            return State(self._revision, self._outdated_before, known)

    def decide(self, fname: str, seen: int, correction: Correction | None) -> Decision:
        """Put a decision on disk.

        Parameters
        ----------
        fname
            The clip.
        seen
            Number of the decision on it that whoever decides has in view.
        correction
            What is right; None to take back what was decided.

        Returns
        -------
        Decision
            As it counts now.

        Raises
        ------
        DecisionError
            When the clip has another decision than the one that was seen.
        CollectionError, LabelError
            When there is no such clip, or a label is not in the vocabulary.
        """
        self._check(fname, correction)
        with self._lock:
            if self._digest != _digest(self._text_on_disk()):
                self._take_over()
            if seen != self._of(fname).revision:
                raise DecisionError(
                    f"clip '{fname}' has been decided on elsewhere since (decision {self._of(fname).revision}, this "
                    f"page saw {seen}); look at it again"
                )
            after = dict(self._corrections)
            after.pop(fname, None)
            if correction is not None:
                after[fname] = correction
            text, before = _text(after), os.fstat(self._journal.fileno()).st_size
            try:
                revision = self._note({"fname": fname, "correction": _fields(correction), "after": _digest(text)})
                self._write(text)
            except BaseException:  # a full disk: what was not done must not be carried out later
                self._journal.truncate(before)
                raise
            self._revision = self._revisions[fname] = revision
            self._corrections = after
            return self._of(fname)

    def text(self) -> str:
        """The table as it is on disk."""
        with self._lock:
            return self._text_on_disk()

    def _of(self, fname: str) -> Decision:
        revision = max(self._revisions.get(fname, 0), self._outdated_before)
        return Decision(revision, self._corrections.get(fname))

    def _check(self, fname: str, correction: Correction | None) -> None:
        if fname not in self._names:
            raise CollectionError(f"clip '{fname}' is not in the audit{did_you_mean(fname, self._names)}")
        for label in correction.labels if correction else ():
            if label not in self._vocabulary:
                guess = did_you_mean(label, self._vocabulary)
                raise LabelError(f"clip '{fname}' gets the label '{label}', which is not in the vocabulary{guess}")

    def _take_up(self) -> None:
        """Read table and journal, and carry out what a crash has left undone."""
        entries = self._read_journal()
        self._digest = _digest(self._text_on_disk())
        self._corrections = self._on_disk()
        for entry in entries:
            self._revision = int(entry["revision"])
            if entry["fname"] is None:
                self._outdated_before = self._revision
            else:
                self._revisions[entry["fname"]] = self._revision
        if not entries or self._digest == entries[-1]["after"]:
            return
        last = entries[-1]
        if self._digest != last["before"] or last["fname"] is None:
            self._take_over()
            return
        self._corrections.pop(last["fname"], None)
        if last["correction"] is not None:
            self._corrections[last["fname"]] = _correction(last["fname"], last["correction"])
        self._write(_text(self._corrections))

    def _take_over(self) -> None:
        """The table was edited by others: it counts, and whatever anybody has in view is out of date."""
        self._corrections = self._on_disk()
        digest = _digest(self._text_on_disk())
        self._revision = self._note({"fname": None, "correction": None, "after": digest})
        self._digest, self._outdated_before = digest, self._revision

    def _read_journal(self) -> list[dict[str, Any]]:
        """Whole lines of the journal; one that a crash cut short is cut off."""
        content = self.journal_path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._journal.truncate(len(whole))
        entries = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
                _ = entry["revision"] + 1, entry["fname"], entry["correction"], entry["before"], entry["after"]
            except (ValueError, KeyError, TypeError) as error:
                raise CollectionError(
                    f"{self.journal_path} line {number}: is no decision ({error}); move the journal away, and "
                    f"{self.path.name} counts as it is"
                ) from None
            entries.append(entry)
        return entries

    def _note(self, entry: Mapping[str, Any]) -> int:
        """Put a line on disk, and give its number."""
        said = {"revision": self._revision + 1, **entry, "before": self._digest}
        line = json.dumps(said, ensure_ascii=False).encode() + b"\n"
        if self._journal.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.journal_path))
        os.fsync(self._journal.fileno())
        return self._revision + 1

    def _write(self, text: str) -> None:
        with atomic_path(self.path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._digest = _digest(text)

    def _on_disk(self) -> dict[str, Correction]:
        if self._text_on_disk() in ("", _text({})):  # the last decision was taken back
            return {}
        return {each.fname: each for each in read_corrections(self.path)}

    def _text_on_disk(self) -> str:
        return read_text(self.path) if self.path.exists() else ""


def _text(corrections: Mapping[str, Correction]) -> str:
    rows = [(each.fname, each.action, ",".join(each.labels), each.why) for each in corrections.values()]
    return format_csv(COLUMNS, rows)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _fields(correction: Correction | None) -> dict[str, Any] | None:
    if correction is None:
        return None
    return {"action": correction.action, "labels": list(correction.labels), "why": correction.why}


def _correction(fname: str, fields: Mapping[str, Any]) -> Correction:
    return Correction(fname, fields["action"], tuple(fields["labels"]), fields["why"])
