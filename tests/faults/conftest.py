"""A process for commands to be killed in, and small things for them to do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .killing import Nursery, renew
from .material import write_collection

Command = Callable[..., str]

SMALL_KB = 256


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """What runs commands that are to be killed."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork, by which commands start at once")
    with Nursery() as ready:
        yield ready


@pytest.fixture
def command(nursery: Nursery, tmp_path: Path) -> Command:
    """Run a command to its end: `command("tag", path, status=1)` gives all that it says."""
    folder = tmp_path / "command"
    renew(folder)

    def give(*arguments: object, status: int = 0) -> str:
        (folder / "log").write_text("")
        found = nursery.start(arguments, folder).wait()
        text = (folder / "log").read_text()
        assert found == status, text
        assert "Traceback" not in text, text
        return text

    return give


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of a second, with a table."""
    return write_collection(tmp_path_factory.mktemp("faults") / "collection", 12)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of `SMALL_KB`."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount("-t", "tmpfs", "-o", f"size={SMALL_KB}k", "tmpfs", folder)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {getattr(error, 'stderr', error)}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount(*arguments: object) -> None:
    """Mount as root may."""
    subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=True)
