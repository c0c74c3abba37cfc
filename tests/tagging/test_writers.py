"""Each format to the letter."""

from __future__ import annotations

import csv
import io
import json

import pytest

from earmark.tagging.tagger import Tag
from earmark.tagging.writers import CSV_HEADER, HEADERS, WRITERS

BARK = Tag("Bark", 0.97654321, 0.0, 4.2)
MEOW = Tag("Meow", 0.5, 0.0, 4.2)


def written(format_: str, path: str, *tags: Tag) -> str:
    return "".join(WRITERS[format_](path, tags))


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("table", "a.wav  Bark 0.98  Meow 0.50\n"),
        ("csv", "a.wav,0.000,4.200,Bark,0.9765\na.wav,0.000,4.200,Meow,0.5000\n"),
        (
            "jsonl",
            '{"path":"a.wav","tags":[{"label":"Bark","score":0.9765,"start_s":0.0,"end_s":4.2},'
            '{"label":"Meow","score":0.5,"start_s":0.0,"end_s":4.2}]}\n',
        ),
    ],
)
def test_two_tags(format_: str, text: str) -> None:
    assert written(format_, "a.wav", BARK, MEOW) == text


@pytest.mark.parametrize(
    ("format_", "text"),
    [("table", "a.wav  (none)\n"), ("csv", "a.wav,,,,\n"), ("jsonl", '{"path":"a.wav","tags":[]}\n')],
)
def test_no_tag(format_: str, text: str) -> None:
    assert written(format_, "a.wav") == text


def test_headers() -> None:
    assert CSV_HEADER == "path,start_s,end_s,tag,score\n"
    assert HEADERS == {"table": "", "csv": CSV_HEADER, "jsonl": ""}
    assert HEADERS.keys() == WRITERS.keys()


@pytest.mark.parametrize("path", ["a, b.wav", 'a "b".wav', "größe/猫.wav", "a\nb.wav", " a .wav"])
def test_any_path_comes_back(path: str) -> None:
    rows = list(csv.DictReader(io.StringIO(CSV_HEADER + written("csv", path, BARK) + written("csv", path))))
    assert [row["path"] for row in rows] == [path, path]
    assert rows[0] == {"path": path, "start_s": "0.000", "end_s": "4.200", "tag": "Bark", "score": "0.9765"}
    assert rows[1] == {"path": path, "start_s": "", "end_s": "", "tag": "", "score": ""}
    lines = written("jsonl", path, BARK).splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["path"] == path


@pytest.mark.parametrize(("score", "text"), [(0.0, "0.0000"), (1.0, "1.0000"), (0.00004, "0.0000"), (2 / 3, "0.6667")])
def test_scores_have_four_decimals(score: float, text: str) -> None:
    assert written("csv", "a", Tag("Bark", score, 0.0, 1.0)) == f"a,0.000,1.000,Bark,{text}\n"


def test_times_have_three_decimals() -> None:
    tag = Tag("Bark", 0.5, 1 / 3, 12_345.6789)
    assert written("csv", "a", tag) == "a,0.333,12345.679,Bark,0.5000\n"
    assert json.loads(written("jsonl", "a", tag))["tags"] == [
        {"label": "Bark", "score": 0.5, "start_s": 0.333, "end_s": 12_345.679}
    ]
