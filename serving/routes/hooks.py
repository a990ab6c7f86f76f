"""What other systems tell the gateway."""

import time
from typing import Final, Literal

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from serving.bodies import read_json_body
from serving.dependencies import GatewayDep
from serving.examples import answer
from serving.problems import problem_responses
from serving.request_record import record_of
from serving.webhook import check_signature, moves_alias

_ALIAS: Final = "Production"
_MAX_BYTES: Final = 65_536

router = APIRouter(tags=["operations"])


class Heard(TypedDict):
    """What the gateway does about it."""

    outcome: Literal["looking", "ignored"]


@router.post(
    "/hooks/registry",
    status_code=202,
    responses={202: answer({"outcome": "looking"})[200], **problem_responses(400, 401, 404, 413, 415, 500)},
)
async def registry(request: Request, gateway: GatewayDep) -> Heard:
    """MLflow's webhook, signed: when `Production` was set, the registry is asked at once instead of at the next look.

    What the delivery says is not believed beyond that, so that one sent again does no harm. 404 where the gateway has
    no secret for it.
    """
    secret = gateway.settings.webhook_secret
    if secret is None:
        raise HTTPException(404, "There is no webhook here: FRAUD_WEBHOOK_SECRET is not set.")
    body = await read_json_body(request, _MAX_BYTES)
    check_signature(secret.get_secret_value(), request.headers, body, time.time())
    if not moves_alias(body, gateway.settings.model_name, _ALIAS):
        return {"outcome": "ignored"}
    record_of(request.scope).message = "Registry webhook received"
    gateway.look_now()
    return {"outcome": "looking"}
