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
from ml_project.contract import MAX_MAGNITUDE, Contract
from ml_project.errors import Unavailable
from serving.errors import NoCard, problem_responses
from serving.gateway import GatewayDep
from serving.live_model import LiveModel, ModelSource
from serving.model_follower import ModelFollower
from serving.routes.examples import MODEL, PROMOTION, answer
from serving.routes.operations import described

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


@router.get("/features", responses=answer({}))
async def features(gateway: GatewayDep) -> dict[str, Any]:
    """Fields to send, fields computed here and, with a model loaded, the ranges that it was trained on."""
    model = gateway.slot.current
    contract = model.contract if model else gateway.settings.data_contract
    return described_features(contract, model)


def described_features(contract: Contract, model: LiveModel | None = None) -> dict[str, Any]:
    """What `/features` answers."""
    limits = {
        field.name: (
            -MAX_MAGNITUDE if field.minimum is None else field.minimum,
            MAX_MAGNITUDE if field.maximum is None else field.maximum,
        )
        for field in contract.scored_fields
    }
    ranges = _training_ranges(model) if model else {}
    described = {}
    for name in dict.fromkeys((*contract.raw_fields, *contract.feature_names)):
        low, high = limits.get(name, (None, None))
        described[name] = {
            "type": "number",
            "required": name in limits,
            "minimum": low,
            "maximum": high,
            "training_range": ranges.get(name),
        }
    return {
        "required_features": contract.raw_fields,
        "engineered_features": contract.engineered,
        "total_features": len(contract.features),
        "model_version": model.version if model else None,
        "features": described,
    }


def features_example(contract: Contract) -> dict[str, Any]:
    """The same for the API's description, of one feature."""
    described = described_features(contract)
    name = contract.amount or contract.raw_fields[0]
    shown = described["features"][name] | {"training_range": {"minimum": 0.0, "maximum": 25691.16}}
    return described | {"model_version": "3", "features": {name: shown}}


def _training_ranges(model: LiveModel) -> dict[str, dict[str, Any]]:
    statistics = model.scorer.bundle.manifest.statistics
    columns = zip(model.contract.features, statistics.minimum, statistics.maximum, strict=True)
    # Of a time the ensemble only sees the hour of day that it falls in.
    return {
        feature.name: {
            "minimum": low,
            "maximum": high,
            **({"unit": "hour of day"} if feature.operator == "hour_of_day" and not feature.tested else {}),
        }
        for feature, low, high in columns
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
