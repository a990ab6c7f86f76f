"""Online against offline: past transactions replayed through the gateway's store, compared with whole-table history.

All transactions of the handbook in time order (where they are absent, as many simulated ones), labels seven days later;
each is looked up before it is kept. Then the last of them once more with 1 in 100 late by up to two days, with 1 in 100
sent twice, and by 16 clients at once; and all of them kept without a look, as a rebuild does. Differences are counted,
and explained where a transaction had not arrived yet.

PYTHONPATH=. python benchmarks/bench_replay.py [--database URL] [--rows N] [--some N]
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.bench_history import transactions
from benchmarks.gateway.load import in_key_order
from ml_project.contract_file import contract_named
from ml_project.dataset import events_of
from ml_project.history import MICROSECONDS, compute_history
from stores.decisions import DecisionStore, open_store
from stores.decisions.event_plan import EventPlan, HistoryEvent, event_id

CONTRACT = contract_named("cards")
PLAN = EventPlan.of(CONTRACT)
DELAY: Final = max(each.delay for each in CONTRACT.history) * MICROSECONDS
GROUP: Final = 4_096
CLIENTS: Final = 16
_LATE: Final = 2 * 86_400 * MICROSECONDS


@dataclass(frozen=True)
class Story:
    """Transactions in time order, what each turned out to be, and their features as a whole table has them."""

    events: Sequence[HistoryEvent]
    frauds: NDArray[np.int64]
    offline: NDArray[np.float64]

    @property
    def at(self) -> NDArray[np.int64]:
        return np.array([each.at for each in self.events])

    @staticmethod
    def of(table: pd.DataFrame) -> "Story":
        at = table["at"].dt.as_unit("us").astype("int64").tolist()
        given = {name: table[name].tolist() for name in ("customer", "terminal", "amount")}
        names = [event_id("cards", f"t{number}", "") for number in range(len(table))]
        frauds = table["fraud"].to_numpy(dtype=np.int64)
        return Story(list(PLAN.events(names, at, given)), frauds, compute_history(CONTRACT, events_of(table, CONTRACT)))


class Labels:
    """Says of frauds what they were, as soon as a delayed window can ask."""

    def __init__(self, store: DecisionStore, story: Story) -> None:
        self._store = store
        rows = np.flatnonzero(story.frauds)
        self._waiting = [(story.events[row].at + DELAY, story.events[row].event_id) for row in rows.tolist()]
        self._told = 0

    def until(self, moment: int) -> None:
        begun = self._told
        while self._told < len(self._waiting) and self._waiting[self._told][0] <= moment:
            self._told += 1
        self._store.relabel_events({name: 1 for _at, name in self._waiting[begun : self._told]})


def replay(store: DecisionStore, story: Story, order: Sequence[int]) -> NDArray[np.float64]:
    """Features (n, features) of transactions as they came, by their place in the story."""
    found = np.full_like(story.offline, np.nan)
    labels = Labels(store, story)
    for begin in range(0, len(order), GROUP):
        rows = order[begin : begin + GROUP]
        given = [story.events[row] for row in rows]
        labels.until(max(each.at for each in given))
        found[rows] = store.history_of_many(PLAN, given)
        store.add_events(PLAN, given)
    return found


def by_clients(store: DecisionStore, story: Story) -> NDArray[np.float64]:
    """The same by many clients, one by one; what a key does stays in order."""
    found = np.full_like(story.offline, np.nan)
    labels = Labels(store, story)

    def act(row: int) -> None:
        [found[row]] = store.histories_of(PLAN, [(story.events[row], ())])
        store.add_events(PLAN, [story.events[row]])

    keys = [[each.keys[place] for each in story.events] for place in range(len(PLAN.entities))]
    in_key_order(keys, act, lambda row: labels.until(story.events[row].at), clients=CLIENTS)
    return found


def differing(found: NDArray[np.float64], story: Story) -> NDArray[np.int64]:
    """Rows with a feature of other bits."""
    same = (found == story.offline) | (np.isnan(found) & np.isnan(story.offline))
    return np.flatnonzero(~same.all(axis=1))


def explained(story: Story, arrived: NDArray[np.int64], late: NDArray[np.int64]) -> set[int]:
    """Rows in whose reach a transaction of their key lies that arrived only after them."""
    found: set[int] = set()
    for place in range(len(PLAN.entities)):
        rows_of: dict[str | None, list[int]] = {}
        for row, event in enumerate(story.events):
            rows_of.setdefault(event.keys[place], []).append(row)
        for row in late.tolist():
            event = story.events[row]
            for other in rows_of[event.keys[place]]:
                if event.at <= story.events[other].at <= event.at + PLAN.reach and arrived[other] < arrived[row]:
                    found.add(other)
    return found


def stores(url: str | None) -> Iterator[DecisionStore]:
    """An empty store each time: of SQLite in a scratch folder, or a database of the given server emptied."""
    while True:
        with tempfile.TemporaryDirectory() as folder, open_store(url or f"sqlite:///{folder}/decisions.db") as store:
            if url:
                with store.engine.begin() as connection:
                    connection.exec_driver_sql("TRUNCATE events, event_changes, key_events, event_series")
            yield store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="postgresql://... of an empty database; SQLite without it")
    parser.add_argument("--rows", type=int, default=0, help="of the table's begin (default: all)")
    parser.add_argument("--some", type=int, default=200_000, help="for late ones and twice (default: %(default)s)")
    parser.add_argument("--by-clients", type=int, default=50_000, help="for 16 clients (default: %(default)s)")
    options = parser.parse_args()
    table, source = transactions()
    table = table.head(options.rows or len(table))
    fresh = stores(options.database)
    whole, some = Story.of(table), Story.of(table.head(options.some))
    gc.freeze()  # what the benchmark holds is no work for the garbage collector
    kind = "PostgreSQL" if options.database else "SQLite"
    print(f"{len(table):,} transactions ({source}) on {kind}, {len(CONTRACT.history)} features of each")

    def report(name: str, story: Story, begun: tuple[float, float], different: int, more: str = "") -> None:
        wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
        rows = len(story.events)
        rate = f"{rows / wall:,.0f}/s, {cpu / rows * 1e6:.0f} µs of the processor each"
        print(
            f"  {name:12s} {rows:9,}: {different} differ from the whole table{more}; {wall:.0f} s, {rate}", flush=True
        )

    begun = time.perf_counter(), time.process_time()
    found = replay(next(fresh), whole, range(len(whole.events)))
    report("in order", whole, begun, len(differing(found, whole)))

    rng = np.random.default_rng(0)
    late = np.sort(rng.choice(len(some.events), len(some.events) // 100, replace=False))
    came = some.at.copy()
    came[late] += rng.integers(1, _LATE, len(late))
    order = np.argsort(came, kind="stable")
    arrived = np.empty(len(order), dtype=np.int64)
    arrived[order] = np.arange(len(order))
    begun = time.perf_counter(), time.process_time()
    found = replay(store := next(fresh), some, order.tolist())
    rows = differing(found, some)
    why = explained(some, arrived, late)
    again = store.history_of_many(PLAN, list(some.events[-1:]))
    settled = np.array_equal(again, some.offline[-1:], equal_nan=True)
    unexplained = len(set(rows.tolist()) - why)
    more = f", {unexplained} of them not because one came later; afterwards {'equal' if settled else 'not equal'}"
    report("1 % late", some, begun, len(rows), more)

    twice = rng.choice(len(some.events), len(some.events) // 100, replace=False)
    order = np.sort(np.concatenate([np.arange(len(some.events)), twice]))
    begun = time.perf_counter(), time.process_time()
    report("1 % twice", some, begun, len(differing(replay(next(fresh), some, order.tolist()), some)))

    few = Story.of(table.head(options.by_clients))
    begun = time.perf_counter(), time.process_time()
    report("16 clients", few, begun, len(differing(by_clients(next(fresh), few), few)))

    store = next(fresh)
    begun = time.perf_counter(), time.process_time()
    for start in range(0, len(whole.events), GROUP):
        store.add_events(PLAN, whole.events[start : start + GROUP])
    report("only kept", whole, begun, 0)


if __name__ == "__main__":
    main()
