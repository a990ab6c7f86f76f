"""What answers: the live version with its model card, and how it came to answer."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, Field

from ml_project.card import Card
from serving.dependencies import GatewayDep
from serving.errors import NoCard
from serving.examples import MODEL, PROMOTION, answer
from serving.problems import problem_responses
from serving.routes.health import described

NEWEST: Final = 200
"""Moves in an answer; `python -m pipelines history` has all."""

router = APIRouter(tags=["model"], responses=problem_responses(401, 403, 429, 500, 503))


class LiveCard(BaseModel):
    """The live version."""

    model_version: str
    digest: str
    named_by: Literal["registry", "release pointer"]
    loaded_at: datetime
    trouble: dict[str, Any] | None = Field(description="What kept a newer version from going live.")
    swaps: dict[str, int] = Field(description="Attempts of this process to go live, by outcome.")
    policy: str
    alert_threshold: float
    decline_threshold: float = Field(description="Above 1 where nothing is declined.")
    card: Card = Field(description="Figures with intervals, curves, data, lineage; samples are transactions to try.")


class Promotion(BaseModel):
    """A move of Production; null is what the release pointer does not know."""

    number: int | None
    kind: str | None = Field(description="promote, policy, rollback or outside (moved in MLflow's own page).")
    origin: int | None = Field(description="The version before.")
    to: int | None
    who: str | None
    asked_by: str | None
    when: datetime
    why: str | None
    gate: Literal["passed", "forced", "refused", "none"]
    outcome: Literal["done", "undone", "unfinished"]


class PromotionHistory(BaseModel):
    """Moves of Production, the newest first."""

    source: Literal["history", "release pointer"] = Field(
        description="release pointer: MLflow is away, and only the latest promotion is known."
    )
    moves: list[Promotion]


@router.get("/model", responses={**answer(MODEL), **problem_responses(404)})
async def live_card(gateway: GatewayDep) -> LiveCard:
    """The live version with its model card; 404 where it has none."""
    model = gateway.model()
    if model.card is None:
        raise NoCard(
            f"Version {model.version} has no model card, or it could not be fetched yet.",
            "Promote it with `python -m pipelines promote`, which writes one.",
        )
    thresholds = model.scorer.thresholds
    return LiveCard(
        model_version=model.version,
        digest=model.live.digest,
        named_by=model.live.named_by,
        loaded_at=model.loaded_at,
        trouble=described(gateway.slot.trouble),
        swaps=gateway.slot.swaps,
        policy=model.scorer.bundle.manifest.policy,
        alert_threshold=thresholds.alert,
        decline_threshold=thresholds.decline,
        card=model.card,
    )


@router.get("/model/history", responses=answer({"source": "history", "moves": [PROMOTION]}))
async def promotions(gateway: GatewayDep) -> PromotionHistory:
    """Who promoted what, when and why, at most some seconds old."""
    known = await to_thread.run_sync(gateway.past.read)
    return PromotionHistory.model_validate(
        {"source": known.source, "moves": [asdict(move) for move in known.moves[:NEWEST]]}
    )
