"""A gateway whose model sees what a key did before: answers are made of the same numbers as training's."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from ml_project.contract_file import parse_contract
from ml_project.dataset import Dataset, with_history
from ml_project.scorer import Scorer
from serving.history import PastTransactions, events_of
from serving.transactions import TransactionParser
from stores.decisions import DecisionStore, PersonalKey, migrate, open_engine, open_store
from stores.decisions.event_cache import EventCache
from stores.decisions.event_plan import EventPlan
from stores.decisions.schema import metadata
from stores.key_hash import KeyHash
from tests.support.history import CONTRACT, HISTORY_OF_DAYS, history_bundle, history_table, sent_rows
from tests.unit.serving.conftest import FakeProduction, RunningGateway

ROWS = 80
HISTORY = [feature.name for feature in CONTRACT.history]


@pytest.fixture(scope="module")
def contract_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("contract") / "history.yaml"
    path.write_text(HISTORY_OF_DAYS)
    return str(path)


@pytest.fixture(scope="module")
def past_scorer() -> Scorer:
    return Scorer(history_bundle(), threads=1)


@pytest.fixture
def table() -> pd.DataFrame:
    return history_table(ROWS, seed=2)


@pytest.fixture
def running(
    serve: Callable[..., Any], past_scorer: Scorer, contract_file: str, database_url: str
) -> Iterator[RunningGateway]:
    with _running(serve, past_scorer, database_url, contract=contract_file) as gateway:
        yield gateway


@contextlib.contextmanager
def _running(serve: Callable[..., Any], scorer: Scorer, url: str, **settings: Any) -> Iterator[RunningGateway]:
    engine = open_engine(url)
    migrate(engine)
    source = FakeProduction()
    source.promote(3, scorer)
    kept = {"event_time_from": "2020-01-01T00:00:00Z", "event_time_ahead_hours": 24 * 365, **settings}
    with serve(source, store=DecisionStore(engine), **kept) as gateway:
        gateway.wait_for(3)
        yield gateway


def kept_history(gateway: RunningGateway, answers: list[dict[str, Any]]) -> pd.DataFrame:
    """Features from history as they are kept with decisions."""
    found = [gateway.client.get(f"/predictions/{answer['prediction_id']}").json()["inputs"] for answer in answers]
    return pd.DataFrame(found)[HISTORY].astype(float)


def without_labels(table: pd.DataFrame) -> np.ndarray[Any, Any]:
    return with_history(table.assign(fraud=0), CONTRACT)[HISTORY].to_numpy()


def test_one_by_one_answers_are_made_of_what_training_would_see(running: RunningGateway, table: pd.DataFrame) -> None:
    answers = [running.client.post("/predict", json=each).raise_for_status().json() for each in sent_rows(table)]
    np.testing.assert_array_equal(kept_history(running, answers).to_numpy(), without_labels(table))
    scorer = running.slot.model().scorer
    data = Dataset.from_frame(with_history(table.assign(fraud=0), CONTRACT), CONTRACT)
    assert [answer["hybrid_score"] for answer in answers] == scorer.score(data.raw).hybrid.tolist()
    assert not any("history" in answer for answer in answers)


def test_reasons_say_what_happened_and_are_kept_with_the_decision(running: RunningGateway, table: pd.DataFrame) -> None:
    rows = sent_rows(table)
    running.client.post("/predict-batch", json=rows[:-1]).raise_for_status()
    answer = running.client.post("/predict?explain=true", json=rows[-1]).raise_for_status().json()
    history = without_labels(table)[-1]
    told = {reason["feature"]: reason.get("sentence") for reason in answer["reasons"]}
    of_history = {name for name in told if name in HISTORY or name == "to_mean"}
    assert of_history
    assert {name for name, said in told.items() if said} == of_history
    count = f"{history[HISTORY.index('card_count')]:.0f} transactions of this card in 2 days"
    assert told.get("card_count", count).startswith(count)
    kept = running.client.get(f"/predictions/{answer['prediction_id']}").json()
    assert kept["reasons"] == answer["reasons"]


def test_a_repeated_transaction_brings_its_answer_and_counts_once(running: RunningGateway, table: pd.DataFrame) -> None:
    rows = sent_rows(table)
    first = running.client.post("/predict", json=rows[0]).json()
    for each in rows[1:5]:
        running.client.post("/predict", json=each).raise_for_status()
    again = running.client.post("/predict", json=rows[0])
    assert again.json()["prediction_id"] == first["prediction_id"]
    last = running.client.post("/predict", json=rows[5]).json()
    np.testing.assert_array_equal(kept_history(running, [last]).to_numpy(), without_labels(table[:6])[-1:])


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_batch_knows_what_came_before_it_and_its_own_rows(
    running: RunningGateway, table: pd.DataFrame, kind: str
) -> None:
    rows = sent_rows(table)
    answers: list[dict[str, Any]] = []
    for part in (rows[:30], rows[30:]):
        if kind == "json":
            answers += running.client.post("/predict-batch", json=part).raise_for_status().json()
        else:
            text = pd.DataFrame(part).to_csv(index=False)
            headers = {"content-type": "text/csv", "accept": "application/json"}
            answered = running.client.post("/predict-batch", content=text, headers=headers)
            answers += answered.raise_for_status().json()
    np.testing.assert_array_equal(kept_history(running, answers).to_numpy(), without_labels(table))


def test_labels_move_the_rates_of_what_comes_after(running: RunningGateway, table: pd.DataFrame) -> None:
    rows = sent_rows(table)
    answers = running.client.post("/predict-batch", json=rows[:-1]).json()
    frauds = table["fraud"].tolist()
    by_id = [{"transaction_id": f"t{place}", "label": frauds[place]} for place in range(0, len(answers), 2)]
    by_prediction = [
        {"prediction_id": answers[place]["prediction_id"], "label": frauds[place]}
        for place in range(1, len(answers), 2)
    ]
    running.client.post("/feedback", json=by_id).raise_for_status()
    running.client.post("/feedback", json=by_prediction).raise_for_status()
    last = running.client.post("/predict", json=rows[-1]).json()
    expected = with_history(table, CONTRACT)[HISTORY].to_numpy()[-1:]
    np.testing.assert_array_equal(kept_history(running, [last]).to_numpy(), expected)


def test_clients_side_by_side_lose_and_double_nothing(running: RunningGateway, table: pd.DataFrame) -> None:
    """Each card's transactions in order, of many cards at once."""
    parts = [table.assign(card=f"card {client}", shop=f"shop {client}") for client in range(6)]

    def send(part: pd.DataFrame) -> np.ndarray[Any, Any]:
        rows = ({**row, "transaction_id": f"{row['card']} {row['transaction_id']}"} for row in sent_rows(part[:20]))
        answers = [running.client.post("/predict", json=each).raise_for_status().json() for each in rows]
        return kept_history(running, answers).to_numpy()

    with ThreadPoolExecutor(len(parts)) as pool:
        for found in pool.map(send, parts):
            np.testing.assert_array_equal(found, without_labels(parts[0][:20]))


def test_events_need_no_decision_and_count_once(running: RunningGateway, table: pd.DataFrame) -> None:
    rows = sent_rows(table)
    assert running.client.post("/events", json=rows[0]).json() == {"added": 1, "known": 0}
    assert running.client.post("/events", json=rows[:50]).json() == {"added": 49, "known": 1}
    predicted = running.client.post("/predict", json=rows[50]).raise_for_status().json()
    assert running.client.post("/events", json=rows[48:51]).json() == {"added": 0, "known": 3}
    already = running.client.post("/predict", json=rows[49]).raise_for_status().json()
    found = kept_history(running, [predicted, already]).to_numpy()
    np.testing.assert_array_equal(found, without_labels(table[:51])[[50, 49]])


def test_the_riskiest_come_card_by_card_and_no_page_loses_any(running: RunningGateway, table: pd.DataFrame) -> None:
    for each in sent_rows(table)[:40]:
        running.client.post("/predict", json=each).raise_for_status()
    seen: list[str] = []
    scores: list[float] = []
    after: dict[str, str] = {}
    while True:
        query = {"order": "riskiest", "limit": 25, **after}
        page = running.client.get("/predictions", params=query).raise_for_status().json()
        cards = [item["inputs"]["card"] for item in page["items"]]
        blocks = [card for place, card in enumerate(cards) if place == 0 or cards[place - 1] != card]
        assert len(blocks) == len(set(cards)) == 3
        found = [item["hybrid_score"] for item in page["items"]]
        highest = [max(score for score, card in zip(found, cards, strict=True) if card == block) for block in blocks]
        assert [found[cards.index(block)] for block in blocks] == highest == sorted(highest, reverse=True)
        assert not scores or max(found) <= min(scores)
        scores += found
        seen += [item["prediction_id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert len(seen) == len(set(seen)) == 40


def test_a_fault_of_the_quick_look_leaves_nobody_without_an_answer(
    serve: Callable[..., Any], past_scorer: Scorer, contract_file: str, tmp_path: Path, table: pd.DataFrame, monkeypatch
) -> None:
    asked: list[object] = []

    def fails(*given: object) -> None:
        asked.append(given)
        raise TypeError

    monkeypatch.setattr(DecisionStore, "histories_at_once", fails)
    with _running(serve, past_scorer, f"sqlite:///{tmp_path}/decisions.db", contract=contract_file) as gateway:
        rows = sent_rows(table)[:2]
        answers = [gateway.client.post("/predict", json=each).raise_for_status().json() for each in rows]
        found = kept_history(gateway, answers).to_numpy()
    np.testing.assert_array_equal(found, without_labels(table[:2]))
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"transaction_id": None}, 422, "so that what is sent again counts once"),
        ({"amount": "much"}, 422, "Input should be a valid number"),
        ({"at": "1970-01-01T00:00:00Z"}, 422, "Event time should lie"),
        ({"card": None}, 422, "Input should be a valid string"),
    ],
)
def test_bad_events_are_refused_whole(
    running: RunningGateway, table: pd.DataFrame, change: dict[str, Any], status: int, said: str
) -> None:
    rows = sent_rows(table)[:3]
    answered = running.client.post("/events", json=[*rows[:2], rows[2] | change])
    assert answered.status_code == status
    assert answered.json()["errors"][0]["row"] == 2
    assert said in answered.json()["errors"][0]["message"]
    assert running.client.post("/events", json=rows).json() == {"added": 3, "known": 0}


def test_many_bad_events_are_not_all_told(running: RunningGateway, table: pd.DataFrame) -> None:
    rows = [each | {"transaction_id": None} for each in 2 * sent_rows(table)]
    answered = running.client.post("/events", json=rows)
    assert answered.status_code == 422
    assert [fault["row"] for fault in answered.json()["errors"]] == list(range(100))


def test_a_version_without_history_takes_no_events(gateway: RunningGateway) -> None:
    answered = gateway.client.post("/events", json={})
    assert (answered.status_code, answered.json()["status"]) == (409, 409)


def test_what_is_remembered_under_another_contract_is_left_alone(table: pd.DataFrame) -> None:
    """As after a swap: its fields are in other places."""
    grown = parse_contract(
        f"{HISTORY_OF_DAYS}  shop_sum: {{sum: {{of: distance, by: shop, window: 9d}}}}\n".encode(), ""
    )
    store: Any = SimpleNamespace(
        outage=threading.Event(),
        recalled_of_many=EventCache(lambda *_asked: [], contextlib.nullcontext, "sqlite").recall_many,
    )
    store.outage.set()
    past = PastTransactions(store, lambda: 1)
    for contract, answered in ((CONTRACT, 1.0), (grown, 1.0), (CONTRACT, 2.0)):
        sent = TransactionParser(contract).batch(json.dumps(sent_rows(table)[:1]).encode(), 10).transactions
        count = contract.raw_fields.index("many")
        assert past.fill(contract, replace(sent, ids=["another"])).raw[0, count] == answered
        model = SimpleNamespace(contract=contract)
        predictions: Any = SimpleNamespace(model=model, transactions=sent, prediction_ids=["p"])
        past.settle(past.remember(predictions), spooled=True)


def test_of_a_busy_key_in_the_spool_the_newest_are_gone_through(table: pd.DataFrame) -> None:
    """However long the database is unreachable: a look at all that a large shop did meanwhile held up everybody."""
    asked: list[int] = []
    store: Any = SimpleNamespace(
        outage=threading.Event(),
        histories_of=lambda _plan, events: [asked.append(len(others)) for _event, others in events],
        recalled_of_many=lambda _plan, _given, waiting: asked.append(len(waiting)) or np.full((1, 14), 0.0),
    )
    past = PastTransactions(store, lambda: 1)
    rows = [dict(sent_rows(table)[0], transaction_id=f"b{number}") for number in range(1_500)]
    sent = TransactionParser(CONTRACT).batch(json.dumps(rows).encode(), 2_000).transactions
    predictions: Any = SimpleNamespace(
        model=SimpleNamespace(contract=CONTRACT), transactions=sent, prediction_ids=[""] * len(rows)
    )
    past.settle(past.remember(predictions), spooled=True)
    one = replace(sent.take([0]), ids=["another"])
    plan = EventPlan.of(CONTRACT)
    _found, partial = past._looked_up(plan, events_of(plan, one, [""]))
    store.outage.set()
    with contextlib.suppress(ValueError):
        past.fill(CONTRACT, one)
    assert asked == [1_024, 1_024]
    assert partial, "the database is back, but it does not have those that were left out"


def test_without_its_database_it_goes_on_from_memory_and_says_so(
    serve: Callable[..., Any], past_scorer: Scorer, contract_file: str, tmp_path: Path, table: pd.DataFrame
) -> None:
    rows = sent_rows(table)
    with _running(serve, past_scorer, f"sqlite:///{tmp_path}/decisions.db", contract=contract_file) as gateway:
        store = gateway.app.state.gateway.decisions.store
        for each in rows[:20]:
            gateway.client.post("/predict", json=each).raise_for_status()
        moved = tmp_path / "moved"
        (tmp_path / "decisions.db").rename(moved)
        away = [gateway.client.post("/predict", json=each).raise_for_status().json() for each in rows[20:30]]
        assert store.outage.is_set()
        assert all(answer["kept"] == "spool" for answer in away)
        assert all(answer["history"] == "partial" for answer in away[1:])
        moved.rename(tmp_path / "decisions.db")
        _until(lambda: not store.outage.is_set() and not gateway.app.state.gateway.decisions.figures().spool_bytes)
        back = gateway.client.post("/predict", json=rows[30]).json()
        assert "history" not in back
        found = [gateway.client.get(f"/predictions/{each['prediction_id']}").json() for each in [*away[1:], back]]
        assert [each["history_partial"] for each in found] == [True] * 9 + [False]
        assert gateway.client.post("/predict", json=rows[29]).json()["history"] == "partial"
        kept = kept_history(gateway, [*away, back]).to_numpy()
    # what it knew before is in its memory, the last answer before the outage included
    np.testing.assert_array_equal(kept[1:10], without_labels(table[:30])[21:])
    np.testing.assert_array_equal(kept[-1:], without_labels(table[:31])[-1:])


SECRET = "a secret of the bank"
MARK = "plainly-readable"


def named(table: pd.DataFrame) -> pd.DataFrame:
    """Keys that cannot be overlooked in any file."""
    return table.assign(card=table["card"] + f"-card-{MARK}", shop=table["shop"] + f"-shop-{MARK}")


def sent_as(kind: str, rows: list[dict[str, Any]]) -> tuple[bytes, str]:
    frame = pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)
    if kind == "csv":
        return pd.DataFrame(rows).to_csv(index=False).encode(), "text/csv"
    sink = pa.BufferOutputStream()
    if kind == "parquet":
        pq.write_table(frame, sink)
        return bytes(sink.getvalue()), "application/vnd.apache.parquet"
    with pa.ipc.new_stream(sink, frame.schema) as writer:
        writer.write_table(frame)
    return bytes(sink.getvalue()), "application/vnd.apache.arrow.stream"


def answered(gateway: RunningGateway, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Transactions through every door: the first ones without a decision, then one by one, then as batches."""
    gateway.client.post("/events", json=rows[:10]).raise_for_status()
    found = [
        gateway.client.post("/predict", params={"explain": True}, json=each).raise_for_status().json()
        for each in rows[10:20]
    ]
    found += gateway.client.post("/predict-batch", json=rows[20:35]).raise_for_status().json()
    for kind, part in (("csv", rows[35:50]), ("parquet", rows[50:65]), ("arrow", rows[65:80])):
        content, media_type = sent_as(kind, part)
        headers = {"content-type": media_type, "accept": "application/json"}
        found += gateway.client.post("/predict-batch", content=content, headers=headers).raise_for_status().json()
    return found


def kept_bytes(url: str, *folders: Path) -> bytes:
    """All that lies in files and tables."""
    files = (path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    engine = open_engine(url)
    with engine.connect() as connection:
        rows = [repr(tuple(row)) for table in metadata.sorted_tables for row in connection.execute(select(table))]
    engine.dispose()
    return b"".join(files) + "".join(rows).encode()


def test_hashed_keys_have_the_same_features_and_are_kept_nowhere(
    serve: Callable[..., Any],
    past_scorer: Scorer,
    contract_file: str,
    database_url: str,
    tmp_path: Path,
    table: pd.DataFrame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = sent_rows(named(table))
    with (
        caplog.at_level("DEBUG"),
        _running(
            serve, past_scorer, database_url, contract=contract_file, key_secret=SECRET, state_dir=tmp_path / "state"
        ) as gateway,
    ):
        answers = answered(gateway, rows)
        found = kept_history(gateway, answers).to_numpy()
        shown = [gateway.client.get(f"/predictions/{answer['prediction_id']}").text for answer in answers]
        pages = gateway.client.get("/predictions").text
    np.testing.assert_array_equal(found, without_labels(table)[10:])
    kept = [json.loads(each)["inputs"] for each in shown]
    keys = KeyHash(SECRET)
    assert [each["card"] for each in kept] == [keys.of("card", row["card"]) for row in rows[10:]]
    assert [each["shop"] for each in kept] == keys.of_all("shop", [row.get("shop") for row in rows[10:]])
    written = kept_bytes(database_url, tmp_path)
    assert written.count(keys.of("card", rows[0]["card"]).encode()) > 1
    assert MARK.encode() not in written + caplog.text.encode() + pages.encode() + "".join(shown).encode()


def test_a_hash_that_a_client_sends_is_the_key_that_it_stands_for(
    serve: Callable[..., Any], past_scorer: Scorer, contract_file: str, tmp_path: Path, table: pd.DataFrame
) -> None:
    rows = sent_rows(named(table))
    keys = KeyHash(SECRET)
    hashed = [row | {"card": keys.of("card", row["card"])} if place % 2 else row for place, row in enumerate(rows[:30])]
    url = f"sqlite:///{tmp_path}/decisions.db"
    with _running(serve, past_scorer, url, contract=contract_file, key_secret=SECRET) as gateway:
        answers = [gateway.client.post("/predict", json=each).raise_for_status().json() for each in hashed]
        again = gateway.client.post("/predict", json=rows[1]).raise_for_status().json()
        found = kept_history(gateway, answers).to_numpy()
    np.testing.assert_array_equal(found, without_labels(table[:30]))
    assert again["prediction_id"] == answers[1]["prediction_id"]


def test_hashed_keys_are_in_the_spool_too(
    serve: Callable[..., Any], past_scorer: Scorer, contract_file: str, tmp_path: Path, table: pd.DataFrame
) -> None:
    rows, state = sent_rows(named(table)), tmp_path / "state"
    url = f"sqlite:///{tmp_path}/decisions.db"
    with _running(serve, past_scorer, url, contract=contract_file, key_secret=SECRET, state_dir=state) as gateway:
        gateway.client.post("/predict", json=rows[0]).raise_for_status()
        (tmp_path / "decisions.db").rename(tmp_path / "moved")
        away = [gateway.client.post("/predict", json=each).raise_for_status().json() for each in rows[1:5]]
        away += gateway.client.post("/predict-batch", json=rows[5:10]).raise_for_status().json()
        assert {answer["kept"] for answer in away} == {"spool"}
        spooled = b"".join(path.read_bytes() for path in (state / "gateway" / "spool").iterdir())
    assert spooled.count(KeyHash(SECRET).of("card", rows[0]["card"]).encode()) > 0
    assert MARK.encode() not in spooled


def test_a_gateway_does_not_bring_back_what_is_forgotten_meanwhile(
    running: RunningGateway, database_url: str, table: pd.DataFrame
) -> None:
    """Whatever it has in memory: another process erases a card, and it answers as if that one had never been there."""
    rows = sent_rows(named(table))
    erased = rows[0]["card"]
    answers = [running.client.post("/predict", json=each).raise_for_status().json() for each in rows[:40]]
    running.client.post("/predict-batch", json=rows[40:60]).raise_for_status()
    with open_store(database_url) as other:
        found = other.forgetting(CONTRACT.contract, PersonalKey("card", (erased,))).erase()
    assert found.decisions == found.past == sum(row["card"] == erased for row in rows[:60])
    assert erased.encode() not in kept_bytes(database_url)
    others = [row for row in rows[60:] if row["card"] != erased]
    after = [running.client.post("/predict", json=each).raise_for_status().json() for each in others]
    assert erased.encode() not in kept_bytes(database_url)
    last = dict(rows[-1], transaction_id="last", card=erased)
    back = running.client.post("/predict", json=last).raise_for_status().json()
    without = named(table).assign(fraud=0)
    counted = without[(without.index < 60) | (without["card"] != erased)].reset_index(drop=True)
    expected = with_history(counted, CONTRACT)[HISTORY].to_numpy()[60:]
    np.testing.assert_array_equal(kept_history(running, after).to_numpy(), expected)
    mine = kept_history(running, [back]).iloc[0]
    assert (mine["card_count"], mine["many"]) == (1.0, 1.0)
    assert mine["card_sum"] == last["amount"]
    again = running.client.post("/predict", json=rows[0]).raise_for_status().json()
    assert again["prediction_id"] == answers[0]["prediction_id"]
    changed = running.client.post("/predict", json=rows[0] | {"amount": 0.5})
    assert changed.status_code == 409


def _until(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(1_000):
        if condition():
            return
        waited.wait(0.02)
    raise AssertionError("it did not come about in 20 seconds")
