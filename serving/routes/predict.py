"""Predictions: the answer to one transaction, and the answers to a batch in any of the formats."""

import time
from typing import Annotated, Any, Final, NotRequired

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json
from typing_extensions import TypedDict

from serving.admission import Admission
from serving.batch import CSV, JSON, MEDIA_TYPES, MULTIPART
from serving.batch.job import Batch, OnError, answer_batch
from serving.batch.upload import receive_upload
from serving.errors import problem_responses
from serving.gateway import Gateway, GatewayDep
from serving.http import json_body, negotiate
from serving.large_bodies import SMALL_BYTES
from serving.live_model import LiveModel
from serving.predictions import Explain, Prediction
from serving.routes.examples import PREDICTION, answer, csv_of, example_transaction
from serving.settings import GatewaySettings
from serving.telemetry.request import RequestRecord, record_of
from serving.transactions import TransactionParser

router = APIRouter(tags=["predictions"], responses=problem_responses(400, 401, 403, 409, 413, 415, 422, 429, 500, 503))


_TRIAL: Final = (
    "Keep it as a trial: no reviewer, monitoring or retraining sees it, it counts in no key's history, and its "
    "transaction_id is not compared with earlier ones."
)
_KEEP: Final = "With false nothing is kept: the answer has no prediction_id, and `kept` is `none`."


@router.post("/predict", response_model=Prediction, responses=answer(PREDICTION))
async def predict(
    request: Request,
    gateway: GatewayDep,
    explain: Annotated[bool, Query(description="Give reasons whatever the decision.")] = False,
    trial: Annotated[bool, Query(description=_TRIAL)] = False,
    keep: Annotated[bool, Query(description=_KEEP)] = True,
) -> Response:
    """Score one transaction; an answer other than APPROVE gives reasons.

    The answer goes out when the prediction is on disk. A transaction_id sent again with the same values brings the
    first answer, with other values 409; not so in trials.
    """
    model = gateway.slot.model()
    body = await json_body(request.headers.raw, request.receive, most_bytes(gateway.settings))
    wanted = Explain.ALL if explain else Explain.ALERTS
    record = record_of(request.scope)
    record.trial, record.keep = trial, keep
    return Response(await answer_one(gateway, model, body, wanted, record), media_type=JSON)


def most_bytes(settings: GatewaySettings) -> int:
    """Of the body of one transaction."""
    return min(settings.max_body_bytes, SMALL_BYTES)


async def answer_one(gateway: Gateway, model: LiveModel, body: bytes, explain: Explain, record: RequestRecord) -> bytes:
    """The answer to one transaction, as JSON.

    Raises
    ------
    FraudError
        As the route's errors.
    """
    started = time.perf_counter()
    try:
        transactions = model.parser.one(body)
        if transactions.entities or transactions.event_times:
            transactions = Admission.now(model.contract, gateway.settings).one(transactions)
    finally:
        record.spend("parse", started)
    prediction = await gateway.turns.predict(model, transactions, explain, record)
    record.message = "Prediction successful"
    record.fields.update(
        fraud_score=prediction["hybrid_score"],
        decision=prediction["decision"],
        model_version=prediction["model_version"],
        prediction_id=prediction["prediction_id"],
    )
    return to_json(prediction)


_BINARY: Final = {"type": "string", "format": "binary"}
_FORM: Final = {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]}


def request_bodies(parser: TransactionParser) -> dict[str, dict[str, Any]]:
    """What the two routes take, by path, for the API's description: that depends on the contract."""
    example = example_transaction(parser.contract)
    schemas = {
        **dict.fromkeys(MEDIA_TYPES, _BINARY),
        JSON: {"type": "array", "items": parser.schema()},
        MULTIPART: _FORM,
    }
    examples: dict[str, Any] = {JSON: {"example": [example]}, CSV: {"example": csv_of([example])}}
    batch = {media_type: {"schema": schema, **examples.get(media_type, {})} for media_type, schema in schemas.items()}
    one = {JSON: {"schema": parser.schema(), "example": example}}
    bodies = {"/predict": one, "/predict-batch": batch}
    return {path: {"required": True, "content": content} for path, content in bodies.items()}


_BATCH_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            **{media_type: {"schema": _BINARY} for media_type in MEDIA_TYPES if media_type != JSON},
            JSON: {"example": [PREDICTION]},
            CSV: {"schema": _BINARY, "example": csv_of([{"row": 2, **PREDICTION}])},
        }
    },
    **problem_responses(406, 507),
}


class RowPrediction(Prediction):
    """A row's answer; ``row`` is where the transaction stood, when it came in a file."""

    row: NotRequired[int]


class SkippedRow(TypedDict):
    """With on_error=skip, the answer to a row that cannot be scored."""

    row: int
    error: str


@router.post(
    "/predict-batch",
    response_model=list[RowPrediction | SkippedRow],
    responses=_BATCH_ANSWERS,
)
async def predict_batch(
    request: Request,
    gateway: GatewayDep,
    explain: Annotated[bool, Query(description="Give reasons for every row, whatever its decision.")] = False,
    on_error: Annotated[
        OnError,
        Query(description="Rows that cannot be scored: fail refuses the batch, skip answers them by an error."),
    ] = OnError.FAIL,
    amounts: Annotated[bool, Query(description="Add each transaction's amount as a column of tables.")] = False,
    trial: Annotated[bool, Query(description=_TRIAL)] = False,
    keep: Annotated[bool, Query(description=_KEEP)] = True,
) -> Response:
    """Score a batch: answers in the same order, all by one version, in the type that Accept names or the request's own.

    Answers to files say in `row` where each transaction stood: the line of a CSV (its header is line 1), else the place
    from 0. JSON answers give reasons for all decisions but APPROVE; tables give them on request, as JSON in a column.

    A transaction_id sent before with the same values brings its first prediction. With other values it is that row's
    error; a JSON array with on_error=fail is then answered by 409 as a whole. Every chunk is kept before its answers go
    out, so that after an error the batch can be sent again.
    """
    gateway.slot.model()
    accept = request.headers.get("accept", "")
    negotiate(accept, MEDIA_TYPES)
    upload = await receive_upload(request, gateway.settings, gateway.uploads)
    # An upload may take minutes: the model that is live now answers it, from the first row to the last.
    model = gateway.slot.model()
    media_type = negotiate(accept, sorted(MEDIA_TYPES, key=lambda offered: offered != upload.media_type))
    record = record_of(request.scope)
    record.trial, record.keep = trial, keep
    batch = Batch(upload, model, gateway.decisions, media_type, on_error, explain, amounts)
    # Of binary files the bytes do not tell the work.
    small = upload.share.size <= SMALL_BYTES and upload.media_type in (JSON, CSV)
    limiter = gateway.small_batches if small else gateway.batches
    response = await answer_batch(batch, gateway.settings, request, record, limiter)
    record.message = "Batch prediction successful"
    record.fields.update(model_version=model.version)
    return response
