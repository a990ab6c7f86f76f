"""Features from history as they were served, held against what their definition gives by all that is known now.

A value that differs is explained by what was not known when it was made (`skew_causes`); what remains is a fault.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ml_project.contract import Contract
from ml_project.contract_parts import Feature
from ml_project.history import compute_history
from pipelines.monitoring.figures import Figure, SkewLimits
from pipelines.monitoring.kept_decisions import answered_rows
from pipelines.monitoring.known_past import KnownPast, read_known_past, seconds_of
from pipelines.monitoring.skew_causes import Cause, Memory, Served, same_value
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, Label
from stores.decisions.event_plan import EventPlan, event_id, event_number

_EXAMPLES: Final = 20
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


def _served(sample: Any, plan: EventPlan, asked: Sequence[Feature]) -> list[Served]:
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
        Served(
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
    served: Sequence[Served],
    past: KnownPast,
    labels_of: Callable[[str], list[Label]],
    limits: SkewLimits,
) -> Skew:
    memory = Memory(plan, past, labels_of)
    values = compute_history(plan.contract, memory.events, asked)
    places = {known.event.number: place for place, known in enumerate(past.events)}
    compared, differences, decisions, left_out = Counter[str]({each.name: 0 for each in asked}), [], 0, 0
    for each in served:
        place = places.get(each.number)
        if place is None:
            left_out += len(asked)
            continue
        decisions += 1
        for column, feature in enumerate(asked):
            if (str(feature.by), memory.key(place, feature)) in past.busy:
                left_out += 1
                continue
            compared[feature.name] += 1
            given, now = each.values[column], float(values[place, column])
            if not same_value(given, now):
                cause = memory.cause(each, given, place, feature)
                differences.append(Difference(each.prediction_id, feature.name, given, now, cause))
    return Skew(limits, decisions, dict(compared), differences, left_out)
