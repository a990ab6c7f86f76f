"""What operators and other systems use: health, metrics, and MLflow's webhook.

The webhook has the form of https://www.standardwebhooks.com as MLflow 3 writes it (``mlflow.webhooks.delivery``):
HMAC-SHA256 over ``<delivery id>.<timestamp>.<body>``. Its signature is checked; nothing else in it is believed.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from serving.errors import BadSignature, MalformedJson, problem_responses
from serving.gateway import GatewayDep
from serving.http import json_body, json_in, media_type_of, negotiate
from serving.live_model import Trouble
from serving.routes.examples import answer
from serving.shadow import Shadow
from serving.telemetry.metrics import StoreFigures, Summary
from serving.telemetry.request import record_of

router = APIRouter()

_READY: Final = {
    "status": "ready",
    "model_version": "3",
    "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "named_by": "registry",
    "loaded_at": "2026-01-02T03:04:05Z",
    "trouble": None,
    "shadow": {"share": 0.1, "model_version": "4", "trouble": None},
    "store": {"away": False, "spool_bytes": 0, "spool_damaged_files": 0, "spool_unreadable_files": 0},
}


_HEALTH: Final = {"status": "ok", "model_loaded": True, "model_version": "3", "trouble": None}


@router.get("/health", tags=["health"], responses=answer(_HEALTH))
async def health(gateway: GatewayDep) -> dict[str, Any]:
    """200 as long as the process lives; whether it can answer, and in words what keeps a newer version out."""
    model, trouble = gateway.slot.current, gateway.slot.trouble
    return {
        "status": "ok",
        "model_loaded": model is not None,
        "model_version": model.version if model else None,
        "trouble": trouble.message if trouble else None,
    }


@router.get("/health/live", tags=["health"], responses=answer({"status": "ok"}))
async def live() -> dict[str, str]:
    """The process answers: do not restart it."""
    return {"status": "ok"}


@router.get("/health/ready", tags=["health"], responses={**answer(_READY), **problem_responses(503)})
async def ready(gateway: GatewayDep) -> dict[str, Any]:
    """503 without a model; with one, which, since when, what kept a newer one out, what shadows it, and the store."""
    model, trouble = gateway.slot.model(), gateway.slot.trouble
    return {
        "status": "ready",
        "model_version": model.version,
        "digest": model.live.digest,
        "named_by": model.live.named_by,
        "loaded_at": model.loaded_at,
        "trouble": described(trouble),
        "shadow": _shadow(gateway.shadow),
        "store": _store(gateway.decisions.figures()),
    }


def _store(figures: StoreFigures) -> dict[str, Any]:
    return {
        "away": figures.away,
        "spool_bytes": figures.spool_bytes,
        "spool_damaged_files": figures.spool_damaged,
        "spool_unreadable_files": figures.spool_unreadable,
    }


def described(trouble: Trouble | None) -> dict[str, Any] | None:
    """What clients see of a trouble."""
    return {"message": trouble.message, "since": trouble.since} if trouble else None


def _shadow(shadow: Shadow | None) -> dict[str, Any] | None:
    if shadow is None:
        return None
    challenger = shadow.slot.current
    return {
        "share": shadow.share,
        "model_version": challenger.version if challenger else None,
        "trouble": described(shadow.slot.trouble),
    }


_TEXT, _JSON = media_type_of(CONTENT_TYPE_LATEST), "application/json"
_SUMMARY: Final[Summary] = {
    "uptime_seconds": 86400.0,
    "total_requests": 120000,
    "fraud_predictions": 190,
    "legitimate_predictions": 119810,
    "average_latency_ms": 1.9,
    "p99_latency_ms": 4.6,
    "error_rate": 0.0,
}
_METRICS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            _JSON: {"example": _SUMMARY},
            _TEXT: {
                "schema": {"type": "string"},
                "example": "# TYPE fraud_model_loaded gauge\nfraud_model_loaded 1.0\n",
            },
        }
    },
    **problem_responses(406),
}


@router.get("/metrics", tags=["operations"], response_model=Summary, responses=_METRICS)
async def metrics(request: Request, gateway: GatewayDep) -> Response:
    """Prometheus text; with `Accept: application/json` a summary of the prediction requests since the start.

    The figures of all workers, whichever of them answers.
    """
    measured = gateway.metrics
    if negotiate(request.headers.get("accept", ""), (_TEXT, _JSON)) == _JSON:
        return Response(to_json(await to_thread.run_sync(measured.summary)), media_type=_JSON)
    return Response(await to_thread.run_sync(measured.text), headers={"Content-Type": CONTENT_TYPE_LATEST})


_ALIAS: Final = "Production"
_MAX_BYTES: Final = 65_536


class Heard(TypedDict):
    """What the gateway does about a delivery."""

    outcome: Literal["looking", "ignored"]


@router.post(
    "/hooks/registry",
    tags=["operations"],
    status_code=202,
    responses={202: answer({"outcome": "looking"})[200], **problem_responses(400, 401, 404, 413, 415, 500)},
)
async def registry(request: Request, gateway: GatewayDep) -> Heard:
    """MLflow's webhook, signed: when `Production` was set, the gateway looks at the registry at once.

    What the delivery says is not believed beyond that, so that one sent again does no harm. 404 where the gateway has
    no secret for it.
    """
    secret = gateway.settings.webhook_secret
    if secret is None:
        raise HTTPException(404, "There is no webhook here: FRAUD_WEBHOOK_SECRET is not set.")
    body = await json_body(request.headers.raw, request.receive, _MAX_BYTES)
    check_signature(secret.get_secret_value(), request.headers, body, time.time())
    if not moves_alias(body, gateway.settings.model_name, _ALIAS):
        return {"outcome": "ignored"}
    record_of(request.scope).message = "Registry webhook received"
    gateway.look_now()
    return {"outcome": "looking"}


SIGNATURE, DELIVERY, TIMESTAMP = "x-mlflow-signature", "x-mlflow-delivery-id", "x-mlflow-timestamp"
OLDEST_SECONDS: Final = 300
"""A delivery that is older, or as much ahead of the gateway's clock, is refused."""


def signature(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """What MLflow sends as ``X-MLflow-Signature``."""
    signed = f"{delivery}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()


def check_signature(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Return if MLflow sent this body in the last minutes.

    Parameters
    ----------
    secret : str
    headers : Mapping
        By lower-case names.
    body : bytes
    now : float
        Seconds since 1970.

    Raises
    ------
    BadSignature
        When it did not, or when that cannot be told.
    """
    given, delivery, timestamp = (headers.get(name, "") for name in (SIGNATURE, DELIVERY, TIMESTAMP))
    expected = signature(secret, delivery, timestamp, body)
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise BadSignature("The signature is missing or wrong.", "Give MLflow's webhook the secret of the gateway.")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > OLDEST_SECONDS:
        raise BadSignature(
            f"The delivery is not from the last {OLDEST_SECONDS} s.",
            "Compare the clocks of MLflow and the gateway.",
        )


def moves_alias(body: bytes, model_name: str, alias: str) -> bool:
    """Whether it says that an alias of a model was set, whatever the alias's case.

    Raises
    ------
    MalformedJson
        When it is not a JSON object.
    """
    event = json_in(body)
    if not isinstance(event, dict):
        raise MalformedJson("The body is not a JSON object.")
    data = event.get("data")
    return (
        (event.get("entity"), event.get("action")) == ("model_version_alias", "created")
        and isinstance(data, dict)
        and data.get("name") == model_name
        and str(data.get("alias")).lower() == alias.lower()
    )
