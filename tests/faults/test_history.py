"""What keys did before, under faults: whatever was acknowledged is part of their history, once."""

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import func, select

from ml_project.bundle import Bundle
from ml_project.dataset import with_history
from pipelines.data.past_events import rebuild
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, open_engine
from stores.decisions.event_plan import EventPlan, event_id, microseconds
from stores.decisions.schema import event_changes, event_series, events, key_events
from tests.faults.conftest import Model
from tests.support.gateway import KEY, Gateway
from tests.support.history import CONTRACT, HISTORY_OF_DAYS, history_bundle, history_table, sent_rows
from tests.support.sizes import few_or_full

PLAN = EventPlan.of(CONTRACT)
NAMES = [feature.name for feature in CONTRACT.history]
CLIENTS = 8
_BATCH = 5
_PAUSE = 0.05


@pytest.fixture(scope="session")
def bundles() -> list[Bundle]:
    """Of a contract with history."""
    return [history_bundle()]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    contract = tmp_path / "history.yaml"
    contract.write_text(HISTORY_OF_DAYS)
    return {
        "FRAUD_CONTRACT": str(contract),
        "FRAUD_EVENT_TIME_FROM": "2020-01-01T00:00:00Z",
    }


class Payments:
    """Clients that send each row of a table by one of the three ways until it was acknowledged.

    A context manager; at its end, what was begun is acknowledged.
    """

    def __init__(self, ports: list[int], table: pd.DataFrame) -> None:
        self._ports = itertools.cycle(ports)
        self._rows = sent_rows(table)
        self._begins = itertools.count(0, _BATCH)
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self.acknowledged: list[int] = []
        self.partial = 0
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if error is None and self.failures:
            raise self.failures[0]

    def wait_for(self, more: int) -> None:
        deadline, begun = time.monotonic() + 120, len(self.acknowledged)
        while len(self.acknowledged) < begun + more:
            assert time.monotonic() < deadline, self.failures
            assert not self.failures
            time.sleep(0.01)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                with self._lock:
                    begin = next(self._begins)
                self._send(range(begin, min(begin + _BATCH, len(self._rows))))
        except BaseException as error:
            self.failures.append(error)

    def _send(self, rows: range) -> None:
        assert len(rows) == _BATCH, "the table is too short"
        some = [self._rows[row] for row in rows]
        way = rows[0] // _BATCH % 3
        if way == 0:
            for each in some:
                answer = self._acknowledged("/predict", each)
                self.partial += "history" in answer
        else:
            self._acknowledged("/events" if way == 1 else "/predict-batch", some)
        self.acknowledged.extend(rows)

    def _acknowledged(self, path: str, body: object) -> Any:
        """The answer; who gets none sends the same once more."""
        deadline = time.monotonic() + 180
        while True:
            assert time.monotonic() < deadline
            connection = http.client.HTTPConnection("127.0.0.1", next(self._ports), timeout=60)
            try:
                headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
                connection.request("POST", path, json.dumps(body), headers)
                response = connection.getresponse()
                content = response.read()
                if response.status == 200:
                    return json.loads(content)
                assert response.status == 503, content
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(_PAUSE)


def expect_history(url: str, table: pd.DataFrame, gateways: list[Gateway]) -> None:
    """Each row is there once, and the next transactions' features are those of the whole table."""
    engine = open_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(events)) == len(table)
        rows = connection.execute(select(key_events.c.series_id, func.count()).group_by(key_events.c.series_id)).all()
    cards = sum(1 for each in PLAN.series if each.entity == "card")
    with_shop = int(table["shop"].notna().sum())
    assert sorted(count for _series, count in rows) == sorted(
        [len(table)] * cards + [with_shop] * (len(PLAN.series) - cards)
    )
    pairs = list(itertools.product("abc", "xy"))
    after = table["at"].max() + pd.to_timedelta(range(1, len(pairs) + 1), unit="min")
    probes = pd.DataFrame(pairs, columns=["card", "shop"]).assign(at=after, amount=10.0, points=1.0, distance=2.0)
    known = pd.concat([table.assign(fraud=0), probes.assign(fraud=0)], ignore_index=True)
    expected = with_history(known, CONTRACT)[NAMES].to_numpy()[-len(pairs) :]
    moments = [microseconds(each.to_pydatetime()) for each in probes["at"]]
    asked = [
        PLAN.event(event_id("history", f"probe-{place}", ""), moment, row)
        for place, (moment, row) in enumerate(zip(moments, probes.to_dict("records"), strict=True))
    ]
    np.testing.assert_array_equal(DecisionStore(engine).history_of_many(PLAN, asked), expected)
    engine.dispose()
    found = []
    for place, each in enumerate(sent_rows(probes)):  # in turns: each has a memory of its own
        client = gateways[place % len(gateways)].client
        answer = client.post("/predict", json={**each, "transaction_id": f"probe-{place}"}).raise_for_status().json()
        assert "history" not in answer
        found.append(client.get(f"/predictions/{answer['prediction_id']}").json()["inputs"])
    np.testing.assert_array_equal(pd.DataFrame(found)[NAMES].astype(float).to_numpy(), expected)


def acknowledged_rows(table: pd.DataFrame, payments: Payments) -> pd.DataFrame:
    assert len(set(payments.acknowledged)) == len(payments.acknowledged)
    return table.iloc[sorted(payments.acknowledged)].sort_values("at", kind="stable").reset_index(drop=True)


@pytest.fixture
def started(
    make_gateway: Callable[..., Gateway], model: Model, settings: dict[str, str]
) -> Iterator[Callable[..., list[Gateway]]]:
    with ExitStack() as stack:

        def start(count: int = 1, **more: str) -> list[Gateway]:
            gateways = [make_gateway(**settings, **more) for _ in range(count)]
            model.publish(1, gateways[0].releases)
            for gateway in gateways:
                stack.enter_context(gateway).wait_for_version(1)
            return gateways

        yield start


@pytest.mark.parametrize("layout", ["one process", "two workers", "two gateways"])
@pytest.mark.parametrize("kills", few_or_full(1, 20))
def test_kills_neither_lose_nor_double_what_keys_did(
    layout: str, kills: int, database_url: str, started: Callable[..., list[Gateway]]
) -> None:
    workers = "2" if layout == "two workers" else "1"
    gateways = started(2 if layout == "two gateways" else 1, FRAUD_DATABASE_URL=database_url, FRAUD_WORKERS=workers)
    table = history_table(20_000, seed=5).assign(fraud=0)
    with Payments([each.port for each in gateways], table) as payments:
        for number in range(kills):
            payments.wait_for(100)
            if layout == "two workers" and number % 2 == 0:
                gateways[0].kill_a_worker()
            else:
                gateways[number % len(gateways)].kill_and_restart()
        payments.wait_for(100)
    for gateway in gateways:
        gateway.wait_until(lambda gateway=gateway: gateway.metric("fraud_store_spool_bytes") == 0)
    expect_history(database_url, acknowledged_rows(table, payments), gateways)


@pytest.mark.parametrize("seconds", few_or_full(3, 60))
def test_while_the_database_is_away_histories_go_on_and_are_whole_afterwards(
    seconds: int, postgres_server: Any, postgres_database: str, started: Callable[..., list[Gateway]]
) -> None:
    gateways = started(2, FRAUD_DATABASE_URL=postgres_database)
    table = history_table(60_000, seed=6).assign(fraud=0)
    with Payments([each.port for each in gateways], table) as payments:
        payments.wait_for(100)
        postgres_server.stop("immediate")
        try:
            time.sleep(seconds)
            assert payments.partial > 0
        finally:
            postgres_server.start()
        payments.wait_for(100)
    for gateway in gateways:
        gateway.wait_until(lambda gateway=gateway: gateway.metric("fraud_store_spool_bytes") == 0)
        gateway.wait_until(lambda gateway=gateway: gateway.metric("fraud_store_away") == 0)
    expect_history(postgres_database, acknowledged_rows(table, payments), gateways)


@pytest.mark.slow
def test_after_an_older_backup_a_rebuild_makes_histories_whole(
    database_url: str, started: Callable[..., list[Gateway]], settings: dict[str, str], tmp_path: Path
) -> None:
    """Decisions are there, past transactions are not, as when only a part was restored; the gateway goes on."""
    [gateway] = started(FRAUD_DATABASE_URL=database_url)
    table = history_table(6_000, seed=7).assign(fraud=0)
    table = table[table["at"] >= table["at"].max() - pd.Timedelta(days=3)].reset_index(drop=True)
    with Payments([gateway.port], table) as payments:
        payments.wait_for(300)
    rows = [row for row in payments.acknowledged if row // _BATCH % 3 != 1]
    engine = open_engine(database_url)
    with engine.begin() as connection:
        for gone in (events, event_changes, key_events, event_series):
            connection.execute(gone.delete())
    engine.dispose()
    done = rebuild(
        PipelineSettings(
            state_dir=tmp_path / "pipelines", contract=settings["FRAUD_CONTRACT"], database_url=database_url
        ),
        CONTRACT,
    )
    assert done.added == len(rows)
    gateway.kill_and_restart()
    payments.acknowledged = rows
    expect_history(database_url, acknowledged_rows(table, payments), [gateway])
