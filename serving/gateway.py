"""What routes are given: the running gateway's parts, through one dependency.

One, and a coroutine: FastAPI spends about 30 microseconds on each, and runs plain functions on a thread.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from serving.large_bodies import Budget
from serving.live_model import ModelSlot
from serving.settings import GatewaySettings

if TYPE_CHECKING:
    from serving.decisions import Decisions
    from serving.routes.dashboard import Dashboard
    from serving.routes.model import PastPromotions
    from serving.shadow import Shadow
    from serving.telemetry.metrics import GatewayMetrics
    from serving.turns import Turns


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts that live as long as the process; `serving.app.create_app` builds them.

    Attributes
    ----------
    slot : ModelSlot
        Holds the model that answers.
    decisions : Decisions
        The decision store.
    turns : Turns
        Predicts single transactions.
    metrics : GatewayMetrics
    batches : CapacityLimiter
        How many large batches and other large bodies are worked on at the same time.
    small_batches : CapacityLimiter
        How many of the others, which must not wait for these.
    bodies, uploads : Budget
        Room for all large bodies: in memory, and on the disk.
    look_now : callable
        Makes all workers look at the registry at once.
    past : PastPromotions
        How the live version came to answer.
    dashboard : Dashboard
        What happened lately.
    shadow : Shadow or None
        Has a challenger score too; None when shadowing is off.
    """

    settings: GatewaySettings
    slot: ModelSlot
    decisions: "Decisions"
    turns: "Turns"
    metrics: "GatewayMetrics"
    batches: CapacityLimiter
    small_batches: CapacityLimiter
    bodies: Budget
    uploads: Budget
    look_now: Callable[[], None]
    past: "PastPromotions"
    dashboard: "Dashboard"
    shadow: "Shadow | None"


async def _gateway(request: Request) -> Gateway:
    return cast(Gateway, request.app.state.gateway)


GatewayDep = Annotated[Gateway, Depends(_gateway)]
