"""What the tables of past transactions know of some keys: for those that are neither decisions nor base data."""

from collections.abc import Collection, Mapping

from sqlalchemy import Engine, select

from stores.decisions.event_plan import EventPlan, HistoryEvent
from stores.decisions.schema import event_series, key_events
from stores.sql import one_of, translated


def events_of_keys(
    engine: Engine, plan: EventPlan, keys: Mapping[str, Collection[str]], since: int, until: int
) -> list[HistoryEvent]:
    """Past transactions of keys, with what their series hold.

    They have their numbers but no names, and no keys beside those that were asked for.

    Parameters
    ----------
    engine : Engine
        Of the decision database.
    keys : mapping
        By entity.
    since, until : int
        After and up to which moment, in microseconds since 1970.

    Raises
    ------
    Unavailable
        When the database does not answer.
    """
    columns = key_events.c
    found: dict[int, HistoryEvent] = {}
    with translated(engine.url), engine.connect() as connection:
        kept = connection.execute(select(event_series).where(event_series.c.contract == plan.contract.contract)).all()
        ids = {(each.entity, each.field, each.words): each.series_id for each in kept}
        for series in plan.series:
            asked = sorted(keys.get(series.entity, ()))
            series_id = ids.get((series.entity, series.field, series.words))
            if series_id is None or not asked:
                continue
            mine = columns.series_id == series_id, one_of(connection, columns.key, asked)
            for row in connection.execute(select(key_events).where(*mine, columns.at > since, columns.at <= until)):
                event = found.get(row.event) or _nothing(plan, row.event, row.at, row.fraud)
                given = [*event.keys], [*event.values], [*event.words]
                given[0][plan.entities.index(series.entity)] = row.key
                if series.words:
                    given[2][plan.counted.index(series.field)] = row.word
                elif series.field:
                    given[1][plan.summed.index(series.field)] = row.value
                found[row.event] = event._replace(keys=tuple(given[0]), values=tuple(given[1]), words=tuple(given[2]))
    return list(found.values())


def _nothing(plan: EventPlan, number: int, at: int, fraud: int) -> HistoryEvent:
    counts = len(plan.entities), len(plan.summed), len(plan.counted)
    keys, values, words = ((None,) * count for count in counts)
    return HistoryEvent("", number, at, keys, values, words, fraud)
