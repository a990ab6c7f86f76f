"""Past transactions in the database, written in the transaction of the decision itself.

What is written is only appended, and labels are said: `event_cache` reads what is new, and knows each key's past;
`events_of_keys` asks the tables themselves, for a look back.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, Engine, insert, select

from stores.decisions.event_plan import EventPlan, HistoryEvent, event_number
from stores.decisions.schema import event_series, events, key_events
from stores.sql import driver_errors, listed, one_of, translated

_LOCK: Final = 0x6576656E  # "even"
_KNOWN: Final = "event_series"
"""Where a connection remembers series that are kept for certain."""

_SeriesName = tuple[str, str, str, bool]


def series_ids(connection: Connection, plan: EventPlan, *, make: bool = False) -> list[int]:
    """Ids of a plan's series; before the first transaction is kept, they are negative."""
    wanted = [(plan.contract.contract, each.entity, each.field, each.words) for each in plan.series]
    known: dict[_SeriesName, int] = connection.info.setdefault(_KNOWN, {})
    if any(each not in known for each in wanted):
        known |= (found := _kept_series(connection))
        if make and any(each not in found for each in wanted):
            found = _make_series(connection, wanted)  # not remembered: it may still be undone
        return [found.get(each, -1 - place) for place, each in enumerate(wanted)]
    return [known[each] for each in wanted]


def _make_series(connection: Connection, wanted: Sequence[_SeriesName]) -> dict[_SeriesName, int]:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    found = _kept_series(connection)
    for contract, entity, field, words in (each for each in wanted if each not in found):
        row = {"contract": contract, "entity": entity, "field": field, "words": words}
        connection.execute(insert(event_series), row)
    return _kept_series(connection)


def _kept_series(connection: Connection) -> dict[_SeriesName, int]:
    rows = connection.execute(select(event_series))
    return {(row.contract, row.entity, row.field, row.words): row.series_id for row in rows}


def add_events(connection: Connection, plan: EventPlan, given: Sequence[HistoryEvent]) -> int:
    """Keep transactions that are not kept yet; how many were not."""
    if not plan.series or not given:
        return 0
    by_id = {each.event_id: each for each in given}
    ids = series_ids(connection, plan, make=True)
    with driver_errors(connection.dialect):
        return _add(connection.connection.cursor(), connection.dialect.name, plan, by_id, ids)


def _add(cursor: Any, dialect: str, plan: EventPlan, by_id: Mapping[str, HistoryEvent], ids: Sequence[int]) -> int:
    # in one order for all writers: of two with the same transactions one waits for the other, never both
    new = [by_id[name] for name in sorted(by_id)]
    if dialect == "sqlite":
        known = _known(cursor, dialect, list(by_id))
        new = [event for event in new if event.event_id not in known]
    told: list[tuple[Any, ...]] = []
    rows: list[tuple[Any, ...]] = []
    for event in new:
        event_id, number, at, keys, values, words, fraud = event
        content = []
        for series_id, (place, of_value, of_word) in zip(ids, plan.slots, strict=True):
            key = keys[place]
            if key is not None:
                value = values[of_value] if of_value >= 0 else None
                word = words[of_word] if of_word >= 0 else None
                content.append((series_id, key, value, word))
                rows.append((series_id, key, at, number, value, word, fraud))
        told.append((event_id, plan.contract.contract, at, to_json(content).decode(), fraud))
    rows.sort(key=itemgetter(0, 1, 2))
    count = len(new)
    if dialect == "sqlite":
        cursor.executemany(_ADD, told)
        cursor.executemany(_ADD_ROWS, rows)
    else:
        numbered = [(event.number, *each) for event, each in zip(new, told, strict=True)]
        cursor.execute(_ADD_POSTGRES, (_recordset(_EVENT, numbered), _recordset(_PLACE, rows)))
        [(count,)] = cursor.fetchall()
    cursor.close()
    return count


def _recordset(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    """Rows for json_to_recordset: as arrays, they would take three times as long to send."""
    return to_json([dict(zip(names, row, strict=True)) for row in rows]).decode()


def any_kept(connection: Connection, event_ids: Sequence[str]) -> bool:
    """Whether one of some transactions is kept."""
    with driver_errors(connection.dialect):
        return bool(_known(connection.connection.cursor(), connection.dialect.name, event_ids))


def _known(cursor: Any, dialect: str, event_ids: Sequence[str]) -> set[str]:
    """Those that are kept."""
    asked = _KNOWN_IDS if dialect == "sqlite" else _KNOWN_IDS.replace("value FROM json_each(?)", "unnest(%s::text[])")
    cursor.execute(asked, (listed(dialect, event_ids),))
    return {name for (name,) in cursor.fetchall()}


_KNOWN_IDS: Final = "SELECT event_id FROM events WHERE event_id IN (SELECT value FROM json_each(?))"
_ADD: Final = "INSERT INTO events (event_id, contract, at, content, fraud) VALUES (?, ?, ?, ?, ?)"
_ADD_ROWS: Final = "INSERT INTO key_events VALUES (?, ?, ?, ?, ?, ?, ?)"
_ADD_CHANGE: Final = "INSERT INTO event_changes (seq, was, fraud, written) VALUES (?, ?, ?, WRITTEN)"
_EVENT: Final = ("event", "event_id", "contract", "at", "content", "fraud")
_PLACE: Final = ("series_id", "key", "at", "event", "value", "word", "fraud")
_ADD_POSTGRES: Final = """
WITH given AS (
    SELECT * FROM json_to_recordset(%s::json)
        AS event (event bigint, event_id text, contract text, at bigint, content text, fraud smallint)
), added AS (
    INSERT INTO events (event_id, contract, at, content, fraud, written)
    SELECT event_id, contract, at, content, fraud, pg_current_xact_id()::text::bigint FROM given
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
), placed AS (
    INSERT INTO key_events (series_id, key, at, event, value, word, fraud)
    SELECT place.* FROM added JOIN given USING (event_id) JOIN json_to_recordset(%s::json) AS place (
        series_id integer, key text, at bigint, event bigint, value bigint, word text, fraud smallint
    ) USING (event, at)
)
SELECT count(*) FROM added
"""
"""One statement for what is new and, of that alone, its places: another writer may be adding the same."""


@cache
def _dialect(dialect: str, statement: str) -> str:
    if dialect == "sqlite":
        return statement.replace("WRITTEN", "NULL")
    return statement.replace("?", "%s").replace("WRITTEN", "pg_current_xact_id()::text::bigint")


def complete_events(connection: Connection, plan: EventPlan, given: Sequence[HistoryEvent]) -> int:
    """Give kept transactions the series that a newer version of their contract asks for; how many had not all."""
    by_id = {each.event_id: each for each in given}
    ids = series_ids(connection, plan, make=True)
    entities = {series_id: entity for (_contract, entity, *_rest), series_id in _kept_series(connection).items()}
    chosen = select(events).where(one_of(connection, events.c.event_id, sorted(by_id))).order_by(events.c.event_id)
    rows: list[tuple[Any, ...]] = []
    told: list[tuple[Any, ...]] = []
    for row in connection.execute(chosen):
        content = from_json(row.content)
        has = {series_id for series_id, *_rest in content}
        forgotten = {entities[series_id] for series_id, key, *_rest in content if key is None}
        event = by_id[row.event_id]
        missing = [
            (series_id, key, past.value, None if series.field in forgotten else past.word)
            for series_id, series, (key, past) in zip(ids, plan.series, plan.rows(event), strict=True)
            if key is not None and series_id not in has and series.entity not in forgotten
        ]
        if missing:
            rows += [(*place, row.at, event.number, value, word, row.fraud) for *place, value, word in missing]
            told.append((to_json([*content, *missing]).decode(), row.seq))
    if told:
        dialect = connection.dialect.name
        connection.exec_driver_sql(_dialect(dialect, "UPDATE events SET content = ? WHERE seq = ?"), told)
        connection.exec_driver_sql(_dialect(dialect, _ADD_ROWS), rows)
        connection.exec_driver_sql(_dialect(dialect, _ADD_CHANGE), (told[0][1], None, None))
    return len(told)


def relabel(connection: Connection, labels: Mapping[str, int]) -> int:
    """Say of kept transactions, by event id, what they were: 1 fraud, 0 not; how many were something else before."""
    chosen = select(events).where(one_of(connection, events.c.event_id, sorted(labels)))
    if connection.dialect.name == "postgresql":
        chosen = chosen.with_for_update()
    changed = [
        row for row in connection.execute(chosen.order_by(events.c.event_id)) if row.fraud != labels[row.event_id]
    ]
    if not changed:
        return 0
    dialect = connection.dialect.name
    told = [(labels[row.event_id], row.seq) for row in changed]
    moved = [
        (labels[row.event_id], series_id, key, row.at, event_number(row.event_id))
        for row in changed
        for series_id, key, _value, _word in from_json(row.content)
    ]
    said = [(row.seq, row.fraud, labels[row.event_id]) for row in changed]
    for statement, rows in (
        ("UPDATE events SET fraud = ? WHERE seq = ?", told),
        ("UPDATE key_events SET fraud = ? WHERE series_id = ? AND key = ? AND at = ? AND event = ?", moved),
        (_ADD_CHANGE, said),
    ):
        if rows:
            connection.exec_driver_sql(_dialect(dialect, statement), rows)
    return len(changed)


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
