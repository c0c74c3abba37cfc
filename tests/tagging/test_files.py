"""Which recordings are meant, and what becomes of many of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.errors import AudioError
from earmark.tagging.files import find_recordings, over_files

NAMES = ("b.wav", "a.FLAC", "deep/er/c.ogg", "deep/d e ü.mp3", "deep/notes.txt", "cover.png", "e.wav.part")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "in" / "folder.wav").mkdir()
    (tmp_path / "empty").mkdir()
    return tmp_path


class TestFindRecordings:
    def test_a_folder_is_searched_to_its_depths(self, folder: Path) -> None:
        found, errors = find_recordings([folder / "in"])
        assert [path.relative_to(folder / "in").as_posix() for path in found] == [
            "a.FLAC",
            "b.wav",
            "deep/d e ü.mp3",
            "deep/er/c.ogg",
        ]
        assert errors == []

    def test_files_stand_as_they_are_named(self, folder: Path) -> None:
        names = [folder / "in" / "cover.png", str(folder / "none.wav"), folder / "in" / "b.wav"]
        assert find_recordings(names) == ([Path(name) for name in names], [])

    def test_nothing_asked_nothing_found(self) -> None:
        assert find_recordings([]) == ([], [])

    def test_a_folder_without_recordings_does_not_stop_the_others(self, folder: Path) -> None:
        found, errors = find_recordings([folder / "empty", folder / "in" / "b.wav"])
        assert found == [folder / "in" / "b.wav"]
        assert [str(error) for error in errors] == [
            f"{folder / 'empty'}: no recordings in this folder; looked for .3gp, .aac, .ac3, .aif, .aifc, .aiff, .amr, "
            ".au, .caf, .flac, .m4a, .m4b, .m4v, .mka, .mkv, .mov, .mp3, .mp4, .oga, .ogg, .opus, .w64, .wav, .webm, "
            ".wma, .wmv"
        ]

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("*.wav", ["b.wav"]),
            ("?.*", ["a.FLAC", "b.wav", "e.wav.part"]),
            ("**/*.[mo]*", ["deep/d e ü.mp3", "deep/er/c.ogg"]),
            ("deep/*", ["deep/d e ü.mp3", "deep/notes.txt"]),
        ],
    )
    def test_patterns_that_no_shell_expanded(self, folder: Path, pattern: str, names: list[str]) -> None:
        found, errors = find_recordings([str(folder / "in" / pattern)])
        assert [path.relative_to(folder / "in").as_posix() for path in found] == names
        assert errors == []

    def test_a_pattern_that_fits_nothing(self, folder: Path) -> None:
        found, errors = find_recordings([folder / "*.aiff"])
        assert found == []
        assert [str(error) for error in errors] == [
            f"{folder / '*.aiff'}: no file matches this pattern; check the folder, or give the folder itself"
        ]

    def test_a_file_whose_name_looks_like_a_pattern(self, folder: Path) -> None:
        path = folder / "take [1].wav"
        path.touch()
        assert find_recordings([path]) == ([path], [])


class TestOverFiles:
    def test_results_are_in_order(self) -> None:
        files = [Path(f"{i}.wav") for i in range(50)]
        for n_workers in (1, 3, None):
            results = list(over_files(lambda path: path.stem, files, n_workers=n_workers))
            assert results == [(path, path.stem) for path in files]

    def test_no_files(self) -> None:
        assert list(over_files(lambda path: path, [])) == []

    def test_a_bad_file_does_not_stop_the_others(self) -> None:
        def read(path: Path) -> str:
            if path.stem == "bad":
                raise AudioError(f"{path}: bad")
            return path.stem

        results = [outcome for _, outcome in over_files(read, [Path("a"), Path("bad"), Path("c")], n_workers=2)]
        assert results[0] == "a"
        assert isinstance(results[1], AudioError)
        assert str(results[1]) == "bad: bad"
        assert results[2] == "c"

    def test_any_other_error_does(self) -> None:
        def fail(path: Path) -> None:
            raise RuntimeError("a defect")

        with pytest.raises(RuntimeError, match="a defect"):
            list(over_files(fail, [Path("a"), Path("b")]))

    @pytest.mark.parametrize("n_workers", [1, 2])
    def test_so_many_at_a_time(self, n_workers: int) -> None:
        names = set()

        def which_thread(_: Path) -> None:
            names.add(threading.current_thread().name)

        list(over_files(which_thread, [Path("a")] * 20, n_workers=n_workers))
        assert len(names) <= n_workers

    def test_files_are_taken_as_they_are_needed(self) -> None:
        taken = []

        def files() -> Iterator[Path]:
            for i in range(1000):
                taken.append(i)
                yield Path(str(i))

        results = over_files(lambda path: path, files(), n_workers=2)
        next(results)
        assert len(taken) == 8
        results.close()


def test_links_that_lead_in_circles_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    recording = tmp_path / "a" / "x.wav"
    recording.write_bytes(b"")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a", target_is_directory=True)
    for path in (tmp_path, tmp_path / "**" / "*.wav", tmp_path / "a" / "**"):
        assert find_recordings([path]) == ([recording], [])
