"""The live model: its version and card, how it came to answer, and the features that it takes."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, Field

from ml_project.baseline import BINS, watched_categories
from ml_project.card import Card
from ml_project.contract import Contract
from ml_project.contract_parts import MAX_MAGNITUDE, ContractField
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
    """A move of Production, or a refusal; null is what the release pointer does not know."""

    number: int | None
    kind: str | None = Field(
        description="promote, policy, rollback, outside (moved in MLflow's own page), or challenge (refused)."
    )
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
        description="release pointer: MLflow is unreachable, and only the latest promotion is known."
    )
    moves: list[Promotion]
    refusals: list[Promotion] = Field(description="Candidates that the gate kept out, the newest first, and why.")


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


@router.get(
    "/model/history", responses={**answer({"source": "history", "moves": [PROMOTION], "refusals": []}), **_PROBLEMS}
)
async def promotions(gateway: GatewayDep) -> PromotionHistory:
    """Who promoted what, when and why, at most some seconds old."""
    known = await to_thread.run_sync(gateway.past.read)
    return PromotionHistory.model_validate(
        {
            "source": known.source,
            "moves": [asdict(move) for move in known.moves[:NEWEST]],
            "refusals": [asdict(move) for move in known.refusals[:NEWEST]],
        }
    )


@router.get("/features", responses=answer({}))
async def features(gateway: GatewayDep) -> dict[str, Any]:
    """Fields to send, fields computed here and, with a model loaded, the ranges that it was trained on.

    ``fields`` has what a transaction may have, in the contract's order; ``telling`` the names of those that are scored,
    the one that moved the live version's scores most first; ``groups`` those whose names say that they belong together.
    ``usual_range`` of a feature is where ``share`` of the training rows are.
    """
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
        for field in contract.given_fields
    }
    ranges = _training_ranges(model) if model else {}
    usual = _usual_ranges(model) if model else {}
    scored = {field.name: field for field in contract.scored_fields}
    described = {}
    for name in dict.fromkeys((*contract.raw_fields, *contract.feature_names)):
        low, high = limits.get(name, (None, None))
        described[name] = {
            "type": scored[name].type if name in scored else "number",
            "required": name in scored and scored[name].required,
            "minimum": low,
            "maximum": high,
            "training_range": ranges.get(name),
            "usual_range": usual.get(name),
        }
    return {
        "required_features": contract.given_names,
        "engineered_features": contract.engineered,
        "total_features": len(contract.features),
        "model_version": model.version if model else None,
        "contract": {"name": contract.contract, "version": contract.version, "digest": contract.digest},
        "label": contract.label_field,
        "label_positive": list(contract.label.positive),
        "fields": [{**field, "training_range": ranges.get(field["name"])} for field in _fields_to_send(contract)],
        "telling": telling_fields(contract, model),
        "groups": field_groups(contract.given_names),
        "features": described,
    }


def _fields_to_send(contract: Contract) -> list[dict[str, Any]]:
    """Those that are scored, then the ones beside them, of which two may be sent whatever the contract says."""
    given = {field.name: field for field in contract.fields if field.role != "weight"}
    found = [_described_field(field, scored=field.name in contract.given_names) for field in given.values()]
    for name, kind, role in (
        (contract.transaction_id, "string", "transaction_id"),
        (contract.event_time, "timestamp", "event_time"),
    ):
        if name not in given:
            field = ContractField.model_validate({"name": name, "type": kind, "role": role, "required": False})
            found.append(_described_field(field, scored=False))
    return sorted(found, key=lambda field: not field["scored"])


def _described_field(field: ContractField, *, scored: bool) -> dict[str, Any]:
    names = ("name", "type", "role", "required", "minimum", "maximum", "values", "decimals", "unit", "example")
    return {name: getattr(field, name) for name in (*names, "description")} | {"scored": scored}


def telling_fields(contract: Contract, model: LiveModel | None) -> list[str]:
    """The scored fields, by how much the features made of them move the model's scores; else in the contract's order.

    A feature that is made of several fields counts for each with an equal part.
    """
    weight = dict.fromkeys(contract.given_names, 0.0)
    if model is not None:
        made_of: dict[str, list[str]] = {}
        for feature, importance in zip(contract.features, model.explainer.importance.tolist(), strict=True):
            fields = [name for each in feature.of for name in ([each] if each in weight else made_of.get(each, []))]
            made_of[feature.name] = fields
            for name in fields:
                weight[name] += importance / len(fields)
    return sorted(weight, key=lambda name: -weight[name])


def field_groups(names: Sequence[str]) -> list[dict[str, Any]]:
    """Names that belong together: runs of numbered ones, then those that begin with one word; four at least."""
    runs = numbered_runs(names)
    found: list[dict[str, Any]] = [{"name": f"{run[0]} to {run[-1]}", "fields": run} for run in runs]
    grouped = {name for run in runs for name in run}
    by_word: dict[str, list[str]] = {}
    for name in names:
        if name not in grouped and (match := _FIRST_WORD.match(name)):
            by_word.setdefault(match[0], []).append(name)
    return found + [
        {"name": f"{word}…", "fields": alike} for word, alike in by_word.items() if len(alike) >= _SMALLEST_GROUP
    ]


def numbered_runs(names: Sequence[str]) -> list[list[str]]:
    """Names that differ in a number at their end alone, and count up by one: at least four of them in a row."""
    runs: list[list[str]] = []
    before: tuple[str, int] | None = None
    for name in names:
        match = _NUMBERED.fullmatch(name)
        now = (match["stem"], int(match["number"])) if match else None
        if now is not None and before is not None and now == (before[0], before[1] + 1):
            runs[-1].append(name)
        else:
            runs.append([name])
        before = now
    return [run for run in runs if len(run) >= _SMALLEST_GROUP]


_NUMBERED: Final = re.compile(r"(?P<stem>.*?)(?P<number>\d{1,9})", re.ASCII | re.DOTALL)
_FIRST_WORD: Final = re.compile(r"[^\W_]+[_ .-]")
_SMALLEST_GROUP: Final = 4


def features_example(contract: Contract) -> dict[str, Any]:
    """The same for the API's description, of one feature."""
    described = described_features(contract)
    name = contract.amount or contract.raw_fields[0]
    shown = described["features"][name] | {"training_range": {"minimum": 0.0, "maximum": 25691.16}}
    fields = [field for field in described["fields"] if field["name"] == name]
    few = {"fields": fields, "telling": [name], "groups": [], "features": {name: shown}}
    return described | {"model_version": "3"} | few


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


def _usual_ranges(model: LiveModel) -> dict[str, dict[str, float]]:
    """Between the first and the last of the baseline's bins: where all but the extreme training rows are."""
    inner = {name: each for name, each in model.scorer.bundle.manifest.drift_baseline.edges.items() if len(each) > 1}
    categories = {each.name for each in watched_categories(model.contract)}
    return {
        name: {"low": each[0], "high": each[-1], "share": 1 - 2 / BINS}
        for name, each in inner.items()
        if name not in categories
    }


PROMOTIONS_SECONDS: Final = 5.0
"""How long an answer is given again: half of what an MLflow server that is unreachable costs."""


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
