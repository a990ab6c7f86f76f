"""What routes are given: the running gateway's parts, through one dependency.

One, and a coroutine: FastAPI spends about 30 microseconds on each, and runs plain functions on a thread.
"""

from dataclasses import dataclass
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from serving.errors import NoModel
from serving.live_model import LiveModel, ModelSlot
from serving.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything that lives as long as the process."""

    settings: GatewaySettings
    slot: ModelSlot
    batches: CapacityLimiter

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
