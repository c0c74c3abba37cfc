"""Commands that are killed with SIGKILL at moments of chance, given again, and compared with an undisturbed one.

A moment is either so many seconds after the command has first touched its output, or just before one of its file
operations; both are drawn from a seed, so that a life of the second kind can be repeated exactly.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from .work import Outcome, Work

VICTIM = Path(__file__).with_name("victim.py")
MOST_KILLS_A_LIFE = 4
PATIENCE_S = 300.0
LOOK_S = 0.0005


class Moment(NamedTuple):
    """When a command is killed: just before its so-many-th file operation, or so long after its first sign."""

    operation: int = 0
    after_s: float = 0.0


@dataclass(frozen=True)
class Undisturbed:
    """A command that nobody killed: what it made, in what time from its first sign, by how many file operations."""

    outcome: Outcome
    seconds: float
    n_operations: int


@dataclass
class Life:
    """An output that is begun, killed, gone on with and ended.

    Attributes
    ----------
    seed
        Of its moments.
    kills
        Those at which the command was killed.
    lost
        What of the undisturbed output is missing or differs at the end, or why there is no end.
    """

    seed: int
    kills: list[Moment] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class Nursery:
    """A process that has loaded everything, and whose forks run commands; used by `with`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(VICTIM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._line() == "ready"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, arguments: Sequence[object], folder: Path, moment: Moment | None = None) -> Child:
        """Run a command whose output is in `folder`/out; one at a time."""
        said = {
            "arguments": [*map(str, arguments)],
            "watched": str(folder / "out"),
            "operation": moment.operation if moment else 0,
            "count": str(folder / "count"),
            "log": str(folder / "log"),
            "scratch": str(folder / "tmp"),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(said).encode() + b"\n")
        self._process.stdin.flush()
        return Child(self, int(self._line()))

    def is_told(self, within_s: float) -> bool:
        """Whether there is something to be read."""
        return bool(select.select([self._process.stdout], [], [], within_s)[0])

    def _line(self) -> str:
        line = b""
        assert self._process.stdout is not None
        while not line.endswith(b"\n"):  # byte by byte, since `select` sees no buffer
            byte = os.read(self._process.stdout.fileno(), 1)
            assert byte, "the process that runs commands has ended; see its output"
            line += byte
        return line.decode().strip()


class Child:
    """A command that runs."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.nursery, self.pid, self.status = nursery, pid, None

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Whether it has, or does soon."""
        if self.status is None and self.nursery.is_told(within_s):
            self.status = int(self.nursery._line())
        return self.status is not None

    def kill(self) -> None:
        """As kill -9."""
        if not self.has_ended():
            with suppress(ProcessLookupError):  # it has, and its status is on the way
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its status, negative for a signal; one that does not end is killed, and an error."""
        if not self.has_ended(PATIENCE_S):
            self.kill()
            raise AssertionError(f"the command has not ended within {PATIENCE_S:g} s")
        assert self.status is not None
        return self.status


def undisturbed(nursery: Nursery, work: Work, folder: Path) -> Undisturbed:
    """Let a command end."""
    renew(folder)
    child = nursery.start(work.arguments(folder / "out" / "it", False), folder)
    touched = _first_sign(child, folder / "out")
    assert child.wait() == 0, (folder / "log").read_text()
    seconds = time.monotonic() - touched
    return Undisturbed(work.outcome(folder / "out" / "it"), seconds, int((folder / "count").read_text()))


def live(
    nursery: Nursery,
    work: Work,
    folder: Path,
    seed: int,
    expected: Undisturbed,
    moments: Sequence[Moment] = (),
) -> Life:
    """Kill a command at moments, drawn from a seed unless they are given; give it again until it ends, and compare."""
    renew(folder)
    life = Life(seed)
    for moment in moments or draw(seed, expected):
        status = _killed_at(nursery, work, folder, moment)
        if status != -signal.SIGKILL:
            break
        life.kills.append(moment)
    else:
        status = nursery.start(_arguments(work, folder), folder).wait()
    if status != 0:
        life.lost.append(f"given again, it ends with status {status}: {last_line(folder / 'log')}")
        return life
    life.lost += differences(expected.outcome, work.outcome(folder / "out" / "it"))
    life.lost += [f"left behind: {path.name}" for path in (folder / "out").iterdir() if path.name != "it"]
    return life


def draw(seed: int, expected: Undisturbed) -> list[Moment]:
    """A few moments of either kind, anywhere in the command."""
    chance = random.Random(seed)
    return [
        Moment(operation=chance.randint(1, max(1, expected.n_operations)))
        if chance.random() < 0.5
        else Moment(after_s=round(chance.uniform(0, expected.seconds), 4))
        for _ in range(chance.randint(1, MOST_KILLS_A_LIFE))
    ]


def differences(expected: Outcome, found: Outcome) -> list[str]:
    """Names of what is missing, more than it should be, or other."""
    names = sorted(expected.keys() | found.keys())
    return [f"differs: {name}" for name in names if name not in found or found[name] != expected.get(name)]


def last_line(log: Path) -> str:
    """What a command said last."""
    return (log.read_text().strip().splitlines() or ["(nothing)"])[-1]


def renew(folder: Path) -> None:
    """Empty a command's folder: its output goes into `out`, what it puts aside into `tmp`."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    (folder / "tmp").mkdir()


def _arguments(work: Work, folder: Path) -> Sequence[object]:
    """Of the next call: the first is another when there is nothing to go on with."""
    return work.arguments(folder / "out" / "it", any((folder / "out").iterdir()))


def _first_sign(child: Child, folder: Path) -> float:
    """Wait until something in a folder changes, or the command has ended; gives when."""
    before = _newest(folder)
    while _newest(folder) == before and not child.has_ended(LOOK_S):
        pass
    return time.monotonic()


def _killed_at(nursery: Nursery, work: Work, folder: Path, moment: Moment) -> int:
    """Give a command and kill it, unless it has ended by then; gives its status."""
    child = nursery.start(_arguments(work, folder), folder, moment)
    if not moment.operation:
        _first_sign(child, folder / "out")
        child.has_ended(moment.after_s)
        child.kill()
    return child.wait()


def _newest(folder: Path) -> int:
    """When anything in a folder, or the folder itself, was last changed, in nanoseconds."""
    times = [folder.stat().st_mtime_ns]
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            try:
                times.append(os.stat(os.path.join(parent, name)).st_mtime_ns)
            except FileNotFoundError:
                continue
    return max(times)
