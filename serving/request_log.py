"""One log line per request, its id in the answer, and the last net under every failure.

A plain ASGI middleware: Starlette's BaseHTTPMiddleware starts a task per request, which costs more than a prediction.
"""

import logging
import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import PREDICTION_ROUTES, GatewayMetrics
from serving.problems import problem_response
from serving.request_record import HEADER, RequestRecord, open_record

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that went away; it is logged, nobody receives it."""

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
            _log.exception("Unexpected error", extra={"fields": _described(scope, record, 500)})
            if status:
                self._count(scope, record, 500)
                raise
            detail = "Something unexpected happened; the log has it under the request id."
            await problem_response(500, detail, record.request_id)(scope, receive, send_with_id)
            self._count(scope, record, 500)
            return
        self._count(scope, record, status)
        _write(scope, record, status)

    def _count(self, scope: Scope, record: RequestRecord, status: int) -> None:
        # Paths that no route has go under one name: a scanner must not fill the memory with labels.
        path: str = scope["path"] if scope["path"] in PREDICTION_ROUTES else "other"
        route: str = getattr(scope.get("route"), "path", path)
        self._metrics.count(route, status, time.perf_counter() - record.started, record)


def _write(scope: Scope, record: RequestRecord, status: int) -> None:
    if scope["path"].startswith("/health"):
        # Probes come every few seconds and "not ready" is their job; the watcher logs the reason once.
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
