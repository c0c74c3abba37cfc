"""What goes wrong with a request, as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from typing import Any

import msgspec

MEDIA_TYPE = "application/problem+json"

KINDS = {
    "unauthorized": (401, "No valid token"),
    "not-found": (404, "Nothing here"),
    "method-not-allowed": (405, "This address does not take that method"),
    "too-slow": (408, "The request took too long to arrive"),
    "body-too-large": (413, "The request is too large"),
    "recording-too-long": (413, "The recording is too long"),
    "too-many-files": (413, "Too many files"),
    "bad-request": (400, "The request cannot be understood"),
    "unreadable-recording": (422, "The recording cannot be read"),
    "bad-parameter": (422, "A parameter is not as expected"),
    "internal": (500, "The server failed"),
    "busy": (503, "The server is busy"),
    "timeout": (503, "The answer took too long"),
}
"""Each kind of problem with its status and its title; the kind is the end of the problem's `type`."""

RETRY_AFTER_S = {"busy": 1, "timeout": 5}


class Problem(Exception):  # noqa: N818  # RFC 9457's own word
    """A request that is refused, or could not be answered.

    Parameters
    ----------
    kind
        One of `KINDS`.
    detail
        What was got, what was expected, what to do about it.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail
        self.status, self.title = KINDS[kind]

    def __reduce__(self) -> tuple[type[Problem], tuple[str, str]]:
        return Problem, (self.kind, self.detail)  # for processes that tell each other

    def fields(self) -> dict[str, Any]:
        """The problem's members for JSON."""
        return {"type": f"urn:earmark:{self.kind}", "title": self.title, "status": self.status, "detail": self.detail}

    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        if self.kind in RETRY_AFTER_S:
            return {"Retry-After": str(RETRY_AFTER_S[self.kind])}
        return {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}

    def body(self) -> bytes:
        """The problem as JSON."""
        return msgspec.json.encode(self.fields())
