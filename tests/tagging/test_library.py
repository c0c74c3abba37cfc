"""Which recordings a call means: lists, standard input, patterns, and what tables say of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.errors import CollectionError, EarmarkError
from earmark.tagging.library import Library, Patterns, Recording, find_library


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recordings that is also the current one."""
    for name in ("rec/a.wav", "rec/old/b.wav", "rec/old/c.flac", "rec/d.mp3", "x/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def places(library: Library) -> list[str]:
    return [recording.place for recording in library.recordings]


def paths(library: Library) -> list[str]:
    return [recording.path.as_posix() for recording in library.recordings]


class TestPaths:
    def test_a_folder_a_pattern_and_a_file(self, here: Path) -> None:
        library = find_library(["rec/old", "re*/*.mp3", "x/a.wav", "none.wav"])
        assert paths(library) == ["rec/old/b.wav", "rec/old/c.flac", "rec/d.mp3", "x/a.wav", "none.wav"]
        assert places(library) == ["b.wav", "c.flac", "rec/d.mp3", "x/a.wav", "none.wav"]
        assert (library.columns, library.errors, library.n_left_out) == ((), [], 0)

    def test_nothing(self) -> None:
        assert find_library([]) == Library([])

    def test_named_twice_is_in_once(self, here: Path) -> None:
        assert paths(find_library(["x/a.wav", "x/a.wav"])) == ["x/a.wav"]

    def test_places_of_paths_outside_stay_inside(self, here: Path) -> None:
        library = find_library([here / "x" / "a.wav", "x/../rec/a.wav"])
        assert places(library) == [(here / "x" / "a.wav").as_posix().lstrip("/"), "x/rec/a.wav"]

    def test_what_killed_processes_left_is_no_recording(self, here: Path) -> None:
        (here / "x" / ".a.0123abcd.partial.wav").touch()
        assert paths(find_library(["x"])) == ["x/a.wav"]

    def test_a_folder_without_recordings(self, here: Path) -> None:
        (here / "empty").mkdir()
        library = find_library(["empty", "x"])
        assert paths(library) == ["x/a.wav"]
        assert [str(error).split(";")[0] for error in library.errors] == ["empty: no recordings in this folder"]


class TestLists:
    @pytest.mark.parametrize(
        "content",
        [
            b"x/a.wav\nrec/a.wav\n",
            b"x/a.wav\r\n\r\nrec/a.wav",
            b"\xef\xbb\xbfx/a.wav\nrec/a.wav",
            b"x/a.wav\0rec/a.wav\0",
        ],
    )
    def test_a_path_a_line_or_with_nul_between(self, here: Path, content: bytes) -> None:
        (here / "list.txt").write_bytes(content)
        assert paths(find_library(["@list.txt"])) == ["x/a.wav", "rec/a.wav"]
        assert paths(find_library(["-"], read_input=lambda: content)) == ["x/a.wav", "rec/a.wav"]

    def test_nul_keeps_line_ends_in_names(self, here: Path) -> None:
        assert paths(find_library(["-"], read_input=lambda: b"a\nb.wav\0")) == ["a\nb.wav"]

    def test_folders_and_patterns_in_lists(self, here: Path) -> None:
        (here / "list.txt").write_text("x\nrec/old/*.wav\n")
        assert paths(find_library(["@list.txt"])) == ["x/a.wav", "rec/old/b.wav"]

    def test_paths_begin_here_or_beside_the_list(self, here: Path) -> None:
        (here / "rec" / "list.txt").write_text("x/a.wav\nold/b.wav\n*.mp3\ngone.wav\n")
        library = find_library(["@rec/list.txt"])
        assert paths(library) == ["x/a.wav", "rec/old/b.wav", "rec/d.mp3", "gone.wav"]

    def test_a_root_is_where_they_begin(self, here: Path) -> None:
        (here / "list.csv").write_text("fname\na.wav\nold/b.wav\n")
        library = find_library(["@list.csv"], root=Path("rec"))
        assert library.recordings == [
            Recording(Path("rec/a.wav"), "a.wav", ("a.wav",)),
            Recording(Path("rec/old/b.wav"), "old/b.wav", ("old/b.wav",)),
        ]

    def test_a_file_with_the_marks_name(self, here: Path) -> None:
        (here / "@a.wav").touch()
        assert paths(find_library(["@a.wav"])) == ["@a.wav"]

    def test_no_such_list(self, here: Path) -> None:
        with pytest.raises(CollectionError) as caught:
            find_library(["@none.txt"])
        assert str(caught.value) == "none.txt: the list cannot be read (No such file or directory); check its name"

    def test_standard_input_twice(self) -> None:
        with pytest.raises(EarmarkError, match="'-' is named twice; standard input can be read once"):
            find_library(["-", "-"])


class TestTables:
    def test_columns_are_carried(self, here: Path) -> None:
        (here / "list.csv").write_text('site,path,note\nriver,x/a.wav,"a, b"\nwood,rec/a.wav,\n')
        (here / "more.tsv").write_text("fname\tsite\nrec/d.mp3\tfield\n")
        library = find_library(["@list.csv", "@more.tsv", "rec/old/b.wav"])
        assert library.columns == ("site", "note", "fname")
        assert [recording.cells for recording in library.recordings] == [
            ("river", "a, b", ""),
            ("wood", "", ""),
            ("field", "", "rec/d.mp3"),
            ("", "", ""),
        ]

    def test_one_recording_of_which_two_things_are_said(self, here: Path) -> None:
        (here / "list.csv").write_text("path,site\nx/a.wav,river\nx/a.wav,wood\nx/a.wav,river\n")
        assert [recording.cells for recording in find_library(["@list.csv"]).recordings] == [("river",), ("wood",)]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "file\na.wav\n",
                "list.csv: no column 'path'; found 'file'; call the column of the recordings 'path', 'fname'",
            ),
            ("path,score\na.wav,1\n", "list.csv: column 'score' is one that earmark writes itself; rename it"),
            ("a,b\n", "list.csv: no column 'path'"),
            ("path,a\n,1\n", "list.csv line 2: path is empty; expected the path of a recording"),
            ("", "list.csv: is empty; expected a header line with 'path'"),
            ("path,a\na.wav\n", "list.csv line 2: 1 cells; expected 2"),
        ],
    )
    def test_wrong_ones(self, here: Path, text: str, message: str) -> None:
        (here / "list.csv").write_text(text)
        with pytest.raises(CollectionError) as caught:
            find_library(["@list.csv"])
        assert str(caught.value).startswith(message)

    def test_a_table_without_its_mark(self, here: Path) -> None:
        (here / "list.csv").write_text("path\nx/a.wav\n")
        with pytest.raises(EarmarkError) as caught:
            find_library(["list.csv"])
        assert str(caught.value) == "list.csv: is a table, no recording; to tag what it lists, write @list.csv"


class TestPatterns:
    @pytest.mark.parametrize(
        ("include", "exclude", "kept"),
        [
            (["*.wav"], [], ["a.wav", "old/b.wav"]),
            (["*.wav", "*.mp3"], ["old/**"], ["a.wav", "d.mp3"]),
            ([], ["old/"], ["a.wav", "d.mp3"]),
            ([], ["/*.wav"], ["d.mp3", "old/b.wav", "old/c.flac"]),
            (["old/**", "!*.flac"], [], ["old/b.wav"]),
        ],
    )
    def test_as_in_gitignore(self, here: Path, include: list[str], exclude: list[str], kept: list[str]) -> None:
        library = find_library(["rec"], patterns=Patterns(include, exclude))
        assert places(library) == kept
        assert library.n_left_out == 4 - len(kept)

    def test_lists_and_files_too(self, here: Path) -> None:
        library = find_library(["-", "x/a.wav"], patterns=Patterns([], ["rec/"]), read_input=lambda: b"rec/a.wav\n")
        assert (paths(library), library.n_left_out) == (["x/a.wav"], 1)

    def test_all_left_out(self, here: Path) -> None:
        library = find_library(["rec"], patterns=Patterns(["*.aiff"]))
        assert library.recordings == []
        assert [str(error) for error in library.errors] == [
            "all 4 recordings are left out by --include and --exclude; change these"
        ]

    def test_one_without_meaning(self) -> None:
        with pytest.raises(EarmarkError) as caught:
            Patterns(["!"])
        assert str(caught.value) == "pattern '!': Invalid git pattern: '!'; write it as in .gitignore, such as 'old/**'"
