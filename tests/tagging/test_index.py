"""Tags that are already made: what is kept, what is cut, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from earmark.errors import EarmarkError, RunError
from earmark.tagging.index import Maker, State, TagIndex, journal_path, maker_of, open_index, open_journal
from earmark.tagging.tagger import Tag

MAKER = Maker("0123", {"top": 3, "threshold": None})
TAGS = [Tag("Bark", 0.1 + 0.2, 0.0, 4.2), Tag("größe", 1 / 3, 1.5, 2.5)]


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.wav" for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    return paths


def state(path: Path) -> State:
    found = State.of(path)
    assert found is not None
    return found


def filled(path: Path, sounds: list[Path], maker: Maker = MAKER) -> Path:
    with TagIndex(path, maker) as index:
        for sound in sounds:
            index.add(sound, state(sound), TAGS)
    return path


class TestTagIndex:
    def test_what_is_added_comes_back_to_the_last_digit(self, tmp_path: Path, sounds: list[Path]) -> None:
        path = filled(tmp_path / "index", sounds)
        with TagIndex(path, MAKER) as index:
            assert (index.found, index.n_found) == (MAKER, 3)
            assert all(sound in index for sound in sounds)
            assert [index.finding(sound).tags for sound in reversed(sounds)] == [TAGS] * 3

    def test_while_it_is_written_too(self, tmp_path: Path, sounds: list[Path]) -> None:
        with TagIndex(tmp_path / "index", MAKER) as index:
            index.add(sounds[0], state(sounds[0]), TAGS)
            assert index.finding(sounds[0]).tags == TAGS
            index.add(sounds[1], state(sounds[1]), [])
            assert (index.finding(sounds[1]).tags, index.finding(sounds[0]).tags) == ([], TAGS)

    def test_paths_are_the_same_from_any_folder(
        self, tmp_path: Path, sounds: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = filled(tmp_path / "index", sounds)
        monkeypatch.chdir(tmp_path)
        assert Path("a.wav") in TagIndex(path, MAKER)

    def test_a_changed_file_is_not_known(self, tmp_path: Path, sounds: list[Path]) -> None:
        path = filled(tmp_path / "index", sounds)
        sounds[0].write_text("longer than before")
        os.utime(sounds[1], ns=(0, 12345))
        sounds[2].unlink()
        index = TagIndex(path, MAKER)
        assert [sound in index for sound in sounds] == [False, False, False]

    @pytest.mark.parametrize("cut", [1, 5, 40])
    def test_a_half_line_is_cut(self, tmp_path: Path, sounds: list[Path], cut: int) -> None:
        path = filled(tmp_path / "index", sounds)
        path.write_bytes(path.read_bytes()[:-cut])
        with TagIndex(path, MAKER) as index:
            assert [sound in index for sound in sounds] == [True, True, False]
            index.add(sounds[2], state(sounds[2]), TAGS)
        with TagIndex(path, MAKER) as index:
            assert [index.finding(sound).tags for sound in sounds] == [TAGS] * 3

    @pytest.mark.parametrize("n_bytes", [0, 3, 17, 40])
    def test_killed_while_it_was_made(self, tmp_path: Path, sounds: list[Path], n_bytes: int) -> None:
        path = filled(tmp_path / "index", sounds)
        path.write_bytes(path.read_bytes()[:n_bytes])
        with TagIndex(path, MAKER) as index:
            assert index.found is None
            index.add(sounds[0], state(sounds[0]), TAGS)
        assert TagIndex(path, MAKER).n_found == 1

    def test_another_file_is_not_written_over(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("dear diary\n")
        with pytest.raises(EarmarkError) as caught:
            TagIndex(path, MAKER)
        assert str(caught.value) == f"{path}: is no index of tags; give another name"

    def test_nothing_is_left_of_nothing(self, tmp_path: Path) -> None:
        with TagIndex(tmp_path / "index", MAKER):
            assert (tmp_path / "index").exists()
        assert list(tmp_path.iterdir()) == []

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(EarmarkError, match="there is no folder"), TagIndex(tmp_path / "none" / "index", MAKER):
            pass

    def test_another_process_at_it(self, tmp_path: Path, sounds: list[Path]) -> None:
        pytest.importorskip("fcntl")
        path = filled(tmp_path / "index", sounds)
        with TagIndex(path, MAKER), pytest.raises(EarmarkError) as caught, TagIndex(path, MAKER, anew=True):
            pass
        assert str(caught.value) == f"{path}: another process is at it; wait for it to end, or name another file"
        assert TagIndex(path, MAKER).n_found == 3

    def test_tidy_drops_what_vanished_and_what_was_replaced(self, tmp_path: Path, sounds: list[Path]) -> None:
        path = filled(tmp_path / "index", sounds)
        sounds[0].unlink()
        sounds[1].write_text("changed")
        with TagIndex(path, MAKER) as index:
            index.add(sounds[1], state(sounds[1]), [])
            assert index.tidy() == 1
        assert len(path.read_bytes().splitlines()) == 3
        with TagIndex(path, MAKER) as index:
            assert (index.finding(sounds[1]).tags, index.finding(sounds[2]).tags) == ([], TAGS)

    def test_long_lines(self, tmp_path: Path, sounds: list[Path]) -> None:
        many = [Tag(f"label {i}", i / 7, float(i), i + 1.0) for i in range(5000)]
        with TagIndex(tmp_path / "index", MAKER) as index:
            for sound in sounds:
                index.add(sound, state(sound), many)
            assert index.finding(sounds[1]).tags == many


class TestMaker:
    def test_a_models_bytes_and_all_options(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(b"abc")
        maker = maker_of(tmp_path / "m.onnx", {"top": 3})
        assert maker == Maker("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", {"top": 3})
        assert msgspec.json.decode(msgspec.json.encode(maker), type=Maker) == maker

    def test_differences_in_words(self) -> None:
        other = Maker("4567", {"top": 5, "threshold": 0.5})
        assert MAKER.differences(other) == "another model, threshold=0.5 instead of none, top=5 instead of 3"
        assert MAKER.differences(MAKER) == ""


class TestJournal:
    def test_is_hidden_beside_its_output(self) -> None:
        assert journal_path(Path("a/tags.csv")) == Path("a/.tags.csv.journal")

    def test_resume_takes_it_up(self, tmp_path: Path, sounds: list[Path]) -> None:
        filled(journal_path(tmp_path / "tags.csv"), sounds)
        said: list[str] = []
        assert sounds[0] in open_journal(tmp_path / "tags.csv", MAKER, resume=True, say=said.append)
        assert said == [f"{tmp_path / 'tags.csv'}: 3 recordings of the interrupted call are kept"]

    def test_without_resume_it_is_dropped(self, tmp_path: Path, sounds: list[Path]) -> None:
        filled(journal_path(tmp_path / "tags.csv"), sounds)
        said: list[str] = []
        assert sounds[0] not in open_journal(tmp_path / "tags.csv", MAKER, resume=False, say=said.append)
        assert said == [
            f"{tmp_path / 'tags.csv'}: drops 3 recordings of an interrupted call; --resume would have kept them"
        ]

    def test_nothing_to_take_up(self, tmp_path: Path) -> None:
        said: list[str] = []
        open_journal(tmp_path / "tags.csv", MAKER, resume=True, say=said.append)
        assert said == [f"{tmp_path / 'tags.csv'}: no interrupted call to take up; all is tagged"]

    def test_another_maker_is_refused_and_nothing_is_lost(self, tmp_path: Path, sounds: list[Path]) -> None:
        path = filled(journal_path(tmp_path / "tags.csv"), sounds)
        content = path.read_bytes()
        with pytest.raises(RunError) as caught:
            open_journal(tmp_path / "tags.csv", Maker("0123", {"top": 5, "threshold": None}), resume=True, say=print)
        assert str(caught.value) == (
            f"{tmp_path / 'tags.csv'}: this call has top=5 instead of 3; give the same model and "
            "options, or leave --resume out to begin anew"
        )
        assert path.read_bytes() == content


class TestOpenIndex:
    def test_of_another_maker_all_is_tagged_again(self, tmp_path: Path, sounds: list[Path]) -> None:
        path = filled(tmp_path / "index", sounds)
        said: list[str] = []
        with open_index(path, Maker("4567", dict(MAKER.options)), say=said.append) as index:
            assert sounds[0] not in index
            index.add(sounds[0], state(sounds[0]), [])
        assert said == [f"{path}: this call has another model; all is tagged again"]
        assert TagIndex(path, MAKER).n_found == 1

    def test_of_the_same_nothing_is_said(self, tmp_path: Path, sounds: list[Path]) -> None:
        said: list[str] = []
        assert sounds[0] in open_index(filled(tmp_path / "index", sounds), MAKER, say=said.append)
        assert said == []
