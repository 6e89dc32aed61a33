"""Errors as values: one exception class for what the client did wrong, and the shape that each protocol gives it.

This file implements omp §3: the envelope (omp §3.1), the table of codes (omp §3.2), and the shape with one sentence
that MRS and NEXUS use.  A handler raises :class:`ApiError`, or lets a domain exception of its models pass, which the
protocol's table of :data:`Refusals` translates.  The dispatcher (:mod:`omp.web.routes`) renders both in the shape of
the protocol that owns the path, so 404, 405, 413 and 500 on a protocol's paths look like the rest of that protocol.
Anything else that a handler raises is our own bug (omp §3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omp.rules.schema import INTEGER, TEXT, described, record

CODES: dict[int, tuple[str, str]] = {
    400: ("bad_request", "Bad request"),
    401: ("unauthorized", "Unauthorized"),
    403: ("forbidden", "Forbidden"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    408: ("request_timeout", "The request took too long to arrive"),
    409: ("conflict", "Conflict"),
    412: ("precondition_failed", "Precondition failed"),
    413: ("too_large", "The body is too large"),
    414: ("uri_too_long", "The request line is too long"),
    415: ("unsupported_media_type", "Unsupported media type"),
    417: ("expectation_failed", "Expectation failed"),
    421: ("misdirected_request", "Misdirected request"),
    422: ("unprocessable", "Unprocessable"),
    429: ("rate_limited", "Too many requests"),
    431: ("headers_too_large", "The header fields are too large"),
    500: ("internal_error", "Internal error"),
    501: ("not_implemented", "Not implemented"),
    503: ("unavailable", "Unavailable"),
    505: ("http_version_not_supported", "HTTP version not supported"),
}
"""Status -> (code, default message): omp §3.2."""


class ApiError(Exception):
    """The client's mistake, or a refusal: what to answer instead of a result.

    `status` is the HTTP status; `message` one clear sentence that says what was wrong and what would be right;
    `code` defaults to that of :data:`CODES`; `details` is a JSON object or None; `headers` are added to the
    answer (``Allow``, ``Retry-After``, ``WWW-Authenticate``).
    """

    def __init__(
        self,
        status: int,
        message: str = "",
        *,
        code: str = "",
        details: Mapping[str, Any] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or CODES[status][0]
        self.message = message or CODES[status][1]
        self.details = details
        self.headers = tuple(headers)


class InvalidRequest(ApiError):
    """Input that does not fit its schema: `errors` is a list of ``{"loc": […], "msg", "type"}``.

    `loc` is the path to the value, after ``body`` or ``query``.  `sentences` has the same in words, one for each.  If
    the input is a body, the protocol's :class:`ErrorStyle` says with which status it is answered.
    """

    def __init__(self, errors: Sequence[Mapping[str, Any]], message: str = "Invalid request") -> None:
        self.sentences = [_in_words(error) for error in errors]
        super().__init__(400, message, details={"summary": self.sentences[0], "errors": list(errors)})
        self.errors = errors
        self.in_body = errors[0]["loc"][:1] == ["body"]


def _in_words(error: Mapping[str, Any]) -> str:
    """One problem as a sentence, the same in every protocol: ``content is required`` (omp §3.1)."""
    place, *path = error["loc"]
    if path:
        return f"{'.'.join(map(str, path))} {error['msg']}"
    return f"the {place}{':' if error['type'] == 'json_invalid' else ''} {error['msg']}"


@dataclass(frozen=True)
class Refusal:
    """How a protocol answers one kind of its domain exceptions: a row of the table in its ``routes``.

    The message is the exception's own text if `message` is empty.  `details` and `headers` are given the exception
    and return what :class:`ApiError` takes.
    """

    status: int
    message: str = ""
    code: str = ""
    details: Callable[[Any], Mapping[str, Any]] | None = None
    headers: Callable[[Any], Sequence[tuple[str, str]]] | None = None

    def answer(self, error: Exception) -> ApiError:
        """The answer to `error`."""
        return ApiError(
            self.status,
            self.message or str(error),
            code=self.code,
            details=self.details(error) if self.details else None,
            headers=self.headers(error) if self.headers else (),
        )


Refusals = Mapping[type[Exception], Refusal]
"""A protocol's domain exceptions, each with its answer; a subclass without a row has the answer of its base."""


def translated(error: Exception, refusals: Refusals) -> ApiError | None:
    """The answer that `refusals` has for `error`; None if it has none: then `error` is our own bug."""
    for kind in type(error).__mro__:
        if (refusal := refusals.get(kind)) is not None:
            return refusal.answer(error)
    return None


@dataclass(frozen=True)
class ErrorStyle:
    """How a protocol shows an :class:`ApiError`.

    `render` makes the JSON value of the body; `schema` is the JSON Schema of that value, for OpenAPI, and `name` its
    name there (that of the protocol if empty); `invalid_body` is the status for a body that does not fit its schema.
    """

    render: Callable[[ApiError], Any]
    schema: Mapping[str, Any]
    invalid_body: int = 400
    name: str = ""

    def status_and_value(self, error: ApiError) -> tuple[int, Any]:
        """The status to answer `error` with, and the JSON value of the body."""
        if isinstance(error, InvalidRequest) and error.in_body:
            error.status = self.invalid_body
            error.code = CODES[self.invalid_body][0]
        return error.status, self.render(error)


def _envelope(error: ApiError) -> Any:
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "status": error.status,
            "details": error.details,
        }
    }


def _detail(error: ApiError) -> Any:
    return {"detail": error.sentences[0] if isinstance(error, InvalidRequest) else error.message}


ERROR = record(
    "What was wrong (omp §3.1).",
    {
        "code": described(TEXT, "a word for programs, as in omp §3.2"),
        "message": described(TEXT, "what was wrong, and what would be right"),
        "status": described(INTEGER, "the HTTP status"),
        "details": described(
            {"type": ["object", "null"], "additionalProperties": True},
            "what else there is to say; of a body that does not fit, errors",
        ),
    },
)
OMP_ERRORS = ErrorStyle(_envelope, record("The envelope of an error.", {"error": ERROR}), name="ErrorAnswer")
"""The envelope of the objects API and the operation log: omp §3.1."""

DETAIL_ERRORS = ErrorStyle(
    _detail,
    record("An error.", {"detail": described(TEXT, "what was wrong, and what would be right")}),
    name="Detail",
)
"""``{"detail": …}``: MRS, and NEXUS with another status for invalid bodies."""
