"""What the gateway has measured, for Prometheus and for people."""

from typing import Any, Final, cast

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json

from serving.accept import media_type_of, negotiate
from serving.metrics import GatewayMetrics, Summary
from serving.problems import problem_responses

router = APIRouter(tags=["operations"])

_TEXT, _JSON = media_type_of(CONTENT_TYPE_LATEST), "application/json"
_EXAMPLE: Final[Summary] = {
    "uptime_seconds": 86400.0,
    "total_requests": 120000,
    "fraud_predictions": 190,
    "legitimate_predictions": 119810,
    "average_latency_ms": 1.9,
    "p99_latency_ms": 4.6,
    "error_rate": 0.0,
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            _JSON: {"example": _EXAMPLE},
            _TEXT: {
                "schema": {"type": "string"},
                "example": "# TYPE fraud_model_loaded gauge\nfraud_model_loaded 1.0\n",
            },
        }
    },
    **problem_responses(406),
}


@router.get("/metrics", response_model=Summary, responses=_ANSWERS)
async def metrics(request: Request) -> Response:
    """Prometheus text; with `Accept: application/json` a summary of the prediction requests since the start.

    The figures of all workers, whichever of them answers.
    """
    measured = cast(GatewayMetrics, request.app.state.metrics)
    if negotiate(request.headers.get("accept", ""), (_TEXT, _JSON)) == _JSON:
        return Response(to_json(await to_thread.run_sync(measured.summary)), media_type=_JSON)
    return Response(await to_thread.run_sync(measured.text), headers={"Content-Type": CONTENT_TYPE_LATEST})
