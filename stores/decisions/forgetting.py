"""Erasing personal keys, and past transactions that no feature can ask for any more.

A forgotten customer's own history goes. In the histories of others the transaction stays, so that their counts remain
right; a name among the different values that are counted there becomes a random one, another in each history. Decisions
stay as they were made, with nothing in the place of the key.

Each step is a transaction of its own, short enough for predictions not to wait, and takes what it finds: a killed
command begins again and goes on.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol, TypeVar

from pydantic_core import from_json, to_json
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from ml_project.contract import Contract
from stores.decisions.event_plan import EventPlan, event_number, microseconds
from stores.decisions.keyless import (
    KeyedSegment,
    PersonalKey,
    erase_bulk,
    erase_singles,
    segment_ids,
    segment_with,
    singles_with,
)
from stores.decisions.schema import contracts, event_changes, event_series, events, key_events
from stores.sql import one_of, time_allowed, translated

MOST: Final = 250
"""Transactions that are deleted or changed in one commit."""

PAGE: Final = 5_000
SCAN: Final = 50_000
"""Decisions, and past transactions, that are looked through at once."""

_SCAN_SECONDS: Final = 300.0

T = TypeVar("T")

Read = Callable[[], AbstractContextManager[Connection]]

_Row = list[Any]
"""What a past transaction is to a series: its id, the key, the value and the word."""

_History = tuple[int, str]
"""A series and a key."""


class Write(Protocol):
    """Does some work in one transaction."""

    def __call__(self, work: Callable[[Connection], T]) -> T:
        """What the work returns."""


@dataclass(frozen=True)
class Holdings:
    """Where a key is kept, or was until it was erased.

    Attributes
    ----------
    past : int
        Past transactions in its own history.
    counted : int
        Past transactions in the histories of others that count it among different values.
    decisions : int
        Kept decisions, single and bulk.
    """

    past: int = 0
    counted: int = 0
    decisions: int = 0


@dataclass(frozen=True)
class Forgetting:
    """A key among the transactions of a contract, to be looked for or erased; `DecisionStore.forgetting` makes one."""

    read: Read
    write: Write
    contract: str
    key: PersonalKey

    def held(self) -> Holdings:
        """Where it is kept; nothing is changed."""
        with self.read() as connection, time_allowed(connection, _SCAN_SECONDS):
            own, others = _series(connection, self.contract, self.key.entity)
            mine = one_of(connection, key_events.c.key, self.key.forms)
            word = one_of(connection, key_events.c.word, self.key.forms)
            past = [connection.scalar(_count(key_events.c.series_id == each, mine)) or 0 for each in own]
            counted = [connection.scalar(_count(key_events.c.series_id == each, word)) or 0 for each in others]
        singles = sum(not row.segment_id for rows in self._singles() for row in rows)
        return Holdings(max(past, default=0), sum(counted), singles + sum(each.rows for each in self._bulk()))

    def erase(self) -> Holdings:
        """Erase it, in steps; what was erased."""
        contract, key, decisions = self.contract, self.key, 0
        for rows in self._singles():
            for begin in range(0, len(rows), MOST):
                ids = [row.prediction_id for row in rows[begin : begin + MOST]]
                decisions += self._step(partial(erase_singles, contract=contract, key=key, ids=ids))
        for segment in self._bulk():
            decisions += self._step(partial(erase_bulk, contract=contract, segment=segment))
        own, counting = self._mentions()
        counted = sum(self._step(partial(_rename, key=key, histories=some)) for some in _grouped(counting))
        past = sum(
            self._step(partial(_erase_past, contract=contract, key=key, seqs=own[begin : begin + MOST]))
            for begin in range(0, len(own), MOST)
        )
        return Holdings(past, counted, decisions)

    def _step(self, work: Callable[[Connection], int]) -> int:
        """SQLite puts zeros where something is deleted; copies that it moved before stay, see `compact`."""

        def overwriting(connection: Connection) -> int:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            return work(connection)

        return self.write(overwriting)

    def _mentions(self) -> tuple[list[int], dict[_History, list[int]]]:
        """Past transactions of the key's own history, and of each history of another those that count it there."""
        own: list[int] = []
        counting: dict[_History, list[int]] = defaultdict(list)
        texts = [to_json(form).decode() for form in self.key.forms]
        for inside in _parts(self.read, events.c.seq):
            with self.read() as connection:
                mine, others = _series(connection, self.contract, self.key.entity)
                place = func.instr if connection.dialect.name == "sqlite" else func.strpos
                likely = or_(*(place(events.c.content, text) > 0 for text in texts))
                rows = connection.execute(select(events.c.seq, events.c.content).where(inside, likely)).all()
            for seq, content in rows:
                named = from_json(content)
                if any(series_id in mine and key in self.key.forms for series_id, key, _value, _word in named):
                    own.append(seq)
                for series_id, key, _value, word in named:
                    if series_id in others and word in self.key.forms:
                        counting[series_id, key].append(seq)
        return own, counting

    def _singles(self) -> Iterator[list[Any]]:
        after: str | None = ""
        while after is not None:
            with self.read() as connection:
                found, after = singles_with(connection, self.contract, self.key, after, PAGE)
            if found:
                yield found

    def _bulk(self) -> Iterator[KeyedSegment]:
        with self.read() as connection:
            names = segment_ids(connection, self.contract)
        for segment_id in names:
            with self.read() as connection:
                found = segment_with(connection, self.key, segment_id)
            if found is not None:
                yield found


def compact(engine: Engine) -> None:
    """Write SQLite's file anew, without what its free space and its log still hold; PostgreSQL does so by itself.

    Who writes meanwhile waits.
    """
    if engine.dialect.name == "sqlite":
        with translated(engine.url), closing(engine.raw_connection()) as connection:
            connection.cursor().execute("VACUUM")
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def purge_past(read: Read, write: Write, contract: Contract, older_than: datetime) -> int:
    """Delete past transactions that no feature of a transaction from a moment on can ask for; how many there were.

    Those are further back than any version of the contract that is kept, or this one, reaches.
    """
    with read() as connection:
        kept = select(contracts.c.content).where(contracts.c.name == contract.contract)
        versions = [Contract.model_validate_json(content) for content in connection.scalars(kept)]
    reach = max(EventPlan.of(each).reach for each in (contract, *versions))
    if not reach:  # what is there is of a version that has not decided yet
        return 0
    old = events.c.contract == contract.contract, events.c.at <= microseconds(older_than) - reach
    gone = event_changes.c.fraud.is_not(None), ~exists().where(events.c.seq == event_changes.c.seq)
    found = 0
    for number, conditions, work in (
        (events.c.seq, old, _purge_events),
        (event_changes.c.change_id, gone, _purge_changes),
    ):
        for inside in _parts(read, number):
            with read() as connection:
                numbers = connection.scalars(select(number).where(inside, *conditions)).all()
            for begin in range(0, len(numbers), MOST):
                found += write(partial(work, numbers=numbers[begin : begin + MOST]))
    return found


def _parts(read: Read, number: Column[int]) -> Iterator[ColumnElement[bool]]:
    """Conditions for all rows of a table by their numbers, so many at a time."""
    with read() as connection:
        first, last = connection.execute(select(func.min(number), func.max(number))).one()
    for begin in range(first or 0, (last or 0) + 1, SCAN) if last else ():
        yield number.between(begin, begin + SCAN - 1)


def _of_contract(contract: str) -> Any:
    return select(event_series).where(event_series.c.contract == contract)


def _series(connection: Connection, contract: str, entity: str) -> tuple[frozenset[int], frozenset[int]]:
    """Series of the entity's own keys, and those of others' that count it."""
    rows = connection.execute(_of_contract(contract)).all()
    own = frozenset(row.series_id for row in rows if row.entity == entity)
    counting = (row.series_id for row in rows if row.words and row.field == entity and row.entity != entity)
    return own, frozenset(counting)


def _count(*conditions: ColumnElement[bool]) -> Any:
    return select(func.count()).select_from(key_events).where(*conditions)


def _grouped(counting: Mapping[_History, Sequence[int]]) -> Iterator[dict[_History, Sequence[int]]]:
    """Histories together that have so many transactions; each is whole in one of the groups."""
    group: dict[_History, Sequence[int]] = {}
    for history, seqs in counting.items():
        group[history] = seqs
        if sum(map(len, group.values())) >= MOST:
            yield group
            group = {}
    if group:
        yield group


def _rename(connection: Connection, key: PersonalKey, histories: Mapping[_History, Sequence[int]]) -> int:
    """In histories of other keys, each all at once: what was one different value stays one."""
    names = {history: f"erased~{secrets.token_hex(8)}" for history in histories}
    count = 0
    for (series_id, other), name in names.items():
        mine = key_events.c.series_id == series_id, key_events.c.key == other
        word = one_of(connection, key_events.c.word, key.forms)
        count += connection.execute(update(key_events).where(*mine, word).values(word=name)).rowcount

    def renamed(row: _Row) -> _Row:
        series_id, other, value, word = row
        return [series_id, other, value, names.get((series_id, other), word) if word in key.forms else word]

    _rewrite(connection, sorted({*chain(*histories.values())}), renamed)
    return count


def _erase_past(connection: Connection, contract: str, key: PersonalKey, seqs: Sequence[int]) -> int:
    """Some of the key's past transactions, in all its series."""
    own, _others = _series(connection, contract, key.entity)

    def without(row: _Row) -> _Row | None:
        return None if row[0] in own and row[1] in key.forms else row

    gone = _rewrite(connection, seqs, without)
    _delete_past(connection, gone)
    return len({place[2:] for place in gone})


def _rewrite(
    connection: Connection, seqs: Sequence[int], change: Callable[[_Row], _Row | None]
) -> list[tuple[int, str, int, int]]:
    """Change what past transactions are to series, and have all gateways read them anew; where none of it is left."""
    columns = events.c.seq, events.c.event_id, events.c.at, events.c.content
    rows = connection.execute(select(*columns).where(events.c.seq.in_(seqs)).order_by(events.c.seq).with_for_update())
    gone = []
    for seq, name, at, content in rows.all():
        left = []
        for row in from_json(content):
            changed = change(row)
            if changed is None:
                gone.append((row[0], row[1], at, event_number(name)))
            # the series stays without a key: `complete_events` would else take it for one that is yet to be made
            left.append(changed or [row[0], None, None, None])
        connection.execute(update(events).where(events.c.seq == seq).values(content=to_json(left).decode()))
    # as for any change that is no label: see the table
    written: Any = literal_column(
        "pg_current_xact_id()::text::bigint" if connection.dialect.name == "postgresql" else "NULL"
    )
    connection.execute(insert(event_changes).values(seq=seqs[0], written=written))
    return gone


_PLACE: Final = key_events.c.series_id, key_events.c.key, key_events.c.at, key_events.c.event
_DELETE_PAST: Final = delete(key_events).where(*(column == bindparam(f"b_{column.name}") for column in _PLACE))


def _delete_past(connection: Connection, places: Sequence[tuple[int, str, int, int]]) -> None:
    names = [f"b_{column.name}" for column in _PLACE]
    if places:
        connection.execute(_DELETE_PAST, [dict(zip(names, place, strict=True)) for place in sorted(places)])


def _purge_events(connection: Connection, numbers: Sequence[int]) -> int:
    columns = events.c.event_id, events.c.at, events.c.content
    rows = connection.execute(select(*columns).where(events.c.seq.in_(numbers))).all()
    _delete_past(
        connection,
        [
            (series_id, key, at, event_number(name))
            for name, at, content in rows
            for series_id, key, _value, _word in from_json(content)
            if key is not None
        ],
    )
    connection.execute(delete(events).where(events.c.seq.in_(numbers)))
    return len(rows)


def _purge_changes(connection: Connection, numbers: Sequence[int]) -> int:
    """Labels of what is gone, which nobody can have in memory any more."""
    connection.execute(delete(event_changes).where(event_changes.c.change_id.in_(numbers)))
    return 0
