"""What happened lately, for the page's charts."""

from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from serving.dependencies import GatewayDep
from serving.examples import WATCH, answer
from serving.problems import problem_responses
from serving.watch_answer import WatchAnswer

LONGEST_HOURS: Final = 31 * 24.0
MOST_BUCKETS: Final = 96

router = APIRouter(tags=["watch"], responses=problem_responses(401, 403, 422, 429, 500, 503))


class WatchQuery(BaseModel):
    """Which window."""

    model_config = ConfigDict(extra="forbid")

    hours: float = Field(24.0, ge=0.1, le=LONGEST_HOURS, allow_inf_nan=False, description="Its length; it ends now.")
    buckets: int = Field(48, ge=1, le=MOST_BUCKETS, description="Parts that it is cut into.")


@router.get("/watch", responses=answer(WATCH))
async def watch(query: Annotated[WatchQuery, Query()], gateway: GatewayDep) -> WatchAnswer:
    """Decisions, scores, latency, drift and labels of a window by receipt, at most ten seconds old.

    Counts are of all rows; scores, latencies and drift of a sample, where there are more rows than that.
    """
    return await to_thread.run_sync(gateway.watching.read, gateway.decisions.store, query.hours, query.buckets)
