"""Files that are either whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import glob
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earmark.errors import EarmarkError

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.partial(\.[^.]*)?", re.DOTALL)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path to write to, which takes the place of `path` when the block succeeds.

    The temporary file lies in the same folder (a rename is atomic only within one file system) and keeps the
    suffix, since many writers choose their format by it. When the block fails, or is interrupted, the temporary
    file is removed and whatever stood at `path` stays as it was.

    Parameters
    ----------
    path
        Where the finished file belongs; an existing file is replaced.

    Yields
    ------
    Path
        A hidden sibling of `path` that does not exist yet; the block must create it.

    Raises
    ------
    EarmarkError
        If the folder does not exist, or `path` is itself a folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise EarmarkError(f"{path}: cannot be written, there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise EarmarkError(f"{path}: cannot be written, it is a folder; give the name of a file")
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_temporary(path: Path) -> bool:
    """Whether a path has a name that `atomic_path` gives: of a file in the making, or left by a killed process."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of writing `path`; only when no other process is at it."""
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
        if is_temporary(leftover):
            leftover.unlink(missing_ok=True)


def write_text_atomically(path: Path | str, text: str) -> None:
    r"""Write a text file in UTF-8, whole or not at all.

    Parameters
    ----------
    path
        Where the file belongs; an existing file is replaced.
    text
        Its content. Line ends are written as they are given (``\n`` on every platform).

    Raises
    ------
    EarmarkError
        If the folder does not exist, or `path` is itself a folder.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
