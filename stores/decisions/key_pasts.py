"""A key's past read from the database: its transactions, or of a busy key what its hours come to."""

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection

from stores.decisions.timeline import HOUR, HourlyTimeline, HourSums, PastEvent, Timeline
from stores.sql import listed

MOST_SINGLE: Final = 1_024
"""Transactions of one key that are read one by one; of a key with more in reach, sums of hours are."""


def read_pasts(
    connection: Connection, series_id: int, keys: Sequence[str], since: int
) -> Iterator[tuple[str, Timeline | HourlyTimeline]]:
    """Keys with their pasts after a moment; for those that are busy, sums of hours."""
    newest: dict[str, list[PastEvent]] = {key: [] for key in keys}
    if connection.dialect.name == "postgresql":
        parameters = listed("postgresql", keys), series_id, since, MOST_SINGLE + 1
        for key, *past in connection.exec_driver_sql(_NEWEST_OF_EACH, parameters):
            newest[key].append(PastEvent(*past))
    else:
        for key in keys:
            rows = connection.exec_driver_sql(_NEWEST, (series_id, key, since, MOST_SINGLE + 1))
            newest[key] = [PastEvent(*row) for row in rows]
    for key, events in newest.items():
        if len(events) <= MOST_SINGLE:
            yield key, Timeline(reversed(events))
        else:
            timeline = _hourly(connection, series_id, key, since // HOUR * HOUR)
            yield key, timeline


def _hourly(connection: Connection, series_id: int, key: str, since: int) -> HourlyTimeline:
    inside = series_id, key, since
    hours = connection.exec_driver_sql(_of_dialect(connection, _HOURS), inside)
    latest = connection.exec_driver_sql(_of_dialect(connection, _LATEST), inside)
    return HourlyTimeline(
        # PostgreSQL's sums are decimals
        [
            HourSums(start, count, present, int(total), most, int(frauds))
            for start, count, present, total, most, frauds in hours
        ],
        {word: at for word, at in latest if word is not None},
    )


def read_transactions(connection: Connection, series_id: int, key: str, after: int, until: int) -> Timeline:
    """A key's transactions of (after, until]."""
    rows = connection.exec_driver_sql(_of_dialect(connection, _BETWEEN), (series_id, key, after, until))
    return Timeline(PastEvent(*row) for row in rows)


def _of_dialect(connection: Connection, statement: str) -> str:
    return statement if connection.dialect.name == "sqlite" else statement.replace("?", "%s")


_AGES: Final = 2**56 // HOUR * HOUR
"""Added to moments, it makes them positive: databases cut off quotients towards 0."""

_COLUMNS: Final = "event, at, value, word, fraud FROM key_events WHERE series_id = "
_NEWEST: Final = f"SELECT {_COLUMNS}? AND key = ? AND at > ? ORDER BY at DESC LIMIT ?"
_NEWEST_OF_EACH: Final = (
    "SELECT asked.key, event, at, value, word, fraud FROM unnest(%s::text[]) AS asked (key), LATERAL "
    "(SELECT event, at, value, word, fraud FROM key_events WHERE series_id = %s AND key_events.key = asked.key "
    "AND at > %s ORDER BY at DESC LIMIT %s) AS past"
)
_BETWEEN: Final = f"SELECT {_COLUMNS}? AND key = ? AND at > ? AND at <= ?"
_HOURS: Final = (
    f"SELECT (at - 1 + {_AGES}) / {HOUR} * {HOUR} - {_AGES} AS hour, count(*), count(value), "  # noqa: S608
    "coalesce(sum(value), 0), max(value), sum(fraud) FROM key_events WHERE series_id = ? AND key = ? AND at > ? "
    "GROUP BY hour ORDER BY hour"
)
_LATEST: Final = (
    "SELECT word, max(at) FROM key_events WHERE series_id = ? AND key = ? AND at > ? AND word IS NOT NULL GROUP BY word"
)
