"""The answers: one transaction, or an array of them."""

from typing import Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from serving.bodies import read_json_body
from serving.dependencies import GatewayDep
from serving.live_model import LiveModel
from serving.predictions import Prediction, predict_all
from serving.problems import problem_responses
from serving.request_record import record_of
from serving.transactions import Transaction, parse_batch, parse_transaction

MAX_TRANSACTION_BYTES: Final = 64 * 1024
"""One transaction has about 1 kB; a longer one would hold up everybody else on the event loop."""

router = APIRouter(tags=["predictions"], responses=problem_responses(400, 413, 415, 422, 500, 503))

_SCHEMA = Transaction.model_json_schema()


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/predict", response_model=Prediction, openapi_extra=_json_body(_SCHEMA))
async def predict(request: Request, gateway: GatewayDep) -> Response:
    """Score one transaction."""
    model = gateway.model()
    body = await read_json_body(request, min(gateway.settings.max_body_bytes, MAX_TRANSACTION_BYTES))
    [prediction] = predict_all(model, parse_transaction(body))
    record = record_of(request.scope)
    record.message = "Prediction successful"
    record.fields.update(
        fraud_score=prediction["hybrid_score"],
        decision=prediction["decision"],
        model_version=prediction["model_version"],
        prediction_id=prediction["prediction_id"],
    )
    return Response(to_json(prediction), media_type="application/json")


@router.post(
    "/predict-batch",
    response_model=list[Prediction],
    openapi_extra=_json_body({"type": "array", "items": _SCHEMA}),
)
async def predict_batch(request: Request, gateway: GatewayDep) -> Response:
    """Score an array of transactions: answers in the same order, all by the same version, or none."""
    model = gateway.model()
    body = await read_json_body(request, gateway.settings.max_body_bytes)
    content, rows, alerts = await to_thread.run_sync(
        _answer_batch, model, body, gateway.settings.max_batch_rows, limiter=gateway.batches
    )
    record = record_of(request.scope)
    record.message = "Batch prediction successful"
    record.fields.update(rows=rows, alerts=alerts, model_version=model.version)
    return Response(content, media_type="application/json")


def _answer_batch(model: LiveModel, body: bytes, max_rows: int) -> tuple[bytes, int, int]:
    """The whole work of a batch, off the event loop: the answer, its rows, and how many of them are alerts."""
    predictions = predict_all(model, parse_batch(body, max_rows))
    return to_json(predictions), len(predictions), sum(prediction["fraud"] for prediction in predictions)
