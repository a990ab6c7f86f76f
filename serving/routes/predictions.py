"""Kept predictions: the review queue in pages, and all that is known about one."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import to_json

from serving.dependencies import GatewayDep
from serving.errors import UnknownPrediction
from serving.examples import KEPT, answer
from serving.problems import problem_responses

MAX_PAGE: Final = 500
_NUMBER: Final = re.compile(r"[-+.\deE_]+")

router = APIRouter(tags=["predictions"], responses=problem_responses(401, 403, 422, 429, 500, 503))


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside of the calendar") from None


def _written_out(value: object) -> object:
    """Pydantic takes numbers for seconds or milliseconds since 1970, as it sees fit."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        raise ValueError("a number is no moment; write 2026-01-02T03:04:05Z")
    return value


_Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_utc)]
_Score = Annotated[float, Field(allow_inf_nan=False)]


class Wanted(BaseModel):
    """Which predictions; what is left out does not filter."""

    model_config = ConfigDict(extra="forbid")

    order: Literal["newest", "riskiest"] = "newest"
    decision: Literal["APPROVE", "REVIEW", "DECLINE"] | None = None
    since: _Moment | None = Field(None, description="Received at or after.")
    until: _Moment | None = Field(None, description="Received before.")
    score_from: _Score | None = Field(None, description="Least hybrid score.")
    score_below: _Score | None = None
    labelled: bool | None = None
    for_review: bool | None = Field(
        None, description="The alerts, and the approvals drawn at random: what reviewers should label."
    )
    # described without null, which a query cannot say: fuzzers take it for leave to send objects
    model_version: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]*$")] | SkipJsonSchema[None] = (
        None
    )


class PageQuery(Wanted):
    """A page of them."""

    limit: int = Field(100, ge=1, le=MAX_PAGE)
    after: str | None = Field(None, max_length=512, description="`next` of the page before.")


class PredictionsPage(BaseModel):
    """A page; ``next`` is null on the last one."""

    items: list[dict[str, Any]]
    next: str | None


@router.get("/predictions", response_model=PredictionsPage, responses=answer({"items": [KEPT], "next": None}))
async def predictions(query: Annotated[PageQuery, Query()], gateway: GatewayDep) -> Response:
    """Pages that stay in place while predictions come in. Of batches they list what is for review.

    ``review_rate`` is 1 for an alert, the sample's rate for an approval drawn at random, null for what nobody reviews.
    What is for review bears reasons, as long as the version that decided is the live one.
    """
    wanted = query.model_dump(exclude={"limit", "after"})
    model = gateway.slot.current
    items, following = await to_thread.run_sync(gateway.decisions.page, wanted, query.after, query.limit, model)
    return Response(to_json({"items": items, "next": following}), media_type="application/json")


@router.get(
    "/predictions/{prediction_id}",
    response_model=dict[str, Any],
    responses={**answer({**KEPT, "labels": [KEPT["label"]]}), **problem_responses(404)},
)
async def prediction(prediction_id: Annotated[str, Path(max_length=64)], gateway: GatewayDep) -> Response:
    """All that is kept of one prediction, of a batch or not, with the history of its labels."""
    found = None if "\0" in prediction_id else await to_thread.run_sync(gateway.decisions.find, prediction_id)
    if found is None:
        raise UnknownPrediction("No such prediction is kept.", "It may be in the spool still, or purged.")
    return Response(to_json(found), media_type="application/json")
