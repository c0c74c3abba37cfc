"""One process at a time: a lock that the system takes back from whoever is killed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from earmark.errors import StoreError


def sibling(target: Path, what: str) -> Path:
    """A hidden name beside a store's."""
    return target.with_name(f".{target.name}.{what}")


@contextmanager
def locked(
    target: Path, *, wait: Callable[[str], None] | None = None, doing: str = "packing this store"
) -> Iterator[None]:
    """Keep every other process from writing a store, or another file or folder.

    Parameters
    ----------
    target
        The store's folder.
    wait
        Called with a message, once, when another process is at it, which is then waited for; `None` for not waiting.
    doing
        What each process does with it, for the message.

    Raises
    ------
    StoreError
        When another process is at it and is not to be waited for.
    """
    path = sibling(target, "lock")
    while True:
        file = path.open("a+")
        try:
            if not _take(file):
                file.seek(0)
                busy = f"{target}: another process (PID {file.read().strip() or 'unknown'}) is {doing}"
                if wait is None:
                    raise StoreError(f"{busy}; wait for it to end, or name another folder")
                wait(f"{busy}; waiting for it to end")
                _take(file, blocking=True)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        except BaseException:
            file.close()
            raise
        file.close()  # removed by the one who held it; a newer one is in its place
    try:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def remove_abandoned(target: Path) -> None:
    """Remove the lock of a process that was killed between its work's end and the lock's; one that is held stays."""
    if sibling(target, "lock").is_file():
        with suppress(StoreError), locked(target):
            pass


if sys.platform == "win32":
    import msvcrt

    def _take(file: Any, *, blocking: bool = False) -> bool:
        while True:
            try:
                file.seek(1 << 30)  # of a byte behind the content, which others can then read
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError:
                if not blocking:
                    return False
                time.sleep(0.5)
            else:
                return True

else:
    import fcntl

    def _take(file: Any, *, blocking: bool = False) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
