"""What the keys of a transaction did before, looked up before it is scored.

One thread asks the database for all that wait, so that a slow one holds up no other work. What this process is keeping
at that moment counts, too; and without a database, what it has kept since is all that is known.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.errors import Unavailable
from serving.predictions import Predictions
from serving.transactions import Transactions
from stores.decisions import DecisionStore
from stores.decisions.event_cache import NotInMemory
from stores.decisions.event_plan import EventPlan, HistoryEvent, event_id, microseconds

_GROUP: Final = 64
"""From so many transactions on, no others join those that are looked up in one go."""

_MOST_REMEMBERED: Final = 100_000
"""Transactions in the spool that are remembered; of more, the oldest are left out until they are in the database."""

_MOST_OF_KEY: Final = 1_024
"""Those of one key that are gone through for a look, the newest; with more in the spool, history is partial."""

_JOIN_SECONDS: Final = 5.0

Remembered = list[tuple[EventPlan, HistoryEvent]]
"""Past transactions that `settle` takes."""

LookedUp = Callable[[Transactions | Exception], None]
"""Is told transactions with their features from history, or why there are none."""

_Asked = tuple[EventPlan, Transactions, LookedUp]


class PastTransactions:
    """Fills in the features from history; safe to share between threads.

    Parameters
    ----------
    store : DecisionStore
    spool_size : callable
        How much is in the spool; once nothing is, the database knows what was.
    """

    def __init__(self, store: DecisionStore, spool_size: Callable[[], int]) -> None:
        self._store, self._spool_size = store, spool_size
        self._lock = threading.Lock()
        self._spooled: list[tuple[EventPlan, HistoryEvent]] = []
        self._kept: list[tuple[EventPlan, HistoryEvent]] = []
        """In the database, but not read from it since: if it goes away now, this is all that knows of them."""
        self._by_key: dict[tuple[str, str, str], dict[str, HistoryEvent]] = {}
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="history-reader", daemon=True)

    def start(self) -> None:
        """Begin to look up what waits."""
        self._thread.start()

    def close(self) -> None:
        """End when all that waits is looked up."""
        self._asked.put(None)
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def at_once(self, contract: Contract, transactions: Transactions) -> Transactions | None:
        """Fill in single transactions if that takes no time to speak of; None if it would: then `look_up`."""
        if self._spooled or self._store.outage.is_set():
            return None
        plan = EventPlan.of(contract)
        events = events_of(plan, transactions, ["-"] * len(transactions))
        asked = [(event, self._of_keys(plan, [event])[0]) for event in events]
        try:
            with self._reading():
                values = self._store.histories_at_once(plan, asked)
        except (NotInMemory, Unavailable):
            return None
        return _filled(contract, transactions, np.array(values), partial=False)

    def look_up(self, contract: Contract, transactions: Transactions, done: LookedUp) -> None:
        """Fill in single transactions, none of which knows another; ``done`` is told on the reader's thread."""
        self._asked.put((EventPlan.of(contract), transactions, done))

    def fill(self, contract: Contract, transactions: Transactions) -> Transactions:
        """Transactions with their features from history; each knows those before it among them. Blocks."""
        if not contract.history or not len(transactions.raw):
            return transactions
        plan = EventPlan.of(contract)
        given = events_of(plan, transactions, [f"-{row}" for row in range(len(transactions.raw))])
        if not self._store.outage.is_set():
            with suppress(Unavailable), self._reading():
                return _filled(contract, transactions, self._store.history_of_many(plan, given), partial=False)
        return _filled(contract, transactions, self._from_memory(plan, given), partial=True)

    def remember(self, predictions: Predictions) -> Remembered:
        """Let named transactions count from now on; `settle` says where they went."""
        plan = EventPlan.of(predictions.model.contract)
        events = events_of(plan, predictions.transactions, predictions.prediction_ids)
        remembered = [(plan, event) for event in events]
        with self._lock:
            for _plan, event in remembered:
                for place in _places(plan, event):
                    self._by_key.setdefault(place, {})[event.event_id] = event
        return remembered

    def settle(self, remembered: Remembered, *, spooled: bool) -> None:
        """Let transactions count until the database is read, or, those in the spool, until they are out of it."""
        with self._lock:
            settled = self._spooled if spooled else self._kept
            settled += remembered
            oldest = settled[:-_MOST_REMEMBERED]
            del settled[:-_MOST_REMEMBERED]
        self._forget(oldest)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Let go what is kept by now, if the database can be read."""
        with self._lock:
            kept, self._kept = self._kept, []
        try:
            yield
        except BaseException:
            with self._lock:
                self._kept = kept + self._kept
            raise
        self._forget(kept)

    def _forget(self, events: Iterable[tuple[EventPlan, HistoryEvent]]) -> None:
        with self._lock:
            for plan, event in events:
                for place in _places(plan, event):
                    known = self._by_key.get(place, {})
                    known.pop(event.event_id, None)
                    if not known:
                        self._by_key.pop(place, None)

    def _of_keys(self, plan: EventPlan, events: Iterable[HistoryEvent]) -> tuple[list[HistoryEvent], bool]:
        """Remembered transactions of some transactions' keys, and whether these are all."""
        places = {place for event in events for place in _places(plan, event)}
        with self._lock:
            known = [self._by_key.get(place, {}) for place in places]
            newest = {name: each for some in known for name, each in islice(reversed(some.items()), _MOST_OF_KEY)}
        return list(newest.values()), all(len(some) <= _MOST_OF_KEY for some in known)

    def _run(self) -> None:
        while (first := self._asked.get()) is not None:
            group, rows = [first], len(first[1])
            while rows < _GROUP and not self._asked.empty():
                following = self._asked.get_nowait()
                if following is None:
                    self._asked.put(None)
                    break
                group.append(following)
                rows += len(following[1])
            self._answer(group)

    def _answer(self, group: Sequence[_Asked]) -> None:
        by_plan: dict[str, list[_Asked]] = {}
        for asked in group:
            by_plan.setdefault(asked[0].contract.digest, []).append(asked)
        for some in by_plan.values():
            plan = some[0][0]
            try:
                events = [event for _plan, each, _done in some for event in events_of(plan, each, ["-"] * len(each))]
                values, partial = self._looked_up(plan, events)
            except Exception as error:
                if len(some) == 1:
                    some[0][2](error)
                else:  # a request that cannot be looked up must not take the others with it
                    for one in some:
                        self._answer([one])
                continue
            begin = 0
            for _plan, each, done in some:
                end = begin + len(each)
                done(_filled(plan.contract, each, np.array(values[begin:end]), partial=partial))
                begin = end

    def _looked_up(self, plan: EventPlan, events: Sequence[HistoryEvent]) -> tuple[list[list[float]], bool]:
        remembered = [self._of_keys(plan, [event]) for event in events]
        asked = [(event, others) for event, (others, _whole) in zip(events, remembered, strict=True)]
        partial = self._store.outage.is_set()
        if self._spooled and not partial and not self._spool_size():
            with self._lock:
                spooled, self._spooled = self._spooled, []
            self._forget(spooled)
        if not partial:
            with suppress(Unavailable), self._reading():
                # what is not in the spool is in the database, or about to be
                left_out = bool(self._spooled) and not all(whole for _others, whole in remembered)
                return self._store.histories_of(plan, asked), left_out
        return self._store.recalled_histories(plan, asked), True

    def _from_memory(self, plan: EventPlan, given: Sequence[HistoryEvent]) -> NDArray[np.float64]:
        waiting, _whole = self._of_keys(plan, given)
        return self._store.recalled_of_many(plan, given, waiting)


def events_of(plan: EventPlan, transactions: Transactions, prediction_ids: Sequence[str]) -> list[HistoryEvent]:
    """Transactions as their keys' histories know them."""
    contract = plan.contract
    moments = transactions.event_times
    if None in moments:
        raise ValueError("a contract with history requires event times")
    names = contract.given_names
    asked = {*plan.entities, *plan.summed, *plan.counted}
    given: dict[str, Sequence[object]] = {
        name: transactions.raw[:, place].tolist() for place, name in enumerate(names) if name in asked
    }
    given |= transactions.entities
    ids = [
        event_id(contract.contract, name, prediction_id)
        for name, prediction_id in zip(transactions.ids, prediction_ids, strict=True)
    ]
    return list(plan.events(ids, [microseconds(each) for each in moments if each], given))


def _places(plan: EventPlan, event: HistoryEvent) -> list[tuple[str, str, str]]:
    # by contract: after a swap, what is remembered under the one before has other fields in its places
    kept = zip(plan.entities, event.keys, strict=True)
    return [(plan.contract.digest, entity, key) for entity, key in kept if key is not None]


def _filled(
    contract: Contract, transactions: Transactions, values: NDArray[np.float64], *, partial: bool
) -> Transactions:
    raw = transactions.raw.copy()
    raw[:, len(contract.given_names) :] = values
    return replace(transactions, raw=raw, partial=partial)
