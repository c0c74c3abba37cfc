"""The HTTP API in this process: what it answers, each limit, tokens, counters, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from earmark.errors import ServingError
from earmark.serving import recordings
from earmark.serving.app import Service, Settings
from earmark.serving.limits import Limits
from earmark.tagging.tagger import load

RATE = 16_000
Calls = Callable[[httpx.AsyncClient], Awaitable[Any]]


def sound(frequency_hz: float = 300.0, duration_s: float = 1.0, *, rate: int = RATE, format_: str = "WAV") -> bytes:
    """A tone as a file's bytes; 300 Hz is `low` to the tiny bundle, 1800 Hz `mid`, 5000 Hz `high`."""
    time_s = np.arange(round(duration_s * rate)) / rate
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.5 * np.sin(2 * np.pi * frequency_hz * time_s), rate, format=format_)
    return buffer.getvalue()


@pytest.fixture
def ask(tiny_bundle: Path) -> Callable[..., Any]:
    """Run calls against a service: `ask(calls, limits={...}, tokens=("t",))` gives what `calls(client)` gives."""

    def run(calls: Calls, *, limits: dict[str, Any] | None = None, **settings: Any) -> Any:
        service = Service(
            load(tiny_bundle, n_threads=1),
            Settings(Limits(**(limits or {})), hosts=("earmark",), model="tiny", **settings),
        )

        async def within() -> Any:
            transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
            async with (
                service.api.router.lifespan_context(service.api),
                httpx.AsyncClient(transport=transport, base_url="http://earmark") as client,
            ):
                client.service = service  # type: ignore[attr-defined]
                return await calls(client)

        return asyncio.run(within())

    return run


def post(path: str = "/v1/tag", **how: Any) -> Calls:
    async def calls(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(path, **how)

    return calls


def get(path: str, **how: Any) -> Calls:
    async def calls(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get(path, **how)

    return calls


def problem(response: httpx.Response, status: int, kind: str) -> str:
    """Check that an answer is a problem of a kind; gives its detail."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert (said["type"], said["status"]) == (f"urn:earmark:{kind}", status)
    assert said["request_id"] == response.headers["x-request-id"]
    return said["detail"]


@pytest.mark.parametrize("format_", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("way", ["body", "as text", "form", "nameless form"])
def test_a_recording_is_tagged(
    ask: Callable[..., Any], way: str, format_: str, tmp_path: Path, tiny_bundle: Path
) -> None:
    content = sound(1800, format_=format_)
    how: dict[str, Any] = {
        "body": {"content": content},
        "as text": {"content": content, "headers": {"Content-Type": "text/plain"}},
        "form": {"files": {"file": ("a.mp4", content)}},
        "nameless form": {"files": {"any": ("x", content)}},
    }[way]
    response = ask(post("/v1/tag?top_k=2", **how))
    assert response.status_code == 200
    said = response.json()
    (tmp_path / "a").write_bytes(content)
    expected = load(tiny_bundle).tag(tmp_path / "a", top_k=2)
    assert (said["model"], said["n_left_out"], said["timeline"]) == ("tiny", 0, None)
    assert said["duration_s"] == pytest.approx(expected[0].end_s, abs=1e-3)
    assert [tag["label"] for tag in said["tags"]] == [tag.label for tag in expected]
    assert said["tags"][0]["label"] == "mid"
    assert [tag["score"] for tag in said["tags"]] == pytest.approx([tag.score for tag in expected], abs=1e-4)


def test_the_scores_are_the_taggers_own(ask: Callable[..., Any], tmp_path: Path, tiny_bundle: Path) -> None:
    content = sound(300, 2.7, rate=44_100)
    said = ask(post("/v1/tag?top_k=3&timeline=true", content=content)).json()
    (tmp_path / "a.wav").write_bytes(content)
    tagger = load(tiny_bundle)
    tags = tagger.tag(tmp_path / "a.wav")
    assert [tag["score"] for tag in said["tags"]] == pytest.approx([tag.score for tag in tags], abs=1e-4)
    timeline = tagger.timeline(tmp_path / "a.wav")
    assert said["timeline"]["starts_s"] == pytest.approx(timeline.starts_s.tolist(), abs=1e-3)
    assert said["timeline"]["ends_s"] == pytest.approx(timeline.ends_s.tolist(), abs=1e-3)
    columns = [tagger.labels.index(label) for label in said["timeline"]["labels"]]
    np.testing.assert_allclose(np.array(said["timeline"]["scores"]).T, timeline.scores[:, columns], atol=1e-4)


def test_a_threshold_gives_those_above(ask: Callable[..., Any]) -> None:
    said = ask(post("/v1/tag?threshold=0.9&timeline=true", content=sound(5000))).json()
    assert [tag["label"] for tag in said["tags"]] == ["high"]
    assert said["timeline"]["labels"] == ["high"]


def test_an_answer_says_what_it_leaves_out(ask: Callable[..., Any]) -> None:
    said = ask(post("/v1/tag?threshold=0&timeline=true", content=sound()), limits={"max_labels": 1}).json()
    assert (len(said["tags"]), said["n_left_out"], len(said["timeline"]["labels"])) == (1, 2, 1)


def test_a_batch_is_tagged_in_order_and_names_what_failed(ask: Callable[..., Any]) -> None:
    files = [("files", ("low.wav", sound(300))), ("files", ("bad.wav", b"none")), ("files", ("high.wav", sound(5000)))]
    said = ask(post("/v1/tag/batch?top_k=1", files=files)).json()
    assert said["n_failed"] == 1
    assert [one["name"] for one in said["results"]] == ["low.wav", "bad.wav", "high.wav"]
    assert [one["tagged"] and one["tagged"]["tags"][0]["label"] for one in said["results"]] == ["low", None, "high"]
    assert said["results"][1]["problem"]["type"] == "urn:earmark:unreadable-recording"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("top_k=0", "top_k=0: input should be greater than or equal to 1"),
        ("top_k=101", "top_k=101: input should be less than or equal to 100"),
        ("threshold=2", "threshold=2: "),
        ("threshold=nan", "threshold=nan: input should be a finite number"),
        ("threshold=auto", "threshold=auto: the model has no thresholds of its own; give a number from 0 to 1"),
        ("timeline=maybe", "timeline=maybe: "),
    ],
)
def test_parameters_out_of_range(ask: Callable[..., Any], query: str, says: str) -> None:
    assert problem(ask(post(f"/v1/tag?{query}", content=sound())), 422, "bad-parameter").startswith(says)


def test_bodies_that_are_no_recording(ask: Callable[..., Any]) -> None:
    said = problem(ask(post(content=b"")), 422, "unreadable-recording")
    assert said == "the recording: is empty (0 bytes); fetch or export it again"
    said = problem(ask(post(content=b"not a sound at all")), 422, "unreadable-recording")
    assert said.startswith("the recording: cannot be read as audio (")
    said = problem(ask(post(content=sound()[:-400])), 422, "unreadable-recording")
    assert said.startswith("the recording: cut short")


def test_forms_that_are_not_as_expected(ask: Callable[..., Any]) -> None:
    one, two = [("file", ("a", sound()))], [("file", ("a", sound())), ("file", ("b", sound()))]
    assert "send several to /v1/tag/batch" in problem(ask(post(files=two)), 413, "too-many-files")
    assert "field 'top_k'" in problem(ask(post(files=one, data={"top_k": "5"})), 400, "bad-request")
    headers = {"Content-Type": "multipart/form-data"}
    assert "cannot be read" in problem(ask(post(content=b"--x", headers=headers)), 400, "bad-request")
    empty = ask(post(content=b"--x--\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"}))
    assert "has no file" in problem(empty, 400, "bad-request")
    said = problem(ask(post("/v1/tag/batch", content=sound())), 400, "bad-request")
    assert said.startswith("a batch is a form (multipart/form-data) with a file a recording; got 'no content type'")
    many = ask(post("/v1/tag/batch", files=one * 3), limits={"max_files": 2})
    assert "3 files; expected at most 2" in problem(many, 413, "too-many-files")


async def _endless(n_chunks: int) -> AsyncIterator[bytes]:
    for _ in range(n_chunks):
        yield b"\0" * 1000


@pytest.mark.parametrize("stated", [True, False], ids=["stated", "chunked"])
def test_a_body_beyond_the_limit(ask: Callable[..., Any], stated: bool) -> None:
    response = ask(post(content=b"\0" * 20_000 if stated else _endless(20)), limits={"max_body_bytes": 10_000})
    assert problem(response, 413, "body-too-large").startswith("the request is larger than 10000 bytes (0.01 MB)")
    assert response.headers["connection"] == "close"


def test_a_small_file_that_decodes_to_hours_is_refused_on_the_way(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(3 * 3600 * 8000, dtype=np.int16), 8000, format="FLAC")
    assert len(buffer.getvalue()) < 300_000
    decoded = []
    check = recordings._check_duration
    monkeypatch.setattr(recordings, "_check_duration", lambda s, limits: (decoded.append(s), check(s, limits)))
    response = ask(post(content=buffer.getvalue()), limits={"max_duration_s": 30.0})
    assert "longer than 30 s" in problem(response, 413, "recording-too-long")
    assert decoded[-1] <= 30 + recordings.BLOCK_S


def _with_rate(rate: int) -> bytes:
    content = bytearray(sound())
    content[24:28] = rate.to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize("rate", [1, 999, 4_000_000_000])
def test_a_lie_about_the_rate(ask: Callable[..., Any], rate: int) -> None:
    said = problem(ask(post(content=_with_rate(rate))), 422, "unreadable-recording")
    assert f"{rate} Hz; expected 1000 to 768000" in said or "cannot be read" in said


def test_too_many_channels(ask: Callable[..., Any]) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((RATE, 17)), RATE, format="WAV")
    assert "17 channels" in problem(ask(post(content=buffer.getvalue())), 422, "unreadable-recording")


async def _slow() -> AsyncIterator[bytes]:
    yield sound()[:1000]
    await asyncio.sleep(30)


def test_a_slow_sender_is_not_waited_for(ask: Callable[..., Any]) -> None:
    said = problem(ask(post(content=_slow()), limits={"timeout_s": 0.2}), 408, "too-slow")
    assert said == "the request did not arrive within 0.2 s, the limit here"


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Decoding stands still until this event is set."""
    event, original = threading.Event(), recordings.stream

    def waiting(*arguments: Any, **options: Any) -> Any:
        event.wait(30)
        return original(*arguments, **options)

    monkeypatch.setattr(recordings, "stream", waiting)
    return event


def test_an_answer_that_takes_too_long(ask: Callable[..., Any], held: threading.Event) -> None:
    async def calls(client: Any) -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        late = await client.post("/v1/tag", content=sound())
        # its place is taken until its work is done
        refused = await client.post("/v1/tag", content=sound())
        held.set()
        while client.service.batcher.n_pending:
            await asyncio.sleep(0.01)
        return late, refused, await client.post("/v1/tag", content=sound())

    late, refused, answered = ask(calls, limits={"timeout_s": 1.0, "max_pending": 1, "max_files": 1})
    assert problem(late, 503, "timeout").startswith("no answer within 1 s")
    assert late.headers["retry-after"] == "5"
    problem(refused, 503, "busy")
    assert answered.status_code == 200


def test_past_the_queue_one_is_told_to_come_back(ask: Callable[..., Any], held: threading.Event) -> None:
    async def calls(client: Any) -> list[httpx.Response]:
        waiting = [asyncio.create_task(client.post("/v1/tag", content=sound())) for _ in range(4)]
        while client.service.batcher.n_pending < 4:
            await asyncio.sleep(0.01)
        beyond = [await client.post("/v1/tag", content=sound()), await client.get("/readyz")]
        held.set()
        return [*beyond, *await asyncio.gather(*waiting), await client.get("/readyz")]

    busy, not_ready, *answered = ask(calls, limits={"max_pending": 4, "max_files": 1, "max_decodes": 2})
    assert problem(busy, 503, "busy") == (
        "4 recordings are in work or waiting, and at most 4 may be; try again in a second"
    )
    assert busy.headers["retry-after"] == "1"
    problem(not_ready, 503, "busy")
    assert [response.status_code for response in answered] == [200] * 5


def test_no_more_is_decoded_at_a_time_than_is_allowed(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    lock, now, most = threading.Lock(), 0, 0
    original = recordings.read

    def counted(*arguments: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        try:
            threading.Event().wait(0.02)
            return original(*arguments)
        finally:
            with lock:
                now -= 1

    monkeypatch.setattr("earmark.serving.hearing.read", counted)

    async def calls(client: Any) -> list[httpx.Response]:
        return await asyncio.gather(*(client.post("/v1/tag", content=sound()) for _ in range(12)))

    answered = ask(calls, limits={"max_decodes": 3})
    assert [response.status_code for response in answered] == [200] * 12
    assert most == 3


def test_requests_share_calls_of_the_network_under_load(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, go = [], threading.Event()
    from earmark.tagging.tagger import Tagger

    original = Tagger.score_windows

    def noted(self: Tagger, cut: np.ndarray) -> np.ndarray:
        sizes.append(len(cut))
        go.wait(30)
        return original(self, cut)

    monkeypatch.setattr(Tagger, "score_windows", noted)
    frequencies = [300, 1800, 5000] * 4

    async def calls(client: Any) -> list[str]:
        asked = [asyncio.create_task(client.post("/v1/tag", content=sound(hz))) for hz in frequencies]
        counted = client.service.metrics.registry.get_sample_value
        while counted("earmark_decoding_seconds_count") < len(frequencies):
            await asyncio.sleep(0.01)
        go.set()
        return [response.json()["tags"][0]["label"] for response in await asyncio.gather(*asked)]

    assert ask(calls, limits={"n_workers": 1, "max_decodes": 2}) == ["low", "mid", "high"] * 4
    assert sum(sizes) == 24  # two windows each
    assert len(sizes) <= 5  # the first ones, who had no company, and then eight at a time


def test_a_network_that_fails_is_a_failure_of_the_server(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: object, cut: np.ndarray) -> np.ndarray:
        raise MemoryError("none left")

    monkeypatch.setattr("earmark.tagging.tagger.Tagger.score_windows", fails)
    response = ask(post(content=sound()))
    said = problem(response, 500, "internal")
    assert "none left" not in said
    assert response.headers["x-request-id"] in said


def test_tokens(ask: Callable[..., Any]) -> None:
    tokens = ("first-secret", "second-secret")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic first-secret"}):
        for calls in (post(content=sound(), headers=headers), get("/v1/models", headers=headers)):
            response = ask(calls, tokens=tokens)
            problem(response, 401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
        problem(ask(get("/metrics", headers=headers), tokens=tokens), 401, "unauthorized")
    for token in tokens:
        assert ask(post(content=sound(), headers={"Authorization": f"Bearer {token}"}), tokens=tokens).is_success
    assert ask(get("/healthz"), tokens=tokens).json() == {"status": "ok"}


def test_models_and_limits_are_told(ask: Callable[..., Any]) -> None:
    said = ask(get("/v1/models"), limits={"max_body_bytes": 5_000_000}).json()
    (model,) = said["models"]
    assert (model["name"], model["labels"], model["sample_rate"]) == ("tiny", ["low", "mid", "high"], RATE)
    assert (model["window_s"], model["hop_s"], model["has_thresholds"]) == (1.0, 0.5, False)
    assert (said["limits"]["max_body_bytes"], said["needs_token"]) == (5_000_000, False)


def test_what_is_not_there(ask: Callable[..., Any]) -> None:
    problem(ask(get("/v2/tag")), 404, "not-found")
    response = ask(get("/v1/tag"))
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"
    assert ask(get("/", headers={"Host": "evil.example"})).status_code == 400


def test_what_is_counted(ask: Callable[..., Any]) -> None:
    async def calls(client: Any) -> str:
        for content in (sound(), sound(), b"bad"):
            await client.post("/v1/tag", content=content)
        await client.get("/some/secret/address")
        return (await client.get("/metrics")).text

    lines = ask(calls).splitlines()
    assert 'earmark_requests_total{method="POST",route="/v1/tag",status="200"} 2.0' in lines
    assert 'earmark_requests_total{method="POST",route="/v1/tag",status="422"} 1.0' in lines
    assert 'earmark_requests_total{method="GET",route="(none)",status="404"} 1.0' in lines
    assert "earmark_audio_seconds_total 2.0" in lines
    assert "earmark_recordings_pending 0.0" in lines
    assert "earmark_batch_recordings_count 2.0" in lines
    assert not any("secret" in line for line in lines)


@pytest.mark.parametrize("log_names", [False, True])
def test_the_log_has_names_only_when_asked(
    ask: Callable[..., Any], caplog: pytest.LogCaptureFixture, log_names: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "earmark.serving")
    monkeypatch.setattr(logging.getLogger("earmark.serving"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("earmark.serving"), "handlers", [])  # a server before this one set its own
    for content in (sound(), b"bad"):
        ask(post(files={"file": ("diary.wav", content)}), log_names=log_names)
    said = [record.said for record in caplog.records]
    assert [one["status"] for one in said] == [200, 422]
    assert said[0]["audio_s"] == 1.0
    assert said[1]["problem"] == "unreadable-recording"
    assert ("diary" in json.dumps(said)) == log_names


def test_nothing_is_left_on_the_disk(ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []

    async def calls(client: Any) -> None:
        long = sound(duration_s=60)  # too long to stay in memory
        assert len(long) > 1_500_000
        for content in (long, sound(), b"bad", long[:-5]):
            await client.post("/v1/tag", content=content)
            await client.post("/v1/tag/batch", files=[("files", ("a", content)), ("files", ("b", content))])
            seen.append([path for path in tmp_path.rglob("*") if path.is_file()])

    ask(calls)
    assert seen == [[]] * 4
    assert list(tmp_path.iterdir()) == []


def test_openapi_has_examples_and_problems(ask: Callable[..., Any]) -> None:
    said = ask(get("/openapi.json")).json()
    tag = said["paths"]["/v1/tag"]["post"]
    assert set(tag["requestBody"]["content"]) == {"multipart/form-data", "application/octet-stream"}
    assert {"200", "400", "401", "408", "413", "422", "503"} <= set(tag["responses"])
    assert list(tag["responses"]["413"]["content"]) == ["application/problem+json"]
    assert said["components"]["schemas"]["Tagged"]["examples"][0]["tags"][0]["label"] == "Bark"
    assert "ProblemFields" in said["components"]["schemas"]


def test_limits_that_cannot_be() -> None:
    with pytest.raises(ServingError, match=r"^max_pending=0; expected at least 1$"):
        Limits(max_pending=0)
    with pytest.raises(ServingError, match=r"^timeout_s=0; expected more than 0$"):
        Limits(timeout_s=0)
    with pytest.raises(ServingError, match=r"^max_duration_s=nan; expected more than 0$"):
        Limits(max_duration_s=float("nan"))
    with pytest.raises(ServingError, match="max_files=32 is more than max_pending=8"):
        Limits(max_pending=8)
