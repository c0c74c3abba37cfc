"""The audit page's server: hands out clips to listen to, and keeps what is decided."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Literal

from earmark.audio.picture import PictureSpec
from earmark.data.selection import Correction
from earmark.errors import AudioError, CollectionError, DecisionError, LabelError, MissingExtraError
from earmark.evaluation.audit.decisions import Decisions
from earmark.evaluation.audit.findings import Audit
from earmark.evaluation.audit.page import PLAYED, page_data, page_html, sound_bytes, spectrogram_png, state_fields
from earmark.serving.listening import LOOPBACK, opened

try:
    import uvicorn
    from fastapi import FastAPI, HTTPException, Response
    from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
    from pydantic import BaseModel
    from starlette.middleware.trustedhost import TrustedHostMiddleware
except ModuleNotFoundError as error:
    raise MissingExtraError(f"serving ({error.name})", "audit") from error

N_PICTURES_HELD = 64


class Decided(BaseModel):
    """What the page sends: a decision, and the number of the one that it saw."""

    fname: str
    seen: int
    action: Literal["keep", "drop", "relabel"] | None
    labels: list[str] = []
    why: str = ""


def create_app(audit: Audit, spec: PictureSpec, decisions: Decisions, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """The server of one run's audit.

    Parameters
    ----------
    audit
        The clips to be listened to, with the places of their recordings.
    spec
        The front end of the run.
    decisions
        Entered; where decisions are kept.
    hosts
        Names under which it may be asked.
    """
    app = FastAPI(title="earmark audit", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    _add_clips(app, audit, spec)

    @app.get("/", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        data = page_data(audit, spec, decisions.snapshot(), served=True)
        return HTMLResponse(page_html(data), headers={"Cache-Control": "no-store"})

    @app.get("/decisions")
    def state() -> dict[str, Any]:
        return state_fields(decisions.snapshot())

    @app.post("/decisions")
    def decide(decided: Decided) -> JSONResponse:
        status, said = _carried_out(decisions, decided)
        return JSONResponse({**said, **state()}, status_code=status)

    @app.get("/corrections.csv")
    def corrections() -> Response:
        headers = {"Content-Disposition": "attachment; filename=corrections.csv"}
        return Response(decisions.text(), media_type="text/csv; charset=utf-8", headers=headers)

    return app


def _carried_out(decisions: Decisions, decided: Decided) -> tuple[int, dict[str, str]]:
    """Status and message of a decision: kept, out of date, or one that cannot be."""
    try:
        correction = None
        if decided.action is not None:
            correction = Correction(decided.fname, decided.action, tuple(decided.labels), decided.why)
        decisions.decide(decided.fname, decided.seen, correction)
    except DecisionError as error:
        return 409, {"error": str(error)}
    except (CollectionError, LabelError) as error:
        return 422, {"error": str(error)}
    except OSError as error:
        return 507, {"error": f"{error.filename or decisions.path}: {error.strerror or error}"}
    return 200, {}


def _add_clips(app: FastAPI, audit: Audit, spec: PictureSpec) -> None:
    """Sounds and pictures by the clip's number."""

    def recording(number: int) -> Any:
        if not 0 <= number < len(audit.findings):
            raise HTTPException(404, f"no clip {number}; there are {len(audit.findings)}")
        return audit.findings[number].clip.path

    @lru_cache(maxsize=N_PICTURES_HELD)
    def drawn(number: int) -> bytes:
        return spectrogram_png(recording(number), spec)

    @app.get("/sounds/{number}")
    def sound(number: int) -> Response:
        path = recording(number)
        media_type = PLAYED.get(path.suffix.lower())
        if media_type and path.is_file():
            return FileResponse(path, media_type=media_type)  # answers to ranges, so that the player can jump
        return Response(_readable(lambda: sound_bytes(path)), media_type="audio/wav")

    @app.get("/pictures/{number}.png")
    def picture(number: int) -> Response:
        headers = {"Cache-Control": "max-age=3600"}
        return Response(_readable(lambda: drawn(number)), media_type="image/png", headers=headers)


def _readable(make: Callable[[], bytes]) -> bytes:
    try:
        return make()
    except (AudioError, OSError) as error:
        raise HTTPException(404, str(error)) from None


def serve(app: FastAPI, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer until the process is interrupted.

    Parameters
    ----------
    app
        From `create_app`.
    host, port
        Where to listen; port 0 takes any that is free.
    ready
        Called with the page's address once it can be opened.

    Raises
    ------
    OSError
        When the port is taken.
    """
    listening, address = opened(host, port)
    with listening:
        ready(address)  # who connects already waits in the socket's queue
        # a tab that is left open may keep a sound's connection for ever; it is not waited for
        config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1)
        with suppress(KeyboardInterrupt):  # uvicorn raises it once more when it has ended
            uvicorn.Server(config).run(sockets=[listening])
