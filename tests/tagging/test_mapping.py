"""Labels under other names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.audio.decode import decode
from earmark.errors import CollectionError, LabelError
from earmark.tagging.mapping import LabelNames, read_label_names
from earmark.tagging.tagger import Tag, load

LABELS = ("Bark", "Growl", "Meow")
DOG = {"Bark": "dog", "Growl": "dog"}


def tag(label: str, score: float, start_s: float = 0.0) -> Tag:
    return Tag(label, score, start_s, start_s + 1)


class TestRename:
    def test_of_several_labels_with_one_name_the_best_counts(self) -> None:
        tags = [tag("Growl", 0.2), tag("Meow", 0.5), tag("Bark", 0.9)]
        assert LabelNames(DOG).rename(tags) == [tag("dog", 0.9), tag("Meow", 0.5)]

    def test_only_mapped(self) -> None:
        assert LabelNames(DOG, only_mapped=True).rename([tag("Meow", 0.5), tag("Bark", 0.4)]) == [tag("dog", 0.4)]

    def test_events_at_other_times_stay_apart(self) -> None:
        tags = [tag("Bark", 0.9), tag("Growl", 0.8, 5.0)]
        assert LabelNames(DOG).rename(tags) == [tag("dog", 0.9), tag("dog", 0.8, 5.0)]

    def test_a_name_that_is_another_label(self) -> None:
        assert LabelNames({"Growl": "Bark"}).rename([tag("Bark", 0.3), tag("Growl", 0.6)]) == [tag("Bark", 0.6)]

    def test_none(self) -> None:
        assert LabelNames(DOG).rename([]) == []

    def test_digests_tell_names_apart(self) -> None:
        different = [LabelNames(DOG), LabelNames(DOG, True), LabelNames({"Bark": "dog"}), LabelNames({"Bark": "Hund"})]
        assert len({names.digest for names in different}) == 4
        assert LabelNames(dict(reversed(DOG.items()))).digest == LabelNames(DOG).digest


class TestTag:
    @pytest.mark.parametrize(("top_k", "threshold", "n_tags"), [(1, None, 1), (3, None, 2), (1, 0.0, 2), (3, 1.0, 0)])
    def test_labels_are_chosen_by_their_names(
        self, tiny_bundle: Path, write_tone: Callable[..., Path], top_k: int, threshold: float | None, n_tags: int
    ) -> None:
        tagger, path = load(tiny_bundle), write_tone("a.wav", 5000.0)
        names = LabelNames({"low": "not high", "mid": "not high"})
        waveform = decode(path)
        scores = tagger.scores(waveform.samples, waveform.sample_rate)
        tags = names.choose(tagger, scores, waveform.duration_s, top_k=top_k, threshold=threshold)
        assert [tag.label for tag in tags] == ["high", "not high"][:n_tags]
        best = {tag.label: tag.score for tag in tagger.tag(path, top_k=3)}
        expected = [best["high"], max(best["low"], best["mid"])]
        assert [tag.score for tag in tags] == expected[:n_tags]


class TestRead:
    def test_a_table(self, tmp_path: Path) -> None:
        (tmp_path / "map.csv").write_text("label,name,why\nBark,Hund,\nGrowl, Hund ,\n", encoding="utf-8")
        assert read_label_names(tmp_path / "map.csv", LABELS) == LabelNames({"Bark": "Hund", "Growl": "Hund"})

    @pytest.mark.parametrize(
        ("text", "error", "message"),
        [
            (
                "label,name\nBrak,dog\n",
                LabelError,
                "map.csv line 2: label 'Brak' is not one of the model; did you mean",
            ),
            ("label,name\nBark,\n", LabelError, "map.csv line 2: name '' is not usable; expected text in one line"),
            ('label,name\nBark,"a,b"\n', LabelError, "map.csv line 2: name 'a,b' is not usable"),
            ("label,name\nBark,a\nBark,b\n", CollectionError, "map.csv line 3: label 'Bark' stands already on line 2"),
            (
                "label,names\nBark,a\n",
                CollectionError,
                "map.csv: no column 'name'; found 'label', 'names'; did you mean",
            ),
        ],
    )
    def test_wrong_ones(self, tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
        (tmp_path / "map.csv").write_text(text)
        with pytest.raises(error) as caught:
            read_label_names(tmp_path / "map.csv", LABELS)
        assert str(caught.value).startswith(message)
