"""What the API takes and gives, for its OpenAPI description; answers are built as plain dictionaries of this form."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from earmark.serving.problems import KINDS, MEDIA_TYPE
from earmark.serving.scoring import Scored
from earmark.tagging.tagger import Tag

DOG: dict[str, Any] = {"label": "Bark", "score": 0.9712, "start_s": 0.0, "end_s": 4.2}
EXAMPLE: dict[str, Any] = {
    "model": "embedded",
    "duration_s": 4.2,
    "tags": [DOG],
    "n_left_out": 0,
    "timeline": {
        "labels": ["Bark"],
        "starts_s": [0.0, 1.0],
        "ends_s": [4.0, 4.2],
        "scores": [[0.9512, 0.9912]],
    },
}


class TagFields(BaseModel):
    """A label that was heard."""

    label: str
    score: float = Field(ge=0, le=1)
    start_s: float
    end_s: float


class TimelineFields(BaseModel):
    """Scores over time: of each label, a score for each window."""

    labels: list[str]
    starts_s: list[float]
    ends_s: list[float]
    scores: list[list[float]]


class Tagged(BaseModel):
    """What is heard in a recording."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    model: str
    duration_s: float
    tags: list[TagFields] = Field(description="best first")
    n_left_out: int = Field(description="labels above the threshold that are beyond the limit of labels in an answer")
    timeline: TimelineFields | None = Field(default=None, description="of the labels that score highest in any window")


class ProblemFields(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(examples=["urn:earmark:unreadable-recording"])
    title: str
    status: int
    detail: str
    request_id: str | None = None


class OneOfBatch(BaseModel):
    """A file of a batch: its tags, or its problem."""

    name: str | None = Field(description="as it was sent")
    tagged: Tagged | None = None
    problem: ProblemFields | None = None


class Batch(BaseModel):
    """What is heard in several recordings, in the order in which they were sent."""

    results: list[OneOfBatch]
    n_failed: int


class Model(BaseModel):
    """What the server tags with."""

    name: str
    labels: list[str]
    sample_rate: int = Field(description="in Hz")
    window_s: float
    hop_s: float
    has_thresholds: bool = Field(description="whether threshold=auto can be asked for")
    data: str = Field(description="what it was learned from")
    licence: str


class LimitFields(BaseModel):
    """What is taken at the most."""

    max_body_bytes: int
    max_duration_s: float
    max_files: int
    max_labels: int
    timeout_s: float


class Models(BaseModel):
    """What the server tags with, and what it takes."""

    models: list[Model]
    limits: LimitFields
    needs_token: bool


class Health(BaseModel):
    """Whether the server works."""

    status: str


def tag_fields(tag: Tag) -> dict[str, Any]:
    """A tag as JSON has it: scores with 4 decimals, seconds with 3."""
    return {
        "label": tag.label,
        "score": round(tag.score, 4),
        "start_s": round(tag.start_s, 3),
        "end_s": round(tag.end_s, 3),
    }


def timeline_fields(scored: Scored, chosen: list[int]) -> dict[str, Any] | None:
    """The timeline of some labels as JSON has it."""
    timeline = scored.timeline
    if timeline is None:
        return None
    return {
        "labels": [timeline.labels[i] for i in chosen],
        "starts_s": timeline.starts_s.round(3).tolist(),
        "ends_s": timeline.ends_s.round(3).tolist(),
        "scores": timeline.scores[:, chosen].T.astype(float).round(4).tolist(),
    }


def problem_responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The answers of an operation that are problems, for OpenAPI."""
    titles: dict[int, list[str]] = {}
    for kind in kinds:
        titles.setdefault(KINDS[kind][0], []).append(f"{KINDS[kind][1]} (`{kind}`)")
    schema = {"$ref": "#/components/schemas/ProblemFields"}
    return {
        status: {"description": "; ".join(said), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, said in titles.items()
    }
