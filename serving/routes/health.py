"""Is it alive, is it ready: for people, load balancers and orchestrators."""

from typing import Any

from fastapi import APIRouter

from serving.dependencies import GatewayDep
from serving.problems import problem_responses

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(gateway: GatewayDep) -> dict[str, Any]:
    """200 as long as the process lives; ``model_loaded`` says whether it can answer."""
    model = gateway.slot.current
    return {"status": "ok", "model_loaded": model is not None, "model_version": model.version if model else None}


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers: do not restart it."""
    return {"status": "ok"}


@router.get("/health/ready", responses=problem_responses(503))
async def ready(gateway: GatewayDep) -> dict[str, Any]:
    """503 without a model; with one, which, since when, and what kept a newer one from going live."""
    model, trouble = gateway.model(), gateway.slot.trouble
    return {
        "status": "ready",
        "model_version": model.version,
        "digest": model.live.digest,
        "named_by": model.live.named_by,
        "loaded_at": model.loaded_at,
        "trouble": {"message": trouble.message, "since": trouble.since} if trouble else None,
    }
