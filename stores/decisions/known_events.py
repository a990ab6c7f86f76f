"""What the tables of past transactions know of some keys: for those that are neither decisions nor base data."""

from collections.abc import Collection, Mapping
from typing import TypeVar

from sqlalchemy import Connection, select

from stores.decisions.event_plan import EventPlan, HistoryEvent
from stores.decisions.schema import event_series, key_events
from stores.sql import one_of


def events_of_keys(
    connection: Connection, plan: EventPlan, keys: Mapping[str, Collection[str]], since: int, until: int
) -> list[HistoryEvent]:
    """Past transactions of keys, with what their series hold; a key that was not asked for is None.

    Parameters
    ----------
    keys : mapping
        By entity.
    since, until : int
        After and up to which moment, in microseconds since 1970.
    """
    kept = connection.execute(select(event_series).where(event_series.c.contract == plan.contract.contract)).all()
    ids = {(each.entity, each.field, each.words): each.series_id for each in kept}
    found: dict[str, HistoryEvent] = {}
    columns = key_events.c
    for series in plan.series:
        asked = sorted(keys.get(series.entity, ()))
        series_id = ids.get((series.entity, series.field, series.words))
        if series_id is None or not asked:
            continue
        mine = columns.series_id == series_id, one_of(connection, columns.key, asked)
        rows = connection.execute(select(key_events).where(*mine, columns.at > since, columns.at <= until))
        for row in rows:
            event = found.get(row.event_id) or HistoryEvent(
                row.event_id,
                row.at,
                (None,) * len(plan.entities),
                (None,) * len(plan.summed),
                (None,) * len(plan.counted),
                row.fraud,
            )
            place = plan.entities.index(series.entity)
            values, words = event.values, event.words
            if series.words:
                words = _with(words, plan.counted.index(series.field), row.word)
            elif series.field:
                values = _with(values, plan.summed.index(series.field), row.value)
            found[row.event_id] = HistoryEvent(
                row.event_id, row.at, _with(event.keys, place, row.key), values, words, row.fraud
            )
    return list(found.values())


_T = TypeVar("_T")


def _with(values: tuple[_T, ...], place: int, value: _T) -> tuple[_T, ...]:
    return (*values[:place], value, *values[place + 1 :])
