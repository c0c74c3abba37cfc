"""How a library is divided into parts, what a folder of parts says of itself, and addresses; without a cluster."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.cluster import check_place
from earmark.errors import AudioError, EarmarkError, RunError
from earmark.tagging import addresses
from earmark.tagging.addresses import expand_address, fetch, is_address, state_of
from earmark.tagging.index import Maker
from earmark.tagging.library import RemoteRecording, find_library
from earmark.tagging.parts import FOOTER, Manifest, Part, PartsFolder, Source, next_number, part_name
from earmark.tagging.scale import PART_FILES, Ledger, jobs_of, known
from earmark.tagging.tagger import Tag
from earmark.tagging.writers import ParquetRows

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'earmark[ray]'")
MAKER = Maker("digest", {"top": 3})


def sources(n: int) -> list[Source]:
    return [Source(f"{i:04}.wav") for i in range(n)]


def table() -> object:
    rows = ParquetRows(())
    rows.add("a.wav", (), [Tag("low", 0.5, 0.0, 1.0)])
    return rows.take()


@pytest.fixture
def bucket() -> Iterator[str]:
    """An address whose files are in memory."""
    import fsspec

    system, name = fsspec.filesystem("memory"), f"/{secrets.token_hex(4)}"
    for path, content in (("a.wav", b"one"), ("deep/b.FLAC", b"two"), ("notes.txt", b"")):
        system.pipe_file(f"{name}/{path}", content)
    yield f"memory:/{name}"
    system.rm(name, recursive=True)


class TestJobs:
    def test_they_hold_every_recording_once_in_order(self) -> None:
        jobs = jobs_of(sources(1000), MAKER, 2, first=7)
        assert [source for job in jobs for source in job.sources] == sources(1000)
        assert jobs[0].name.startswith("part-000007-")

    def test_they_get_smaller_so_that_all_actors_end_together(self) -> None:
        sizes = [len(job.sources) for job in jobs_of(sources(1000), MAKER, 2, first=0)]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[:2] == [250, 187]  # a quarter of what is left: two such for each of two actors
        assert sizes[-1] == 1

    def test_of_a_large_library_they_have_a_limit(self) -> None:
        assert max(len(job.sources) for job in jobs_of(sources(20_000), MAKER, 1, first=0)) == PART_FILES

    def test_large_files_end_a_part(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("earmark.tagging.scale.PART_BYTES", 10)
        for i in range(80):
            (tmp_path / f"{i}.wav").write_bytes(b"123456")
        jobs = jobs_of([Source(str(tmp_path / f"{i}.wav")) for i in range(80)], MAKER, 1, first=0)
        assert [len(job.sources) for job in jobs[:36]] == [2] * 36
        assert max(len(job.sources) for job in jobs) == 2

    def test_one_that_is_made_twice_has_one_name(self) -> None:
        assert part_name(3, sources(2), MAKER) == part_name(3, sources(2), MAKER)
        assert part_name(3, sources(2), MAKER) != part_name(3, sources(3), MAKER)
        assert next_number([part_name(3, sources(2), MAKER), "part-000001-x.parquet"]) == 4
        assert next_number([]) == 0


def test_deaths_are_counted_by_what_was_begun_and_not_survived() -> None:
    ledger = Ledger()
    assert not ledger.begin("part")
    ledger.note("part", 3, ends=False)
    ledger.note("part", 3, ends=True)
    ledger.note("part", 4, ends=False)
    begun = ledger.begin("part")
    assert (begun[3], begun[4]) == (0, 1)


class TestPartsFolder:
    @pytest.fixture(params=["here", "address"])
    def folder(self, request: pytest.FixtureRequest, tmp_path: Path, bucket: str) -> PartsFolder:
        return PartsFolder(str(tmp_path / "tags") if request.param == "here" else f"{bucket}/tags")

    def test_a_part_says_what_it_is_made_of(self, folder: PartsFolder) -> None:
        part = Part(MAKER, (), [(Source("a.wav"), "3:1")])
        with folder.alone():
            assert folder.found() == []
            folder.write_part("part-000000-x.parquet", table(), part)
            folder.write_manifest(Manifest(MAKER, (), 1, [], ["part-000000-x.parquet"]))
            assert [(found.name, found.part) for found in folder.found()] == [("part-000000-x.parquet", part)]
            folder.remove("part-000000-x.parquet")
            folder.remove("part-000000-x.parquet")
            assert folder.found() == []

    def test_what_is_not_a_part_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "other.parquet").write_bytes(b"no Parquet")
        with pytest.raises(RunError, match=r"other\.parquet is damaged, or not of earmark"):
            PartsFolder(str(tmp_path)).found()

    def test_two_calls_at_a_time_are_refused_and_leftovers_removed(self, tmp_path: Path) -> None:
        leftover = tmp_path / ".part-000000-x.0123abcd.partial.parquet"
        leftover.touch()
        with PartsFolder(str(tmp_path)).alone():
            assert not leftover.exists()
            with pytest.raises(EarmarkError, match="another process writes to it"), PartsFolder(str(tmp_path)).alone():
                pass

    def test_a_file_or_no_parent_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(EarmarkError, match="is a file"):
            PartsFolder(str(tmp_path / "file"))
        with pytest.raises(EarmarkError, match="there is no folder"):
            PartsFolder(str(tmp_path / "none" / "tags"))


def test_what_is_known_of_a_library(tmp_path: Path) -> None:
    names = [str(tmp_path / f"{i}.wav") for i in range(4)]
    for name in names:
        Path(name).write_bytes(b"sound")
    folder = PartsFolder(str(tmp_path / "tags"))
    with folder.alone():
        for i in range(2):
            pair = [(Source(name), state_of(name)) for name in names[2 * i : 2 * i + 2]]
            folder.write_part(f"part-00000{i}-x.parquet", table(), Part(MAKER, (), pair))
        wanted = [Source(name) for name in names]
        kept, stale = known(wanted, folder, MAKER, ())
        assert ([found.name for found in kept], stale) == (["part-000000-x.parquet", "part-000001-x.parquet"], [])
        os.utime(names[0], ns=(1, 1))
        kept, stale = known(wanted, folder, MAKER, ())
        assert ([found.name for found in kept], stale) == (["part-000001-x.parquet"], ["part-000000-x.parquet"])
        assert known(wanted[:3], folder, MAKER, ())[0] == []
        assert known(wanted, folder, MAKER, ("site",))[0] == []
        with pytest.raises(RunError, match="this call has top=2 instead of 3"):
            known(wanted, folder, Maker("digest", {"top": 2}), ())


class TestAddresses:
    def test_what_is_one(self) -> None:
        assert is_address("s3://bucket/a.wav")
        assert not is_address("C://a.wav")
        assert not is_address("folder/a.wav")

    def test_a_folder_a_pattern_and_a_file(self, bucket: str) -> None:
        below = [name.rsplit("/", 1)[1] for name in expand_address(bucket)[0]]
        assert below == ["a.wav", "b.FLAC"]
        assert [name.rsplit("/", 1)[1] for name in expand_address(f"{bucket}/*.wav")[0]] == ["a.wav"]
        assert expand_address(f"{bucket}/none.wav") == ([f"{bucket}/none.wav"], "")
        assert expand_address(f"{bucket}/none") == ([], "no recordings at this address")

    def test_a_file_is_fetched_and_its_state_changes(self, bucket: str, tmp_path: Path) -> None:
        assert fetch(f"{bucket}/a.wav", "", tmp_path / "0").read_bytes() == b"one"
        before = state_of(f"{bucket}/a.wav")
        addresses.file_system(f"{bucket}/a.wav")[0].pipe_file(addresses.file_system(f"{bucket}/a.wav")[1], b"longer")
        assert state_of(f"{bucket}/a.wav") != before
        assert state_of(f"{bucket}/none.wav") == ""
        with pytest.raises(AudioError, match=r"none\.wav: no such file; check the address"):
            fetch(f"{bucket}/none.wav", "", tmp_path / "1")

    def test_one_that_fails_is_tried_again(self, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        system = type(addresses.file_system(bucket)[0])
        calls: list[str] = []

        def failing(self: object, path: str, copy: str) -> None:
            calls.append(path)
            raise ConnectionError("no route")

        monkeypatch.setattr(system, "get_file", failing)
        monkeypatch.setattr(addresses, "FIRST_PAUSE_S", 0.0)
        with pytest.raises(AudioError, match=r"cannot be fetched \(no route\); check the address and the keys"):
            fetch(f"{bucket}/a.wav", "", tmp_path / "0")
        assert len(calls) == addresses.N_ATTEMPTS

    def test_an_unknown_kind_is_named(self) -> None:
        with pytest.raises(EarmarkError, match=r"nosuch://a/b: cannot be read .*nosuch"):
            expand_address("nosuch://a/b")

    def test_a_library_has_them_beside_its_files(self, bucket: str, tmp_path: Path) -> None:
        (tmp_path / "list.csv").write_text(f"path,site\n{bucket}/a.wav,wood\n{bucket},river\n")
        library = find_library([f"@{tmp_path / 'list.csv'}"], remote=True)
        assert library.remote[0] == RemoteRecording(f"{bucket}/a.wav", ("wood",))
        assert [recording.cells for recording in library.remote] == [("wood",), ("river",), ("river",)]
        refused = find_library([f"{bucket}/a.wav"])
        assert str(refused.errors[0]) == (
            f"{bucket}/a.wav: is an address, which only a cluster reads; give --on ray, or fetch it first"
        )


@pytest.mark.parametrize("place", ["ray", "ray://head:10001"])
def test_places(place: str) -> None:
    assert check_place(place) == place


@pytest.mark.parametrize("place", ["dask", "ray://head", "http://head:10001", "Ray"])
def test_what_is_no_place(place: str) -> None:
    with pytest.raises(EarmarkError, match="is no place to work at; expected 'ray', or 'ray://HOST:10001'"):
        check_place(place)


def test_the_footer_is_where_readers_of_parquet_leave_it(tmp_path: Path) -> None:
    from pyarrow.dataset import dataset
    from pyarrow.parquet import read_schema

    folder = PartsFolder(str(tmp_path / "tags"))
    with folder.alone():
        folder.write_part("part-000000-x.parquet", table(), Part(MAKER, (), []))
        folder.write_manifest(Manifest(MAKER, (), 1, [], []))
    assert FOOTER in read_schema(tmp_path / "tags" / "part-000000-x.parquet").metadata
    assert dataset(tmp_path / "tags", format="parquet").count_rows() == 1  # neither manifest nor lock is read
