"""A web server on loopback that misbehaves on demand, and counts what it was asked for and what it gave."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

Answer = Callable[["Handler", bytes], None]


@dataclass
class Asked:
    """One request: its path and headers, the status it got, and how many bytes of content were sent."""

    path: str
    headers: dict[str, str]
    status: int = 0
    n_bytes: int = 0


@dataclass
class Loopback:
    """Serves `files` by path; `answers` are used up first, one a request. A context manager."""

    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Loopback:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.loopback = self  # type: ignore[attr-defined]
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{path}"

    def served(self, path: str) -> int:
        """Bytes of content that were sent for a path, over all requests."""
        return sum(asked.n_bytes for asked in self.asked if asked.path == f"/{path}")

    def ranges(self, path: str) -> list[str | None]:
        return [asked.headers.get("Range") for asked in self.asked if asked.path == f"/{path}"]


class Handler(BaseHTTPRequestHandler):
    """Answers one request as `Loopback` says."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.loopback: Loopback = self.server.loopback  # type: ignore[attr-defined]
        self.asked = Asked(self.path, dict(self.headers.items()))
        self.loopback.asked.append(self.asked)
        path = self.path.lstrip("/")
        answers = self.loopback.answers.get(path, [])
        answer = answers.pop(0) if answers else whole
        with contextlib.suppress(ConnectionError):  # the client has gone
            answer(self, self.loopback.files.get(path, b""))

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def give(self, content: bytes) -> None:
        for start in range(0, len(content), 4096):
            chunk = content[start : start + 4096]
            self.wfile.write(chunk)
            self.asked.n_bytes += len(chunk)


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def missing(handler: Handler, content: bytes) -> int | None:
    """Where the client asks to begin; `None` when all is wanted or the file is not the one it has."""
    asked = handler.headers.get("Range")
    condition = handler.headers.get("If-Range")
    if asked is None or (condition is not None and condition != etag(content)):
        return None
    return int(asked.removeprefix("bytes=").removesuffix("-"))


def whole(handler: Handler, content: bytes, stop: int | None = None, **more: str) -> None:
    """As a good server does, with ranges; `stop` is where the content breaks off."""
    if handler.path.lstrip("/") not in handler.loopback.files:
        handler.head(404, {})
        return
    start = missing(handler, content)
    size = len(content)
    if start is not None and start >= size:
        handler.head(416, {"Content-Range": f"bytes */{size}"})
        return
    headers = {"Content-Length": str(size - (start or 0)), "ETag": etag(content), **more}
    if start is not None:
        headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
    handler.head(200 if start is None else 206, headers)
    handler.give(content[start or 0 : stop])


def breaks_off(stop: int) -> Answer:
    return lambda handler, content: whole(handler, content, stop)


def stalls(stop: int) -> Answer:
    def answer(handler: Handler, content: bytes) -> None:
        whole(handler, content, stop)
        handler.wfile.flush()
        handler.loopback.released.wait(20)

    return answer


def all_of_it(stop: int | None = None, **headers: str) -> Answer:
    """Give all, whatever part was asked for."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.head(200, {"Content-Length": str(len(content)), **headers})
        handler.give(content[:stop])

    return answer


def says(status: int, **headers: str) -> Answer:
    return lambda handler, _: handler.head(status, {name.replace("_", "-"): value for name, value in headers.items()})


def other(other_content: bytes) -> Answer:
    return lambda handler, _: whole(handler, other_content)


def part(start: int, tag: str | None = None, **headers: str) -> Answer:
    """Give the rest from a place of the server's choice, whatever was asked for, as of the file of this ETag."""

    def answer(handler: Handler, content: bytes) -> None:
        place = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        handler.head(206, place | ({"ETag": tag} if tag else {}) | headers)
        handler.give(content[start:])

    return answer
