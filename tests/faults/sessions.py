"""Servers that are killed with SIGKILL while somebody asks them, started again, and asked for what is missing."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from threading import Timer
from typing import Any, Protocol

from .killing import PATIENCE_S, Child, Life, Moment, Nursery, renew
from .material import LABELS

CUT = (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError)
"""What a client meets whose server is killed."""

LONGEST_S = 0.4
"""How long after the first question a server is killed at the latest."""


class Session:
    """A server that answers questions until it is killed.

    Parameters
    ----------
    nursery
        Runs it.
    folder
        Of its files; what it writes is in `out`.
    arguments
        Its command line; an address is taken from what it says.
    """

    def __init__(self, nursery: Nursery, folder: Path, arguments: Sequence[object]) -> None:
        self.nursery, self.folder, self.arguments = nursery, folder, arguments
        self.child: Child | None = None
        self.address = ""
        self._timer: Timer | None = None

    def start(self, moment: Moment | None) -> bool:
        """Start it, to be killed at a moment; whether it lived to answer."""
        log = self.folder / "log"
        log.write_text("")
        self.child = self.nursery.start(self.arguments, self.folder, moment)
        until = time.monotonic() + PATIENCE_S
        while not (found := re.search(r"earmark: \D*?(http://[^/ ]+)/", log.read_text())):
            if self.child.has_ended(0.01):
                assert self.child.status == -signal.SIGKILL, log.read_text()
                return False
            assert time.monotonic() < until, log.read_text()
        self.address = found[1]
        if moment and not moment.operation:
            self._timer = Timer(moment.after_s, os.kill, (self.child.pid, signal.SIGKILL))
            self._timer.start()
        return True

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """Ask; gives the answer, or raises one of `CUT`."""
        request = urllib.request.Request(self.address + path, body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return bytes(answer.read())

    def end(self) -> int:
        """Make sure that it has ended; gives its status."""
        assert self.child is not None
        self.child.kill()
        status = self.child.wait()
        if self._timer:
            self._timer.join()
        return status

    def stop(self) -> int:
        """End it as Ctrl-C does; gives its status."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGINT)
        return self.child.wait()


def moments(chance: random.Random, n_operations: int, most_kills: int) -> list[Moment]:
    """When a server is killed: at one of its file operations, if there are any, or so long after it can be asked."""
    return [
        Moment(operation=chance.randint(1, n_operations))
        if n_operations and chance.random() < 0.5
        else Moment(after_s=round(chance.uniform(0, LONGEST_S), 4))
        for _ in range(chance.randint(1, most_kills))
    ]


def live(
    nursery: Nursery, folder: Path, seed: int, arguments: Sequence[object], asking: Asking, most_kills: int
) -> Life:
    """Ask a server that is killed at moments drawn from a seed and started again, until all is answered."""
    renew(folder)
    life = Life(seed)
    for moment in moments(random.Random(seed), asking.n_operations, most_kills):
        session = Session(nursery, folder, arguments)
        with suppress(*CUT):
            if session.start(moment):
                asking.go_on(session, life.lost)
        if session.end() == -signal.SIGKILL:
            life.kills.append(moment)
    session = Session(nursery, folder, arguments)
    assert session.start(None)
    asking.go_on(session, life.lost)
    status = session.stop()
    if status:
        life.lost.append(f"in the end its status is {status}")
    asking.check(folder, life.lost)
    return life


class Asking(Protocol):
    """What a client wants of a server.

    Attributes
    ----------
    n_operations
        File operations of all of it, about; 0 for none.
    """

    n_operations: int

    def go_on(self, session: Session, lost: list[str]) -> None:
        """Ask for what is not answered yet; what should be there and is not goes to `lost`."""

    def check(self, folder: Path, lost: list[str]) -> None:
        """When all is answered: what is missing in the server's folder, or left behind there, goes to `lost`."""


class Deciding:
    """Decisions at an audit's page: one that was answered must be there when the server is started again.

    Parameters
    ----------
    names
        Of the clips.
    seed
        Of what is decided.
    n
        How many times.
    """

    def __init__(self, names: Sequence[str], seed: int, n: int = 12) -> None:
        chance = random.Random(seed)
        self.wanted = [_decision(chance, names, f"decision {number}") for number in range(n)]
        self.n_answered, self.n_operations = 0, 4 * n

    def go_on(self, session: Session, lost: list[str]) -> None:
        """See what is there, then decide."""
        state = json.loads(session.ask("/decisions"))
        self._look(state["decisions"], lost)
        while self.n_answered < len(self.wanted):
            each = self.wanted[self.n_answered]
            seen = state["decisions"].get(each["fname"], {"revision": state["undecided"]})["revision"]
            state = json.loads(session.ask("/decisions", json.dumps({**each, "seen": seen}).encode()))
            self.n_answered += 1

    def _look(self, found: dict[str, Any], lost: list[str]) -> None:
        """Compare with what was answered; the decision that was asked for last may have been carried out or not."""
        if self.n_answered < len(self.wanted):
            last = self.wanted[self.n_answered]
            self.n_answered += found.get(last["fname"], {}).get("why") == last["why"]
        for fname, each in _last(self.wanted[: self.n_answered]).items():
            if {key: found.get(fname, {}).get(key) for key in ("action", "labels", "why")} != {
                key: each[key] for key in ("action", "labels", "why")
            }:
                lost.append(f"lost: {each['why']} on {fname}")

    def check(self, folder: Path, lost: list[str]) -> None:
        """The table is that of the decisions, in their order."""
        rows = [(f, e["action"], ",".join(e["labels"]), e["why"]) for f, e in _last(self.wanted).items()]
        with (folder / "out" / "corrections.csv").open(newline="") as file:
            if [*csv.reader(file)] != [["fname", "action", "labels", "why"], *map(list, rows)]:
                lost.append("the table is not that of the decisions")
        left = {path.name for path in (folder / "out").iterdir()} - {"corrections.csv", "corrections.csv.journal"}
        lost += [f"left behind: {name}" for name in sorted(left)]


def _decision(chance: random.Random, names: Sequence[str], why: str) -> dict[str, Any]:
    action = chance.choice(("keep", "drop", "relabel"))
    labels = sorted(chance.sample(LABELS, chance.randint(1, 2))) if action == "relabel" else []
    return {"fname": chance.choice(names), "action": action, "labels": labels, "why": why}


def _last(decided: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What counts for each clip, the one decided on last at the end."""
    counts: dict[str, dict[str, Any]] = {}
    for each in decided:
        counts.pop(each["fname"], None)
        counts[each["fname"]] = each
    return counts


class Tagging:
    """Recordings to be tagged over HTTP: each answer must be the one of an undisturbed server.

    Parameters
    ----------
    bodies
        The recordings.
    answers
        Of an undisturbed server; empty where this is one.
    """

    n_operations = 0

    def __init__(self, bodies: Sequence[bytes], answers: Sequence[bytes] = ()) -> None:
        self.bodies, self.expected = bodies, answers
        self.answers: list[bytes] = []

    def go_on(self, session: Session, lost: list[str]) -> None:
        """Ask for those that have no answer yet."""
        while len(self.answers) < len(self.bodies):
            self.answers.append(session.ask("/v1/tag?top_k=3", self.bodies[len(self.answers)], "audio/wav"))

    def check(self, folder: Path, lost: list[str]) -> None:
        """The answers are the same, and no recording is left on the disk."""
        pairs = enumerate(zip(self.answers, self.expected, strict=True)) if self.expected else ()
        lost += [f"answer {number} differs" for number, (found, expected) in pairs if found != expected]
        lost += [f"left behind: {path.name}" for path in (folder / "tmp").iterdir()]
