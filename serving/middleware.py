"""What every request passes through before a route, from the outside to the inside: headers, log, access, `/predict`.

Plain ASGI: Starlette's BaseHTTPMiddleware starts a task per request, which costs more than a prediction; a dependency
per route costs more than a middleware, too, and can be forgotten.
"""

import logging
import time
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_project.errors import FraudError
from serving.access import Access
from serving.errors import problem_of, problem_response
from serving.gateway import Gateway
from serving.http import WHOLE, json_body
from serving.predictions import Explain
from serving.routes.predict import answer_one, most_bytes
from serving.telemetry.metrics import PREDICTION_ROUTES, GatewayMetrics
from serving.telemetry.request import HEADER, RequestRecord, open_record, record_of

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; frame-ancestors 'none'; object-src 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Answers hold decisions about people; only files that never change say otherwise.
    "Cache-Control": "no-store",
}


def security_headers(hsts_seconds: int) -> list[tuple[bytes, bytes]]:
    """What every answer tells browsers, see `SecurityHeaders`."""
    headers = dict(_HEADERS)
    if hsts_seconds:
        headers["Strict-Transport-Security"] = f"max-age={hsts_seconds}; includeSubDomains"
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


class SecurityHeaders:
    """Wraps the whole application.

    Parameters
    ----------
    hsts_seconds : int
        How long browsers should insist on HTTPS; 0 sends no such header, because behind plain HTTP on a private
        network it would lock people out.
    """

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self._app = app
        self._headers = security_headers(hsts_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of connection pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _value in message["headers"]}
                message["headers"] += [header for header in self._headers if header[0] not in own]
            await send(message)

        await self._app(scope, receive, send_with_headers)


CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that went away; it is logged and never sent."""

_HEADER = HEADER.lower().encode()
_log = logging.getLogger("serving.requests")


class RequestLog:
    """Wraps the whole application, and counts in its metrics what passes through."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of connection pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = open_record(scope)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((_HEADER, record.request_id.encode()))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = CLIENT_CLOSED_REQUEST
        except Exception:
            refusal = _unexpected(scope, record)
            if status:
                _count(self._metrics, scope, record, 500)
                raise
            await refusal(scope, receive, send_with_id)
            _count(self._metrics, scope, record, 500)
            return
        _end(self._metrics, scope, record, status)


def _unexpected(scope: Scope, record: RequestRecord) -> Response:
    """Log the error that is being handled; what its client is told."""
    _log.exception("Unexpected error", extra={"fields": _described(scope, record, 500)})
    detail = "Something unexpected happened; the log has it under the request id."
    return problem_response(500, detail, record.request_id)


def _end(metrics: GatewayMetrics, scope: Scope, record: RequestRecord, status: int) -> None:
    _count(metrics, scope, record, status)
    _write(scope, record, status)


def _count(metrics: GatewayMetrics, scope: Scope, record: RequestRecord, status: int) -> None:
    # Paths that no route has go under one name: a scanner must not fill the memory with labels.
    path: str = scope["path"] if scope["path"] in PREDICTION_ROUTES else "other"
    route: str = getattr(scope.get("route"), "path", path)
    metrics.count(route, status, time.perf_counter() - record.started, record)


def _write(scope: Scope, record: RequestRecord, status: int) -> None:
    if scope["path"].startswith("/health"):
        # Probes come every few seconds and "not ready" is their job; the follower logs the reason once.
        level, message = logging.DEBUG, "Probe answered"
    elif status >= 500:
        level, message = logging.ERROR, "Request failed"
    elif status >= 400:
        level, message = logging.WARNING, "Request refused"
    else:
        level, message = (logging.INFO, record.message) if record.message else (logging.DEBUG, "Request served")
    if _log.isEnabledFor(level):
        _log.log(level, message, extra={"fields": _described(scope, record, status)})


def _described(scope: Scope, record: RequestRecord, status: int) -> dict[str, Any]:
    return {
        "request_id": record.request_id,
        "latency_ms": record.latency_ms,
        **record.fields,
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": status,
    }


class Guard:
    """Lets requests through that may pass.

    Parameters
    ----------
    app : ASGIApp
    access : Access
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it."""
        if scope["type"] == "http":
            record = record_of(scope)
            address = (scope.get("client") or ("unknown",))[0]
            try:
                await self._access.admit(scope["path"], scope["headers"], address, record)
            except FraudError as error:
                await problem_of(error, record)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class HeadAsGet:
    """Has every route for GET answer HEAD too; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of connection pass through."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        routed = {**scope, "method": "GET"}
        await self._app(routed, receive, send)
        scope["route"] = routed.get("route")


class DirectPredict:
    """Wraps the whole application, and answers ``POST /predict`` itself, as all that it wraps would.

    Other requests pass through, and so do those with a query, or from pages where the settings name origins.
    """

    def __init__(self, app: ASGIApp, gateway: Gateway, access: Access) -> None:
        self._app, self._gateway, self._access = app, gateway, access
        self._most_bytes = most_bytes(gateway.settings)
        self._headers = security_headers(gateway.settings.hsts_seconds)
        self._head = b"".join(b"%s: %s\r\n" % header for header in (_JSON, *self._headers))
        self._for_pages = bool(gateway.settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] != "/predict" or scope["method"] != "POST" or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        if self._for_pages and any(name == b"origin" for name, _value in headers):
            await self._app(scope, receive, send)
            return
        record, end = open_record(scope), _end
        try:
            status, sent, body = await self._answer(scope, receive, record)
        except ClientDisconnect:
            _end(self._gateway.metrics, scope, record, CLIENT_CLOSED_REQUEST)
            return
        except Exception:
            refusal, end = _unexpected(scope, record), _count  # the log has it
            status, sent, body = refusal.status_code, refusal.raw_headers, bytes(refusal.body)
        whole = scope.get("extensions", {}).get(WHOLE)
        if status == HTTPStatus.OK and whole is not None:
            await whole(status, b"%sx-request-id: %s\r\n" % (self._head, record.request_id.encode()), body)
        else:
            sent += [*self._headers, (_HEADER, record.request_id.encode())]
            await send({"type": "http.response.start", "status": status, "headers": sent})
            await send({"type": "http.response.body", "body": body})
        end(self._gateway.metrics, scope, record, status)

    async def _answer(self, scope: Scope, receive: Receive, record: RequestRecord) -> "_Answer":
        headers = scope["headers"]
        try:
            await self._access.admit("/predict", headers, (scope.get("client") or ("unknown",))[0], record)
            model = self._gateway.slot.model()
            body = await json_body(headers, receive, self._most_bytes)
            answer = await answer_one(self._gateway, model, body, Explain.ALERTS, record)
        except FraudError as error:
            refusal = problem_of(error, record)
            return refusal.status_code, refusal.raw_headers, bytes(refusal.body)
        return HTTPStatus.OK, [(b"content-length", b"%d" % len(answer)), _JSON], answer


_Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
_JSON: Final = (b"content-type", b"application/json")
