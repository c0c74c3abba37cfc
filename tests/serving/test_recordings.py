"""A recording's bytes as a file with a name."""

from __future__ import annotations

import io
import os
from contextlib import closing
from pathlib import Path

import pytest

from earmark.serving.limits import MIB
from earmark.serving.recordings import Scratch


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_each_file_holds_its_recording_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_memory_files: bool
) -> None:
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    with closing(Scratch(tmp_path)) as scratch:
        for content in (b"a" * 1000, b"b" * 10, b"", b"c" * MIB, b"d" * (MIB + 1), b"e" * 2000):
            spool = io.BytesIO(content)
            spool.read(3)  # wherever it stands
            with scratch.named(spool) as path:
                assert path.read_bytes() == content
                assert path.stat().st_size == len(content)
            assert spool.closed
            assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files in memory are Linux's")
def test_short_recordings_touch_no_disk(tmp_path: Path) -> None:
    with closing(Scratch(tmp_path)) as scratch, scratch.named(io.BytesIO(b"short")) as path:
        assert path.read_bytes() == b"short"
        assert list(tmp_path.iterdir()) == []
    with closing(Scratch(tmp_path)) as scratch, scratch.named(io.BytesIO(b"l" * (MIB + 1))) as path:
        assert list(tmp_path.iterdir()) == [path]
