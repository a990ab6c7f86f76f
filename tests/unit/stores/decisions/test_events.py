"""Past transactions in the database give what `compute_history` gives, bit for bit, whatever way they were read."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, event, func, select

from ml_project.contract_file import contract_named
from ml_project.dataset import events_of
from ml_project.history import compute_history
from stores.decisions import events as kept
from stores.decisions.event_plan import EventPlan, HistoryEvent, microseconds
from stores.decisions.schema import events, key_events, key_tiles
from tests.support.history import CONTRACT, history_table

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


@pytest.fixture(params=["one by one", "by sums"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "by sums":
        monkeypatch.setattr(kept, "MOST_READ", 1)
    kept._read.cache_clear()
    yield
    kept._read.cache_clear()


@pytest.mark.usefixtures("way")
def test_in_order_of_time_online_is_offline(engine: Engine, frame: pd.DataFrame) -> None:
    found = []
    with engine.begin() as connection:
        for each in kept_events(PLAN, frame):
            found.append(kept.read_one(connection, PLAN, replace(each, fraud=0)))
            assert kept.add_events(connection, PLAN, [each]) == 1
    np.testing.assert_array_equal(np.array(found), offline(frame))


@pytest.mark.usefixtures("way")
def test_late_ones_go_where_they_belong_and_what_comes_twice_counts_once(engine: Engine, frame: pd.DataFrame) -> None:
    given = kept_events(PLAN, frame)
    late = np.random.default_rng(1).permutation(len(given) - 1)
    with engine.begin() as connection:
        for place in late:
            kept.add_events(connection, PLAN, [given[place]])
        for each in given[:20]:
            assert kept.add_events(connection, PLAN, [each, each]) == 0
        found = kept.read_one(connection, PLAN, given[-1])
    np.testing.assert_array_equal(found, offline(frame)[-1])


def test_many_at_once_know_those_before_them(engine: Engine, frame: pd.DataFrame) -> None:
    given = kept_events(PLAN, frame)
    with engine.begin() as connection:
        first = kept.read_many(connection, PLAN, given[:60])
        kept.add_events(connection, PLAN, given[:60])
        second = kept.read_many(connection, PLAN, given[60:])
    np.testing.assert_array_equal(np.vstack([first, second]), offline(frame))


@pytest.mark.usefixtures("way")
def test_those_that_wait_to_be_kept_count_too(engine: Engine, frame: pd.DataFrame) -> None:
    given = kept_events(PLAN, frame)
    with engine.begin() as connection:
        kept.add_events(connection, PLAN, given[:90])
        found = kept.read_one(connection, PLAN, given[-1], given[90:-1])
    np.testing.assert_array_equal(found, offline(frame)[-1])


@pytest.mark.usefixtures("way")
def test_a_label_moves_the_rates_and_may_be_taken_back(engine: Engine, frame: pd.DataFrame) -> None:
    given = [replace(each, fraud=0) for each in kept_events(PLAN, frame)]
    labels = {f"t{place}": int(fraud) for place, fraud in enumerate(frame["fraud"])}
    with engine.begin() as connection:
        kept.add_events(connection, PLAN, given[:-1])
        assert kept.relabel(connection, labels | {"nobody": 1}) == frame["fraud"][:-1].sum()
        np.testing.assert_array_equal(kept.read_one(connection, PLAN, given[-1]), offline(frame)[-1])
        assert kept.relabel(connection, labels) == 0
        assert kept.relabel(connection, dict.fromkeys(labels, 0)) == frame["fraud"][:-1].sum()
        found = kept.read_one(connection, PLAN, given[-1])
    np.testing.assert_array_equal(found, offline(frame.assign(fraud=0))[-1])


def test_a_contract_without_history_keeps_nothing(engine: Engine) -> None:
    plan = EventPlan.of(contract_named())
    assert plan.series == ()
    with engine.begin() as connection:
        assert kept.add_events(connection, plan, [HistoryEvent("a", 0, (), (), ())]) == 0
        assert connection.scalar(select(func.count()).select_from(events)) == 0


def test_what_is_undone_is_forgotten_whole(engine: Engine, frame: pd.DataFrame) -> None:
    given = kept_events(PLAN, frame)
    with engine.connect() as connection:
        kept.add_events(connection, PLAN, given)
        connection.rollback()
    with engine.begin() as connection:
        for table in (events, key_events, key_tiles):
            assert connection.scalar(select(func.count()).select_from(table)) == 0
        assert kept.add_events(connection, PLAN, given[:3]) == 3


def test_a_key_of_many_transactions_is_read_in_few_rows(engine: Engine) -> None:
    """Its windows are made of sums of hours and days: statements and rows are bounded."""
    plan = EventPlan.of(CARDS)
    count = 2_500
    times = pd.date_range("2026-01-01", periods=count, freq="18min", tz="UTC")
    table = pd.DataFrame({"at": times, "customer": "1", "terminal": "1", "amount": 1.5, "fraud": 0})
    given = kept_events(plan, table)
    with engine.begin() as connection:
        kept.add_events(connection, plan, given[:-1])
        read: list[str] = []
        event.listen(connection, "before_cursor_execute", lambda *arguments: read.append(arguments[2]))
        found = kept.read_one(connection, plan, replace(given[-1], fraud=0))
    np.testing.assert_array_equal(found, compute_history(CARDS, events_of(table, CARDS))[-1])
    assert len(read) <= 60
