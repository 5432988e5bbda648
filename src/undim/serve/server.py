"""uvicorn, with what it lacks: a time for each request's head, problems as answers, and an end in good order."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import sys
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from undim.errors import UsageError
from undim.serve.app import make_app
from undim.serve.guard import HEAD_BYTES, SlowClientError
from undim.serve.log import Log, LogHandler
from undim.serve.problems import MEDIA_TYPE, ProblemError
from undim.serve.service import Service
from undim.serve.settings import Settings

IDLE = 15
"""Seconds that a connection may lie idle between two requests."""
BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: if the address is not one of this machine's, or is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"{host}:{port} is not an address to listen on: {error.strerror}.") from error
    try:
        if sys.platform != "win32":  # there it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"{host}:{port} cannot be listened on: {error.strerror}. Another port may be free.", code="port"
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def serve(settings: Settings, listener: socket.socket, log: Log) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is in work.

    Raises:
        UndimError: if the default model cannot be loaded.
    """
    app = make_app(settings, log)
    service: Service = app.state.service
    handlers = {
        "uvicorn": logging.NullHandler(),
        "uvicorn.error": LogHandler(log),
        "python_multipart": logging.NullHandler(),  # what is wrong with a form is told to its sender
    }
    for name, handler in handlers.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.ERROR)
    _Server(app, service).run(sockets=[listener])
    if service.failure is not None:
        raise service.failure


class _Server(uvicorn.Server):
    """Ends in good order: what is in work is finished within a time, the rest is told."""

    def __init__(self, app: FastAPI, service: Service) -> None:
        settings = service.settings

        def protocol(*arguments: Any, **options: Any) -> _Protocol:  # noqa: ANN401 - uvicorn's
            return _Protocol(*arguments, patience=settings.patience, **options)

        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,  # type: ignore[arg-type]  # called as the class would be
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=HEAD_BYTES,
                timeout_keep_alive=IDLE,
                timeout_graceful_shutdown=2,
            )
        )
        self._service = service
        self._grace = settings.grace
        self._asked = 0
        self._ends = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """A signal: the first asks for an end in good order, the second for one at once."""
        self._asked += 1
        if self._asked > 1:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to end, ten times a second."""
        if self._service.failure is not None:
            return True
        if self._asked and not self._service.stopping:
            self._service.stop()
            self._ends = asyncio.get_running_loop().time() + self._grace
        if self._service.stopping:
            late = asyncio.get_running_loop().time() > self._ends
            if late:
                self._service.give_up()
            if late or not self._service.inside:
                return True
        return await super().on_tick(counter)


class _Protocol(H11Protocol):
    """HTTP/1.1 of a client that gets so long for a request's head, and whose connection ends where it takes nothing."""

    def __init__(self, *arguments: Any, patience: float, **options: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*arguments, **options)
        self._patience = patience
        self._late: asyncio.TimerHandle | None = None
        self.app = self._ending(self.app)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # each piece of an answer waits until the one before has left
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        else:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        self._stop_waiting()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP, or too long a head, as a problem."""
        error = sys.exception()
        status = getattr(error, "error_status_hint", 400)
        self._refuse(ProblemError(431 if status == 431 else 400, msg))

    def _ending(self, app: ASGIApp) -> ASGIApp:
        """The application; a client that it gives up loses what it did not take, which closing would wait for."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            except SlowClientError:
                self.transport.abort()
                await self.flow.drain()  # until the connection has ended

        return answer

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self._patience, self._give_up)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self._refuse(ProblemError(408, f"The request's head did not come within {self._patience:g} seconds."))

    def _refuse(self, problem: ProblemError) -> None:
        """Answer where the connection still allows it, and close it."""
        body = problem.body()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = h11.Response(status_code=problem.status, headers=headers)
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self.loop.call_later(self._patience, self.transport.abort)
