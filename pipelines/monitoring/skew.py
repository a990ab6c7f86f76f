"""Features from history as they were served, held against what their definition gives by all that is known now.

A value that differs is explained by what was not known when it was made: a transaction that came later, a label that
was given later than the fraud rate's delay, or a database that was away. It is explained where the definition, applied
to what was known then, gives exactly the value that was served; what remains is a fault.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ml_project.contract import Contract
from ml_project.contract_parts import Feature
from ml_project.history import MICROSECONDS, compute_history
from pipelines.monitoring.figures import Figure, SkewLimits
from pipelines.monitoring.kept_decisions import answered_rows
from pipelines.monitoring.known_past import KnownEvent, KnownPast, as_events, read_known_past, seconds_of
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, Label
from stores.decisions.event_plan import EventPlan, event_id, event_number

_COMMIT_SECONDS: Final = 5.0
"""How long a transaction may take from its decision until other processes see it: as long as a write may take."""

_MOST_TRIED: Final = 16
"""Transactions about which it is not certain whether they were known; of more, the nearest in time are tried."""

_EXAMPLES: Final = 20


class Cause(StrEnum):
    """Why a value differs, the gravest last."""

    LATE_LABEL = "late_label"
    LATE_EVENT = "late_event"
    STORE_AWAY = "store_away"
    UNEXPLAINED = "unexplained"


_GRAVITY: Final = {cause: place for place, cause in enumerate(Cause)}


@dataclass(frozen=True)
class Difference:
    """A value that was served, and what the definition gives now."""

    prediction_id: str
    feature: str
    served: float
    recomputed: float
    cause: Cause

    def to_dict(self) -> dict[str, Any]:
        """For JSON, where a missing value is null."""
        values = {"served": self.served, "recomputed": self.recomputed}
        return asdict(self) | {name: None if np.isnan(value) else value for name, value in values.items()}


@dataclass(frozen=True)
class Skew:
    """How a sample of decisions compares with the definition.

    Attributes
    ----------
    decisions : int
        How many were compared.
    compared : dict
        By feature, in how many of them.
    differences : list of Difference
    left_out : int
        Values that were not compared, as their key has too many transactions.
    """

    limits: SkewLimits
    decisions: int = 0
    compared: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    left_out: int = 0

    @property
    def causes(self) -> dict[Cause, int]:
        """Decisions with a value that differs, by the gravest cause."""
        gravest: dict[str, Cause] = {}
        for each in self.differences:
            known = gravest.get(each.prediction_id, each.cause)
            gravest[each.prediction_id] = max(known, each.cause, key=_GRAVITY.__getitem__)
        counts = Counter(gravest.values())
        return {cause: counts[cause] for cause in Cause}

    @property
    def by_feature(self) -> dict[str, dict[Cause, int]]:
        """Values that differ, of each feature that was compared."""
        counts = Counter((each.feature, each.cause) for each in self.differences)
        return {name: {cause: counts[name, cause] for cause in Cause} for name in self.compared}

    @property
    def figures(self) -> list[Figure]:
        """Shares of the decisions, then of each feature's values; the first two are held against limits."""
        if not self.decisions:
            return []
        judged, causes = self.decisions >= self.limits.minimum_rows, self.causes

        def share(name: str, count: int, high: float | None) -> Figure:
            value = count / self.decisions
            return Figure(name, "", value, None, high, judged, high is not None and judged and value > high)

        return [
            Figure("skew_decisions", "", float(self.decisions)),
            share("skew", sum(causes.values()), self.limits.share),
            share("skew_unexplained", causes[Cause.UNEXPLAINED], self.limits.unexplained),
            *(share(f"skew_{cause}", causes[cause], None) for cause in Cause if cause is not Cause.UNEXPLAINED),
            *(
                Figure("value_skew", name, sum(counts.values()) / max(self.compared[name], 1))
                for name, counts in self.by_feature.items()
            ),
        ]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: counts, and some of the differences, the gravest first."""
        gravest = sorted(self.differences, key=lambda each: -_GRAVITY[each.cause])
        return {
            "decisions": self.decisions,
            "left_out": self.left_out,
            "causes": self.causes,
            "features": {name: {"compared": self.compared[name], **counts} for name, counts in self.by_feature.items()},
            "examples": [each.to_dict() for each in gravest[:_EXAMPLES]],
        }


@dataclass
class ServedSample:
    """Passes tables of decisions on, and keeps some decisions of each version, drawn at random.

    Parameters
    ----------
    size : int
        How many of each version; 0 keeps none.
    seed : int
    """

    size: int
    seed: int = 0
    _drawn: dict[str, list[tuple[float, int, Any]]] = field(default_factory=dict)

    def passing(self, tables: Iterable[Any]) -> Iterator[Any]:
        """The same tables."""
        rng, number = np.random.default_rng(self.seed), 0
        for table in tables:
            answered = table.filter(answered_rows(table)) if self.size else table.slice(0, 0)
            draws, versions = rng.random(len(answered)).tolist(), answered["model_version"].to_pylist()
            for row, (draw, version) in enumerate(zip(draws, versions, strict=True)):
                held = self._drawn.setdefault(version, [])
                if len(held) < self.size or -draw > held[0][0]:
                    heapq.heappush(held, (-draw, number, answered.take([row])))  # a slice would hold all of the table
                if len(held) > self.size:
                    heapq.heappop(held)
                number += 1
            yield table

    def of(self, version: str) -> Any | None:
        """The drawn decisions of a version as one table; None where there are none."""
        held = sorted(self._drawn.get(version, []), key=lambda each: each[1])
        return pa.concat_tables([each[2] for each in held]).unify_dictionaries() if held else None


def measure_skew(
    sample: Any | None,
    store: DecisionStore,
    settings: PipelineSettings,
    contract: Contract,
    window: Window,
    limits: SkewLimits,
) -> Skew | None:
    """Recompute a sample's features from history.

    Parameters
    ----------
    sample : pyarrow.Table or None
        Decisions of one version, of the window: what a `ServedSample` has of it.
    contract : Contract
        That version's.

    Returns
    -------
    Skew or None
        None where the contract has no history, or nothing was sampled.
    """
    known = {(each.name, each.definition) for each in settings.data_contract.history}
    asked = [each for each in contract.history if (each.name, each.definition) in known]
    if sample is None or not asked:
        return None
    plan = EventPlan.of(contract)
    keys = {
        entity: {name for name in sample[entity].to_pylist() if name is not None}
        for entity in plan.entities
        if entity in sample.column_names
    }
    past = read_known_past(store, settings, plan, keys, window.since, window.until)
    return _compare(plan, asked, _served(sample, plan, asked), past, store.labels, limits)


@dataclass(frozen=True, slots=True)
class _Served:
    """A sampled decision: its names, when it was asked for and decided, and what it was made with."""

    prediction_id: str
    number: int
    received: float
    decided: float
    partial: bool
    segment_id: str | None
    values: tuple[float, ...]


def _served(sample: Any, plan: EventPlan, asked: Sequence[Feature]) -> list[_Served]:
    values = np.column_stack([sample[each.name].to_numpy() for each in asked])
    received = seconds_of(sample["received_at"])
    columns = zip(
        sample["prediction_id"].to_pylist(),
        sample["transaction_id"].to_pylist(),
        received.tolist(),
        (received + sample["latency_ms"].to_numpy() / 1_000).tolist(),
        sample["history_partial"].to_pylist(),
        sample["segment_id"].to_pylist(),
        values.tolist(),
        strict=True,
    )
    return [
        _Served(
            name,
            event_number(event_id(plan.contract.contract, own, name)),
            received,
            decided,
            partial,
            segment,
            tuple(row),
        )
        for name, own, received, decided, partial, segment, row in columns
    ]


def _compare(
    plan: EventPlan,
    asked: Sequence[Feature],
    served: Sequence[_Served],
    past: KnownPast,
    labels_of: Callable[[str], list[Label]],
    limits: SkewLimits,
) -> Skew:
    values = compute_history(plan.contract, as_events(plan, (known.event for known in past.events)), asked)
    places = {known.event.number: place for place, known in enumerate(past.events)}
    memory = _Memory(plan, past, labels_of)
    compared, differences, decisions, left_out = Counter[str]({each.name: 0 for each in asked}), [], 0, 0
    for each in served:
        place = places.get(each.number)
        if place is None:
            left_out += len(asked)
            continue
        own = past.events[place]
        decisions += 1
        for column, feature in enumerate(asked):
            if (feature.by, memory.key(own, feature)) in past.busy:
                left_out += 1
                continue
            compared[feature.name] += 1
            given, now = each.values[column], float(values[place, column])
            if not _same(given, now):
                cause = memory.cause(each, given, own, feature)
                differences.append(Difference(each.prediction_id, feature.name, given, now, cause))
    return Skew(limits, decisions, dict(compared), differences, left_out)


def _same(first: float, second: float) -> bool:
    return first == second or (np.isnan(first) and np.isnan(second))


class _Memory:
    """What a gateway knew of a key when it decided, as far as that can be said afterwards."""

    def __init__(self, plan: EventPlan, past: KnownPast, labels_of: Callable[[str], list[Label]]) -> None:
        self._plan, self._labels_of = plan, labels_of
        self._of_key: dict[tuple[str, str], list[KnownEvent]] = {}
        self._labels: dict[str, list[tuple[float, int]]] = {}
        for known in past.events:
            for entity, key in zip(plan.entities, known.event.keys, strict=True):
                if key is not None:
                    self._of_key.setdefault((entity, key), []).append(known)

    def key(self, known: KnownEvent, feature: Feature) -> str | None:
        return known.event.keys[self._plan.entities.index(str(feature.by))]

    def cause(self, served: _Served, given: float, own: KnownEvent, feature: Feature) -> Cause:
        """Why a value is not what the definition gives now."""
        if served.partial:
            return Cause.STORE_AWAY
        for cause, known, until in self._memories(served, own, feature):
            if _same(given, self._value(feature, known, own, until)):
                return cause
        return Cause.UNEXPLAINED

    def _memories(
        self, served: _Served, own: KnownEvent, feature: Feature
    ) -> Iterator[tuple[Cause, list[KnownEvent], float]]:
        """What may have been known: transactions, and up to which moment labels; the likeliest first."""
        begin = own.event.at - (feature.window + feature.delay) * MICROSECONDS
        near = [
            each
            for each in self._of_key.get((str(feature.by), str(self.key(own, feature))), ())
            if begin < each.event.at <= own.event.at and each is not own
        ]
        beside = [served.segment_id is not None and each.segment_id == served.segment_id for each in near]
        # without a time of receipt a transaction counts as known here, and is tried below
        known = [each for each, same in zip(near, beside, strict=True) if same or not each.came > served.decided]
        yield Cause.LATE_EVENT, known, np.inf
        yield Cause.LATE_LABEL, near, served.decided
        yield Cause.LATE_EVENT, known, served.decided
        spooled = [each for each in known if each.spooled][-_MOST_TRIED:]
        for count in range(len(spooled)):
            yield from _both(Cause.STORE_AWAY, _without(known, spooled[count:]), served.decided)
        doubtful = [
            each
            for each, same in zip(near, beside, strict=True)
            if not same and served.received - _COMMIT_SECONDS <= each.came <= served.decided + _COMMIT_SECONDS
        ][:_MOST_TRIED]
        certain = _without(known, doubtful)
        for count in range(len(doubtful)):
            yield from _both(Cause.LATE_EVENT, [*certain, *doubtful[:count]], served.decided)
            yield from _both(Cause.LATE_EVENT, [*certain, *doubtful[:count], *doubtful[count + 1 :]], served.decided)
        nameless = sorted((each for each in near if np.isnan(each.came)), key=lambda each: each.event.at)[-_MOST_TRIED:]
        for count in range(len(nameless)):
            yield from _both(Cause.LATE_EVENT, _without(known, nameless[count:]), served.decided)

    def _value(self, feature: Feature, known: Sequence[KnownEvent], own: KnownEvent, until: float) -> float:
        events = [each.event._replace(fraud=self._fraud(each, until)) for each in known]
        given = as_events(self._plan, [*events, own.event])
        return float(compute_history(self._plan.contract, given, [feature])[-1, 0])

    def _fraud(self, known: KnownEvent, until: float) -> int:
        """Whether a transaction was known to be fraud at a moment."""
        if not known.labelled_at > until or known.known_fraud or known.prediction_id is None:
            return known.event.fraud
        if known.prediction_id not in self._labels:
            given = self._labels_of(known.prediction_id)
            self._labels[known.prediction_id] = [(each.labelled_at.timestamp(), each.label) for each in given]
        told = [label for moment, label in self._labels[known.prediction_id] if moment <= until]
        return told[-1] if told else 0


def _both(cause: Cause, known: list[KnownEvent], until: float) -> Iterator[tuple[Cause, list[KnownEvent], float]]:
    """With the labels of now, and with those of then."""
    yield cause, known, np.inf
    yield cause, known, until


def _without(known: Sequence[KnownEvent], others: Sequence[KnownEvent]) -> list[KnownEvent]:
    names = {each.event.number for each in others}
    return [each for each in known if each.event.number not in names]
