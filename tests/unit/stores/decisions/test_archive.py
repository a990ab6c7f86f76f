"""Decisions as tables by window and by event time, challengers beside them, exports and purges."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stores.decisions import (
    Chunk,
    DecisionRecord,
    DecisionStore,
    LabelItem,
    PageFilter,
    ShadowDecision,
    Spool,
    archive,
)
from tests.support.creditcard import CREDITCARD, RAW_FEATURES

DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=30)


def happened_within(store: DecisionStore, since: datetime, until: datetime) -> list[str]:
    return [
        name
        for table in store.tables_by_event_time(CREDITCARD, since, until)
        for name in table["prediction_id"].to_pylist()
    ]


def test_a_window_is_of_what_happened_in_it(
    store: DecisionStore,
    make_record: Callable[..., DecisionRecord],
    make_chunk: Callable[..., Chunk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "ROWS", 3)
    late = DAY + 100 * HOUR
    happened = [make_record(received_at=late, event_time=DAY + hour * HOUR) for hour in range(-5, 30)]
    received = [make_record(received_at=DAY + hour * HOUR) for hour in range(-5, 30)]
    store.add([*happened, *received])
    times = [None if row % 4 == 0 else DAY + (row - 10) * HOUR for row in range(50)]
    mixed = make_chunk(rows=50, received_at=DAY + 2 * HOUR, event_times=times)
    plain, elsewhere = make_chunk(rows=20, received_at=DAY + HOUR), make_chunk(rows=20, received_at=late)
    for chunk in (mixed, plain, elsewhere):
        store.add_segment(chunk)
    store.label([LabelItem(prediction_id=mixed.prediction_ids[11], label=1)], "anna")

    inside = [row for row in range(50) if row % 4 == 0 or 10 <= row < 34]
    expected = {
        *(record.prediction_id for record in (*happened[5:29], *received[5:29])),
        *(mixed.prediction_ids[row] for row in inside),
        *plain.prediction_ids,
    }
    found = happened_within(store, DAY, DAY + 24 * HOUR)
    assert len(found) == len(set(found)) == len(expected)
    assert set(found) == expected
    labelled = {
        row["prediction_id"]: row["label"]
        for table in store.tables_by_event_time(CREDITCARD, DAY, DAY + 24 * HOUR)
        for row in table.select(["prediction_id", "label"]).to_pylist()
        if row["label"] is not None
    }
    assert labelled == {mixed.prediction_ids[11]: 1}
    assert happened_within(store, DAY + 500 * HOUR, DAY + 600 * HOUR) == []


def shadowed(record: DecisionRecord) -> ShadowDecision:
    return ShadowDecision(record.prediction_id, record.received_at, "4", "c" * 64, 0.1, 0.8, 0.7, 0.3, "REVIEW")


def ids(tables: Any) -> list[str]:
    return [name for table in tables for name in table.column("prediction_id").to_pylist()]


def test_they_join_the_champions_of_the_same_window(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SHADOW_ROWS", 2)
    records = [make_record(received_at=START + timedelta(hours=hour)) for hour in range(6)]
    store.add(records)
    store.add_shadow([shadowed(record) for record in records])
    window = START + timedelta(hours=1), START + timedelta(hours=5)
    assert (
        ids(store.shadow_tables(*window))
        == ids(store.tables(CREDITCARD, *window))
        == [r.prediction_id for r in records[1:5]]
    )
    (row,) = next(iter(store.shadow_tables(until=window[0]))).to_pylist()
    assert row == shadowed(records[0])._asdict()
    assert store.find(records[0].prediction_id).record == records[0]  # type: ignore[union-attr]


def test_purged_with_the_champions(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], tmp_path: Path
) -> None:
    old, new = make_record(), make_record(received_at=LATER)
    store.add([old, new])
    store.add_shadow([shadowed(old), shadowed(new)])
    kept: list[Path] = []
    exported = store.purge(CREDITCARD, LATER, tmp_path / "archive", kept.append)
    assert exported.shadow is not None
    assert exported.shadow in kept
    assert pq.read_table(exported.shadow).to_pylist() == [shadowed(old)._asdict()]
    assert ids(store.shadow_tables()) == [new.prediction_id]


def test_without_their_champions_they_are_purged_too(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], tmp_path: Path
) -> None:
    store.add_shadow([shadowed(make_record())])
    exported = store.purge(CREDITCARD, LATER, tmp_path)
    assert (exported.decisions, exported.shadow is None) == (None, False)
    assert ids(store.shadow_tables()) == []


def test_purge_exports_first_and_deletes_what_it_exported(
    store: DecisionStore,
    make_record: Callable[..., DecisionRecord],
    make_chunk: Callable[..., Chunk],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "ROWS", 3)
    old = [make_record(transaction_id=f"s{number}", reasons=[{"feature": "V1"}]) for number in range(7)]
    new = make_record(transaction_id="new", received_at=LATER)
    chunk = make_chunk(transaction_ids=[f"b{row}" for row in range(100)])
    kept = make_chunk(rows=20, received_at=LATER)
    store.add([*old, new])
    store.add_segment(chunk)
    store.add_segment(kept)
    store.label([LabelItem(label=1, transaction_id=name) for name in ("s1", "b1", "new")], "ann")
    store.label([LabelItem(label=0, transaction_id="b1")], "bob")

    exported = store.purge(CREDITCARD, LATER, tmp_path / "archive")

    assert exported.rows == 107
    assert exported.decisions is not None
    assert exported.labels is not None
    table = pq.read_table(exported.decisions)
    assert table.column_names == archive.schema_of(CREDITCARD).names
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
    exported = store.purge(CREDITCARD, START, tmp_path / "archive")
    assert (exported.rows, exported.decisions, exported.labels) == (0, None, None)
    assert not (tmp_path / "archive").exists()


def test_tables_of_a_window(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], make_chunk: Callable[..., Chunk]
) -> None:
    records = [make_record(received_at=START + timedelta(hours=hour)) for hour in range(4)]
    chunk = make_chunk(received_at=START + timedelta(hours=1))
    store.add(records)
    store.add_segment(chunk)
    found = store.tables(CREDITCARD, START + timedelta(hours=1), START + timedelta(hours=3))
    ids = [name for table in found for name in table.column("prediction_id").to_pylist()]
    assert ids == [records[1].prediction_id, records[2].prediction_id, *chunk.prediction_ids]


def test_history_without_the_database_is_kept_wherever_a_decision_is(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], make_chunk: Callable[..., Chunk], tmp_path: Path
) -> None:
    whole, partial, spooled = make_record(), make_record(history_partial=True), make_record(history_partial=True)
    chunk, chunk_of_spool = make_chunk(rows=2, history_partial=True), make_chunk(rows=2, history_partial=True)
    store.add([whole, partial])
    store.add_segment(chunk)
    spool = Spool(tmp_path / "spool")
    spool.append([spooled, chunk_of_spool])
    spool.replay(store)
    spool.close()
    expected = {whole.prediction_id: False, partial.prediction_id: True, spooled.prediction_id: True}
    expected |= dict.fromkeys([*chunk.prediction_ids, *chunk_of_spool.prediction_ids], True)
    found = store.find_all(list(expected))
    assert {name: each.record.history_partial for name, each in found.items()} == expected
    exported = store.export(CREDITCARD, datetime.now(UTC) + timedelta(days=1), tmp_path)
    assert exported.decisions is not None
    rows = pq.read_table(exported.decisions, columns=["prediction_id", "history_partial"]).to_pydict()
    assert dict(zip(rows["prediction_id"], rows["history_partial"], strict=True)) == expected
