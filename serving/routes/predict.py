"""The answer to one transaction."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from serving.bodies import read_json_body
from serving.dependencies import GatewayDep
from serving.examples import PREDICTION, TRANSACTION, answer
from serving.predictions import Explain, Prediction, predict_all
from serving.problems import problem_responses
from serving.request_record import record_of, stage
from serving.transactions import Transaction, parse_transaction

MAX_TRANSACTION_BYTES: Final = 64 * 1024
"""One transaction has about 1 kB; a longer one would hold up everybody else on the event loop."""

router = APIRouter(tags=["predictions"], responses=problem_responses(400, 401, 403, 409, 413, 415, 422, 429, 500, 503))

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Transaction.model_json_schema(), "example": TRANSACTION}},
    }
}


@router.post("/predict", response_model=Prediction, openapi_extra=_BODY, responses=answer(PREDICTION))
async def predict(
    request: Request,
    gateway: GatewayDep,
    explain: Annotated[bool, Query(description="Give reasons whatever the decision.")] = False,
) -> Response:
    """Score one transaction; an answer that is no approval says why.

    The answer goes out when the prediction is on disk. A transaction_id sent again with the same values brings the
    first answer, with other values 409.
    """
    model = gateway.model()
    body = await read_json_body(request, min(gateway.settings.max_body_bytes, MAX_TRANSACTION_BYTES))
    wanted = Explain.ALL if explain else Explain.ALERTS
    record = record_of(request.scope)
    with stage("parse"):
        transactions = parse_transaction(body)
    predictions = predict_all(model, transactions, wanted)
    [prediction] = (await gateway.decisions.keep(predictions, record)).answers()
    record.message = "Prediction successful"
    record.fields.update(
        fraud_score=prediction["hybrid_score"],
        decision=prediction["decision"],
        model_version=prediction["model_version"],
        prediction_id=prediction["prediction_id"],
    )
    return Response(to_json(prediction), media_type="application/json")
