"""The HTTP API, and the page that uses it."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from earmark import __version__
from earmark.errors import BundleError, MissingExtraError
from earmark.serving.batching import Batcher, ThreadBatcher
from earmark.serving.guard import LOGGER, Exchange, Guard
from earmark.serving.limits import Limits
from earmark.serving.listening import LOOPBACK
from earmark.serving.metrics import Metrics
from earmark.serving.problems import MEDIA_TYPE, Problem
from earmark.serving.scoring import Scored
from earmark.serving.spreading import ProcessBatcher
from earmark.tagging.tagger import Tagger

try:
    import python_multipart  # noqa: F401  # Starlette needs it for forms
    from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
    from pydantic import Field
    from starlette.exceptions import HTTPException
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import ClientDisconnect
    from starlette.staticfiles import StaticFiles

    from earmark.serving import schemas
    from earmark.serving.uploads import FORM, Upload, receive_one, receive_several
except ModuleNotFoundError as error:
    raise MissingExtraError(f"serving ({error.name})", "serve") from error

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_BEARER = HTTPBearer(auto_error=False, description="when the server was started with tokens")


@dataclass(frozen=True)
class Settings:
    """How a server is set up.

    Attributes
    ----------
    limits
        What it takes.
    tokens
        One of which every request for the API must bring, where there are any.
    hosts
        Names under which it may be asked.
    model
        What answers call the model.
    log_names
        Whether the log may hold the names of files.
    loads
        What processes that hear give to `earmark.tagging.tagger.load`, to load the same tagger; None for threads.
    """

    limits: Limits = field(default_factory=Limits)
    tokens: tuple[str, ...] = ()
    hosts: tuple[str, ...] = LOOPBACK
    model: str = "embedded"
    log_names: bool = False
    loads: str | Path | None = None


@dataclass(frozen=True)
class Asked:
    """What a request wants to know."""

    top_k: int
    threshold: float | Literal["auto"] | None
    timeline: bool


class Service:
    """A tagger behind HTTP.

    Parameters
    ----------
    tagger
        Best loaded with one thread.
    settings
        See `Settings`.

    Attributes
    ----------
    app
        The ASGI application.
    guard
        Its outermost part.
    """

    def __init__(self, tagger: Tagger, settings: Settings) -> None:
        self.tagger, self.settings, self.limits = tagger, settings, settings.limits
        self.metrics = Metrics()
        self.batcher: Batcher | None = None
        self.api = self._api()
        self.app: Any = Guard(self.api, self.metrics, self.limits.max_body_bytes, self.limits.max_connections)
        self.guard: Guard = self.app

    def _api(self) -> FastAPI:
        app = FastAPI(
            title="earmark",
            summary="Puts names to sounds.",
            version=__version__,
            docs_url=None,  # their pages load programs from other servers
            redoc_url=None,
            lifespan=self._lifespan,
        )
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(self.settings.hosts), www_redirect=False)
        app.add_exception_handler(Problem, _answer_problem)
        app.add_exception_handler(RequestValidationError, _answer_invalid)
        app.add_exception_handler(HTTPException, _answer_http)
        app.add_exception_handler(ClientDisconnect, _answer_gone)
        app.add_exception_handler(Exception, _answer_failure)
        app.include_router(self._v1())
        self._add_states(app)
        _add_page(app)
        describe = app.openapi

        def openapi() -> dict[str, Any]:
            said = describe()
            said["components"]["schemas"].setdefault("ProblemFields", schemas.ProblemFields.model_json_schema())
            return said

        app.openapi = openapi  # type: ignore[method-assign]
        return app

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        with self._new_batcher() as batcher:
            self.batcher = batcher
            yield
            self.batcher = None

    def _new_batcher(self) -> Batcher:
        if self.settings.loads is None:
            return ThreadBatcher(self.tagger, self.limits, self.metrics)
        return ProcessBatcher(self.settings.loads, self.limits, self.metrics)

    def _v1(self) -> APIRouter:
        common = schemas.problem_responses(
            *("bad-request", "unauthorized", "too-slow", "body-too-large", "recording-too-long", "too-many-files"),
            *("unreadable-recording", "bad-parameter", "busy", "timeout"),
        )
        router = APIRouter(prefix="/v1", dependencies=[Depends(self._checked_token())], tags=["v1"])
        asked = Depends(self._asked())

        @router.post("/tag", response_model=schemas.Tagged, responses=common, openapi_extra=_body(several=False))
        async def tag(request: Request, asked: Asked = asked) -> Response:
            """Name what is heard in one recording: the body of the request, or the file of a form."""
            return _json(await self._tag(request, asked))

        @router.post("/tag/batch", response_model=schemas.Batch, responses=common, openapi_extra=_body(several=True))
        async def tag_batch(request: Request, asked: Asked = asked) -> Response:
            """Name what is heard in several recordings; one that cannot be read does not harm the others."""
            return _json(await self._tag_batch(request, asked))

        @router.get("/models", response_model=schemas.Models, responses=schemas.problem_responses("unauthorized"))
        async def models() -> Response:
            """What the server tags with, and what it takes."""
            return _json(self._models())

        return router

    def _asked(self) -> Any:
        most = self.limits.max_labels
        n_labels = Query(min(3, most), ge=1, le=most, description="labels, when there is no threshold")

        # not a plain function, which would be called in a thread
        async def asked(
            top_k: int = n_labels,
            threshold: Annotated[
                Share | Literal["auto"] | None,
                Query(description="give all labels with at least this score instead; auto: the bundle's own"),
            ] = None,
            timeline: Annotated[bool, Query(description="give scores over time as well")] = False,
        ) -> Asked:
            try:
                if threshold is not None:
                    self.tagger.thresholds(threshold)
            except BundleError:
                raise Problem(
                    "bad-parameter",
                    "threshold=auto: the model has no thresholds of its own; give a number from 0 to 1",
                ) from None
            return Asked(top_k, threshold, timeline)

        return asked

    def _checked_token(self) -> Any:
        tokens = [token.encode() for token in self.settings.tokens]

        async def checked(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
            said = given.credentials.encode() if given else b""
            # all of them are compared, so that time tells nothing
            if tokens and not sum([hmac.compare_digest(said, token) for token in tokens]):
                self.metrics.refused.labels("token").inc()
                raise Problem(
                    "unauthorized", "expected the header 'Authorization: Bearer TOKEN' with a token that is known"
                )

        return checked

    async def _tag(self, request: Request, asked: Asked) -> dict[str, Any]:
        exchange, batcher = _exchange(request), self._running()
        batcher.check_room()
        async with self._in_time() as arrived:
            upload = await receive_one(request)
            arrived()
            (scored,) = await self._scored(batcher, [upload], asked, exchange)
        if isinstance(scored, Problem):
            raise scored
        return self._fields(scored, asked)

    async def _tag_batch(self, request: Request, asked: Asked) -> dict[str, Any]:
        exchange, batcher = _exchange(request), self._running()
        batcher.check_room()
        async with self._in_time() as arrived:
            uploads = await receive_several(request, self.limits.max_files)
            arrived()
            said = await self._scored(batcher, uploads, asked, exchange)
        results = [
            {"name": upload.name, "tagged": None, "problem": {**one.fields(), "request_id": exchange.request_id}}
            if isinstance(one, Problem)
            else {"name": upload.name, "tagged": self._fields(one, asked), "problem": None}
            for upload, one in zip(uploads, said, strict=True)
        ]
        return {"results": results, "n_failed": sum(isinstance(one, Problem) for one in said)}

    async def _scored(
        self, batcher: Batcher, uploads: list[Upload], asked: Asked, exchange: Exchange
    ) -> list[Scored | Problem]:
        if self.settings.log_names:
            exchange.said["names"] = [upload.name for upload in uploads]
        said = await batcher.score([upload.file for upload in uploads], timeline=asked.timeline)
        for one in said:
            if isinstance(one, Problem) and one.kind == "recording-too-long":
                self.metrics.refused.labels("duration").inc()
        seconds = sum(one.duration_s for one in said if isinstance(one, Scored))
        exchange.said |= {"n_recordings": len(said), "audio_s": round(seconds, 2)}
        return said

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[Any]:
        """Hold a request to its time; what is given is called when all of it has arrived."""
        limit, has_arrived = self.limits.timeout_s, False

        def arrived() -> None:
            nonlocal has_arrived
            has_arrived = True

        try:
            async with asyncio.timeout(limit):
                yield arrived
        except TimeoutError:
            self.metrics.refused.labels("time").inc()
            if has_arrived:
                raise Problem("timeout", f"no answer within {limit:g} s, the limit here; try again later") from None
            raise Problem("too-slow", f"the request did not arrive within {limit:g} s, the limit here") from None

    def _running(self) -> Batcher:
        if self.batcher is None:
            raise Problem("busy", "the server starts or stops; try again in a second")
        return self.batcher

    def _fields(self, scored: Scored, asked: Asked) -> dict[str, Any]:
        most = self.limits.max_labels
        tags = self.tagger.choose(scored.scores, scored.duration_s, top_k=asked.top_k, threshold=asked.threshold)
        return {
            "model": self.settings.model,
            "duration_s": round(scored.duration_s, 3),
            "tags": [schemas.tag_fields(tag) for tag in tags[:most]],
            "n_left_out": max(0, len(tags) - most),
            "timeline": schemas.timeline_fields(scored, self._shown(scored, asked)),
        }

    def _shown(self, scored: Scored, asked: Asked) -> list[int]:
        """Labels of a timeline: those that score highest in any of its windows, chosen as the tags of a clip are."""
        if scored.timeline is None:
            return []
        highest = scored.timeline.scores.max(axis=0)
        chosen = np.argsort(-highest, kind="stable")
        if asked.threshold is None:
            chosen = chosen[: asked.top_k]
        else:
            chosen = chosen[(highest >= self.tagger.thresholds(asked.threshold))[chosen]]
        return [int(i) for i in chosen[: self.limits.max_labels]]

    def _models(self) -> dict[str, Any]:
        spec, frame_rate = self.tagger.bundle.spec, self.tagger.picture_spec.log_mel.frame_rate
        model = {
            "name": self.settings.model,
            "labels": list(self.tagger.labels),
            "sample_rate": self.tagger.sample_rate,
            "window_s": spec.window_frames / frame_rate,
            "hop_s": spec.hop_frames / frame_rate,
            "has_thresholds": spec.thresholds is not None,
            "data": spec.data,
            "licence": spec.licence,
        }
        limits = {name: getattr(self.limits, name) for name in schemas.LimitFields.model_fields}
        return {"models": [model], "limits": limits, "needs_token": bool(self.settings.tokens)}

    def _add_states(self, app: FastAPI) -> None:
        @app.get("/healthz", response_model=schemas.Health, tags=["state"])
        async def healthz() -> Response:
            """Whether the process answers."""
            return _json({"status": "ok"})

        @app.get("/readyz", response_model=schemas.Health, tags=["state"], responses=schemas.problem_responses("busy"))
        async def readyz() -> Response:
            """Whether a recording would be taken now: not while the server stops, nor when its queue is full."""
            if self.guard.is_draining:
                raise Problem("busy", "the server stops")
            self._running().check_room()
            return _json({"status": "ok"})

        token = Depends(self._checked_token())
        unauthorized = schemas.problem_responses("unauthorized")
        plain: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

        @app.get(
            "/metrics", dependencies=[token], tags=["state"], response_class=Response, responses=plain | unauthorized
        )
        async def metrics() -> Response:
            """Counters for Prometheus."""
            return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_page(app: FastAPI) -> None:
    web = Path(str(resources.files("earmark.serving") / "web"))
    page = (web / "index.html").read_bytes()

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    app.mount("/web", StaticFiles(directory=web), name="web")


def _body(*, several: bool) -> dict[str, Any]:
    """What an operation takes, for OpenAPI."""
    binary = {"type": "string", "format": "binary"}
    if several:
        form = {"type": "object", "properties": {"files": {"type": "array", "items": binary}}, "required": ["files"]}
        return {"requestBody": {"required": True, "content": {FORM: {"schema": form}}}}
    form = {"type": "object", "properties": {"file": binary}, "required": ["file"]}
    content = {FORM: {"schema": form}, "application/octet-stream": {"schema": binary}}
    return {"requestBody": {"required": True, "content": content}}


def _json(fields: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(fields), status, media_type="application/json")


def _exchange(request: Request) -> Exchange:
    exchange: Exchange = request.scope["state"]["exchange"]
    return exchange


def _problem_response(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    exchange = _exchange(request)
    exchange.said["problem"] = problem.kind
    content = msgspec.json.encode({**problem.fields(), "request_id": exchange.request_id})
    return Response(content, problem.status, problem.headers() | (headers or {}), MEDIA_TYPE)


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _problem_response(request, error)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name, got = str(first["loc"][1] if len(first["loc"]) > 1 else first["loc"][0]), str(first.get("input"))[:40]
    said = first["msg"][:1].lower() + first["msg"][1:]
    return _problem_response(request, Problem("bad-parameter", f"{name}={got}: {said}"))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "bad-request")
    detail = {
        "not-found": "there is no such address; see /openapi.json for those that there are",
        "method-not-allowed": f"{request.method} is not taken here; see /openapi.json",
    }.get(kind, str(error.detail))
    return _problem_response(request, Problem(kind, detail), dict(error.headers or {}))


async def _answer_gone(request: Request, error: Exception) -> Response:
    # nobody reads it; the log and the counters have it
    return _problem_response(request, Problem("bad-request", "the connection ended before the request did"))


async def _answer_failure(request: Request, error: Exception) -> Response:
    exchange = _exchange(request)
    LOGGER.error("failure", extra={"said": {"request_id": exchange.request_id}}, exc_info=error)
    return _problem_response(
        request, Problem("internal", f"the server's log says more under request_id {exchange.request_id}")
    )
