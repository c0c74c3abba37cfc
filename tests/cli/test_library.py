"""`earmark tag` on libraries: lists, patterns, resumption, an index, other labels, tags in files."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.tagging.engine import Engine
from earmark.tagging.index import journal_path

Run = Callable[..., tuple[int, str, str]]
Scored = tuple[list[np.ndarray], float]
WriteTone = Callable[..., Path]

SLOW_TAG = """
import sys, time
from earmark.cli.main import main
from earmark.tagging.engine import Engine
heard = Engine.heard
def slow(self, path):
    time.sleep(0.05)
    return heard(self, path)
Engine.heard = slow
sys.argv = ["earmark", *sys.argv[1:]]
main()
"""


@pytest.fixture
def tones(write_tone: WriteTone, tmp_path: Path) -> Path:
    """A folder of three recordings."""
    write_tone("tones/a.wav", 300.0)
    write_tone("tones/b/mid.flac", 1800.0)
    write_tone("tones/c.wav", 5000.0)
    return tmp_path / "tones"


@pytest.fixture
def tag(run_earmark: Run, tiny_bundle: Path) -> Run:
    return lambda *arguments: run_earmark("tag", "--model", tiny_bundle, *arguments)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are tagged from now on."""
    names: list[str] = []
    original = Engine.heard

    def spy(self: Engine, path: Path) -> Scored:
        names.append(path.name)
        return original(self, path)

    monkeypatch.setattr(Engine, "heard", spy)
    return names


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def said(err: str) -> list[str]:
    """Messages, without the bar that stands between them."""
    return [line for line in err.replace("\r", "\n").splitlines() if line.startswith("earmark: ")]


class TestLists:
    def test_columns_of_a_table_are_carried_along(self, tag: Run, tones: Path) -> None:
        (tones / "list.csv").write_text("fname,site\nc.wav,wood\na.wav,river\n")
        status, out, err = tag(f"@{tones / 'list.csv'}", "--format", "csv", "--top", "1")
        assert status == 0, err
        assert [(row["fname"], row["site"], row["tag"]) for row in rows_of(out)] == [
            ("c.wav", "wood", "high"),
            ("a.wav", "river", "low"),
        ]

    def test_standard_input(self, tag: Run, tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        names = f"{tones / 'c.wav'}\0{tones / 'a.wav'}\0"
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
        status, out, _ = tag("-", "--format", "csv", "--top", "1")
        assert (status, [row["tag"] for row in rows_of(out)]) == (0, ["high", "low"])

    def test_patterns(self, tag: Run, tones: Path) -> None:
        status, out, _ = tag(tones, "--include", "*.wav", "--exclude", "c*", "--top", "1")
        assert (status, out.count("\n"), "a.wav" in out) == (0, 1, True)

    def test_a_list_that_is_missing(self, tag: Run) -> None:
        status, out, err = tag("@none.txt")
        assert (status, out) == (1, "")
        assert err.startswith("earmark: none.txt: the list cannot be read")


class TestResume:
    def test_after_kill_9_nothing_is_lost_and_nothing_repeated(
        self, tag: Run, write_tone: WriteTone, tiny_bundle: Path, tmp_path: Path, heard: list[str]
    ) -> None:
        for number in range(40):
            write_tone(f"in/{number:02}.wav", 100.0 + 100 * number, 0.2)
        (tmp_path / "in" / "20.wav").write_text("no recording")
        _, whole, _ = tag(tmp_path / "in", "--format", "csv")
        heard.clear()

        output = tmp_path / "tags.csv"
        arguments = ["tag", tmp_path / "in", "--model", tiny_bundle, "--format", "csv", "-o", output, "--workers", "1"]
        process = subprocess.Popen([sys.executable, "-c", SLOW_TAG, *map(str, arguments)], stderr=subprocess.DEVNULL)
        journal = journal_path(output)
        give_up_at = time.monotonic() + 60
        while not journal.exists() or journal.read_bytes().count(b"\n") < 8:
            assert process.poll() is None
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not output.exists()
        n_kept = journal.read_bytes().count(b"\n") - 1
        assert 7 <= n_kept < 39

        status, _, err = tag(tmp_path / "in", "--format", "csv", "-o", output, "--resume")
        assert status == 1  # for the one that is no recording
        assert f"earmark: {output}: {n_kept} recordings of the interrupted call are kept" in said(err)
        assert len(heard) == 40 - n_kept
        assert output.read_text(encoding="utf-8") == whole
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "tags.csv"]

    def test_other_options_are_refused(self, tag: Run, tones: Path, tmp_path: Path) -> None:
        self.interrupt(tag, tones, tmp_path / "tags.csv")
        status, _, err = tag(tones, "-o", tmp_path / "tags.csv", "--resume", "--top", "2")
        assert (status, said(err)) == (
            2,
            [
                f"earmark: {tmp_path / 'tags.csv'}: this call has top=2 instead of 3; give the same model and options, "
                "or leave --resume out to begin anew"
            ],
        )

    def test_another_model_is_refused(
        self, tag: Run, run_earmark: Run, tones: Path, tmp_path: Path, make_tiny_bundle: Callable[..., Path]
    ) -> None:
        self.interrupt(tag, tones, tmp_path / "tags.csv")
        other = make_tiny_bundle(tmp_path / "other.onnx", labels=("a", "b", "c"))
        status, _, err = run_earmark("tag", tones, "-o", tmp_path / "tags.csv", "--resume", "--model", other)
        assert status == 2
        assert "this call has another model; give the same model and options" in err

    def test_another_format_may_be_had(self, tag: Run, tones: Path, tmp_path: Path, heard: list[str]) -> None:
        self.interrupt(tag, tones, tmp_path / "tags")
        heard.clear()
        status, _, _ = tag(tones, "-o", tmp_path / "tags", "--resume", "--format", "audacity")
        assert status == 0
        assert sorted(heard) == ["c.wav", "mid.flac"]
        assert sorted(path.name for path in (tmp_path / "tags").rglob("*.txt")) == [
            *("a.wav.txt", "c.wav.txt", "mid.flac.txt")
        ]

    def test_without_an_output(self, tag: Run, tones: Path) -> None:
        status, _, err = tag(tones, "--resume")
        assert status == 2
        assert "--resume takes up what is beside an --output; name the one of the interrupted call" in err

    @staticmethod
    def interrupt(tag: Run, tones: Path, output: Path) -> None:
        """Leave a call's journal with the first of the recordings."""
        with pytest.MonkeyPatch.context() as patch:
            original = Engine.heard

            def interrupted(self: Engine, path: Path) -> Scored:
                if path.name != "a.wav":
                    raise KeyboardInterrupt
                return original(self, path)

            patch.setattr(Engine, "heard", interrupted)
            status, _, err = tag(tones, "-o", output, "--workers", "1")
            assert status == 1
            assert said(err) == [f"earmark: {output}: what is tagged is kept; the same call with --resume goes on"]
        assert journal_path(output).exists()


class TestIndex:
    def test_the_next_call_hears_what_is_new_or_changed(
        self, tag: Run, tones: Path, tmp_path: Path, heard: list[str], write_tone: WriteTone
    ) -> None:
        index = tmp_path / "index"
        first = tag(tones, "--index", index, "--format", "csv")
        assert first[0] == 0
        assert f"earmark: {index}: 0 unchanged, 3 new or changed, 0 vanished" in said(first[2])
        heard.clear()
        again = tag(tones, "--index", index, "--format", "csv")
        assert (again[1], heard) == (first[1], [])
        write_tone("tones/a.wav", 5000.0, 0.7)
        write_tone("tones/d.wav", 300.0)
        (tones / "c.wav").unlink()
        _, out, err = tag(tones, "--index", index, "--format", "csv", "--top", "3")
        assert sorted(heard) == ["a.wav", "d.wav"]
        assert [row["tag"] for row in rows_of(out)[::3]] == ["high", "mid", "low"]
        assert f"earmark: {index}: 1 unchanged, 2 new or changed, 1 vanished" in said(err)

    def test_other_options_tag_all_again(self, tag: Run, tones: Path, tmp_path: Path, heard: list[str]) -> None:
        tag(tones, "--index", tmp_path / "index")
        heard.clear()
        _, _, err = tag(tones, "--index", tmp_path / "index", "--top", "1")
        assert len(heard) == 3
        assert f"earmark: {tmp_path / 'index'}: this call has top=1 instead of 3; all is tagged again" in said(err)


class TestDryRun:
    def test_counts_and_hears_nothing(self, tag: Run, tones: Path, tmp_path: Path, heard: list[str]) -> None:
        tag(tones / "a.wav", "--index", tmp_path / "index")
        heard.clear()
        (tones / "bad.wav").write_text("no recording")
        status, out, err = tag(tones, "--index", tmp_path / "index", "--dry-run", "--exclude", "c*")
        assert (status, heard) == (1, [])
        assert [line.split()[0] for line in out.splitlines()[2:5]] == [".flac", ".wav", "all"]
        assert out.splitlines()[4].split()[1:3] == ["3", "0.001"]
        assert out.splitlines()[4].split()[4:] == ["1", "1", "1"]
        assert out.splitlines()[-1] == "1 left out by patterns"
        assert said(err)[-1] == "earmark: 1 of 3 files could not be tagged"

    def test_leaves_an_interrupted_call_alone(self, tag: Run, tones: Path, tmp_path: Path) -> None:
        TestResume.interrupt(tag, tones, tmp_path / "tags.csv")
        content = journal_path(tmp_path / "tags.csv").read_bytes()
        for resume in ([], ["--resume"]):
            status, out, _ = tag(tones, "-o", tmp_path / "tags.csv", "--dry-run", *resume)
            assert status == 0
            assert out.splitlines()[-1].split()[-3:] == (["2", "1", "0"] if resume else ["3", "0", "0"])
        assert journal_path(tmp_path / "tags.csv").read_bytes() == content


class TestLabels:
    def test_other_names(self, tag: Run, tones: Path, tmp_path: Path) -> None:
        (tmp_path / "map.csv").write_text("label,name\nlow,tief\nhigh,hoch\n")
        _, out, _ = tag(tones, "--format", "csv", "--top", "1", "--labels", tmp_path / "map.csv")
        assert [row["tag"] for row in rows_of(out)] == ["tief", "mid", "hoch"]
        _, out, _ = tag(tones, "--format", "csv", "--labels", tmp_path / "map.csv", "--only-mapped")
        assert {row["tag"] for row in rows_of(out)} == {"tief", "hoch"}

    def test_an_unknown_label(self, tag: Run, tones: Path, tmp_path: Path) -> None:
        (tmp_path / "map.csv").write_text("label,name\nhihg,x\n")
        assert tag(tones, "--labels", tmp_path / "map.csv") == (
            1,
            "",
            "earmark: map.csv line 2: label 'hihg' is not one of the model; did you mean 'high'?\n",
        )

    def test_only_mapped_without_a_table(self, tag: Run, tones: Path) -> None:
        status, _, err = tag(tones, "--only-mapped")
        assert status == 2
        assert "--only-mapped leaves out what --labels has no name for; name such a file" in err


class TestWriteTags:
    def test_shown_then_written_then_nothing(self, tag: Run, tones: Path) -> None:
        mutagen = pytest.importorskip("mutagen")
        before = {path: path.read_bytes() for path in sorted(tones.rglob("*.*"))}
        status, out, err = tag(tones, "--write-tags", "--dry-run", "--threshold", "0.6")
        assert status == 0
        assert [line.split("  ")[1].split(":")[0] for line in out.splitlines()] == [
            f"EARMARK_TAG (none) -> {label}" for label in ("low", "mid", "high")
        ]
        assert said(err)[-1] == "earmark: 3 of 3 files would be changed; leave --dry-run out to do it"
        assert {path: path.read_bytes() for path in sorted(tones.rglob("*.*"))} == before

        status, _, _ = tag(tones, "--write-tags", "--threshold", "0.6")
        assert status == 0
        assert mutagen.File(tones / "b" / "mid.flac").tags["EARMARK_TAG"][0].startswith("mid:0.")
        written = {path: path.read_bytes() for path in before}
        assert all(written[path] != before[path] for path in before)

        assert tag(tones, "--write-tags", "--threshold", "0.6")[0] == 0
        assert {path: path.read_bytes() for path in before} == written

    def test_a_read_only_file_is_named_and_tagged(self, tag: Run, tones: Path) -> None:
        pytest.importorskip("mutagen")
        (tones / "a.wav").chmod(0o444)
        status, out, err = tag(tones, "--write-tags", "--format", "csv", "--top", "1")
        assert status == 1
        assert [row["tag"] for row in rows_of(out)] == ["low", "mid", "high"]
        assert said(err) == [
            f"earmark: {tones / 'a.wav'}: its tags cannot be written into it (the file is read-only); take them from "
            "the output, or write to a copy",
            "earmark: 1 of 3 files could not be tagged or written into",
        ]

    def test_an_index_still_knows_what_was_written_into(
        self, tag: Run, tones: Path, tmp_path: Path, heard: list[str]
    ) -> None:
        pytest.importorskip("mutagen")
        tag(tones, "--index", tmp_path / "index")
        tag(tones, "--index", tmp_path / "index", "--write-tags")
        heard.clear()
        tag(tones, "--index", tmp_path / "index", "--write-tags")
        assert heard == []
