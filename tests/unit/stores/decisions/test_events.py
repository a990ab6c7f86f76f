"""Past transactions in the database give what `compute_history` gives, bit for bit, whatever way they were read."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, func, select

from ml_project.contract_file import contract_named, parse_contract
from ml_project.dataset import events_of
from ml_project.history import compute_history
from stores.decisions import DecisionStore, event_cache, event_tail, events, key_pasts, open_store
from stores.decisions.event_plan import EventPlan, HistoryEvent, microseconds
from stores.decisions.schema import event_changes, key_events
from stores.decisions.schema import events as events_table
from stores.decisions.timeline import HourlyTimeline, Timeline
from tests.support.history import CONTRACT, HISTORY_OF_DAYS, by_definition, history_table

CARDS = contract_named("cards")
PLAN = EventPlan.of(CONTRACT)


def kept_events(plan: EventPlan, frame: pd.DataFrame) -> list[HistoryEvent]:
    rows: list[dict[str, Any]] = frame.to_dict("records")
    times = [microseconds(row["at"].to_pydatetime()) for row in rows]
    return [plan.event(f"t{place}", times[place], row, row["fraud"]) for place, row in enumerate(rows)]


def offline(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    return compute_history(CONTRACT, events_of(frame, CONTRACT))


@pytest.fixture
def frame() -> pd.DataFrame:
    """Fourteen days, so that windows hold full days and hours and begin and end within one."""
    return history_table(150, seed=3)


@pytest.fixture
def store(engine: Engine, way: None) -> DecisionStore:
    return DecisionStore(engine)


def history(store: DecisionStore, given: HistoryEvent, waiting: Sequence[HistoryEvent] = ()) -> list[float]:
    [found] = store.histories_of(PLAN, [(given, waiting)])
    return found


def test_in_order_of_time_online_is_offline(store: DecisionStore, frame: pd.DataFrame) -> None:
    found = []
    for each in kept_events(PLAN, frame):
        found.append(history(store, each._replace(fraud=0)))
        assert store.add_events(PLAN, [each]) == 1
    np.testing.assert_array_equal(np.array(found), offline(frame))


def test_late_ones_go_where_they_belong_and_what_comes_twice_counts_once(
    store: DecisionStore, frame: pd.DataFrame
) -> None:
    given = kept_events(PLAN, frame)
    late = np.random.default_rng(1).permutation(len(given) - 1)
    for place in late:
        store.add_events(PLAN, [given[place]])
        history(store, given[-1])
    for each in given[:20]:
        assert store.add_events(PLAN, [each, each]) == 0
    np.testing.assert_array_equal(history(store, given[-1]), offline(frame)[-1])


def test_one_that_is_late_is_looked_up_where_it_belongs(store: DecisionStore, frame: pd.DataFrame) -> None:
    """Its windows begin before those of what is in memory."""
    given = [each._replace(fraud=0) for each in kept_events(PLAN, frame)]
    store.add_events(PLAN, given)
    history(store, given[-1])
    np.testing.assert_array_equal([history(store, each) for each in given[:100]], offline_of_known(frame)[:100])


def offline_of_known(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    """As if each of one moment came after all others of it: they are known already when it is asked for."""
    rows = [by_definition(CONTRACT, last_of_its_moment(frame, place))[-1] for place in range(100)]
    return np.array(rows)


def last_of_its_moment(frame: pd.DataFrame, place: int) -> pd.DataFrame:
    before = frame[(frame["at"] <= frame["at"].iloc[place]) & (frame.index != place)]
    return pd.concat([before, frame.iloc[[place]]], ignore_index=True).assign(fraud=0)


def test_many_at_once_know_those_before_them(store: DecisionStore, frame: pd.DataFrame) -> None:
    given = kept_events(PLAN, frame)
    first = store.history_of_many(PLAN, given[:60])
    store.add_events(PLAN, given[:60])
    second = store.history_of_many(PLAN, given[60:])
    np.testing.assert_array_equal(np.vstack([first, second]), offline(frame))


def test_those_that_wait_to_be_kept_count_too(store: DecisionStore, frame: pd.DataFrame) -> None:
    given = kept_events(PLAN, frame)
    store.add_events(PLAN, given[:90])
    np.testing.assert_array_equal(history(store, given[-1], given[70:-1]), offline(frame)[-1])


def test_a_label_moves_the_rates_and_may_be_taken_back(store: DecisionStore, frame: pd.DataFrame) -> None:
    given = [each._replace(fraud=0) for each in kept_events(PLAN, frame)]
    labels = {f"t{place}": int(fraud) for place, fraud in enumerate(frame["fraud"])}
    store.add_events(PLAN, given[:-1])
    history(store, given[-1])
    assert store.relabel_events(labels | {"nobody": 1}) == frame["fraud"][:-1].sum()
    np.testing.assert_array_equal(history(store, given[-1]), offline(frame)[-1])
    assert store.relabel_events(labels) == 0
    assert store.relabel_events(dict.fromkeys(labels, 0)) == frame["fraud"][:-1].sum()
    np.testing.assert_array_equal(history(store, given[-1]), offline(frame.assign(fraud=0))[-1])


def test_two_processes_on_one_database_see_what_the_other_writes(
    engine: Engine, store: DecisionStore, frame: pd.DataFrame
) -> None:
    """Transactions and labels of both, while both look: each counts once in either's memory."""
    other, found = DecisionStore(engine), []
    labels: dict[str, int] = {}
    given = kept_events(PLAN, frame)
    for place, each in enumerate(given):
        mine, theirs = (store, other) if place % 2 else (other, store)
        found.append(history(mine, each._replace(fraud=0)))
        assert mine.add_events(PLAN, [each._replace(fraud=0)]) == 1
        theirs.relabel_events({each.event_id: each.fraud})
        labels[each.event_id] = each.fraud
    np.testing.assert_array_equal(np.array(found), offline(frame))


def test_a_transaction_that_ends_after_a_later_one_is_not_missed(postgres_database: str, frame: pd.DataFrame) -> None:
    """Ids of a sequence are taken in another order than the rows appear in. (SQLite has one writer at a time.)"""
    store, given = open_store(postgres_database), kept_events(PLAN, frame)
    store.add_events(PLAN, given[:-3])
    history(store, given[-1])
    with store.engine.begin() as slow:
        events.add_events(slow, PLAN, [given[-3]])
        store.add_events(PLAN, [given[-2]])
        history(store, given[-1])
    for _look in range(2):
        np.testing.assert_array_equal(history(store, given[-1]), offline(frame)[-1])
    store.close()


def test_more_than_can_be_read_one_by_one_is_read_anew(
    store: DecisionStore, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_tail, "MOST_BEHIND", 10)
    given = kept_events(PLAN, frame)
    for begin in range(0, len(given) - 1, 37):
        store.add_events(PLAN, given[begin : min(begin + 37, len(given) - 1)])
        history(store, given[-1])
    for _look in range(2):
        np.testing.assert_array_equal(history(store, given[-1]), offline(frame)[-1])


def test_memory_is_bounded_and_keeps_what_was_asked_for_last(store: DecisionStore, frame: pd.DataFrame) -> None:
    """What is held is what was counted, however it came in; a key that is asked for all the time stays."""
    pasts = store._pasts
    pasts._most_held = 400
    cards = [f"card {number}" for number in range(40)]
    for number, each in enumerate(kept_events(PLAN, frame)):
        mine = each._replace(keys=(cards[number % 40], each.keys[1]), event_id=f"e{number}", number=number)
        history(store, mine)
        store.add_events(PLAN, [mine])
        history(store, each._replace(keys=("always", each.keys[1])))
        assert pasts._size == sum(past.cost for past in pasts._pasts.values()) <= pasts._most_held
    held = {key for _series, key in pasts._pasts}
    assert "always" in held
    assert not held.issuperset(cards)


def test_what_is_new_is_found_by_an_index_even_without_statistics(engine: Engine, frame: pd.DataFrame) -> None:
    """As after a rebuild: a look must not read all past transactions."""
    store = DecisionStore(engine)
    given = [
        each._replace(event_id=f"{number}-{each.event_id}", number=each.number ^ number)
        for number in range(20)
        for each in kept_events(PLAN, frame)
    ]
    store.add_events(PLAN, given)
    if engine.dialect.name == "sqlite":
        statement, parameters = f"EXPLAIN QUERY PLAN {event_tail._SQLITE}", (1, 0, event_tail.MOST_BEHIND)
    else:
        statement, parameters = f"EXPLAIN {event_tail._POSTGRES}", (1_000, 1_000, event_tail.MOST_BEHIND)
    with engine.connect() as connection:
        plan = "\n".join(str(row) for row in connection.exec_driver_sql(statement, parameters))
    assert "Seq Scan on events" not in plan, plan
    assert "SCAN events" not in plan, plan


def test_without_the_database_what_is_in_memory_and_what_waits_is_known(engine: Engine, frame: pd.DataFrame) -> None:
    store, given = DecisionStore(engine), kept_events(PLAN, frame)
    store.add_events(PLAN, given[:90])
    for each in given[120:]:
        history(store, each)
    [one] = store.recalled_histories(PLAN, [(given[-1], given[90:-1])])
    np.testing.assert_array_equal(one, offline(frame)[-1])
    many = store.recalled_of_many(PLAN, given[120:], given[90:120])
    kept = np.isin(frame["card"][120:], frame["card"][-1:]) & np.isin(frame["shop"][120:], frame["shop"][-1:])
    np.testing.assert_array_equal(many[kept], offline(frame)[120:][kept])
    np.testing.assert_array_equal(history(store, given[-1], given[90:-1]), offline(frame)[-1])


def test_an_older_backup_in_its_place_is_noticed(tmp_path: Path, frame: pd.DataFrame) -> None:
    given = kept_events(PLAN, frame)
    url = f"sqlite:///{tmp_path / 'd.db'}"
    with open_store(url) as store:
        store.add_events(PLAN, given[:60])
        with closing(sqlite3.connect(tmp_path / "d.db")) as source, closing(sqlite3.connect(tmp_path / "b.db")) as to:
            source.backup(to)
        store.add_events(PLAN, given[60:-1])
        history(store, given[-1])
        for name in ("d.db-wal", "d.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / "b.db").replace(tmp_path / "d.db")
        expected = by_definition(CONTRACT, pd.concat([frame[:60], frame[-1:]], ignore_index=True))[-1]
        np.testing.assert_array_equal(history(store, given[-1]), expected)
        store.add_events(PLAN, given[60:-1])
        np.testing.assert_array_equal(history(store, given[-1]), offline(frame)[-1])


def test_a_newer_version_of_the_contract_gets_its_series_of_what_is_kept(
    store: DecisionStore, frame: pd.DataFrame
) -> None:
    grown = parse_contract(
        f"{HISTORY_OF_DAYS}  shop_sum: {{sum: {{of: distance, by: shop, window: 9d}}}}\n".encode(), ""
    )
    plan = EventPlan.of(grown)
    frame = frame[: frame["shop"].last_valid_index() + 1].copy()
    store.add_events(PLAN, kept_events(PLAN, frame)[:-1])
    given = kept_events(plan, frame)
    [without] = store.histories_of(plan, [(given[-1], ())])
    expected = compute_history(grown, events_of(frame, grown))[-1]
    assert not np.array_equal(without, expected, equal_nan=True)
    shops = int(frame["shop"][:-1].notna().sum())
    assert store.complete_events(plan, given[:-1]) == shops
    assert store.complete_events(plan, given[:-1]) == 0
    for each in (plan, PLAN):
        [found] = store.histories_of(each, [(kept_events(each, frame)[-1], ())])
        np.testing.assert_array_equal(found, compute_history(each.contract, events_of(frame, each.contract))[-1])
    store.relabel_events({given[0].event_id: 1 - given[0].fraud})
    frame.loc[0, "fraud"] = 1 - frame.loc[0, "fraud"]
    [found] = store.histories_of(plan, [(given[-1], ())])
    np.testing.assert_array_equal(found, compute_history(grown, events_of(frame, grown))[-1])


def test_a_contract_without_history_keeps_nothing(engine: Engine) -> None:
    plan = EventPlan.of(contract_named())
    assert plan.series == ()
    with engine.begin() as connection:
        assert events.add_events(connection, plan, [HistoryEvent("a", 1, 0, (), (), ())]) == 0
        assert connection.scalar(select(func.count()).select_from(events_table)) == 0


def test_what_is_undone_is_forgotten_whole(engine: Engine, frame: pd.DataFrame) -> None:
    given = kept_events(PLAN, frame)
    with engine.connect() as connection:
        events.add_events(connection, PLAN, given)
        events.relabel(connection, {given[0].event_id: 1 - given[0].fraud})
        connection.rollback()
    with engine.begin() as connection:
        for table in (events_table, key_events, event_changes):
            assert connection.scalar(select(func.count()).select_from(table)) == 0
        assert events.add_events(connection, PLAN, given[:3]) == 3


def test_of_a_key_of_many_transactions_few_rows_are_read(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is in memory, only the hours in which its windows begin are read, and each once."""
    read: list[int] = []
    transactions, hourly = key_pasts.read_transactions, key_pasts._hourly

    def counted(*arguments: Any) -> Timeline:
        read.append(len(found := transactions(*arguments)))
        return found

    def counted_hours(*arguments: Any) -> HourlyTimeline:
        read.append(len(found := hourly(*arguments)))
        return found

    for module in (event_cache, key_pasts):
        monkeypatch.setattr(module, "read_transactions", counted)
    monkeypatch.setattr(key_pasts, "_hourly", counted_hours)
    plan = EventPlan.of(CARDS)
    times = pd.date_range("2026-01-01", periods=5_000, freq="9min", tz="UTC")
    table = pd.DataFrame({"at": times, "customer": "1", "terminal": "1", "amount": 1.5, "fraud": 0})
    given = kept_events(plan, table)
    store = DecisionStore(engine)
    store.add_events(plan, given[:-6])
    [_first] = store.histories_of(plan, [(given[-6], [])])
    assert sum(read) > 1_000  # hours
    read.clear()
    for each in given[-6:]:
        [found] = store.histories_of(plan, [(each, [])])
        store.add_events(plan, [each])
    np.testing.assert_array_equal(found, compute_history(CARDS, events_of(table, CARDS))[-1])
    assert sum(read) < 100
