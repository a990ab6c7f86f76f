"""What keys did before, in the memory of one process, and always as the database has it.

Each look first reads what any process has written since the one before, and in the same snapshot the past of keys that
are not in memory. So every transaction and every label counts once, and a look costs the same however much a
key has done.
"""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from stores.decisions.bulk_history import Column
from stores.decisions.event_plan import EventPlan, HistoryEvent, Row, event_number
from stores.decisions.event_tail import Ask, Tail, Written
from stores.decisions.events import any_kept, series_ids
from stores.decisions.key_pasts import MOST_SINGLE, read_pasts, read_transactions
from stores.decisions.timeline import HOUR, NOTHING, HourlyTimeline, Load, PastEvent, Timeline

_MOST_HELD: Final = 2_000_000
"""Transactions in memory, about 60 bytes each; beyond that, keys are let go that were not asked for lately."""

_ENTRY: Final = 8
"""What holding a key costs, in transactions."""

_MARGIN: Final = 24 * HOUR
"""So much further back than they are asked for, keys are read: transactions that come late need no second look."""

_AT_ONCE: Final = 256
"""Transactions of many that are looked up before others get their turn."""

_Key = tuple[int, str]

_Earliest = dict[str, int]
"""Keys of one series that are asked for, and the earliest moment at which each is."""


class _Past:
    """A key's past, complete after a moment, and what holding it was last found to cost."""

    __slots__ = ("cost", "since", "timeline")

    def __init__(self, timeline: Timeline | HourlyTimeline, since: int) -> None:
        self.timeline, self.since, self.cost = timeline, since, 0


_NO_PAST: Final = _Past(NOTHING, 0)


class EventCache:
    """The pasts of keys; safe to share between threads.

    Parameters
    ----------
    glance : callable
        Rows of one statement.
    snapshots : callable
        Opens a transaction that sees one snapshot of the database.
    most_held : int
        Transactions.
    """

    def __init__(
        self,
        glance: Ask,
        snapshots: Callable[[], AbstractContextManager[Connection]],
        dialect: str,
        most_held: int = _MOST_HELD,
    ) -> None:
        self._glance, self._snapshots, self._dialect = glance, snapshots, dialect
        self._most_held = most_held
        self._lock = threading.Lock()
        self._pasts: OrderedDict[_Key, _Past] = OrderedDict()
        self._ids: dict[str, list[int]] = {}
        self._size = 0
        self._tail = Tail()
        self._stale = False

    def look_up(
        self, plan: EventPlan, asked: Sequence[tuple[HistoryEvent, Sequence[HistoryEvent]]]
    ) -> list[list[float]]:
        """Features from history of transactions, as in ``contract.history``, whether they are kept by now or not.

        Parameters
        ----------
        plan : EventPlan
        asked : sequence of (HistoryEvent, others)
            The others came before it, and are perhaps not kept yet.

        Raises
        ------
        Unavailable
            When the database does not answer.
        """
        with self._lock:
            rows = [plan.rows(event) for event, _others in asked]
            keys = _earliest(plan, rows)
            ids = self._at_a_glance(plan, keys)
            if ids is not None:
                with suppress(NotInMemory):
                    found = self._each(plan, asked, rows, ids)
                    self._let_go()
                    return found
            with self._looking(plan, keys) as (ids, _connection):
                return self._each(plan, asked, rows, ids)

    def look_up_now(
        self, plan: EventPlan, asked: Sequence[tuple[HistoryEvent, Sequence[HistoryEvent]]]
    ) -> list[list[float]]:
        """The same as `look_up`, if one statement and what is in memory suffice.

        Raises
        ------
        NotInMemory
            When they do not, or another thread looks up.
        Unavailable
            When the database does not answer.
        """
        if not self._lock.acquire(blocking=False):
            raise NotInMemory
        try:
            rows = [plan.rows(event) for event, _others in asked]
            ids = self._at_a_glance(plan, _earliest(plan, rows))
            if ids is None:
                raise NotInMemory
            found = self._each(plan, asked, rows, ids)
            self._let_go()
            return found
        finally:
            self._lock.release()

    def look_up_many(self, plan: EventPlan, given: Sequence[HistoryEvent]) -> NDArray[np.float64]:
        """Features (n, features) of transactions; each knows those before it among them, too."""
        ordered = sorted(range(len(given)), key=lambda row: given[row].at)
        found = np.full((len(given), len(plan.contract.history)), np.nan)
        if not ordered:
            return found
        events = [given[place] for place in ordered]
        columns = [Column(plan, place, events) for place in range(len(plan.series))]
        together = len({event.number for event in given}) == len(given) and all(column.fits for column in columns)
        before: dict[_Key, Timeline] | None = None
        for begin in range(0, len(given), _AT_ONCE):
            end = min(begin + _AT_ONCE, len(given))
            some, keys = events[begin:end], [column.earliest(begin, end) for column in columns]
            with self._lock, self._looking(plan, keys) as (ids, connection):
                together = together and not any_kept(connection, [event.event_id for event in some])
                if together:
                    found[ordered[begin:end]] = self._together(plan, columns, begin, end, ids)
                    continue
                if before is None:  # each transaction counts once: what comes twice has to be looked at
                    before = defaultdict(Timeline)
                    for event in events[:begin]:
                        self._count(plan.rows(event), before, ids)
                found[ordered[begin:end]] = self._in_turn(plan, [plan.rows(event) for event in some], before, ids)
        return found

    def recall(
        self, plan: EventPlan, asked: Sequence[tuple[HistoryEvent, Sequence[HistoryEvent]]]
    ) -> list[list[float]]:
        """The same as `look_up`, from what is in memory: all that is known while the database is unreachable."""
        with self._lock:
            return self._each(plan, asked, [plan.rows(event) for event, _others in asked], self._recalled(plan))

    def recall_many(
        self, plan: EventPlan, given: Sequence[HistoryEvent], waiting: Sequence[HistoryEvent]
    ) -> NDArray[np.float64]:
        """The same as `look_up_many`, from what is in memory and what waits to be kept."""
        ordered = sorted(range(len(given)), key=lambda row: given[row].at)
        found = np.full((len(given), len(plan.contract.history)), np.nan)
        with self._lock:
            ids = self._recalled(plan)
            before: dict[_Key, Timeline] = defaultdict(Timeline)
            for event in waiting:
                self._count(plan.rows(event), before, ids)
            if ordered:
                found[ordered] = self._in_turn(plan, [plan.rows(given[place]) for place in ordered], before, ids)
        return found

    def _recalled(self, plan: EventPlan) -> list[int]:
        self._stale = True  # what comes back may be an older backup
        for past in self._pasts.values():
            if isinstance(past.timeline, HourlyTimeline):
                past.timeline.load = _nothing
        return self._ids.get(plan.contract.digest, [-1 - place for place in range(len(plan.series))])

    def _at_a_glance(self, plan: EventPlan, keys: Sequence[_Earliest]) -> list[int] | None:
        """Ids of the plan's series if all that is asked for is in memory: then one statement has said what is new."""
        ids = self._ids.get(plan.contract.digest)
        if self._stale or ids is None or min(ids) < 0 or any(True for _ in self._missing(plan, ids, keys)):
            return None
        self._stale, held = True, len(self._pasts)
        self._follow(self._glance)
        self._stale = False
        self._let_load(ids, keys, lambda _series_id, _key: _not_in_memory)
        dropped = len(self._pasts) < held
        return None if dropped and any(True for _ in self._missing(plan, ids, keys)) else ids

    @contextmanager
    def _looking(self, plan: EventPlan, keys: Sequence[_Earliest]) -> Iterator[tuple[list[int], Connection]]:
        """Ids of the plan's series, while memory has all of the keys as the connection sees them."""
        stale, self._stale = self._stale, True
        with self._snapshots() as connection:
            if stale:
                self._tail = Tail()
            self._follow(lambda statement, parameters: connection.exec_driver_sql(statement, parameters).all())
            ids = self._ids[plan.contract.digest] = series_ids(connection, plan)
            self._bring(connection, plan, ids, keys)
            yield ids, connection
        self._stale = False
        self._let_go()

    def _follow(self, ask: Ask) -> None:
        new = self._tail.read(ask, self._dialect)
        if new is None:
            self._pasts.clear()
            self._size = 0
        else:
            self._apply(new)

    def _missing(self, plan: EventPlan, ids: Sequence[int], keys: Sequence[_Earliest]) -> Iterator[tuple[_Key, int]]:
        """Keys whose pasts are not in memory as far back as they are asked for, and how far that is."""
        for series_id, series, asked in zip(ids, plan.series, keys, strict=True):
            if series_id >= 0:  # else nothing is kept yet
                for key, at in asked.items():
                    known = self._pasts.get((series_id, key))
                    if known is None or known.since > at - series.reach:
                        yield (series_id, key), at - series.reach

    def _together(
        self, plan: EventPlan, columns: Sequence[Column], begin: int, end: int, ids: Sequence[int]
    ) -> NDArray[np.float64]:
        found = np.full((end - begin, len(plan.contract.history)), np.nan)
        for series_id, column in zip(ids, columns, strict=True):
            kept: dict[str, Timeline] = {}
            busy: dict[str, HourlyTimeline] = {}
            for key in {key for key in column.keys[begin:end] if key is not None}:
                past = self._pasts.get((series_id, key), _NO_PAST).timeline
                if isinstance(past, Timeline):
                    kept[key] = past
                else:
                    busy[key] = past
            column.fill(found, begin, end, kept)
            if busy:
                column.fill_one_by_one(found, begin, end, busy)
        return found

    def _each(
        self,
        plan: EventPlan,
        asked: Sequence[tuple[HistoryEvent, Sequence[HistoryEvent]]],
        rows: Sequence[Sequence[Row]],
        ids: Sequence[int],
    ) -> list[list[float]]:
        found = []
        for (event, others), own in zip(asked, rows, strict=True):
            waiting: dict[_Key, Timeline] = defaultdict(Timeline)
            for other in others:
                if other.event_id != event.event_id and other.at <= event.at:
                    self._count(plan.rows(other), waiting, ids)
            found.append(self._features(plan, own, waiting, ids))
        return found

    def _in_turn(
        self, plan: EventPlan, rows: Sequence[Sequence[Row]], before: dict[_Key, Timeline], ids: Sequence[int]
    ) -> list[list[float]]:
        found = []
        for own in rows:
            found.append(self._features(plan, own, before, ids))
            self._count(own, before, ids)
        return found

    def _count(self, rows: Sequence[Row], others: dict[_Key, Timeline], ids: Sequence[int]) -> None:
        """Add a transaction to those that are not kept, once, and unless it is."""
        for series_id, (key, past) in zip(ids, rows, strict=True):
            if key is not None:
                place = series_id, key
                kept, more = self._pasts.get(place, _NO_PAST).timeline, others[place]
                if kept.find(past.event, past.at) is None and more.find(past.event, past.at) is None:
                    more.add(past)

    def _features(
        self, plan: EventPlan, rows: Sequence[Row], others: Mapping[_Key, Timeline], ids: Sequence[int]
    ) -> list[float]:
        found = [np.nan] * len(plan.contract.history)
        for series, series_id, (key, own) in zip(plan.series, ids, rows, strict=True):
            if key is not None:
                place = series_id, key
                kept, more = self._pasts.get(place, _NO_PAST).timeline, others.get(place, NOTHING)
                if kept.find(own.event, own.at) is not None:
                    kept = kept.without(own.event, own.at)
                if more.find(own.event, own.at) is not None:
                    more = more.without(own.event, own.at)
                series.fill(found, own, kept, more)
        return found

    def _apply(self, new: Iterable[Written]) -> None:
        for event_id, at, series, was, fraud in new:
            number = event_number(event_id)
            for series_id, key, value, word in series:
                past = self._pasts.get((series_id, key))
                if past is None:
                    continue
                if was is None:
                    past.timeline.add(PastEvent(number, at, value, word, fraud))
                    past.cost, self._size = past.cost + 1, self._size + 1
                    if isinstance(past.timeline, Timeline) and len(past.timeline) > 2 * MOST_SINGLE:
                        self._drop((series_id, key))
                elif isinstance(past.timeline, Timeline):
                    past.timeline.relabel(number, at, fraud)
                else:
                    past.timeline.relabel(number, at, fraud, was)

    def _bring(self, connection: Connection, plan: EventPlan, ids: Sequence[int], keys: Sequence[_Earliest]) -> None:
        """Read the pasts of keys that are not in memory as far back as they are asked for."""
        wanted: dict[int, dict[str, int]] = {}
        for (series_id, key), since in self._missing(plan, ids, keys):
            wanted.setdefault(series_id, {})[key] = since
        for series_id, since_of in wanted.items():
            since = min(since_of.values()) - _MARGIN
            for key, timeline in read_pasts(connection, series_id, sorted(since_of), since):
                self._drop((series_id, key))
                past = self._pasts[series_id, key] = _Past(timeline, since)
                self._weigh(past)
        self._let_load(ids, keys, lambda series_id, key: partial(read_transactions, connection, series_id, key))

    def _let_load(self, ids: Sequence[int], keys: Sequence[_Earliest], load: Callable[[int, str], Load]) -> None:
        """Note that keys were asked for, and say how hours of the busy ones among them are read now."""
        for series_id, asked in zip(ids, keys, strict=True):
            for key in asked:
                if (past := self._pasts.get((series_id, key))) is None:
                    continue
                self._pasts.move_to_end((series_id, key))
                if isinstance(past.timeline, HourlyTimeline):
                    self._weigh(past)
                    past.timeline.load = load(series_id, key)

    def _weigh(self, past: _Past) -> None:
        cost = len(past.timeline) + _ENTRY
        self._size += cost - past.cost
        past.cost = cost

    def _drop(self, key: _Key) -> None:
        past = self._pasts.pop(key, None)
        if past is not None:
            self._size -= past.cost

    def _let_go(self) -> None:
        while self._size > self._most_held and self._pasts:
            self._drop(next(iter(self._pasts)))


def _earliest(plan: EventPlan, rows: Iterable[Sequence[Row]]) -> list[_Earliest]:
    keys: list[_Earliest] = [{} for _ in plan.series]
    for own in rows:
        for (key, past), asked in zip(own, keys, strict=True):
            if key is not None:
                asked[key] = min(past.at, asked.get(key, past.at))
    return keys


class NotInMemory(Exception):
    """A key's past, or an hour of a busy one's, has to be read."""


def _not_in_memory(_after: int, _until: int) -> Timeline:
    raise NotInMemory


def _nothing(_after: int, _until: int) -> Timeline:
    return NOTHING
