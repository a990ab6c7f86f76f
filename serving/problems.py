"""Errors on the wire: problem+json (RFC 9457) with the request id, never a stack trace."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from ml_project.errors import FraudError
from serving.errors import ConflictingRows, FieldError, InvalidFields, NoModel
from serving.examples import problem
from serving.request_record import RequestRecord, record_of

MEDIA_TYPE = "application/problem+json"
MAX_NAME_LENGTH: Final = 64


class Problem(BaseModel):
    """The shape of every error, for the API's description."""

    type: str = Field("about:blank", description="Kind of problem; about:blank says that the status is all there is.")
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


def install_error_handlers(app: FastAPI) -> None:
    """Answer every expected error; what nobody expected is caught around the whole application."""
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
