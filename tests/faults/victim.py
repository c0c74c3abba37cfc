"""The command line, to be killed: a process that has loaded all modules, and gives each command to a fork of itself.

It reads a line of JSON a command, and answers with the fork's number, and with its status once it has ended. A command
whose `operation` is not 0 ends as by kill -9 just before that file operation on a path below `watched` (opened for
writing, renamed, removed, made, cut, or flushed to the disk). One that lives writes how many there were to `count`.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import pkgutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import torch
from tqdm import tqdm

import earmark

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR
ANSWERS = os.dup(1)
LOADED_LATE = ("cleanlab", "matplotlib.pyplot", "tensorboardX")


class Operations:
    """Counts operations below a folder, and ends the process at one of them."""

    def __init__(self, watched: str, fatal: int) -> None:
        self.watched, self.fatal, self.n = watched, fatal, 0
        self._lock = Lock()

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        if event in CHANGES or (event == "open" and arguments[2] & WRITING):
            names = (os.fspath(one) if isinstance(one, os.PathLike) else one for one in arguments[:2])
            if any(isinstance(name, str) and name.startswith(self.watched) for name in names):
                self.count()

    def count(self) -> None:
        """One more; the last if it is the fatal one."""
        with self._lock:
            self.n += 1
            if self.n == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def become(arguments: list[str], watched: str, operation: int, count: str, log: str, scratch: str) -> int:
    """Run a command in this process; gives its status."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    tempfile.tempdir = scratch
    tqdm.set_lock(RLock())  # its own is shared by all forks, and kept for ever by one that is killed while it writes
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever started this in the background has set off
    operations, flush = Operations(watched, operation), os.fsync

    def flushed(file: Any) -> None:
        operations.count()
        flush(file)

    os.fsync = flushed
    sys.addaudithook(operations.hear)
    sys.argv = ["earmark", *arguments]
    from earmark.cli.main import main as earmark_main

    status = 1
    try:
        earmark_main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    Path(count).write_text(str(operations.n))
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def main() -> None:
    """Load everything, then fork a command a line."""
    os.dup2(2, 1)  # whatever libraries print is no answer
    names = [module.name for module in pkgutil.walk_packages(earmark.__path__, "earmark.")]
    for name in [*names, *LOADED_LATE]:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    torch.onnx.export(torch.nn.Linear(2, 2).eval(), (torch.zeros(1, 2),), io.BytesIO(), verbose=False)  # loads more
    os.write(ANSWERS, b"ready\n")
    for line in sys.stdin:
        said = json.loads(line)
        pid = os.fork()
        if not pid:
            os._exit(become(**said))
        os.write(ANSWERS, f"{pid}\n".encode())
        os.write(ANSWERS, f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())


if __name__ == "__main__":
    main()
