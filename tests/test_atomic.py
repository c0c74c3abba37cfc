"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.atomic import atomic_path, is_temporary, remove_leftovers, write_text_atomically
from earmark.errors import EarmarkError


def test_the_finished_file_takes_its_place(tmp_path: Path):
    target = tmp_path / "scores.csv"
    target.write_text("old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".csv"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: type[BaseException]):
    target = tmp_path / "scores.csv"
    target.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_text_is_written_as_utf8_with_its_own_line_ends(tmp_path: Path):
    write_text_atomically(tmp_path / "a.txt", "für\nimmer\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "für\nimmer\r\n".encode()


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(EarmarkError) as caught:
        write_text_atomically(tmp_path / "none" / "a.txt", "")
    expected = f"{tmp_path / 'none/a.txt'}: cannot be written, there is no folder {tmp_path / 'none'}; make it first"
    assert str(caught.value) == expected


def test_a_folder_is_not_overwritten(tmp_path: Path):
    with pytest.raises(EarmarkError) as caught:
        write_text_atomically(tmp_path, "")
    assert str(caught.value) == f"{tmp_path}: cannot be written, it is a folder; give the name of a file"


def test_names_of_files_in_the_making_are_known(tmp_path: Path):
    for name in ("a.wav", "a", ".hidden.tar.gz", "größe\n.wav"):
        with atomic_path(tmp_path / name) as temporary:
            temporary.touch()
            assert is_temporary(temporary)
        assert not is_temporary(tmp_path / name)


def test_only_a_files_own_leftovers_are_removed(tmp_path: Path):
    names = {".a.0123abcd.partial.wav", ".b.0123abcd.partial.wav", ".a.0123abcd.partial.mp3", ".a.xyz.partial.wav"}
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "a.wav")
    assert {path.name for path in tmp_path.iterdir()} == names - {".a.0123abcd.partial.wav"}
