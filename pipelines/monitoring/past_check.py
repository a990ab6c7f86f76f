"""Do gateways know what keys did? For a sample of keys, what they look up against what the definition gives.

The definition is `ml_project.history.compute_history`, over base data, kept decisions and what came by `/events`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.history import compute_history
from pipelines.data.ingest import read_ingested
from pipelines.data.past_events import base_events, decided_events
from pipelines.monitoring.known_past import KnownPast, as_events, read_known_past
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, open_store
from stores.decisions.event_plan import EventPlan, HistoryEvent

_SAMPLE: Final = 50
"""Transactions whose keys are looked up, of base data and of decisions each."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)


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
