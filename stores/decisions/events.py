"""Past transactions in the database: written in the transaction of the decision itself, read before the next one.

A key with few transactions is read as they are; of one with many, full hours and days are read as sums. Both come to
the same integers, and those of `ml_project.history` are the same.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select

from ml_project.history import MICROSECONDS, Events, compute_history
from stores.decisions.event_plan import NOTHING, EventPlan, HistoryEvent, PastEvent, Series, Totals, joined, with_event
from stores.decisions.schema import event_series, events, key_events, key_tiles
from stores.sql import listed, one_of

HOUR: Final = 3_600 * MICROSECONDS
DAY: Final = 24 * HOUR
_LENGTHS: Final = (HOUR, DAY)

MOST_READ: Final = 256
"""Transactions of one key that are read one by one; of a key with more in reach, sums are."""

_LOCK: Final = 0x6576656E  # "even"
_KNOWN: Final = "event_series"
"""Where a connection remembers series that are kept for certain."""


_SeriesName = tuple[str, str, str, bool]
_ABSENT: Final = -1


def _series_ids(connection: Connection, plan: EventPlan, *, make: bool = False) -> list[int]:
    """Ids of a plan's series, ``_ABSENT`` before the first transaction is kept."""
    wanted = [(plan.contract.contract, each.entity, each.field, each.words) for each in plan.series]
    known: dict[_SeriesName, int] = connection.info.setdefault(_KNOWN, {})
    if any(each not in known for each in wanted):
        known |= (found := _kept_series(connection))
        if make and any(each not in found for each in wanted):
            found = _make_series(connection, wanted)  # not remembered: it may still be undone
        return [found.get(each, _ABSENT) for each in wanted]
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
    new = _take_ids(connection, plan, {each.event_id: each for each in given})
    if not new:
        return 0
    ids = _series_ids(connection, plan, make=True)
    rows: list[tuple[Any, ...]] = []
    for event in new:
        for series_id, series in zip(ids, plan.series, strict=True):
            key = plan.key(series, event)
            if key is not None:
                past = plan.row(series, event)
                rows.append((series_id, key, event.at, event.event_id, past.value, past.word, event.fraud))
    summed = {series_id for series_id, series in zip(ids, plan.series, strict=True) if not series.words}
    rows.sort(key=lambda row: row[:4])
    dialect = connection.dialect.name
    if rows:
        connection.exec_driver_sql(_inserted(dialect, key_events.name, len(rows[0])), rows)
        _add_tiles(connection, (row for row in rows if row[0] in summed))
    return len(new)


def kept_ids(connection: Connection, names: Sequence[str]) -> frozenset[str]:
    """Those of some transactions' ids that are kept."""
    chosen = select(events.c.event_id).where(one_of(connection, events.c.event_id, sorted(names)))
    return frozenset(connection.scalars(chosen))


def _take_ids(connection: Connection, plan: EventPlan, given: Mapping[str, HistoryEvent]) -> list[HistoryEvent]:
    known = kept_ids(connection, list(given))
    new = [given[name] for name in sorted(given) if name not in known]
    if not new:
        return []
    name = plan.contract.contract
    rows = [
        (each.event_id, name, each.at, json.dumps(dict(zip(plan.entities, each.keys, strict=True))), each.fraud)
        for each in new
    ]
    # two writers of one transaction: the second is told by the key, and tries again
    connection.exec_driver_sql(_inserted(connection.dialect.name, events.name, len(rows[0])), rows)
    return new


@cache
def _inserted(dialect: str, table: str, columns: int) -> str:
    return _dialect(dialect, f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})")  # noqa: S608


def _dialect(dialect: str, statement: str) -> str:
    return statement if dialect == "sqlite" else statement.replace("?", "%s")


def _add_tiles(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    tiles: dict[tuple[int, str, int, int], Totals] = defaultdict(lambda: NOTHING)
    for series_id, key, at, _event_id, value, word, fraud in rows:
        past = PastEvent(at, value, word, fraud)
        for length in _LENGTHS:
            place = series_id, key, length, tile_start(at, length)
            tiles[place] = with_event(tiles[place], past)
    changed = [
        (*place, each.transactions, each.present, each.total, each.largest, each.frauds)
        for place, each in sorted(tiles.items(), key=lambda item: item[0])
    ]
    if changed:
        connection.exec_driver_sql(_upserted(connection.dialect.name), changed)


def tile_start(at: int, length: int) -> int:
    """The start of the tile that a moment lies in: tiles end with the moment that the next one begins after."""
    return (at - 1) // length * length


@cache
def _upserted(dialect: str) -> str:
    old, new = key_tiles.name, "excluded"
    added = ", ".join(
        f"{name} = {old}.{name} + {new}.{name}" for name in ("transactions", "present", "total", "frauds")
    )
    larger = (
        f"largest = CASE WHEN {old}.largest IS NULL OR {new}.largest > {old}.largest "
        f"THEN {new}.largest ELSE {old}.largest END"
    )
    statement = (
        f"INSERT INTO {old} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
        f"ON CONFLICT (series_id, key, length, start) DO UPDATE SET {added}, {larger}"
    )
    return _dialect(dialect, statement)


def read_one(
    connection: Connection, plan: EventPlan, event: HistoryEvent, waiting: Sequence[HistoryEvent] = ()
) -> list[float]:
    """Features of history of a transaction, as in ``contract.history``, whether it is kept by now or not.

    ``waiting`` are transactions that came before it and are perhaps not kept yet.
    """
    found = [np.nan] * len(plan.contract.history)
    ids = _series_ids(connection, plan)
    parameters: list[Any] = []
    for series_id, series in zip(ids, plan.series, strict=True):
        parameters += [series_id, plan.key(series, event), event.at - series.reach, event.at, event.event_id]
    rows: list[list[PastEvent]] = [[] for _ in plan.series]
    statement = _read(connection.dialect.name, len(plan.series))
    for place, at, value, word, fraud in connection.exec_driver_sql(statement, tuple(parameters)):
        rows[place].append(PastEvent(at, value, word, fraud))
    kept = kept_ids(connection, [each.event_id for each in waiting]) if waiting else frozenset[str]()
    others = [each for each in waiting if each.event_id not in kept and each.event_id != event.event_id]
    for series_id, series, past in zip(ids, plan.series, rows, strict=True):
        key = plan.key(series, event)
        if key is None:
            continue
        own, before = plan.row(series, event), _of_key(plan, series, key, event.at, others)
        if len(past) <= MOST_READ:
            values = series.values(own, sorted([*past, *before], key=lambda each: each.at))
        else:
            values = _from_sums(connection, series, series_id, key, own, before, event.event_id)
        for place, each in values:
            found[place] = each
    return found


@cache
def _read(dialect: str, series: int) -> str:
    newest = (
        f"SELECT * FROM (SELECT {place} AS place, at, value, word, fraud FROM key_events "  # noqa: S608
        "WHERE series_id = ? AND key = ? AND at > ? AND at <= ? AND event_id <> ? "
        f"ORDER BY at DESC LIMIT {MOST_READ + 1}) AS series_{place}"
        for place in range(series)
    )
    return _dialect(dialect, " UNION ALL ".join(newest))


def _of_key(plan: EventPlan, series: Series, key: str, at: int, waiting: Sequence[HistoryEvent]) -> list[PastEvent]:
    return [plan.row(series, each) for each in waiting if each.at <= at and plan.key(series, each) == key]


def _from_sums(
    connection: Connection,
    series: Series,
    series_id: int,
    key: str,
    own: PastEvent,
    others: Sequence[PastEvent],
    name: str,
) -> list[tuple[int, float]]:
    known = bool(kept_ids(connection, [name]))  # then the sums have it
    asked: dict[tuple[int, int, str], Totals] = {}
    found = []
    for place, feature in series.features:
        after, until = series.window(feature, own.at)
        last = feature.operator == "seconds_since_last"
        window = after, until, name if last else ""
        if window not in asked:
            totals = _totals(connection, series, series_id, key, *window)
            for other in others:
                if after < other.at <= until:
                    latest = max(other.at, totals.last or other.at)
                    totals = with_event(totals, other)._replace(last=latest)
            asked[window] = totals if feature.delay or known else with_event(totals, own)
        found.append((place, series.value(feature, own.at, asked[window])))
    return found


def _totals(
    connection: Connection, series: Series, series_id: int, key: str, after: int, until: int, before: str
) -> Totals:
    """What is kept of a key in a window, from sums of full hours and days and the transactions at its ends.

    With ``before``, a transaction's id, only when the last one before it was.
    """
    dialect = connection.dialect.name
    inside = (series_id, key, after, until)
    if before:
        latest = (
            "SELECT max(at) FROM key_events WHERE series_id = ? AND key = ? AND at > ? AND at <= ? AND event_id <> ?"
        )
        found = connection.exec_driver_sql(_dialect(dialect, latest), (*inside, before)).scalar()
        return NOTHING._replace(last=found)
    if series.words:
        words = "SELECT DISTINCT word FROM key_events WHERE series_id = ? AND key = ? AND at > ? AND at <= ?"
        rows = connection.exec_driver_sql(_dialect(dialect, words), inside)
        return NOTHING._replace(words=frozenset(word for (word,) in rows if word is not None))
    totals = NOTHING
    for statement, parameters in _pieces(series_id, key, after, until):
        row = connection.exec_driver_sql(_dialect(dialect, statement), parameters).one()
        transactions, present, total, largest, frauds = (None if each is None else int(each) for each in row)
        part = Totals(transactions or 0, present or 0, total or 0, largest, frauds or 0, frozenset(), None)
        totals = joined(totals, part)
    return totals


_SINGLE: Final = (
    "SELECT count(*), count(value), sum(value), max(value), sum(fraud) FROM key_events "
    "WHERE series_id = ? AND key = ? AND at > ? AND at <= ?"
)
_TILED: Final = (
    "SELECT sum(transactions), sum(present), sum(total), max(largest), sum(frauds) FROM key_tiles "
    "WHERE series_id = ? AND key = ? AND length = ? AND start >= ? AND start < ?"
)


def _pieces(series_id: int, key: str, after: int, until: int) -> list[tuple[str, tuple[Any, ...]]]:
    """Statements whose sums make a window: transactions, hours, days, hours, transactions, as far as there are any."""
    first_hour, last_hour = -(-after // HOUR) * HOUR, until // HOUR * HOUR
    if first_hour >= last_hour:
        return [(_SINGLE, (series_id, key, after, until))]
    first_day, last_day = -(-first_hour // DAY) * DAY, last_hour // DAY * DAY
    tiles = [(HOUR, first_hour, last_hour)]
    if first_day < last_day:
        tiles = [(HOUR, first_hour, first_day), (DAY, first_day, last_day), (HOUR, last_day, last_hour)]
    ends = [(after, first_hour), (last_hour, until)]
    return [
        *((_SINGLE, (series_id, key, low, high)) for low, high in ends if low < high),
        *((_TILED, (series_id, key, length, low, high)) for length, low, high in tiles if low < high),
    ]


def read_many(connection: Connection, plan: EventPlan, given: Sequence[HistoryEvent]) -> NDArray[np.float64]:
    """Features of history (n, features) of transactions; each knows those before it among them, too."""
    found = np.full((len(given), len(plan.contract.history)), np.nan)
    if not given:
        return found
    names = {each.event_id for each in given}
    earliest, latest = min(each.at for each in given), max(each.at for each in given)
    for series_id, series in zip(_series_ids(connection, plan), plan.series, strict=True):
        keys = [plan.key(series, each) for each in given]
        asked = sorted({key for key in keys if key is not None})
        if not asked:
            continue
        own = [plan.row(series, each) for each in given]
        rows = connection.exec_driver_sql(
            _among(connection.dialect.name),
            (series_id, listed(connection.dialect.name, asked), earliest - series.reach, latest),
        )
        past = [row for row in rows if row.event_id not in names]
        columns = _columns(past, keys, own, {key: code for code, key in enumerate(asked)}, series)
        features = [feature for _place, feature in series.features]
        values = compute_history(plan.contract, columns, features)[len(past) :]
        found[:, [place for place, _feature in series.features]] = values
    return found


@cache
def _among(dialect: str) -> str:
    keys = "SELECT value FROM json_each(?)" if dialect == "sqlite" else "SELECT unnest(%s::text[])"
    statement = (
        "SELECT key, at, value, word, fraud, event_id FROM key_events "  # noqa: S608
        f"WHERE series_id = ? AND key IN ({keys}) AND at > ? AND at <= ? ORDER BY key, at, event_id"
    )
    return _dialect(dialect, statement)


def _columns(
    past: Sequence[Any], keys: Sequence[str | None], own: Sequence[PastEvent], codes: Mapping[str, int], series: Series
) -> Events:
    at = np.array([*(row.at for row in past), *(each.at for each in own)], dtype=np.int64)
    coded = [codes[row.key] for row in past] + [-1 if key is None else codes[key] for key in keys]
    values = [row.value for row in past] + [each.value for each in own]
    fraud = [row.fraud for row in past] + [each.fraud for each in own]
    words: dict[str | None, int] = {None: -1}
    given = [row.word for row in past] + [each.word for each in own]
    spelled = [words.setdefault(word, len(words) - 1) for word in given] if series.words else []
    return Events(
        at=at,
        keys={series.entity: np.array(coded, dtype=np.int64)},
        amounts={series.field: np.array([each or 0 for each in values], dtype=np.int64)},
        present={series.field: np.array([each is not None for each in values], dtype=np.bool_)},
        codes={series.field: np.array(spelled, dtype=np.int64)},
        fraud=np.array(fraud, dtype=np.bool_),
    )


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
    told: list[tuple[Any, ...]] = []
    moved: list[tuple[Any, ...]] = []
    tiles: list[tuple[Any, ...]] = []
    for row in changed:
        fraud = labels[row.event_id]
        told.append((fraud, row.event_id))
        for (contract, entity, _field, words), series_id in _kept_series(connection).items():
            key = row.keys.get(entity)
            if contract != row.contract or key is None:
                continue
            moved.append((fraud, series_id, key, row.at, row.event_id))
            if not words:
                change = fraud - row.fraud, series_id, key
                tiles += [(*change, length, tile_start(row.at, length)) for length in _LENGTHS]
    for statement, rows in (
        ("UPDATE events SET fraud = ? WHERE event_id = ?", told),
        ("UPDATE key_events SET fraud = ? WHERE series_id = ? AND key = ? AND at = ? AND event_id = ?", moved),
        (
            "UPDATE key_tiles SET frauds = frauds + ? WHERE series_id = ? AND key = ? AND length = ? AND start = ?",
            sorted(tiles, key=lambda tile: tile[1:]),
        ),
    ):
        if rows:
            connection.exec_driver_sql(_dialect(dialect, statement), rows)
    return len(changed)
