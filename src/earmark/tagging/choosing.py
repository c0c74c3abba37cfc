"""Which tags a file gets: the best labels, those above a threshold, or events; of one model or several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.errors import EarmarkError
from earmark.tagging.embedding import Embedding, Finding
from earmark.tagging.engine import Engine
from earmark.tagging.events import EventSpec, events, merged
from earmark.tagging.mapping import LabelNames
from earmark.tagging.tagger import AUTO, Tag, Tagger, Threshold, Timeline

EVENT_THRESHOLD = 0.5
"""From what score on an event is given, when none is asked for and the bundle has none of its own."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What tags are wanted.

    Attributes
    ----------
    top_k, threshold
        As for `Tagger.tag`; events go by the threshold alone, without one by the bundle's own, or `EVENT_THRESHOLD`.
    timeline
        How scores over time become events; None for tags of whole files.
    names
        Other names for labels; of one model alone.
    """

    top_k: int = 3
    threshold: Threshold = None
    timeline: EventSpec | None = None
    names: LabelNames | None = None

    def options(self) -> dict[str, Any]:
        """All that tags depend on beside the model, by name, as JSON has it."""
        timeline = None if self.timeline is None else asdict(self.timeline)
        names = self.names.digest if self.names else None
        return {"top": self.top_k, "threshold": self.threshold, "labels": names, "timeline": timeline}


class Chooser:
    """Tags files as is wanted; to be called from several threads at a time.

    Parameters
    ----------
    engine
        With the taggers. Of several, a tag's label begins with the model's name: ``embedded:Bark``. One that embeds
        gives embeddings as well: of whole files, or of each window where there is a timeline.
    choice
        What is wanted.

    Raises
    ------
    BundleError
        When thresholds of a bundle are asked for that has none.
    EarmarkError
        When labels of several models are to have other names.
    """

    def __init__(self, engine: Engine, choice: Choice) -> None:
        self.engine, self.choice = engine, choice
        self._several = len(engine.taggers) > 1
        if self._several and choice.names is not None:
            raise EarmarkError("--labels names the labels of one model; give one --model, or leave --labels out")
        if choice.threshold is not None:
            for tagger in engine.taggers:
                tagger.thresholds(choice.threshold)  # says before all the work that a bundle has none
        self._names = model_names(engine.taggers)

    def __call__(self, path: Path) -> Finding:
        """Tag a file: tags of whole files best first, events by start. `AudioError` when it cannot be read."""
        if self.choice.timeline is not None:
            timelines = self.engine.timelines(path)
            chosen = [self._events(t, timeline) for t, timeline in zip(self.engine.taggers, timelines, strict=True)]
            tags = sorted(self._named(chosen), key=lambda tag: (tag.start_s, -tag.score))
            first = timelines[0]
            if first.embeddings is None:
                return Finding(tags)
            return Finding(tags, Embedding(first.starts_s, first.ends_s, first.embeddings))
        heard, duration_s = self.engine.heard(path)
        scores = [tagger.finished(own)[0] for tagger, own in zip(self.engine.taggers, heard, strict=True)]
        first_tagger = self.engine.taggers[0]
        if not first_tagger.bundle.embeds:
            return Finding(self._tags(scores, duration_s))
        vectors = first_tagger.embedded(heard[0])
        return Finding(self._tags(scores, duration_s), Embedding(np.zeros(1), np.array([duration_s]), vectors))

    def _tags(self, scores: Sequence[np.ndarray], duration_s: float) -> list[Tag]:
        top_k, threshold, names = self.choice.top_k, self.choice.threshold, self.choice.names
        if names is not None:
            return names.choose(self.engine.taggers[0], scores[0], duration_s, top_k=top_k, threshold=threshold)
        return self._named(
            [
                tagger.choose(own, duration_s, top_k=top_k, threshold=threshold)
                for tagger, own in zip(self.engine.taggers, scores, strict=True)
            ]
        )

    def _events(self, tagger: Tagger, timeline: Timeline) -> list[Tag]:
        assert self.choice.timeline is not None
        found = events(timeline, event_thresholds(tagger, self.choice.threshold), self.choice.timeline)
        if self.choice.names is None:
            return found
        renamed = sorted(self.choice.names.rename(found), key=lambda tag: tag.start_s)
        labels = sorted({tag.label for tag in renamed})
        gap_s = self.choice.timeline.max_gap_s
        return [one for label in labels for one in merged([tag for tag in renamed if tag.label == label], gap_s)]

    def _named(self, chosen: Sequence[list[Tag]]) -> list[Tag]:
        if not self._several:
            return chosen[0]
        return [
            replace(tag, label=f"{name}:{tag.label}")
            for name, tags in zip(self._names, chosen, strict=True)
            for tag in tags
        ]


def event_thresholds(tagger: Tagger, threshold: Threshold) -> np.ndarray:
    """From which score on each label is heard, (n_labels,) float32; errors as of `Tagger.thresholds`.

    Without a threshold, those of the bundle, or `EVENT_THRESHOLD` where it has none.
    """
    if threshold is None:
        threshold = EVENT_THRESHOLD if tagger.bundle.spec.thresholds is None else AUTO
    return tagger.thresholds(threshold)


def model_names(taggers: Sequence[Tagger]) -> list[str]:
    """What to call models: their files without suffix, or the folders of runs; of two with one name, by number.

    Commas and colons, which labels could not be told from, become hyphens.
    """
    names = []
    for tagger in taggers:
        path = tagger.bundle.path.absolute()
        name = path.parent.name if path.name == "model.onnx" and path.parent.name else path.stem
        names.append(name.replace(",", "-").replace(":", "-"))
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return numbered
