"""A thin client of the HTTP API: the extra `client`, which is httpx alone.

>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     client.tag("dog.wav", top_k=3)[0].label
'Bark'
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, NamedTuple, Self

from earmark.errors import MissingExtraError, ServingError

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError("the client", "client") from error

TIMEOUT_S = 90.0
N_TRIES = 5

Sound = str | os.PathLike[str] | bytes


class Tag(NamedTuple):
    """A label that was heard, its score in [0, 1], and from when to when in seconds."""

    label: str
    score: float
    start_s: float
    end_s: float


class Timeline(NamedTuple):
    """Scores over time: of each label a score for each window, and where windows begin and end in seconds."""

    labels: list[str]
    starts_s: list[float]
    ends_s: list[float]
    scores: list[list[float]]


class RefusedError(ServingError):
    """The server refused a request.

    Attributes
    ----------
    status
        Of the answer.
    kind
        The problem's, such as ``unreadable-recording``.
    """

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(f"the server refuses ({status} {kind}): {detail}")
        self.status, self.kind = status, kind


class Client:
    """Asks a server that `earmark serve` runs; to be used with `with`, or closed.

    Parameters
    ----------
    address
        Of the server, such as ``http://127.0.0.1:8000``.
    token
        Where the server wants one.
    n_tries
        How often a busy server is asked, each time after the pause that it names.
    transport
        For httpx, in the place of the network.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        n_tries: int = N_TRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._n_tries = n_tries
        self._http = httpx.Client(base_url=address, headers=headers, timeout=TIMEOUT_S, transport=transport)

    def tag(self, sound: Sound, *, top_k: int = 3, threshold: float | Literal["auto"] | None = None) -> list[Tag]:
        """Name what is heard in a recording.

        Parameters
        ----------
        sound
            A path, or the bytes of a file.
        top_k
            How many labels, when there is no threshold.
        threshold
            Give all labels with at least this score instead; ``"auto"`` for the thresholds of the server's model.

        Returns
        -------
        list of Tag
            Best first.

        Raises
        ------
        RefusedError
            When the server refuses: the recording cannot be read, is beyond a limit, the token is wrong.
        ServingError
            When the server cannot be reached.
        OSError
            When the file cannot be read.
        """
        return _tags(self._tagged(sound, {"top_k": top_k, "threshold": threshold}))

    def timeline(self, sound: Sound, *, top_k: int = 10) -> Timeline:
        """Score each window of a recording, for the labels that score highest in any; errors as of `tag`."""
        return Timeline(**self._tagged(sound, {"top_k": top_k, "timeline": True})["timeline"])

    def tag_batch(self, sounds: Sequence[Sound], *, top_k: int = 3) -> list[list[Tag] | RefusedError]:
        """Name what is heard in several recordings at once: the tags of each, or why it has none."""
        with ExitStack() as opened:
            files = [("files", ("recording", opened.enter_context(_opened(sound)))) for sound in sounds]
            said = self._ask("POST", "/v1/tag/batch", params={"top_k": top_k}, files=files)
        return [_tags(one["tagged"]) if one["tagged"] else _refused(one["problem"]) for one in said["results"]]

    def models(self) -> dict[str, Any]:
        """What the server tags with, and its limits."""
        return self._ask("GET", "/v1/models")

    def _tagged(self, sound: Sound, asked: dict[str, Any]) -> dict[str, Any]:
        params = {name: value for name, value in asked.items() if value is not None}
        with _opened(sound) as file:
            return self._ask("POST", "/v1/tag", params=params, files=[("file", ("recording", file))])

    def _ask(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        for i in range(self._n_tries):
            for _, (_, file) in how.get("files", []):
                file.seek(0)
            try:
                response = self._http.request(method, path, **how)
            except httpx.HTTPError as error:
                raise ServingError(
                    f"{self._http.base_url}: cannot be reached ({error}); is 'earmark serve' running there?"
                ) from error
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or i == self._n_tries - 1:
                break
            time.sleep(float(response.headers.get("Retry-After", 1)))
        if response.is_success:
            said: dict[str, Any] = response.json()
            return said
        raise _refused(_problem(response))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _opened(sound: Sound) -> IO[bytes]:
    if isinstance(sound, bytes):
        return io.BytesIO(sound)
    return Path(sound).open("rb")


def _tags(said: dict[str, Any]) -> list[Tag]:
    return [Tag(**tag) for tag in said["tags"]]


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        said: dict[str, Any] = response.json()
    except ValueError:  # of a proxy between
        return {"status": response.status_code, "type": response.reason_phrase, "detail": response.text[:200]}
    return said


def _refused(said: dict[str, Any]) -> RefusedError:
    return RefusedError(said["status"], said["type"].removeprefix("urn:earmark:"), said["detail"])
