"""What routes are given: the running gateway's parts, through one dependency.

One, and a coroutine: FastAPI spends about 30 microseconds on each, and runs plain functions on a thread.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from serving.errors import NoModel
from serving.live_model import LiveModel, ModelSlot
from serving.past_promotions import PastPromotions
from serving.settings import GatewaySettings
from serving.shadow import Shadow
from serving.watching import Watching

if TYPE_CHECKING:
    from serving.decisions import Decisions


@dataclass(slots=True)
class Gateway:
    """Everything that lives as long as the process.

    Attributes
    ----------
    look_now : callable
        Has the registry asked at once, in all workers.
    past : PastPromotions
        How the live version came to answer.
    watching : Watching
        What happened lately.
    shadow : Shadow or None
        Where a challenger scores too; None where that is not wanted.
    opened : Decisions or None
        The decision store, between start-up and shutdown.
    """

    settings: GatewaySettings
    slot: ModelSlot
    batches: CapacityLimiter
    look_now: Callable[[], None]
    past: PastPromotions
    watching: Watching
    shadow: Shadow | None = None
    opened: "Decisions | None" = None

    @property
    def decisions(self) -> "Decisions":
        """The decision store; no request comes in before it is opened."""
        if self.opened is None:
            raise RuntimeError("The gateway's lifespan has not begun.")
        return self.opened

    def model(self) -> LiveModel:
        """The live model; a request asks once and keeps what it got.

        Raises
        ------
        NoModel
            While there is none.
        """
        model = self.slot.current
        if model is None:
            trouble = self.slot.trouble
            reason = trouble.message if trouble else "The gateway has just started and looks for one."
            raise NoModel("No model is loaded yet.", reason)
        return model


async def _gateway(request: Request) -> Gateway:
    return cast(Gateway, request.app.state.gateway)


GatewayDep = Annotated[Gateway, Depends(_gateway)]
