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

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from earmark.serving.app import Service
from earmark.serving.guard import log_to_standard_error
from earmark.serving.listening import opened

FAREWELL_S = 1.0
"""Once nothing new is accepted, for how long those who are connected may still send a request, in seconds."""

HEADERS_S = 10.0
"""How long the first line and the headers of a connection's first request may take, in seconds."""

LOOKS_S = 0.02


class _Protocol(H11Protocol):
    """A connection that is closed when it is opened and then not used."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._beginning = self.loop.call_later(HEADERS_S, self._close_unused)

    def _close_unused(self) -> None:
        cycle: object = self.cycle  # none before the first request
        if cycle is None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._beginning.cancel()
        super().connection_lost(exc)


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
        limit_concurrency=limits.max_connections,
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
