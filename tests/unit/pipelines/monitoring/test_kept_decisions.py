from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_project.contract_file import contract_named
from pipelines.monitoring import kept_decisions
from pipelines.monitoring.kept_decisions import UNLABELLED, KeptDecisions, read_by_version, read_for_training
from stores.decisions import DecisionStore, KeptContract, LabelItem, migrate, open_engine
from stores.decisions.archive import schema_of
from tests.support.creditcard import CREDITCARD, EVENT_TIME, GROWN, RAW_FEATURES, WEIGHT
from tests.support.decisions import chunk, record
from tests.unit.pipelines.monitoring.conftest import DAY, END


@pytest.fixture
def store(database_url: str) -> Iterator[DecisionStore]:
    engine = open_engine(database_url)
    migrate(engine)
    yield DecisionStore(engine)
    engine.dispose()


def test_versions_apart_with_the_newest_labels(store: DecisionStore) -> None:
    late = END + timedelta(days=2)
    store.add([record(1), record(2, decision="DECLINE", received_at=late, event_time=DAY + timedelta(hours=3))])
    bulk = chunk(3)
    store.add_segment(bulk)
    for label in (1, 0):
        store.label([LabelItem(prediction_id=bulk.prediction_ids[1], label=label)], f"reviewer {label}")
    found = read_by_version(store.tables_by_event_time(CREDITCARD, DAY, END), CREDITCARD)
    assert set(found) == {"3", "4"}
    single, many = found["3"], found["4"]
    assert single.decision.tolist() == [0, 2]
    assert single.moment.tolist() == [DAY.timestamp() + 60, DAY.timestamp() + 3 * 3600]
    assert single.raw[0].tolist() == [float(1 + place) for place in range(30)]
    assert single.single.all()
    assert many.label.tolist() == [UNLABELLED, 0, UNLABELLED]
    assert not many.single.any()
    assert many.raw[2].tolist() == bulk.raw[2].tolist()
    assert read_by_version(store.tables_by_event_time(CREDITCARD, END, END + timedelta(hours=1)), CREDITCARD) == {}


def test_a_transaction_counts_once(store: DecisionStore) -> None:
    store.add([record(1, transaction_id="a")])
    store.replay([record(2, transaction_id="a", inputs=record(1).inputs)])
    again = np.vstack([record(1).inputs, np.zeros(30), np.ones(30)])
    store.add_segment(chunk(3, raw=again, transaction_ids=["a", "b", "b"]))
    found = read_by_version(store.tables_by_event_time(CREDITCARD, DAY, END), CREDITCARD)
    assert len(found["3"]) == 1
    assert found["4"].raw[:, 0].tolist() == [0.0]


def test_many_rows_are_thinned_but_alerts_and_labels_stay(
    monkeypatch: pytest.MonkeyPatch, store: DecisionStore
) -> None:
    monkeypatch.setattr(kept_decisions, "MOST_ROWS", 300)
    alerts = ["REVIEW" if row % 50 == 0 else "APPROVE" for row in range(500)]
    bulk = [chunk(500, decisions=alerts) for _ in range(3)]
    for each in bulk:
        store.add_segment(each)
    store.label([LabelItem(prediction_id=bulk[2].prediction_ids[7], label=1)], "anna")
    (rows,) = read_by_version(store.tables_by_event_time(CREDITCARD, DAY, END), CREDITCARD).values()
    assert len(rows) <= 300
    assert rows.rows == pytest.approx(1_500, rel=0.4)  # 1,470 plain rows by a coin
    assert rows.alert.sum() == 30
    assert (rows.label == 1).sum() == 1
    assert set(rows.weight[rows.alert | (rows.label == 1)]) == {1.0}


def test_nothing_is_an_empty_set(decide: Callable[..., KeptDecisions]) -> None:
    nothing = KeptDecisions.none(CREDITCARD)
    assert (len(nothing), nothing.rows, nothing.raw.shape) == (0, 0.0, (0, 30))


def test_rows_of_one_key_can_be_told_and_those_without_one_stand_alone() -> None:
    contract = contract_named("cards")
    given = {
        "prediction_id": ["p", "q", "r", "s"],
        "customer": ["a", "b", "a", None],
        "terminal": ["x", None, None, "a"],
        "decision": ["APPROVE"] * 4,
        "received_at": [DAY] * 4,
    }
    columns = {
        field.name: pa.array(given.get(field.name, [0.0 if pa.types.is_floating(field.type) else None] * 4), field.type)
        for field in schema_of(contract)
    }
    customer, terminal = KeptDecisions.of_table(pa.table(columns), contract).keys.T.tolist()
    assert customer[0] == customer[2] == terminal[3]
    assert len(set(customer)) == 3
    assert len(set(terminal)) == 4


def read(store: DecisionStore, until: datetime = DAY + timedelta(days=10)) -> pd.DataFrame:
    return read_for_training(
        store.tables_by_event_time(CREDITCARD, datetime(1970, 1, 1, tzinfo=UTC), until), CREDITCARD
    )


def test_a_labelled_transaction_s_whole_way(store: DecisionStore) -> None:
    happened = DAY - timedelta(hours=5)
    store.add([record(1, transaction_id="card-1", event_time=happened, decision="REVIEW")])
    store.label([LabelItem(label=0, transaction_id="card-1")], "anna", labelled_at=DAY)
    store.label([LabelItem(label=1, transaction_id="card-1")], "bob", labelled_at=DAY + timedelta(hours=1))
    row = read(store).loc["card-1"]
    assert (row["label"], row["alert"], row[WEIGHT]) == (1, True, 1.0)
    assert row[EVENT_TIME] == pd.Timestamp(happened)
    assert list(row[list(RAW_FEATURES)]) == [float(1 + place) for place in range(30)]
    assert read(store, until=happened).empty


def test_a_transaction_sent_again_stands_once_with_the_newest_label_of_all_its_predictions(
    store: DecisionStore,
) -> None:
    first = record(1, transaction_id="card-1", decision="DECLINE")
    again = record(2, transaction_id="card-1", inputs=first.inputs)
    store.add([first, record(3, transaction_id="card-3"), record(4)])
    store.replay([again])  # from the spool: both were answered
    store.label([LabelItem(label=1, prediction_id=first.prediction_id)], "anna", labelled_at=DAY)
    store.label([LabelItem(label=0, prediction_id=again.prediction_id)], "anna", labelled_at=DAY + timedelta(hours=1))
    rows = read(store)
    assert len(rows) == 3
    assert (rows.loc["card-1", "label"], rows.loc["card-1", "alert"]) == (0, True)
    assert (rows["label"] == UNLABELLED).sum() == 2
    assert rows[EVENT_TIME].is_monotonic_increasing


def test_bulk_rows_count_and_refused_ones_do_not(store: DecisionStore) -> None:
    store.add([record(1, transaction_id="card-1")])
    bulk = chunk(3, transaction_ids=["card-1", "card-2", None], decisions=["APPROVE", "REVIEW", "APPROVE"])
    store.add_segment(bulk)
    rows = read(store)
    assert len(rows) == 3
    assert rows.loc["card-1", "Amount"] == 30.0
    assert rows.loc["card-2", "alert"]
    assert bulk.prediction_ids[2] in rows.index


def test_the_random_sample_is_what_the_gateway_drew(store: DecisionStore) -> None:
    store.add([record(1), record(2, review_rate=0.01), record(3, decision="REVIEW", review_rate=1.0)])
    store.add_segment(chunk(3, sample=frozenset({1}), sample_rate=0.05))
    rows = read(store).sort_values("Amount")
    assert rows["review_rate"].tolist() == [0, 0.01, 1.0, 0, 0.05, 0]
    assert rows["alert"].tolist() == [False, False, True, False, False, False]


def test_too_many_rows_are_thinned_and_those_that_tell_something_stay(
    store: DecisionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_decisions, "MOST_ROWS", 100)
    store.add(
        [
            record(
                number,
                decision="REVIEW" if number % 20 == 0 else "APPROVE",
                review_rate=0.05 if number % 20 == 1 else None,
            )
            for number in range(1, 401)
        ]
    )
    store.label([LabelItem(label=1, prediction_id=record(7).prediction_id)], "anna")
    rows = read(store)
    assert len(rows) <= 100
    assert rows["alert"].sum() == 20
    assert rows.loc[record(7).prediction_id, WEIGHT] == 1.0
    telling = rows[rows["alert"] | (rows["review_rate"] > 0)]
    assert (len(telling), telling[WEIGHT].unique().tolist()) == (40, [1.0])
    assert rows[WEIGHT].sum() == pytest.approx(400, rel=0.25)
    pd.testing.assert_frame_equal(rows, read(store))


def test_versions_of_a_contract_are_read_each_by_its_own(store: DecisionStore) -> None:
    grown = {"contract": KeptContract.of(GROWN), "bundle_digest": "9" * 64, "model_version": "9"}
    store.add([record(1), record(2, inputs=(*record(2).inputs, 7.5), **grown)])
    for asked, risk in ((GROWN, 7.5), (CREDITCARD, np.nan)):
        found = read_by_version(store.tables_by_event_time(asked, DAY, END), store.contract_of)
        np.testing.assert_array_equal(found["3"].raw, [record(1).inputs])
        np.testing.assert_array_equal(found["9"].raw, [[*record(2).inputs, risk]])
    assert len(read_for_training(store.tables_by_event_time(GROWN, DAY, END), GROWN)) == 2
