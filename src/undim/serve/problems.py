"""Errors as answers: which HTTP status each is, and its body, a problem document of RFC 9457."""

from __future__ import annotations

import http
import json
from collections.abc import Mapping

from starlette.responses import Response

from undim.errors import UndimError

MEDIA_TYPE = "application/problem+json"

STATUS = {
    "busy": 429,
    "crashed": 422,
    "deadline": 504,
    "fault": 500,
    "model": 500,
    "not-a-picture": 415,
    "out-of-memory": 413,
    "stopping": 503,
    "too-large": 413,
    "unknown-model": 422,
}
"""By the code of an `UndimError`, of a picture that could not be done; 422 for others."""

TITLES = {
    400: "The request is malformed",
    401: "A token is needed",
    404: "There is nothing at this address",
    405: "This address does not take this method",
    408: "The request came too slowly",
    413: "The picture is too large",
    415: "This is not a kind of picture that is read",
    422: "The picture or a parameter cannot be used",
    429: "Too many pictures wait already",
    431: "The request's head is too large",
    500: "The service failed",
    503: "The service is not ready, or is stopping",
    504: "The picture took too long",
}
"""What each status means here."""

CODES = {
    400: "malformed",
    404: "not-found",
    405: "method",
    408: "slow",
    422: "unusable",
    431: "head",
}
"""The code of a problem that is told by its status alone."""


def status_of(error: UndimError) -> int:
    """The status for what is wrong with a picture or a parameter."""
    return STATUS.get(error.code, 422)


class ProblemError(Exception):
    """An answer that is a problem.

    Args:
        status: of HTTP.
        detail: what was wrong with this request, and what to do.
        code: what kind of problem, for programs, as of `UndimError`; that of `CODES` if empty.
        headers: of the answer.
    """

    def __init__(self, status: int, detail: str, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or CODES.get(status, str(status))
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        return Response(
            self.body(),
            self.status,
            {**self.headers, "Cache-Control": "no-store"},
            media_type=MEDIA_TYPE,
        )

    def body(self) -> bytes:
        """The problem document."""
        title = TITLES.get(self.status) or http.HTTPStatus(self.status).phrase
        return json.dumps(
            {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, "code": self.code}
        ).encode()
