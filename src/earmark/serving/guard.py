"""What surrounds every request: its number, its limit of bytes, headers of the answer, a line in the log, counters."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earmark.serving.metrics import Metrics
from earmark.serving.problems import MEDIA_TYPE, Problem

LOGGER = logging.getLogger("earmark.serving")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
"""Of every answer. Nothing but this server's own files is loaded, and no other site may show the page in a frame."""

LINGER_S = 2.0
"""How long the rest of a refused request's body is read and thrown away: a client that still sends would not see the
answer if the connection were closed at once."""


class JsonLines(logging.Formatter):
    """A JSON object a line: `time`, `level`, `event`, and what else is said."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "said", {}),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said)


def log_to_standard_error() -> None:
    """Send the server's log to standard error, a JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


@dataclass
class Exchange:
    """A request and its answer, while it lasts."""

    request_id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    started: float = field(default_factory=time.perf_counter)
    n_bytes: int = 0
    has_body: bool = False
    is_received: bool = False
    is_last: bool = False  # on its connection
    status: int = 0
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def is_unread(self) -> bool:
        """Whether something of the body may still come."""
        return self.has_body and not self.is_received

    def count(self, message: Message) -> None:
        """Note what has come."""
        self.n_bytes += len(message.get("body", b""))
        if not message.get("more_body"):  # a client that has gone sends no more either
            self.is_received = True


class Guard:
    """ASGI middleware around everything else.

    Parameters
    ----------
    app
        What is guarded.
    metrics
        What is counted.
    max_body_bytes
        Of a request. One whose header says more is refused at once; else bytes are counted as they come.
    max_connections
        Open at a time; a request on one beyond is refused. The server says how many there are: `scope["state"]` holds
        `n_connections`.

    Attributes
    ----------
    is_draining
        Set when the server is to stop: each answer then asks its client to close the connection.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int, max_connections: int) -> None:
        self.app, self.metrics = app, metrics
        self.max_body_bytes, self.max_connections = max_body_bytes, max_connections
        self.is_draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        stated = int(headers[b"content-length"]) if headers.get(b"content-length", b"").isdigit() else 0
        exchange = Exchange(has_body=stated > 0 or b"transfer-encoding" in headers)
        state = scope.setdefault("state", {})
        state["exchange"] = exchange
        n_connections = state.get("n_connections", 1)
        exchange.is_last = n_connections > self.max_connections

        async def counted() -> Message:
            message = await receive()
            exchange.count(message)
            if exchange.n_bytes > self.max_body_bytes:
                raise self._too_large()
            return message

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", []), *self._headers(exchange)]
            elif exchange.is_unread and not message.get("more_body"):
                await send({**message, "more_body": True})
                await _linger(receive, exchange, 2 * self.max_body_bytes)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        self.metrics.in_flight.inc()
        try:
            if n_connections > self.max_connections:
                await _refuse(self._too_many(n_connections), exchange, headed)
            elif stated > self.max_body_bytes:
                await _refuse(self._too_large(), exchange, headed)
            else:
                await self.app(scope, counted, headed)
        finally:
            self.metrics.in_flight.dec()
            self._note(scope, exchange)

    def _too_many(self, n_connections: int) -> Problem:
        self.metrics.refused.labels("connections").inc()
        return Problem(
            "busy",
            f"{n_connections} connections are open, and at most {self.max_connections} may be; try again in a second",
        )

    def _too_large(self) -> Problem:
        self.metrics.refused.labels("body").inc()
        megabytes = self.max_body_bytes / 1e6
        return Problem(
            "body-too-large",
            f"the request is larger than {self.max_body_bytes} bytes ({megabytes:.3g} MB), which is the limit here; "
            "send a shorter recording, or a compressed one (FLAC, Ogg, MP3)",
        )

    def _headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        closing = [(b"connection", b"close")] if exchange.is_last or self.is_draining or exchange.is_unread else []
        return [*HEADERS, (b"x-request-id", exchange.request_id.encode()), *closing]

    def _note(self, scope: Scope, exchange: Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        # the pattern of the address: what somebody typed is not kept, and does not make a counter of its own
        route = str(getattr(scope.get("route"), "path", "") or "(none)")
        method = scope["method"] if scope["method"] in {"GET", "HEAD", "POST", "OPTIONS"} else "(other)"
        self.metrics.requests.labels(method, route, str(exchange.status)).inc()
        self.metrics.request_s.labels(route).observe(seconds)
        said = {
            "request_id": exchange.request_id,
            "method": method,
            "route": route,
            "status": exchange.status,
            "duration_ms": round(1000 * seconds, 1),
            "received_bytes": exchange.n_bytes,
            **exchange.said,
        }
        LOGGER.info("request", extra={"said": said})


async def _linger(receive: Receive, exchange: Exchange, n_most: int) -> None:
    """Throw away what still comes of a body, for some time and up to a number of bytes."""
    try:
        async with asyncio.timeout(LINGER_S):
            while exchange.is_unread and exchange.n_bytes < n_most:
                exchange.count(await receive())
    except TimeoutError:
        pass


async def _refuse(problem: Problem, exchange: Exchange, send: Send) -> None:
    content = json.dumps({**problem.fields(), "request_id": exchange.request_id}).encode()
    exchange.said["problem"] = problem.kind
    said = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(content)), **problem.headers()}
    headers = [(name.lower().encode(), value.encode()) for name, value in said.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
