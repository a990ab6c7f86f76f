"""What transactions turned out to be, as reviewers say."""

from typing import Annotated, Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from serving.bodies import read_json_body
from serving.dependencies import GatewayDep
from serving.errors import BodyTooLarge, FieldError, InvalidFields, MalformedJson
from serving.examples import PREDICTION, answer
from serving.problems import problem_responses
from serving.request_record import record_of
from serving.transactions import MAX_ERRORS, MAX_NAME_LENGTH

ANONYMOUS: Final = "anonymous"
"""The reviewer in open mode."""

router = APIRouter(tags=["feedback"], responses=problem_responses(400, 401, 403, 413, 415, 422, 429, 500, 503))

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

    @model_validator(mode="after")
    def _one_name(self) -> "Feedback":
        if (self.prediction_id is None) == (self.transaction_id is None):
            raise ValueError("name either a prediction_id or a transaction_id")
        return self


class FeedbackOutcome(TypedDict):
    """What became of a label: unchanged is one that this reviewer gave last, unknown names no prediction."""

    prediction_id: str | None
    outcome: Literal["added", "unchanged", "unknown"]


_ONE: Final = TypeAdapter(Feedback)
_MANY: Final = TypeAdapter(list[Feedback])
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
_ANSWER: Final = answer({"prediction_id": PREDICTION["prediction_id"], "outcome": "added"})


@router.post(
    "/feedback", response_model=FeedbackOutcome | list[FeedbackOutcome], openapi_extra=_BODY, responses=_ANSWER
)
async def feedback(request: Request, gateway: GatewayDep) -> Response:
    """Add labels; one object is answered by one, an array by an array in the same order.

    Nothing is overwritten: the newest label counts, the earlier ones stay with their reviewers' names. The same label
    sent again changes nothing, so that a request without an answer can simply be repeated.
    """
    body = await read_json_body(request, gateway.settings.max_body_bytes)
    items, single = parse_feedback(body, gateway.settings.max_batch_rows)
    record = record_of(request.scope)
    labels = [(item.prediction_id, item.transaction_id, int(item.label in ("fraud", 1))) for item in items]
    outcomes = await to_thread.run_sync(gateway.decisions.label, labels, record.key_name or ANONYMOUS)
    record.message = "Feedback received"
    record.fields.update(labels=len(outcomes), added=sum(outcome["outcome"] == "added" for outcome in outcomes))
    return Response(to_json(outcomes[0] if single else outcomes), media_type="application/json")


def parse_feedback(body: bytes, max_items: int) -> tuple[list[Feedback], bool]:
    """The labels, and whether the body was a single one.

    Raises
    ------
    MalformedJson, InvalidFields, BodyTooLarge
        When it is no JSON, no labels, or too many.
    """
    try:
        content = from_json(body)
    except ValueError as error:
        raise MalformedJson(f"The body is not JSON: {error}.") from None
    single = not isinstance(content, list)
    if isinstance(content, list) and len(content) > max_items:
        raise BodyTooLarge(f"There are {len(content)} labels; at most {max_items} are taken.", "Send them in parts.")
    try:
        return ([_ONE.validate_python(content)] if single else _MANY.validate_python(content)), single
    except ValidationError as error:
        raise InvalidFields(_faults(error, single)) from None


def _faults(error: ValidationError, single: bool) -> list[FieldError]:
    found: list[FieldError] = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_ERRORS]:
        place = list(fault["loc"])
        named: FieldError = {} if single or not place else {"row": int(place.pop(0))}
        if place:
            named["field"] = str(place[0])[:MAX_NAME_LENGTH]
        found.append({**named, "message": fault["msg"].removeprefix("Value error, ")})
    return found
