"""The dashboard's figures: what happened in a window of live traffic, for the page's charts.

From the answer's shape through the route and its cache to the figures, which are worked out of what the decision store
counted and sampled.
"""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ml_project.baseline import watched_names
from ml_project.drift import compare, limit_of
from ml_project.policies import Decision
from ml_project.statistics import weighted_quantile
from serving.errors import TooManyRequests, problem_responses
from serving.gateway import GatewayDep
from serving.live_model import LiveModel, ModelSlot
from serving.routes.examples import WATCH, answer
from stores.decisions.dashboard import Outcome, Sample, Shadowed, Slice, received_at

if TYPE_CHECKING:
    from stores.decisions import DecisionStore


LONGEST_HOURS: Final = 31 * 24.0
MOST_BUCKETS: Final = 96

router = APIRouter(tags=["watch"], responses=problem_responses(401, 403, 422, 429, 500, 503))


class WatchQuery(BaseModel):
    """Which window."""

    model_config = ConfigDict(extra="forbid")

    hours: float = Field(24.0, ge=0.1, le=LONGEST_HOURS, allow_inf_nan=False, description="Its length; it ends now.")
    buckets: int = Field(48, ge=1, le=MOST_BUCKETS, description="Parts that it is cut into.")


class Quantiles(BaseModel):
    """Of a bucket's sample."""

    p50: float
    p90: float
    p99: float


class Labels(BaseModel):
    """The labels so far of what was received."""

    alerts_labelled: int
    alerts_fraud: int = Field(description="Alerts that were fraud.")
    approved_labelled: int
    approved_fraud: int = Field(description="Frauds that were approved, as far as is known.")


class Bucket(BaseModel):
    """A part of the window."""

    since: datetime
    decisions: dict[str, int]
    score: Quantiles | None = Field(description="Of the hybrid score; null where nothing was decided.")
    latency_ms: Quantiles | None = Field(description="Of single predictions; null where there were none.")
    labels: Labels


class FeatureDrift(BaseModel):
    """How far a feature or the score is from the live version's baseline."""

    name: str
    since: datetime | None = Field(
        description="When the first part of the window began in which it was above a limit by itself.",
    )
    psi: float
    limit: float | None = Field(description="Null where the version's card has no limits.")
    breached: bool = Field(description="Whether any of these is above its limit, as `monitor` judges it.")
    ks: float = Field(description="Kolmogorov-Smirnov distance.")
    ks_limit: float | None
    out_of_range: float | None = Field(description="Share of values beyond the training rows' range.")
    out_of_range_limit: float | None
    missing: float | None = Field(
        description="Share of rows without a value; null where another feature of the same field has it."
    )
    missing_limit: float | None
    other: float | None = Field(
        description="Share of rows with a category that training did not have; null for others."
    )
    other_limit: float | None


class DecisionShare(BaseModel):
    """A share of the live version's decisions, held against the rows that its thresholds were chosen on."""

    name: Literal["alerts", "declines"]
    value: float
    baseline: float | None = Field(description="The share there; null where the version does not say.")
    low: float | None = Field(description="Below this it is a breach.")
    high: float | None = Field(description="Above this it is a breach.")
    judged: bool = Field(description="Whether the window has enough hours and rows to compare with the limits.")
    breached: bool


class WindowDrift(BaseModel):
    """Drift of what the live version decided."""

    rows: int = Field(description="Rows behind it; a sample where there were more.")
    judged: bool = Field(description="Whether there are enough rows to compare with the limits.")
    features: list[FeatureDrift] = Field(description="The furthest first.")


class Shadow(BaseModel):
    """A challenger compared with the champion, on what both scored."""

    model_version: str
    rows: int
    agree: int = Field(description="Rows on which both decide the same.")
    alerts_both: int
    alerts_champion_only: int
    alerts_challenger_only: int
    labelled: int = Field(description="Rows with a label by now; what follows is of them.")
    frauds: int
    frauds_champion: int = Field(description="Frauds that the champion raised an alert for.")
    frauds_challenger: int
    false_alarms_champion: int
    false_alarms_challenger: int


class ReviewSample(BaseModel):
    """Approvals drawn at random for review: what is known of the frauds that were let through."""

    drawn: int
    labelled: int
    frauds: int
    missed_frauds: float | None = Field(
        description="Approved frauds that those stand for, each for 1 / review_rate; null without labels."
    )


class WatchAnswer(BaseModel):
    """A window of live traffic, by receipt, the oldest bucket first."""

    since: datetime
    until: datetime
    bucket_seconds: float
    rows: int
    sampled_rows: int = Field(description="Scores, latencies and drift are of so many of the rows, weighted.")
    model_version: str | None
    alert_threshold: float | None
    decline_threshold: float | None
    buckets: list[Bucket]
    drift: WindowDrift | None = Field(description="Null without a model, or where it decided nothing.")
    shares: list[DecisionShare] = Field(description="As `monitor` judges them; empty without a model or decisions.")
    precision: float | None = Field(description="Frauds among the alerts that were labelled.")
    recall: float | None = Field(description="Alerts among the frauds that are known.")
    review_sample: ReviewSample
    shadow: list[Shadow]


@router.get("/watch", responses=answer(WATCH))
async def watch(query: Annotated[WatchQuery, Query()], gateway: GatewayDep) -> WatchAnswer:
    """Decisions, scores, latency, drift and labels of a window by receipt, at most ten seconds old.

    Counts are of all rows; scores, latencies and drift of a sample, where there are more rows than that.
    """
    return await gateway.dashboard.read(gateway.decisions.store, query.hours, query.buckets)


SECONDS: Final = 10.0
"""How long an answer is given again."""

SAMPLE: Final = 10_000
"""Rows that scores, latencies and drift are worked out from: a third of a second's work on a worker thread."""

_REMEMBERED: Final = 8
_MOST_WAITING: Final = 8
"""Windows that wait for their turn; a page asks for one at a time."""


class Dashboard:
    """Answers about windows that end now, worked out one at a time: they take no thread from others meanwhile.

    Parameters
    ----------
    slot : ModelSlot
    contract : str
        The name of the contract that the gateway is for.
    """

    def __init__(self, slot: ModelSlot, contract: str) -> None:
        self._slot, self._contract = slot, contract
        self._turn = CapacityLimiter(1)
        self._known: dict[tuple[float, int], tuple[float, WatchAnswer]] = {}

    async def read(self, store: "DecisionStore", hours: float, buckets: int) -> WatchAnswer:
        """What happened in the last hours.

        Raises
        ------
        TooManyRequests
            When many other windows are asked for at the same time.
        Unavailable
            When the database does not answer.
        """
        answer = self._remembered(hours, buckets)
        if answer is not None:
            return answer
        if self._turn.statistics().tasks_waiting >= _MOST_WAITING:
            raise TooManyRequests(1)
        return await to_thread.run_sync(self._work_out, store, hours, buckets, limiter=self._turn)

    def _remembered(self, hours: float, buckets: int) -> WatchAnswer | None:
        until, answer = self._known.get((hours, buckets), (0.0, None))
        return answer if time.monotonic() <= until else None

    def _work_out(self, store: "DecisionStore", hours: float, buckets: int) -> WatchAnswer:
        answer = self._remembered(hours, buckets)  # the request before may have asked for the same
        if answer is None:
            answer = watched(store, self._contract, self._slot.current, datetime.now(UTC), hours, buckets)
            self._known.pop((hours, buckets), None)
            self._known[hours, buckets] = time.monotonic() + SECONDS, answer
            while len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
        return answer


def watched(
    store: "DecisionStore", contract: str, model: LiveModel | None, now: datetime, hours: float, count: int
) -> WatchAnswer:
    """What was received under a contract in the hours before a moment, in so many buckets."""
    step = timedelta(hours=hours) / count
    edges = [now - step * (count - place) for place in range(count + 1)]
    slices = store.slices(edges, SAMPLE, contract)
    outcomes = store.outcomes(edges[0], now, contract)
    labelled = labels(outcomes)
    frauds = labelled.alerts_fraud + labelled.approved_fraud
    return WatchAnswer(
        since=edges[0],
        until=now,
        bucket_seconds=step.total_seconds(),
        rows=sum(sum(each.decisions.values()) for each in slices),
        sampled_rows=sum(len(sample) for each in slices for sample in each.samples),
        model_version=None if model is None else model.version,
        alert_threshold=None if model is None else model.scorer.thresholds.alert,
        decline_threshold=None if model is None else model.scorer.thresholds.decline,
        buckets=buckets(slices, outcomes),
        drift=None if model is None else drift(slices, model, hours),
        shares=[] if model is None else decision_shares(slices, model, hours),
        precision=labelled.alerts_fraud / labelled.alerts_labelled if labelled.alerts_labelled else None,
        recall=labelled.alerts_fraud / frauds if frauds else None,
        review_sample=review_sample(slices, outcomes),
        shadow=shadows(store.shadowed(edges[0], now, contract)),
    )


_DAY_HOURS = 24
_NO_LIMIT = 0.01
"""Significance where a card names none; it changes no figure that is shown then."""


def buckets(slices: Sequence[Slice], outcomes: Sequence[Outcome]) -> list[Bucket]:
    """Slices with their labels."""
    starts = np.array([each.since.timestamp() for each in slices])
    by_bucket: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        place = int(np.searchsorted(starts, received_at(outcome.prediction_id), side="right")) - 1
        by_bucket[max(place, 0)].append(outcome)
    return [_bucket(each, labels(by_bucket[place])) for place, each in enumerate(slices)]


def labels(outcomes: Sequence[Outcome]) -> Labels:
    """How many of each kind."""
    alerts = [outcome.label for outcome in outcomes if outcome.decision != Decision.APPROVE]
    approved = [outcome.label for outcome in outcomes if outcome.decision == Decision.APPROVE]
    return Labels(
        alerts_labelled=len(alerts),
        alerts_fraud=sum(alerts),
        approved_labelled=len(approved),
        approved_fraud=sum(approved),
    )


def review_sample(slices: Sequence[Slice], outcomes: Sequence[Outcome]) -> ReviewSample:
    """What the random sample says of approvals (Horvitz and Thompson, 1952)."""
    mine = [each for each in outcomes if each.decision == Decision.APPROVE and each.review_rate]
    missed = sum(each.label / each.review_rate for each in mine if each.review_rate)
    return ReviewSample(
        drawn=sum(each.drawn for each in slices),
        labelled=len(mine),
        frauds=sum(each.label for each in mine),
        missed_frauds=missed if mine else None,
    )


def drift(slices: Sequence[Slice], model: LiveModel, hours: float) -> WindowDrift | None:
    """How far what the model decided is from its baseline, the furthest figure first."""
    found = _drift(slices, model, hours)
    if found is None or not any(feature.breached for feature in found.features):
        return found
    begun: dict[str, datetime] = {}
    step = max(1, math.ceil(len(slices) / _DRIFT_PARTS))
    for start in range(0, len(slices), step):
        part = _drift(slices[start : start + step], model, hours)
        for feature in part.features if part else ():
            if feature.breached:
                begun.setdefault(feature.name, slices[start].since)
    for feature in found.features:
        feature.since = begun.get(feature.name) if feature.breached else None
    return found


_DRIFT_PARTS: Final = 8
"""Parts of a window that are looked at on their own, once one of its figures is above a limit."""


def _drift(slices: Sequence[Slice], model: LiveModel, hours: float) -> WindowDrift | None:
    parts = [(sample, _of(sample, model)) for each in slices for sample in each.samples]
    rows = sum(int(mine.sum()) for _sample, mine in parts)
    if not rows:
        return None
    raw = np.concatenate([sample.raw[model.live.digest] for sample, mine in parts if mine.any()])
    hybrid = np.concatenate([sample.hybrid[mine] for sample, mine in parts])
    weight = np.concatenate([sample.weight[mine] for sample, mine in parts])
    manifest = model.scorer.bundle.manifest
    limits = model.card.drift_limits if model.card else None
    significance = limits.significance(len(watched_names(manifest.contract))) if limits else _NO_LIMIT
    features = manifest.transform(raw)
    found = compare(
        manifest.contract, manifest.drift_baseline, manifest.statistics, raw, features, hybrid, weight, significance
    )
    comparable = manifest.drift_baseline.hourly or hours >= _DAY_HOURS
    judged = limits is not None and comparable and min(each.rows for each in found) >= limits.minimum_rows
    figures = []
    for each in found:
        high = None if limits is None else limit_of(each.psi, limits.psi)
        absent = None if limits is None or each.missing is None else each.missing.limit(limits.missing)
        gap = None if each.missing is None else each.missing.value
        strange = None if limits is None or each.other is None else each.other.limit(limits.other)
        other = None if each.other is None else each.other.value
        apart = None if limits is None else limit_of(each.ks, limits.ks)
        outside = None if each.out_of_range is None else each.out_of_range.value
        furthest = (
            None if limits is None or each.out_of_range is None else limit_of(each.out_of_range, limits.out_of_range)
        )
        held = (
            (each.psi.value, high),
            (each.ks.value, apart),
            (gap or 0.0, absent),
            (other or 0.0, strange),
            (outside or 0.0, furthest),
        )
        figures.append(
            FeatureDrift(
                name=each.name,
                since=None,
                psi=each.psi.value,
                limit=high,
                breached=judged and any(limit is not None and value > limit for value, limit in held),
                ks=each.ks.value,
                ks_limit=apart,
                out_of_range=outside,
                out_of_range_limit=furthest,
                missing=gap,
                missing_limit=absent,
                other=other,
                other_limit=strange,
            )
        )
    return WindowDrift(rows=rows, judged=judged, features=sorted(figures, key=lambda figure: -figure.psi))


def decision_shares(slices: Sequence[Slice], model: LiveModel, hours: float) -> list[DecisionShare]:
    """Shares of alerts and declines among the live version's decisions, weighted up from the samples."""
    parts = [(sample, _of(sample, model)) for each in slices for sample in each.samples]
    rows = sum(float(sample.weight[mine].sum()) for sample, mine in parts)
    if not rows:
        return []
    thresholds, manifest = model.scorer.thresholds, model.scorer.bundle.manifest
    limits, drift_limits = (model.card.decision_limits, model.card.drift_limits) if model.card else (None, None)
    known = manifest.drift_baseline.decisions.get(manifest.policy)
    whole = all(mine.all() for _sample, mine in parts)
    counted = {name: sum(each.decisions.get(name, 0) for each in slices) for name in Decision}
    found = []
    names: tuple[tuple[Literal["alerts", "declines"], float, tuple[Decision, ...], float | None], ...] = (
        (
            "alerts",
            thresholds.alert,
            (Decision.REVIEW, Decision.DECLINE),
            None if known is None else known[1] + known[2],
        ),
        ("declines", thresholds.decline, (Decision.DECLINE,), None if known is None else known[2]),
    )
    for name, least, decisions, usual in names:
        sampled = sum(float(sample.weight[mine & (sample.hybrid >= least)].sum()) for sample, mine in parts)
        # counts are exact; the samples only have to say how many of them were the live version's
        value = sum(counted[each] for each in decisions) / rows if whole else sampled / rows
        low = high = None
        if usual is not None and limits is not None and drift_limits is not None:
            significance = drift_limits.significance(len(watched_names(manifest.contract)))
            low, high = limits.between(usual, manifest.drift_baseline, rows, significance)
        judged = (
            limits is not None and low is not None and rows >= limits.minimum_rows and hours >= limits.minimum_hours
        )
        breached = judged and low is not None and high is not None and not low <= value <= high
        found.append(
            DecisionShare(name=name, value=value, baseline=usual, low=low, high=high, judged=judged, breached=breached)
        )
    return found


def shadows(found: Sequence[Shadowed]) -> list[Shadow]:
    """Challengers, one by one."""
    sums: dict[str, dict[str, int]] = {}
    for each in found:
        mine, other = each.decision != Decision.APPROVE, each.challenger_decision != Decision.APPROVE
        counted = sums.setdefault(each.model_version, defaultdict(int))
        counted["rows"] += each.rows
        counted["agree"] += each.rows * (each.decision == each.challenger_decision)
        counted["alerts_both"] += each.rows * (mine and other)
        counted["alerts_champion_only"] += each.rows * (mine and not other)
        counted["alerts_challenger_only"] += each.rows * (other and not mine)
        fraud = each.label == 1
        counted["labelled"] += each.rows * (each.label is not None)
        counted["frauds"] += each.rows * fraud
        counted["frauds_champion"] += each.rows * (fraud and mine)
        counted["frauds_challenger"] += each.rows * (fraud and other)
        counted["false_alarms_champion"] += each.rows * (each.label == 0 and mine)
        counted["false_alarms_challenger"] += each.rows * (each.label == 0 and other)
    return [Shadow(model_version=version, **counted) for version, counted in sorted(sums.items())]


def _bucket(each: Slice, labelled: Labels) -> Bucket:
    return Bucket(
        since=each.since,
        decisions={str(name): each.decisions.get(name, 0) for name in Decision},
        score=_quantiles([(sample.hybrid, sample.weight) for sample in each.samples]),
        latency_ms=_quantiles(
            [(sample.latency_ms[sample.single], sample.weight[sample.single]) for sample in each.samples]
        ),
        labels=labelled,
    )


def _quantiles(parts: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> Quantiles | None:
    if not sum(len(values) for values, _weight in parts):
        return None
    values, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    p50, p90, p99 = weighted_quantile(values, weight, [0.5, 0.9, 0.99]).tolist()
    return Quantiles(p50=p50, p90=p90, p99=p99)


def _of(sample: Sample, model: LiveModel) -> NDArray[np.bool_]:
    return np.array([digest == model.live.digest for digest in sample.digests], dtype=np.bool_)
