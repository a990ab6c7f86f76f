"""Transactions that need no decision, for the history of their keys: from other channels, or from before."""

from typing import Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic_core import to_json
from typing_extensions import TypedDict

from ml_project.errors import FraudError
from serving.admission import Admission
from serving.errors import FieldError, InvalidFields, problem_responses
from serving.gateway import GatewayDep
from serving.http import json_body
from serving.large_bodies import SMALL_BYTES, is_array
from serving.routes.examples import answer
from serving.telemetry.request import record_of
from serving.transactions import Chunk, TransactionParser

router = APIRouter(tags=["predictions"], responses=problem_responses(400, 401, 403, 409, 413, 415, 422, 429, 500, 503))


class EventsTaken(TypedDict):
    """What became of past transactions."""

    added: int
    known: int
    """Those that history had already, from here or as predictions: they count once."""


class NoHistory(FraudError):
    """The live version asks for no past transactions."""

    status = 409


_NAMELESS: Final = "Field required, so that what is sent again counts once"
_EXAMPLE: Final = {"added": 2, "known": 0}


@router.post("/events", response_model=EventsTaken, responses=answer(_EXAMPLE))
async def events(request: Request, gateway: GatewayDep) -> Response:
    """Take transactions that need no decision: one, or an array of them, each with its transaction_id.

    They count in the features from history of what comes after, wherever they belong in time. The answer goes out when
    they are in the database. What is sent again, or was predicted, counts once; without an answer, send it again.
    """
    model = gateway.slot.model()
    if not model.contract.history:
        raise NoHistory(f"Version {model.version} has no features from history.", "Send transactions to /predict.")
    with gateway.bodies.share() as share:
        body = await json_body(request.headers.raw, request.receive, gateway.settings.max_body_bytes, share)
        limiter = gateway.batches if len(body) > SMALL_BYTES else None
        admission = Admission.now(model.contract, gateway.settings)
        given = model.parser, body, gateway.settings.max_batch_rows, admission
        chunk = await to_thread.run_sync(_parsed, *given, limiter=limiter)
    if chunk.errors:
        raise InvalidFields(chunk.errors)
    count = len(chunk.transactions.raw)
    added = await gateway.decisions.adding_events(model.contract, chunk.transactions)
    record = record_of(request.scope)
    record.message = "Events received"
    record.fields.update(events=count, added=added)
    return Response(to_json({"added": added, "known": count - added}), media_type="application/json")


def _parsed(parser: TransactionParser, body: bytes, max_rows: int, admission: Admission) -> Chunk:
    chunk = admission.chunk(parser.batch(body if is_array(body) else b"[" + body + b"]", max_rows))
    unnamed = [row for row, name in zip(chunk.rows.tolist(), chunk.transactions.ids, strict=True) if name is None]
    field = parser.contract.transaction_id
    faults: list[FieldError] = [{"row": row, "field": field, "message": _NAMELESS} for row in unnamed]
    return Chunk(chunk.transactions, chunk.rows, sorted([*chunk.errors, *faults], key=lambda error: error["row"]))
