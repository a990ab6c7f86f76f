"""The live model: its version and card, how it came to answer, and the features that it takes."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, Field

from ml_project.card import Card
from ml_project.errors import Unavailable
from ml_project.schema import ENGINEERED_FEATURES, FEATURES, MAX_MAGNITUDE, RAW_FEATURES
from serving.errors import NoCard, problem_responses
from serving.gateway import GatewayDep
from serving.live_model import LiveModel, ModelSource
from serving.model_follower import ModelFollower
from serving.routes.examples import MODEL, PROMOTION, answer
from serving.routes.operations import described
from serving.transactions import Transaction

if TYPE_CHECKING:
    from stores.released import Promotions


NEWEST: Final = 200
"""Moves in an answer; `python -m pipelines history` has all."""

router = APIRouter(tags=["model"])

_PROBLEMS: Final = problem_responses(401, 403, 429, 500, 503)


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


@router.get("/model", responses={**answer(MODEL), **_PROBLEMS, **problem_responses(404)})
async def live_card(gateway: GatewayDep) -> LiveCard:
    """The live version with its model card; 404 where it has none."""
    model = gateway.slot.model()
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


@router.get("/model/history", responses={**answer({"source": "history", "moves": [PROMOTION]}), **_PROBLEMS})
async def promotions(gateway: GatewayDep) -> PromotionHistory:
    """Who promoted what, when and why, at most some seconds old."""
    known = await to_thread.run_sync(gateway.past.read)
    return PromotionHistory.model_validate(
        {"source": known.source, "moves": [asdict(move) for move in known.moves[:NEWEST]]}
    )


_FEATURES: Final = {
    "required_features": RAW_FEATURES,
    "engineered_features": ENGINEERED_FEATURES,
    "total_features": len(FEATURES),
    "model_version": "3",
    "features": {
        "Amount": {
            "type": "number",
            "required": True,
            "minimum": 0,
            "maximum": MAX_MAGNITUDE,
            "training_range": {"minimum": 0.0, "maximum": 25691.16},
        }
    },
}


@router.get("/features", responses=answer(_FEATURES))
async def features(gateway: GatewayDep) -> dict[str, Any]:
    """Fields to send, fields computed here and, with a model loaded, the ranges that it was trained on."""
    model = gateway.slot.current
    accepted = Transaction.model_json_schema()["properties"]
    ranges = _training_ranges(model) if model else {}
    described = {
        name: {
            "type": "number",
            "required": name in RAW_FEATURES,
            "minimum": accepted[name].get("minimum"),
            "maximum": accepted[name].get("maximum"),
            "training_range": ranges.get(name),
        }
        for name in FEATURES
    }
    return {
        "required_features": RAW_FEATURES,
        "engineered_features": ENGINEERED_FEATURES,
        "total_features": len(FEATURES),
        "model_version": model.version if model else None,
        "features": described,
    }


def _training_ranges(model: LiveModel) -> dict[str, dict[str, Any]]:
    statistics = model.scorer.bundle.manifest.statistics
    columns = zip(FEATURES, statistics.minimum, statistics.maximum, strict=True)
    # The ensemble never sees Time itself, only the hour of day that it falls in.
    return {
        name: {"minimum": low, "maximum": high, **({"unit": "hour of day"} if name == "Time" else {})}
        for name, low, high in columns
    }


PROMOTIONS_SECONDS: Final = 5.0
"""How long an answer is given again: half of what an MLflow server that is away costs."""


class PastPromotions:
    """Moves of Production.

    Parameters
    ----------
    follower : ModelFollower
        Has the registry, once it could be connected to.
    at_once : callable or None
        Makes the source that stands in for it until then.
    """

    def __init__(self, follower: ModelFollower, at_once: Callable[[], ModelSource] | None) -> None:
        self._follower = follower
        self._at_once = at_once
        self._lock = threading.Lock()
        self._known: Promotions | None = None
        self._until = 0.0

    def read(self) -> "Promotions":
        """What is known; blocks, and belongs on a worker thread.

        Raises
        ------
        FraudError
            When neither registry nor release pointer can be read.
        """
        with self._lock:
            if self._known is None or time.monotonic() > self._until:
                self._known = None
                self._known = self._source().promotions()
                self._until = time.monotonic() + PROMOTIONS_SECONDS
            return self._known

    def _source(self) -> ModelSource:
        source = self._follower.source or (self._at_once() if self._at_once else None)
        if source is None:
            raise Unavailable("The registry could not be reached yet.", "Try again in some seconds.")
        return source
