from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pipelines.monitoring import reading
from pipelines.monitoring.reading import UNLABELLED, Decided, read
from stores.decisions import DecisionStore, LabelItem, migrate, open_engine
from tests.support.decisions import DAY, chunk, record

END = DAY + timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DecisionStore]:
    engine = open_engine(f"sqlite:///{tmp_path}/decisions.db")
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
    found = read(store.tables_by_event_time(DAY, END))
    assert set(found) == {"3", "4"}
    single, many = found["3"], found["4"]
    assert single.decision.tolist() == [0, 2]
    assert single.moment.tolist() == [DAY.timestamp() + 60, DAY.timestamp() + 3 * 3600]
    assert single.raw[0].tolist() == [float(1 + place) for place in range(30)]
    assert single.single.all()
    assert many.label.tolist() == [UNLABELLED, 0, UNLABELLED]
    assert not many.single.any()
    assert many.raw[2].tolist() == bulk.raw[2].tolist()
    assert read(store.tables_by_event_time(END, END + timedelta(hours=1))) == {}


def test_a_transaction_counts_once(store: DecisionStore) -> None:
    store.add([record(1, transaction_id="a")])
    store.replay([record(2, transaction_id="a", inputs=record(1).inputs)])
    again = np.vstack([record(1).inputs, np.zeros(30), np.ones(30)])
    store.add_segment(chunk(3, raw=again, transaction_ids=["a", "b", "b"]))
    found = read(store.tables_by_event_time(DAY, END))
    assert len(found["3"]) == 1
    assert found["4"].raw[:, 0].tolist() == [0.0]


def test_many_rows_are_thinned_but_alerts_and_labels_stay(
    monkeypatch: pytest.MonkeyPatch, store: DecisionStore
) -> None:
    monkeypatch.setattr(reading, "MOST_ROWS", 300)
    alerts = ["REVIEW" if row % 50 == 0 else "APPROVE" for row in range(500)]
    bulk = [chunk(500, decisions=alerts) for _ in range(3)]
    for each in bulk:
        store.add_segment(each)
    store.label([LabelItem(prediction_id=bulk[2].prediction_ids[7], label=1)], "anna")
    (rows,) = read(store.tables_by_event_time(DAY, END)).values()
    assert len(rows) <= 300
    assert rows.rows == pytest.approx(1_500, rel=0.4)  # 1,470 plain rows by a coin
    assert rows.alert.sum() == 30
    assert (rows.label == 1).sum() == 1
    assert set(rows.weight[rows.alert | (rows.label == 1)]) == {1.0}


def test_nothing_is_an_empty_set(decide: Callable[..., Decided]) -> None:
    from stores.decisions.tables import SCHEMA

    nothing = Decided.of_table(SCHEMA.empty_table())
    assert (len(nothing), nothing.rows, nothing.raw.shape) == (0, 0.0, (0, 30))
