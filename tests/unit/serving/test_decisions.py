"""An answer means that the prediction is on disk; repeated transactions are answered alike."""

import contextlib
import io
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pyarrow as pa
import pytest
import uvicorn
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from ml_project.errors import Unavailable
from serving import decisions
from serving.app import create_app
from serving.process import listen
from serving.server import configured
from serving.settings import GatewaySettings
from stores.decisions import Busy, DecisionStore, database, migrate, open_engine
from stores.releases import open_releases
from tests.support.creditcard import RAW_FEATURES

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"


class MoodyStore(DecisionStore):
    """A real store that can be slow or away."""

    delay = 0.0
    away = False

    def add(self, records):
        time.sleep(self.delay)
        self._refuse()
        return super().add(records)

    def add_segment(self, chunk):
        self._refuse()
        return super().add_segment(chunk)

    def ping(self) -> None:
        self._refuse()
        super().ping()

    def _refuse(self) -> None:
        if self.away:
            raise Unavailable("The decision database does not answer.")


@contextlib.contextmanager
def keeping(source: Any, folder: Path, store: DecisionStore, **settings: Any) -> Iterator[httpx.Client]:
    app = create_app(GatewaySettings(poll_seconds=0.01, state_dir=folder, **settings), source, store)
    server = uvicorn.Server(configured(app, app.state.gateway.settings))
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as client:
            while client.get("/health/ready").status_code != 200:
                time.sleep(0.01)
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def store(tmp_path) -> Iterator[MoodyStore]:
    engine = open_engine(f"sqlite:///{tmp_path}/decisions.db")
    migrate(engine)
    yield MoodyStore(engine)
    engine.dispose()


@pytest.fixture
def client(source, scorer, tmp_path, store) -> Iterator[httpx.Client]:
    source.promote(3, scorer)
    with keeping(source, tmp_path, store) as running:
        yield running


def test_the_answer_waits_until_the_prediction_is_kept(client, store, legitimate, scorer, raw_rows) -> None:
    store.delay = 0.3
    started, before = time.monotonic(), datetime.now(UTC)
    answer = client.post("/predict", json=legitimate, headers={"X-Request-ID": "r-1"}).json()
    assert time.monotonic() - started > 0.3
    kept = store.find(answer["prediction_id"]).record
    assert answer["kept"] == "database"
    assert kept.inputs == tuple(raw_rows[0])
    scores = scorer.score(raw_rows[:1])
    assert (kept.hybrid_score, kept.isolation_score) == (answer["hybrid_score"], scores.isolation[0])
    assert (kept.model_version, kept.bundle_digest, kept.request_id) == ("3", "digest-of-3", "r-1")
    assert (kept.decision, kept.alert_threshold, kept.decline_threshold) == ("APPROVE", 0.5, 0.8)
    assert 0 < kept.latency_ms < 300
    assert before <= kept.received_at <= datetime.now(UTC)


def test_reasons_are_kept(client, store, fraudulent) -> None:
    answer = client.post("/predict", json=fraudulent).json()
    assert store.find(answer["prediction_id"]).record.reasons == answer["reasons"]


@pytest.mark.parametrize("who", ["legitimate", "fraudulent"])
def test_a_transaction_sent_twice_has_one_answer(client, source, make_scorer, request, who) -> None:
    sent = request.getfixturevalue(who) | {"transaction_id": f"twice-{who}"}
    first = client.post("/predict", json=sent).json()
    assert client.post("/predict", json=sent).json() == first
    source.promote(4, make_scorer(alert=0.0, decline=0.0))
    while client.get("/health").json()["model_version"] != "4":
        time.sleep(0.01)
    again = client.post("/predict", json=sent).json()
    assert {**again, "warnings": first.get("warnings")} == {**first, "warnings": first.get("warnings")}
    assert (again["model_version"], again["threshold_used"]) == ("3", 0.5)


def test_a_transaction_with_other_values_is_409(client, legitimate) -> None:
    first = client.post("/predict", json=legitimate | {"transaction_id": "tx-409"}).json()
    other = client.post("/predict", json=legitimate | {"transaction_id": "tx-409", "Amount": 1.0})
    assert other.status_code == 409
    assert other.headers["content-type"] == "application/problem+json"
    assert "'tx-409'" in other.json()["detail"]
    assert first["prediction_id"] in other.json()["detail"]


def test_the_database_away_is_marked_and_made_good(client, store, legitimate) -> None:
    store.away = True
    answers = [client.post("/predict", json=legitimate | {"transaction_id": "away"}).json() for _ in range(2)]
    batch = client.post("/predict-batch", json=[legitimate]).json()
    assert [answer["kept"] for answer in (*answers, *batch)] == ["spool"] * 3
    assert answers[0]["prediction_id"] != answers[1]["prediction_id"]
    assert store.find(answers[0]["prediction_id"]) is None
    store.away = False
    deadline = time.monotonic() + 60
    while store.find(batch[0]["prediction_id"]) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert store.find(answers[0]["prediction_id"]).spooled
    assert store.find(answers[1]["prediction_id"]).duplicate_of == answers[0]["prediction_id"]
    assert client.post("/predict", json=legitimate).json()["kept"] == "database"


def test_kept_nowhere_is_503_and_not_a_lie(client, store, tmp_path, legitimate) -> None:
    store.away = True
    spool = tmp_path / "gateway" / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    spool.rmdir()
    spool.touch()  # a file where a folder should be made
    refused = client.post("/predict", json=legitimate)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "takes no more" in refused.json()["detail"]


def test_labels_keep_no_prediction_waiting(client, store, legitimate, tmp_path, monkeypatch) -> None:
    """Another process holds SQLite's write lock, and many label meanwhile: the spool takes over as if nobody did."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.3)
    known = client.post("/predict", json=legitimate).json()["prediction_id"]
    holder = sqlite3.connect(tmp_path / "decisions.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    label = {"prediction_id": known, "label": 1}
    with ThreadPoolExecutor(50) as pool:
        labels = [pool.submit(httpx.post, client.base_url.join("/feedback"), json=label, timeout=60) for _ in range(50)]
        kept = [client.post("/predict", json=legitimate).json()["kept"] for _ in range(3)]
        assert kept == ["spool"] * 3
        assert {sent.result().status_code for sent in labels} == {503}
    ready = client.get("/health/ready").json()["store"]
    assert (ready["away"], ready["spool_bytes"] > 0, ready["spool_damaged_files"]) == (True, True, 0)
    holder.execute("ROLLBACK")
    holder.close()
    while client.get("/health/ready").json()["store"]["away"]:
        time.sleep(0.05)
    assert client.post("/feedback", json=label).json()["outcome"] == "added"


def test_a_share_of_threads_that_is_used_up(monkeypatch) -> None:
    monkeypatch.setattr(decisions, "_THREAD_SECONDS", 0.05)
    done = threading.Event()

    async def ask() -> None:
        share = anyio.CapacityLimiter(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(decisions._within_share, share, done.wait)
            while not share.borrowed_tokens:
                await anyio.sleep(0.001)
            try:
                with pytest.raises(Busy, match="Too many queries"):
                    await decisions._within_share(share, int)
            finally:
                done.set()  # else the thread, and with it the loop, would never end

    anyio.run(ask)


@pytest.mark.parametrize("alias", ["-00001", "00000A", "+0000a", "0_000a"])
def test_an_id_under_another_spelling_names_nothing(client, legitimate, alias) -> None:
    ids = [each["prediction_id"] for each in client.post("/predict-batch", json=[legitimate] * 12).json()]
    name = ids[0][:-6] + alias
    assert client.get(f"/predictions/{name}").status_code == 404
    assert client.post("/feedback", json={"prediction_id": name, "label": 1}).json()["outcome"] == "unknown"


def test_an_unprepared_database_is_prepared_when_it_is_back(source, scorer, tmp_path, legitimate) -> None:
    source.promote(3, scorer)
    path = tmp_path / "later.db"
    engine = open_engine(f"sqlite:///{path}")
    path.rename(tmp_path / "elsewhere.db")
    store = DecisionStore(engine)
    secret = "s" * 40
    with keeping(source, tmp_path, store, bootstrap_key=secret) as client:
        # Whether keys exist cannot be known yet: nobody gets in but the bearer of the secret.
        assert client.post("/predict", json=legitimate).status_code == 503
        client.headers["X-API-Key"] = secret
        answer = client.post("/predict", json=legitimate).json()
        assert answer["kept"] == "spool"
        (tmp_path / "elsewhere.db").rename(path)
        deadline = time.monotonic() + 60
        while client.post("/predict", json=legitimate).json()["kept"] != "database":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert store.find(answer["prediction_id"]).spooled
        client.headers["X-API-Key"] = "another"
        assert client.post("/predict", json=legitimate).status_code == 401


def table_of(rows: np.ndarray, ids: list[str]) -> pa.Table:
    columns: dict[str, Any] = {name: rows[:, place] for place, name in enumerate(RAW_FEATURES)}
    return pa.table(columns | {"transaction_id": ids})


def csv_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    arrow_csv.write_csv(table, sink)
    return sink.getvalue()


def test_batches_are_found_by_any_prediction_id(client, store, raw_rows) -> None:
    table = table_of(raw_rows, [f"b-{place}" for place in range(len(raw_rows))])
    sent = client.post(
        "/predict-batch", content=csv_bytes(table), headers={"Content-Type": CSV, "Accept": "application/json"}
    )
    answers = sent.json()
    for place in (0, 17, 599):
        record = store.find(answers[place]["prediction_id"]).record
        assert record.inputs == tuple(raw_rows[place])
        assert (record.hybrid_score, record.transaction_id) == (answers[place]["hybrid_score"], f"b-{place}")
    assert store.find_transaction("b-599").record.prediction_id == answers[599]["prediction_id"]


def test_repeated_rows_have_their_first_prediction(client, source, make_scorer, raw_rows) -> None:
    rows = [
        dict(zip(RAW_FEATURES, row.tolist(), strict=True)) | {"transaction_id": f"r-{place}"}
        for place, row in enumerate(raw_rows[-3:])
    ]
    single = client.post("/predict", json=rows[1]).json()
    first = client.post("/predict-batch", json=rows).json()
    assert first[1] == single
    source.promote(4, make_scorer(alert=0.0, decline=0.0))
    while client.get("/health").json()["model_version"] != "4":
        time.sleep(0.01)
    second = client.post("/predict-batch", json=[*rows, rows[0]]).json()
    for answer in (*first, *second):
        answer.pop("warnings", None)
    assert second == [*first, first[0]]


def test_conflicting_rows(client, store, raw_rows) -> None:
    client.post(
        "/predict-batch",
        content=csv_bytes(table_of(raw_rows[:2], ["c-0", "c-1"])),
        headers={"Content-Type": CSV},
    )
    first = store.find_transaction("c-1").record.prediction_id
    changed = table_of(raw_rows[5:8], ["c-9", "c-1", "c-8"])
    message = f"Already used with other values, for prediction {first}"
    as_json = client.post("/predict-batch", json=changed.to_pylist())
    assert as_json.status_code == 409
    assert as_json.json()["errors"] == [{"row": 1, "field": "transaction_id", "message": message}]
    sink = io.BytesIO()
    parquet.write_table(changed, sink)
    answer = client.post("/predict-batch", content=sink.getvalue(), headers={"Content-Type": PARQUET})
    rows = parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    assert [row["error"] for row in rows] == [None, f"transaction_id: {message}", None]
    assert [row["decision"] for row in rows] == ["APPROVE", None, "APPROVE"]
    assert rows[0]["prediction_id"] == store.find_transaction("c-9").record.prediction_id
    skipped = client.post("/predict-batch?on_error=skip", json=changed.to_pylist()).json()
    assert skipped[1] == {"row": 1, "error": f"transaction_id: {message}"}
    assert skipped[2]["prediction_id"] == rows[2]["prediction_id"]


def test_no_acknowledged_prediction_dies_with_the_process(tmp_path, scorer, legitimate) -> None:
    from tests.unit.serving.test_server import Process

    open_releases(str(tmp_path / "releases")).publish(scorer.bundle, "fraud-ensemble", 12, {}, datetime.now(UTC))
    running = Process(tmp_path)
    acknowledged: list[str] = []
    try:
        running.wait_until(lambda: running.client.get("/health/ready").status_code == 200)
        killer = threading.Timer(0.1, running.process.send_signal, [signal.SIGKILL])
        with contextlib.suppress(httpx.TransportError):
            while True:
                acknowledged.append(running.client.post("/predict", json=legitimate).json()["prediction_id"])
                if len(acknowledged) == 6:
                    killer.start()
        killer.join()
        assert running.process.wait(60) == -signal.SIGKILL
    finally:
        running.client.close()
        running.process.kill()
        running.process.wait()
    engine = open_engine(f"sqlite:///{tmp_path}/state/gateway/decisions.db")
    assert len(acknowledged) > 5
    assert set(DecisionStore(engine).find_all(acknowledged)) == set(acknowledged)
    engine.dispose()
