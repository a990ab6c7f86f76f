"""All that is known by now of some keys' past transactions, and when each became known.

Three sources, in this order where they know the same transaction: kept decisions, the ingested base data, and for what
came by `/events` alone the tables of past transactions. `differing_pasts` holds what gateways look up of a sample of
keys against the definition, `ml_project.history.compute_history`, over all of these.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from ml_project.history import Events, compute_history
from pipelines.data.ingest import read_ingested, read_meta
from pipelines.data.past_events import base_events, decided_events
from pipelines.monitoring.kept_decisions import UNLABELLED, answered_rows
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, open_store
from stores.decisions.event_plan import EventPlan, HistoryEvent, event_id, event_number, microseconds
from stores.decisions.events import events_of_keys

MOST_EVENTS: Final = 500_000
"""Transactions that are held. Of more, those of the busiest keys are left out, and what is made of them."""

_SAMPLE: Final = 50
"""Transactions whose keys are looked up, of base data and of decisions each."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
ALWAYS: Final = -np.inf
"""When base data became known: before any decision."""


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """A past transaction.

    Attributes
    ----------
    event : HistoryEvent
        ``fraud`` as it is known by now.
    came : float
        When it was decided, in seconds since 1970; ``ALWAYS`` of base data, NaN where only `/events` knows.
    prediction_id, segment_id : str or None
        Of its decision, and of the bulk segment that holds it.
    spooled : bool
        Other gateways could not know of it before the spool was replayed.
    labelled_at : float
        When its newest label was given, NaN without one.
    known_fraud : bool
        The base data say that it is fraud, whatever labels say.
    """

    event: HistoryEvent
    came: float
    prediction_id: str | None = None
    segment_id: str | None = None
    spooled: bool = False
    labelled_at: float = np.nan
    known_fraud: bool = False


Keys = Mapping[str, set[str]]
"""By entity."""


@dataclass
class KnownPast:
    """Transactions of the keys, in the order in which they became known.

    Attributes
    ----------
    busy : set of (str, str)
        Entities and keys with too many transactions: theirs are not held.
    """

    events: list[KnownEvent] = field(default_factory=list)
    busy: set[tuple[str, str]] = field(default_factory=set)


def read_known_past(
    store: DecisionStore, settings: PipelineSettings, plan: EventPlan, keys: Keys, since: datetime, until: datetime
) -> KnownPast:
    """All that is known of transactions of [since - reach, until) with one of the keys.

    It passes over all decisions and base data of that time, and holds those of the keys.
    """
    gathering = _Gathering(plan, {entity: {*names} for entity, names in keys.items()})
    begin = since - timedelta(microseconds=plan.reach)
    for table in store.tables_by_event_time(plan.contract, begin, until):
        gathering.add_decided(table)
    for base in _base(settings, plan, microseconds(begin), microseconds(until)):
        gathering.add_base(base)
    for kept in events_of_keys(store.engine, plan, gathering.keys, microseconds(begin), microseconds(until)):
        gathering.add(KnownEvent(kept, np.nan))
    return gathering.finished()


def _base(settings: PipelineSettings, plan: EventPlan, begin: int, end: int) -> Iterator[HistoryEvent]:
    contract = plan.contract
    try:
        read_meta(settings.dataset_path, settings.data_contract)
    except InvalidInput:  # none, or another contract's: what was brought in of it stands in the database
        return
    wanted = dict.fromkeys((contract.event_time, contract.transaction_id, *contract.given_names, *contract.entities))
    there = pq.read_schema(next(_parts(settings))).names
    names = [name for name in (*wanted, contract.label_field) if name in there]
    bounds = [pd.Timestamp(moment, unit="us", tz="UTC") for moment in (begin, end)]
    within = [(contract.event_time, ">", bounds[0]), (contract.event_time, "<", bounds[1])]
    frame = pq.read_table(settings.dataset_path, columns=names, filters=within).to_pandas()
    at = np.asarray(pd.to_datetime(frame[contract.event_time], utc=True).dt.as_unit("us").astype("int64"))
    # `base_events` gives what is in reach of a table's end: by parts of that length nothing is left out
    for start in range(begin, end, plan.reach):
        part = frame[(at > start) & (at <= start + plan.reach)]
        yield from base_events(plan, part, settings.key_hash) if len(part) else ()


def _parts(settings: PipelineSettings) -> Iterator[Any]:
    path = settings.dataset_path
    yield from (sorted(path.glob("*.parquet")) if path.is_dir() else [path])


class _Gathering:
    def __init__(self, plan: EventPlan, keys: dict[str, set[str]]) -> None:
        self.keys = keys
        self._plan = plan
        self._past = KnownPast()
        self._found: dict[int, KnownEvent] = {}
        self._labels: dict[int, tuple[float, int]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def add_decided(self, table: Any) -> None:
        self._note_labels(table)
        table = table.filter(answered_rows(table))
        table = table.filter(table["event_time"].is_valid())
        came = seconds_of(table["received_at"]) + table["latency_ms"].to_numpy() / 1_000
        beside = zip(
            decided_events(self._plan, table),
            came.tolist(),
            *(table[name].to_pylist() for name in ("prediction_id", "segment_id", "spooled")),
            strict=True,
        )
        for event, decided_at, prediction_id, segment_id, spooled in beside:
            self.add(KnownEvent(event, decided_at, prediction_id, segment_id, spooled))

    def _note_labels(self, table: Any) -> None:
        """Of repeated decisions, too: a label of one of them is the transaction's."""
        labelled = table.filter(table["label"].is_valid())
        names = zip(labelled["transaction_id"].to_pylist(), labelled["prediction_id"].to_pylist(), strict=True)
        given = zip(names, seconds_of(labelled["labelled_at"]).tolist(), labelled["label"].to_pylist(), strict=True)
        for (transaction_id, prediction_id), moment, label in given:
            name = event_number(event_id(self._plan.contract.contract, transaction_id, prediction_id))
            if name not in self._labels or self._labels[name][0] <= moment:
                self._labels[name] = moment, label

    def add_base(self, event: HistoryEvent) -> None:
        known = self._found.get(event.number)
        if known is None:
            self.add(KnownEvent(event, ALWAYS, known_fraud=bool(event.fraud)))
        else:  # it was brought in, and decided as well
            self._found[event.number] = replace(known, came=ALWAYS, known_fraud=bool(event.fraud))

    def add(self, known: KnownEvent) -> None:
        mine = [(entity, key) for entity, key in self._named(known) if key in self.keys.get(entity, ())]
        if not mine:
            return
        earlier = self._found.get(known.event.number)
        if earlier is not None:
            if known.came < earlier.came:  # in the spool twice: the first one counts
                self._found[known.event.number] = known
            return
        self._found[known.event.number] = known
        self._counts.update(mine)
        if len(self._found) > MOST_EVENTS:
            self._leave_out_the_busiest()

    def _named(self, known: KnownEvent) -> Iterable[tuple[str, str]]:
        named = zip(self._plan.entities, known.event.keys, strict=True)
        return [(entity, key) for entity, key in named if key is not None]

    def _leave_out_the_busiest(self) -> None:
        busiest, _count = self._counts.most_common(1)[0]
        self._past.busy.add(busiest)
        self.keys[busiest[0]].discard(busiest[1])
        del self._counts[busiest]
        self._found = {
            name: known
            for name, known in self._found.items()
            if any(key in self.keys.get(entity, ()) for entity, key in self._named(known))
        }

    def finished(self) -> KnownPast:
        for name, known in self._found.items():
            moment, label = self._labels.get(name, (np.nan, UNLABELLED))
            # of what came by /events alone, the tables themselves say what it turned out to be
            told = known.event.fraud if np.isnan(known.came) else label == 1 or known.known_fraud
            event = known.event._replace(fraud=int(told))
            self._past.events.append(replace(known, event=event, labelled_at=moment))
        self._past.events.sort(key=lambda known: ALWAYS if np.isnan(known.came) else known.came)
        return self._past


def seconds_of(column: Any) -> NDArray[np.float64]:
    """Moments (n,) of an Arrow column in seconds since 1970; NaN where there is none."""
    values = column.to_numpy().astype("datetime64[us]")
    return np.where(np.isnat(values), np.nan, values.astype(np.int64) / 1e6)


def as_events(plan: EventPlan, given: Iterable[HistoryEvent]) -> Events:
    """Past transactions in the order in which they came, as `ml_project.history` takes them."""
    listed = list(given)

    def codes(values: Iterable[str | None]) -> NDArray[np.int64]:
        known: dict[str | None, int] = {None: -1}
        return np.array([known.setdefault(value, len(known) - 1) for value in values], dtype=np.int64)

    return Events(
        at=np.array([each.at for each in listed], dtype=np.int64),
        keys={name: codes(each.keys[place] for each in listed) for place, name in enumerate(plan.entities)},
        amounts={
            name: np.array([each.values[place] or 0 for each in listed], dtype=np.int64)
            for place, name in enumerate(plan.summed)
        },
        present={
            name: np.array([each.values[place] is not None for each in listed], dtype=np.bool_)
            for place, name in enumerate(plan.summed)
        },
        codes={name: codes(each.words[place] for each in listed) for place, name in enumerate(plan.counted)},
        fraud=np.array([each.fraud for each in listed], dtype=np.bool_),
    )


def differing_pasts(settings: PipelineSettings, contract: Contract) -> tuple[int, int]:
    """How many transactions with keys of known ones were asked for, and how many had a feature of another value.

    Raises
    ------
    InvalidInput
        When there is no decision database.
    Unavailable
        When it does not answer.
    """
    plan = EventPlan.of(contract)
    with open_store(settings.decisions_url, existing=True) as store:
        sample = _sample(store, settings, plan)
        if not sample:
            return 0, 0
        moment = max(each.at for each in sample) + 1
        asked = [each._replace(event_id=f"-{place}", number=place, at=moment) for place, each in enumerate(sample)]
        looked_up = np.array(store.histories_of(plan, [(each, ()) for each in asked]))
        keys = {
            entity: {key for each in asked if (key := each.keys[place]) is not None}
            for place, entity in enumerate(plan.entities)
        }
        since = _EPOCH + timedelta(microseconds=moment)
        known = read_known_past(store, settings, plan, keys, since, since + timedelta(microseconds=1))
    expected = np.array([_by_definition(plan, known, each) for each in asked])
    same = (looked_up == expected) | (np.isnan(looked_up) & np.isnan(expected))
    return len(asked), int((~same.all(axis=1)).sum())


def _sample(store: DecisionStore, settings: PipelineSettings, plan: EventPlan) -> list[HistoryEvent]:
    base: list[HistoryEvent] = []
    if settings.dataset_path.exists():
        frame, _meta = read_ingested(settings.dataset_path, settings.data_contract)
        base = base_events(plan, frame, settings.key_hash)
    now = datetime.now(UTC)
    tables = store.tables(plan.contract, now - _DAY, now)
    decided = [event for table in tables for event in decided_events(plan, table)]
    return [*_evenly(base), *_evenly(decided)]


def _evenly(events: Sequence[HistoryEvent]) -> list[HistoryEvent]:
    places = np.unique(np.linspace(0, len(events) - 1, _SAMPLE).astype(int)) if events else np.array([], dtype=int)
    return [events[place] for place in places.tolist()]


def _by_definition(plan: EventPlan, known: KnownPast, asked: HistoryEvent) -> NDArray[np.float64]:
    mine = [each.event for each in known.events if any(_shared(each.event, asked))]
    features: NDArray[np.float64] = compute_history(plan.contract, as_events(plan, [*mine, asked]))[-1]
    return features


def _shared(event: HistoryEvent, asked: HistoryEvent) -> list[bool]:
    return [key is not None and key == other for key, other in zip(event.keys, asked.keys, strict=True)]
