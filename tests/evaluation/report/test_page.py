from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from earmark.errors import CollectionError, RunError
from earmark.evaluation.report import page
from earmark.evaluation.report.page import write_report
from earmark.labels import Vocabulary
from earmark.metrics import evaluate
from earmark.predictions import Predictions

ROOT = Path(__file__).parents[3]
RATE = 16_000
LABELS = ("Bark", "<script>alert('x')</script>", 'a "quoted" & other')
RECIPE = """
name = "tiny <b>"
[picture.log_mel]
sample_rate = 16000
n_mels = 24
fmax = 8000.0
"""


def sound(_: str) -> np.ndarray:
    return np.sin(np.arange(RATE) / 8).astype(np.float32)


@pytest.fixture
def finished(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A run's folder as training leaves it, of 24 clips in two folds; names and labels are not fit for HTML."""
    folder = tmp_path / "run"
    names = tuple(f"<i>{i}</i> & co.wav" for i in range(24))
    targets = np.eye(3)[np.arange(24) % 3]
    scores = (0.6 * targets + 0.4 * rng.random(targets.shape)).astype(np.float32)
    scores[0] = [0.1, 0.9, 0.2]
    for fold in range(2):
        (folder / f"fold-{fold}").mkdir(parents=True)
        rows = "0,5,0.6,,0.001,10\n1,10,0.4,0.8,0.001,10\n"
        (folder / f"fold-{fold}" / "metrics.csv").write_text(
            "epoch,step,train_loss,validation_lwlrap,lr,clips_per_s\n" + rows
        )
    Predictions(names, Vocabulary(LABELS), scores).write(folder / "predictions.csv")
    (folder / "folds.csv").write_text("fname,fold\n" + "".join(f"{n},{i % 2}\n" for i, n in enumerate(names)))
    quoted = [label.replace('"', '""') for label in LABELS]
    rows = "".join(f'{n},"{quoted[i % 3]}",source{i // 2}\n' for i, n in enumerate(names))
    (folder / "clips.csv").write_text("fname,labels,group\n" + rows)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "metrics.json").write_text(
        json.dumps({**evaluate(targets, scores, LABELS), "folds": {"map": [0.5, 1.0]}})
    )
    return folder


class Elements(HTMLParser):
    """The names of elements, what they link to, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_but_itself(finished: Path, tmp_path: Path) -> None:
    assert write_report(finished, tmp_path / "report.html", sound) == []
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    found = Elements(text)
    assert found.links
    assert all(link.startswith("data:") for link in found.links)
    assert "http" not in re.sub(r"data:[^\"]*", "", text)
    assert found.names.count("audio") == found.names.count("img") == 12
    assert found.names.count("svg") == 3


def test_names_and_labels_are_text_whatever_they_hold(finished: Path, tmp_path: Path) -> None:
    write_report(finished, tmp_path / "report.html", sound)
    found = Elements((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "script" not in found.names
    assert found.names.count("i") == len(LABELS)  # the bars, and none of a file's name
    for said in (*LABELS, "<i>0</i> & co.wav", "tiny <b>"):
        assert said in found.text


def test_figures_are_those_of_the_run(finished: Path, tmp_path: Path) -> None:
    write_report(finished, tmp_path / "report.html", sound)
    text = Elements((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert f"{json.loads((finished / 'metrics.json').read_text())['lwlrap']:.3f}lwlrap" in text
    assert "They come from 12 recordings" in text
    worst = text[text.index("The worst clips") :]
    assert worst.index("<i>0</i> & co.wav") < worst.index("fold")
    assert "1 of 8" in text[text.index("What is confused") : text.index("Are scores")]


def test_recordings_that_are_gone_are_said_to_be(finished: Path, tmp_path: Path) -> None:
    def gone(name: str) -> np.ndarray:
        raise CollectionError(f"{name}: no such file")

    reasons = write_report(finished, tmp_path / "report.html", gone)
    found = Elements((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(reasons) == 12
    assert "audio" not in found.names
    assert found.text.count("The recording is not at hand.") == 12
    assert reasons[0] in found.text


def test_sounds_have_room_for_so_much(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_BYTES", 8_000)
    reasons = write_report(finished, tmp_path / "report.html", sound)
    found = Elements((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert 0 < found.names.count("audio") < 12
    assert len(reasons) == 12 - found.names.count("audio")
    assert sum(len(link) for link in found.links if link.startswith("data:audio")) < 8_000 * 4 / 3 + 200


@pytest.mark.parametrize("missing", ["predictions.csv", "recipe.toml"])
def test_a_run_that_is_not_finished_is_refused(finished: Path, missing: str) -> None:
    (finished / missing).unlink()
    with pytest.raises(RunError, match=f"holds no {missing}, so there is no finished run to report on"):
        write_report(finished, finished / "report.html", sound)
    assert not (finished / "report.html").exists()


def test_the_command_writes_it_into_the_run(finished: Path, run_earmark: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = run_earmark("report", finished)
    assert (status, out.strip()) == (0, str(finished / "report.html"))
    assert "12 clips have no player" in err
    assert "nothing says where the recording is; name the collection with --data" in err


def test_the_template_is_in_the_wheel(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")  # which builds it without the network
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", str(tmp_path), "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(tmp_path / "wheels")], check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    assert "earmark/evaluation/report/page.html.j2" in zipfile.ZipFile(wheel).namelist()
