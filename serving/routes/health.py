"""Is it alive, is it ready: for people, load balancers and orchestrators."""

from typing import Any, Final

from fastapi import APIRouter

from serving.dependencies import GatewayDep
from serving.examples import answer
from serving.live_model import Trouble
from serving.problems import problem_responses
from serving.shadow import Shadow

router = APIRouter(tags=["health"])

_READY: Final = {
    "status": "ready",
    "model_version": "3",
    "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "named_by": "registry",
    "loaded_at": "2026-01-02T03:04:05Z",
    "trouble": None,
    "shadow": {"share": 0.1, "model_version": "4", "trouble": None},
}


@router.get("/health", responses=answer({"status": "ok", "model_loaded": True, "model_version": "3"}))
async def health(gateway: GatewayDep) -> dict[str, Any]:
    """200 as long as the process lives; ``model_loaded`` says whether it can answer."""
    model = gateway.slot.current
    return {"status": "ok", "model_loaded": model is not None, "model_version": model.version if model else None}


@router.get("/health/live", responses=answer({"status": "ok"}))
async def live() -> dict[str, str]:
    """The process answers: do not restart it."""
    return {"status": "ok"}


@router.get("/health/ready", responses={**answer(_READY), **problem_responses(503)})
async def ready(gateway: GatewayDep) -> dict[str, Any]:
    """503 without a model; with one, which, since when, what kept a newer one from going live, and what shadows it."""
    model, trouble = gateway.model(), gateway.slot.trouble
    return {
        "status": "ready",
        "model_version": model.version,
        "digest": model.live.digest,
        "named_by": model.live.named_by,
        "loaded_at": model.loaded_at,
        "trouble": described(trouble),
        "shadow": _shadow(gateway.shadow),
    }


def described(trouble: Trouble | None) -> dict[str, Any] | None:
    """What clients see of a trouble."""
    return {"message": trouble.message, "since": trouble.since} if trouble else None


def _shadow(shadow: Shadow | None) -> dict[str, Any] | None:
    if shadow is None:
        return None
    challenger = shadow.watcher.current
    return {
        "share": shadow.share,
        "model_version": challenger.version if challenger else None,
        "trouble": described(shadow.watcher.trouble),
    }
