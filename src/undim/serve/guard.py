"""What every request passes first: its shape, its token, its speed; and what every answer carries."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from undim.errors import UndimError
from undim.serve.log import Log
from undim.serve.metrics import Metrics
from undim.serve.problems import ProblemError

OPEN = ("/", "/healthz", "/readyz", "/openapi.json")
"""What needs no token, beside the page's own files."""
PAGE = "/page/"
HEAD_BYTES = 32 * 1024
"""Of a request's head at most."""
SLOWEST = 10_000
"""Bytes a second, on average, that a client sends and takes at least, once its patience is used up."""
PIECE = 64 * 1024
"""Bytes of an answer that are handed to the server at a time."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", POLICY.encode()),
)
"""Of every answer."""


class SlowClientError(Exception):
    """A client takes its answer too slowly."""


class Guard:
    """ASGI around the application.

    Args:
        app: what answers.
        token: what requests must bear; None for nothing.
        patience: seconds without progress after which a client is given up.
        cors: web origins whose pages may read what is refused here.
        metrics: counts.
        log: writes.
    """

    def __init__(
        self, app: ASGIApp, *, token: str | None, patience: float, cors: Sequence[str], metrics: Metrics, log: Log
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._patience = patience
        self._cors = cors
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._patience)
        try:
            self._check(scope)
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except ProblemError as problem:
            await self._refuse(exchange, problem)
        except SlowClientError:
            exchange.status = exchange.status or 499
            exchange.scope["undim.code"] = "slow"
            raise
        except ClientDisconnect:  # nobody waits for an answer
            exchange.status = exchange.status or 499
        except asyncio.CancelledError:
            exchange.status = exchange.status or 499
            raise
        except Exception as error:
            self._log.line("fault", "error", fault=_where(error))
            exchange.scope["undim.code"] = "fault"
            if not exchange.status:
                detail = "Something failed in Undim; please report it with the service's log."
                await self._refuse(exchange, ProblemError(500, detail, "fault"))
        finally:
            self._tell(exchange)

    def _check(self, scope: Scope) -> None:
        # The server bounds only what has come without its end.
        head = len(scope["raw_path"] or b"") + len(scope["query_string"])
        if head + sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES:
            detail = f"The request's head has more than the {HEAD_BYTES} bytes that are taken."
            raise ProblemError(431, detail, "head", {"Connection": "close"})
        names = [name for name, _ in scope["headers"]]
        if names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
            raise ProblemError(
                400, "The request tells the length of its body more than once.", "lengths", {"Connection": "close"}
            )
        path = scope["path"]
        if self._token is None or path in OPEN or path.startswith(PAGE) or scope["method"] == "OPTIONS":
            return
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        if not (hmac.compare_digest(token.strip(), self._token) and scheme.lower() == b"bearer"):
            detail = "This service wants a token: send the header Authorization: Bearer TOKEN."
            raise ProblemError(401, detail, "token", {"WWW-Authenticate": "Bearer", "Connection": "close"})

    async def _refuse(self, exchange: _Exchange, problem: ProblemError) -> None:
        exchange.scope["undim.code"] = problem.code
        origin = Headers(scope=exchange.scope).get("origin", "")
        if origin in self._cors:
            problem.headers |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        await problem.response()(exchange.scope, exchange.receive, exchange.send)

    def _tell(self, exchange: _Exchange) -> None:
        scope = exchange.scope
        route = getattr(scope.get("route"), "path", "other")
        seconds = time.monotonic() - exchange.begun
        code = scope.get("undim.code", "gone" if exchange.status == 499 else "")
        self._metrics.request(route, exchange.status, seconds, exchange.received, exchange.sent)
        if code:
            self._metrics.failure(code)
        stages = {name: round(value, 3) for name, value in scope.get("undim.stages", {}).items()}
        self._log.line(
            "request",
            method=scope["method"],
            route=route,
            status=exchange.status,
            seconds=round(seconds, 3),
            received=exchange.received,
            sent=exchange.sent,
            stages=stages or None,
            code=code,
            fault=scope.get("undim.fault"),
        )


class _Exchange:
    """One request and its answer, counted and timed. A HEAD is answered as a GET; the server leaves out the body."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, patience: float) -> None:
        self.scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else dict(scope)
        self.begun = time.monotonic()
        self.status = 0
        self.received = 0
        self.sent = 0
        self._receive, self._send, self._patience = receive, send, patience
        self._whole = False
        self._since: float | None = None
        self._answering: float | None = None

    async def receive(self) -> Message:
        """As of ASGI; too slow a body is a problem."""
        if self._whole:
            return await self._receive()
        if self._since is None:
            self._since = time.monotonic()
        spent = time.monotonic() - self._since
        left = min(self._patience, self._patience + self.received / SLOWEST - spent)
        try:
            message = await asyncio.wait_for(self._receive(), max(0.01, left))
        except TimeoutError:
            self._whole = True
            raise ProblemError(
                408,
                f"The body stopped for {self._patience:g} seconds, or came below {SLOWEST / 1000:g} kB a second.",
                "slow",
                {"Connection": "close"},
            ) from None
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """As of ASGI; a client that does not take its answer is given up."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*_without(message.get("headers", ()), HEADERS), *HEADERS]}
        body, more = message.get("body", b""), message.get("more_body", False)
        for start in range(0, len(body), PIECE):
            await self._hand({"type": message["type"], "body": body[start : start + PIECE], "more_body": True})
        if not (body and more):  # an end of its own, which waits until the last piece has left
            await self._hand({**message, "body": b""} if body else message)

    async def _hand(self, message: Message) -> None:
        """A message to the server, which takes it once the one before has left; the client has a time for that."""
        if self._answering is None:
            self._answering = time.monotonic()
        spent = time.monotonic() - self._answering
        left = self._patience + min(PIECE, PIECE + self.sent - SLOWEST * spent) / SLOWEST
        try:
            await asyncio.wait_for(self._send(message), max(0.01, left))
        except TimeoutError:
            raise SlowClientError from None
        self.sent += len(message.get("body", b""))


def _without(
    headers: Iterable[tuple[bytes, bytes]], others: Iterable[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    names = {name for name, _ in others}
    return [(name, value) for name, value in headers if name.lower() not in names]


def _where(error: Exception) -> str:
    """The fault and the place in our code where it came up."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = str(error) if isinstance(error, UndimError) else ""
    return f"{type(error).__name__} {text} in {place}"
