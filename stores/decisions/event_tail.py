"""What was written about past transactions since the last look, each row once.

SQLite has one writer, and its rows are numbered in the order in which they appear. On PostgreSQL transactions end in
another order than they begin: there all rows are read whose transaction was not over at the last look, and those that
were seen are left out.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

MOST_BEHIND: Final = 50_000
"""Rows that are read one by one; when more were written, such as by a rebuild, all is read anew."""


Ask = Callable[[str, tuple[Any, ...]], Sequence[Any]]
"""Rows of a statement."""


class Written(NamedTuple):
    """A past transaction that is new, or that changed."""

    event_id: str
    at: int
    series: list[tuple[int, str, int | None, str | None]]
    """Ids of series, keys, values and words."""
    was: int | None
    """What it was before, 1 for fraud; None where it is new."""
    fraud: int


class Tail:
    """Reads on from where it was; the first look reads nothing."""

    def __init__(self) -> None:
        self._events = self._changes = 0
        self._last = ""
        self._seen: set[tuple[int, int]] = set()
        self._begun = False

    def read(self, ask: Ask, dialect: str) -> list[Written] | None:
        """New rows in order; None where all has to be read anew.

        ``ask`` sees one snapshot, the one in which whatever is read anew is read.
        """
        begun, self._begun = self._begun, True
        return self._postgres(ask, begun) if dialect == "postgresql" else self._sqlite(ask, begun)

    def _sqlite(self, ask: Ask, begun: bool) -> list[Written] | None:
        if begun:
            rows = ask(_SQLITE, (self._events, self._changes, MOST_BEHIND))
            # the last row again: it is another one in a backup that took the database's place
            same = not self._events or (bool(rows) and (rows[0][1], rows[0][3]) == (self._events, self._last))
            if same and len(rows) < MOST_BEHIND:
                new = rows[1:] if self._events else rows
                for kind, number, _seq, event_id, *_rest in new:
                    if kind == _EVENT:
                        self._events, self._last = number, event_id
                    else:
                        self._changes = number
                return _written(new)
        self._events, self._last, self._changes = ask(_SQLITE_LAST, ())[0]
        return None

    def _postgres(self, ask: Ask, begun: bool) -> list[Written] | None:
        if not begun:
            [(self._events,)] = ask(f"SELECT {_HORIZON}", ())
        (_kind, horizon, *_), *rows = ask(_POSTGRES, (self._events, self._events, MOST_BEHIND))
        new = [row for row in rows if (row[0], row[1]) not in self._seen]
        if len(rows) >= MOST_BEHIND - 1:
            begun, self._begun = False, False  # the next look takes up where it is then
        self._seen = {(row[0], row[1]) for row in rows if row[8] >= horizon}
        self._events = horizon
        return _written(new) if begun else None


_EVENT: Final = 1
_COLUMNS: Final = (
    "SELECT 1, seq, seq, event_id, at, content, NULL, fraud, written FROM events WHERE {events} "
    "UNION ALL SELECT 2, change_id, seq, event_id, at, content, was, event_changes.fraud, event_changes.written "
    "FROM event_changes LEFT JOIN events USING (seq) WHERE {changes} ORDER BY 1, 2 LIMIT {most}"
)
_HORIZON: Final = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_SQLITE: Final = _COLUMNS.format(events="seq >= ?", changes="change_id > ?", most="?")
_SQLITE_LAST: Final = (
    "SELECT coalesce(max(seq), 0), coalesce((SELECT event_id FROM events ORDER BY seq DESC LIMIT 1), ''), "
    "(SELECT coalesce(max(change_id), 0) FROM event_changes) FROM events"
)
# A range, not only its begin: of that PostgreSQL guesses that it takes a third of a table that it has no statistics of
# yet, such as after a rebuild, and would read it all.
_SINCE: Final = f"written BETWEEN %s AND {2**63 - 1}"
_POSTGRES: Final = (
    f"SELECT 0, {_HORIZON}, 0::bigint, NULL, 0::bigint, NULL, NULL::smallint, 0::smallint, 0::bigint UNION ALL "
    + _COLUMNS.format(events=_SINCE, changes=f"event_changes.{_SINCE}", most="%s")
)


def _written(rows: Sequence[Any]) -> list[Written] | None:
    """None where a change says only that there was one."""
    new = {row[2] for row in rows if row[0] == _EVENT}
    found = []
    for kind, _number, seq, event_id, at, content, was, fraud, _written in rows:
        if kind != _EVENT and seq in new:
            continue  # a new one is as it is by now
        if content is None or fraud is None or (kind != _EVENT and was is None):
            return None
        found.append(Written(event_id, at, from_json(content), was, fraud))
    return found
