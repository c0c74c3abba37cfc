"""A service on a socket: uvicorn, with an end that loses no request, and a limit to how slowly one may begin."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from earmark.errors import MissingExtraError
from earmark.serving.app import Service
from earmark.serving.guard import log_to_standard_error
from earmark.serving.listening import opened

try:
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
except ModuleNotFoundError as error:
    raise MissingExtraError(f"serving ({error.name})", "serve") from error

FAREWELL_S = 1.0
"""Once nothing new is accepted, for how long those who are connected may still send a request, in seconds."""

HEADERS_S = 10.0
"""How long the first line and the headers of a request may take, in seconds."""

MAX_HEADER_BYTES = 65_536
"""Of the first line and the headers of a request."""

LOOKS_S = 0.02


class _Protocol(HttpToolsProtocol):
    """A connection that may not take for ever to say what it wants, nor say it at any length."""

    _beginning: asyncio.TimerHandle | None = None
    _n_header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._beginning is None:
            return
        self._n_header_bytes += len(data)
        if self._n_header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The headers are longer than {MAX_HEADER_BYTES} bytes.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_headers()

    def on_headers_complete(self) -> None:
        self._forget_headers()
        self.scope["state"]["n_connections"] = len(self.connections)
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_headers()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._forget_headers()
        self._n_header_bytes = 0
        self._beginning = self.loop.call_later(HEADERS_S, self._close_slow)

    def _forget_headers(self) -> None:
        if self._beginning is not None:
            self._beginning.cancel()
            self._beginning = None

    def _close_slow(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        if cycle is None or cycle.response_complete:
            self.transport.close()
        else:  # the request before is still being answered
            self._beginning = self.loop.call_later(HEADERS_S, self._close_slow)


class _Server(uvicorn.Server):
    """Stops in steps: accepts nothing new, answers what is sent on open connections, then closes them."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn when a signal has come."""
        self._service.guard.is_draining = True
        for listening in sockets or []:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        # those that the loop has accepted and not handed on yet would be dropped by a server that is closed
        await asyncio.sleep(LOOKS_S)
        arriving = self._let_in(sockets or [])
        for server in self.servers:
            server.close()
        await asyncio.gather(*arriving)
        end = time.monotonic() + FAREWELL_S
        while self.server_state.connections and time.monotonic() < end:
            await asyncio.sleep(LOOKS_S)
        await super().shutdown(sockets)

    def _let_in(self, sockets: list[socket.socket]) -> list[asyncio.Task[Any]]:
        """Accept whoever waits in the sockets' queues: closing a socket would turn them away unheard."""
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            return _Protocol(self.config, self.server_state, self.lifespan.state)

        arriving = []
        for listening in sockets:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:  # nobody is left
                    break
                connection.setblocking(False)
                arriving.append(loop.create_task(loop.connect_accepted_socket(protocol, connection)))
        return arriving


def serve(service: Service, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer until the process is interrupted or terminated; what is in flight then is finished.

    Parameters
    ----------
    service
        What answers.
    host, port
        Where to listen; port 0 takes any that is free.
    ready
        Called with the address once it answers.

    Raises
    ------
    OSError
        When the port is taken, or the host is not this machine's.
    """
    log_to_standard_error()
    limits = service.limits
    options: dict[str, Any] = {"log_level": "error", "access_log": False, "server_header": False, "ws": "none"}
    config = uvicorn.Config(
        service.app,
        http=_Protocol,
        lifespan="on",
        timeout_graceful_shutdown=int(limits.timeout_s) + 5,
        **options,
    )
    listening, address = opened(host, port)
    with listening:
        server = _Server(config, service)
        with _ended_by_signals(server):
            ready(address)  # who connects already waits in the socket's queue
            server.run(sockets=[listening])


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Make an end by a signal one like any other: uvicorn raises it again when all is done, for whoever was before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
