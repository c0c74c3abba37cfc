"""Clocks that jump: nothing is measured by the time of day, and files are told apart by any other time, not a later."""

from __future__ import annotations

import ast
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import earmark
from earmark.data.encoding import Encoding
from earmark.data.layouts import read_collection
from earmark.data.pack import pack

from .material import earmark as earmark_command

SOURCES = Path(earmark.__file__).parent
FAKETIME = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), *Path("/usr/lib/faketime").glob("libfaketime.so.1")]
WALL_CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow")}
ASK_THE_TIME_OF_DAY = {
    "training/crossval.py",  # writes down when a run was made, and computes nothing with it
    "data/download.py",  # for how long a server that says until when wants to be left alone
}

Run = Callable[..., tuple[int, str, str]]


def test_durations_are_measured_by_a_clock_that_does_not_jump() -> None:
    users = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                users |= {path.relative_to(SOURCES).as_posix()} if (node.value.id, node.attr) in WALL_CLOCKS else set()
    assert users <= ASK_THE_TIME_OF_DAY


def test_a_recording_that_was_changed_by_a_clock_set_back_is_heard_again(
    tmp_path: Path, run_earmark: Run, tiny_bundle: Path, write_tone: Callable[..., Path]
) -> None:
    call = ("tag", tmp_path / "in", "--model", tiny_bundle, "--top", 1, "--format", "csv")
    write_tone("in/a.wav", 300.0)
    assert ",low," in run_earmark(*call, "--index", tmp_path / "index")[1]
    os.utime(write_tone("in/a.wav", 5000.0), (0, 0))
    assert ",high," in run_earmark(*call, "--index", tmp_path / "index")[1]


def test_a_clip_that_was_changed_by_a_clock_set_back_is_packed_again(collection: Path, tmp_path: Path) -> None:
    manifest = read_collection(collection)
    pack(manifest, tmp_path / "store", Encoding.waveform(8000), progress=False)
    path = manifest.clips[0].path
    before = path.stat()
    os.utime(path, (0, 0))
    try:
        assert pack(manifest, tmp_path / "store", Encoding.waveform(8000), progress=False).n_reused == 11
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed (apt-get install faketime)")
def test_commands_under_a_clock_that_jumps_by_days_make_the_same(collection: Path, tmp_path: Path) -> None:
    clock, ended = tmp_path / "clock", threading.Event()
    clock.write_text("+0")
    environment = os.environ | {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

    def jump() -> None:
        while True:
            for offset in ("-40d", "+40d", "-1y", "+0"):
                (tmp_path / "next").write_text(offset)
                (tmp_path / "next").replace(clock)
                if ended.wait(0.02):
                    return

    jumping = threading.Thread(target=jump)
    jumping.start()
    call = ("tag", collection, "--format", "csv", "-o")
    try:
        subprocess.run(earmark_command(*call, tmp_path / "jumping.csv"), check=True, env=environment, timeout=120)
    finally:
        ended.set()
        jumping.join()
    subprocess.run(earmark_command(*call, tmp_path / "steady.csv"), check=True, timeout=120)
    assert (tmp_path / "jumping.csv").read_bytes() == (tmp_path / "steady.csv").read_bytes()
