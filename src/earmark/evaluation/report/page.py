"""The page of a run: everything in one file."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from earmark import __version__
from earmark.atomic import write_text_atomically
from earmark.audio.picture import PictureSpec
from earmark.errors import EarmarkError
from earmark.evaluation.bootstrap import Interval, interval, lwlrap_intervals
from earmark.evaluation.reliability import reliability
from earmark.evaluation.report.charts import curve_charts, reliability_chart
from earmark.evaluation.report.findings import confusions, margins, worst_confusions
from earmark.evaluation.report.media import MOST_BYTES, WaveformOf, sound_uri, spectrogram_uri
from earmark.evaluation.report.results import Results, read_results
from earmark.metrics import lwlrap

N_BEST_AND_WORST = 6
N_BINS = 10
N_CONFUSED_PAIRS = 12
MOST_LABELS_OF_MATRIX = 40
"""A matrix of more labels is too fine to read, and the pairs alone are listed."""

BYTES_PER_CHARACTER = 3 / 4


@dataclass(frozen=True)
class ShownClip:
    """A clip on the page; sound and picture are data URIs, empty where there are none."""

    fname: str
    labels: tuple[str, ...]
    best: tuple[tuple[str, float], ...]
    fold: int
    sound: str
    picture: str


@dataclass(frozen=True)
class ShownLabel:
    """A row of the table of labels: how many clips of how many sources have it, and its part in lwlrap."""

    name: str
    n_clips: int
    n_sources: int
    figure: Interval | None


def write_report(folder: Path, target: Path, waveform_of: WaveformOf) -> list[str]:
    """Write the page of a finished run.

    Parameters
    ----------
    folder
        The run's.
    target
        The `.html` file to write.
    waveform_of
        Gives the sound of a clip; where it raises an `EarmarkError`, the page says so in place of the player.

    Returns
    -------
    list of str
        Why clips have no player, one reason a clip.

    Raises
    ------
    RunError
        When the folder holds no finished run.
    """
    results = read_results(folder)
    front_end = msgspec.convert(tomllib.loads(results.recipe).get("picture", {}), PictureSpec)
    clips = _Clips(results, front_end, waveform_of)
    environment = Environment(
        loader=PackageLoader("earmark.evaluation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    page = environment.get_template("page.html.j2").render(
        results=results,
        version=__version__,
        best=clips.best(),
        worst=clips.worst(),
        silent=clips.reasons,
        recipe=_facts(results.recipe),
        **_findings(results),
    )
    write_text_atomically(target, page)
    return clips.reasons


def _findings(results: Results) -> dict[str, Any]:
    targets, scores, names = results.targets, results.scores, results.labels.names
    groups = results.groups if any(results.groups) else None
    n_sources = len(set(results.groups) - {""}) + results.groups.count("")
    enough = n_sources > 1 and bool(targets.any())
    counts = confusions(targets, scores)
    probable = scores.size > 0 and scores.min() >= 0 and scores.max() <= 1  # logits are no probabilities
    reliable = reliability(targets, scores, N_BINS) if probable else None
    return {
        "lwlrap": interval(lwlrap, targets, scores, groups=groups) if enough else None,
        "labels": _labels(results, groups if enough else None, enough),
        "n_sources": n_sources if groups else 0,
        "pairs": worst_confusions(counts, targets, names, N_CONFUSED_PAIRS),
        "matrix": _matrix(counts, targets) if len(names) <= MOST_LABELS_OF_MATRIX else [],
        "reliability": reliable,
        "reliability_chart": reliability_chart(reliable) if reliable else "",
        "curves": curve_charts(results.curves),
    }


def _labels(results: Results, groups: tuple[str, ...] | None, enough: bool) -> list[ShownLabel]:
    figures = lwlrap_intervals(results.targets, results.scores, groups=groups) if enough else []
    rows = []
    for column, name in enumerate(results.labels):
        having = np.flatnonzero(results.targets[:, column])
        sources = {results.groups[row] or results.fnames[row] for row in having}
        figure = figures[column] if figures and len(having) else None
        rows.append(ShownLabel(name, len(having), len(sources), figure))
    return sorted(rows, key=lambda row: row.figure.value if row.figure else math.inf)


def _matrix(counts: np.ndarray, targets: np.ndarray) -> list[list[tuple[int, float]]]:
    """Counts, with their shares of the row's clips."""
    n_of_label = np.maximum(1, (targets > 0).sum(axis=0))
    return [[(int(n), float(n / total)) for n in row] for row, total in zip(counts, n_of_label, strict=True)]


def _facts(recipe: str) -> list[tuple[str, str]]:
    """A recipe's keys and values, flat, in its order."""

    def flat(table: dict[str, Any], before: str) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        for key, value in table.items():
            rows += flat(value, f"{before}{key}.") if isinstance(value, dict) else [(f"{before}{key}", str(value))]
        return rows

    return flat(tomllib.loads(recipe), "")


def _figure(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


class _Clips:
    """The clips that are shown, whose sounds together stay below a size."""

    def __init__(self, results: Results, front_end: PictureSpec, waveform_of: WaveformOf) -> None:
        self.results, self.front_end, self.waveform_of = results, front_end, waveform_of
        self.reasons: list[str] = []
        self.bytes_left = float(MOST_BYTES)
        margin = margins(results.targets, results.scores)
        order = np.argsort(margin, kind="stable")  # NaN last
        self.order = order[: np.count_nonzero(~np.isnan(margin))]
        self.n_shown = min(N_BEST_AND_WORST, len(self.order) // 2)

    def best(self) -> list[ShownClip]:
        """The clips that were tagged most clearly, the clearest first."""
        return [self._shown(row) for row in self.order[::-1][: self.n_shown]]

    def worst(self) -> list[ShownClip]:
        """The clips whose labels came furthest behind others, the worst first."""
        return [self._shown(row) for row in self.order[: self.n_shown]]

    def _shown(self, row: int) -> ShownClip:
        results, names = self.results, self.results.labels.names
        best = np.argsort(-results.scores[row], kind="stable")[:3]
        sound, picture = self._media(results.fnames[row])
        return ShownClip(
            fname=results.fnames[row],
            labels=tuple(names[i] for i in np.flatnonzero(results.targets[row])),
            best=tuple((names[i], float(results.scores[row, i])) for i in best),
            fold=int(results.folds[row]),
            sound=sound,
            picture=picture,
        )

    def _media(self, fname: str) -> tuple[str, str]:
        try:
            waveform = self.waveform_of(fname)
            picture = spectrogram_uri(waveform, self.front_end)
        except EarmarkError as error:
            self.reasons.append(str(error))
            return "", ""
        sound = sound_uri(waveform, self.front_end.log_mel.sample_rate)
        n_bytes = len(sound) * BYTES_PER_CHARACTER
        if n_bytes > self.bytes_left:
            self.reasons.append(f"{fname}: left out, so that the page stays below {MOST_BYTES / 1e6:g} MB of sounds")
            return "", picture
        self.bytes_left -= n_bytes
        return sound, picture
