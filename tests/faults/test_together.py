"""Two commands with one output at once: one of them is told, and the output is that of one command."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.locking import locked

from .conftest import Command
from .material import earmark
from .work import PACK_RATE, Work, packing, tagging, training


@pytest.mark.parametrize("make", [packing, tagging], ids=["pack", "tag"])
def test_one_of_two_is_told_or_both_make_the_same(
    make: Callable[[Path], Work], collection: Path, tmp_path: Path, command: Command
) -> None:
    work = make(collection)
    (tmp_path / "out").mkdir()
    command(*work.arguments(tmp_path / "expected", False))
    both = [
        subprocess.Popen(
            earmark(*work.arguments(tmp_path / "out" / "it", False)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1].decode() for process in both]
    for process, text in zip(both, said, strict=True):
        assert process.returncode == 0 or (process.returncode == 2 and "another process" in text), text
    assert 0 in [process.returncode for process in both]
    assert work.outcome(tmp_path / "out" / "it") == work.outcome(tmp_path / "expected")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["it"]


def test_a_fold_that_another_command_learns(collection: Path, tmp_path: Path, command: Command) -> None:
    command("data", "pack", collection, "-o", tmp_path / "store", *PACK_RATE)
    run = tmp_path / "run"
    call = training(tmp_path / "store", n_folds=1).arguments
    command(*call(run, False))
    (run / "fold-0" / "metrics.json").unlink()
    with locked(run / "fold-0", doing="learning this fold"):
        text = command(*call(run, True), status=2)
    assert "fold-0: another process (PID " in text
    assert "is learning this fold; wait for it to end" in text
    command(*call(run, True))
    assert (run / "fold-0" / "metrics.json").is_file()
