"""From scores over time to events: a label with start and end.

    scores → median over time → hysteresis → runs of windows → gaps closed → short ones dropped

Each window stands for the time that is nearer to its centre than to a neighbour's, so that events of one label never
overlap, however much the windows do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from earmark.tagging.tagger import Tag, Timeline


@dataclass(frozen=True, kw_only=True)
class EventSpec:
    """How scores over time become events.

    Attributes
    ----------
    smooth
        Windows that a median is taken over, an odd number; 1 for none.
    release
        Share of its threshold down to which an event goes on, above 0 and at most 1; 1 for one threshold alone.
    max_gap_s
        Events of one label that are no further apart become one; in seconds.
    min_duration_s
        Events that are shorter are dropped, after gaps are closed; in seconds.

    Raises
    ------
    ValueError
        When a number is out of its range.
    """

    smooth: int = 3
    release: float = 0.5
    max_gap_s: float = 0.0
    min_duration_s: float = 0.0

    def __post_init__(self) -> None:
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise ValueError(f"smooth={self.smooth}; expected an odd number of windows, 1 for no smoothing")
        if not 0 < self.release <= 1:
            raise ValueError(f"release={self.release}; expected a share above 0 and at most 1")
        for name in ("max_gap_s", "min_duration_s"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}={getattr(self, name)}; expected a number of seconds, 0 at the least")


def events(timeline: Timeline, thresholds: np.ndarray, spec: EventSpec | None = None) -> list[Tag]:
    """Find where each label is heard.

    Parameters
    ----------
    timeline
        Scores of windows in order.
    thresholds
        (n_labels,) from which score on a label is heard; infinite for one that never is.
    spec
        Smoothing, hysteresis, gaps, durations; by default `EventSpec()`.

    Returns
    -------
    list of Tag
        By start, then best first; the score is the highest of the smoothed ones within the event.

    Raises
    ------
    ValueError
        When there are not as many thresholds as labels.

    Examples
    --------
    >>> starts = np.arange(4.0)
    >>> scores = np.array([[0.1], [0.9], [0.4], [0.1]])
    >>> events(Timeline(("Bark",), starts, starts + 1, scores), np.array([0.5]), EventSpec(smooth=1))
    [Tag(label='Bark', score=0.9, start_s=1.0, end_s=3.0)]
    """
    spec = spec or EventSpec()
    if thresholds.shape != (len(timeline.labels),):
        raise ValueError(f"thresholds have shape {thresholds.shape}; expected one for each of {len(timeline.labels)}")
    scores = smoothed(timeline.scores, spec.smooth)
    heard = hysteresis(scores, thresholds, spec.release * thresholds)
    bounds = cells(timeline.starts_s, timeline.ends_s)
    found: list[Tag] = []
    for i, label in enumerate(timeline.labels):
        own = [
            Tag(label, float(scores[first:stop, i].max()), float(bounds[first]), float(bounds[stop]))
            for first, stop in runs(heard[:, i])
        ]
        found += [event for event in merged(own, spec.max_gap_s) if _lasts(event, spec.min_duration_s)]
    return sorted(found, key=lambda event: (event.start_s, -event.score))


def smoothed(scores: np.ndarray, n_windows: int) -> np.ndarray:
    """Median of each label's scores over an odd number of windows, the first and last ones repeated beyond the ends.

    Parameters
    ----------
    scores
        (n_windows, n_labels).
    n_windows
        1 for none.

    Returns
    -------
    np.ndarray
        The same shape and type.
    """
    if n_windows == 1 or not len(scores):
        return scores
    from scipy.ndimage import median_filter  # only where it is needed, for a quick start

    median: np.ndarray = median_filter(scores, size=(n_windows, 1), mode="nearest")
    return median


def hysteresis(scores: np.ndarray, on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Where labels are heard: runs of scores of at least `off` that reach `on` somewhere.

    Parameters
    ----------
    scores
        (n_windows, n_labels).
    on, off
        (n_labels,) each, `off` no higher than `on`.

    Returns
    -------
    np.ndarray
        (n_windows, n_labels) bool.
    """
    loud, held = scores >= on, scores >= off
    heard = np.zeros_like(held)
    for i in range(held.shape[1]):
        for first, stop in runs(held[:, i]):
            heard[first:stop, i] = loud[first:stop, i].any()
    return heard


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First place of each run of true flags in (n,), and the place behind its last.

    Examples
    --------
    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def cells(starts_s: np.ndarray, ends_s: np.ndarray) -> np.ndarray:
    """Borders of the time that each window stands for.

    Parameters
    ----------
    starts_s, ends_s
        (n_windows,) in seconds, rising.

    Returns
    -------
    np.ndarray
        (n_windows + 1,): the first start, the middles between neighbouring centres, the last end.
    """
    if not len(starts_s):
        return np.zeros(1)
    centres = (np.asarray(starts_s) + ends_s) / 2
    return np.concatenate([starts_s[:1], (centres[1:] + centres[:-1]) / 2, ends_s[-1:]])


def merged(found: Sequence[Tag], max_gap_s: float) -> list[Tag]:
    """Join events of one label, by start, that overlap or are no further apart than a gap; the best score stays."""
    joined: list[Tag] = []
    for event in found:
        if joined and event.start_s - joined[-1].end_s <= max_gap_s:
            best = max(joined[-1].score, event.score)
            joined[-1] = replace(joined[-1], end_s=max(joined[-1].end_s, event.end_s), score=best)
        else:
            joined.append(event)
    return joined


def _lasts(event: Tag, least_s: float) -> bool:
    # sums of seconds round: a second of five windows may be a hair short of one
    return event.end_s - event.start_s >= least_s - 1e-9
