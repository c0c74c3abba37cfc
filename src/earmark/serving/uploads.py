"""Recordings out of a request: its body, or the files of a form."""

from __future__ import annotations

import tempfile
from typing import IO, NamedTuple

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from earmark.serving.limits import MIB
from earmark.serving.problems import Problem

FORM = "multipart/form-data"


class Upload(NamedTuple):
    """A recording's bytes, which whoever takes it must close, and the name that came with it."""

    file: IO[bytes]
    name: str | None


async def receive_one(request: Request) -> Upload:
    """The one recording of a request; `Problem` when there is none, or are several."""
    if not _is_form(request):
        return Upload(await _receive_body(request), None)
    return (await _receive_form(request, 1))[0]


async def receive_several(request: Request, max_files: int) -> list[Upload]:
    """The recordings of a form; `Problem` when there are none, or too many."""
    if not _is_form(request):
        raise Problem(
            "bad-request",
            f"a batch is a form ({FORM}) with a file a recording; got "
            f"'{request.headers.get('content-type', 'no content type')}'; send one recording to /v1/tag",
        )
    return await _receive_form(request, max_files)


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").split(";")[0].strip().lower() == FORM


async def _receive_body(request: Request) -> IO[bytes]:
    spool = tempfile.SpooledTemporaryFile(max_size=MIB)  # noqa: SIM115  # closed by whoever takes it
    try:
        async for chunk in request.stream():
            spool.write(chunk)
    except BaseException:
        spool.close()
        raise
    return spool


async def _receive_form(request: Request, max_files: int) -> list[Upload]:
    try:
        # one more than allowed, so that it is this code that says so
        form = await request.form(max_files=max_files + 1, max_fields=8, max_part_size=1024)
    except (HTTPException, FormParserError, UnicodeDecodeError, ValueError) as error:
        said = error.detail if isinstance(error, HTTPException) else str(error)
        if said.startswith("Too many files"):
            raise _too_many(max_files, f"more than {max_files}") from error
        raise Problem("bad-request", f"the form cannot be read ({said.rstrip('.')}); send it with 'curl -F'") from error
    items = form.multi_items()
    files = [(name, value) for name, value in items if isinstance(value, UploadFile)]
    texts = [name for name, value in items if not isinstance(value, UploadFile)]
    try:
        _check(files, texts, max_files)
    except Problem:
        await form.close()
        raise
    return [Upload(value.file, value.filename) for _, value in files]


def _check(files: list[tuple[str, UploadFile]], texts: list[str], max_files: int) -> None:
    if texts:
        raise Problem(
            "bad-request",
            f"the form has a field '{texts[0][:40]}' that is no file; parameters belong in the address, as in "
            "/v1/tag?top_k=5",
        )
    if not files:
        raise Problem("bad-request", "the form has no file; send one with 'curl -F file=@dog.wav'")
    if len(files) > max_files:
        raise _too_many(max_files, str(len(files)))


def _too_many(max_files: int, got: str) -> Problem:
    hint = "send several to /v1/tag/batch" if max_files == 1 else "send several batches"
    return Problem("too-many-files", f"the form has {got} files; expected at most {max_files}; {hint}")
