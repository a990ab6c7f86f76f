from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ml_project.schema import RAW_FEATURES
from stores.decisions import Chunk, DecisionRecord, DecisionStore, LabelItem, PageFilter
from stores.decisions import tables as tables_module

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=30)


def test_purge_exports_first_and_deletes_what_it_exported(
    store: DecisionStore,
    make_record: Callable[..., DecisionRecord],
    make_chunk: Callable[..., Chunk],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables_module, "ROWS", 3)
    old = [make_record(transaction_id=f"s{number}", reasons=[{"feature": "V1"}]) for number in range(7)]
    new = make_record(transaction_id="new", received_at=LATER)
    chunk = make_chunk(transaction_ids=[f"b{row}" for row in range(100)])
    kept = make_chunk(rows=20, received_at=LATER)
    store.add([*old, new])
    store.add_segment(chunk)
    store.add_segment(kept)
    store.label([LabelItem(label=1, transaction_id=name) for name in ("s1", "b1", "new")], "ann")
    store.label([LabelItem(label=0, transaction_id="b1")], "bob")

    exported = store.purge(LATER, tmp_path / "archive")

    assert exported.rows == 107
    assert exported.decisions is not None
    assert exported.labels is not None
    table = pq.read_table(exported.decisions)
    assert table.column_names == tables_module.SCHEMA.names
    rows = {row["prediction_id"]: row for row in table.to_pylist()}
    assert rows.keys() == {record.prediction_id for record in old} | set(chunk.prediction_ids)
    single, bulk = rows[old[1].prediction_id], rows[chunk.prediction_ids[1]]
    assert tuple(single[name] for name in RAW_FEATURES) == old[1].inputs
    assert [bulk[name] for name in RAW_FEATURES] == chunk.raw[1].tolist()
    assert (single["received_at"], single["label"], single["reviewer"]) == (old[1].received_at, 1, "ann")
    assert single["reasons"] == '[{"feature": "V1"}]'
    assert (bulk["decision"], bulk["label"], bulk["segment_id"]) == ("REVIEW", 0, chunk.segment_id)
    assert bulk["hybrid_score"] == chunk.scores[2, 1]
    history = pq.read_table(exported.labels).to_pylist()
    assert sorted((row["reviewer"], row["label"]) for row in history) == [("ann", 1), ("ann", 1), ("bob", 0)]
    assert sorted(path.name for path in (tmp_path / "archive").iterdir()) == [
        exported.decisions.name,
        exported.labels.name,
    ]

    assert store.find(old[0].prediction_id) is None
    assert store.find_transaction("b7") is None
    assert store.labels(chunk.prediction_ids[1]) == []
    assert store.find_transaction("new") == store.find(new.prediction_id) is not None
    assert len(store.labels(new.prediction_id)) == 1
    assert store.find(kept.prediction_ids[3]) is not None
    assert len(store.page(PageFilter()).items) == 1 + 2
    assert store.add([make_record(9.0, transaction_id="s1")])[0].repeated is False  # type: ignore[union-attr]


def test_nothing_to_export_leaves_no_files(store: DecisionStore, tmp_path: Path) -> None:
    exported = store.purge(START, tmp_path / "archive")
    assert (exported.rows, exported.decisions, exported.labels) == (0, None, None)
    assert not (tmp_path / "archive").exists()


def test_tables_of_a_window(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], make_chunk: Callable[..., Chunk]
) -> None:
    records = [make_record(received_at=START + timedelta(hours=hour)) for hour in range(4)]
    chunk = make_chunk(received_at=START + timedelta(hours=1))
    store.add(records)
    store.add_segment(chunk)
    found = store.tables(START + timedelta(hours=1), START + timedelta(hours=3))
    ids = [name for table in found for name in table.column("prediction_id").to_pylist()]
    assert ids == [records[1].prediction_id, records[2].prediction_id, *chunk.prediction_ids]
