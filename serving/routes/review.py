"""What reviewers use: the queue in pages and totals, one prediction in full, labels, and claims on what is open."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import to_json
from typing_extensions import TypedDict

from serving.errors import MAX_ERRORS, BodyTooLarge, FieldError, InvalidFields, UnknownPrediction, problem_responses
from serving.gateway import GatewayDep
from serving.http import json_body, json_in, too_large
from serving.large_bodies import SMALL_BYTES, is_array, json_array
from serving.routes.examples import KEPT, PREDICTION, QUEUE, answer
from serving.telemetry.request import record_of
from serving.transactions import MAX_NAME_LENGTH
from stores.decisions import LabelItem

ANONYMOUS: Final = "anonymous"
"""The reviewer in open mode."""

router = APIRouter(responses=problem_responses(401, 403, 422, 429, 500, 503))

_EITHER: Final[list[Any]] = [
    {"required": [one], "properties": {one: {"type": "string"}, other: {"type": "null"}}}
    for one, other in (("prediction_id", "transaction_id"), ("transaction_id", "prediction_id"))
]

_Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=r"^[^\x00]*$")]


def _no_truth(value: object) -> object:
    """To Python, true is 1; as an answer to "legitimate?" it would be labelled as fraud."""
    if isinstance(value, bool):
        raise ValueError("say fraud or legitimate, 1 or 0")
    return value


class Feedback(BaseModel):
    """One label, for a prediction or for the first prediction of a transaction."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"oneOf": _EITHER})

    prediction_id: _Name | None = None
    transaction_id: _Name | None = None
    label: Annotated[Literal["fraud", "legitimate", 1, 0], BeforeValidator(_no_truth)]
    note: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] | None = Field(
        None, description="Why, in the reviewer's words."
    )

    @model_validator(mode="after")
    def _one_name(self) -> "Feedback":
        if (self.prediction_id is None) == (self.transaction_id is None):
            raise ValueError("name either a prediction_id or a transaction_id")
        return self


class FeedbackOutcome(TypedDict):
    """What became of a label: unchanged is one that this reviewer gave last, unknown names no prediction.

    A trial takes no label.
    """

    prediction_id: str | None
    outcome: Literal["added", "unchanged", "unknown", "trial"]


_ONE: Final = TypeAdapter(Feedback)
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [Feedback.model_json_schema(), {"type": "array", "items": _ONE.json_schema()}]},
                "example": {"transaction_id": "tx-1", "label": "fraud"},
            }
        },
    }
}
_ANSWERS: Final = {
    **answer({"prediction_id": PREDICTION["prediction_id"], "outcome": "added"}),
    **problem_responses(400, 413, 415),
}


@router.post(
    "/feedback",
    tags=["feedback"],
    response_model=FeedbackOutcome | list[FeedbackOutcome],
    openapi_extra=_BODY,
    responses=_ANSWERS,
)
async def feedback(request: Request, gateway: GatewayDep) -> Response:
    """Add labels; one object is answered by one, an array by an array in the same order.

    Nothing is overwritten: the newest label counts, the earlier ones stay with their reviewers' names. The same label
    sent again changes nothing, so that a request without an answer can simply be repeated.
    """
    with gateway.bodies.share() as share:
        body = await json_body(request.headers.raw, request.receive, gateway.settings.max_body_bytes, share)
        limiter = gateway.batches if len(body) > SMALL_BYTES else None
        items, single = await to_thread.run_sync(parse_feedback, body, gateway.settings.max_batch_rows, limiter=limiter)
    record = record_of(request.scope)
    labels = [
        LabelItem(
            prediction_id=item.prediction_id,
            transaction_id=item.transaction_id,
            label=int(item.label in ("fraud", 1)),
            note=item.note or None,
        )
        for item in items
    ]
    outcomes = await gateway.decisions.labelling(labels, record.key_name or ANONYMOUS)
    record.message = "Feedback received"
    record.fields.update(labels=len(outcomes), added=sum(outcome["outcome"] == "added" for outcome in outcomes))
    return Response(to_json(outcomes[0] if single else outcomes), media_type="application/json")


def parse_feedback(body: bytes, max_items: int) -> tuple[list[Feedback], bool]:
    """The labels, and whether the body was a single one; takes a while where it is large.

    Raises
    ------
    MalformedJson, InvalidFields, BodyTooLarge
        When it is not JSON, not labels, or too many.
    """
    if not is_array(body):
        if len(body) > SMALL_BYTES:
            raise too_large(SMALL_BYTES)
        try:
            return [_ONE.validate_python(json_in(body))], True
        except ValidationError as error:
            raise InvalidFields(_faults(error, {})) from None
    items: list[Feedback] = []
    faults: list[FieldError] = []
    count = 0
    for rows in json_array(body):
        first, count = count, count + len(rows)
        if count > max_items:
            raise BodyTooLarge(
                f"There are {count} labels or more; at most {max_items} are taken.", "Send them in parts."
            )
        for place, row in enumerate(rows, first):
            try:
                items.append(_ONE.validate_python(row))
            except ValidationError as error:
                faults += _faults(error, {"row": place})
            if len(faults) >= MAX_ERRORS:
                raise InvalidFields(faults)
    if faults:
        raise InvalidFields(faults)
    return items, False


def _faults(error: ValidationError, where: FieldError) -> list[FieldError]:
    found: list[FieldError] = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        named: FieldError = {"field": str(fault["loc"][0])[:MAX_NAME_LENGTH]} if fault["loc"] else {}
        found.append({**where, **named, "message": fault["msg"].removeprefix("Value error, ")})
    return found


MAX_PAGE: Final = 500
_NUMBER: Final = re.compile(r"[-+.\deE_]+")


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the calendar") from None


def _written_out(value: object) -> object:
    """Pydantic takes numbers for seconds or milliseconds since 1970, as it sees fit."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        raise ValueError("a number is not a time; write 2026-01-02T03:04:05Z")
    return value


_Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_utc)]
_Score = Annotated[float, Field(allow_inf_nan=False)]
# described without null, which a query cannot say: fuzzers take it for leave to send objects
_Text = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]*$")] | SkipJsonSchema[None]
_Entity = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")] | SkipJsonSchema[None]


class Wanted(BaseModel):
    """Which predictions; what is left out does not filter."""

    model_config = ConfigDict(extra="forbid")

    order: Literal["newest", "riskiest", "expected_loss"] = Field(
        "newest", description="expected_loss: fraud probability times amount, of what goes to review."
    )
    decision: Literal["APPROVE", "REVIEW", "DECLINE"] | None = None
    since: _Moment | None = Field(None, description="Received at or after.")
    until: _Moment | None = Field(None, description="Received before.")
    score_from: _Score | None = Field(None, description="Least hybrid score.")
    score_below: _Score | None = None
    labelled: bool | None = None
    for_review: bool | None = Field(
        None, description="The alerts, and the approvals drawn at random: what reviewers should label."
    )
    model_version: _Text = None
    source: Literal["single", "batch", "trial"] | None = Field(None, description="Without it, trials are left out.")
    key_name: _Text = Field(None, description="The API key that it came with.")
    amount_from: _Score | None = Field(None, description="Least amount, of what goes to review.")
    amount_below: _Score | None = None
    entity: _Entity = Field(
        None, description="One card or customer (the contract's first entity), of what goes to review."
    )


class PageQuery(Wanted):
    """A page of them."""

    limit: int = Field(100, ge=1, le=MAX_PAGE)
    after: str | None = Field(None, max_length=512, description="`next` of the page before.")


class PredictionsPage(BaseModel):
    """A page; ``next`` is null on the last one."""

    items: list[dict[str, Any]]
    next: str | None


@router.get(
    "/predictions",
    tags=["predictions"],
    response_model=PredictionsPage,
    responses=answer({"items": [KEPT], "next": None}),
)
async def predictions(query: Annotated[PageQuery, Query()], gateway: GatewayDep) -> Response:
    """Kept predictions in pages, which stay in place while others come in. Of batches they list what is for review.

    ``review_rate`` is 1 for an alert, the sample's rate for an approval drawn at random, null for what is not reviewed.
    What is for review bears reasons, as long as the version that decided is the live one. With ``order=riskiest`` and
    ``expected_loss`` those of one card or customer (of the contract's first entity) stand together in a page, where the
    first of them is. ``claim`` says who has a prediction open, see `/claims`.
    """
    wanted = query.model_dump(exclude={"limit", "after"})
    model = gateway.slot.current
    items, following = await gateway.decisions.reading(gateway.decisions.page, wanted, query.after, query.limit, model)
    return Response(to_json({"items": items, "next": following}), media_type="application/json")


class QueueQuery(Wanted):
    """What the totals are of."""

    today: _Moment | None = Field(None, description="When the reviewer's day began; midnight in UTC without it.")
    arrived_after: _Moment | None = Field(None, description="What was received later counts as arrived.")


class QueueTotals(BaseModel):
    """What waits for review, and what was done today."""

    waiting: int = Field(description="Predictions for review without a label.")
    alerts: int = Field(description="Alerts among them.")
    sample: int = Field(description="Approvals drawn at random among them.")
    arrived: int = Field(description="Those received after `arrived_after`.")
    labelled_today: int = Field(description="Predictions labelled, by anyone.")
    labelled_today_by_you: int


@router.get("/queue", tags=["predictions"], responses=answer(QUEUE))
async def queue(query: Annotated[QueueQuery, Query()], request: Request, gateway: GatewayDep) -> QueueTotals:
    """Totals of the review queue, by the same filters as its pages."""
    wanted = query.model_dump(exclude={"today", "arrived_after"})
    today = query.today or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    reviewer = record_of(request.scope).key_name or ANONYMOUS
    totals = await gateway.decisions.reading(
        gateway.decisions.queue_totals, wanted, query.arrived_after, today, reviewer
    )
    return QueueTotals(
        waiting=totals.waiting,
        alerts=totals.alerts,
        sample=totals.sample,
        arrived=totals.arrived,
        labelled_today=totals.labelled,
        labelled_today_by_you=totals.labelled_by_reviewer,
    )


MOST_CLAIMS: Final = 500


class Claims(BaseModel):
    """Predictions that a reviewer opens in a window."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prediction_ids: Annotated[list[_Name], Field(min_length=1, max_length=MOST_CLAIMS)]
    session: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")] = Field(
        description="Any name of the reviewer's window: it tells two of one key apart."
    )
    seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        120.0, description="How long from now; renew it in time. 0 gives them back."
    )


class ClaimOutcome(TypedDict):
    """What became of a claim; taken: another reviewer or window has it, until then."""

    prediction_id: str
    outcome: Literal["claimed", "taken", "released", "unknown"]
    reviewer: str | None
    until: datetime | None


_CLAIMS: Final = TypeAdapter(Claims)
_CLAIMED: Final = {
    "prediction_id": PREDICTION["prediction_id"],
    "outcome": "claimed",
    "reviewer": "anna",
    "until": "2026-01-02T03:06:05Z",
}


@router.post(
    "/claims",
    tags=["feedback"],
    response_model=list[ClaimOutcome],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": Claims.model_json_schema(),
                    "example": {"prediction_ids": [PREDICTION["prediction_id"]], "session": "window-1", "seconds": 120},
                }
            },
        }
    },
    responses={**answer([_CLAIMED]), **problem_responses(400, 413, 415)},
)
async def claims(request: Request, gateway: GatewayDep) -> Response:
    """Claim predictions while they are open for review, so that two analysts do not work on the same case.

    A claim runs out by itself, and forbids nothing: whoever labels a prediction that another has open is not refused.
    """
    body = await json_body(request.headers.raw, request.receive, SMALL_BYTES)
    try:
        asked = _CLAIMS.validate_python(json_in(body))
    except ValidationError as error:
        raise InvalidFields(_faults(error, {})) from None
    reviewer = record_of(request.scope).key_name or ANONYMOUS
    outcomes = await gateway.decisions.claiming(asked.prediction_ids, reviewer, asked.session, asked.seconds)
    return Response(to_json(outcomes), media_type="application/json")


@router.get(
    "/predictions/{prediction_id}",
    tags=["predictions"],
    response_model=dict[str, Any],
    responses={**answer({**KEPT, "labels": [KEPT["label"]]}), **problem_responses(404)},
)
async def prediction(prediction_id: Annotated[str, Path(max_length=64)], gateway: GatewayDep) -> Response:
    """All that is kept of one prediction, of a batch or not, with the history of its labels.

    It bears reasons as long as the version that decided is the live one, whatever the decision.
    """
    found = (
        None
        if "\0" in prediction_id
        else await gateway.decisions.reading(gateway.decisions.find, prediction_id, gateway.slot.current)
    )
    if found is None:
        raise UnknownPrediction("No such prediction is kept.", "It may still be in the spool, or have been purged.")
    return Response(to_json(found), media_type="application/json")
