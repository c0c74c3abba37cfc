"""The server as a process: the client, hostile senders, and an end under load that loses no request."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from earmark.errors import ServingError
from earmark.serving.client import Client, RefusedError

from .hostile import mutated
from .test_api import sound

Run = Callable[..., tuple[int, str, str]]
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(tiny_bundle: Path, tmp_path: Path) -> Iterator[Start]:
    """Run `earmark serve` on a free port: `start("--max-pending", 4, token="t")` gives the process and its address."""
    made = []

    def begin(*options: object, token: str = "") -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "earmark", "serve", "--model", tiny_bundle, "--port", 0, *options]
        log = (tmp_path / "log").open("w+")
        environment = os.environ | {"EARMARK_TOKEN": token, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen([*map(str, command)], stderr=log, text=True, env=environment)
        made.append((process, log))
        for _ in range(600):
            found = re.search(r"earmark: (http://\S+) ", (tmp_path / "log").read_text())
            if found:
                return process, found[1].rstrip("/")
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)  # two minutes in all, as a machine may have much else to do
        raise AssertionError("the server does not start")

    yield begin
    for process, log in made:
        process.kill()
        process.wait()
        log.close()


def test_the_client(start: Start, tmp_path: Path) -> None:
    _, address = start(token="secret")
    (tmp_path / "high.wav").write_bytes(sound(5000))
    with Client(address, "secret") as client:
        (best,) = client.tag(tmp_path / "high.wav", top_k=1)
        assert (best.label, best.start_s, best.end_s) == ("high", 0.0, 1.0)
        assert [tag.label for tag in client.tag(sound(300), threshold=0.9)] == ["low"]
        timeline = client.timeline(sound(300, 3.0), top_k=2)
        assert timeline.labels[0] == "low"
        assert len(timeline.scores) == 2
        assert len(timeline.scores[0]) == len(timeline.starts_s) == len(timeline.ends_s)
        good, bad = client.tag_batch([sound(1800), b"bad"], top_k=1)
        assert isinstance(good, list)
        assert good[0].label == "mid"
        assert isinstance(bad, RefusedError)
        assert client.models()["models"][0]["labels"] == ["low", "mid", "high"]
        with pytest.raises(RefusedError, match=r"refuses \(422 unreadable-recording\): the recording: cannot"):
            client.tag(b"not a sound")
    with Client(address, "wrong") as client, pytest.raises(RefusedError, match="401 unauthorized") as caught:
        client.models()
    assert (caught.value.status, caught.value.kind) == (401, "unauthorized")
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServingError, match="is 'earmark serve' running there"):
        client.models()


def test_the_client_asks_a_busy_server_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    busy = httpx.Response(
        503, headers={"Retry-After": "2"}, json={"status": 503, "type": "urn:earmark:busy", "detail": "d"}
    )
    answers = [busy, busy, httpx.Response(200, json={"tags": []}), *[busy] * 3]
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return answers.pop(0)

    client = Client("http://earmark", n_tries=3, transport=httpx.MockTransport(answer))
    assert client.tag(b"content") == []
    assert pauses == [2.0, 2.0]
    assert all(b"content" in body for body in bodies)
    with pytest.raises(RefusedError, match="503 busy"):
        client.tag(b"content")
    client.close()


class Hammers:
    """Eight threads that ask a server again and again, with a connection for each request."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.client = httpx.Client(base_url=address, timeout=30, limits=httpx.Limits(max_keepalive_connections=0))
        self.n_sent = 0
        self.answered: list[int] = []
        self.lost: list[tuple[float, str]] = []
        """For each request without an answer: when its last byte had left (endless: it never did), and why."""
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._ask) for _ in range(8)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        content = sound(300, 5.0)
        while self.process.poll() is None:
            sent_at = [math.inf]

            def note(event: str, _info: dict[str, Any], sent_at: list[float] = sent_at) -> None:
                if event == "http11.send_request_body.complete":
                    sent_at.append(time.monotonic())
                    with self.lock:
                        self.n_sent += 1

            try:
                status = self.client.post("/v1/tag", content=content, extensions={"trace": note}).status_code
            except httpx.HTTPError as error:
                with self.lock:
                    self.lost.append((sent_at[-1], repr(error)))
                return
            with self.lock:
                self.answered.append(status)

    def n_answered_while_others_wait(self) -> int:
        while self.process.poll() is None:
            with self.lock:
                if len(self.answered) >= 20 and self.n_sent - len(self.answered) >= 4:
                    return len(self.answered)
            time.sleep(0.001)
        raise AssertionError(self.lost)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(60)
        self.client.close()


def test_every_accepted_request_is_answered_when_it_is_terminated_under_load(start: Start, tmp_path: Path) -> None:
    process, address = start()
    hammers = Hammers(process, address)
    n_before = hammers.n_answered_while_others_wait()
    asked_by = time.monotonic()
    time.sleep(0.02)  # what was sent by then has left the socket's queue; whoever knocks later may find nobody
    process.send_signal(signal.SIGTERM)
    hammers.join()
    assert process.wait(30) == 0
    assert [why for sent_at, why in hammers.lost if sent_at <= asked_by] == []
    assert set(hammers.answered) == {200}
    assert len(hammers.answered) >= n_before + 4
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("earmark-")] == []


def hearers(server: int) -> list[int]:
    """Processes that hear for a server."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == server and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked for as on Linux")
def test_processes_that_hear_are_started_again_and_end_with_the_server(start: Start) -> None:
    server, address = start("--workers", 2, "--max-decodes", 2)
    answers = [httpx.post(f"{address}/v1/tag", content=sound()).json()["tags"]]
    first = hearers(server.pid)
    assert len(first) == 2
    for number in first:
        os.kill(number, signal.SIGKILL)
    answers += [httpx.post(f"{address}/v1/tag", content=sound(), timeout=60).json()["tags"] for _ in range(4)]
    assert all(answer == answers[0] for answer in answers)
    again = hearers(server.pid)
    assert again
    assert not set(again) & set(first)
    server.kill()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{number}").exists() for number in again) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [number for number in again if Path(f"/proc/{number}").exists()]


def test_one_process_answers_the_same(start: Start) -> None:
    asked = []
    for options in ((), ("--one-process",)):
        server, address = start(*options)
        asked.append(httpx.post(f"{address}/v1/tag", content=sound(), timeout=60).json()["tags"])
        assert bool(hearers(server.pid)) == (not options)
        server.kill()
    assert asked[0] == asked[1]


@pytest.mark.parametrize("format_", ["WAV", "FLAC", "OGG", "MP3"])
def test_hostile_bodies(start: Start, format_: str) -> None:
    process, address = start("--max-duration", 60)
    rng = random.Random(0)
    original = sound(300, 1.0, rate=44_100, format_=format_)
    statuses: dict[int, int] = {}
    with httpx.Client(base_url=address, timeout=60) as client:
        for _ in range(60):
            status = client.post("/v1/tag?timeline=true", content=mutated(original, rng)).status_code
            statuses[status] = statuses.get(status, 0) + 1
        assert client.get("/healthz").json() == {"status": "ok"}
    assert set(statuses) <= {200, 413, 422}
    assert statuses.get(422, 0) > 5
    assert process.poll() is None


def test_a_client_that_goes_away_is_no_failure(start: Start, tmp_path: Path) -> None:
    _, address = start()
    host, port = re.findall(r"//(.*):(\d+)", address)[0]
    for kind in (b"audio/wav", b"multipart/form-data; boundary=x"):
        with socket.create_connection((host, int(port))) as leaving:
            head = b"POST /v1/tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + kind
            leaving.sendall(head + b"\r\nContent-Length: 9999\r\n\r\n--x")
            time.sleep(0.3)
    for _ in range(100):
        lines = (tmp_path / "log").read_text().splitlines()[1:]
        if len(lines) == 2:
            break
        time.sleep(0.05)
    said = [json.loads(line) for line in lines]
    assert [(one["event"], one["status"], one["problem"]) for one in said] == [("request", 400, "bad-request")] * 2


def test_connections_that_say_nothing_are_closed(start: Start, tiny_bundle: Path) -> None:
    _, address = start()
    host, port = re.findall(r"//(.*):(\d+)", address)[0]
    from earmark.serving.running import HEADERS_S

    with socket.create_connection((host, int(port)), timeout=HEADERS_S + 20) as slow:
        slow.sendall(b"POST /v1/tag HTTP/1.1\r\nHost: localhost\r\n")
        began = time.monotonic()
        assert slow.recv(100) == b""
        assert HEADERS_S - 1 < time.monotonic() - began < HEADERS_S + 15


def test_headers_without_end_are_refused(start: Start) -> None:
    process, address = start()
    host, port = re.findall(r"//(.*):(\d+)", address)[0]
    with socket.create_connection((host, int(port)), timeout=30) as talking:
        talking.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        said = b""
        for _ in range(100):
            try:
                talking.sendall(b"a" * 10_000)
            except OSError:
                break
        with contextlib.suppress(OSError):
            said = talking.recv(1000)
    assert said == b"" or said.startswith(b"HTTP/1.1 400 ")
    assert process.poll() is None
    assert httpx.get(f"{address}/healthz").status_code == 200


def test_connections_beyond_the_limit_are_told_to_come_back(start: Start) -> None:
    _, address = start("--max-connections", 3)
    host, port = re.findall(r"//(.*):(\d+)", address)[0]
    idle = [socket.create_connection((host, int(port))) for _ in range(3)]
    try:
        refused = httpx.post(f"{address}/v1/tag", content=sound())
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
        assert refused.json()["detail"] == ("4 connections are open, and at most 3 may be; try again in a second")
    finally:
        for each in idle:
            each.close()
    for _ in range(100):
        if httpx.get(f"{address}/healthz").status_code == 200:
            break
        time.sleep(0.05)
    assert httpx.post(f"{address}/v1/tag", content=sound()).status_code == 200


def test_every_limit_is_an_option(start: Start, tmp_path: Path) -> None:
    options = {"--max-body": 0.2, "--max-duration": 5, "--max-files": 2, "--max-labels": 1, "--timeout": 7}
    others = {"--max-channels": 1, "--max-decodes": 1, "--max-pending": 5, "--max-connections": 50, "--workers": 1}
    _, address = start(*(part for pair in (options | others).items() for part in pair))
    with httpx.Client(base_url=address) as client:
        assert client.get("/v1/models").json()["limits"] == {
            "max_body_bytes": 200_000,
            "max_duration_s": 5.0,
            "max_files": 2,
            "max_labels": 1,
            "timeout_s": 7.0,
        }
        stereo = io.BytesIO()
        soundfile.write(stereo, np.zeros((1000, 2)), 16_000, format="WAV")
        assert "2 channels; expected at most 1" in client.post("/v1/tag", content=stereo.getvalue()).json()["detail"]
        three = [("files", ("a", sound()))] * 3
        assert client.post("/v1/tag/batch", files=three).json()["type"] == "urn:earmark:too-many-files"
        assert client.post("/v1/tag", content=sound(duration_s=6.0)).json()["type"] == "urn:earmark:recording-too-long"
        assert client.post("/v1/tag", content=sound(duration_s=7.0)).json()["type"] == "urn:earmark:body-too-large"


def test_beyond_this_machine_it_wants_a_token(run_earmark: Run, monkeypatch: Any) -> None:
    monkeypatch.delenv("EARMARK_TOKEN", raising=False)
    status, out, err = run_earmark("serve", "--host", "0.0.0.0", "--port", 0)
    assert (status, out) == (2, "")
    assert err == (
        "earmark: --host 0.0.0.0 lets others ask, and there is no token; set EARMARK_TOKEN or --token-file, or say "
        "--open-to-all if everybody may\n"
    )


def test_calls_that_cannot_be(run_earmark: Run, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("EARMARK_TOKEN", raising=False)
    (tmp_path / "empty").write_text("\n")
    assert "holds no token" in run_earmark("serve", "--token-file", tmp_path / "empty")[2]
    (tmp_path / "odd").write_text("two words\n")
    assert "a token holds a space" in run_earmark("serve", "--token-file", tmp_path / "odd")[2]
    status, _, err = run_earmark("serve", "--max-pending", 0)
    assert (status, err) == (2, "earmark: max_pending=0; expected at least 1\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = run_earmark("serve", "--port", taken.getsockname()[1])
    assert status == 2
    assert "in use" in err
