"""Which recordings a user means, and what becomes of many of them."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from earmark.atomic import is_temporary
from earmark.audio.decode import SUFFIXES
from earmark.errors import AudioError
from earmark.parallel import map_in_order

R = TypeVar("R")


def find_recordings(paths: Sequence[str | Path]) -> tuple[list[Path], list[AudioError]]:
    """Find the recordings that paths mean.

    Parameters
    ----------
    paths
        Files; folders, for every recording below them; and patterns such as ``night/**/*.flac``, where no file has
        that very name.

    Returns
    -------
    list of Path
        Files as they are named, whether they exist or not; those of a folder or a pattern sorted.
    list of AudioError
        What is wrong with folders and patterns that stand for no recording.
    """
    found: list[Path] = []
    errors: list[AudioError] = []
    for path in map(Path, paths):
        below, _, problem = expand(path)
        found += below
        if not below:
            errors.append(AudioError(f"{path}: {problem}"))
    return found, errors


def expand(path: Path) -> tuple[list[Path], Path | None, str]:
    """Find the recordings that one path means.

    Parameters
    ----------
    path
        A file, a folder or a pattern, as for `find_recordings`.

    Returns
    -------
    list of Path
        The recordings.
    Path or None
        The folder that was searched, of a pattern its part without wildcards; None for a file.
    str
        What is wrong when there are none.
    """
    if path.is_dir():
        below = sorted(file for file in path.rglob("*") if _is_recording(file))
        return below, path, f"no recordings in this folder; looked for {', '.join(sorted(SUFFIXES))}"
    if glob.has_magic(str(path)) and not path.exists():
        below = sorted(match for match in matches(path) if match.is_file())
        plain = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        return below, Path(*plain), "no file matches this pattern; check the folder, or give the folder itself"
    return [path], None, ""


def matches(pattern: Path) -> Iterator[Path]:
    """Files and folders that a pattern with wildcards means; ``**`` follows no links, which may lead in circles."""
    if "**" not in pattern.parts:
        yield from map(Path, glob.iglob(str(pattern)))
        return
    plain = [*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts)]
    folder, rest = Path(*plain), pattern.parts[len(plain) :]
    wants_hidden = any(part.startswith(".") for part in rest)
    for match in folder.glob(os.path.join(*rest, *(["*"] if rest[-1] == "**" else []))):
        if wants_hidden or not any(part.startswith(".") for part in match.relative_to(folder).parts):
            yield match


def _is_recording(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not is_temporary(path) and path.is_file()


def over_files(
    function: Callable[[Path], R], files: Iterable[Path], *, n_workers: int | None = None
) -> Iterator[tuple[Path, R | AudioError]]:
    """Call a function for each file on threads; yield files with results, or the errors they met, in order.

    Parameters
    ----------
    function
        Called with each path, from several threads at a time.
    files
        In the order wanted.
    n_workers
        Threads; `None` for one a core.
    """

    def attempt(path: Path) -> tuple[Path, R | AudioError]:
        try:
            return path, function(path)
        except AudioError as error:
            return path, error

    n_workers = n_workers or os.cpu_count() or 1
    with ThreadPoolExecutor(n_workers) as pool:
        yield from map_in_order(pool, attempt, files, ahead=4 * n_workers)
