"""The addresses of the service, and what stands in its OpenAPI document."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from undim.errors import ModelError, UndimError, suggest
from undim.images import FORMATS
from undim.images.formats import suffix_of
from undim.jobs.run import Outcome
from undim.serve.guard import Guard
from undim.serve.log import Log
from undim.serve.metrics import CONTENT_TYPE
from undim.serve.problems import MEDIA_TYPE, TITLES, ProblemError, status_of
from undim.serve.service import Service
from undim.serve.settings import Settings
from undim.shipped import SHIPPED
from undim.version import __version__

NOTES = 4000
"""Characters of the header `Undim-Notes` at most: proxies take no longer ones."""
DRAINED = 8 * 2**20
"""Bytes of an unwanted body that are taken, so that its sender hears why it was refused."""
PAGE_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""What the page's files are, by their suffixes."""
ASKED = ("model", "strength", "exposure", "format", "quality", "fast")
"""Parameters of `/v1/enhance`."""

_OTHER_NAMES = {"jpg": "jpeg", "tif": "tiff"}
MEDIA_TYPES = {name: f"image/{_OTHER_NAMES.get(name, name)}" for name in FORMATS}
"""By the name of the format of an answer."""
_BINARY = {"type": "string", "format": "binary"}
_UPLOADS = ("application/octet-stream", *(f"image/{name}" for name in ("jpeg", "png", "webp", "avif", "tiff", "heic")))
_BODY: dict[str, Any] = {
    "required": True,
    "description": "The file's content; its kind is told by the content. In a form: the field `file`.",
    "content": {
        **{kind: {"schema": _BINARY} for kind in _UPLOADS},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]},
        },
    },
}
_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong with this request, and what to do."},
        "code": {"type": "string", "description": "What kind of problem it is; a word that does not change."},
    },
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA}}}
        for status in statuses
    }


_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture, as the command line would write it.",
        "content": {kind: {"schema": _BINARY} for kind in MEDIA_TYPES.values()},
        "headers": {
            "Undim-Notes": {
                "description": "What of the file could not be kept: a JSON list of sentences, in ASCII.",
                "schema": {"type": "string"},
            },
            "Server-Timing": {
                "description": "Milliseconds of reading, enhancing and writing.",
                "schema": {"type": "string"},
            },
        },
    },
}


_HEADS = (400, 431)
"""What any request may be answered."""


class _Model(BaseModel):
    """One that is offered."""

    name: str
    purpose: str = Field(alias="for")
    parameters: int | None
    licence: str
    loaded: bool


class _Offer(BaseModel):
    """What `/v1/models` answers."""

    default: str
    models: list[_Model]
    max_pixels: int
    max_bytes: int


def make_app(settings: Settings | None = None, log: Log | None = None) -> FastAPI:
    """The service as an ASGI application, for `undim serve` or another server; its state has the `service`.

    Args:
        settings: see there.
        log: where lines go.
    """
    settings, log = settings or Settings(), log or Log()
    service = Service(settings)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.get_running_loop().run_in_executor(None, _load, service, log)
        try:
            yield
        finally:
            await asyncio.get_running_loop().run_in_executor(None, service.close)
            await loading

    app = FastAPI(
        title="Undim",
        version=__version__,
        summary="Makes dark photographs clear.",
        description="`curl --data-binary @dark.jpg http://127.0.0.1:8000/v1/enhance -o clear.jpg`",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=living,
        exception_handlers={
            RequestValidationError: _bad_parameters,
            HTTPException: _other,
            ProblemError: _problem,
        },
    )
    app.state.service = service
    if settings.cors:
        app.add_middleware(
            _Cors,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Undim-Notes", "Retry-After", "Server-Timing"],
        )
    app.add_middleware(
        Guard,
        token=settings.token,
        patience=settings.patience,
        cors=settings.cors,
        metrics=service.metrics,
        log=log,
    )
    # The guard has asked for it; this only tells of it in the OpenAPI document.
    token = [] if settings.token is None else [Depends(HTTPBearer(auto_error=False, scheme_name="token"))]
    _add_enhance(app, service, token)
    _add_facts(app, service, token)
    _add_page(app)
    return app


def _load(service: Service, log: Log) -> None:
    try:
        service.load()
    except Exception as error:  # told where the service was started
        if not service.stopping:
            service.failure = error
            log.line("model", "error", message=str(error))
    else:
        log.line("ready", models=list(service.settings.models))


def _add_enhance(app: FastAPI, service: Service, token: Sequence[params.Depends]) -> None:
    settings = service.settings

    @app.post(
        "/v1/enhance",
        summary="Make a picture clear",
        operation_id="enhance",
        response_class=Response,
        responses={**_PICTURE, **_problems(*_HEADS, 401, 408, 413, 415, 422, 429, 500, 503, 504)},
        dependencies=token,
        openapi_extra={"requestBody": _BODY},
    )
    async def enhance(
        request: Request,
        model: Annotated[
            str, Query(description="One of `/v1/models`; default: the first of them.", examples=["tiny"])
        ] = "",
        strength: Annotated[
            float, Query(ge=0, le=1, allow_inf_nan=False, description="0 the input, 1 all.", examples=[0.7])
        ] = 1.0,
        exposure: Annotated[
            float,
            Query(ge=-2, le=2, allow_inf_nan=False, description="Stops brighter or darker after that.", examples=[0.5]),
        ] = 0.0,
        format: Annotated[  # noqa: A002 - the word that the command line uses
            Literal[*FORMATS] | None,  # type: ignore[valid-type]  # the table of formats
            Query(description="Of the answer; default: as the input, or PNG where that is not written."),
        ] = None,
        quality: Annotated[
            int | None, Query(ge=1, le=100, description="Of JPEG (default 95), WebP (95) and AVIF (90).")
        ] = None,
        fast: Annotated[bool, Query(description="Large pictures through the network at a reduced size.")] = False,
    ) -> Response:
        try:
            _check_names(request)
            options = replace(
                settings.options,
                strength=strength,
                exposure=exposure,
                form=format,
                quality=quality,
                fast=fast,
            )
            options = replace(options, model=_known(model or settings.default, settings))
            with service.admitted() as hold:
                content, suffix = await _file(request, settings.max_body, hold)
                outcome = await service.enhance(content, suffix, options, _gone(request))
                del content
        except UndimError as error:
            raise ProblemError(status_of(error), str(error), error.code) from error
        except ProblemError as problem:
            if problem.status != 408:
                await _drain(request)
            raise
        request.scope["undim.stages"] = outcome.stages
        return _answer(outcome, service)


def _add_facts(app: FastAPI, service: Service, token: Sequence[params.Depends]) -> None:
    @app.get(
        "/v1/models",
        summary="The models",
        operation_id="models",
        response_model=_Offer,
        responses=_problems(*_HEADS, 401),
        dependencies=token,
    )
    async def models() -> dict[str, Any]:
        return {
            "default": service.settings.default,
            "models": [
                {
                    "name": name,
                    "for": SHIPPED[path].purpose if path in SHIPPED else "",
                    "parameters": SHIPPED[path].parameters if path in SHIPPED else None,
                    "licence": SHIPPED[path].licence if path in SHIPPED else "",
                    "loaded": name in service.models.resident,
                }
                for name, path in service.settings.models.items()
            ],
            "max_pixels": service.settings.options.max_pixels,
            "max_bytes": service.settings.max_body,
        }

    @app.get("/healthz", summary="Whether the service runs", operation_id="health", responses=_problems(*_HEADS))
    async def health() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @app.get("/readyz", summary="Whether pictures are taken", operation_id="ready", responses=_problems(*_HEADS, 503))
    async def ready() -> dict[str, str]:
        if not service.ready:
            if service.stopping:
                raise ProblemError(503, "The service stops.", "stopping")
            if service.failure is not None:
                raise ProblemError(503, "The service cannot load its model; its log says why.", "model")
            raise ProblemError(503, "The service is still loading its model.", "loading")
        return {"status": "ready"}

    @app.get(
        "/metrics",
        summary="Figures for Prometheus",
        operation_id="metrics",
        response_class=Response,
        responses={
            200: {"description": "Text of Prometheus' format", "content": {CONTENT_TYPE: {}}},
            **_problems(*_HEADS, 401),
        },
        dependencies=token,
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _add_page(app: FastAPI) -> None:
    folder = files("undim.serve") / "page"
    contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}

    def answer(name: str) -> Response:
        if name not in contents:
            raise ProblemError(404, f"There is no {name!r} here.")
        kind = PAGE_KINDS[name.rpartition(".")[2]]
        return Response(contents[name], headers={"Content-Type": kind, "Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return answer("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        return answer(name)


def _known(model: str, settings: Settings) -> str:
    if model not in settings.models:
        raise ModelError(
            f"There is no model {model!r} here.{suggest(model, settings.models)} "
            f"Offered: {', '.join(settings.models)}.",
            code="unknown-model",
        )
    return model


def _check_names(request: Request) -> None:
    """Raise ProblemError for a parameter that is not one, or stands twice: it would be passed over in silence."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in ASKED:
            hint = suggest(name, ASKED)
            raise ProblemError(422, f"There is no parameter {name!r}.{hint} Known: {', '.join(ASKED)}.", "option")
        if names.count(name) > 1:
            raise ProblemError(422, f"The parameter {name} stands more than once.", "option")


async def _file(request: Request, most: int, hold: Callable[[int], None]) -> tuple[bytes, str]:
    """The content of the file that a request brings, and the suffix of its name."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise ProblemError(415, f"The body is encoded as {encoding}; send the file as it is.", "encoding")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_long(most)
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > most:
            raise _too_long(most)
        hold(len(chunk))
        body += chunk
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data" and b"boundary" in options:
        start = _first_part(body, options[b"boundary"])
        if start is not None:
            del body[:start]
            return await _field(request.headers, bytes(body))
    _, disposition = parse_options_header(request.headers.get("content-disposition", ""))
    return bytes(body), suffix_of(disposition.get(b"filename", b"").decode("utf-8", "replace"))


def _first_part(body: bytearray, boundary: bytes) -> int | None:
    """Where the first part of a form begins, behind what may stand before it; None for what is not a form."""
    delimiter = b"--" + boundary
    if body.startswith(delimiter):
        return 0
    found = body.find(b"\r\n" + delimiter)
    return None if found < 0 else found + 2


class _InMemory(MultiPartParser):
    """A form's files, which never touch the disk."""

    spool_max_size = 2**62


async def _field(headers: Headers, body: bytes) -> tuple[bytes, str]:
    async def stream() -> AsyncIterator[bytes]:
        yield body

    try:
        form = await _InMemory(headers, stream(), max_files=1, max_fields=8).parse()  # type: ignore[arg-type]  # yields once
    except (MultiPartException, MultipartParseError, KeyError, ValueError) as error:
        reason = getattr(error, "message", "") or str(error)
        raise ProblemError(422, f"The form cannot be read: {reason.rstrip('.')}.", "form") from error
    found = form.get("file")
    if not isinstance(found, UploadFile):
        await form.close()
        raise ProblemError(422, "The form has no file in the field 'file'.", "form")
    content, name = await found.read(), found.filename or ""
    await form.close()
    if len(form.multi_items()) > 1:
        detail = "The form has more than the field 'file'; parameters go in the query: /v1/enhance?strength=0.5."
        raise ProblemError(422, detail, "form")
    return content, suffix_of(name)


def _too_long(most: int) -> ProblemError:
    return ProblemError(413, f"The body has more than the {most / 2**20:g} MiB that are taken.", "too-large")


async def _drain(request: Request) -> None:
    """Take the rest of a body that nobody wants, up to a bound."""
    if "100-continue" in request.headers.get("expect", "").lower():
        return
    taken = 0
    try:
        async for chunk in request.stream():
            taken += len(chunk)
            if taken > DRAINED:
                return
    except (ProblemError, ClientDisconnect, RuntimeError):  # too slow, gone, or taken already
        return


def _gone(request: Request) -> Callable[[], Coroutine[object, object, None]]:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone


class _Picture(Response):
    """An answer that is in the house until it is sent."""

    def __init__(self, content: bytes | None, headers: dict[str, str], service: Service) -> None:
        super().__init__(content, headers=headers)
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `Response`."""
        with self._service.sending(len(self.body)):
            await super().__call__(scope, receive, send)


class _Cors(CORSMiddleware):
    """Tells by problems what other sites' pages may not do."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """See `CORSMiddleware`."""
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        what = bytes(answer.body).decode().removeprefix("Disallowed CORS ")
        raise ProblemError(400, f"Not allowed to a page of another site here: its {what}.", "cors", headers)


def _answer(outcome: Outcome, service: Service) -> Response:
    headers = {
        "Content-Type": MEDIA_TYPES[outcome.form],
        "Cache-Control": "no-store",
        "Server-Timing": ", ".join(f"{name};dur={1000 * seconds:.0f}" for name, seconds in outcome.stages.items()),
    }
    if outcome.notes:
        headers["Undim-Notes"] = _notes(outcome.notes)
    return _Picture(outcome.content, headers, service)


def _notes(notes: Sequence[str]) -> str:
    """A JSON list in ASCII, cut where it is too long for a header."""
    kept = list(notes)
    while len(text := json.dumps(kept)) > NOTES and len(kept) > 1:
        kept = [*kept[:-2], f"and {len(notes) - len(kept) + 2} more"]
    return text if len(text) <= NOTES else json.dumps([kept[0][: NOTES // 8]])


async def _bad_parameters(request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    told = [f"{fault['loc'][-1]} is {_shown(fault.get('input'))}: {_lower(fault['msg'])}" for fault in faults]
    return await _problem(request, ProblemError(422, f"{'; '.join(told)}.", "option"))


def _shown(value: object) -> str:
    return json.dumps(value) if isinstance(value, str | int | float) and len(str(value)) < 80 else "something else"


def _lower(text: str) -> str:
    return re.sub(r"^Input s", "it s", text)


async def _other(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: an unknown address, or a method that it does not take."""
    if not isinstance(error, HTTPException):
        raise error
    details = {404: "Known: /, /v1/enhance, /v1/models, /healthz, /readyz, /metrics, /openapi.json."}
    detail = details.get(error.status_code, f"{request.method} is not what this address takes.")
    return await _problem(request, ProblemError(error.status_code, detail, headers=error.headers))


async def _problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    request.scope["undim.code"] = error.code
    if error.code == "model":
        request.scope["undim.fault"] = str(error.__cause__ or "")
    return error.response()
