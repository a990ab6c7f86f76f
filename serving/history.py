"""What the keys of a transaction did before, looked up before it is scored.

One thread asks the database for all that wait, so that a slow one holds up no other work. What this process is keeping
at that moment counts, too; and without a database, what it has kept since is all that is known.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.errors import Unavailable
from ml_project.history import Events, compute_history
from serving.predictions import Predictions
from serving.transactions import Transactions
from stores.decisions import DecisionStore
from stores.decisions.event_plan import EventPlan, HistoryEvent, event_id, microseconds

_GROUP: Final = 64
"""Most transactions that are looked up in one go."""

_MOST_SPOOLED: Final = 100_000
"""Transactions in the spool that are remembered; of more, the oldest are left out until they are in the database."""

_JOIN_SECONDS: Final = 5.0

_Asked = tuple[EventPlan, HistoryEvent, "Future[tuple[list[float], bool]]"]


@dataclass
class Kept:
    """Where remembered transactions went."""

    spooled: bool = False


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

    async def fill_one(self, contract: Contract, transactions: Transactions) -> Transactions:
        """A transaction with its features from history."""
        if not contract.history:
            return transactions
        plan = EventPlan.of(contract)
        [event] = events_of(plan, transactions, ["-"])
        future: Future[tuple[list[float], bool]] = Future()
        self._asked.put((plan, event, future))
        values, partial = await asyncio.wrap_future(future)
        return _filled(contract, transactions, np.array([values]), partial=partial)

    def fill(self, contract: Contract, transactions: Transactions) -> Transactions:
        """Transactions with their features from history; each knows those before it among them. Blocks."""
        if not contract.history or not len(transactions.raw):
            return transactions
        plan = EventPlan.of(contract)
        given = events_of(plan, transactions, [f"-{row}" for row in range(len(transactions.raw))])
        partial = self._store.outage.is_set()
        if not partial:
            try:
                return _filled(contract, transactions, self._store.history_of_many(plan, given), partial=False)
            except Unavailable:
                partial = True
        values = self._from_memory(plan, given)
        return _filled(contract, transactions, values, partial=True)

    @contextmanager
    def remembered(self, predictions: Predictions, prediction_ids: Sequence[str]) -> Iterator["Kept"]:
        """Let transactions count while they are being kept, and those in the spool until they are out of it."""
        plan = EventPlan.of(predictions.model.contract)
        events = events_of(plan, predictions.transactions, prediction_ids)
        with self._lock:
            for event in events:
                for place in _places(plan, event):
                    self._by_key.setdefault(place, {})[event.event_id] = event
        kept = Kept()
        try:
            yield kept
        finally:
            done = [(plan, event) for event in events]
            if kept.spooled:
                with self._lock:
                    spooled = [*self._spooled, *done]
                    done, self._spooled = spooled[:-_MOST_SPOOLED], spooled[-_MOST_SPOOLED:]
            self._forget(done)

    def remember_spooled(self, predictions: Predictions, prediction_ids: Sequence[str]) -> None:
        """Let transactions that are in the spool count until they are out of it."""
        with self.remembered(predictions, prediction_ids) as kept:
            kept.spooled = True

    def _forget(self, events: Iterable[tuple[EventPlan, HistoryEvent]]) -> None:
        with self._lock:
            for plan, event in events:
                for place in _places(plan, event):
                    known = self._by_key.get(place, {})
                    known.pop(event.event_id, None)
                    if not known:
                        self._by_key.pop(place, None)

    def _of_keys(self, plan: EventPlan, event: HistoryEvent) -> list[HistoryEvent]:
        with self._lock:
            found = {name: each for place in _places(plan, event) for name, each in self._by_key.get(place, {}).items()}
        return list(found.values())

    def _run(self) -> None:
        while (first := self._asked.get()) is not None:
            group = [first]
            while len(group) < _GROUP and not self._asked.empty():
                following = self._asked.get_nowait()
                if following is None:
                    self._asked.put(None)
                    break
                group.append(following)
            self._answer(group)

    def _answer(self, group: Sequence[_Asked]) -> None:
        asked = [(plan, event, self._of_keys(plan, event)) for plan, event, _future in group]
        partial = self._store.outage.is_set()
        if self._spooled and not partial and not self._spool_size():
            with self._lock:
                spooled, self._spooled = self._spooled, []
            self._forget(spooled)
        found: list[list[float]] = []
        try:
            if not partial:
                found = self._store.histories_of(asked)
        except Unavailable:
            partial = True
        except Exception as error:
            for _plan, _event, future in group:
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
            return
        if partial:
            found = [self._from_memory(plan, [event])[0].tolist() for plan, event, _future in group]
        for (_plan, _event, future), values in zip(group, found, strict=True):
            if future.set_running_or_notify_cancel():
                future.set_result((values, partial))

    def _from_memory(self, plan: EventPlan, given: Sequence[HistoryEvent]) -> NDArray[np.float64]:
        known = {each.event_id: each for event in given for each in self._of_keys(plan, event)}
        return history_of(plan, [*known.values(), *given])[len(known) :]


def events_of(plan: EventPlan, transactions: Transactions, prediction_ids: Sequence[str]) -> list[HistoryEvent]:
    """Transactions as their keys' histories know them."""
    contract, names = plan.contract, plan.contract.given_names
    found = []
    for row, values in enumerate(transactions.raw[:, : len(names)].tolist()):
        given = dict(zip(names, values, strict=True))
        given |= {name: texts[row] for name, texts in transactions.entities.items()}
        moment = transactions.event_times[row]
        if moment is None:
            raise ValueError("a contract with history requires event times")
        name = event_id(contract.contract, transactions.ids[row], prediction_ids[row])
        found.append(plan.event(name, microseconds(moment), given))
    return found


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


def history_of(plan: EventPlan, given: Sequence[HistoryEvent]) -> NDArray[np.float64]:
    """Features from history (n, features) of transactions, from nothing but themselves."""

    def codes(values: Sequence[str | None]) -> NDArray[np.int64]:
        known: dict[str | None, int] = {None: -1}
        return np.array([known.setdefault(value, len(known) - 1) for value in values], dtype=np.int64)

    events = Events(
        at=np.array([each.at for each in given], dtype=np.int64),
        keys={name: codes([each.keys[place] for each in given]) for place, name in enumerate(plan.entities)},
        amounts={
            name: np.array([each.values[place] or 0 for each in given], dtype=np.int64)
            for place, name in enumerate(plan.summed)
        },
        present={
            name: np.array([each.values[place] is not None for each in given], dtype=np.bool_)
            for place, name in enumerate(plan.summed)
        },
        codes={name: codes([each.words[place] for each in given]) for place, name in enumerate(plan.counted)},
        fraud=np.zeros(len(given), dtype=np.bool_),
    )
    return compute_history(plan.contract, events)
