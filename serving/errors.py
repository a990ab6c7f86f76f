"""What can be wrong with a request, each error with its HTTP status, and how errors go out.

They go out as problem+json (RFC 9457) with the request id, never with a stack trace.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from ml_project.errors import FraudError
from serving.telemetry.request import RequestRecord, record_of


class FieldError(TypedDict, total=False):
    """One fault of a body: the row's place in a batch, the field, and what is wrong with it.

    Rows count from 0; those of a CSV are its line numbers, from 1, as editors show them.
    """

    row: int
    field: str
    message: str


MAX_ERRORS: Final = 100
"""Faults named in one answer; a file of the wrong kind has as many as cells."""


class MalformedJson(FraudError):
    """A body that is not JSON at all."""

    status = 400


class MalformedFile(FraudError):
    """An upload that is not of the type it declares, or is truncated."""

    status = 400


class NoKey(FraudError):
    """A request without an API key where one is needed."""

    status = 401


class BadSignature(FraudError):
    """A webhook delivery that is unsigned, wrongly signed or too old."""

    status = 401


class TooManyRequests(FraudError):
    """A key, or in open mode an address, above its limit."""

    status = 429

    def __init__(self, seconds: int) -> None:
        self.retry_after_seconds = seconds
        super().__init__("Too many requests.", f"Send the next one in {seconds} s.")


class UnknownPrediction(FraudError):
    """A prediction_id that is not in the store."""

    status = 404


class NoCard(FraudError):
    """A live version that has no model card."""

    status = 404


class NotAcceptable(FraudError):
    """An answer in a type that cannot be given."""

    status = 406


class UnsupportedMediaType(FraudError):
    """A body of a type that the route does not read."""

    status = 415


class BodyTooLarge(FraudError):
    """A body, or a batch, above the configured limit."""

    status = 413


class InvalidFields(FraudError):
    """A body that is not a transaction or a batch of them, or a query that cannot be understood."""

    status = 422

    def __init__(self, errors: list[FieldError], what: str = "body") -> None:
        self.errors = errors[:MAX_ERRORS]
        super().__init__(f"The {what} is not valid; nothing was scored.", "See errors.")


class ConflictingRows(FraudError):
    """Rows of a JSON batch whose transaction_ids were used with other values."""

    status = 409

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors[:MAX_ERRORS]
        super().__init__(
            "Some rows reuse the transaction_id of another transaction, with other values; the other rows are kept.",
            "Send the same values for the same transaction, or use on_error=skip. See errors.",
        )


class NoModel(FraudError):
    """No version can answer yet."""

    status = 503
    retry_after_seconds: ClassVar[int] = 5


class NoRoom(FraudError):
    """A large body while others take all the room that there is for such."""

    status = 503
    retry_after_seconds: ClassVar[int] = 5


class ForeignSite(FraudError):
    """In open mode, a request that a page of another site may have caused."""

    status = 403


class StorageFull(FraudError):
    """An upload for which the disk has no room."""

    status = 507


class ScoringFailed(FraudError):
    """The model gave a score that is not a number, which must never become an APPROVE."""

    status = 500


MEDIA_TYPE = "application/problem+json"
MAX_NAME_LENGTH: Final = 64


class Problem(BaseModel):
    """The shape of every error, for the API's description."""

    type: str = Field("about:blank", description="Kind of problem; about:blank means that the status says it all.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="Cause and remedy.")
    request_id: str = Field(description="Also in the header X-Request-ID and in the log.")
    errors: list[dict[str, int | str]] | None = Field(
        None, description="With 422, every fault: row (of a batch, from 0; of a CSV, its line), field, message."
    )


def problem_response(
    status: int,
    detail: str,
    request_id: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One error as its client sees it."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if errors:
        content["errors"] = errors
    return Response(to_json(content), status, headers, MEDIA_TYPE)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of a route's errors."""
    schema = Problem.model_json_schema()
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema, "example": problem(status)}},
        }
        for status in statuses
    }


PROBLEM_DETAILS: Final = {
    400: "The body is not JSON: expected value at line 1 column 1.",
    401: "There is no valid API key. Send the header Authorization: Bearer KEY.",
    403: "This key may not do that. Use one of another scope.",
    404: "There is nothing of that name.",
    406: "No answer in a type that Accept names can be given. Use application/json.",
    409: "The transaction_id was sent before with other values. Send it under a new one.",
    413: "The batch has 20000 transactions; at most 10000 are taken. Send it in parts.",
    415: "The body must be JSON. Send the header Content-Type: application/json.",
    422: "The body is not valid; nothing was scored. See errors.",
    429: "Too many requests for this key. Wait as long as Retry-After says.",
    500: "Something unexpected happened; the log has it under the request id.",
    503: "No model is loaded yet. The gateway has just started and looks for one.",
    507: "The disk has no room for the upload. Try again later.",
}


def problem(status: int) -> dict[str, Any]:
    """An error as problem+json."""
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": PROBLEM_DETAILS.get(status, HTTPStatus(status).description),
        "request_id": "req_0f8fad5bd9cb469f",
    }
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        example["errors"] = [{"field": "amount", "message": "Field required"}]
    return example


def install_error_handlers(app: FastAPI) -> None:
    """Answer every expected error; unexpected ones are caught around the whole application."""
    app.add_exception_handler(FraudError, _fraud_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_parameters)


async def _fraud_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FraudError)
    return problem_of(error, record_of(request.scope))


def problem_of(error: FraudError, record: RequestRecord) -> Response:
    """An expected error as its client sees it; the log line says it too."""
    record.fields["detail"] = str(error)
    errors = error.errors if isinstance(error, InvalidFields | ConflictingRows) else ()
    return problem_response(error.status, str(error), record.request_id, errors, _headers(error))


def _headers(error: FraudError) -> dict[str, str] | None:
    """What clients do next, in the form that HTTP libraries understand."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Bearer realm="fraud gateway"'}
    if error.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return {"Retry-After": str(getattr(error, "retry_after_seconds", NoModel.retry_after_seconds))}
    return None


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_response(error.status_code, error.detail, record_of(request.scope).request_id, (), error.headers)


async def _invalid_parameters(request: Request, error: Exception) -> Response:
    """Bodies are read by ourselves, so that what FastAPI finds invalid is a parameter."""
    assert isinstance(error, RequestValidationError)
    faults: list[FieldError] = [
        {"field": str(fault["loc"][-1])[:MAX_NAME_LENGTH], "message": str(fault["msg"])} for fault in error.errors()
    ]
    return await _fraud_error(request, InvalidFields(faults, "query"))
